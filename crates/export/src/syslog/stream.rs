//! A connection to a syslog server, plain or secure.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;

use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use super::{Framing, SyslogConfig, Transport, first_line};

/// Bytes that are written at once.
const CHUNK: usize = 64 * 1024;

pub(super) struct Stream {
    socket: Socket,
    framing: Framing,
    /// Framed messages that are being written, and for each the bytes it takes here and among the lines.
    framed: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(super) fn open(config: &SyslogConfig) -> io::Result<Self> {
        let timeout = Some(config.timeout);
        let mut framing = config.framing;
        let socket = match &config.transport {
            Transport::UnixStream(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_write_timeout(timeout)?;
                Socket::Unix(socket)
            }
            Transport::Tcp(address) => Socket::Tcp(connect(address, config)?),
            Transport::Tls(host, port, files) => {
                framing = Framing::OctetCounting;
                let client = files.client(&[])?;
                let name = files.name(host)?;
                let socket = connect(&(host.as_str(), *port), config)?;
                let connection = ClientConnection::new(client, name).map_err(io::Error::other)?;
                let mut stream = StreamOwned::new(connection, socket);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Socket::Tls(Box::new(stream))
            }
            Transport::UnixDatagram(_) | Transport::Udp(_) => return Err(ErrorKind::InvalidInput.into()),
        };
        Ok(Self { socket, framing, framed: Vec::new(), ends: Vec::new() })
    }

    /// Whether the server has not closed the connection, as far as is known here.
    pub(super) fn is_open(&mut self) -> bool {
        let mut byte = [0];
        match &mut self.socket {
            // The server has nothing to say; a read that waits for it would block.
            Socket::Unix(socket) => {
                let read = socket.set_nonblocking(true).and_then(|()| (&*socket).read(&mut byte));
                socket.set_nonblocking(false).is_ok() && is_waiting(&read)
            }
            Socket::Tcp(socket) => {
                let read = socket.set_nonblocking(true).and_then(|()| (&*socket).read(&mut byte));
                socket.set_nonblocking(false).is_ok() && is_waiting(&read)
            }
            Socket::Tls(stream) => {
                if stream.sock.set_nonblocking(true).is_err() {
                    return false;
                }
                let read = stream.read(&mut byte);
                stream.sock.set_nonblocking(false).is_ok() && is_waiting(&read)
            }
        }
    }

    /// Sends lines; `sent` becomes the bytes of those that were taken whole.
    pub(super) fn send(&mut self, lines: &[u8], sent: &mut usize) -> io::Result<()> {
        while self.frame(&lines[*sent..]) {
            let mut written = 0;
            let outcome = self.write(&mut written);
            let whole = self.ends.iter().take_while(|(framed, _)| *framed <= written).last();
            *sent += whole.map_or(0, |(_, end)| *end);
            outcome?;
        }
        Ok(())
    }

    /// Frames the first lines; says whether there were any.
    fn frame(&mut self, lines: &[u8]) -> bool {
        self.framed.clear();
        self.ends.clear();
        let mut end = 0;
        while self.framed.len() < CHUNK
            && let Some(length) = first_line(&lines[end..])
        {
            let message = &lines[end..end + length];
            match self.framing {
                Framing::OctetCounting => {
                    self.framed.extend_from_slice(format!("{length} ").as_bytes());
                    self.framed.extend_from_slice(message);
                }
                Framing::Newline => {
                    self.framed.extend_from_slice(message);
                    self.framed.push(b'\n');
                }
            }
            end += length + 1;
            self.ends.push((self.framed.len(), end));
        }
        !self.ends.is_empty()
    }

    /// Writes what is framed; `written` becomes the bytes that the system took.
    fn write(&mut self, written: &mut usize) -> io::Result<()> {
        let Self { socket, framed, .. } = self;
        let plain: &mut dyn Write = match socket {
            Socket::Unix(socket) => socket,
            Socket::Tcp(socket) => socket,
            Socket::Tls(stream) => {
                // What is encrypted cannot be told apart by messages: all of it, or none.
                stream.write_all(framed)?;
                stream.flush()?;
                *written = framed.len();
                return Ok(());
            }
        };
        while *written < framed.len() {
            match plain.write(&framed[*written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says goodbye.
    pub(super) fn close(&mut self) {
        if let Socket::Tls(stream) = &mut self.socket {
            stream.conn.send_close_notify();
            // The server sees the end in any case.
            let _ = stream.flush();
        }
    }
}

/// Nothing was read because nothing came; anything that came is let fall.
fn is_waiting(read: &io::Result<usize>) -> bool {
    match read {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn connect(address: &dyn AddressOf, config: &SyslogConfig) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for peer in address.addresses()? {
        match TcpStream::connect_timeout(&peer, config.timeout) {
            Ok(socket) => {
                socket.set_write_timeout(Some(config.timeout))?;
                socket.set_read_timeout(Some(config.timeout))?;
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Something the system's resolver can look up.
trait AddressOf {
    fn addresses(&self) -> io::Result<Vec<std::net::SocketAddr>>;
}

impl<T: ToSocketAddrs> AddressOf for T {
    fn addresses(&self) -> io::Result<Vec<std::net::SocketAddr>> {
        Ok(self.to_socket_addrs()?.collect())
    }
}

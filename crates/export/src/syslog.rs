//! Events to a syslog server, as messages of RFC 5424.
//!
//! - Datagrams: one message each. What is too long for one is dropped and counted.
//! - Streams: each message after its length (RFC 6587, octet counting), as TLS requires (RFC 5425), or ended by a
//!   newline. A message that a broken connection did not take whole is sent anew over the next one.
//!
//! Syslog has no acknowledgement: what the system took for a connection that then breaks may be lost, up to what its
//! buffers hold, and nobody can count it. A connection that was closed before a write is noticed before that write.

mod message;
mod stream;

use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

pub use message::{FACILITIES, MessageConfig, SEVERITIES, syslog_encoder};
use stream::Stream;

use crate::backoff;
use crate::{Loss, Losses, Sink, TlsFiles, WriteError};

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram socket in the file system, such as /dev/log.
    UnixDatagram(PathBuf),
    /// A stream socket in the file system.
    UnixStream(PathBuf),
    /// `HOST:PORT`, by datagrams.
    Udp(String),
    /// `HOST:PORT`.
    Tcp(String),
    /// Host and port, over TLS.
    Tls(String, u16, TlsFiles),
}

/// How messages are told apart in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Each after its length in bytes.
    #[default]
    OctetCounting,
    /// Each with a newline at its end.
    Newline,
}

/// What a syslog export needs to know.
#[derive(Clone, Debug)]
pub struct SyslogConfig {
    /// Where the server is.
    pub transport: Transport,
    /// How messages are told apart in a stream; over TLS by their length in any case.
    pub framing: Framing,
    /// Longest time for a connection, or for a write that makes no progress.
    pub timeout: Duration,
    /// What messages look like.
    pub message: MessageConfig,
}

/// Sends lines, each a message, to a syslog server.
pub struct SyslogSink {
    config: SyslogConfig,
    connection: Option<Connection>,
    losses: Losses,
}

enum Connection {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Stream(Stream),
}

impl SyslogSink {
    /// A sink that connects when there is something to send.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn new(config: SyslogConfig) -> Result<Self, crate::TlsError> {
        if let Transport::Tls(host, _, files) = &config.transport {
            files.client(&[])?;
            files.name(host)?;
        }
        Ok(Self { config, connection: None, losses: Losses::default() })
    }

    fn connect(&mut self) -> io::Result<&mut Connection> {
        let alive = match &mut self.connection {
            Some(Connection::Stream(stream)) => stream.is_open(),
            Some(_) => true,
            None => false,
        };
        if !alive {
            self.connection = None;
        }
        let config = &self.config;
        if self.connection.is_none() {
            self.connection = Some(open(config)?);
        }
        self.connection.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn datagrams(&mut self, lines: &[u8], sent: &mut usize) -> io::Result<()> {
        while let Some(length) = first_line(&lines[*sent..]) {
            let message = &lines[*sent..*sent + length];
            let outcome = match self.connect()? {
                Connection::Unix(socket) => socket.send(message),
                Connection::Udp(socket) => socket.send(message),
                Connection::Stream(_) => return Ok(()),
            };
            match outcome {
                Ok(_) => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                    self.losses.add(Loss::TooLong, 1);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // An answer to the datagram before: this one was not sent.
                    if matches!(self.config.transport, Transport::Udp(_)) && is_refusal(&error) {
                        self.losses.add(Loss::Unreachable, 1);
                    }
                    return Err(error);
                }
            }
            *sent += length + 1;
        }
        Ok(())
    }
}

fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::NETUNREACH];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

/// Bytes of the first line, without its newline.
fn first_line(lines: &[u8]) -> Option<usize> {
    lines.iter().position(|&byte| byte == b'\n')
}

fn open(config: &SyslogConfig) -> io::Result<Connection> {
    let timeout = Some(config.timeout);
    match &config.transport {
        Transport::UnixDatagram(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_write_timeout(timeout)?;
            Ok(Connection::Unix(socket))
        }
        Transport::Udp(address) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for peer in address.to_socket_addrs()? {
                let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                match socket.connect(peer) {
                    Ok(()) => {
                        socket.set_write_timeout(timeout)?;
                        return Ok(Connection::Udp(socket));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        Transport::UnixStream(_) | Transport::Tcp(_) | Transport::Tls(..) => {
            Stream::open(config).map(Connection::Stream)
        }
    }
}

impl Sink for SyslogSink {
    fn write(&mut self, lines: &mut Vec<u8>) -> Result<(), WriteError> {
        let mut sent = 0;
        let outcome = match self.connect() {
            Ok(Connection::Stream(stream)) => stream.send(lines, &mut sent),
            Ok(_) => self.datagrams(lines, &mut sent),
            Err(error) => Err(error),
        };
        lines.drain(..sent.min(lines.len()));
        outcome.map_err(|source| {
            self.connection = None;
            WriteError::Retry { what: "sending to the syslog server".into(), source }
        })
    }

    fn losses(&self) -> Losses {
        self.losses
    }

    fn pause(&self, failures: u32) -> Duration {
        backoff::pause(failures)
    }

    fn close(&mut self) {
        if let Some(Connection::Stream(stream)) = &mut self.connection {
            stream.close();
        }
    }
}

#[cfg(test)]
mod tests;

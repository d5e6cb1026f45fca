//! Asking a server for the address of a name. Source of the form: RFC 1035, section 4.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::Outcome;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Bytes of that file that are looked at, and servers of it that are asked. Source: resolv.conf(5), `MAXNS`.
const CONF_MAX: u64 = 64 * 1024;
const SERVERS_MAX: usize = 3;
const PORT: u16 = 53;
const HEADER: usize = 12;
/// Flags: a question, and the server shall ask others.
const RECURSION: u16 = 0x0100;
const RESPONSE: u8 = 0x80;
/// Type A, class IN.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// Asks one server after the other until one answers, all within `timeout`.
pub(super) async fn look_up(name: &str, server: Option<SocketAddr>, timeout: Duration) -> Outcome {
    let servers = match server {
        Some(server) => vec![server],
        None => {
            let text = tokio::task::spawn_blocking(read_conf).await.unwrap_or_default();
            name_servers(&text)
        }
    };
    let each = timeout / u32::try_from(servers.len().max(1)).unwrap_or(1);
    let mut outcome = Outcome::NoAddress;
    for server in servers {
        outcome = match tokio::time::timeout(each, ask(name, server)).await {
            Ok(Ok(())) => return Outcome::Answered,
            Ok(Err(_)) => Outcome::Unreachable,
            Err(_) => Outcome::Timeout,
        };
    }
    outcome
}

fn read_conf() -> String {
    let mut text = Vec::new();
    // Without the file it is as if it were empty.
    let _ = File::open(RESOLV_CONF).and_then(|file| file.take(CONF_MAX).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// The servers of a `resolv.conf`; without any the one on this machine.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let server = words.next() == Some("nameserver");
        words.next().filter(|_| server)?.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT))
    };
    let mut servers: Vec<_> = text.lines().filter_map(address).take(SERVERS_MAX).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
    }
    servers
}

/// Returns when the server has answered this question, whatever it said.
async fn ask(name: &str, server: SocketAddr) -> std::io::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // Only what comes from there is received.
    socket.connect(server).await?;
    let id = random();
    socket.send(&question(id, name)).await?;
    let mut answer = [0; HEADER];
    loop {
        let received = socket.recv(&mut answer).await?;
        if received == HEADER && answer[..2] == id.to_be_bytes() && answer[2] & RESPONSE != 0 {
            return Ok(());
        }
    }
}

/// Not to be foreseen from outside: the keys of a hasher are random.
fn random() -> u16 {
    (RandomState::new().build_hasher().finish() & 0xffff) as u16
}

/// The message that asks for the IPv4 address of a name, whose parts have at most 63 bytes.
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 2 + ADDRESS.len());
    for word in [id, RECURSION, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(ADDRESS);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_a_file() {
        let text = "# nameserver 9.9.9.9\nsearch a\nnameserver 10.0.0.1\nnameserver ::1 # b\nnameserver fe80::1%eth0\n\
                    nameserver x\noptions rotate\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n";
        let expected = ["10.0.0.1:53", "[::1]:53", "10.0.0.3:53"];
        assert_eq!(name_servers(text), expected.map(|address| address.parse().unwrap()));
        assert_eq!(name_servers(""), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn the_form_of_a_question() {
        let expected =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01";
        assert_eq!(question(0x1234, "a.example"), expected);
    }
}

//! Tells systemd, or whoever waits in its way, how far the agent is, and that it lives.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Everything runs.
pub fn ready() {
    send("READY=1\nSTATUS=Running");
}

/// The end has begun.
pub fn stopping() {
    send("STOPPING=1\nSTATUS=Stopping");
}

/// What it is at, for people.
pub fn status(text: &str) {
    send(&format!("STATUS={}", text.replace('\n', "; ")));
}

/// The configuration is read again; [`ready`] says that this is done.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reloading"));
}

/// It lives. Without this for as long as [`watchdog`] says, it is ended and started again.
pub fn alive() {
    send("WATCHDOG=1");
}

/// Time within which the service manager wants to be told that the agent lives; `None`: it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    interval(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref())
}

fn interval(microseconds: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    // The variables may have been meant for who started us.
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let microseconds = microseconds?.parse().ok().filter(|&microseconds| ours && microseconds > 0)?;
    Some(Duration::from_micros(microseconds))
}

fn send(state: &str) {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop the agent.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(state.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::warn!(%error, path, "the socket of NOTIFY_SOCKET cannot be told of the agent's state");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let own = std::process::id().to_string();
        let three = Some(Duration::from_secs(3));
        assert_eq!(interval(Some("3000000"), None), three);
        assert_eq!(interval(Some("3000000"), Some(&own)), three);
        assert_eq!(interval(Some("3000000"), Some("1")), None);
        assert_eq!(interval(Some("3000000"), Some("x")), None);
        for wrong in ["0", "-1", "", "3s"] {
            assert_eq!(interval(Some(wrong), None), None, "{wrong}");
        }
        assert_eq!(interval(None, Some(&own)), None);
    }
}

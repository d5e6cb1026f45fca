//! Messages of RFC 5424: a header around the line of an event.

use std::sync::Arc;

use saker_api::event::{Event, EventKind};
use saker_api::filter::Subscription;
use saker_api::json::rfc3339;

use crate::Encoder;

/// Names of facilities by their number.
pub const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// Names of severities by their number.
pub const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];

/// Longest names that the RFC allows.
const HOST_MAX: usize = 255;
const APP_MAX: usize = 48;

/// What messages look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageConfig {
    /// Number of the facility, 0 to 23.
    pub facility: u8,
    /// Severity of events, 0 to 7.
    pub severity: u8,
    /// Severity of events in which a policy did something to a process, and of gaps.
    pub severity_enforcement: u8,
    /// APP-NAME.
    pub app_name: String,
    /// SD-ID of structured data with the gist of the event, such as `saker@32473`; `None`: there is none.
    pub structured: Option<String>,
    /// Begin a message that is not ASCII with a byte order mark, as the RFC asks; some receivers mind it.
    pub bom: bool,
}

impl MessageConfig {
    fn head(&self, event: &Event, severity: u8, kind: &str, out: &mut Vec<u8>) {
        let (time, _) = rfc3339(event.time);
        let priority = u32::from(self.facility) * 8 + u32::from(severity);
        out.extend_from_slice(format!("<{priority}>1 ").as_bytes());
        // The RFC allows six digits of a second.
        out.extend_from_slice(&time[..26]);
        out.extend_from_slice(b"Z ");
        name(&event.node.name, HOST_MAX, out);
        out.push(b' ');
        name(&self.app_name, APP_MAX, out);
        out.extend_from_slice(format!(" {} {kind} ", std::process::id()).as_bytes());
    }

    fn structured_data(&self, event: &Event, out: &mut Vec<u8>) {
        let Some(id) = &self.structured else {
            out.push(b'-');
            return;
        };
        out.push(b'[');
        out.extend_from_slice(id.as_bytes());
        let (process, ..) = event.kind.processes();
        if let Some(view) = process {
            parameter("pid", &view.process.pid.to_string(), out);
            parameter("exec_id", &view.process.exec_id, out);
            parameter("binary", &view.process.binary, out);
            if let Some(pod) = &view.process.pod {
                parameter("namespace", &pod.namespace, out);
                parameter("pod", &pod.name, out);
            }
        }
        if let EventKind::Hook(hook) = &event.kind {
            parameter("policy", &hook.hook.policy, out);
            parameter("function", &hook.function, out);
            parameter("enforced", if event.kind.is_enforcement() { "true" } else { "false" }, out);
        }
        out.push(b']');
    }

    /// Adds a mark before the text, which begins there, if it needs one.
    fn mark(&self, begin: usize, out: &mut Vec<u8>) {
        if self.bom && !out[begin..].is_ascii() {
            out.splice(begin..begin, *b"\xef\xbb\xbf");
        }
    }
}

/// Puts a header before the lines of an encoder. Structured data has fields of its own choice, so events of which fields
/// are left out for this receiver have none.
#[must_use]
pub fn syslog_encoder(config: MessageConfig, wanted: Arc<Subscription>, mut line: Encoder) -> Encoder {
    Box::new(move |told, out| {
        let event = told.newest();
        if told.is_event() {
            let notable = event.kind.is_enforcement() || matches!(event.kind, EventKind::Gap(_));
            let severity = if notable { config.severity_enforcement } else { config.severity };
            config.head(event, severity, event.kind.name(), out);
        } else {
            config.head(event, config.severity, "rate_limit_info", out);
        }
        if told.is_event() && !wanted.fields.concern(event) {
            config.structured_data(event, out);
        } else {
            out.push(b'-');
        }
        out.push(b' ');
        let begin = out.len();
        line(told, out);
        config.mark(begin, out);
    })
}

/// A name of the header: printable ASCII without spaces, at most so long; nothing is `-`.
fn name(text: &str, most: usize, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend(text.chars().take(most).map(|char| if char.is_ascii_graphic() { char as u8 } else { b'?' }));
    if out.len() == begin {
        out.push(b'-');
    }
}

/// ` NAME="VALUE"` with escapes. Control characters, which receivers may take for the end of the message, become `?`;
/// the text of the message has them in its own escapes. Nothing is left out.
fn parameter(key: &str, value: &str, out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    out.push(b' ');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"=\"");
    let mut bytes = [0; 4];
    for char in value.chars() {
        match char {
            '"' | '\\' | ']' => out.extend_from_slice(&[b'\\', char as u8]),
            char if char.is_control() => out.push(b'?'),
            char => out.extend_from_slice(char.encode_utf8(&mut bytes).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;

//! One line of the JSON export, checked for its form.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

/// Keys beside the one that says what happened.
const ENVELOPE: &[&str] = &["node_name", "time", "cluster_name", "node_labels", "aggregation_info"];

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `process_exec`
    Exec,
    /// `process_exit`
    Exit,
    /// `gap`
    Gap,
    /// A call of a hook: `process_kprobe`, `process_tracepoint`, `process_loader`, `process_lsm`, `process_uprobe`,
    /// `process_usdt`
    Hook,
    /// Something else of the closed list of events.
    Other,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it tells.
    pub kind: Kind,
    /// The event's key.
    pub key: String,
    /// Number of its line, from 1.
    pub line: u64,
    /// Name of the node.
    pub node: String,
    /// The object below the event's key.
    pub body: Value,
    /// The `time` of the line.
    pub time: String,
}

impl Event {
    /// Reads a line. Messages never show what the line holds, for it may be about somebody else.
    ///
    /// # Errors
    /// When it is not an object with exactly one event key, a node and a time.
    pub fn parse(line: u64, text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| anyhow!("line {line} of the export does not parse: {error}"))?;
        let Value::Object(mut object) = value else { bail!("line {line} of the export is not an object") };
        let keys: BTreeSet<String> = object.keys().cloned().collect();
        let events: Vec<&String> = keys.iter().filter(|key| !ENVELOPE.contains(&key.as_str())).collect();
        ensure!(events.len() == 1, "line {line} of the export has {} event keys: {events:?}", events.len());
        let key = events[0];
        let kind = match key.as_str() {
            "process_exec" => Kind::Exec,
            "process_exit" => Kind::Exit,
            "gap" => Kind::Gap,
            "process_kprobe" | "process_tracepoint" | "process_loader" | "process_lsm" | "process_uprobe"
            | "process_usdt" => Kind::Hook,
            "rate_limit_info" | "process_throttle" | "test" => Kind::Other,
            other => bail!("line {line} of the export has the unknown event key {other}"),
        };
        let text_of = |name: &str| -> Result<String> {
            let text = object.get(name).and_then(Value::as_str);
            Ok(text.with_context(|| format!("line {line} of the export has no {name}"))?.to_owned())
        };
        let (node, time) = (text_of("node_name")?, text_of("time")?);
        ensure!(time.ends_with('Z'), "line {line} of the export has a time that is not UTC");
        let key = key.to_owned();
        let body = object.remove(&key).unwrap_or_default();
        Ok(Self { kind, key, line, node, body, time })
    }

    /// The value at this place of the event, e.g. `process/ns/pid/inum`; null: nothing there.
    #[must_use]
    pub fn at(&self, place: &str) -> &Value {
        self.body.pointer(&format!("/{place}")).unwrap_or(&Value::Null)
    }

    /// The string at this place; empty: none, as the form leaves out what is empty.
    #[must_use]
    pub fn text(&self, place: &str) -> &str {
        self.at(place).as_str().unwrap_or("")
    }

    /// The number at this place, also one that stands as a string; 0: none.
    #[must_use]
    pub fn number(&self, place: &str) -> u64 {
        let value = self.at(place);
        value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
    }

    /// Whether the value at this place is true.
    #[must_use]
    pub fn truth(&self, place: &str) -> bool {
        self.at(place) == &Value::Bool(true)
    }

    /// `process.exec_id`
    #[must_use]
    pub fn exec_id(&self) -> &str {
        self.text("process/exec_id")
    }

    /// `process.pid`
    #[must_use]
    pub fn pid(&self) -> u32 {
        u32::try_from(self.number("process/pid")).unwrap_or(0)
    }

    /// The identities that tell where the process comes from, as far as the event tells: its own, the one before
    /// its exec, and its forebears, of which some may never have executed anything and have no event yet.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        let places = ["process/exec_id", "process/previous_exec_id", "process/parent_exec_id"];
        let near = places.into_iter().chain(["parent/parent_exec_id"]).map(|place| self.text(place));
        let far = self.at("ancestors").as_array().into_iter().flatten();
        near.chain(far.filter_map(|ancestor| ancestor["exec_id"].as_str())).filter(|id| !id.is_empty())
    }

    /// Whether `process.flags` has this name.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.text("process/flags").split(' ').any(|flag| flag == name)
    }
}

/// The parts of an exec id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecId {
    /// Name of the node.
    pub node: String,
    /// Boot time of the exec or of the creation, nanoseconds.
    pub ktime: u64,
    /// Thread-group id.
    pub pid: u32,
}

impl ExecId {
    /// Decodes base64 of `NODE:KTIME:PID`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(id: &str) -> Result<Self> {
        let bytes = base64(id).with_context(|| format!("the exec id {id} is not base64"))?;
        let text = String::from_utf8(bytes).with_context(|| format!("the exec id {id} is not text"))?;
        let mut parts = text.rsplitn(3, ':');
        let (pid, ktime, node) = (parts.next(), parts.next(), parts.next());
        let (Some(pid), Some(ktime), Some(node)) = (pid, ktime, node) else {
            bail!("the exec id {id} decodes to {text}, not to NODE:KTIME:PID");
        };
        Ok(Self { node: node.to_owned(), ktime: ktime.parse()?, pid: pid.parse()? })
    }
}

/// Standard alphabet, padded.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    for group in text.as_bytes().chunks(4) {
        let padding = group.iter().rev().take_while(|&&byte| byte == b'=').count();
        let mut bits = 0_u32;
        for &byte in group {
            bits = bits << 6
                | match byte {
                    b'A'..=b'Z' => u32::from(byte - b'A'),
                    b'a'..=b'z' => u32::from(byte - b'a') + 26,
                    b'0'..=b'9' => u32::from(byte - b'0') + 52,
                    b'+' => 62,
                    b'/' => 63,
                    b'=' => 0,
                    _ => return None,
                };
        }
        let whole = bits.to_be_bytes();
        bytes.extend_from_slice(&whole[1..4 - padding.min(2)]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_ids_decode() {
        let id = ExecId::parse("dm06MTIzNDU2Nzg5OjQy").unwrap();
        assert_eq!(id, ExecId { node: "vm".into(), ktime: 123_456_789, pid: 42 });
        assert!(ExecId::parse("dm06MTIzNDU2Nzg5OjQ").is_err());
        assert!(ExecId::parse("dm0=").is_err());
    }

    #[test]
    fn a_line_has_one_event_key() {
        let good = r#"{"process_exec":{"process":{"pid":1}},"node_name":"n","time":"2026-01-01T00:00:00Z"}"#;
        let event = Event::parse(1, good).unwrap();
        assert_eq!((event.kind, event.pid()), (Kind::Exec, 1));
        for bad in [
            "{",
            "[]",
            r#"{"node_name":"n","time":"2026-01-01T00:00:00Z"}"#,
            r#"{"process_exec":{},"process_exit":{},"node_name":"n","time":"2026-01-01T00:00:00Z"}"#,
            r#"{"surprise":{},"node_name":"n","time":"2026-01-01T00:00:00Z"}"#,
            r#"{"gap":{},"time":"2026-01-01T00:00:00Z"}"#,
        ] {
            assert!(Event::parse(1, bad).is_err(), "{bad}");
        }
    }
}

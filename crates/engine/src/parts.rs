//! The values of an exec or task record, by what they are.

use saker_abi::{Record, Status, Tag, Value};

/// Values of an exec or task record; of a tag that comes twice the last counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    pub filename: Option<Value<'a>>,
    pub exe: Option<Value<'a>>,
    pub cwd: Option<Value<'a>>,
    pub args: Option<Value<'a>>,
    pub envs: Option<Value<'a>>,
    pub interp: Option<Value<'a>>,
    pub cgroup: Option<Value<'a>>,
    pub tty: Option<Value<'a>>,
}

impl<'a> Parts<'a> {
    pub fn of(record: &Record<'a>) -> Self {
        let mut parts = Self::default();
        for value in record.values() {
            let place = match value.tag {
                Tag::FILENAME => &mut parts.filename,
                Tag::EXE => &mut parts.exe,
                Tag::CWD => &mut parts.cwd,
                Tag::ARGS => &mut parts.args,
                Tag::ENVS => &mut parts.envs,
                Tag::INTERP => &mut parts.interp,
                Tag::CGROUP => &mut parts.cgroup,
                Tag::TTY => &mut parts.tty,
                _ => continue,
            };
            *place = Some(value);
        }
        parts
    }
}

/// Whether a value is there and has this status.
pub(crate) fn is(value: Option<Value<'_>>, status: Status) -> bool {
    value.is_some_and(|value| value.status == status)
}

/// The bytes of a string, without the NUL that may end it; empty when it could not be read.
pub(crate) fn string<'a>(value: Option<Value<'a>>) -> &'a [u8] {
    let bytes = value.map_or(&[][..], |value| value.bytes);
    bytes.strip_suffix(b"\0").unwrap_or(bytes)
}

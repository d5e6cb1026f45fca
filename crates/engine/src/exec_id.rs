//! `exec_id`: base64 of `NODE:KTIME:PID`.

use std::sync::Arc;

use saker_abi::Key;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Most bytes of `KTIME:PID` and what precedes it of a group of three.
const TAIL_MAX: usize = 2 + 20 + 1 + 10;

/// Makes exec ids of one node. The part of the node's name is encoded once.
#[derive(Debug)]
pub(crate) struct ExecIds {
    /// The id under construction; its first `prefix` bytes stay.
    text: Vec<u8>,
    prefix: usize,
    /// What of `NODE:` does not fill a group of three bytes.
    rest: Vec<u8>,
}

impl ExecIds {
    pub fn new(node: &str) -> Self {
        let mut plain = node.as_bytes().to_vec();
        plain.push(b':');
        let rest = plain.split_off(plain.len() / 3 * 3);
        let mut text = Vec::new();
        push_base64(&mut text, &plain);
        Self { prefix: text.len(), text, rest }
    }

    /// The id of a process. The parent of the first processes has the id 0 and no time of its own.
    pub fn id(&mut self, key: Key) -> Arc<str> {
        let ktime = if key.pid == 0 { 1 } else { key.ktime };
        let mut tail = [0; TAIL_MAX];
        let mut at = put_decimal(&mut tail, TAIL_MAX, u64::from(key.pid)) - 1;
        tail[at] = b':';
        at = put_decimal(&mut tail, at, ktime) - self.rest.len();
        tail[at..at + self.rest.len()].copy_from_slice(&self.rest);
        self.text.truncate(self.prefix);
        push_base64(&mut self.text, &tail[at..]);
        Arc::from(str::from_utf8(&self.text).unwrap_or_default())
    }
}

/// Writes a number so that it ends before `end`; returns where it begins.
fn put_decimal(out: &mut [u8; TAIL_MAX], end: usize, mut value: u64) -> usize {
    let mut at = end;
    loop {
        at -= 1;
        out[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return at;
        }
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let letter = |bits: u32| ALPHABET[(bits & 63) as usize];
    let (groups, rest) = bytes.as_chunks::<3>();
    for [a, b, c] in groups {
        let bits = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
        out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), letter(bits)]);
    }
    match rest {
        [a] => {
            let bits = u32::from(*a) << 16;
            out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), b'=', b'=']);
        }
        [a, b] => {
            let bits = u32::from(*a) << 16 | u32::from(*b) << 8;
            out.extend_from_slice(&[letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), b'=']);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_base64_of_node_time_and_pid() {
        assert_eq!(&*ExecIds::new("n").id(Key::new(1, 2)), "bjoyOjE=");
        assert_eq!(&*ExecIds::new("ab").id(Key::new(1, 2)), "YWI6Mjox");
        assert_eq!(
            &*ExecIds::new("abc").id(Key::new(4_194_304, 52_699_123_456_789)),
            "YWJjOjUyNjk5MTIzNDU2Nzg5OjQxOTQzMDQ="
        );
        assert_eq!(&*ExecIds::new("").id(Key::new(7, u64::MAX)), "OjE4NDQ2NzQ0MDczNzA5NTUxNjE1Ojc=");
    }

    #[test]
    fn process_zero_has_time_one() {
        assert_eq!(ExecIds::new("n").id(Key::new(0, 99)), ExecIds::new("n").id(Key::new(0, 1)));
        assert_eq!(&*ExecIds::new("n").id(Key::new(0, 99)), "bjoxOjA=");
    }
}

//! What records of policies leave open: names of callers, and what mapped files say of themselves.
//!
//! The engine does no I/O, and its findings stand in recordings beside the records. Records that ask for nothing cost
//! three looks at their bytes.

use std::mem::offset_of;
use std::path::Path;

use saker_abi::generated::{SAKER_FAMILY_LOADER, SAKER_KIND_HOOK};
use saker_abi::{Body, Content, Hook, HookFlags, Record, Tag, decode, device};
use saker_engine::hook::PolicyText;
use saker_engine::{Findings, Symbol, addresses};
use saker_probes::symbols::{Answer, Location, Lookup, MappedFile, Question};

/// Looks up for records.
#[derive(Debug)]
pub struct Lookups {
    lookup: Lookup,
    /// Wall clock minus CLOCK_BOOTTIME, in nanoseconds.
    pub(super) boot_to_wall: u64,
}

impl Lookups {
    /// Reads below the host's `/proc`. `boot_to_wall`: wall clock minus CLOCK_BOOTTIME, in nanoseconds.
    #[must_use]
    pub fn new(procfs: &Path, boot_to_wall: u64) -> Self {
        Self { lookup: Lookup::new(procfs), boot_to_wall }
    }

    /// Gets ready for the records of a policy.
    pub(super) fn prepare(&mut self, policy: &PolicyText) {
        if policy.hooks.iter().any(|hook| hook.stacks) {
            self.lookup.prepare();
        }
    }

    /// Questions that had no answer in time.
    pub(super) fn late(&self) -> u64 {
        self.lookup.late()
    }

    /// What was found for a record; `None`: it leaves nothing open, or it was not found out in time.
    pub(super) fn of(&mut self, record: &[u8]) -> Option<Findings> {
        if !leaves_open(record) {
            return None;
        }
        let question = question(&decode(record).ok()?, self.boot_to_wall)?;
        self.lookup.ask(question).map(findings)
    }
}

/// Whether a record asks for anything, without decoding it.
fn leaves_open(record: &[u8]) -> bool {
    let kind = record.get(offset_of!(saker_abi::Header, kind)).copied();
    if kind.map(u32::from) != Some(SAKER_KIND_HOOK) {
        return false;
    }
    let family = record.get(offset_of!(Hook, family)).copied();
    let flags = record.get(offset_of!(Hook, flags)..).and_then(|rest| rest.first_chunk::<4>());
    let flags = HookFlags(flags.copied().map(u32::from_ne_bytes).unwrap_or_default());
    family.map(u32::from) == Some(SAKER_FAMILY_LOADER)
        || flags.has(HookFlags::KERNEL_STACK)
        || flags.has(HookFlags::USER_STACK)
}

fn question(record: &Record<'_>, boot_to_wall: u64) -> Option<Question> {
    let Body::Hook(hook) = &record.body else { return None };
    let header = &hook.rec;
    let mut question = Question { pid: header.process.pid, time: header.time, ..Question::default() };
    let of_loader = u32::from(hook.family) == SAKER_FAMILY_LOADER;
    let mut file = MappedFile { time: header.time.wrapping_add(boot_to_wall), ..MappedFile::default() };
    for value in record.values() {
        match value.tag {
            Tag::KERNEL_STACK => question.kernel = addresses(value.bytes).collect(),
            Tag::USER_STACK => question.user = addresses(value.bytes).collect(),
            // What the plan of the loader captures: the file, and where it is mapped to.
            tag if of_loader => match (tag.index(), value.content()) {
                (Some(0), Ok(Content::Object(_, object, path))) => {
                    file.device = device(object.dev);
                    file.inode = object.ino;
                    file.path = path.to_vec();
                }
                (Some(1), Ok(Content::Size(start))) => file.start = start,
                _ => {}
            },
            _ => {}
        }
    }
    question.file = (file.inode != 0).then_some(file);
    let asks = !question.kernel.is_empty() || !question.user.is_empty() || question.file.is_some();
    asks.then_some(question)
}

fn findings(answer: Answer) -> Findings {
    let symbols = |locations: Vec<Location>| {
        let symbol = |Location { symbol: name, module, offset }| Symbol { name, module, offset };
        locations.into_iter().map(symbol).collect()
    };
    Findings {
        own_frames: answer.own_frames,
        kernel: symbols(answer.kernel),
        user: symbols(answer.user),
        build_id: answer.build_id,
    }
}

#[cfg(test)]
mod tests {
    use saker_abi::Status;
    use saker_abi::generated::{SAKER_TYPE_FILE, SAKER_TYPE_U64, saker_number, saker_object};
    use saker_engine::workload::World;

    use super::*;

    fn words(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn what_a_record_asks_for() {
        let mut world = World::new(1);
        let subject = world.existing(77, saker_abi::Key::default());
        let flags = HookFlags::KERNEL_STACK.with(HookFlags::USER_STACK);
        let stacks = world.hook(&subject, Hook { flags: flags.0, ..Hook::default() });
        let stacks = stacks.value(Tag::KERNEL_STACK, Status::Ok, 0, &words(&[1, 2]));
        let stacks = stacks.value(Tag::USER_STACK, Status::Ok, 0, &words(&[3])).finish();
        assert!(leaves_open(&stacks));
        let record = decode(&stacks).unwrap();
        let asked = question(&record, 0).unwrap();
        assert_eq!((asked.pid, asked.time), (77, record.header().time));
        assert_eq!((asked.kernel, asked.user, asked.file), (vec![1, 2], vec![3], None));

        let file = saker_object { ino: 9, dev: 8 << 20 | 1, ..saker_object::default() };
        let loaded = world.hook(&subject, Hook { family: SAKER_FAMILY_LOADER as u8, ..Hook::default() });
        let loaded = loaded.captured(Tag::captured(0), SAKER_TYPE_FILE, &file, b"/lib/x");
        let start = saker_number { value: 0x7f00 };
        let loaded = loaded.captured(Tag::captured(1), SAKER_TYPE_U64, &start, b"").finish();
        let record = decode(&loaded).unwrap();
        let time = record.header().time + 100;
        let meant = MappedFile { device: (8, 1), inode: 9, start: 0x7f00, path: b"/lib/x".to_vec(), time };
        assert_eq!(question(&record, 100).unwrap().file, Some(meant));

        let plain = world.hook(&subject, Hook::default()).finish();
        assert!(!leaves_open(&plain) && !leaves_open(b"") && !leaves_open(&plain[..3]));
    }
}

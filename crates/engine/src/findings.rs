//! What was looked up beside the kernel's records: names of callers, and what a file says of itself.
//!
//! The engine does no I/O. Whoever gives it records looks up what they leave open, and gives the findings before
//! the record they belong to; in a recording they stand in the same place, so a replay tells the same.

use std::sync::Arc;

use saker_abi::generated::SAKER_FRAMES_MAX;
use saker_abi::{Hook, HookFlags, Record, Tag};
use saker_api::event::{Frame, HookEvent};

/// What was looked up for one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Frames of the kernel's stack, from its beginning, that are those of the hook itself; they are not told.
    pub own_frames: usize,
    /// Names of the frames of the kernel's stack, in its order; what is missing is not known.
    pub kernel: Vec<Symbol>,
    /// Likewise of the program's.
    pub user: Vec<Symbol>,
    /// What the linker named the file by that was mapped; empty: not known.
    pub build_id: Vec<u8>,
}

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// Its function; empty: not known.
    pub name: Arc<str>,
    /// Module of the kernel, or the file; empty: the kernel itself, or not known.
    pub module: Arc<str>,
    /// In the kernel: bytes behind the beginning of the function. In a program: offset in the file.
    pub offset: u64,
}

impl Findings {
    /// Bytes that they take, about.
    pub(crate) fn bytes(&self) -> usize {
        let symbols = self.kernel.iter().chain(&self.user);
        let texts: usize = symbols.map(|one| size_of::<Frame>() + one.name.len() + one.module.len()).sum();
        texts + self.build_id.len()
    }
}

/// The addresses of a stack's value.
///
/// What is not a whole address at the end is left out, and what is beyond [`SAKER_FRAMES_MAX`] too.
pub fn addresses(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let words = bytes.as_chunks::<8>().0.iter().take(SAKER_FRAMES_MAX as usize);
    words.map(|word| u64::from_ne_bytes(*word))
}

/// Puts the stacks of a record into its event. Those it has already, which are those of the entry, stay.
pub(crate) fn put_stacks(
    event: &mut HookEvent,
    hook: &Hook,
    record: &Record<'_>,
    findings: Option<&Findings>,
    show_addresses: bool,
) {
    let flags = HookFlags(hook.flags);
    let asked = [flags.has(HookFlags::KERNEL_STACK), flags.has(HookFlags::USER_STACK)];
    if asked == [false, false] {
        return;
    }
    let nothing = Findings::default();
    let findings = findings.unwrap_or(&nothing);
    let mut missing = asked;
    for value in record.values() {
        let (stack, symbols, skip) = match value.tag {
            Tag::KERNEL_STACK => {
                missing[0] = false;
                (&mut event.more.kernel_stack, &findings.kernel, findings.own_frames)
            }
            Tag::USER_STACK => {
                missing[1] = false;
                (&mut event.more.user_stack, &findings.user, 0)
            }
            _ => continue,
        };
        if stack.is_empty() {
            let frames = addresses(value.bytes).enumerate().skip(skip);
            stack.extend(frames.map(|(index, address)| frame(address, symbols.get(index), show_addresses)));
        }
    }
    event.more.stack_missing = match missing {
        [true, true] => "kernel, user",
        [true, false] => "kernel",
        [false, true] => "user",
        [false, false] => event.more.stack_missing,
    };
}

fn frame(address: u64, symbol: Option<&Symbol>, show_address: bool) -> Frame {
    let address = if show_address { address } else { 0 };
    let Some(symbol) = symbol else { return Frame { address, ..Frame::default() } };
    let Symbol { name, module, offset } = symbol;
    Frame { address, offset: *offset, symbol: Arc::clone(name), module: Arc::clone(module) }
}

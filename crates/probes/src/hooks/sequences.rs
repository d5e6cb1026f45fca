//! Where the kernel counts renames and changes of mounts: hooks keep where mounts hang as long as neither grows.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::mem::MaybeUninit;
use std::thread;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, ProgramInput};
use saker_abi::generated::saker_sequences;
use zerocopy::IntoBytes;

use crate::loader;
use crate::symbols_skel::SymbolsSkelBuilder;

/// Where the kernel lists its symbols.
const SYMBOLS: &str = "/proc/kallsyms";
/// Locks whose sequences these are; each begins with it (`seqlock_t` in include/linux/seqlock_types.h).
const RENAMES: &[u8] = b"rename_lock";
const MOUNTS: &[u8] = b"mount_lock";

/// Finds them and puts them into the map, on a thread of its own: where the kernel has to go through all its symbols for it, that
/// takes long. Hooks do without until then, and where it does not tell data (`CONFIG_KALLSYMS_ALL`).
pub(super) fn find(map: MapHandle) {
    let run = move || match found() {
        Ok(Some(found)) => {
            if let Err(error) = map.update(&0_u32.to_ne_bytes(), found.as_bytes(), MapFlags::ANY) {
                tracing::debug!(%error, "hooks are not told where the kernel counts changes of mounts");
            }
        }
        Ok(None) => {
            tracing::debug!(
                "the kernel does not tell where it counts changes of mounts: paths are walked each time"
            );
        }
        Err(error) => {
            tracing::debug!(%error, "the kernel's symbols cannot be read: paths are walked each time");
        }
    };
    if let Err(error) = thread::Builder::new().name("saker-symbols".into()).spawn(run) {
        tracing::debug!(%error, "the kernel's symbols cannot be read: paths are walked each time");
    }
}

/// Asks the kernel for them by name, or goes through its list where it cannot be asked.
fn found() -> io::Result<Option<saker_sequences>> {
    match asked() {
        Ok(found) => Ok(found),
        Err(error) => {
            tracing::debug!(%error, "the kernel is not asked for symbols by their names: its list of them is read");
            read(BufReader::with_capacity(1 << 16, File::open(SYMBOLS)?))
        }
    }
}

/// What the kernel tells by name, from Linux 5.16 on; None: it does not have one of them, or hides addresses.
fn asked() -> Result<Option<saker_sequences>, libbpf_rs::Error> {
    let mut found = saker_sequences::default();
    let mut place = MaybeUninit::uninit();
    // Until it is loaded: before Linux 6.2 it runs for long, and other programs need not wait for it.
    let lock = loader::lock();
    let skel = SymbolsSkelBuilder::default().open(&mut place)?.load()?;
    drop(lock);
    let input = ProgramInput { context_in: Some(found.as_mut_bytes()), ..ProgramInput::default() };
    let output = skel.progs.saker_find_sequences.test_run(input)?;
    Ok(whole(output.return_value, found))
}

/// None: a lookup failed, which the status tells, or told no address.
fn whole(status: u32, found: saker_sequences) -> Option<saker_sequences> {
    (status == 0 && found.renames != 0 && found.mounts != 0).then_some(found)
}

/// Whether they were found.
pub(super) fn are_in(map: &MapHandle) -> bool {
    let bytes = map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok().flatten();
    bytes.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
}

/// None: one of them is not there, or its address is hidden.
fn read(mut symbols: impl BufRead) -> io::Result<Option<saker_sequences>> {
    let mut found = saker_sequences::default();
    let mut line = Vec::new();
    while found.renames == 0 || found.mounts == 0 {
        line.clear();
        if symbols.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        // The address, a letter, the name; those of modules have more.
        let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let to = match name {
            RENAMES => &mut found.renames,
            MOUNTS => &mut found.mounts,
            _ => continue,
        };
        let address = str::from_utf8(address).ok().and_then(|address| u64::from_str_radix(address, 16).ok());
        match address.filter(|address| *address != 0) {
            Some(address) if *to == 0 => *to = address,
            _ => return Ok(None),
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_found_by_their_whole_name() {
        let list = "ffffffff81000000 T _text\nffffffff82a09500 t remount_lock\nffffffff82a09600 D rename_lock\n\
                    ffffffffc0001000 d mount_lock\t[overlay]\nffffffff82a09680 D mount_lock\n";
        let found = read(list.as_bytes()).unwrap().unwrap();
        assert_eq!((found.renames, found.mounts), (0xffff_ffff_82a0_9600, 0xffff_ffff_82a0_9680));
    }

    #[test]
    fn half_an_answer_is_none() {
        let found = saker_sequences { renames: 1, mounts: 2 };
        assert!(whole(0, found).is_some());
        assert!(whole(2_u32.wrapping_neg(), found).is_none());
        assert!(whole(0, saker_sequences { mounts: 0, ..found }).is_none());
    }

    /// By both ways, where this kernel and the rights of the test allow them.
    #[test]
    fn the_kernel_tells_what_its_list_has() {
        let listed = File::open(SYMBOLS).and_then(|file| read(BufReader::new(file)));
        let (Ok(asked), Ok(listed)) = (asked(), listed) else {
            eprintln!("skipped: needs root, and Linux 5.16");
            return;
        };
        let pair = |found: saker_sequences| (found.renames, found.mounts);
        assert_eq!(asked.map(pair), listed.map(pair));
    }

    #[test]
    fn without_both_there_is_none() {
        assert!(read("ffffffff82a09600 D rename_lock\n".as_bytes()).unwrap().is_none());
        let hidden = "0000000000000000 D rename_lock\n0000000000000000 D mount_lock\n";
        assert!(read(hidden.as_bytes()).unwrap().is_none());
        assert!(read("".as_bytes()).unwrap().is_none());
        assert!(read("\u{0} x\nD\n".as_bytes()).unwrap().is_none());
    }
}

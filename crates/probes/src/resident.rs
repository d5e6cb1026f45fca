//! Memory that is resident and that nobody needs: pages of the program that only its start needed, and what the allocator
//! keeps of memory that was given back to it.
//!
//! The start reads the programs for the kernel, their types and tables of options once, and with each page of the program that is
//! touched the kernel maps those around it (`do_fault_around` in `mm/memory.c`, 64 KiB), so that most of the file counts as
//! resident. What is used again is mapped again from the page cache, without a read of the disk.

use std::fs;
use std::io;
use std::ops::Range;

/// Unmaps the pages of files that are mapped and were never written, the program's own and its libraries'; returns how many
/// bytes of them were resident. Those that are used after it are mapped again.
///
/// # Errors
/// When `/proc/self/smaps` cannot be read, or the kernel refuses.
pub fn give_back() -> io::Result<u64> {
    let mut sum = 0;
    for mapping in unwritten(&fs::read_to_string("/proc/self/smaps")?) {
        let Range { start, end } = mapping.at;
        // SAFETY: all pages of this mapping are those of its file, for none of it was ever written: it has no anonymous page,
        // and nothing can be written to it. What is read there next is therefore what was there before. Another mapping
        // cannot have taken its place meanwhile: it is of the program or of a library, which nobody unmaps.
        let refused = unsafe {
            libc::madvise(std::ptr::without_provenance_mut(start), end - start, libc::MADV_DONTNEED)
        };
        if refused != 0 {
            return Err(io::Error::last_os_error());
        }
        sum += mapping.resident;
    }
    Ok(sum)
}

/// Has the allocator give back to the system what it holds free, if at least `least` bytes of what is resident can be nothing
/// else; returns by how many bytes what is resident fell, or None where it was not much. glibc keeps what lies below memory in use, so that one flood or many
/// clients that are gone would stay for good (`man 3 malloc_trim`). Whoever needs memory waits some milliseconds meanwhile.
///
/// # Errors
/// When `/proc/self/status` does not tell what is resident.
pub fn trim(least: u64) -> io::Result<Option<u64>> {
    let resident = anonymous()?;
    if resident < least {
        return Ok(None);
    }
    // SAFETY: it only reads the allocator's own counts, under its locks.
    let counts = unsafe { libc::mallinfo2() };
    let used = counts.uordblks.saturating_add(counts.hblkhd) as u64;
    if resident.saturating_sub(used) < least {
        return Ok(None);
    }
    // SAFETY: only pages that the allocator holds free are given back, under its locks.
    unsafe { libc::malloc_trim(0) };
    Ok(Some(resident.saturating_sub(anonymous()?)))
}

/// Resident bytes that are of no file, of this process.
fn anonymous() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no RssAnon in kB");
    size.map(|size| size * 1024).ok_or_else(unknown)
}

#[derive(Debug)]
struct Mapping<'a> {
    at: Range<usize>,
    rights: &'a str,
    path: &'a str,
    /// Bytes.
    resident: u64,
    /// Bytes of it that are no longer those of the file.
    anonymous: u64,
}

/// The mappings of executables, in the form of `/proc/PID/smaps` (`man 5 proc_pid_smaps`), that cannot be written and have no
/// page that was: relocated data and places where somebody set a breakpoint have some. A file that is only read may be
/// unmapped at any time; one part of which is executed stays.
fn unwritten(smaps: &str) -> Vec<Mapping<'_>> {
    let mut found = Vec::new();
    let mut rest = mappings(smaps).into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut parts = vec![first];
        while let Some(next) = rest.next_if(|next| {
            parts.last().is_some_and(|last| last.path == next.path && last.at.end == next.at.start)
        }) {
            parts.push(next);
        }
        let is_executed = parts.iter().any(|part| part.rights == "r-xp" && part.path.starts_with('/'));
        found.extend(
            parts
                .into_iter()
                .filter(|part| is_executed && ["r-xp", "r--p"].contains(&part.rights) && part.anonymous == 0),
        );
    }
    found
}

fn mappings(smaps: &str) -> Vec<Mapping<'_>> {
    let mut found: Vec<Mapping<'_>> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        let bytes = || value.parse::<u64>().unwrap_or(0) * 1024;
        match (name, found.last_mut()) {
            ("Rss:", Some(newest)) => newest.resident = bytes(),
            ("Anonymous:", Some(newest)) => newest.anonymous = bytes(),
            // Address, rights, offset, device, inode, path.
            _ => found.extend(range(name).map(|at| {
                let path = words.nth(3).unwrap_or_default();
                Mapping { at, rights: value, path, resident: 0, anonymous: 0 }
            })),
        }
    }
    found
}

fn range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let number = |digits: &str| usize::from_str_radix(digits, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    const PAGE: usize = 4096;

    #[test]
    fn only_what_nobody_can_have_written_is_given_back() {
        let text = "\
5600-5700 r--p 00000000 fe:00 42  /usr/bin/saker
Size:                  4 kB
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
5700-5800 r-xp 00001000 fe:00 42  /usr/bin/saker
Rss:                   4 kB
Anonymous:             4 kB
5800-5900 rw-p 00002000 fe:00 42  /usr/bin/saker
Rss:                   4 kB
Anonymous:             0 kB
5900-5a00 r--s 00000000 fe:00 43  /var/lib/shared
Rss:                   4 kB
Anonymous:             0 kB
5a00-5b00 r-xp 00000000 00:00 0  [vdso]
Rss:                   4 kB
Anonymous:             0 kB
5a80-5b00 r--p 00000000 fe:00 45  /var/lib/read
Rss:                   4 kB
Anonymous:             0 kB
5b00-5c00 r-xp 00000000 fe:00 44  /usr/lib/libc.so.6
Rss:                   12 kB
Anonymous:             0 kB
";
        let found: Vec<_> = unwritten(text).into_iter().map(|part| (part.at, part.resident)).collect();
        assert_eq!(found, [(0x5600..0x5700, 8192), (0x5b00..0x5c00, 12288)]);
    }

    #[test]
    fn what_the_allocator_keeps_is_given_back_if_it_is_much() {
        const MANY: usize = 64 << 20;
        // Small pieces, the last of which keeps all before it from going back by itself.
        let mut pieces: Vec<Vec<u8>> = (0..MANY / 1024).map(|_| vec![1; 1000]).collect();
        let held = pieces.pop().unwrap();
        assert_eq!(trim(u64::MAX).unwrap(), None);
        drop(pieces);
        let before = anonymous().unwrap();

        let given = trim(MANY as u64 / 4).unwrap().unwrap();

        assert!(given > MANY as u64 / 2, "{given} of {before}");
        assert!(anonymous().unwrap() < before - MANY as u64 / 2);
        assert_eq!(held, [1; 1000]);
    }

    fn resident(at: usize) -> u64 {
        let text = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("{at:x}-")));
        let line = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Maps the file, and returns its pages.
    fn map(file: &fs::File, rights: i32) -> &'static mut [u8] {
        // SAFETY: a new mapping of a file that is as long and that nobody else writes; it stays until the end.
        unsafe {
            let at =
                libc::mmap(std::ptr::null_mut(), 2 * PAGE, rights, libc::MAP_PRIVATE, file.as_raw_fd(), 0);
            assert_ne!(at, libc::MAP_FAILED);
            std::slice::from_raw_parts_mut(at.cast(), 2 * PAGE)
        }
    }

    #[test]
    fn what_is_given_back_is_there_again_and_what_was_written_stays() {
        let mut file = tempfile::tempfile_in("/var/tmp").unwrap();
        file.write_all(&[b'a'; 2 * PAGE]).unwrap();
        let read = map(&file, libc::PROT_READ | libc::PROT_EXEC);
        let written = map(&file, libc::PROT_READ | libc::PROT_WRITE);
        assert_eq!((read[0], read[PAGE]), (b'a', b'a'));
        written[0] = b'b';
        // As the loader does with what it has relocated.
        // SAFETY: nothing writes there any more.
        let refused = unsafe {
            libc::mprotect(written.as_mut_ptr().cast(), 2 * PAGE, libc::PROT_READ | libc::PROT_EXEC)
        };
        assert_eq!(refused, 0);
        let (of_read, of_written) = (read.as_ptr().addr(), written.as_ptr().addr());
        assert_eq!((resident(of_read), resident(of_written)), (8, 4));

        assert!(give_back().unwrap() >= 8 * 1024);

        assert_eq!((resident(of_read), resident(of_written)), (0, 4));
        assert_eq!((read[0], read[2 * PAGE - 1]), (b'a', b'a'));
        assert_eq!((written[0], written[PAGE]), (b'b', b'a'));
    }
}

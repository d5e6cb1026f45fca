//! Functions of the kernel, of its modules and of programs in it, by `/proc/kallsyms`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Location;
use super::functions::Functions;

/// What kallsyms gives as module of BPF programs and of what calls them.
const PROGRAMS: &str = "bpf";

/// Most that is read of kallsyms: some ten times what a kernel of a distribution has with all its modules.
const READ_MAX: u64 = 256 << 20;
/// Memory that functions may take.
const BYTES_MAX: usize = 64 << 20;
/// Most that is read of the list of modules.
const MODULES_MAX: u64 = 1 << 20;
/// How often it is looked whether modules came or went.
const MODULES_PAUSE: Duration = Duration::from_secs(1);
/// Pauses between two looks for what was not found, which costs up to some hundred milliseconds: it is doubled when
/// nothing new was found.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(64);
/// Functions outside of the kernel itself are no larger: beyond is something that kallsyms does not have.
const FUNCTION_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct KernelSymbols {
    procfs: PathBuf,
    table: Table,
    read: Option<Instant>,
    again: Duration,
    /// Programs have come since.
    stale: bool,
    modules: Vec<u8>,
    modules_read: Option<Instant>,
}

/// One reading of kallsyms.
#[derive(Debug, Default)]
struct Table {
    functions: Functions,
    /// Modules by where their functions begin; empty: the kernel itself.
    modules: Vec<(u64, Arc<str>)>,
    /// Where each module begins and ends.
    extents: Vec<(Arc<str>, u64, u64)>,
    /// Code of the kernel itself.
    text: Option<(u64, u64)>,
}

impl KernelSymbols {
    pub fn new(procfs: &Path) -> Self {
        Self {
            procfs: procfs.to_owned(),
            table: Table::default(),
            read: None,
            again: AGAIN,
            stale: false,
            modules: Vec::new(),
            modules_read: None,
        }
    }

    /// Reads kallsyms, if it has not been read. What is loaded after this is looked for with the first addresses
    /// outside of the kernel itself.
    pub fn prepare(&mut self) {
        if self.read.is_none() {
            self.read_again();
        }
        self.stale = true;
    }

    /// What is at these addresses, the innermost caller first.
    pub fn locate(&mut self, addresses: &[u64]) -> Vec<Location> {
        if addresses.is_empty() {
            return Vec::new();
        }
        let outside = addresses.iter().any(|address| !self.table.is_text(*address));
        if self.read.is_none() || outside && (self.stale || self.modules_changed()) {
            self.read_again();
        }
        let found = self.table.locate(addresses);
        let unknown = |found: &[Location]| found.iter().filter(|location| location.symbol.is_empty()).count();
        let missing = unknown(&found);
        // Programs come and go without a module.
        if missing == 0 || self.read.is_some_and(|read| read.elapsed() < self.again) {
            return found;
        }
        self.read_again();
        let newer = self.table.locate(addresses);
        let helped = unknown(&newer) < missing;
        self.again = if helped { AGAIN } else { (self.again * 2).min(AGAIN_MAX) };
        newer
    }

    /// How many of the innermost callers are programs of hooks, or what calls them: those that kallsyms names so, and
    /// those that have come since it was read.
    pub fn own_frames(&self, addresses: &[u64], found: &[Location]) -> usize {
        let own = |(address, location): (&u64, &Location)| {
            &*location.module == PROGRAMS || location.symbol.is_empty() && !self.table.is_text(*address)
        };
        let count = addresses.iter().zip(found).take_while(|pair| own(*pair)).count();
        // A stack of nothing else is one of which nothing is known.
        if count == found.len() { 0 } else { count }
    }

    fn read_again(&mut self) {
        self.read = Some(Instant::now());
        self.stale = false;
        match read_bounded(&self.procfs.join("kallsyms"), READ_MAX) {
            Ok(text) => {
                let modules = read_bounded(&self.procfs.join("modules"), MODULES_MAX).unwrap_or_default();
                self.table = Table::parse(&text, &modules);
                self.modules = places(&modules);
                self.modules_read = Some(Instant::now());
            }
            Err(error) => {
                tracing::warn!(%error, "the kernel's functions cannot be read: stacks have no names");
            }
        }
    }

    /// Whether modules came or went since the last look; where one was there may be another.
    fn modules_changed(&mut self) -> bool {
        if self.modules_read.is_some_and(|read| read.elapsed() < MODULES_PAUSE) {
            return false;
        }
        self.modules_read = Some(Instant::now());
        let modules = read_bounded(&self.procfs.join("modules"), MODULES_MAX).unwrap_or_default();
        places(&modules) != self.modules
    }
}

/// Names and places of the modules of a list. The numbers of their users change all the time.
fn places(modules: &[u8]) -> Vec<u8> {
    let places = modules.split(|byte| *byte == b'\n').flat_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        let (name, place) = (words.next().unwrap_or_default(), words.nth(4).unwrap_or_default());
        [name, b" ", place, b"\n"]
    });
    places.flatten().copied().collect()
}

fn read_bounded(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

impl Table {
    fn parse(text: &[u8], modules: &[u8]) -> Self {
        let extents = modules.split(|byte| *byte == b'\n').filter_map(parse_module).collect();
        let mut table = Self { extents, ..Self::default() };
        let (mut begin, mut end) = (0, 0);
        let mut modules: Vec<(u64, &[u8])> = Vec::new();
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| {
            let (address, kind, name, module) = parse_line(line)?;
            match name {
                b"_stext" => begin = address,
                b"_etext" => end = address,
                _ if kind.eq_ignore_ascii_case(&b't') || kind.eq_ignore_ascii_case(&b'w') => {
                    if !module.is_empty() {
                        modules.push((address, module));
                    }
                    return Some((address, 0, name));
                }
                _ => {}
            }
            None
        });
        // Without the right to see addresses all of them are 0.
        let lines: Vec<(u64, u64, &[u8])> = lines.filter(|(address, ..)| *address != 0).collect();
        table.text = (begin != 0 && begin < end).then_some((begin, end));
        table.functions = Functions::new(lines.into_iter(), BYTES_MAX);
        modules.sort_unstable();
        modules.dedup_by_key(|(address, _)| *address);
        let mut last: Option<(&[u8], Arc<str>)> = None;
        for (address, module) in modules {
            let name = match &last {
                Some((bytes, name)) if *bytes == module => Arc::clone(name),
                _ => Arc::from(String::from_utf8_lossy(module)),
            };
            last = Some((module, Arc::clone(&name)));
            table.modules.push((address, name));
        }
        table
    }

    fn is_text(&self, address: u64) -> bool {
        self.text.is_some_and(|(begin, end)| (begin..end).contains(&address))
    }

    fn locate(&self, addresses: &[u64]) -> Vec<Location> {
        let one = |(index, address): (usize, &u64)| {
            // A call may be the last instruction of its function; where it returns to is then in the next one.
            let within = if index == 0 { *address } else { address.saturating_sub(1) };
            let found = self.functions.at(within);
            let Some((begin, name)) = found else { return Location::default() };
            let module = self.modules.binary_search_by_key(&begin, |(address, _)| *address);
            let module = module.ok().and_then(|index| self.modules.get(index));
            let module = module.map(|(_, name)| Arc::clone(name)).unwrap_or_default();
            if !self.reaches(begin, within, &module) {
                return Location::default();
            }
            Location { symbol: Arc::from(name), module, offset: address - begin }
        };
        addresses.iter().enumerate().map(one).collect()
    }

    /// Whether a function that begins there may have this address: kallsyms does not tell where one ends.
    fn reaches(&self, begin: u64, address: u64, module: &str) -> bool {
        let extent = self.extents.iter().find(|(name, ..)| **name == *module);
        self.is_text(begin) == self.is_text(address)
            && address - begin < FUNCTION_MAX
            && extent.is_none_or(|(_, first, end)| (*first..*end).contains(&address))
    }
}

/// Name, begin and end of a module.
fn parse_module(line: &[u8]) -> Option<(Arc<str>, u64, u64)> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (name, size) = (words.next()?, words.next()?.parse::<u64>().ok()?);
    let begin = u64::from_str_radix(words.nth(3)?.strip_prefix("0x")?, 16).ok()?;
    // Without the right to see addresses all of them are 0.
    (begin != 0).then(|| (Arc::from(name), begin, begin.saturating_add(size)))
}

/// Address, kind, name and module.
fn parse_line(line: &[u8]) -> Option<(u64, u8, &[u8], &[u8])> {
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let address = u64::from_str_radix(std::str::from_utf8(words.next()?).ok()?, 16).ok()?;
    let kind = *words.next()?.first()?;
    let name = words.next()?;
    let module = words.next().unwrap_or_default();
    let module = module.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or_default();
    Some((address, kind, name, module))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"ffffffff81000000 T _stext\nffffffff81000010 T first\nffffffff81000010 T alias\n\
        ffffffff81000100 t second\nffffffff81000180 d data\nffffffff81000200 T _etext\n\
        ffffffffc0000000 t in_module\t[ext4]\nffffffffc0100000 t bpf_prog_1_saker_fentry\t[bpf]\nbroken\n\n";

    fn names(table: &Table, addresses: &[u64]) -> Vec<String> {
        let located = table.locate(addresses);
        located.iter().map(|one| format!("{}+{:#x} {}", one.symbol, one.offset, one.module)).collect()
    }

    #[test]
    fn addresses_have_functions_and_modules() {
        let modules = b"ext4 4096 1 - Live 0xffffffffc0000000\nbroken\nother 1 0 - Live 0x0000000000000000\n";
        let table = Table::parse(TEXT, modules);
        assert_eq!(table.functions.len(), 4);
        assert_eq!(
            names(&table, &[0xffff_ffff_8100_0100, 0xffff_ffff_8100_0100, 0xffff_ffff_c000_0008]),
            ["second+0x0 ", "first+0xf0 ", "in_module+0x8 ext4"],
            "but for the first they are where a call returns to"
        );
        assert_eq!(names(&table, &[0xffff_ffff_c010_0000]), ["bpf_prog_1_saker_fentry+0x0 bpf"]);
        for unknown in [
            0,
            0xffff_ffff_8100_0000,
            0xffff_ffff_8100_0200,
            0xffff_ffff_c000_1000,
            0xffff_ffff_c020_0000,
            u64::MAX,
        ] {
            assert_eq!(names(&table, &[unknown]), ["+0x0 "], "{unknown:#x}");
        }
    }

    #[test]
    fn hidden_addresses_are_no_names() {
        let hidden = b"0000000000000000 T _stext\n0000000000000000 T first\n";
        assert_eq!(names(&Table::parse(hidden, b""), &[0, 5]), ["+0x0 ", "+0x0 "]);
    }

    #[test]
    fn the_frames_of_hooks_are_the_innermost_that_are_programs() {
        let symbols =
            KernelSymbols { table: Table::parse(TEXT, b""), ..KernelSymbols::new(Path::new("/nowhere")) };
        let (program, later, text) = (0xffff_ffff_c010_0010, 0xffff_ffff_c090_0000, 0xffff_ffff_8100_0110);
        for (stack, own) in [
            (vec![program, later, text, program], 2),
            (vec![text, program], 0),
            (vec![later, later], 0),
            (vec![], 0),
        ] {
            assert_eq!(symbols.own_frames(&stack, &symbols.table.locate(&stack)), own, "{stack:x?}");
        }
    }

    #[test]
    fn what_came_later_is_found_by_another_look() {
        let folder = std::env::temp_dir().join(format!("saker-kallsyms-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kallsyms"), b"").unwrap();
        let mut symbols = KernelSymbols::new(&folder);
        symbols.again = Duration::ZERO;
        assert_eq!(&*symbols.locate(&[0xffff_ffff_8100_0110])[0].symbol, "");
        std::fs::write(folder.join("kallsyms"), TEXT).unwrap();
        symbols.again = Duration::ZERO;
        assert_eq!(&*symbols.locate(&[0xffff_ffff_8100_0110])[0].symbol, "second");
        assert_eq!(symbols.again, AGAIN);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

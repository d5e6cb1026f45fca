//! Programs and libraries as files: where their functions and declared probes are.
//!
//! Files may be made by anyone. What is read of one is bounded, and nothing in it is trusted.

mod bounded;
pub(crate) mod digest;
mod listing;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use object::elf::{self, FileHeader32, FileHeader64, ProgramHeader64, Sym64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::{LittleEndian, ReadCache};
use saker_policy::model::DigestAlgorithm;
use saker_policy::plan::{FileMark, UserPlace};
use saker_policy::programs::Program;
use saker_policy::registers::Machine;
use saker_policy::usdt::{self, NoteError, Site};
use saker_policy::words::nearest;

use bounded::Bounded;

use crate::symbols::Functions;

/// A program or library.
pub struct Executable {
    path: String,
    file: File,
    mark: FileMark,
    machine: Machine,
    segments: Vec<Segment>,
    is_go: bool,
}

/// Why a file, or a place in it, cannot be probed.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// It cannot be opened.
    #[error("cannot open {path}: {source}; the path is that of the agent's own file system")]
    Open {
        /// The file.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// It is no program of this kind of machine, or it is broken.
    #[error("{path} is not a program or library that can be probed: {reason}")]
    Unusable {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// It has no such function.
    #[error("{path} has no function `{name}`{hint}")]
    Symbol {
        /// The file.
        path: String,
        /// Name of the function.
        name: String,
        /// What may have been meant, or why it is not there.
        hint: String,
    },
    /// It has several functions of this name.
    #[error("{path} has {count} functions `{name}`; give their places by `offsets` or `addrs`")]
    Ambiguous {
        /// The file.
        path: String,
        /// Name of the functions.
        name: String,
        /// How many.
        count: usize,
    },
    /// A place that is not code.
    #[error("{path} has no code at {place}")]
    NotCode {
        /// The file.
        path: String,
        /// The place in words.
        place: String,
    },
    /// Its declared probes cannot be read.
    #[error("cannot read the declared probes of {path}: {source}")]
    Notes {
        /// The file.
        path: String,
        /// What is wrong.
        source: NoteError,
    },
    /// It has no such declared probe.
    #[error("{path} has no probe `{provider}:{name}`{hint}")]
    Probe {
        /// The file.
        path: String,
        /// Its provider.
        provider: String,
        /// Its name.
        name: String,
        /// What may have been meant, or why there is none.
        hint: String,
    },
}

/// A part of the file that is mapped.
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
    code: bool,
}

/// A function of the file's tables of symbols.
struct Function<'a> {
    name: &'a [u8],
    address: u64,
    size: u64,
    global: bool,
}

type Header = FileHeader64<LittleEndian>;

impl Executable {
    /// Opens a file and reads what it says of itself.
    ///
    /// # Errors
    /// It cannot be opened, is not a program or library of 64 bits for this machine, or is broken.
    pub fn open(path: &str) -> Result<Self, ExecutableError> {
        let failed = |source| ExecutableError::Open { path: path.to_owned(), source };
        Self::of(path, File::open(Path::new(path)).map_err(failed)?)
    }

    /// The same of a file that is open, which messages call by this path.
    ///
    /// # Errors
    /// It is not a program or library of 64 bits for this machine, or is broken.
    pub fn of(path: &str, file: File) -> Result<Self, ExecutableError> {
        let failed = |source| ExecutableError::Open { path: path.to_owned(), source };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(unusable(path, "it is not a file"));
        }
        let mark = mark(&metadata);
        let machine = Machine::own();
        let machine = machine.ok_or_else(|| unusable(path, "the registers of this machine are not known"))?;
        let mut found =
            Self { path: path.to_owned(), file, mark, machine, segments: Vec::new(), is_go: false };
        let (segments, is_go) = found.with(|elf| {
            let segments = elf.header.program_headers(elf.endian, elf.data).map_err(|e| elf.broken(&e))?;
            let is_go = [".gopclntab", ".note.go.buildid"].iter().any(|name| elf.section(name).is_some());
            Ok((segments.iter().filter_map(|header| Segment::of(header, elf.endian)).collect(), is_go))
        })?;
        (found.segments, found.is_go) = (segments, is_go);
        Ok(found)
    }

    /// Which file it is.
    #[must_use]
    pub fn mark(&self) -> FileMark {
        self.mark
    }

    /// The machine it is made for.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// Whether it is made by the Go compiler: its functions take arguments in registers of their own choice, and its
    /// stacks move, so that a look at a return (a uretprobe) ends the program.
    #[must_use]
    pub fn is_go(&self) -> bool {
        self.is_go
    }

    /// Offset in the file of a function, or of an instruction so many bytes behind its beginning.
    ///
    /// # Errors
    /// There is no such function, several have the name, or it ends before.
    pub fn symbol(&self, name: &str, behind: u64) -> Result<u64, ExecutableError> {
        let (address, size) = self.with(|elf| {
            let all = elf.functions()?;
            let mut named: Vec<&Function<'_>> =
                all.iter().filter(|function| function.name == name.as_bytes()).collect();
            if named.iter().any(|function| function.global) {
                named.retain(|function| function.global);
            }
            named.sort_by_key(|function| function.address);
            named.dedup_by_key(|function| function.address);
            match named[..] {
                [] => Err(self.no_symbol(name, &all)),
                [only] => Ok((only.address, only.size)),
                _ => Err(ExecutableError::Ambiguous {
                    path: self.path.clone(),
                    name: name.to_owned(),
                    count: named.len(),
                }),
            }
        })?;
        if size != 0 && behind >= size {
            let place = format!("{name}+{behind:#x}: the function has {size:#x} bytes");
            return Err(ExecutableError::NotCode { path: self.path.clone(), place });
        }
        self.address(address.wrapping_add(behind))
    }

    /// Offset in the file of a virtual address of its code.
    ///
    /// # Errors
    /// No code has this address.
    pub fn address(&self, address: u64) -> Result<u64, ExecutableError> {
        let found = self.segments.iter().filter(|segment| segment.code).find_map(|s| s.offset_of(address));
        found.ok_or_else(|| self.no_code(format!("address {address:#x}")))
    }

    /// The offset, when there is code.
    ///
    /// # Errors
    /// There is none.
    pub fn offset(&self, offset: u64) -> Result<u64, ExecutableError> {
        self.segment_of(offset).map(|_| offset)
    }

    /// Whether a function begins at this offset; `None`: the file does not tell its functions. A look at a return must
    /// begin where a function does, or it ends the program.
    ///
    /// # Errors
    /// The file is broken.
    pub fn begins_function(&self, offset: u64) -> Result<Option<bool>, ExecutableError> {
        self.with(|elf| {
            let all = elf.functions()?;
            let at = |function: &Function<'_>| self.address(function.address).ok() == Some(offset);
            Ok((!all.is_empty()).then(|| all.iter().any(at)))
        })
    }

    /// How many bytes from the place at this offset an instruction is that returns and does nothing else.
    ///
    /// # Errors
    /// There is none in the segment of the place, as far as it is looked at, or the file cannot be read.
    pub fn way_back(&self, offset: u64) -> Result<i64, ExecutableError> {
        let segment = self.segment_of(offset)?;
        let (begin, end) = (segment.offset, segment.offset.saturating_add(segment.size));
        // Behind the place first, where its function has its own.
        for (from, to) in [(offset, end), (begin, offset)] {
            if let Some(found) = self.first_return(from, to.min(from.saturating_add(MAX_WAY)))? {
                return Ok(found.wrapping_sub(offset).cast_signed());
            }
        }
        Err(self.no_code(format!("offset {offset:#x} that would return to the caller")))
    }

    /// Where the first instruction stands that returns, in this part of the file.
    fn first_return(&self, from: u64, to: u64) -> Result<Option<u64>, ExecutableError> {
        let mut bytes = vec![0; CHUNK_OF_CODE];
        let mut at = from;
        while at < to {
            let failed = |source| ExecutableError::Open { path: self.path.clone(), source };
            let count = self.file.read_at(&mut bytes, at).map_err(failed)?;
            let found = bytes.iter().take(count).position(|byte| *byte == RETURN);
            let found = found.and_then(|by| at.checked_add(u64::try_from(by).ok()?));
            match found {
                Some(found) => return Ok(Some(found).filter(|found| *found < to)),
                None if count == 0 => return Ok(None),
                None => at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX)),
            }
        }
        Ok(None)
    }

    /// How many bytes are in memory from one place in the file to another.
    ///
    /// # Errors
    /// One of them is not code.
    pub fn distance(&self, from: u64, to: u64) -> Result<i64, ExecutableError> {
        let address = |offset: u64| {
            let segment = self.segment_of(offset)?;
            Ok(segment.address.wrapping_add(offset.wrapping_sub(segment.offset)))
        };
        Ok(address(to)?.wrapping_sub(address(from)?).cast_signed())
    }

    /// The segment of code that a place in the file is in.
    fn segment_of(&self, offset: u64) -> Result<&Segment, ExecutableError> {
        let within = |s: &&Segment| s.code && offset.checked_sub(s.offset).is_some_and(|by| by < s.size);
        self.segments.iter().find(within).ok_or_else(|| self.no_code(format!("offset {offset:#x}")))
    }

    /// Its functions by where they stand in the file, as far as their names and places take no more than so many bytes.
    ///
    /// # Errors
    /// The file is broken, or its tables are larger than is reasonable.
    pub(crate) fn functions(&self, bytes: usize) -> Result<Functions, ExecutableError> {
        self.with_at_most(MAX_SYMBOLS, |elf| {
            let mut all = elf.functions()?;
            // Of several names of one place the one that others see is told.
            all.sort_by_key(|function| (function.address, !function.global));
            let placed = all.iter().filter_map(|function| {
                let begin = self.address(function.address).ok()?;
                let end = if function.size == 0 { 0 } else { begin.saturating_add(function.size) };
                Some((begin, end, function.name))
            });
            Ok(Functions::new(placed, bytes))
        })
    }

    /// All places of a declared probe. `function` of each is its number among them.
    ///
    /// # Errors
    /// There is no such probe, it is not in code, or the notes are broken.
    pub fn probes(&self, provider: &str, name: &str) -> Result<Vec<Site>, ExecutableError> {
        let notes = self.with(|elf| {
            let Some(section) = elf.section(".note.stapsdt") else { return Ok(Vec::new()) };
            let bytes = section.data(elf.endian, elf.data).map_err(|e| elf.broken(&e))?;
            let notes = usdt::notes(bytes)
                .map_err(|source| ExecutableError::Notes { path: self.path.clone(), source })?;
            let base = elf.section(".stapsdt.base").map(|section| section.sh_addr(elf.endian));
            Ok(notes.into_iter().map(|note| note.moved(base)).collect::<Vec<_>>())
        })?;
        let mut sites = Vec::new();
        for note in notes.iter().filter(|note| note.provider == provider && note.name == name) {
            let semaphore = match note.semaphore {
                0 => 0,
                address => self
                    .segments
                    .iter()
                    .find_map(|segment| segment.offset_of(address))
                    .ok_or_else(|| self.no_code(format!("the semaphore's address {address:#x}")))?,
            };
            let function = u64::try_from(sites.len()).unwrap_or(u64::MAX);
            let place = UserPlace { offset: self.address(note.address)?, semaphore, function };
            sites.push(Site { place, arguments: note.arguments.clone() });
        }
        if sites.is_empty() {
            return Err(self.no_probe(provider, name, &notes));
        }
        Ok(sites)
    }

    fn with<T>(
        &self,
        look: impl FnOnce(&Elf<'_, '_>) -> Result<T, ExecutableError>,
    ) -> Result<T, ExecutableError> {
        self.with_at_most(bounded::MAX_READ, look)
    }

    /// Reads at most so many bytes.
    fn with_at_most<T>(
        &self,
        most: u64,
        look: impl FnOnce(&Elf<'_, '_>) -> Result<T, ExecutableError>,
    ) -> Result<T, ExecutableError> {
        let cache = ReadCache::new(&self.file);
        let left = std::cell::Cell::new(most);
        look(&Elf::read(&self.path, Bounded { cache: &cache, left: &left }, self.machine)?)
    }

    fn no_code(&self, place: String) -> ExecutableError {
        ExecutableError::NotCode { path: self.path.clone(), place }
    }

    fn no_symbol(&self, name: &str, all: &[Function<'_>]) -> ExecutableError {
        let hint = if all.is_empty() {
            "; its symbols were removed: give the place by `offsets` or `addrs`".to_owned()
        } else {
            let names = all.iter().filter_map(|function| std::str::from_utf8(function.name).ok());
            nearest_of_many(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
        };
        ExecutableError::Symbol { path: self.path.clone(), name: name.to_owned(), hint }
    }

    fn no_probe(&self, provider: &str, name: &str, notes: &[usdt::Note]) -> ExecutableError {
        let wanted = format!("{provider}:{name}");
        let all: Vec<String> = notes.iter().map(|note| format!("{}:{}", note.provider, note.name)).collect();
        let hint = if all.is_empty() {
            Some("; it declares none".to_owned())
        } else {
            let near = nearest_of_many(&wanted, all.iter().map(String::as_str));
            near.map(|near| format!("; did you mean `{near}`?"))
        };
        ExecutableError::Probe {
            path: self.path.clone(),
            provider: provider.to_owned(),
            name: name.to_owned(),
            hint: hint.unwrap_or_default(),
        }
    }
}

/// Opens a file to attach to places in it that were looked up before.
///
/// # Errors
/// It cannot be opened, or it is not the same any more.
pub(crate) fn open_again(path: &str, wanted: &FileMark) -> Result<File, ExecutableError> {
    let failed = |source| ExecutableError::Open { path: path.to_owned(), source };
    let file = File::open(Path::new(path)).map_err(failed)?;
    if mark(&file.metadata().map_err(failed)?) != *wanted {
        return Err(unusable(path, "it was changed while the policy was applied; apply it again"));
    }
    Ok(file)
}

/// What the linker named a file by, of programs and libraries of all machines of this byte order.
pub(crate) fn build_id(file: &File) -> Option<Vec<u8>> {
    let cache = ReadCache::new(file);
    let left = std::cell::Cell::new(MAX_HEADERS);
    let data = Bounded { cache: &cache, left: &left };
    build_id_of::<FileHeader64<LittleEndian>>(data)
        .or_else(|| build_id_of::<FileHeader32<LittleEndian>>(data))
}

fn build_id_of<H: FileHeader<Endian = LittleEndian>>(data: Bounded<'_>) -> Option<Vec<u8>> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, data).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, data) else { continue };
        while let Ok(Some(note)) = notes.next() {
            let id = note.desc();
            if note.name() == elf::ELF_NOTE_GNU
                && note.n_type(endian) == elf::NT_GNU_BUILD_ID
                && !id.is_empty()
                && id.len() <= MAX_BUILD_ID
            {
                return Some(id.to_vec());
            }
        }
    }
    None
}

pub(crate) fn mark(metadata: &Metadata) -> FileMark {
    FileMark {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        changed: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
    }
}

impl Program for Executable {
    fn mark(&self) -> FileMark {
        self.mark
    }

    fn machine(&self) -> Machine {
        self.machine
    }

    fn is_go(&self) -> bool {
        self.is_go
    }

    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Vec<u8>, String> {
        self.digest(algorithm).map_err(|error| error.to_string())
    }

    fn symbol(&self, name: &str, behind: u64) -> Result<u64, String> {
        self.symbol(name, behind).map_err(|error| error.to_string())
    }

    fn address(&self, address: u64) -> Result<u64, String> {
        self.address(address).map_err(|error| error.to_string())
    }

    fn offset(&self, offset: u64) -> Result<u64, String> {
        self.offset(offset).map_err(|error| error.to_string())
    }

    fn begins_function(&self, offset: u64) -> Result<Option<bool>, String> {
        self.begins_function(offset).map_err(|error| error.to_string())
    }

    fn way_back(&self, offset: u64) -> Result<i64, String> {
        self.way_back(offset).map_err(|error| error.to_string())
    }

    fn distance(&self, from: u64, to: u64) -> Result<i64, String> {
        self.distance(from, to).map_err(|error| error.to_string())
    }

    fn probes(&self, provider: &str, name: &str) -> Result<Vec<Site>, String> {
        self.probes(provider, name).map_err(|error| error.to_string())
    }
}

impl Segment {
    fn of(header: &ProgramHeader64<LittleEndian>, endian: LittleEndian) -> Option<Self> {
        (header.p_type(endian) == elf::PT_LOAD).then(|| Self {
            address: header.p_vaddr(endian),
            offset: header.p_offset(endian),
            size: header.p_filesz(endian),
            code: header.p_flags(endian).contains(elf::PF_X),
        })
    }

    fn offset_of(&self, address: u64) -> Option<u64> {
        let by = address.checked_sub(self.address).filter(|by| *by < self.size)?;
        self.offset.checked_add(by)
    }
}

/// The tables of a file.
struct Elf<'a, 'p> {
    path: &'p str,
    header: &'a Header,
    endian: LittleEndian,
    sections: SectionTable<'a, Header, Bounded<'a>>,
    data: Bounded<'a>,
}

impl<'a, 'p> Elf<'a, 'p> {
    fn read(path: &'p str, data: Bounded<'a>, machine: Machine) -> Result<Self, ExecutableError> {
        let broken = |error: &object::Error| unusable(path, &error.to_string());
        let header = Header::parse(data).map_err(|_| unusable(path, "it is not an ELF file of 64 bits"))?;
        let endian = header.endian().map_err(|error| broken(&error))?;
        let wanted = match machine {
            Machine::X86 => elf::EM_X86_64,
            Machine::Arm => elf::EM_AARCH64,
        };
        if header.e_machine(endian) != wanted {
            return Err(unusable(path, "it is made for another machine"));
        }
        let sections = header.sections(endian, data).map_err(|error| broken(&error))?;
        Ok(Self { path, header, endian, sections, data })
    }

    fn broken(&self, error: &object::Error) -> ExecutableError {
        unusable(self.path, &error.to_string())
    }

    fn section(&self, name: &str) -> Option<&'a object::elf::SectionHeader64<LittleEndian>> {
        self.sections.section_by_name(self.endian, name.as_bytes()).map(|(_, section)| section)
    }

    /// Functions of both tables of symbols that stand in this file.
    fn functions(&self) -> Result<Vec<Function<'a>>, ExecutableError> {
        let mut found = Vec::new();
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let Some((_, section)) =
                self.sections.enumerate().find(|(_, section)| section.sh_type(self.endian) == kind)
            else {
                continue;
            };
            let symbols: &[Sym64<LittleEndian>] =
                section.data_as_array(self.endian, self.data).map_err(|e| self.broken(&e))?;
            // At once: name by name would be a read of the file each.
            let strings =
                self.sections.section(section.link(self.endian)).map_err(|error| self.broken(&error))?;
            let strings = strings.data(self.endian, self.data).map_err(|error| self.broken(&error))?;
            for symbol in symbols {
                let defined = symbol.st_shndx(self.endian) != elf::SHN_UNDEF;
                if symbol.st_type() != elf::STT_FUNC || !defined {
                    continue;
                }
                let start = usize::try_from(symbol.st_name(self.endian)).unwrap_or(usize::MAX);
                let name = strings.get(start..).unwrap_or_default();
                let Some(end) = name.iter().take(MAX_SYMBOL).position(|byte| *byte == 0) else { continue };
                found.push(Function {
                    name: name.get(..end).unwrap_or_default(),
                    address: symbol.st_value(self.endian),
                    size: symbol.st_size(self.endian),
                    global: symbol.st_bind() != elf::STB_LOCAL,
                });
            }
        }
        Ok(found)
    }
}

/// Most bytes that are read of a file to name its functions.
const MAX_SYMBOLS: u64 = 128 << 20;
/// And to find what its linker named it by.
const MAX_HEADERS: u64 = 4 << 20;
/// Longest such name; the usual one is 20 bytes long.
const MAX_BUILD_ID: usize = 64;
/// The instruction of x86-64 that returns; any byte of code of this value is one to who goes on there.
const RETURN: u8 = 0xc3;
/// Most bytes that are looked at for one, behind a place and from the beginning of its segment; and at once.
const MAX_WAY: u64 = 4 << 20;
const CHUNK_OF_CODE: usize = 4096;
/// Longest name of a function, in bytes.
const MAX_SYMBOL: usize = 4096;

fn unusable(path: &str, reason: &str) -> ExecutableError {
    ExecutableError::Unusable { path: path.to_owned(), reason: reason.to_owned() }
}

/// Words that are compared at once, and all together.
const CHUNK: usize = 128;
const MOST: usize = 1 << 14;

/// The nearest of so many words that a search among all would take long: first those that begin alike.
pub(crate) fn nearest_of_many<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike =
        |word: &&str| word.bytes().next() == text.bytes().next() && word.len().abs_diff(text.len()) <= 3;
    let words: Vec<&str> = words.filter(alike).take(MOST).collect();
    let each: Vec<&str> =
        words.chunks(CHUNK).filter_map(|chunk| nearest(text, chunk.iter().copied())).collect();
    nearest(text, each.iter().copied())
}

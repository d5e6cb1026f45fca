//! Takes out of an object what whoever loads it only has to go through: names of places that nobody jumps to by name, and which
//! line of the source each instruction is of.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use object::build::Id;
use object::build::elf::{Builder, Section, SectionData};
use object::elf::{SHF_EXECINSTR, SHT_STRTAB, STB_LOCAL, STT_FUNC, STT_NOTYPE};

/// The section that says where functions, lines and relocations are (`struct btf_ext_header` in libbpf).
const EXTENSION: &[u8] = b".BTF.ext";

/// An object without the compiler's names of places, of which there are thousands and through which libbpf goes for each
/// variable; and without lines, unless these are to stay.
pub fn trim(object: &[u8], lines: bool) -> Result<Vec<u8>> {
    let mut builder = Builder::read64(object)?;
    for symbol in &mut builder.symbols {
        let (binding, kind) = (symbol.st_bind(), symbol.st_type());
        if binding == STB_LOCAL && kind == STT_NOTYPE && symbol.name.starts_with(b"LBB") {
            symbol.delete = true;
        }
    }
    for section in &mut builder.sections {
        if !lines && *section.name == *EXTENSION {
            let SectionData::Data(data) = &mut section.data else { continue };
            *data = without_lines(data)?.into();
        }
    }
    // libbpf's linker has names of sections and of symbols in one place, which nobody asks for here.
    if builder.sections.iter().all(|section| !matches!(section.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = b".shstrtab".as_slice().into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut trimmed = Vec::new();
    builder.write(&mut trimmed)?;
    Ok(trimmed)
}

/// An object with the same maps and programs, that have nothing in them: whoever loads it puts that in.
pub fn empty(object: &[u8]) -> Result<Vec<u8>> {
    /// `r0 = 0; exit`
    const NOTHING: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let mut builder = Builder::read64(object)?;
    for section in &mut builder.sections {
        section.delete |= matches!(section.data, SectionData::Relocation(_))
            || *section.name == *EXTENSION
            || *section.name == *b".text";
    }
    builder.delete_orphan_symbols();
    let executable = |section: &Section<'_>| section.sh_flags.0 & SHF_EXECINSTR.0 != 0;
    let mut programs = HashMap::new();
    for symbol in &mut builder.symbols {
        let Some(section) = symbol.section.filter(|_| symbol.st_type() == STT_FUNC) else { continue };
        let count: &mut u64 = programs.entry(section.index()).or_default();
        symbol.st_value = *count * NOTHING.len() as u64;
        symbol.st_size = NOTHING.len() as u64;
        *count += 1;
    }
    for section in builder.sections.iter_mut().filter(|section| executable(section) && !section.delete) {
        let count = programs.get(&section.id().index()).copied().context("a section has no programs")?;
        section.data = SectionData::Data(NOTHING.repeat(usize::try_from(count)?).into());
    }
    let mut empty = Vec::new();
    builder.write(&mut empty)?;
    Ok(empty)
}

/// The section without its lines but the first of each function, without which libbpf warns: a header with places of parts, counted
/// from its end on, and the parts.
fn without_lines(section: &[u8]) -> Result<Vec<u8>> {
    /// Where in the header the header's length stands, and place and length of functions, lines and relocations.
    const HEADER: usize = 4;
    const FUNCTIONS: usize = 8;
    const LINES: usize = 16;
    const RELOCATIONS: usize = 24;
    let length = number(section, HEADER)? as usize;
    ensure!(length >= RELOCATIONS + 8, "its header is too short");
    let part = |place: usize| -> Result<&[u8]> {
        let begin = length + number(section, place)? as usize;
        let size = number(section, place + 4)? as usize;
        section.get(begin..begin + size).context("a part is missing")
    };
    let (functions, relocations) = (part(FUNCTIONS)?, part(RELOCATIONS)?);
    let lines = first_lines(functions, part(LINES)?)?;
    let mut trimmed = section.get(..length).context("its header is missing")?.to_vec();
    let parts = [(FUNCTIONS, functions), (LINES, &lines), (RELOCATIONS, relocations)];
    for (place, part) in parts {
        let begin = trimmed.len() - length;
        trimmed[place..place + 4].copy_from_slice(&u32::try_from(begin)?.to_ne_bytes());
        trimmed[place + 4..place + 8].copy_from_slice(&u32::try_from(part.len())?.to_ne_bytes());
        trimmed.extend(part);
    }
    Ok(trimmed)
}

/// The lines that functions begin with.
fn first_lines(functions: &[u8], lines: &[u8]) -> Result<Vec<u8>> {
    let mut begins = HashSet::new();
    for (section, record) in records(functions)? {
        begins.insert((section, number(record, 0)?));
    }
    let size = lines.get(..4).context("no size of lines")?;
    let mut kept: Vec<(u32, Vec<&[u8]>)> = Vec::new();
    for (section, record) in records(lines)? {
        if kept.last().is_none_or(|(last, _)| *last != section) {
            kept.push((section, Vec::new()));
        }
        let begins = begins.contains(&(section, number(record, 0)?));
        if let Some((_, first)) = kept.last_mut().filter(|_| begins) {
            first.push(record);
        }
    }
    let mut written = size.to_vec();
    for (section, records) in kept {
        written.extend(section.to_ne_bytes());
        written.extend(u32::try_from(records.len())?.to_ne_bytes());
        written.extend(records.concat());
    }
    Ok(written)
}

/// The records of a part, each with the place of the name of its section: the size of a record, and for each section that name,
/// how many there are, and these (`struct btf_ext_info_sec` in libbpf).
fn records(part: &[u8]) -> Result<Vec<(u32, &[u8])>> {
    let size = number(part, 0)? as usize;
    ensure!(size >= 4, "records of {size} bytes");
    let mut records = Vec::new();
    let mut at = 4;
    while at < part.len() {
        let (section, count) = (number(part, at)?, number(part, at + 4)? as usize);
        at += 8;
        let end = at + count * size;
        let all = part.get(at..end).context("records are missing")?;
        records.extend(all.chunks_exact(size).map(|record| (section, record)));
        at = end;
    }
    Ok(records)
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let found = bytes.get(at..at + 4).context("its end is missing")?;
    Ok(u32::from_ne_bytes(found.try_into()?))
}

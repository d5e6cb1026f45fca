//! What the build makes of compiled objects.

#![allow(clippy::unwrap_used, reason = "a test")]

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

fn whole() -> ElfFile64<'static> {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hook.bpf.o"));
    ElfFile64::parse(bytes).unwrap()
}

fn empty() -> ElfFile64<'static> {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hook.empty.bpf.o"));
    ElfFile64::parse(bytes).unwrap()
}

/// Name, section and kind of each, in their order.
fn symbols(object: &ElfFile64<'_>, wanted: SymbolKind) -> Vec<(String, String)> {
    let section = |symbol: &object::read::elf::ElfSymbol64<'_, '_>| {
        let index = symbol.section_index()?;
        Some(object.section_by_index(index).ok()?.name().ok()?.to_owned())
    };
    let of_kind = object.symbols().filter(|symbol| symbol.kind() == wanted);
    of_kind.map(|symbol| (symbol.name().unwrap().to_owned(), section(&symbol).unwrap_or_default())).collect()
}

#[test]
fn names_of_places_are_gone_and_those_of_functions_are_there() {
    let whole = whole();
    assert!(whole.symbols().all(|symbol| !symbol.name().unwrap_or_default().starts_with("LBB")));
    let functions = symbols(&whole, SymbolKind::Text);
    assert!(functions.len() > 50, "{} functions", functions.len());
    assert!(functions.iter().any(|(name, section)| name == "saker_fentry" && section == "fentry"));
    assert!(functions.iter().any(|(name, section)| name == "saker_full_path" && section == ".text"));
}

#[test]
fn the_empty_object_has_the_same_maps_and_programs_and_nothing_in_them() {
    let (whole, empty) = (whole(), empty());
    let programs = |object: &ElfFile64<'_>| {
        let mut all = symbols(object, SymbolKind::Text);
        all.retain(|(_, section)| section != ".text");
        all.sort();
        all
    };
    assert_eq!(programs(&whole), programs(&empty));
    let data = |object: &ElfFile64<'_>| {
        let mut all = symbols(object, SymbolKind::Data);
        all.sort();
        all
    };
    assert_eq!(data(&whole), data(&empty));
    let maps = |object: &ElfFile64<'_>| object.section_by_name(".maps").unwrap().data().unwrap().to_vec();
    assert_eq!(maps(&whole), maps(&empty));
    for section in empty.sections().filter(|section| section.kind() == SectionKind::Text) {
        let name = section.name().unwrap();
        let count = programs(&empty).iter().filter(|(_, of)| of == name).count();
        assert_eq!(section.size(), 16 * count as u64, "{name}");
        assert_eq!(section.relocations().count(), 0, "{name}");
    }
}

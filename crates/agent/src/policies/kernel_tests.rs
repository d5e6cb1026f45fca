use std::process::Command;

use saker_abi::generated::{
    SAKER_FAMILY_TRACEPOINT, SAKER_OP_BINARY, SAKER_PLAN_BINARIES, saker_clause, saker_selector_plan,
};
use saker_policy::plan::BinaryTest;
use saker_probes::{KernelFacts, Options};

use super::super::bits::Bits;
use super::*;

/// A hook at every exec that matches programs with this bit.
fn of_programs(bit: u8) -> HookSpec {
    let mut plan = Box::new(saker_plan::new_zeroed());
    plan.family = SAKER_FAMILY_TRACEPOINT as u8;
    plan.flags = SAKER_PLAN_BINARIES;
    plan.selectors = 1;
    plan.selector[0] = saker_selector_plan { process_count: 1, ..Default::default() };
    plan.clause[0] = saker_clause { op: SAKER_OP_BINARY as u8, first: bit, ..Default::default() };
    HookSpec { attach: Attach::RawTracepoint(FIRST.to_owned()), plan }
}

fn run(program: &str) {
    assert!(Command::new(program).status().unwrap().code().is_some());
}

/// Other programs run on this machine meanwhile, but none under these names.
#[test]
fn bits_are_in_force_from_the_first_call_of_the_first_hook() {
    if !rustix::process::geteuid().is_root() {
        println!("needs root: NOT RUN");
        return;
    }
    let sensors = Sensors::load(&Options::default(), &KernelFacts::for_sensors().unwrap()).unwrap();
    let workloads = Arc::new(Workloads::new(false));
    let mut loader =
        KernelLoader::beside(&sensors, NamespaceInums::default(), workloads, Spared::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str| {
        let path = folder.path().join(name);
        std::fs::copy(std::fs::canonicalize("/bin/true").unwrap(), &path).unwrap();
        std::fs::canonicalize(path).unwrap().display().to_string()
    };
    let (one, other) = (program("one"), program("other"));
    let mut bits = Bits::default();
    let tests = [&one, &other].map(|path| BinaryTest::Equal(vec![path.clone().into_bytes()]));
    let taken = bits.take(&tests).unwrap();
    loader.set_binaries(&bits.table()).unwrap();
    let loaded = loader
        .load(&[of_programs(taken[0]), of_programs(taken[1])], &Sets::default(), Mode::Enforce)
        .unwrap();
    run(&one);
    run(&one);
    run(&other);
    let counts = loaded.counts().unwrap();
    assert_eq!([counts[0].matched, counts[1].matched], [2, 1], "{counts:?}");
    let (memory, _) = loaded.memory();
    assert!(memory.iter().all(|&bytes| bytes > 1000), "{memory:?}");
    // The bit of the first stands for the second now, at once and for all.
    bits.release(&taken);
    loader.set_binaries(&bits.table()).unwrap();
    assert_eq!(bits.take(&tests[1..]).unwrap(), taken[..1]);
    loader.set_binaries(&bits.table()).unwrap();
    run(&one);
    run(&other);
    let counts = loaded.counts().unwrap();
    assert_eq!([counts[0].matched, counts[1].matched], [3, 1], "{counts:?}");
    loader.rest();
}

//! Buffers that are longer than their record holds.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::unix::fs::FileExt;

use saker_abi::generated::*;
use saker_probes::Options;

use crate::assert_no_way;
use crate::lab::{Lab, any_function, policy, ways};

/// The most that is told of a buffer.
const MOST: usize = SAKER_WHOLE_MAX as usize;

/// Sizes around every bound: of what a record holds, of data records, and of the whole.
const SIZES: [usize; 11] = [0, 1, 4096, 4097, 5120, 5121, 4096 + 16384, 4096 + 16385, 32_736, MOST, 400_000];

/// Bytes of which no two stretches are alike.
fn bytes(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..size).map(next).collect()
}

/// What must be told of a buffer.
fn expected(bytes: &[u8]) -> (u64, Vec<u8>) {
    (bytes.len() as u64, bytes[..bytes.len().min(MOST)].to_vec())
}

fn sink() -> File {
    File::options().write(true).open("/dev/null").unwrap()
}

/// A file in memory.
fn memory() -> File {
    let file = rustix::fs::memfd_create("whole", rustix::fs::MemfdFlags::empty()).unwrap();
    file.into()
}

#[test]
fn what_is_written_is_told_to_the_last_byte() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_write
  syscall: true
  args:
  - {index: 1, type: char_buf, sizeArgIndex: 3, maxData: true}
  - {index: 2, type: size_t}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 2, operator: NotEqual, values: ['7']}]",
    );
    for way in ways() {
        let _applied = lab.apply_on(&text, &way).unwrap();
        for size in SIZES {
            let written = bytes(size);
            let mut file = sink();
            let told = lab.told(|| {
                file.write_all(&written[..]).unwrap();
                file.write_all(b"not me!").unwrap();
            });
            // Nothing is written of nothing.
            let told: Vec<_> = told.iter().map(|one| (one.whole(0), one.number(1))).collect();
            let wanted = (size > 0).then(|| (expected(&written), size as i64));
            assert!(told == wanted.into_iter().collect::<Vec<_>>(), "{size}: {} told", told.len());
        }
    }
}

#[test]
fn what_was_read_is_told_at_the_return() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_pread64
  syscall: true
  return: true
  args:
  - {index: 1, type: char_buf, sizeArgIndex: 3, returnCopy: true, maxData: true}
  - {index: 2, type: size_t}
  returnArg: {index: 0, type: int}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    for way in ways() {
        let _applied = lab.apply_on(&text, &way).unwrap();
        for size in SIZES {
            let content = bytes(size);
            let file = memory();
            file.write_all_at(&content, 0).unwrap();
            let mut to = vec![0; size];
            let told = lab.told(|| file.read_exact_at(&mut to, 0).unwrap());
            if size == 0 {
                assert!(told.is_empty());
                continue;
            }
            assert_eq!(told.len(), 2, "entry and return");
            assert!(told[0].rests.is_empty() && told[1].is_return() && told[1].call == told[0].call);
            assert_eq!(told[1].result(), size as i64);
            // Values of the return stand behind those of the entry.
            assert!(told[1].whole(1) == expected(&content), "{size}");
        }
    }
}

/// Sizes of pieces.
fn vectors() -> Vec<Vec<usize>> {
    vec![
        vec![4096, 1],
        vec![0, 4095, 0, 3, 0],
        vec![20_000, 1, 40_000, 17, 16_384, 5],
        vec![1; 40],
        vec![200_000, 200_000],
    ]
}

fn pieces(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().enumerate().map(|(index, size)| bytes(size + index)[index..].to_vec()).collect()
}

#[test]
fn pieces_of_a_vector_are_told_as_one() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_writev
  syscall: true
  args: [{index: 1, type: char_iovec, sizeArgIndex: 3, maxData: true}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    for way in ways() {
        let _applied = lab.apply_on(&text, &way).unwrap();
        for sizes in vectors() {
            let pieces = pieces(&sizes);
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut file = sink();
            let told = lab.told(|| assert!(file.write_vectored(&slices).unwrap() > 0));
            assert_eq!(told.len(), 1);
            assert!(
                told[0].whole(0) == expected(&pieces.concat()),
                "{sizes:?}: {}",
                told[0].whole(0).1.len()
            );
        }
    }
}

#[test]
fn ways_of_the_kernel_through_vectors_are_told_as_one() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("functions cannot be hooked here: NOT RUN");
        return;
    }
    let text = policy(
        "kprobes:
- call: generic_perform_write
  syscall: false
  args: [{index: 1, type: iov_iter, maxData: true}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    for way in ways() {
        let applied = match lab.apply_on(&text, &way) {
            Ok(applied) => applied,
            Err(refused) => {
                assert_no_way(&refused, way.0);
                continue;
            }
        };
        println!("by {}", applied.plans[0].attach.mechanism());
        let mut sizes = vectors();
        sizes.extend([vec![1], vec![32_736], vec![MOST], vec![400_000]]);
        for sizes in sizes {
            let pieces = pieces(&sizes);
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut file = memory();
            let told = lab.told(|| {
                if let [slice] = &slices[..] {
                    file.write_all(slice).unwrap();
                } else {
                    assert!(file.write_vectored(&slices).unwrap() > 0);
                }
            });
            assert_eq!(told.len(), 1);
            assert!(
                told[0].whole(0) == expected(&pieces.concat()),
                "{sizes:?}: {}",
                told[0].whole(0).1.len()
            );
        }
    }
}

/// Bytes that are not in memory end what is told; the event says how many there are.
#[test]
fn what_is_not_in_memory_ends_what_is_told() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_write
  syscall: true
  args: [{index: 1, type: char_buf, sizeArgIndex: 3, maxData: true}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    let _applied = lab.apply(&text).unwrap();
    // Memory that nobody has touched; around the beginning of what would be one large page.
    const PAGE: usize = 2 << 20;
    const THERE: usize = 40_000;
    let mut memory = vec![0_u8; 64 << 20];
    let aligned = memory.as_ptr().align_offset(PAGE) + PAGE;
    let content = &mut memory[aligned - THERE..aligned + 200_000];
    content[..THERE].copy_from_slice(&bytes(THERE));
    let mut sink = sink();
    // The device takes no byte, so nothing is brought into memory by the call.
    let told = lab.told(|| sink.write_all(content).unwrap());
    let (size, told) = told[0].whole(0);
    assert_eq!(size as usize, THERE + 200_000);
    // Data records are read as a whole: two of 16,384 bytes, behind what the record holds.
    assert_eq!(told.len(), 4096 + 2 * 16_384);
    assert!(told == bytes(THERE)[..told.len()]);
}

/// Every data record and every record of a hook is sent, or counted as lost.
#[test]
fn what_finds_no_room_is_counted() {
    let options = Options { ring_bytes: 1 << 20, ..Options::default() };
    let Some(mut lab) = Lab::with(&options) else { return };
    let text = policy(
        "kprobes:
- call: sys_write
  syscall: true
  args: [{index: 1, type: char_buf, sizeArgIndex: 3, maxData: true}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 1, operator: Prefix, values: [whole]}]",
    );
    let _applied = lab.apply(&text).unwrap();
    let mut content = bytes(MOST);
    content[..5].copy_from_slice(b"whole");
    let mut file = sink();
    let told = lab.told(|| (0..10).for_each(|_| file.write_all(&content).unwrap()));
    let whole = told.iter().filter(|one| one.whole(0) == expected(&content)).count();
    assert!((1..10).contains(&whole), "{whole} of 10 were told as a whole");
    for one in &told {
        let (size, bytes) = one.whole(0);
        assert!(size as usize == MOST && bytes == content[..bytes.len()]);
    }
    let (mut sent, mut lost, mut failed) = (0, 0, 0);
    for stats in lab.stats() {
        let all: u64 = stats.sent.iter().sum::<u64>() + stats.lost.iter().flatten().sum::<u64>();
        assert_eq!(stats.seq, all);
        sent += stats.sent[SAKER_KIND_DATA as usize];
        lost += stats.lost.iter().map(|kinds| kinds[SAKER_KIND_DATA as usize]).sum::<u64>();
        failed += stats.failed[SAKER_PLACE_DATA as usize];
    }
    println!("{sent} sent, {lost} lost, {whole} of 10 whole");
    assert!(lost > 0 && failed == lost && sent >= 20 * whole as u64, "{sent} {lost} {failed}");
}

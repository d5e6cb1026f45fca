//! Tests of gap detection.

use super::*;

fn stats(seq: u64, ring_full: u64, too_long: u64) -> Stats {
    let mut stats = Stats { seq, ..Stats::default() };
    stats.lost[Loss::RingFull as usize][1] = ring_full;
    stats.lost[Loss::TooLong as usize][3] = too_long;
    stats
}

fn gap(lost: u64, cpu: u32, first_seq: u64, last_seq: u64, causes: &[(&'static str, u64)]) -> GapEvent {
    GapEvent { lost, cpu: Some(cpu), first_seq, last_seq, stage: "kernel", causes: causes.to_vec() }
}

fn sample(sequences: &mut Sequences, stats: &[Stats], drained: bool) -> Vec<GapEvent> {
    let mut gaps = Vec::new();
    sequences.sample(stats, drained, &mut Losses::default(), &mut gaps);
    gaps
}

#[test]
fn a_whole_sequence_has_no_gap() {
    let (mut sequences, mut losses) = (Sequences::new(SequenceBase::One), Losses::default());
    for seq in 1..100 {
        assert!(!sequences.arrived(3, seq, &mut losses));
    }
    assert!(!sequences.waits());
    assert_eq!(
        sample(
            &mut sequences,
            &[Stats::default(), Stats::default(), Stats::default(), stats(99, 0, 0)],
            true
        ),
        []
    );
    assert_eq!(losses, Losses::default());
}

#[test]
fn holes_of_a_cpu_are_one_gap_with_its_causes() {
    let (mut sequences, mut losses) = (Sequences::new(SequenceBase::One), Losses::default());
    assert!(sequences.arrived(0, 3, &mut losses), "the first two are missing");
    assert!(sequences.arrived(1, 2, &mut losses));
    assert!(sequences.arrived(0, 7, &mut losses));
    assert!(sequences.waits());
    assert_eq!(losses.records, 6);
    let gaps = sample(&mut sequences, &[stats(9, 4, 3), stats(2, 0, 0)], false);
    assert_eq!(gaps, [gap(5, 0, 1, 6, &[("ring_full", 4), ("too_long", 1)]), gap(1, 1, 1, 1, &[])]);
    assert!(!sequences.waits());
    assert!(sequences.arrived(0, 10, &mut losses));
    let gaps = sample(&mut sequences, &[stats(10, 4, 3), stats(2, 0, 0)], true);
    assert_eq!(gaps, [gap(2, 0, 8, 9, &[("too_long", 2)])], "what was told is not told again");
}

#[test]
fn the_end_of_a_sequence_is_missing_only_when_the_losses_say_so() {
    let (mut sequences, mut losses) = (Sequences::new(SequenceBase::One), Losses::default());
    sequences.arrived(0, 1, &mut losses);
    assert_eq!(sample(&mut sequences, &[stats(4, 2, 0)], true), [], "one of the three may be on its way");
    assert_eq!(sample(&mut sequences, &[stats(4, 3, 0)], false), [], "the ring is not empty");
    assert_eq!(sample(&mut sequences, &[stats(4, 3, 0)], true), [gap(3, 0, 2, 4, &[("ring_full", 3)])]);
    assert!(!sequences.arrived(0, 5, &mut losses));
}

#[test]
fn an_unknown_base_is_learned() {
    let (mut sequences, mut losses) = (Sequences::new(SequenceBase::Unknown), Losses::default());
    assert!(!sequences.arrived(0, 1000, &mut losses));
    assert!(sequences.arrived(0, 1002, &mut losses));
    assert_eq!(sample(&mut sequences, &[stats(1002, 1, 0), stats(500, 77, 0)], true).len(), 1);
    assert!(sequences.arrived(1, 502, &mut losses));
    assert_eq!(
        sample(&mut sequences, &[stats(1002, 1, 0), stats(502, 78, 0)], true),
        [gap(1, 1, 501, 501, &[("ring_full", 1)])]
    );
}

#[test]
fn late_and_absurd_records_do_no_harm() {
    let (mut sequences, mut losses) = (Sequences::new(SequenceBase::One), Losses::default());
    sequences.arrived(0, 2, &mut losses);
    assert!(!sequences.arrived(0, 1, &mut losses));
    assert_eq!((losses.records, losses.late), (1, 1));
    assert!(!sequences.arrived(u32::MAX, 5, &mut losses));
    assert!(sequences.arrived(0, u64::MAX, &mut losses));
    assert!(!sequences.arrived(0, u64::MAX, &mut losses));
    assert_eq!(sample(&mut sequences, &[stats(u64::MAX, u64::MAX, u64::MAX)], true).len(), 1);
}

#[test]
fn undecodable_records_explain_what_the_kernel_did_not_lose() {
    let (mut sequences, mut losses) = (Sequences::new(SequenceBase::One), Losses::default());
    sequences.undecodable();
    sequences.arrived(0, 4, &mut losses);
    let gaps = sample(&mut sequences, &[stats(4, 2, 0)], true);
    assert_eq!(gaps, [gap(3, 0, 1, 3, &[("ring_full", 2), ("undecodable", 1)])]);
}

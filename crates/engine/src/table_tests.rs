//! Tests of the table: what is kept, for how long, and what goes at the bound.

use super::*;

fn insert(table: &mut Table, pid: u32, ktime: u64) -> Slot {
    let state = State::Shared(Arc::default());
    let new = NewEntry { key: Key::new(pid, ktime), start_boottime: ktime, state, silent: false };
    table.insert(new, &mut TableCounters::default())
}

#[test]
fn a_slot_of_a_gone_entry_leads_nowhere() {
    let mut table = Table::new(10);
    let first = insert(&mut table, 1, 1);
    table.end(first);
    let second = insert(&mut table, 2, 2);
    assert_eq!(first.index, second.index, "the place is used again");
    assert!(table.get(first).is_none() && table.get_mut(first).is_none());
    assert_eq!(table.find(Key::new(1, 1)), None);
    assert_eq!(table.find(Key::new(2, 2)), Some(second));
    table.end(first);
    assert!(table.get(second).is_some_and(Entry::alive));
}

#[test]
fn a_chain_goes_when_its_last_descendant_ends() {
    let mut table = Table::new(100);
    let slots: Vec<_> = (1..=50).map(|n| insert(&mut table, n, 1)).collect();
    for pair in slots.windows(2) {
        assert!(table.link(pair[1], pair[0]));
    }
    for slot in &slots[..49] {
        table.end(*slot);
    }
    assert_eq!((table.len(), table.alive_len()), (50, 1));
    assert_eq!(table.get(slots[0]).map(Entry::refcnt), Some(0), "kept, though nobody refers to it");
    table.end(slots[49]);
    assert_eq!(table.len(), 0);
    assert_eq!((table.alive.head, table.ended.head), (NONE, NONE));
}

#[test]
fn no_link_closes_a_circle() {
    let mut table = Table::new(10);
    let [a, b, c] = [1, 2, 3].map(|n| insert(&mut table, n, 1));
    assert!(table.link(b, a) && table.link(c, b));
    assert!(!table.link(a, c) && !table.link(a, a));
    assert!(!table.link(c, a), "the parent is told once");
}

#[test]
fn the_bound_holds_and_links_to_what_is_given_up_are_dead() {
    let mut table = Table::new(3);
    let mut counters = TableCounters::default();
    let parent = insert(&mut table, 1, 1);
    let child = insert(&mut table, 2, 1);
    table.link(child, parent);
    table.end(parent);
    insert(&mut table, 3, 1);
    let state = || State::Shared(Arc::default());
    let new = |pid| NewEntry { key: Key::new(pid, 1), start_boottime: 1, state: state(), silent: false };
    table.insert(new(4), &mut counters);
    assert_eq!((counters.evicted_ended, table.len()), (1, 3));
    assert!(table.parent_of(child).is_none());
    table.insert(new(5), &mut counters);
    assert_eq!((counters.evicted_alive, table.len()), (1, 3));
    assert!(table.get(child).is_none(), "the first that was seen");
}

#[test]
fn a_process_is_found_under_its_newest_identity() {
    let mut table = Table::new(10);
    let old = insert(&mut table, 7, 1);
    let new = insert(&mut table, 7, 2);
    table.end(old);
    assert_eq!((table.alive(7), table.len()), (Some(new), 1));
    let newest = insert(&mut table, 7, 3);
    table.claim(new);
    table.end(newest);
    assert_eq!(table.alive(7), Some(new));
}

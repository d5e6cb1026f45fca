use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A kernel that only remembers.
#[derive(Default)]
struct Memory {
    until: AtomicU64,
    marked: AtomicU64,
    /// How often files cannot be looked at.
    hidden: AtomicU64,
    is_broken: bool,
}

impl Shield for Memory {
    fn lift_until(&self, until: u64) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_broken, "no");
        self.until.store(until, Ordering::Relaxed);
        Ok(())
    }

    fn mark_all(&self) -> anyhow::Result<()> {
        let hidden = self.hidden.load(Ordering::Relaxed);
        if hidden > 0 {
            self.hidden.store(hidden - 1, Ordering::Relaxed);
            anyhow::bail!("no such place");
        }
        self.marked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn tend(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn counts(&self) -> anyhow::Result<Vec<GuardCount>> {
        Ok(vec![GuardCount { refused: 3, lost: 1 }; GUARD_HOOKS.len()])
    }
}

#[test]
fn it_is_lifted_for_a_time_and_comes_back() {
    let memory = Arc::new(Memory::default());
    let protection = Protection::by(Arc::clone(&memory) as _);
    assert!(protection.lifted().is_none());
    let lifted = protection.lift(Duration::from_secs(60), "pid 7", "upgrade").unwrap();
    assert_eq!(memory.until.load(Ordering::Relaxed), lifted.end);
    assert!(lifted.end > host::boot_now() + 50_000_000_000);
    assert_eq!(protection.lifted().map(|lifted| lifted.by), Some("pid 7".into()));
    protection.restore("pid 7", "").unwrap();
    assert_eq!((memory.until.load(Ordering::Relaxed), memory.marked.load(Ordering::Relaxed)), (0, 1));
    assert!(protection.lifted().is_none());
    assert_eq!(protection.times(), 1);
}

#[test]
fn files_are_looked_at_anew_when_the_time_is_over() {
    let memory = Arc::new(Memory::default());
    let protection = Protection::by(Arc::clone(&memory) as _);
    protection.lift(MIN_LIFTED, "pid 7", "").unwrap();
    protection.tend();
    assert_eq!(memory.marked.load(Ordering::Relaxed), 0);
    protection.known().lifted.as_mut().unwrap().end = host::boot_now();
    assert!(protection.lifted().is_none());
    protection.tend();
    protection.tend();
    assert_eq!(memory.marked.load(Ordering::Relaxed), 1);
}

#[test]
fn files_that_cannot_be_looked_at_are_tried_again() {
    let memory = Arc::new(Memory { hidden: 2.into(), ..Memory::default() });
    let protection = Protection::by(Arc::clone(&memory) as _);
    protection.lift(MIN_LIFTED, "pid 7", "").unwrap();
    assert!(matches!(protection.restore("pid 7", ""), Err(ProtectionError::Kernel(_))));
    assert!(protection.lifted().is_none());
    protection.tend();
    assert_eq!(memory.marked.load(Ordering::Relaxed), 0);
    protection.tend();
    protection.tend();
    assert_eq!(memory.marked.load(Ordering::Relaxed), 1);
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let none = Protection::default();
    let minute = Duration::from_secs(60);
    assert_eq!(none.lift(minute, "", ""), Err(ProtectionError::None));
    assert_eq!(none.restore("", ""), Err(ProtectionError::None));
    assert!(!none.is_there() && none.counts().iter().all(|(_, count)| *count == GuardCount::default()));
    let protection = Protection::by(Arc::new(Memory::default()));
    for time in [Duration::ZERO, MAX_LIFTED + Duration::from_secs(1)] {
        assert_eq!(protection.lift(time, "", ""), Err(ProtectionError::Duration(time)));
    }
    assert!(matches!(protection.lift(minute, "", "a\nb"), Err(ProtectionError::Reason(_))));
    let broken = Protection::by(Arc::new(Memory { is_broken: true, ..Memory::default() }));
    assert_eq!(broken.lift(minute, "", ""), Err(ProtectionError::Kernel("no".into())));
    assert!(protection.lifted().is_none() && broken.lifted().is_none() && broken.times() == 0);
}

#[test]
fn attempts_are_counted_and_told_by_hook() {
    let protection = Protection::by(Arc::new(Memory::default()));
    let counts = protection.counts();
    assert_eq!(counts.len(), GUARD_HOOKS.len());
    assert_eq!(counts[0], ("task_kill", GuardCount { refused: 3, lost: 1 }));
    let text = text();
    assert_eq!((text.id, text.hooks.len()), (u32::MAX, GUARD_HOOKS.len()));
    assert_eq!(text.hooks[0].labels, ["signal"]);
}

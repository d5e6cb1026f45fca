use std::collections::BTreeMap;

use super::*;

/// A kernel that only remembers.
#[derive(Default)]
struct Fake {
    until: Mutex<u64>,
    groups: Mutex<BTreeMap<u64, Enforced>>,
    broken: bool,
}

impl Rails for Fake {
    fn set_off_until(&self, until: u64) -> anyhow::Result<()> {
        anyhow::ensure!(!self.broken, "no map");
        *self.until.lock().unwrap() = until;
        Ok(())
    }

    fn groups(&self) -> anyhow::Result<Vec<(u64, Enforced)>> {
        Ok(self.groups.lock().unwrap().iter().map(|(id, counts)| (*id, *counts)).collect())
    }

    fn forget(&self, group: u64) -> anyhow::Result<()> {
        self.groups.lock().unwrap().remove(&group);
        Ok(())
    }
}

fn of(fake: &Arc<Fake>) -> Enforcement {
    let rails: Arc<dyn Rails> = Arc::clone(fake) as _;
    Enforcement::new(Ok(rails))
}

#[test]
fn the_kernel_has_the_end_of_the_time() {
    let fake = Arc::new(Fake::default());
    let enforcement = of(&fake);
    assert_eq!(enforcement.off(), None);
    let hour = Duration::from_secs(3600);
    let (before, off) = (host::boot_now(), enforcement.switch_off(Some(hour), "pid 7", "trouble").unwrap());
    let until = *fake.until.lock().unwrap();
    let nanoseconds = u64::try_from(hour.as_nanos()).unwrap();
    assert!((before + nanoseconds..=host::boot_now() + nanoseconds).contains(&until));
    assert_eq!(off.until, Some(off.since + hour));
    assert_eq!(enforcement.off(), Some(off.clone()));
    assert_eq!((off.by.as_str(), off.reason.as_str()), ("pid 7", "trouble"));

    enforcement.switch_off(None, "pid 8", "").unwrap();
    assert_eq!(*fake.until.lock().unwrap(), u64::MAX);
    assert_eq!(enforcement.off().and_then(|off| off.until), None);
    assert_eq!(enforcement.switched_off(), 2);
    enforcement.switch_on("pid 8", "").unwrap();
    assert_eq!((enforcement.off(), *fake.until.lock().unwrap()), (None, 0));
}

#[test]
fn a_time_that_is_over_is_over_whoever_looks() {
    let enforcement = of(&Arc::default());
    enforcement.switch_off(Some(MIN_OFF), "pid 7", "").unwrap();
    assert!(enforcement.off().is_some());
    std::thread::sleep(MIN_OFF + Duration::from_millis(20));
    assert_eq!(enforcement.off(), None);
    enforcement.tend();
    assert!(enforcement.known().off.is_none());
}

#[test]
fn what_is_out_of_bounds_changes_nothing() {
    let fake = Arc::new(Fake::default());
    let enforcement = of(&fake);
    for time in [Duration::ZERO, Duration::from_millis(999), MAX_OFF + Duration::from_nanos(1)] {
        let error = enforcement.switch_off(Some(time), "", "").unwrap_err();
        assert_eq!(error, EnforcementError::Duration(time));
    }
    let error = enforcement.switch_off(None, "", &"x".repeat(201)).unwrap_err();
    assert_eq!(error, EnforcementError::Reason(201));
    assert_eq!(enforcement.switch_off(None, "", "a\u{1b}[2J").unwrap_err(), EnforcementError::Control);
    assert_eq!((enforcement.off(), *fake.until.lock().unwrap()), (None, 0));

    assert_eq!(enforcement.switch_on("", "a\nb").unwrap_err(), EnforcementError::Control);
    let broken = of(&Arc::new(Fake { broken: true, ..Fake::default() }));
    let error = broken.switch_off(None, "", "").unwrap_err();
    assert_eq!(error, EnforcementError::Kernel("no map".into()));
    assert_eq!((broken.off(), broken.switched_off()), (None, 0));
    let nowhere = Enforcement::new(Err("no hooks".into()));
    assert_eq!(nowhere.switch_on("", "").unwrap_err(), EnforcementError::Nowhere("no hooks".into()));
    assert!(nowhere.groups().unwrap().is_empty() && nowhere.total().unwrap() == Enforced::default());
}

#[test]
fn sums_hold_when_groups_go() {
    let fake = Arc::new(Fake::default());
    let counts = |denied, signalled, withheld| Enforced { denied, signalled, withheld };
    // No group has such a number.
    let gone = u64::MAX - 5;
    *fake.groups.lock().unwrap() =
        [(0, counts(1, 0, 0)), (1, counts(0, 2, 0)), (gone, counts(0, 0, 7))].into();
    let enforcement = of(&fake);
    assert_eq!(enforcement.total().unwrap(), counts(1, 2, 7));
    assert_eq!(enforcement.counted().unwrap(), 2);
    let views = enforcement.groups().unwrap();
    assert_eq!(enforcement.total().unwrap(), counts(1, 2, 7));
    let sum = views.iter().fold(Enforced::default(), |sum, view| sum.plus(view.counts));
    assert_eq!(sum, counts(1, 2, 7), "{views:?}");
    // Where the hierarchy can be seen the group is known to be gone.
    if saker_probes::groups::unified_root().is_ok() {
        assert_eq!(views.iter().map(|view| view.id).collect::<Vec<_>>(), [0, 1], "{views:?}");
        assert_eq!((views[0].counts, views[1].path.as_str()), (counts(1, 0, 7), "/"));
        assert!(!fake.groups.lock().unwrap().contains_key(&gone));
    }
}

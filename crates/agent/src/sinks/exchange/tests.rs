use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::{Config, Places};
use crate::testing::{self, World};

/// A world, and the settings that a file of exports gives.
struct Declared {
    world: World,
    root: TempDir,
}

impl Declared {
    fn new() -> Self {
        Self { world: World::new(), root: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    /// An export to a server that is not there, so that everything stays in its spool.
    fn bus(&self, name: &str, subject: &str) -> String {
        let dir = self.path(name);
        format!(
            "- {{name: {name}, kind: nats, address: \"nats://127.0.0.1:1\", subject: {subject}, spool-dir: {dir}}}\n"
        )
    }

    fn exchange(&self, exports: &str) -> Result<()> {
        let file = self.path("exports.yaml");
        fs::write(&file, exports).unwrap();
        let places = Places { root: self.root.path().into(), environment: BTreeMap::new() };
        let flags = [("export-config".to_owned(), file)];
        let settings = Config::load(&places, &flags).unwrap().settings().unwrap();
        exchange(&settings, &self.world.state)
    }

    fn find(&self, name: &str) -> Option<Arc<SinkHandle>> {
        self.world.state.sinks.all().iter().find(|sink| sink.name == name).cloned()
    }

    fn await_spooled(&self, name: &str, wanted: u64) {
        let sink = self.find(name).unwrap();
        let waiting = || sink.delivery.as_ref().unwrap().stats().waiting;
        let end = Instant::now() + Duration::from_secs(60);
        while waiting() != wanted && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(waiting(), wanted, "{name}");
    }

    fn publish(&self, count: u32) {
        self.world.publish((0..count).map(testing::exec).collect());
    }
}

#[test]
fn a_spool_is_taken_over_and_what_is_the_same_goes_on() {
    let all = Declared::new();
    all.exchange(&[all.bus("first", "a"), all.bus("second", "b")].concat()).unwrap();
    all.publish(3);
    all.await_spooled("first", 3);
    let second = all.find("second").unwrap();
    all.exchange(&[all.bus("first", "other"), all.bus("second", "b")].concat()).unwrap();
    assert_eq!(all.find("first").unwrap().target, "nats://127.0.0.1:1 other");
    assert!(Arc::ptr_eq(&second, &all.find("second").unwrap()));
    all.publish(2);
    all.await_spooled("first", 5);
    all.await_spooled("second", 5);
    all.exchange(&all.bus("second", "b")).unwrap();
    assert!(all.find("first").is_none() && all.find("second").is_some() && all.find("file").is_some());
}

#[test]
fn one_that_cannot_be_opened_leaves_all_as_they_were() {
    let all = Declared::new();
    all.exchange(&all.bus("first", "a")).unwrap();
    let first = all.find("first").unwrap();
    let nowhere = all.path("nowhere/file");
    let file = format!("- {{name: new, kind: file, path: {nowhere}}}\n");
    let error = all.exchange(&[all.bus("first", "other"), file].concat()).unwrap_err();
    assert!(format!("{error:#}").contains("export `new`"), "{error:#}");
    assert!(Arc::ptr_eq(&first, &all.find("first").unwrap()) && all.find("new").is_none());
    all.publish(2);
    all.await_spooled("first", 2);
}

#[test]
fn an_exchange_that_fails_half_way_goes_back() {
    let all = Declared::new();
    all.exchange(&[all.bus("first", "a"), all.bus("second", "b")].concat()).unwrap();
    all.publish(3);
    all.await_spooled("first", 3);
    all.await_spooled("second", 3);
    // Its spool is free only when the old one has ended, so that this is found late.
    let spool = all.path("second");
    fs::rename(&spool, all.path("elsewhere")).unwrap();
    fs::write(Path::new(&spool), "no directory").unwrap();
    let error = all.exchange(&[all.bus("first", "x"), all.bus("second", "y")].concat()).unwrap_err();
    let told = format!("{error:#}");
    assert!(told.contains("could not be begun again: second") && !told.contains("first"), "{told}");
    assert!(all.find("second").is_none());
    assert_eq!(all.find("first").unwrap().target, "nats://127.0.0.1:1 a");
    all.publish(2);
    all.await_spooled("first", 5);
}

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
        self.exchange_within(exports, DRAIN)
    }

    fn exchange_within(&self, exports: &str, drain: Duration) -> Result<()> {
        let file = self.path("exports.yaml");
        fs::write(&file, exports).unwrap();
        let places = Places { root: self.root.path().into(), environment: BTreeMap::new() };
        let flags = [("export-config".to_owned(), file)];
        let settings = Config::load(&places, &flags).unwrap().settings().unwrap();
        super::exchange_within(&settings, &self.world.state, drain)
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

/// A server that takes a request and answers it when it is told to.
fn slow_server() -> (u16, std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<()>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (came, comes) = std::sync::mpsc::channel();
    let (answer, answers) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut text = Vec::new();
        let mut part = [0; 4096];
        while !text.ends_with(b"]") {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "the connection ended");
            text.extend_from_slice(&part[..length]);
        }
        came.send(()).unwrap();
        answers.recv().unwrap();
        stream.write_all(b"HTTP/1.1 204 Text\r\nconnection: close\r\n\r\n").unwrap();
    });
    (port, comes, answer)
}

#[test]
fn others_go_on_while_one_that_goes_writes_what_it_has() {
    let all = Declared::new();
    let (port, comes, answer) = slow_server();
    let slow = format!(
        "- {{name: slow, kind: webhook, url: \"http://127.0.0.1:{port}\", batch-time: 0, timeout: 600s}}\n"
    );
    let file = |name: &str| format!("- {{name: {name}, kind: file, path: {}}}\n", all.path(name));
    let lines = |name: &str, wanted: usize| {
        let end = Instant::now() + Duration::from_secs(60);
        let count = || fs::read_to_string(all.path(name)).unwrap_or_default().lines().count();
        while count() < wanted && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(count(), wanted, "{name}");
    };
    all.exchange(&[slow, file("kept")].concat()).unwrap();
    all.publish(1);
    comes.recv().unwrap();
    let going = all.find("slow").unwrap();
    let exports = [file("kept"), file("new")].concat();
    std::thread::scope(|scope| {
        let exchange = scope.spawn(|| all.exchange_within(&exports, Duration::from_secs(600)));
        while all.world.fanout.of_stage("new").is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        all.publish(2);
        lines("kept", 3);
        lines("new", 2);
        assert!(!exchange.is_finished() && !going.worker.is_finished());
        answer.send(()).unwrap();
        exchange.join().unwrap().unwrap();
    });
    assert_eq!((going.worker.stats().written, going.worker.stats().given_up), (1, 0));
    assert!(all.find("slow").is_none() && all.find("new").is_some());
}

//! The thread that owns the policies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::book::Book;
use super::files::{Changes, Directory, read};
use super::{Order, Shared};
use crate::enforcement::Enforcement;

/// Time between two looks at the directory. Tests have no patience.
const SCAN: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 1000 });
/// Time between two readings of the counters when nobody asks for them.
const MEASURE: Duration = Duration::from_secs(5);
/// Time without loading after which the loader may rest.
const REST: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    book: Book,
    directory: Option<Directory>,
    orders: Receiver<Order>,
    shared: Arc<Shared>,
    enforcement: Arc<Enforcement>,
    measured: Instant,
    /// When something was loaded last; `None`: the loader rests.
    busy: Option<Instant>,
    /// The file of the option, and what it held.
    file: Option<PathBuf>,
    text: Option<Result<String, String>>,
}

impl Worker {
    pub(super) fn new(
        book: Book,
        directory: Option<Directory>,
        orders: Receiver<Order>,
        shared: Arc<Shared>,
        enforcement: Arc<Enforcement>,
    ) -> Self {
        let (measured, busy) = (Instant::now(), Some(Instant::now()));
        Self { book, directory, orders, shared, enforcement, measured, busy, file: None, text: None }
    }

    /// Works until it is told to stop, or nobody can give orders any more. Then all policies are detached.
    pub(super) fn run(mut self, kept: Option<PathBuf>, file: Option<PathBuf>) {
        self.work(kept, file);
        self.book.end();
    }

    fn work(&mut self, kept: Option<PathBuf>, file: Option<PathBuf>) {
        self.book.meet_kept();
        if let Some(dir) = kept {
            self.book.restore(&dir);
        }
        self.file = file;
        if let Some(path) = self.file.clone() {
            self.once(&path);
        }
        self.scan(true);
        // An agent that is about to end, for it lacks what it must have, leaves in force what is.
        if !self.is_stopping() && !self.shared.is_unmet() {
            self.book.take_over();
        }
        self.shared.started.store(true, Ordering::Release);
        let mut scanned = Instant::now();
        while !self.is_stopping() {
            match self.orders.recv_timeout(SCAN.saturating_sub(scanned.elapsed())) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if scanned.elapsed() >= SCAN {
                self.scan(false);
                scanned = Instant::now();
                self.tidy();
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn obey(&mut self, order: Order) {
        // Whoever asked may have lost patience: nobody minds then.
        match order {
            Order::Look(done) => {
                self.measure();
                let _ = done.send(());
                return;
            }
            Order::Reload => {
                self.reload();
            }
            Order::Add { text, domain, mode, reply } => {
                let _ = reply.send(self.book.add(&text, &domain, mode));
            }
            Order::Replace { text, domain, mode, reply } => {
                let _ = reply.send(self.book.replace(&text, &domain, mode));
            }
            Order::Try { text, reply } => {
                let outcome = self.book.try_out(&text);
                // The call is gone: nobody else would remove it.
                if let Err(Ok(key)) = reply.send(outcome) {
                    let _ = self.book.delete(&key);
                }
            }
            Order::Delete { key, reply } => {
                let _ = reply.send(self.book.delete(&key).map(|()| key));
            }
            Order::Configure { key, enable, mode, reply } => {
                let _ = reply.send(self.book.configure(&key, enable, mode).map(|()| key));
            }
        }
        self.busy = Some(Instant::now());
    }

    /// Reads the file of the option again, if it holds something else, and looks at the directory.
    fn reload(&mut self) {
        if let Some(path) = self.file.clone() {
            self.once(&path);
        }
        self.scan(true);
    }

    /// The file of the option, which is not watched.
    fn once(&mut self, path: &Path) {
        let text = read(path);
        if self.text.as_ref() == Some(&text) {
            return;
        }
        self.text = Some(text.clone());
        let mut changes = Changes::default();
        changes.changed.push((path.to_owned(), text));
        self.book.follow(changes, || self.shared.stop.load(Ordering::Acquire));
        self.shared.set_unmet(self.book.unmet(path));
    }

    fn scan(&mut self, first: bool) {
        let Some(directory) = &mut self.directory else { return };
        let changes = match directory.scan(first) {
            Ok(changes) => {
                self.shared.set_problems(Vec::new());
                changes
            }
            Err(problem) => {
                // What is in force stays: nobody has removed it.
                if directory.is_news(&problem) {
                    tracing::error!("{problem}");
                }
                self.shared.set_problems(vec![problem]);
                return;
            }
        };
        if !changes.is_empty() {
            self.busy = Some(Instant::now());
            self.book.follow(changes, || self.shared.stop.load(Ordering::Acquire));
        }
        for path in self.book.retry() {
            directory.forget(&path);
        }
    }

    fn measure(&mut self) {
        self.measured = Instant::now();
        self.book.measure();
    }

    fn tidy(&mut self) {
        self.enforcement.tend();
        self.book.bury();
        self.shared.set_stays(self.book.clear());
        if self.measured.elapsed() >= MEASURE {
            self.measure();
        }
        if self.busy.is_some_and(|since| since.elapsed() >= REST) {
            self.busy = None;
            self.book.rest();
        }
    }
}

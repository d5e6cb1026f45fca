//! What stands at an address: names for the callers of a stack, and what a mapped file says of itself.
//!
//! All of it is read from files, which may be large, slow, broken or made to deceive. So it is done by a thread of its
//! own ([`Lookup`]): whoever asks waits for a bounded time, and goes on with what is known by then.

mod files;
mod functions;
mod kallsyms;
pub(crate) mod mappings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use files::Files;
pub(crate) use functions::Functions;
use kallsyms::KernelSymbols;
use mappings::{Mapping, Process};

/// What is to be looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Process by its id in the host's PID namespace.
    pub pid: u32,
    /// When its record was made, CLOCK_BOOTTIME in nanoseconds. A process that began later is another one.
    pub time: u64,
    /// Callers in the kernel, the innermost first.
    pub kernel: Vec<u64>,
    /// Callers in the program, likewise.
    pub user: Vec<u64>,
    /// A file that it has mapped.
    pub file: Option<MappedFile>,
}

/// A file as the kernel tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappedFile {
    /// Device, major and minor number.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
    /// Where it is mapped to.
    pub start: u64,
    /// Its path, from the root of the process.
    pub path: Vec<u8>,
    /// Wall clock of the mapping, nanoseconds since 1970: a file that was changed later is not the one that was mapped.
    pub time: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Callers in the kernel, from the innermost, that are programs of hooks and what calls them.
    pub own_frames: usize,
    /// One for each caller in the kernel.
    pub kernel: Vec<Location>,
    /// One for each caller in the program, or none when the process is not there any more.
    pub user: Vec<Location>,
    /// What the linker named the file by; empty: not known.
    pub build_id: Vec<u8>,
}

/// What is known of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Function; empty: not known.
    pub symbol: Arc<str>,
    /// Module of the kernel, or file; empty: the kernel itself, or not known.
    pub module: Arc<str>,
    /// In the kernel: bytes behind the beginning of the function. In a program: offset in the file.
    pub offset: u64,
}

/// Looks up at once, in the calling thread.
#[derive(Debug)]
pub struct Symbols {
    procfs: PathBuf,
    kernel: KernelSymbols,
    files: Files,
}

impl Symbols {
    /// Reads what is asked for below this directory, which is the host's `/proc`.
    #[must_use]
    pub fn new(procfs: &Path) -> Self {
        let kernel = KernelSymbols::new(procfs);
        Self { procfs: procfs.to_owned(), kernel, files: Files::default() }
    }

    /// Reads what takes long, before the first question.
    pub fn prepare(&mut self) {
        self.kernel.prepare();
    }

    /// What is known.
    pub fn look_up(&mut self, question: &Question) -> Answer {
        let kernel = self.kernel.locate(&question.kernel);
        let own_frames = self.kernel.own_frames(&question.kernel, &kernel);
        let mut answer = Answer { own_frames, kernel, ..Answer::default() };
        if question.user.is_empty() && question.file.is_none() {
            return answer;
        }
        let process = Process::of(&self.procfs, question.pid, question.time);
        if let Some(process) = process.as_ref().filter(|_| !question.user.is_empty()) {
            answer.user = self.locate(process, &question.user);
        }
        if let Some(file) = &question.file {
            answer.build_id = self.build_id(process.as_ref(), file);
        }
        answer
    }

    fn locate(&mut self, process: &Process, addresses: &[u64]) -> Vec<Location> {
        let mappings = process.mappings(addresses);
        let locate = |(index, address): (usize, &u64)| {
            let Some(mapping) = mappings.iter().find(|mapping| mapping.has(*address)) else {
                return Location::default();
            };
            let offset = mapping.offset_of(*address);
            let module = Arc::clone(&mapping.path);
            // A call may be the last instruction of its function; where it returns to is then in the next one.
            let within = if index == 0 { offset } else { offset.saturating_sub(1) };
            let symbol = self.files.function(process, mapping, within).unwrap_or_default();
            Location { symbol, module, offset }
        };
        addresses.iter().enumerate().map(locate).collect()
    }

    fn build_id(&mut self, process: Option<&Process>, file: &MappedFile) -> Vec<u8> {
        let is_meant = |mapping: &Mapping| mapping.device == file.device && mapping.inode == file.inode;
        let mapping = process.and_then(|process| process.mappings(&[file.start]).into_iter().find(is_meant));
        let found = process.zip(mapping).and_then(|(process, mapping)| self.files.mapped(process, &mapping));
        let found = found.or_else(|| self.files.named(file));
        found.map(|file| file.build_id.clone()).unwrap_or_default()
    }
}

/// Longest wait for one answer.
const WAIT: Duration = Duration::from_secs(2);
/// Part of the time, in percent, that may be spent waiting in the long run; what was not spent is saved up to [`WAIT`].
const WAIT_PERCENT: u32 = 20;
/// A lookup that takes longer hangs, as one in a file system whose server does not answer may.
const HANGS: Duration = Duration::from_secs(10);
/// Threads that hang, beyond which no other is started.
const HANGING_MAX: u32 = 4;

/// A thread that looks up.
#[derive(Debug)]
pub struct Lookup {
    procfs: PathBuf,
    thread: Option<Thread>,
    asked: Option<Instant>,
    hanging: u32,
    /// Time that may be spent waiting.
    left: Duration,
    refilled: Instant,
    late: u64,
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    Prepare,
    Answer(Box<Question>),
}

#[derive(Debug)]
struct Thread {
    orders: SyncSender<Order>,
    answers: Receiver<Answer>,
}

impl Lookup {
    /// Nothing is started before the first question. `procfs` is the host's `/proc`.
    #[must_use]
    pub fn new(procfs: &Path) -> Self {
        Self {
            procfs: procfs.to_owned(),
            thread: None,
            asked: None,
            hanging: 0,
            left: WAIT,
            refilled: Instant::now(),
            late: 0,
        }
    }

    /// What is known; `None`: it was not found out in time.
    pub fn ask(&mut self, question: Question) -> Option<Answer> {
        let answer = self.try_ask(question);
        self.late += u64::from(answer.is_none());
        answer
    }

    /// Questions that had no answer in time.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Has read what takes long, so that the first question is answered in time. Does not wait for it.
    pub fn prepare(&mut self) {
        if self.asked.is_none() && self.order(Order::Prepare).is_some() {
            self.asked = Some(Instant::now());
        }
    }

    fn try_ask(&mut self, question: Question) -> Option<Answer> {
        let elapsed = std::mem::replace(&mut self.refilled, Instant::now()).elapsed();
        self.left = (self.left + elapsed * WAIT_PERCENT / 100).min(WAIT);
        if self.asked.is_some() {
            self.end_last()?;
        }
        self.order(Order::Answer(Box::new(question)))?;
        self.asked = Some(Instant::now());
        self.wait()
    }

    /// Waits for what was ordered before, or gives it up. `None`: it is still under way.
    fn end_last(&mut self) -> Option<()> {
        let hangs = self.asked.is_some_and(|asked| asked.elapsed() >= HANGS);
        if self.wait().is_some() {
            return Some(());
        }
        if !hangs || self.hanging >= HANGING_MAX {
            return None;
        }
        // It ends by itself when what it waits for does.
        (self.thread, self.asked) = (None, None);
        self.hanging += 1;
        Some(())
    }

    /// Waits as long as is left.
    fn wait(&mut self) -> Option<Answer> {
        let thread = self.thread.as_ref()?;
        let begin = Instant::now();
        let answer = thread.answers.recv_timeout(self.left).ok();
        self.left = self.left.saturating_sub(begin.elapsed());
        if answer.is_some() {
            self.asked = None;
        }
        answer
    }

    fn order(&mut self, order: Order) -> Option<()> {
        if self.thread.is_none() {
            self.thread = Thread::start(&self.procfs);
        }
        let sent = self.thread.as_ref()?.orders.try_send(order).is_ok();
        if !sent {
            (self.thread, self.asked) = (None, None);
        }
        sent.then_some(())
    }
}

impl Thread {
    /// `None`: the system has no thread for it.
    fn start(procfs: &Path) -> Option<Self> {
        let (orders, ordered) = mpsc::sync_channel::<Order>(1);
        let (answer, answers) = mpsc::sync_channel(1);
        let procfs = procfs.to_owned();
        let run = move || {
            let mut symbols = Symbols::new(&procfs);
            while let Ok(order) = ordered.recv() {
                let found = match order {
                    Order::Prepare => {
                        symbols.prepare();
                        Answer::default()
                    }
                    Order::Answer(question) => symbols.look_up(&question),
                };
                if answer.send(found).is_err() {
                    break;
                }
            }
        };
        match std::thread::Builder::new().name("saker-symbols".into()).spawn(run) {
            Ok(_) => Some(Self { orders, answers }),
            Err(error) => {
                tracing::warn!(%error, "no thread looks up symbols: stacks are told without names");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;

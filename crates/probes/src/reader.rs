//! Reading the ring buffer without waking for every record.
//!
//! While records come, the reader looks by itself every few milliseconds and the kernel side does not call it.
//! Only after a pause does it ask to be called for the next record, and sleeps. So an idle machine costs
//! nothing, a busy one a wake-up for each batch, a flood none at all, and a record waits for
//! [`Reader::BATCH`] at most before it is read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{MapCore, MapFlags, MapHandle, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Error;

/// What one call of [`Reader::read`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Records handed over.
    pub records: usize,
    /// The ring was empty at the end.
    pub idle: bool,
}

/// Records of one pass over the ring, one behind the other.
#[derive(Default)]
struct Pass {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// The consumer's side of the ring buffer. There is one for each set of sensors.
pub struct Reader {
    ring: RingBuffer<'static>,
    ring_map: MapHandle,
    pass: Arc<Mutex<Pass>>,
    /// The map of the word that tells the kernel side that the reader waits.
    waits: MapHandle,
    last_record: Instant,
}

impl Reader {
    /// How long records may gather before they are read.
    pub const BATCH: Duration = Duration::from_millis(10);
    /// Pause after which the reader waits to be called.
    const PAUSE: Duration = Duration::from_millis(200);
    /// Records of one pass at most, so that a flood cannot keep the reader from its caller.
    const PASS_RECORDS: usize = 4096;

    pub(crate) fn new(ring_map: MapHandle, waits: MapHandle) -> Result<Self, Error> {
        let pass = Arc::new(Mutex::new(Pass::default()));
        let into = Arc::clone(&pass);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&ring_map, move |record| {
                let mut pass = into.lock().unwrap_or_else(PoisonError::into_inner);
                pass.bytes.extend_from_slice(record);
                let end = pass.bytes.len();
                pass.ends.push(end);
                0
            })
            .map_err(|source| Error::Map { map: "saker_ring", source })?;
        let ring = builder.build().map_err(|source| Error::Map { map: "saker_ring", source })?;
        Ok(Self { ring, ring_map, pass, waits, last_record: Instant::now() })
    }

    /// Waits for records, at most for `timeout`, and hands each to `sink`. An empty outcome is no error.
    ///
    /// # Errors
    /// The ring buffer could not be read or waited for.
    pub fn read(&mut self, timeout: Duration, sink: &mut dyn FnMut(&[u8])) -> Result<ReadOutcome, Error> {
        let mut found = self.pass(sink)?;
        if found == 0 {
            self.wait(timeout)?;
            found = self.pass(sink)?;
        }
        if found > 0 {
            self.last_record = Instant::now();
        }
        Ok(ReadOutcome { records: found, idle: found < Self::PASS_RECORDS })
    }

    /// One bounded pass over what is there.
    fn pass(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<usize, Error> {
        let consumed = self.ring.consume_raw_n(Self::PASS_RECORDS);
        if consumed < 0 {
            let source = libbpf_rs::Error::from_raw_os_error(-consumed);
            return Err(Error::Map { map: "saker_ring", source });
        }
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = 0;
        for &end in &pass.ends {
            sink(pass.bytes.get(start..end).unwrap_or_default());
            start = end;
        }
        let found = pass.ends.len();
        pass.ends.clear();
        pass.bytes.clear();
        // A burst must not be remembered as memory.
        pass.bytes.shrink_to(256 * 1024);
        Ok(found)
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), Error> {
        if self.last_record.elapsed() < Self::PAUSE {
            std::thread::sleep(timeout.min(Self::BATCH));
            return Ok(());
        }
        self.ask_to_be_called(1)?;
        // The ring reads as ready while there is data in it, so a record that came before the question was
        // asked, and calls nobody, ends the wait at once.
        let result = self.poll(timeout);
        self.ask_to_be_called(0)?;
        result
    }

    fn poll(&self, timeout: Duration) -> Result<(), Error> {
        let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&self.ring_map, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => {
                Err(Error::System { operation: "wait for the ring buffer".into(), source: errno.into() })
            }
        }
    }

    fn ask_to_be_called(&self, waits: u32) -> Result<(), Error> {
        self.waits
            .update(&0_u32.to_ne_bytes(), &waits.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| Error::Map { map: ".data.reader", source })
    }
}

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

/// Records, one behind the other.
#[derive(Debug, Default)]
pub struct RecordBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RecordBatch {
    /// Most records of one pass over the ring.
    pub const RECORDS: usize = 1024;
    /// Bytes after which a pass ends.
    const BYTES: usize = 256 * 1024;

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default())
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        // One batch of very long records is not remembered as memory.
        self.bytes.shrink_to(2 * Self::BYTES);
    }
}

/// Ends a pass, as a negative errno (ENOBUFS); the record that it is returned for has been taken.
const FULL: i32 = -105;

/// The consumer's side of the ring buffer. There is one for each set of sensors.
pub struct Reader {
    ring: RingBuffer<'static>,
    ring_map: MapHandle,
    /// Where the ring's records go: the batch of whoever reads, for the time of a pass.
    pass: Arc<Mutex<RecordBatch>>,
    /// The map of the word that tells the kernel side that the reader waits.
    waits: MapHandle,
    last_record: Instant,
}

impl Reader {
    /// How long records may gather before they are read.
    pub const BATCH: Duration = Duration::from_millis(10);
    /// Pause after which the reader waits to be called.
    const PAUSE: Duration = Duration::from_millis(200);
    pub(crate) fn new(ring_map: MapHandle, waits: MapHandle) -> Result<Self, Error> {
        let pass = Arc::new(Mutex::new(RecordBatch::default()));
        let into = Arc::clone(&pass);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&ring_map, move |record| {
                let mut pass = into.lock().unwrap_or_else(PoisonError::into_inner);
                pass.push(record);
                if pass.bytes.len() < RecordBatch::BYTES { 0 } else { FULL }
            })
            .map_err(|source| Error::Map { map: "saker_ring", source })?;
        let ring = builder.build().map_err(|source| Error::Map { map: "saker_ring", source })?;
        Ok(Self { ring, ring_map, pass, waits, last_record: Instant::now() })
    }

    /// Waits for records, at most for `timeout`, and adds them to `batch`, so many at most that a flood cannot
    /// keep the reader from its caller. An empty outcome is no error.
    ///
    /// # Errors
    /// The ring buffer could not be read or waited for.
    pub fn read(&mut self, timeout: Duration, batch: &mut RecordBatch) -> Result<ReadOutcome, Error> {
        let mut outcome = self.pass(batch)?;
        if outcome.records == 0 {
            self.wait(timeout)?;
            outcome = self.pass(batch)?;
        }
        if outcome.records > 0 {
            self.last_record = Instant::now();
        }
        Ok(outcome)
    }

    /// One bounded pass over what is there.
    fn pass(&mut self, batch: &mut RecordBatch) -> Result<ReadOutcome, Error> {
        let before = batch.len();
        self.exchange(batch);
        let consumed = self.ring.consume_raw_n(RecordBatch::RECORDS);
        self.exchange(batch);
        if consumed < 0 && consumed != FULL {
            let source = libbpf_rs::Error::from_raw_os_error(-consumed);
            return Err(Error::Map { map: "saker_ring", source });
        }
        let records = batch.len() - before;
        Ok(ReadOutcome { records, idle: consumed != FULL && records < RecordBatch::RECORDS })
    }

    /// Lends the batch to the ring, or takes it back.
    fn exchange(&self, batch: &mut RecordBatch) {
        std::mem::swap(&mut *self.pass.lock().unwrap_or_else(PoisonError::into_inner), batch);
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

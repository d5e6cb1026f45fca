//! What happens to files and in folders, by inotify. A file that is watched cannot be replaced by another of its number
//! unseen: the kernel tells when it is gone for good, and does not keep its file system from being unmounted.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

/// Events that are read at once; further ones come next time.
const READ: usize = 4_096;

/// A queue of events; none: the kernel has no more of them.
pub(super) struct Events(Option<OwnedFd>);

/// What was read.
#[derive(Default)]
pub(super) struct News {
    /// Watches of files that are gone.
    pub(super) gone: HashSet<i32>,
    /// Events were lost, also those of files that are gone.
    pub(super) lost: bool,
}

impl Events {
    pub(super) fn begin() -> Self {
        let queue = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        if let Err(error) = &queue {
            tracing::warn!(
                "what happens to the files of a policy is seen once a second, and no sooner: {error}"
            );
        }
        Self(queue.ok())
    }

    /// To wait for.
    pub(super) fn queue(&self) -> Option<&OwnedFd> {
        self.0.as_ref()
    }

    /// Watches what comes and goes in a folder. One that is not there is looked for again later.
    pub(super) fn watch_folder(&self, folder: &[u8]) {
        let Some(queue) = &self.0 else { return };
        let kinds = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let _ = add_watch(queue, folder, kinds | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD);
    }

    /// Watches an open file until it is gone. None: the kernel has no room for that.
    pub(super) fn watch_file(&self, file: &OwnedFd) -> Option<i32> {
        let queue = self.0.as_ref()?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        add_watch(queue, path, WatchFlags::DELETE_SELF | WatchFlags::MASK_ADD).ok()
    }

    /// All that is watched, which the kernel tells with the queue. Taking a watch away would tell whether it was there as well,
    /// but what is watched by its place cannot be watched anew. Source: fs/notify/fdinfo.c (`inotify_fdinfo`).
    ///
    /// # Errors
    /// The table of processes cannot be read, or there is no queue.
    pub(super) fn watched(&self) -> io::Result<HashSet<i32>> {
        let queue = self.0.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", queue.as_raw_fd()))?;
        Ok(text.lines().filter_map(watch_of).collect())
    }

    /// Reads what there is.
    pub(super) fn read(&self) -> News {
        let mut news = News::default();
        let Some(queue) = &self.0 else { return news };
        let mut room = [MaybeUninit::uninit(); 8_192];
        let mut reader = Reader::new(queue, &mut room);
        for _ in 0..READ {
            let Ok(event) = reader.next() else { break };
            if event.events().contains(ReadFlags::IGNORED) {
                news.gone.insert(event.wd());
            }
            news.lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        }
        news
    }
}

/// The number of a watch, from a line that tells of it; it is written in hexadecimal digits.
fn watch_of(line: &str) -> Option<i32> {
    let (number, _) = line.strip_prefix("inotify wd:")?.split_once(' ')?;
    i32::from_str_radix(number, 16).ok()
}

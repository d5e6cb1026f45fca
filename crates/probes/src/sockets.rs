//! Owners of sockets: the table that policies share while one of them tracks sockets.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, OpenObject};

use crate::Error;
use crate::keep::{Keep, Pinned};
use crate::sensors::program_fdinfo;
use crate::sockets_skel::SocketsSkelBuilder;

/// Where hooks look for the table.
const OUTER: &str = "saker_sockets";
const ONLY: [u8; 4] = 0_u32.to_ne_bytes();

/// The table and the programs that drop a socket from it when it ends. Dropping this forgets all owners.
pub(crate) struct Tracking {
    /// Held, and never looked at again.
    links: Mutex<Vec<Link>>,
    table: MapHandle,
    outer: MapHandle,
    /// What has the programs stay when the agent is gone.
    _pinned: Option<Pinned>,
}

impl Tracking {
    /// Makes an empty table and gives it to the hooks that share `outer`. The caller holds `loader::lock`.
    ///
    /// # Errors
    /// The kernel refuses a program or a map.
    pub(crate) fn begin(outer: MapHandle, keep: Option<&Arc<Keep>>) -> Result<Self, Error> {
        let log = crate::library_log::LibraryLog::capture();
        let failed = |operation: &'static str| {
            let log = log.tail();
            move |source| Error::Load { operation, source, log }
        };
        let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
        let open = SocketsSkelBuilder::default().open(&mut place).map_err(failed("open"))?;
        let skel =
            open.load().map_err(|source| Error::Load { operation: "load", source, log: log.tail() })?;
        let mut links = Vec::new();
        // Links hold the programs when the object is gone.
        for program in skel.object().progs_mut() {
            let link = program.attach_trace();
            links.push(link.map_err(|source| Error::Load {
                operation: "attach",
                source,
                log: log.tail(),
            })?);
        }
        let table = MapHandle::try_from(&skel.maps.saker_tracked);
        let table = table.map_err(|source| Error::Map { map: "saker_tracked", source })?;
        // Only now: what is remembered must be dropped in time.
        let fd = table.as_fd().as_raw_fd().to_ne_bytes();
        outer.update(&ONLY, &fd, MapFlags::ANY).map_err(|source| Error::Map { map: OUTER, source })?;
        let pinned = keep.map(|keep| keep.pin_links("sockets", &mut links)).transpose()?.flatten();
        Ok(Self { links: Mutex::new(links), table, outer, _pinned: pinned })
    }

    /// Kernel memory of the table, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        program_fdinfo(self.table.as_fd(), "memlock:").unwrap_or(0)
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        // Before the programs are gone. If it cannot be taken out, no later table can be put in either, and
        // nothing says then whose a socket is, for the entries are removed here.
        if self.outer.delete(&ONLY).is_err() {
            for key in self.table.keys() {
                let _ = self.table.delete(&key);
            }
        }
        self.links.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

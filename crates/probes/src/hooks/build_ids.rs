//! The program that finds the build id of a hook's file: an object of its own, as only newer kernels take it.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapHandle, OpenObject};

use super::maps::PUT_OFF;
use crate::build_id_skel::{BuildIdSkel, BuildIdSkelBuilder};
use crate::{Error, loader};

/// Its name.
pub(super) const PROGRAM: &str = "saker_build_id";

/// Loads it for a hook of security modules, without `bpf_lsm_`. `hash_of` is where the hook has its file; calls that are
/// put off stand in the map of the hook, or, if it is only to be seen whether the kernel takes it, in one of its own.
pub(crate) fn load<'a>(
    hook: &str,
    hash_of: u32,
    put_off: Option<&MapHandle>,
    place: &'a mut MaybeUninit<OpenObject>,
) -> Result<BuildIdSkel<'a>, Error> {
    let _lock = loader::lock();
    let log = crate::library_log::LibraryLog::capture();
    let failed = |operation: &'static str| {
        let log = log.tail();
        move |source| Error::Load { operation, source, log }
    };
    let mut open = BuildIdSkelBuilder::default().open(place).map_err(failed("open"))?;
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.saker_hash_of = hash_of;
    }
    if let Some(map) = put_off {
        let reused = open.maps.saker_put_off.reuse_fd(map.as_fd());
        reused.map_err(|source| Error::Map { map: PUT_OFF, source })?;
    }
    let target = Some(hook.to_owned());
    open.progs.saker_build_id.set_attach_target(0, target).map_err(failed("configure"))?;
    open.load().map_err(|source| Error::Load { operation: "load", source, log: log.tail() })
}

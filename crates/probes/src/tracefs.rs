//! What tracefs tells of tracepoints.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use saker_policy::tracepoint::{Format, MAX_FORMAT};

use crate::Error;
use crate::executable::nearest_of_many;

/// Where distributions mount it; the older place has it below debugfs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The folder of the kernel's events.
pub struct Tracefs {
    events: OwnedFd,
}

impl Tracefs {
    /// Finds it where it is usually mounted. Where it is not, a mount is made that only this value sees and that ends
    /// with it.
    ///
    /// # Errors
    /// It is nowhere and cannot be mounted: the kernel has no tracefs, or the caller may not mount
    /// (`CAP_SYS_ADMIN`).
    pub fn open() -> Result<Self, Error> {
        let found = PLACES.iter().find_map(|place| folder(rustix::fs::CWD, &format!("{place}/events")).ok());
        let events = match found {
            Some(events) => events,
            None => mounted().map_err(|source| Error::System {
                operation: "find tracefs at /sys/kernel/tracing, or mount it".to_owned(),
                source,
            })?,
        };
        Ok(Self { events })
    }

    /// The format of an event.
    ///
    /// # Errors
    /// There is no such event, it cannot be read, or its format is not understood.
    pub fn format(&self, subsystem: &str, event: &str) -> Result<Format, Error> {
        let text = self.text(subsystem, event)?;
        Format::parse(&text).map_err(|source| Error::Format {
            subsystem: subsystem.to_owned(),
            event: event.to_owned(),
            source,
        })
    }

    /// The formats of all events as they are, by subsystem and event, without those that cannot be read.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for subsystem in self.names(None) {
            for event in self.names(Some(&subsystem)) {
                if let Ok(text) = self.text(&subsystem, &event) {
                    texts.insert(format!("{subsystem}/{event}"), text);
                }
            }
        }
        texts
    }

    fn text(&self, subsystem: &str, event: &str) -> Result<String, Error> {
        if !is_name(subsystem) || !is_name(event) {
            return Err(self.missing(subsystem, event));
        }
        let name = format!("{subsystem}/{event}/format");
        let opened = rustix::fs::openat(&self.events, &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let file = match opened {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Err(self.missing(subsystem, event)),
            Err(source) => return Err(unreadable(&name, source.into())),
        };
        let mut text = String::new();
        let limit = u64::try_from(MAX_FORMAT).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_string(&mut text).map_err(|source| unreadable(&name, source))?;
        Ok(text)
    }

    fn missing(&self, subsystem: &str, event: &str) -> Error {
        let subsystems = self.names(None);
        let hint = if subsystems.iter().any(|name| name == subsystem) {
            let events = self.names(Some(subsystem));
            let near = nearest_of_many(event, events.iter().map(String::as_str));
            near.map(|near| format!("; did you mean {subsystem}/{near}?"))
        } else {
            let near = nearest_of_many(subsystem, subsystems.iter().map(String::as_str));
            near.map(|near| format!("; did you mean the subsystem {near}?"))
        };
        let elsewhere = || "; the folders of /sys/kernel/tracing/events are what there is".to_owned();
        Error::NoTracepoint {
            subsystem: subsystem.to_owned(),
            event: event.to_owned(),
            hint: hint.unwrap_or_else(elsewhere),
        }
    }

    /// Names of subsystems, or of the events of one; empty when they cannot be read.
    fn names(&self, subsystem: Option<&str>) -> Vec<String> {
        let Ok(folder) = folder(&self.events, subsystem.unwrap_or(".")) else { return Vec::new() };
        let Ok(entries) = Dir::new(folder) else { return Vec::new() };
        let entries = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_dir());
        let names = entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| !name.starts_with('.')).collect()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn unreadable(name: &str, source: io::Error) -> Error {
    Error::System { operation: format!("read events/{name} of tracefs"), source }
}

fn folder(at: impl std::os::fd::AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

fn mounted() -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let mount =
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    folder(&mount, "events")
}

//! The pod of a process.

use std::collections::BTreeMap;

use super::text::{comma, key, string, string_field, timestamp, wrapped_field};
use crate::event::Timestamp;
use crate::tetragon::{Container, Pod};

const SECOND: u64 = 1_000_000_000;

/// Writes the member `pod`. `ns_pid`: number of the process inside its container; 0: that of the host.
pub(super) fn write(pod: &Pod, ns_pid: u32, out: &mut Vec<u8>) {
    key(out, name!("pod"));
    out.push(b'{');
    string_field(out, name!("namespace"), &pod.namespace);
    string_field(out, name!("name"), &pod.name);
    string_field(out, name!("uid"), &pod.uid);
    if let Some(container) = &pod.container {
        write_container(container, ns_pid, out);
    }
    write_map(name!("pod_labels"), &pod.pod_labels, out);
    string_field(out, name!("workload"), &pod.workload);
    string_field(out, name!("workload_kind"), &pod.workload_kind);
    write_map(name!("pod_annotations"), &pod.pod_annotations, out);
    out.push(b'}');
}

fn write_container(container: &Container, ns_pid: u32, out: &mut Vec<u8>) {
    key(out, name!("container"));
    out.push(b'{');
    string_field(out, name!("id"), &container.id);
    string_field(out, name!("name"), &container.name);
    if let Some(image) = &container.image {
        key(out, name!("image"));
        out.push(b'{');
        string_field(out, name!("id"), &image.id);
        string_field(out, name!("name"), &image.name);
        out.push(b'}');
    }
    if let Some(start) = &container.start_time {
        let seconds = u64::try_from(start.seconds).unwrap_or_default();
        let nanos = u64::try_from(start.nanos).unwrap_or_default();
        key(out, name!("start_time"));
        timestamp(out, Timestamp(seconds.saturating_mul(SECOND).saturating_add(nanos)));
    }
    if ns_pid != 0 {
        wrapped_field(out, name!("pid"), ns_pid);
    }
    out.push(b'}');
}

fn write_map(name: &str, map: &BTreeMap<String, String>, out: &mut Vec<u8>) {
    if map.is_empty() {
        return;
    }
    key(out, name);
    out.push(b'{');
    for (label, value) in map {
        comma(out);
        string(out, label);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

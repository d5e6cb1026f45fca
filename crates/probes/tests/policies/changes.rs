//! Filters on changes of namespaces and capabilities, which this thread makes and takes back.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, move_into_link_name_space, set_capabilities,
};

use super::lab::{Lab, policy};

/// A process in namespaces of its own.
struct Apart(Child);

impl Apart {
    fn new(namespaces: &[&str]) -> Self {
        let child = Command::new("unshare").args(namespaces).args(["sleep", "600"]).spawn().unwrap();
        let apart = Self(child);
        let own = std::fs::read_link("/proc/self/ns/uts").unwrap();
        let path = format!("/proc/{}/ns/uts", apart.0.id());
        while std::fs::read_link(&path).unwrap() == own {
            std::thread::sleep(Duration::from_millis(10));
        }
        apart
    }

    fn namespace(&self, kind: &str) -> File {
        File::open(format!("/proc/{}/ns/{kind}", self.0.id())).unwrap()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn enter(namespace: &File) {
    move_into_link_name_space(namespace.as_fd(), None).unwrap();
}

const NONE: [u16; 0] = [];

/// Two hooks with these selectors.
fn asking(selectors: &str) -> String {
    let hook = |call: &str| format!("- call: {call}\n  syscall: true\n  selectors:\n{selectors}");
    policy(&format!("kprobes:\n{}\n{}", hook("sys_getppid"), hook("sys_getuid")))
}

/// Selectors that were told of at a call.
fn at_call(lab: &Lab) -> Vec<u16> {
    let told = lab.told(|| {
        let _ = rustix::process::getppid();
    });
    told.iter().map(|one| one.selector).collect()
}

/// The same at a call of the other hook.
fn at_other_call(lab: &Lab) -> Vec<u16> {
    let told = lab.told(|| {
        let _ = rustix::process::getuid();
    });
    told.iter().map(|one| one.selector).collect()
}

#[test]
fn namespaces_are_told_once_of_each_change() {
    let Some(mut lab) = Lab::new() else { return };
    let own = ["uts", "net"].map(|kind| File::open(format!("/proc/thread-self/ns/{kind}")).unwrap());
    let apart = Apart::new(&["-u", "-n"]);
    let text = asking(
        "  - matchPIDs: [{operator: In, values: [OWN]}]
    matchNamespaceChanges: [{operator: In, values: [Uts, Ipc]}]
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchNamespaceChanges: [{operator: NotIn, values: [Uts]}]",
    );
    let applied = lab.apply(&text).unwrap();
    assert_eq!(at_call(&lab), NONE);
    enter(&apart.namespace("uts"));
    assert_eq!(at_call(&lab), [0]);
    assert_eq!(at_call(&lab), NONE);
    enter(&apart.namespace("net"));
    // Whichever hook of the policy comes first tells.
    assert_eq!(at_other_call(&lab), [1]);
    assert_eq!(at_call(&lab), NONE);
    // A policy that comes later is told of what changed since this thread began, whoever knows it already.
    let other = lab.apply(&text).unwrap();
    assert_eq!(at_call(&lab), [0]);
    assert_eq!(other.loaded.hooks[0].counts().unwrap().matched, 1);
    assert_eq!(at_call(&lab), [1]);
    assert_eq!(at_call(&lab), NONE);
    // Two changes at once: each is told, and by each policy.
    own.iter().for_each(enter);
    assert_eq!(at_call(&lab), [0, 0]);
    assert_eq!(at_call(&lab), [1, 1]);
    assert_eq!(at_call(&lab), NONE);
    assert_eq!(applied.loaded.hooks[0].counts().unwrap().matched, 3);
    assert_eq!(other.loaded.hooks[0].counts().unwrap().matched, 4);
}

/// What a process begins or executes with is no change.
#[test]
fn an_exec_begins_anew() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(&format!(
        "kprobes:
- call: sys_openat
  syscall: true
  args: [{{index: 1, type: string}}]
  selectors:
  - matchNamespaceChanges: [{{operator: In, values: [Uts]}}]
    matchArgs: [{{index: 1, operator: Prefix, values: [/changed-{}/]}}]",
        std::process::id()
    ));
    let _applied = lab.apply(&text).unwrap();
    let script =
        format!("unshare -u sh -c 'cat /changed-{0}/after /changed-{0}/exec; :'", std::process::id());
    let told = lab
        .told_of_all(|| assert!(Command::new("sh").args(["-c", &script]).output().unwrap().status.success()));
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn capabilities_are_told_once_of_each_change() {
    let Some(mut lab) = Lab::new() else { return };
    let all = capabilities(None).unwrap();
    let without = |lost: CapabilitySet| CapabilitySets { effective: all.effective - lost, ..all };
    let _applied = lab
        .apply(&asking(
            "  - matchPIDs: [{operator: In, values: [OWN]}]
    matchCapabilityChanges: [{type: Effective, operator: In, values: [CAP_KILL, CAP_SYSLOG]}]
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchCapabilityChanges: [{type: Effective, operator: NotIn, values: [CAP_KILL]}]
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchCapabilityChanges: [{type: Permitted, operator: In, values: [CAP_KILL, CAP_SYS_TIME]}]",
        ))
        .unwrap();
    assert_eq!(at_call(&lab), NONE);
    set_capabilities(None, without(CapabilitySet::KILL)).unwrap();
    assert_eq!(at_call(&lab), [0]);
    assert_eq!(at_call(&lab), NONE);
    // One is gained, another is lost.
    set_capabilities(None, without(CapabilitySet::SYS_TIME)).unwrap();
    assert_eq!(at_other_call(&lab), [0]);
    assert_eq!(at_call(&lab), [1]);
    assert_eq!(at_call(&lab), NONE);
    set_capabilities(None, all).unwrap();
    assert_eq!(at_call(&lab), [1]);
    assert_eq!(at_call(&lab), NONE);
}

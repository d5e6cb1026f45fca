//! Filters on workloads: what the kernel makes of a control group is what the matcher makes of its container.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use saker_policy::matcher::{Container, Event, Matcher, Process};
use saker_probes::groups::unified_root;
use saker_probes::{Groups, NewContainers};

use crate::equivalence::{Random, checked, rounds};
use crate::lab::{Lab, Told, policy};

/// A control group that this process can be in, and is not at the end.
struct Group {
    path: PathBuf,
    root: PathBuf,
}

impl Group {
    fn make(root: &Path, name: &str) -> Self {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        Self { path, root: root.to_owned() }
    }

    fn id(&self) -> u64 {
        fs::metadata(&self.path).unwrap().ino()
    }

    fn enter(&self) {
        fs::write(self.path.join("cgroup.procs"), "0").unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // To where it was: only one test is in groups of its own.
        fs::write(self.root.join("cgroup.procs"), "0").unwrap();
        fs::remove_dir(&self.path).unwrap();
    }
}

/// Held by the test whose groups this process is in.
static MOVES: Mutex<()> = Mutex::new(());

/// The group that this process is in, below which others can be made; and the right to move it.
fn own_root() -> Option<(PathBuf, MutexGuard<'static, ()>)> {
    let moves = MOVES.lock().unwrap_or_else(PoisonError::into_inner);
    let root = match unified_root() {
        Ok(root) => root,
        Err(reason) => {
            println!("{reason}: NOT RUN");
            return None;
        }
    };
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let root = root.join(path.trim_start_matches('/'));
    println!("below {}", root.display());
    Some((root, moves))
}

/// The call that the policies hook.
fn ask() {
    let _ = rustix::process::getppid();
}

fn name(tag: char) -> String {
    format!("test-{}{:0>32}{:0>31}", tag, std::process::id(), 0)
}

fn label(random: &mut Random) -> String {
    (*random.one(&["web", "db", "cache"])).to_owned()
}

fn condition(random: &mut Random, keys: &[&str], values: &[&str]) -> String {
    let key = random.one(keys);
    let first = random.one(values);
    match random.below(4) {
        0 => format!("{{key: '{key}', operator: Exists}}"),
        1 => format!("{{key: '{key}', operator: DoesNotExist}}"),
        2 => format!("{{key: '{key}', operator: In, values: [{first}, {}]}}", random.one(values)),
        _ => format!("{{key: '{key}', operator: NotIn, values: [{first}]}}"),
    }
}

/// Some of the three selectors, each with up to two conditions.
pub(crate) fn filter(random: &mut Random) -> String {
    const POD: &[&str] = &["app", "tier", "k8s:io.kubernetes.pod.namespace"];
    const VALUES: &[&str] = &["web", "db", "cache", "shop"];
    let of = |random: &mut Random, keys: &[&str], values: &[&str]| {
        let conditions: Vec<String> = (0..random.below(3)).map(|_| condition(random, keys, values)).collect();
        format!("{{matchExpressions: [{}]}}", conditions.join(", "))
    };
    let mut parts = Vec::new();
    if random.below(2) == 0 {
        parts.push(format!("podSelector: {}", of(random, POD, VALUES)));
    }
    if random.below(3) == 0 {
        parts.push(format!("containerSelector: {}", of(random, &["name", "repo"], &["web", "db"])));
    }
    if parts.is_empty() || random.below(2) == 0 {
        parts.push("hostSelector: {}".to_owned());
    }
    parts.join(", ")
}

fn container(random: &mut Random) -> Container {
    let keys = ["app", "tier"];
    let labels =
        keys.iter().filter(|_| random.below(3) != 0).map(|key| (*key).to_owned()).collect::<Vec<_>>();
    Container {
        name: label(random),
        repo: label(random),
        namespace: (*random.one(&["shop", "bank"])).to_owned(),
        labels: labels.into_iter().map(|key| (key, label(random))).collect(),
    }
}

#[test]
fn filters_on_workloads() {
    let Some(mut lab) = Lab::new() else { return };
    let Some((root, _moves)) = own_root() else { return };
    let mut random = Random(9);
    let before = Group::make(&root, &name('a'));
    let within = Group::make(&before.path, "within");
    let groups = Groups::begin(true).unwrap();
    let after = Group::make(&root, &name('b'));
    let deep = Group::make(&after.path, "deep");
    let plain = Group::make(&root, &format!("saker-plain-{}", std::process::id()));
    lab.ask_groups(&groups);
    let mut told_of = 0;
    for round in 0..rounds() {
        let [first, second] = [container(&mut random), container(&mut random)];
        let own = if random.below(2) == 0 {
            format!("{}\n", spec_lines(&filter(&mut random)))
        } else {
            String::new()
        };
        let selectors: String = (0..1 + random.below(4))
            .map(|_| {
                format!(
                    "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchWorkloads: {{{}}}\n",
                    filter(&mut random)
                )
            })
            .collect();
        let text = policy(&format!(
            "{own}kprobes:\n- call: sys_getppid\n  syscall: true\n  selectors:\n{selectors}"
        ));
        let wanted = checked(&text);
        let applied = lab.apply(&text).unwrap();
        let bits = |container: Option<&Container>| applied.workload_bits(container);
        groups.set_host(bits(None)).unwrap();
        assert!(groups.decide(before.id(), bits(Some(&first))).unwrap());
        assert!(groups.decide(after.id(), bits(Some(&second))).unwrap());
        for (group, container) in [
            (&before, Some(&first)),
            (&within, Some(&first)),
            (&after, Some(&second)),
            (&deep, Some(&second)),
            (&plain, None),
        ] {
            group.enter();
            let process =
                Process { pid: std::process::id(), container: container.cloned(), ..Process::default() };
            let event = Event { process, ..Event::default() };
            let decision = Matcher::new(&wanted).decide(&wanted.hooks[0], &event);
            let expected: Vec<u16> =
                decision.selector.filter(|_| decision.posts).map(|one| one as u16).into_iter().collect();
            let told = lab.told(ask);
            let selectors: Vec<u16> = told.iter().map(|one| one.selector).collect();
            assert_eq!(selectors, expected, "round {round}, {container:?}\n{text}");
            assert!(!told.iter().any(Told::is_undecided));
            told_of += told.len();
        }
    }
    assert!(told_of as u64 > rounds(), "only {told_of} calls matched");
}

/// The lines of a policy's own workloads.
fn spec_lines(filter: &str) -> String {
    filter
        .replace(", podSelector", "\npodSelector")
        .replace(", containerSelector", "\ncontainerSelector")
        .replace(", hostSelector", "\nhostSelector")
}

#[test]
fn what_is_not_known_yet_is_told_with_a_mark() {
    let Some(mut lab) = Lab::new() else { return };
    let Some((root, _moves)) = own_root() else { return };
    let groups = Groups::begin(true).unwrap();
    lab.ask_groups(&groups);
    let mut new = NewContainers::of(&groups).unwrap();
    let text = policy(
        "podSelector: {matchLabels: {app: web}}\nkprobes:\n- call: sys_getppid\n  syscall: true\n  selectors:\n  \
         - matchPIDs: [{operator: In, values: [OWN]}]",
    );
    let applied = lab.apply(&text).unwrap();
    groups.set_host(0).unwrap();
    let container = Group::make(&root, &name('c'));
    let inside = Group::make(&container.path, "inside");
    inside.enter();
    let told = lab.told(ask);
    assert_eq!(told.len(), 1, "nothing is missed before it is known");
    assert!(told[0].is_undecided());
    assert_eq!(applied.loaded.hooks[0].counts().unwrap().undecided, 1);
    assert!(groups.is_undecided(container.id()).unwrap());
    let found = new.wait(Duration::from_secs(5)).unwrap();
    let found: Vec<(u64, &str)> = found.iter().map(|one| (one.id, one.container_id())).collect();
    assert_eq!(found, [(container.id(), &name('c')[5..])], "one for each container");

    for (bits, calls) in [(0, 0), (1, 1)] {
        assert!(groups.decide(container.id(), bits).unwrap());
        let told = lab.told(ask);
        assert_eq!(told.len(), calls);
        assert!(!told.iter().any(Told::is_undecided));
    }
    let id = container.id();
    drop((inside, container));
    assert!(!groups.decide(id, 1).unwrap(), "a group that is gone is forgotten");
    assert_eq!(groups.lost().unwrap(), 0);
}

#[test]
fn a_group_of_another_name_can_be_claimed() {
    let Some((root, _moves)) = own_root() else { return };
    let groups = Groups::begin(true).unwrap();
    let plain = Group::make(&root, &format!("saker-claimed-{}", std::process::id()));
    let inside = Group::make(&plain.path, "inside");
    let top = unified_root().unwrap();
    let path = plain.path.strip_prefix(&top).unwrap().display().to_string();
    let known = || groups.containers().unwrap().into_iter().any(|one| one.id == plain.id());
    assert!(!known());
    assert_eq!(groups.claim(&format!("/{path}"), 5).unwrap(), Some(plain.id()));
    assert!(known());
    assert_eq!(groups.claim("/", 5).unwrap(), None, "the root is nobody's");
    assert_eq!(groups.claim("/none-such", 5).unwrap(), None);
    drop(inside);
}

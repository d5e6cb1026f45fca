use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use saker_policy::words::Mode as Asked;
use tempfile::TempDir;

use super::testing::{FakeKernel, called, done, policy, with_binaries};
use super::*;
use crate::testing::wait;

fn start() -> (FakeKernel, Policies) {
    let kernel = FakeKernel::default();
    let policies = kernel.policies(Sources::default());
    (kernel, policies)
}

fn view(policies: &Policies, name: &str) -> View {
    let views = policies.views();
    views.iter().find(|view| view.key.name == name).unwrap_or_else(|| panic!("{name}: {views:?}")).clone()
}

fn add(policies: &Policies, text: &str) -> Result<Key, PolicyError> {
    done(policies.add(text.to_owned(), String::new(), None))
}

fn replace(policies: &Policies, text: &str) -> Result<Key, PolicyError> {
    done(policies.replace(text.to_owned(), String::new(), None))
}

fn set(policies: &Policies, name: &str, enable: bool) -> Result<Key, PolicyError> {
    done(policies.configure(called(name), Some(enable), None))
}

#[test]
fn a_policy_comes_and_goes() {
    let (kernel, policies) = start();
    assert_eq!(add(&policies, &policy("a", &["f", "g"])), Ok(called("a")));
    let shown = view(&policies, "a");
    assert_eq!((shown.state, shown.mode, shown.memory), (State::Enabled, Mode::MonitorOnly, 2500));
    assert_eq!(shown.hooks[1].path, "spec.kprobes[1]");
    assert_eq!((shown.hooks[1].function.as_str(), shown.hooks[1].mechanism.as_str()), ("g", "fentry"));
    assert_eq!((shown.hooks[1].section(), shown.sensors()), (("kprobes", 1), vec!["generic_kprobe".into()]));
    assert_eq!(add(&policies, &policy("a", &["f"])), Err(PolicyError::Exists(called("a"))));
    // The engine knows the texts before the hooks run.
    assert_eq!(kernel.log(), ["text 2", "attach 2"]);
    done(policies.delete(called("a"))).unwrap();
    assert_eq!((kernel.log(), policies.views()), (vec!["detach 2".to_owned()], vec![]));
    let unknown = done(policies.delete(called("a"))).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no policy a (domain grpc)");
}

#[test]
fn a_policy_is_loaded_whole_or_not_at_all_and_kept_with_the_reason() {
    let (kernel, policies) = start();
    kernel.with(|memory| {
        memory.broken.insert("g".into());
        memory.unknown.insert("h".into());
    });
    let refused = add(&policies, &policy("a", &["f", "g"])).unwrap_err();
    assert_eq!(refused.to_string(), "the policy a (domain grpc) cannot be loaded: cannot attach g");
    assert!(kernel.with(|memory| memory.attached.is_empty()));
    add(&policies, &policy("b", &["f", "h"])).unwrap_err();
    let shown = view(&policies, "b");
    assert_eq!(shown.state, State::LoadError);
    assert!(shown.error.contains("spec.kprobes[1].call: this kernel has no h"), "{}", shown.error);
    assert_eq!([&*shown.hooks[0].error, &*shown.hooks[1].error], ["", "this kernel has no h"]);
    assert_eq!(shown.hooks[1].state, HookState::NotLoaded);
    // A better one takes the place of the one that failed, without deleting it first; its number stays.
    let before = view(&policies, "a").id;
    add(&policies, &policy("a", &["f"])).unwrap();
    let shown = view(&policies, "a");
    assert_eq!((shown.state, shown.id, shown.error.as_str()), (State::Enabled, before, ""));
}

#[test]
fn where_no_trampoline_is_left_hooks_take_the_next_way() {
    let (kernel, policies) = start();
    kernel.with(|memory| memory.full.extend(["f".into(), "g".into()]));
    add(&policies, &policy("a", &["f", "g", "h"])).unwrap();
    let hooks = view(&policies, "a").hooks;
    let ways: Vec<&str> = hooks.iter().map(|hook| hook.mechanism.as_str()).collect();
    assert_eq!(ways, ["kprobe", "kprobe", "fentry"]);
    assert!(hooks[0].note.contains("and f has them") && hooks[2].note.is_empty(), "{hooks:#?}");
    // Each attempt has a number of its own, for some of its hooks may have run.
    assert_eq!(kernel.log(), ["text 2", "text 3", "text 4", "attach 4"]);
    // Where the next way does not do either, both reasons are told.
    kernel.with(|memory| memory.broken.insert("g".into()));
    let refused = add(&policies, &policy("b", &["f", "g"])).unwrap_err().to_string();
    assert!(
        refused.contains("38 programs") && refused.ends_with("a trampoline: cannot attach g"),
        "{refused}"
    );
    assert_eq!(kernel.with(|memory| memory.attached.len()), 1);
}

#[test]
fn a_replacement_is_attached_before_the_old_one_is_detached() {
    let (kernel, policies) = start();
    assert!(matches!(replace(&policies, &policy("a", &["f"])), Err(PolicyError::Unknown { .. })));
    add(&policies, &policy("a", &["f"])).unwrap();
    kernel.log();
    replace(&policies, &policy("a", &["g"])).unwrap();
    assert_eq!(kernel.log(), ["text 3", "attach 3", "detach 2"]);
    assert_eq!(view(&policies, "a").hooks[0].function, "g");
    kernel.with(|memory| memory.broken.insert("h".into()));
    let refused = replace(&policies, &policy("a", &["g", "h"])).unwrap_err();
    assert!(matches!(refused, PolicyError::Refused { .. }), "{refused}");
    let shown = view(&policies, "a");
    assert_eq!((shown.state, shown.hooks.len(), shown.error.as_str()), (State::Enabled, 1, ""));
    assert_eq!(kernel.log(), ["text 4"]);
}

#[test]
fn disabled_policies_stay_and_can_be_enabled() {
    let (kernel, policies) = start();
    add(&policies, &policy("a", &["f"])).unwrap();
    set(&policies, "a", true).unwrap();
    kernel.log();
    set(&policies, "a", false).unwrap();
    set(&policies, "a", false).unwrap();
    assert_eq!(view(&policies, "a").state, State::Disabled);
    // A new version of a disabled policy is tried, but not attached.
    kernel.with(|memory| memory.unknown.insert("h".into()));
    assert!(replace(&policies, &policy("a", &["h"])).is_err());
    replace(&policies, &policy("a", &["g"])).unwrap();
    assert_eq!((kernel.log(), view(&policies, "a").state), (vec!["detach 2".to_owned()], State::Disabled));
    set(&policies, "a", true).unwrap();
    assert_eq!(
        (kernel.log(), &*view(&policies, "a").hooks[0].function),
        (vec!["text 3".to_owned(), "attach 3".into()], "g")
    );
    set(&policies, "a", false).unwrap();
    kernel.with(|memory| memory.broken.insert("g".into()));
    assert!(matches!(set(&policies, "a", true), Err(PolicyError::Refused { .. })));
    assert_eq!(view(&policies, "a").state, State::LoadError);
    assert!(matches!(set(&policies, "b", true), Err(PolicyError::Unknown { .. })));
}

#[test]
fn modes_that_would_promise_more_are_refused_before_anything_changes() {
    let (kernel, policies) = start();
    add(&policies, &policy("a", &["f"])).unwrap();
    let mode = |name, mode| done(policies.configure(called(name), Some(false), Some(mode)));
    let refused = mode("a", Asked::Enforce).unwrap_err().to_string();
    assert!(refused.contains("it has no actions that could be enforced"), "{refused}");
    assert_eq!(view(&policies, "a").state, State::Enabled);
    mode("a", Asked::Monitor).unwrap();
    assert_eq!(view(&policies, "a").state, State::Disabled);
    let acting = |options: &str| {
        let hook = "    selectors:\n    - matchActions: [{action: Sigkill}]\n";
        format!("{}{hook}{options}", policy("b", &["f"]))
    };
    add(&policies, &acting("")).unwrap();
    assert_eq!(view(&policies, "b").mode, Mode::Enforce);
    replace(&policies, &acting("  options: [{name: policy-mode, value: monitor}]\n")).unwrap();
    assert_eq!(view(&policies, "b").mode, Mode::Monitor);
    assert_eq!(kernel.with(|memory| memory.attached.len()), 1);
}

#[test]
fn modes_change_without_loading_anything_and_outlive_what_is_loaded() {
    let (kernel, policies) = start();
    let acting = |function: &str| {
        let hook = "    selectors:\n    - matchActions: [{action: Sigkill}]\n";
        format!("{}{hook}", policy("a", &[function]))
    };
    let set = |enable, mode| done(policies.configure(called("a"), enable, mode)).unwrap();
    add(&policies, &acting("f")).unwrap();
    assert_eq!(kernel.log(), ["text 2", "attach 2"]);
    set(None, Some(Asked::Monitor));
    assert_eq!((kernel.log(), view(&policies, "a").mode), (vec!["mode 2 monitor".to_owned()], Mode::Monitor));
    // What was asked for counts for what comes after as well.
    replace(&policies, &acting("g")).unwrap();
    assert_eq!(kernel.log(), ["text 3", "attach 3, which only tells", "detach 2"]);
    set(Some(false), None);
    set(None, Some(Asked::Enforce));
    assert_eq!(kernel.log(), ["detach 3"]);
    set(Some(true), None);
    assert_eq!(kernel.log(), ["text 4", "attach 4"]);
    assert_eq!(view(&policies, "a").mode, Mode::Enforce);
}

#[test]
fn the_mode_of_a_call_goes_before_that_of_the_text() {
    let (_kernel, policies) = start();
    let add = |text: String, mode| done(policies.add(text, String::new(), mode));
    let refused = add(policy("a", &["f"]), Some(Asked::Enforce)).unwrap_err().to_string();
    assert!(refused.contains("it has no actions that could be enforced"), "{refused}");
    assert!(policies.views().is_empty(), "nothing is kept of it");
    add(policy("a", &["f"]), Some(Asked::Monitor)).unwrap();
    assert_eq!(view(&policies, "a").mode, Mode::MonitorOnly);
    let acting = |name: &str, mode: &str| {
        format!(
            "{}    selectors:\n    - matchActions: [{{action: Sigkill}}]\n  options: [{{name: policy-mode, value: {mode}}}]\n",
            policy(name, &["f"])
        )
    };
    for (name, text, asked, expected) in [
        ("b", "enforce", Some(Asked::Monitor), Mode::Monitor),
        ("c", "monitor", Some(Asked::Enforce), Mode::Enforce),
        ("d", "monitor", None, Mode::Monitor),
    ] {
        add(acting(name, text), asked).unwrap();
        assert_eq!(view(&policies, name).mode, expected, "{name}");
    }
}

#[test]
fn bits_are_told_before_hooks_need_them_and_forgotten_when_nothing_does() {
    let (kernel, policies) = start();
    add(&policies, &with_binaries("a", &["f"], &["/bin/x", "/bin/y"])).unwrap();
    assert_eq!(kernel.log(), ["binaries 2", "text 2", "attach 2"]);
    add(&policies, &with_binaries("b", &["f"], &["/bin/y", "/bin/z"])).unwrap();
    assert_eq!(kernel.log(), ["binaries 3", "text 4", "attach 4"]);
    let attached = kernel.with(|memory| memory.attached.clone());
    assert_eq!(attached.into_values().collect::<Vec<_>>(), [vec![0, 1], vec![1, 2]]);
    done(policies.delete(called("a"))).unwrap();
    // The bit of /bin/x is free, and the kernel knows before it is given to another.
    assert_eq!(kernel.log(), ["detach 2", "binaries 2"]);
    add(&policies, &with_binaries("c", &["f"], &["/bin/w"])).unwrap();
    assert_eq!(kernel.log(), ["binaries 3", "text 6", "attach 6"]);
    assert_eq!(kernel.with(|memory| memory.attached[&6].clone()), [0]);
}

#[test]
fn a_policy_whose_filters_find_no_bit_is_refused_with_the_reason() {
    let (kernel, policies) = start();
    let many: Vec<String> = (0..64).map(|n| format!("/bin/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    add(&policies, &with_binaries("a", &["f"], &many[..32])).unwrap();
    add(&policies, &with_binaries("a2", &["f"], &many[32..])).unwrap();
    let refused = add(&policies, &with_binaries("b", &["f"], &["/x"])).unwrap_err().to_string();
    assert!(refused.contains("all 64 bits for filters on binaries"), "{refused}");
    add(&policies, &with_binaries("c", &["f"], &["/bin/63"])).unwrap();
    set(&policies, "a", false).unwrap();
    set(&policies, "b", true).unwrap();
    assert_eq!(kernel.with(|memory| memory.attached.len()), 3);
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let (_, policies) = start();
    let text = |text: &str| match add(&policies, text).unwrap_err() {
        PolicyError::Text(text) => text,
        other => panic!("{other}"),
    };
    assert!(text(&policy("a", &["f"]).replace("syscall", "sycsall")).starts_with("8:5: spec.kprobes[0]"));
    assert_eq!(text(""), "there is no policy in the text");
    let two = format!("{}---\n{}", policy("a", &["f"]), policy("b", &["f"]));
    assert_eq!(text(&two), "the text holds 2 policies; send each by itself");
    let unknown: String = (0..20).map(|n| format!("x{n}: 1\n")).collect();
    let many = text(&format!("{}{unknown}", policy("a", &["f"])));
    assert!(many.lines().count() == 9 && many.ends_with("and 12 more"), "{many}");
    assert!(policies.views().is_empty());
}

#[test]
fn domains_are_apart_and_some_cannot_be_used() {
    let (_, policies) = start();
    let add = |domain: &str| done(policies.add(policy("a", &["f"]), domain.to_owned(), None));
    add("").unwrap();
    add("mine").unwrap();
    assert!(matches!(add("grpc"), Err(PolicyError::Exists(_))));
    for domain in ["sensors", "static", "UPPER", "a b", &"x".repeat(64)] {
        assert!(matches!(add(domain), Err(PolicyError::Domain(..))), "{domain}");
    }
    let key = Key { domain: "other".into(), ..called("a") };
    let unknown = done(policies.delete(key)).unwrap_err().to_string();
    assert_eq!(unknown, "there is no policy a (domain other); there is one in the domain grpc");
}

#[test]
fn the_number_of_policies_is_bounded() {
    let (_, policies) = start();
    for n in 0..MAX_POLICIES {
        add(&policies, &policy(&format!("p{n}"), &["f"])).unwrap();
    }
    assert_eq!(add(&policies, &policy("more", &["f"])), Err(PolicyError::Full));
    done(policies.delete(called("p0"))).unwrap();
    add(&policies, &policy("more", &["f"])).unwrap();
}

#[test]
fn lists_with_missing_functions_are_partially_enabled() {
    let (kernel, policies) = start();
    kernel.with(|memory| memory.missing.push("not_here".into()));
    add(&policies, &policy("a", &["f"])).unwrap();
    let shown = view(&policies, "a");
    assert_eq!((shown.state, shown.hooks[0].state), (State::PartiallyEnabled, HookState::Partial));
    assert_eq!(shown.hooks[0].missing, ["not_here"]);
}

#[test]
fn loading_does_not_keep_those_waiting_who_only_look() {
    let (kernel, policies) = start();
    add(&policies, &policy("a", &["f"])).unwrap();
    kernel.with(|memory| memory.patience = Duration::from_millis(1500));
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| add(&policies, &policy("b", &["f"])));
        wait("the policy to be loading", || policies.views().len() == 2);
        let began = Instant::now();
        assert_eq!(
            (view(&policies, "a").state, view(&policies, "b").state),
            (State::Enabled, State::Loading)
        );
        done(async {
            policies.refresh().await;
            Ok(())
        })
        .unwrap();
        assert!(began.elapsed() < Duration::from_millis(1000), "{:?}", began.elapsed());
        adding.join().unwrap().unwrap();
    });
    assert_eq!(view(&policies, "b").state, State::Enabled);
}

#[test]
fn of_those_who_add_the_same_at_once_one_succeeds() {
    let (kernel, policies) = start();
    let policies = &policies;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|n| {
                let text = policy(if n % 2 == 0 { "a" } else { "b" }, &["f"]);
                scope.spawn(move || add(policies, &text))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(PolicyError::Exists(_)))).count();
    assert_eq!((refused, kernel.with(|memory| memory.attached.len())), (14, 2));
}

#[test]
fn without_a_loader_each_policy_is_refused_with_the_reason() {
    let kernel = FakeKernel::default();
    let loader = Err("no hooks here".to_owned());
    let policies = Policies::start(loader, Box::new(kernel), Sources::default(), Choices::default()).unwrap();
    let refused = add(&policies, &policy("a", &["f"])).unwrap_err().to_string();
    assert_eq!(refused, "the policy a (domain grpc) cannot be loaded: no hooks here");
}

#[test]
fn the_end_detaches_all_and_refuses_what_comes_later() {
    let (kernel, policies) = start();
    add(&policies, &policy("a", &["f"])).unwrap();
    assert!(policies.stop(Instant::now() + Duration::from_secs(20)));
    assert!(kernel.with(|memory| memory.attached.is_empty()));
    assert_eq!(add(&policies, &policy("b", &["f"])), Err(PolicyError::Stopped));
}

#[test]
fn counters_are_read_when_asked_for() {
    let (kernel, policies) = start();
    add(&policies, &policy("a", &["f", "g"])).unwrap();
    kernel.with(|memory| (memory.counts.calls, memory.counts.lost) = (7, 2));
    done(async {
        policies.refresh().await;
        Ok(())
    })
    .unwrap();
    let counts = view(&policies, "a").counts();
    assert_eq!((counts.calls, counts.lost), (14, 4));
}

/// A directory of policies.
struct Folder {
    kernel: FakeKernel,
    policies: Policies,
    directory: TempDir,
}

fn folder(prepare: impl FnOnce(&std::path::Path)) -> Folder {
    let directory = TempDir::new().unwrap();
    prepare(directory.path());
    let kernel = FakeKernel::default();
    let sources = Sources {
        directory: Some(directory.path().to_owned()),
        directory_wanted: true,
        ..Sources::default()
    };
    let policies = kernel.policies(sources);
    wait("the start", || policies.is_started());
    Folder { kernel, policies, directory }
}

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn view(&self, name: &str) -> Option<View> {
        self.policies.views().into_iter().find(|view| view.key.name == name)
    }

    fn wait(&self, name: &str, what: impl Fn(&View) -> bool) {
        wait(name, || self.view(name).is_some_and(|view| what(&view)));
    }
}

#[test]
fn the_policies_of_a_directory_follow_its_files() {
    let folder = folder(|path| {
        let two = format!("{}---\n{}", policy("a", &["f"]), policy("b", &["g"]));
        fs::write(path.join("two.yaml"), two).unwrap();
        fs::write(path.join("notes.txt"), "not a policy").unwrap();
        fs::write(path.join("two.test.yaml"), "policy: two.yaml").unwrap();
        fs::write(path.join("bad.yaml"), "kind: Nothing").unwrap();
    });
    let names: Vec<_> = folder.policies.views().into_iter().map(|view| view.key.name).collect();
    assert_eq!(names, ["a", "b", "bad.yaml"], "all are there when the start is over");
    let bad = folder.view("bad.yaml").unwrap();
    assert_eq!((bad.state, bad.origin), (State::LoadError, folder.path("bad.yaml").display().to_string()));
    folder.kernel.log();
    folder.write("bad.yaml", &policy("c", &["f"]));
    folder.wait("c", |view| view.state == State::Enabled);
    assert!(folder.view("bad.yaml").is_none());
    // One of two goes, the other changes; what did not change stays attached.
    folder.write("two.yaml", &policy("a", &["h"]));
    folder.wait("a", |view| view.hooks[0].function == "h");
    assert!(folder.view("b").is_none());
    assert_eq!(folder.kernel.log(), ["text 7", "attach 7", "text 8", "attach 8", "detach 3", "detach 5"]);
    fs::remove_file(folder.path("two.yaml")).unwrap();
    wait("a to go", || folder.view("a").is_none());
    assert_eq!(folder.kernel.log(), ["detach 8"]);
}

#[test]
fn a_new_version_that_cannot_be_used_leaves_the_old_one_in_force() {
    let folder = folder(|path| fs::write(path.join("a.yaml"), policy("a", &["f"])).unwrap());
    let text = policy("a", &["f", "g"]);
    folder.write("a.yaml", &text[..text.len() - 40]);
    folder.wait("a", |view| view.error.starts_with("the new version of its file is not in force: "));
    folder.write("a.yaml", "");
    folder.wait("a", |view| view.error.contains("there is no policy in the text"));
    folder.kernel.with(|memory| memory.broken.insert("g".into()));
    folder.write("a.yaml", &text);
    folder.wait("a", |view| view.error.ends_with("cannot attach g"));
    let shown = folder.view("a").unwrap();
    assert_eq!((shown.state, shown.hooks.len()), (State::Enabled, 1));
    assert!(folder.kernel.with(|memory| memory.attached.contains_key(&2)));
    folder.write("a.yaml", &policy("a", &["f"]));
    folder.wait("a", |view| view.error.is_empty());
    assert!(folder.kernel.with(|memory| memory.attached.contains_key(&2)), "the same was not loaded again");
}

#[test]
fn the_exchange_of_a_linked_directory_is_a_replacement() {
    let link = std::os::unix::fs::symlink;
    let folder = folder(|path| {
        fs::create_dir(path.join("..v1")).unwrap();
        fs::write(path.join("..v1/a.yaml"), policy("a", &["f"])).unwrap();
        link("..v1", path.join("..data")).unwrap();
        link("..data/a.yaml", path.join("a.yaml")).unwrap();
    });
    assert_eq!(folder.policies.views().len(), 1, "what is hidden is not looked at");
    folder.kernel.log();
    fs::create_dir(folder.path("..v2")).unwrap();
    folder.write("..v2/a.yaml", &policy("a", &["g"]));
    link("..v2", folder.path("..new")).unwrap();
    fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
    fs::remove_dir_all(folder.path("..v1")).unwrap();
    folder.wait("a", |view| view.hooks[0].function == "g");
    assert_eq!(folder.kernel.log(), ["text 3", "attach 3", "detach 2"]);
}

#[test]
fn a_policy_that_moves_to_another_file_stays_attached() {
    let folder = folder(|path| fs::write(path.join("z.yaml"), policy("a", &["f"])).unwrap());
    fs::rename(folder.path("z.yaml"), folder.path("b.yaml")).unwrap();
    let origin = folder.path("b.yaml").display().to_string();
    folder.wait("a", |view| view.origin == origin);
    assert_eq!(folder.kernel.log(), ["text 2", "attach 2"]);
    // Two files of one name: the second waits for the first to go.
    folder.write("c.yaml", &policy("a", &["g"]));
    folder.wait("c.yaml", |view| view.error.contains("is in") && view.error.ends_with("b.yaml already"));
    fs::remove_file(folder.path("b.yaml")).unwrap();
    folder.wait("a", |view| view.hooks.first().is_some_and(|hook| hook.function == "g"));
    wait("the refusal to go", || folder.view("c.yaml").is_none());
}

#[test]
fn a_directory_that_cannot_be_used_leaves_its_policies_in_force() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(|path| {
        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/a.yaml"), policy("a", &["f"])).unwrap();
    });
    assert!(folder.policies.problems().is_empty());
    let mode = |mode| fs::set_permissions(folder.directory.path(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    wait("the problem", || folder.policies.problems().iter().any(|problem| problem.contains("is not safe")));
    fs::remove_file(folder.path("sub/a.yaml")).unwrap();
    assert_eq!(folder.view("a").unwrap().state, State::Enabled);
    mode(0o755);
    wait("the removal", || folder.view("a").is_none() && folder.policies.problems().is_empty());
}

#[test]
fn a_file_of_the_option_is_loaded_once_and_calls_cannot_change_it() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("any.name");
    fs::write(&file, policy("a", &["f"])).unwrap();
    let kernel = FakeKernel::default();
    let sources = Sources { file: Some(file.clone()), ..Sources::default() };
    let policies = kernel.policies(sources);
    wait("the start", || policies.is_started());
    let key = Key { domain: STATIC.into(), ..called("a") };
    assert_eq!(policies.unmet(), None);
    assert_eq!(view(&policies, "a").key, key);
    let refused = done(policies.replace(policy("a", &["g"]), STATIC.into(), None)).unwrap_err();
    assert!(matches!(refused, PolicyError::Domain(..)), "{refused}");
    done(policies.configure(key.clone(), Some(false), None)).unwrap();
    done(policies.delete(key)).unwrap();
    let missing = Sources { file: Some(directory.path().join("no.yaml")), ..Sources::default() };
    let policies = FakeKernel::default().policies(missing);
    wait("the start", || policies.is_started());
    let shown = view(&policies, "no.yaml");
    assert!(shown.state == State::LoadError && shown.error.contains("No such file"), "{}", shown.error);
    assert_eq!(policies.unmet(), Some(shown.error));
}

#[test]
fn a_file_of_the_option_is_unmet_when_one_of_its_policies_is() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("two.yaml");
    fs::write(&file, format!("{}---\n{}", policy("a", &["f"]), policy("b", &["g"]))).unwrap();
    let kernel = FakeKernel::default();
    kernel.with(|memory| memory.broken.insert("g".into()));
    let policies = kernel.policies(Sources { file: Some(file), ..Sources::default() });
    wait("the start", || policies.is_started());
    let reason = policies.unmet().unwrap();
    assert_eq!(reason, "the policy b (domain static) cannot be loaded: cannot attach g");
}

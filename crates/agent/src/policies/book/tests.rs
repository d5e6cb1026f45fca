//! Any orders in any order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::files::Changes;
use super::super::testing::{FakeKernel, called, with_binaries};
use super::*;

/// Functions that hooks name; the kernel refuses some of them.
const FUNCTIONS: [&str; 4] = ["good", "fine", "unknown", "broken"];
const NAMES: [&str; 3] = ["a", "b", "c"];
const BINARIES: [&str; 3] = ["/bin/x", "/bin/y", "/bin/z"];

#[derive(Clone, Debug)]
enum Op {
    Add(String),
    Replace(String),
    Delete(Key),
    Configure(Key, bool),
    /// The files and what they hold from now on; none: it is gone.
    Files(Vec<(usize, Option<String>)>),
}

fn text() -> impl Strategy<Value = String> {
    let words = (0..NAMES.len(), vec(0..FUNCTIONS.len(), 1..3), vec(0..BINARIES.len(), 0..3));
    words.prop_map(|(name, functions, binaries)| {
        let functions: Vec<&str> = functions.into_iter().map(|one| FUNCTIONS[one]).collect();
        let binaries: Vec<&str> = binaries.into_iter().map(|one| BINARIES[one]).collect();
        with_binaries(NAMES[name], &functions, &binaries)
    })
}

fn key() -> impl Strategy<Value = Key> {
    (0..NAMES.len(), any::<bool>()).prop_map(|(name, file)| {
        let key = called(NAMES[name]);
        if file { Key { domain: STATIC.into(), ..key } } else { key }
    })
}

fn file() -> impl Strategy<Value = (usize, Option<String>)> {
    let content = prop_oneof![
        4 => text().prop_map(Some),
        1 => (text(), text()).prop_map(|(one, two)| Some(format!("{one}---\n{two}"))),
        1 => Just(Some("half of a".to_owned())),
        2 => Just(None),
    ];
    (0..3_usize, content)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        text().prop_map(Op::Add),
        text().prop_map(Op::Replace),
        key().prop_map(Op::Delete),
        (key(), any::<bool>()).prop_map(|(key, enable)| Op::Configure(key, enable)),
        vec(file(), 1..3).prop_map(Op::Files),
    ]
}

/// Does what is asked for; `known` is what the files hold.
fn obey(book: &mut Book, op: Op, known: &mut BTreeMap<usize, String>) {
    match op {
        Op::Add(text) => drop(book.add(&text, "", None)),
        Op::Replace(text) => drop(book.replace(&text, "", None)),
        Op::Delete(key) => drop(book.delete(&key)),
        Op::Configure(key, enable) => drop(book.configure(&key, Some(enable), None)),
        Op::Files(files) => {
            let mut changes = Changes::default();
            for (file, text) in files.into_iter().collect::<BTreeMap<_, _>>() {
                let path = PathBuf::from(format!("/p/{file}.yaml"));
                match text {
                    Some(text) => {
                        known.insert(file, text.clone());
                        changes.changed.push((path, Ok(text)));
                    }
                    None if known.remove(&file).is_some() => changes.gone.push(path),
                    None => {}
                }
            }
            book.follow(changes, || false);
        }
    }
}

fn enabled(views: &[View]) -> Vec<&View> {
    views.iter().filter(|view| view.state.is_enabled()).collect()
}

proptest! {
    #[test]
    fn what_is_told_is_what_is_attached(ops in vec(op(), 1..25)) {
        let kernel = FakeKernel::default();
        kernel.with(|memory| {
            memory.unknown.insert("unknown".into());
            memory.broken.insert("broken".into());
        });
        let shared = Arc::new(Shared::default());
        let loader = Ok(Box::new(kernel.clone()) as Box<dyn Loader>);
        let mut book = Book::new(loader, Box::new(kernel.clone()), Arc::clone(&shared), Choices::default());
        let views = || shared.views.lock().unwrap().clone();
        let mut known = BTreeMap::new();
        for op in ops {
            let before = views();
            kernel.log();
            obey(&mut book, op, &mut known);
            let after = views();
            let attached = kernel.with(|memory| memory.attached.clone());
            prop_assert_eq!(enabled(&after).len(), attached.len());
            // What is enabled has no part that cannot be loaded.
            let refused = |view: &&View| view.hooks.iter().any(|hook| ["unknown", "broken"].contains(&&*hook.function));
            prop_assert!(!enabled(&after).iter().any(refused), "{:?}", after);
            // Bits in use are those that attached policies ask for, and no more.
            let bits: BTreeSet<u8> = attached.values().flatten().copied().collect();
            prop_assert_eq!(bits.len(), book.bits.len());
            prop_assert!(!book.bits.is_stale());
            // A policy that was in force and still is has been so all the time.
            let log = kernel.log();
            for view in enabled(&before) {
                let Some(now) = after.iter().find(|now| now.key == view.key) else { continue };
                prop_assert!(
                    !now.state.is_enabled() || now.id == view.id,
                    "{:?} was taken away and made anew: {:?}", view.key, log
                );
            }
            let first = |word: &str| log.iter().position(|line| line.starts_with(word));
            if enabled(&before).len() == enabled(&after).len()
                && let Some(detached) = first("detach")
                && log.iter().filter(|line| line.starts_with("detach")).count() == 1
            {
                prop_assert!(first("attach").is_some_and(|attached| attached < detached), "{:?}", log);
            }
            // Names are told once, and so are files.
            let mut names: Vec<_> = after.iter().map(|view| (&view.key, &view.origin)).collect();
            names.dedup();
            prop_assert_eq!(names.len(), after.len());
        }
        drop(book);
        prop_assert!(kernel.with(|memory| memory.attached.is_empty()));
    }
}

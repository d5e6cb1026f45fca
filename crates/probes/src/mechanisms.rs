//! Tries each way of hooking the kernel with an empty program.

use std::mem::MaybeUninit;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{OpenObject, ProgramMut, UprobeMultiOpts};

use crate::facts::Feature;
use crate::loader;
use crate::mechanisms_skel::MechanismsSkelBuilder;

/// What became of each program.
pub struct Tried {
    results: Vec<(&'static str, Result<(), String>)>,
}

/// Program of `mechanisms.bpf.c`, the feature it stands for, and whether attaching is part of the trial.
const TRIALS: [(&str, &str, bool); 10] = [
    ("raw_tracepoint", "raw_tracepoint", true),
    ("task_iterator", "task_iterator", true),
    ("fentry", "fentry", true),
    ("fexit", "fexit", true),
    ("fmod_ret", "fmodret", false),
    ("lsm", "lsm", false),
    ("kprobe", "kprobe", true),
    ("kprobe_multi", "kprobe_multi", true),
    ("uprobe_multi", "uprobe_multi", true),
    ("tracepoint", "tracepoint", true),
];

impl Tried {
    /// Whether the program of this feature was taken.
    #[must_use]
    pub fn works(&self, name: &str) -> bool {
        self.results.iter().any(|(feature, result)| *feature == name && result.is_ok())
    }

    /// The trial of this name as a feature to show.
    #[must_use]
    pub fn feature(&self, name: &'static str, consequence: &'static str) -> Feature {
        let result = self.results.iter().find(|(feature, _)| *feature == name);
        let detail = match result {
            Some((_, Ok(()))) => String::new(),
            Some((_, Err(why))) => why.clone(),
            None => "not tried".to_owned(),
        };
        Feature { name, enabled: self.works(name), detail, consequence }
    }
}

/// Tries all, one object each, so that one refusal says nothing of the others.
#[must_use]
pub fn try_all() -> Tried {
    try_features(&TRIALS.map(|(_, feature, _)| feature))
}

/// Tries some of them.
#[must_use]
pub fn try_features(names: &[&str]) -> Tried {
    libbpf_rs::set_print(None);
    let wanted = TRIALS.iter().filter(|(_, feature, _)| names.contains(feature));
    let results = wanted.map(|(program, feature, attach)| (*feature, try_one(program, *attach)));
    Tried { results: results.collect() }
}

fn try_one(program: &str, attach: bool) -> Result<(), String> {
    let _lock = loader::lock();
    let mut place: MaybeUninit<OpenObject> = MaybeUninit::uninit();
    let mut open = MechanismsSkelBuilder::default().open(&mut place).map_err(|e| reason(&e))?;
    for mut candidate in open.open_object_mut().progs_mut() {
        let wanted = candidate.name() == program;
        candidate.set_autoload(wanted);
    }
    let skel = open.load().map_err(|e| reason(&e))?;
    if !attach {
        return Ok(());
    }
    let object = skel.object();
    let found = object.progs_mut().find(|candidate| candidate.name() == program);
    let found = found.ok_or_else(|| "the program is not in its object".to_owned())?;
    let link = match program {
        // By its name alone the library would look through all names of the kernel.
        "kprobe_multi" => found.attach_kprobe_multi(false, vec!["kernel_restart"]),
        "uprobe_multi" => return try_places(&found),
        _ => found.attach(),
    };
    link.map(drop).map_err(|e| reason(&e))
}

/// A kernel that attaches to several places in one step finds that there is no file; others do not look.
fn try_places(program: &ProgramMut<'_>) -> Result<(), String> {
    let options = UprobeMultiOpts { offsets: vec![0], ..UprobeMultiOpts::default() };
    match program.attach_uprobe_multi_with_opts(-1, "/", "", options) {
        Err(error) if format!("{error:?}").contains("(os error 9)") => Ok(()),
        Err(error) => Err(reason(&error)),
        Ok(_) => Err("a directory is taken for a program".to_owned()),
    }
}

/// The system's word for it, without the library's path to it.
fn reason(error: &libbpf_rs::Error) -> String {
    let text = error.to_string();
    match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => "the kernel refuses it (EPERM)".to_owned(),
        libbpf_rs::ErrorKind::NotFound => "no such function or tracepoint (ENOENT)".to_owned(),
        _ => text.chars().take(160).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_does_not_work() {
        let tried = Tried { results: vec![("lsm", Err("no".into())), ("fentry", Ok(()))] };
        assert!(tried.works("fentry") && !tried.works("lsm") && !tried.works("kprobe"));
        assert_eq!(tried.feature("lsm", "").detail, "no");
        assert_eq!(tried.feature("kprobe", "").detail, "not tried");
    }
}

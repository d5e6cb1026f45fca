//! Programs that take turns on one CPU, and execute each other: a filter on binaries holds for each call as the program
//! is that makes it, whatever ran there before.

use std::process::{Command, Stdio};

use crate::lab::{Lab, policy, ways};

/// Turns of a process, every other one in the other program.
const TURNS: usize = 40;
/// Calls in a turn.
const CALLS: usize = 5;

#[test]
fn programs_that_take_turns_on_one_cpu() {
    let Some(mut lab) = Lab::new() else { return };
    let folder = std::env::temp_dir().join(format!("saker-turns-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = folder.to_string_lossy().into_owned();
    for (own, other) in [("a", "b"), ("b", "a")] {
        std::fs::copy("/bin/dash", folder.join(own)).unwrap();
        // A failed redirection of `true` opens a file that is not there, and the shell goes on.
        let script = format!(
            "i=0\nwhile [ $i -lt {CALLS} ]; do true < {place}/none/{own}; i=$((i+1)); done\n\
             n=$(($1-1))\n[ $n -gt 0 ] && exec {place}/{other} {place}/{other}.sh $n\n"
        );
        std::fs::write(folder.join(format!("{own}.sh")), script).unwrap();
    }
    for way in ways() {
        let text = policy(&format!(
            "kprobes:\n- call: sys_openat\n  syscall: true\n  args: [{{index: 1, type: string}}]\n  selectors:\n  \
             - matchBinaries: [{{operator: In, values: ['{place}/a']}}]\n    \
             matchArgs: [{{index: 1, operator: Prefix, values: ['{place}/none/']}}]"
        ));
        let Ok(applied) = lab.apply_on(&text, &way) else { continue };
        let told = lab.told_of_all(|| {
            let start = |program: &str| {
                Command::new("taskset")
                    .args(["-c", "0", &format!("{place}/{program}"), &format!("{place}/{program}.sh")])
                    .arg(TURNS.to_string())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            };
            let mut children = [start("a"), start("b"), start("a")];
            for child in &mut children {
                child.wait().unwrap();
            }
        });
        let by = applied.plans[0].attach.mechanism();
        let told: Vec<String> = told.iter().map(|one| one.text(0)).collect();
        let foreign: Vec<&String> = told.iter().filter(|path| !path.ends_with("/a")).collect();
        assert!(foreign.is_empty(), "by {by}: {foreign:?}");
        // Where hooks may be preempted the kernel leaves some calls out, and counts them.
        let (counts, calls) = (applied.loaded.hooks[0].counts().unwrap(), 3 * TURNS / 2 * CALLS);
        let missing = calls.checked_sub(told.len()).map(|missing| missing as u64);
        println!("by {by}: {missing:?} of {calls} not told, {counts:?}");
        assert!(missing.is_some_and(|missing| missing <= counts.missed) && counts.lost == 0, "by {by}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

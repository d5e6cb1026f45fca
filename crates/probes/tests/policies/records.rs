//! Tracepoints by the fields of their records.

use super::lab::{Lab, plan, policy};

#[test]
fn fields_with_filters() {
    let Some(mut lab) = Lab::new() else { return };
    let applied = lab.apply(&policy(
        "tracepoints:
- subsystem: task
  event: task_rename
  args:
  - {index: NEW}
  - {index: SCORE}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: NEW, operator: Prefix, values: [saker-]}]"
            .replace("NEW", &index("task", "task_rename", "newcomm"))
            .replace("SCORE", &index("task", "task_rename", "oom_score_adj"))
            .as_str(),
    ));
    let applied = applied.unwrap();
    assert_eq!(applied.plans[0].attach.mechanism(), "tracepoint");
    let told = lab.told(|| {
        for name in [c"other", c"saker-test", c"another"] {
            rustix::thread::set_name(name).unwrap();
        }
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].text(0), "saker-test");
    let adjusted = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(told[0].number(1), adjusted.trim().parse::<i64>().unwrap());
}

#[test]
fn the_result_of_a_system_call() {
    let Some(mut lab) = Lab::new() else { return };
    let applied = lab.apply(&policy(
        "tracepoints:
- subsystem: syscalls
  event: sys_exit_openat
  args: [{index: 5}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 5, operator: Equal, values: ['-2']}]",
    ));
    let _applied = applied.unwrap();
    let told = lab.told(|| {
        assert!(std::fs::read("/nowhere/at/all").is_err());
        std::fs::read("/proc/self/stat").unwrap();
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].number(0), -2);
}

#[test]
fn a_field_that_is_not_there() {
    let text = policy("tracepoints: [{subsystem: task, event: task_rename, args: [{index: 99}]}]");
    let problems = plan(&text).err().unwrap();
    assert!(problems[0].message.contains("the tracepoint task_rename has no field 99"), "{problems:?}");
    let text = policy("tracepoints: [{subsystem: task, event: task_renam}]");
    let problems = plan(&text).err().unwrap();
    assert!(problems[0].message.ends_with("did you mean task/task_rename?"), "{problems:?}");
}

/// Where a field stands in the format of this kernel.
fn index(subsystem: &str, event: &str, name: &str) -> String {
    let format = saker_probes::Tracefs::open().unwrap().format(subsystem, event).unwrap();
    format.fields.iter().position(|field| field.name == name).unwrap().to_string()
}

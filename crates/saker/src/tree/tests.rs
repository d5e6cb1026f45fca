use clap::Parser;
use saker_api::json::parse_line;
use serde_json::{Value, json};

use super::*;
use crate::screen::Screen;

const BOUNDS: Bounds = Bounds { bytes: 10_000_000, acts: 100 };

/// A process as events have it.
fn process(id: &str, parent: &str, pid: u32, binary: &str, second: u32) -> Value {
    json!({
        "exec_id": id, "parent_exec_id": parent, "pid": pid, "uid": 0, "binary": binary, "flags": "execve clone",
        "start_time": format!("2026-11-26T10:00:{second:02}.5Z"),
    })
}

fn line(kind: &str, process: &Value, second: u32, fields: &Value) -> String {
    let mut inner = json!({ "process": process });
    for (name, value) in fields.as_object().unwrap() {
        inner[name] = value.clone();
    }
    json!({ kind: inner, "node_name": "n", "time": format!("2026-11-26T10:00:{second:02}.5Z") }).to_string()
}

/// sshd runs bash, which runs curl, which connects, and becomes sh, which opens a file and is killed for it.
fn attack() -> Vec<String> {
    let bash = process("b", "s", 20, "/bin/bash", 1);
    let parent = process("s", "", 10, "/usr/sbin/sshd", 0);
    let curl = process("c", "b", 30, "/usr/bin/curl", 2);
    let mut sh = process("d", "b", 30, "/bin/sh", 4);
    sh["previous_exec_id"] = json!("c");
    sh["flags"] = json!("execve");
    let connect = json!({
        "function_name": "tcp_connect", "policy_name": "net",
        "args": [{"sock_arg": {"saddr": "10.0.0.1", "sport": 5, "daddr": "10.0.0.2", "dport": 80}}],
    });
    let open = json!({
        "function_name": "fd_install", "policy_name": "files", "action": "KPROBE_ACTION_SIGKILL",
        "args": [{"int_arg": 3}, {"file_arg": {"path": "/etc/shadow"}}],
    });
    vec![
        line("process_exec", &bash, 1, &json!({ "parent": parent })),
        line("process_exec", &curl, 2, &json!({ "parent": bash })),
        line("process_kprobe", &curl, 3, &connect),
        line("process_kprobe", &curl, 3, &connect),
        line("process_exec", &sh, 4, &json!({ "parent": bash })),
        line("process_kprobe", &sh, 5, &open),
        line("process_exit", &sh, 6, &json!({ "signal": "SIGKILL" })),
        line("process_exit", &bash, 7, &json!({ "status": 1 })),
    ]
}

fn gathered(lines: &[String], bounds: Bounds) -> Forest {
    let mut forest = Forest::new(bounds);
    for line in lines {
        forest.add(&parse_line(line).unwrap());
    }
    forest
}

fn drawn(lines: &[String]) -> String {
    let picture = Picture::new(gathered(lines, BOUNDS), &|_| true);
    show::tree(&picture, Screen::of(false, 0), false)
}

const ATTACK: &str = "\
2026-11-26 (UTC)
10:00:00.500 /usr/sbin/sshd [10] uid 0
10:00:01.500 └─ /bin/bash [20] exit 1 after 6.0 s
10:00:02.500    └─ /usr/bin/curl [30] killed by SIGKILL after 4.0 s
10:00:03.500       ├ connect tcp 10.0.0.1:5 -> 10.0.0.2:80 x2 [net]
10:00:04.500       ├ exec /bin/sh
10:00:05.500       └ open /etc/shadow [files] SIGKILL
";

#[test]
fn an_attack_is_one_picture() {
    let text = drawn(&attack());
    // The exit is that of the last program, which the first one's events do not tell.
    assert_eq!(text, ATTACK);
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let mut lines = attack();
    lines.reverse();
    assert_eq!(drawn(&lines), ATTACK);
}

#[test]
fn execs_are_joined_without_our_fields_too() {
    let lines: Vec<String> =
        attack().iter().map(|line| line.replace(",\"previous_exec_id\":\"c\"", "")).collect();
    assert!(!lines.concat().contains("previous_exec_id"));
    assert_eq!(drawn(&lines), ATTACK);
}

#[test]
fn one_process_is_shown_with_its_way_and_what_came_from_it() {
    let mut lines = attack();
    lines.push(line("process_exec", &process("x", "b", 40, "/bin/ls", 2), 2, &json!({})));
    let picture = Picture::new(gathered(&lines, BOUNDS), &|image: &Image| &*image.binary == "/usr/bin/curl");
    let text = show::tree(&picture, Screen::of(false, 0), true);
    assert!(text.contains("`- /usr/bin/curl [30]") && text.contains("/usr/sbin/sshd"), "{text}");
    assert!(text.contains("/etc/shadow") && !text.contains("/bin/ls"), "{text}");
    let value: Value = serde_json::from_str(&document::json(&picture, false)).unwrap();
    let curl = &value["processes"][0]["children"][0]["children"][0];
    assert_eq!((&curl["pid"], &curl["wanted"]), (&json!(30), &json!(true)));
    assert_eq!(curl["events"][0]["count"], 2);
    assert_eq!(curl["events"][2]["action"], "sigkill");
    assert_eq!(curl["exit"]["signal"], "SIGKILL");
    assert_eq!(value["summary"]["processes_shown"], 3);
    assert_eq!(value["summary"]["actions"]["sigkill"], 1);
    let dot = document::dot(&picture);
    assert!(dot.starts_with("digraph") && dot.contains("label=\"open /etc/shadow\""), "{dot}");
}

#[test]
fn forged_circles_end() {
    let mut a = process("a", "b", 1, "/a", 1);
    a["previous_exec_id"] = json!("b");
    let mut b = process("b", "a", 2, "/b", 2);
    b["previous_exec_id"] = json!("a");
    let own = process("c", "c", 3, "/c", 3);
    let lines = [&a, &b, &own].map(|one| line("process_exec", one, 1, &json!({})));
    let text = drawn(&lines);
    assert!(["/a", "/b", "/c"].iter().all(|name| text.contains(name)), "{text}");
    let (a, b) = (process("a", "b", 1, "/a", 1), process("b", "a", 2, "/b", 2));
    let text = drawn(&[&a, &b].map(|one| line("process_exec", one, 1, &json!({}))));
    assert!(text.contains("/a [1]") && text.contains("/b [2]"), "{text}");
}

#[test]
fn a_deep_tree_goes_on_at_the_top() {
    let name = |index: u32| format!("p{index}");
    let lines: Vec<String> = (0..5000)
        .map(|index| {
            let parent = if index == 0 { String::new() } else { name(index - 1) };
            line("process_exec", &process(&name(index), &parent, index + 1, "/deep", 1), 1, &json!({}))
        })
        .collect();
    let picture = Picture::new(gathered(&lines, BOUNDS), &|_| true);
    let text = show::tree(&picture, Screen::of(false, 0), false);
    let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest < 250, "{longest}");
    // Each that goes on stands twice.
    assert_eq!(text.matches("/deep").count(), 5000 + text.matches("goes on below").count());
    let value: Value = serde_json::from_str(&document::json(&picture, false)).unwrap();
    assert_eq!(value["summary"]["processes_shown"], 5000);
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let one = process("a", "", 1, "/a", 1);
    let open = |path: &str| json!({"function_name": "fd_install", "args": [{"int_arg": 3}, {"file_arg": {"path": path}}]});
    let mut lines: Vec<String> =
        (0..20).map(|index| line("process_kprobe", &one, 1, &open(&format!("/{index}")))).collect();
    lines.push(line("process_exec", &process("b", "", 2, &"x".repeat(9000), 1), 1, &json!({})));
    let forest = gathered(&lines, Bounds { bytes: 9000, acts: 8 });
    assert_eq!((forest.counts.unkept, forest.counts.unkept_processes), (13, 1));
    let picture = Picture::new(forest, &|_| true);
    let text = show::tree(&picture, Screen::of(false, 0), false);
    assert!(text.contains("└ and more that is not kept: 12 files"), "{text}");
    assert!(show::summary(&picture, true).contains("! 13 events are counted but not shown"));
}

#[test]
fn losses_are_told() {
    let forest = gathered(&[r#"{"gap":{"lost":"7"},"node_name":"n"}"#.to_owned()], BOUNDS);
    let picture = Picture::new(forest, &|_| true);
    assert!(show::summary(&picture, false).contains("! 7 records were lost"));
}

#[test]
fn names_cannot_command_a_terminal() {
    let mut one = process("a", "", 1, "/\u{1b}[2J", 1);
    one["arguments"] = json!("\u{1b}]0;x\u{7} -c");
    one["docker"] = json!("\u{1b}[1m");
    let text = drawn(&[line("process_exec", &one, 1, &json!({}))]);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: TreeArgs,
}

#[test]
fn an_agent_is_asked_only_for_what_can_be_told_before() {
    let parsed = |line: &[&str]| Line::try_parse_from([&["tree"], line].concat()).map(|line| line.args);
    let args = parsed(&["--for", "5s", "--pid", "1,2"]).unwrap();
    assert_eq!(request(&args).allow_list[0].pid_set, [1, 2]);
    assert!(request(&parsed(&["--for", "5s", "--pid", "1", "--binary", "x"]).unwrap()).allow_list.is_empty());
    assert!(parsed(&["file", "--for", "5s"]).is_err() && parsed(&["--max-memory", "0"]).is_err());
    assert!(wanted(&parsed(&["--binary", "("]).unwrap()).is_err());
}

use std::io::Write as _;

use clap::Parser;
use saker_api::tetragon::{EventType, FieldFilterAction};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: EventsArgs,
}

fn args(line: &[&str]) -> EventsArgs {
    Line::try_parse_from(std::iter::once("events").chain(line.iter().copied())).unwrap().args
}

#[test]
fn flags_become_one_filter() {
    let request = request::request(&args(&[
        "-e",
        "exec,PROCESS_EXIT,kprobe",
        "--policy-names",
        "files,net",
        "--pid",
        "1,2",
        "--process",
        "^/bin",
        "--parent",
        "sh$",
        "-F",
        "parent",
        "-n",
        "3",
    ]))
    .unwrap();
    let [filter] = request.allow_list.as_slice() else { panic!("{request:?}") };
    let types = [EventType::ProcessExec, EventType::ProcessExit, EventType::ProcessKprobe];
    assert_eq!(filter.event_set, types.map(i32::from));
    assert_eq!(filter.policy_names, ["files", "net"]);
    assert_eq!(filter.pid, [1, 2]);
    assert_eq!((&filter.binary_regex[0][..], &filter.parent_binary_regex[0][..]), ("^/bin", "sh$"));
    assert_eq!(request.field_filters[0].action(), FieldFilterAction::Exclude);
    assert!(request::request(&args(&[])).unwrap().allow_list.is_empty());
}

#[test]
fn mistakes_are_told() {
    let error = |line: &[&str]| format!("{:#}", request::request(&args(line)).unwrap_err());
    assert!(error(&["-e", "nonsense"]).contains("no event type `nonsense`"));
    assert!(error(&["--process", "("]).contains("--process `(` is no regular expression"));
    assert!(Line::try_parse_from(["events", "-n", "0"]).is_err());
    assert!(Line::try_parse_from(["events", "--pid", "x"]).is_err());
}

#[test]
fn lines_of_a_file_are_filtered_and_counted() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let line = |pid: u32| {
        format!(
            "{{\"process_exec\":{{\"process\":{{\"pid\":{pid},\"binary\":\"/bin/x\"}}}},\"node_name\":\"n\"}}\n"
        )
    };
    file.write_all(format!("{}\n{}{}", line(1), line(2), line(3).trim_end()).as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let arguments = args(&[path, "--pid", "2,3"]);
    let request = request::request(&arguments).unwrap();
    let mut printer = Printer::new(&args(&["-n", "5"]));
    let input = lines::input(&arguments).unwrap().unwrap();
    lines::run(&arguments, input, &request, &mut printer).unwrap();
    assert_eq!(printer.left, Some(3));

    file.write_all(b"\nnot json\n").unwrap();
    let input = lines::input(&arguments).unwrap().unwrap();
    let error = lines::run(&arguments, input, &request, &mut printer).unwrap_err().to_string();
    assert!(error.contains("1 of 5 lines"), "{error}");
}

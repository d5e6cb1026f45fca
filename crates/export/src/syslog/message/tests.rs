use std::sync::Arc;

use saker_api::event::{ExecEvent, GapEvent, Node, Process, ProcessView, Timestamp};

use saker_api::filter::{FieldFilters, parse_field_filters};
use saker_api::passage::Told;

use super::*;

fn exec(node: &str, binary: &str) -> Event {
    let process = Process { pid: 7, binary: binary.into(), exec_id: "id]\"".into(), ..Process::default() };
    let process = ProcessView { process: Arc::new(process), refcnt: 1 };
    Event {
        time: Timestamp(1_700_000_000_123_456_789),
        node: Arc::new(Node { name: node.into(), ..Node::default() }),
        kind: EventKind::Exec(ExecEvent { process, parent: None, ancestors: Vec::new() }),
    }
}

fn config(structured: Option<&str>) -> MessageConfig {
    MessageConfig {
        facility: 13,
        severity: 6,
        severity_enforcement: 4,
        app_name: "saker".into(),
        structured: structured.map(str::to_owned),
        bom: true,
    }
}

fn message(config: MessageConfig, event: &Event, text: &'static str) -> String {
    let line: Encoder = Box::new(move |_, out| out.extend_from_slice(text.as_bytes()));
    let mut out = Vec::new();
    syslog_encoder(config, Arc::default(), line)(&Told::Event { event, count: 1 }, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn fields_that_are_left_out_are_not_told_as_structured_data() {
    let masks =
        parse_field_filters(r#"{"event_set":["PROCESS_EXEC"],"fields":"process.binary","action":"EXCLUDE"}"#)
            .unwrap();
    let fields = FieldFilters::compile(&masks).unwrap();
    let wanted = Arc::new(Subscription { fields, ..Subscription::default() });
    let line: Encoder = Box::new(|_, out| out.extend_from_slice(b"{}\n"));
    let mut encoder = syslog_encoder(config(Some("saker@32473")), wanted, line);
    let (mut out, event) = (Vec::new(), exec("n", "/bin/a"));
    encoder(&Told::Event { event: &event, count: 1 }, &mut out);
    let told = String::from_utf8(out).unwrap();
    assert!(told.ends_with(" process_exec - {}\n") && !told.contains("/bin/a"), "{told}");
}

#[test]
fn a_header_as_the_rfc_wants_it() {
    let pid = std::process::id();
    assert_eq!(
        message(config(None), &exec("node.example", "/bin/a"), "{}\n"),
        format!("<110>1 2023-11-14T22:13:20.123456Z node.example saker {pid} process_exec - {{}}\n")
    );
    // Nothing that is no printable ASCII, and something in any case.
    assert!(message(config(None), &exec("a b\u{e4}", ""), "{}\n").contains("Z a?b? saker "));
    assert!(message(config(None), &exec("", ""), "{}\n").contains("Z - saker "));
}

#[test]
fn structured_data_is_escaped() {
    let told = message(config(Some("saker@32473")), &exec("n", "/a\"b\\c]d\ne\u{e4}"), "{}\n");
    let expected = r#" [saker@32473 pid="7" exec_id="id\]\"" binary="/a\"b\\c\]d?eä"] {}"#;
    assert!(told.contains(expected), "{told}");
    assert_eq!(told.matches('\n').count(), 1);
}

#[test]
fn a_mark_before_what_is_not_ascii() {
    let event = exec("n", "/bin/a");
    assert!(message(config(None), &event, "{\"a\":\"ä\"}\n").contains(" - \u{feff}{\"a\""));
    assert!(!message(config(None), &event, "{}\n").contains('\u{feff}'));
    let without = MessageConfig { bom: false, ..config(None) };
    assert!(!message(without, &event, "{\"a\":\"ä\"}\n").contains('\u{feff}'));
}

#[test]
fn gaps_are_more_severe() {
    let gap = GapEvent { lost: 3, stage: "kernel", ..GapEvent::default() };
    let event = Event { kind: EventKind::Gap(gap), ..exec("n", "") };
    assert!(message(config(None), &event, "{}\n").starts_with("<108>1 "));
}

proptest::proptest! {
    /// Whatever names hold, a message stays one line, and its structured data ends where it should.
    #[test]
    fn any_name_gives_one_message(node in "\\PC{0,300}", binary in "[\\x00-\\x7f\u{80}-\u{9f}\u{2028}\u{1f600}]{0,40}") {
        let told = message(config(Some("saker@32473")), &exec(&node, &binary), "{}\n");
        proptest::prop_assert_eq!(told.matches('\n').count(), 1);
        proptest::prop_assert!(told.ends_with("] {}\n"), "{}", told);
        let data = &told[told.find("[saker@32473").unwrap() + 1..];
        let mut escaped = false;
        let mut quoted = false;
        let end = data.char_indices().find(|&(_, char)| {
            let end = char == ']' && !quoted;
            if char == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = char == '\\' && !escaped;
            end
        });
        proptest::prop_assert_eq!(&data[end.unwrap().0..], "] {}\n");
    }
}

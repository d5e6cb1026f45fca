use super::*;
use crate::event::{
    Argument, ArgumentValue, ExecEvent, ExitEvent, HookEvent, HookInfo, HookMore, Node, Process, ProcessView,
    Seldom, Timestamp,
};
use crate::filter::{FieldFilters, Filters, Offered, parse_field_filters, parse_filters};
use crate::tetragon::{GetEventsResponse, KprobeAction, get_events_response};
use crate::{json, proto, saker_v1};
use prost::Message;

fn process(pid: u32) -> Arc<Process> {
    let binary = format!("/bin/p{pid}");
    Arc::new(Process { pid, exec_id: pid.to_string().into(), binary: binary.into(), ..Process::default() })
}

fn view(process: &Arc<Process>, refcnt: u32) -> ProcessView {
    ProcessView { process: Arc::clone(process), refcnt }
}

fn event(time: u64, kind: EventKind) -> Arc<Event> {
    let node = Arc::new(Node { name: "kestrel".into(), ..Node::default() });
    Arc::new(Event { time: Timestamp(time), node, kind })
}

fn hook(process: &Arc<Process>, value: i32) -> HookEvent {
    let value = ArgumentValue::Int(value);
    HookEvent {
        process: view(process, 1),
        parent: None,
        caller: crate::event::Caller { tid: process.pid, ..Default::default() },
        hook: Arc::new(HookInfo { policy: "files".into(), ..HookInfo::default() }),
        function: "sys_openat".into(),
        args: vec![Argument { value, label: None }].into(),
        more: Seldom::default(),
        result: None,
        action: KprobeAction::Post.into(),
        return_action: 0,
        selector: None,
        repeats: 0,
        cgroup_id: 0,
        entry_missing: false,
        socket_owner: false,
        workload_undecided: false,
    }
}

fn call(process: &Arc<Process>, value: i32, time: u64) -> Arc<Event> {
    event(time, EventKind::Hook(hook(process, value)))
}

fn exit(process: &Arc<Process>) -> Arc<Event> {
    event(
        9,
        EventKind::Exit(ExitEvent {
            process: view(process, 0),
            parent: None,
            ancestors: Box::default(),
            signal: 0,
            core_dumped: false,
            status: 0,
            tid: process.pid,
            creds: None,
            reparented_to: None,
            reconstructed: false,
        }),
    )
}

fn exec(process: &Arc<Process>) -> Arc<Event> {
    event(8, EventKind::Exec(ExecEvent { process: view(process, 1), parent: None, ancestors: Vec::new() }))
}

fn passage(seconds: u64, waiting: u64, rate: Option<u32>) -> Passage {
    let aggregation = Aggregation::new(Duration::from_secs(seconds), waiting).ok();
    let subscription = Subscription { aggregation, rate, ..Subscription::default() };
    Passage::new(Arc::new(subscription), Audience::Client(Form::Own))
}

/// All that is told, as kind, PID, value and number.
fn drain(passage: &mut Passage, now: Instant) -> Vec<(&'static str, u32, i32, u64)> {
    std::iter::from_fn(|| passage.next(now)).map(|ready| shown(&ready.told())).collect()
}

fn shown(told: &Told<'_>) -> (&'static str, u32, i32, u64) {
    let (event, count) = match *told {
        Told::Event { event, count } => (event, count),
        Told::Limited { held, newest } => return ("limited", pid(newest), 0, held),
    };
    match &event.kind {
        EventKind::Exec(_) => ("exec", pid(event), 0, count),
        EventKind::Exit(_) => ("exit", pid(event), 0, count),
        EventKind::Hook(hook) => match hook.args[0].value {
            ArgumentValue::Int(value) => ("hook", pid(event), value, count),
            _ => unreachable!(),
        },
        EventKind::Gap(_) => ("gap", 0, 0, count),
    }
}

fn pid(event: &Event) -> u32 {
    event.kind.processes().0.map_or(0, |view| view.process.pid)
}

#[test]
fn equal_events_of_a_window_become_one_in_the_order_of_the_first() {
    let (one, two) = (process(1), process(2));
    let mut passage = passage(10, 100, None);
    let begin = Instant::now();
    for (event, verdict) in [
        (call(&one, 5, 1), Verdict::Kept),
        (call(&two, 5, 2), Verdict::Kept),
        (call(&one, 5, 3), Verdict::Kept),
        (call(&one, 6, 4), Verdict::Kept),
        (exec(&process(3)), Verdict::Tell),
        (call(&one, 5, 5), Verdict::Kept),
    ] {
        assert_eq!(passage.take(&event, begin), verdict);
    }
    assert_eq!(drain(&mut passage, begin + Duration::from_secs(9)), []);
    assert_eq!(passage.due(), Some(begin + Duration::from_secs(10)));
    assert_eq!(passage.counts.now(), CountsNow { folded: 2, waiting: 3, ..CountsNow::default() });
    let told = drain(&mut passage, begin + Duration::from_secs(10));
    assert_eq!(told, [("hook", 1, 5, 3), ("hook", 2, 5, 1), ("hook", 1, 6, 1)]);
    assert_eq!((passage.due(), passage.counts.now().waiting), (None, 0));
    // The next window begins with the next event.
    let later = begin + Duration::from_secs(50);
    assert_eq!(passage.take(&call(&one, 5, 6), later), Verdict::Kept);
    assert_eq!(passage.due(), Some(later + Duration::from_secs(10)));
    passage.finish();
    assert_eq!(drain(&mut passage, later), [("hook", 1, 5, 1)]);
}

#[test]
fn an_event_that_is_not_folded_follows_those_of_its_process() {
    let (one, two) = (process(1), process(2));
    let mut passage = passage(10, 100, None);
    let now = Instant::now();
    for event in [call(&one, 1, 1), call(&two, 1, 2), call(&one, 2, 3), call(&one, 1, 4), exit(&one)] {
        assert_eq!(passage.take(&event, now), Verdict::Kept);
    }
    assert_eq!(drain(&mut passage, now), [("hook", 1, 1, 2), ("hook", 1, 2, 1), ("exit", 1, 0, 1)]);
    assert_eq!(passage.take(&exit(&one), now), Verdict::Tell);
    assert_eq!(drain(&mut passage, now + Duration::from_secs(10)), [("hook", 2, 1, 1)]);
}

#[test]
fn nothing_that_differs_or_acts_is_folded() {
    let one = process(1);
    let base = || hook(&one, 1);
    let changed: Vec<(&str, HookEvent)> = vec![
        ("action", HookEvent { action: KprobeAction::Sigkill.into(), ..base() }),
        ("override", HookEvent { action: KprobeAction::Override.into(), ..base() }),
        ("return action", HookEvent { return_action: KprobeAction::Sigkill.into(), ..base() }),
        (
            "withheld",
            HookEvent {
                more: HookMore { action_withheld: "monitor", ..Default::default() }.into(),
                ..base()
            },
        ),
        ("repeats", HookEvent { repeats: 3, ..base() }),
    ];
    for (what, hook) in changed {
        let mut passage = passage(10, 100, None);
        let event = event(1, EventKind::Hook(hook));
        let now = Instant::now();
        assert_eq!(passage.take(&event, now), Verdict::Tell, "{what}");
        assert_eq!(passage.take(&event, now), Verdict::Tell, "{what}");
    }
    let kept: Vec<(&str, HookEvent)> = vec![
        ("thread", HookEvent { caller: crate::event::Caller { tid: 77, ..Default::default() }, ..base() }),
        ("function", HookEvent { function: "sys_open".into(), ..base() }),
        (
            "policy",
            HookEvent { hook: Arc::new(HookInfo { policy: "p".into(), ..Default::default() }), ..base() },
        ),
        ("selector", HookEvent { selector: Some(1), ..base() }),
        ("result", HookEvent { result: Some(Argument::default()), ..base() }),
        (
            "stack",
            HookEvent {
                more: HookMore { kernel_stack: vec![crate::event::Frame::default()], ..Default::default() }
                    .into(),
                ..base()
            },
        ),
        ("group", HookEvent { cgroup_id: 4, ..base() }),
        ("identity", HookEvent { process: view(&process(1), 1), ..base() }),
        ("parent", HookEvent { parent: Some(view(&process(7), 1)), ..base() }),
        ("undecided", HookEvent { workload_undecided: true, ..base() }),
    ];
    for (what, other) in kept {
        let mut passage = passage(10, 100, None);
        let now = Instant::now();
        passage.take(&call(&one, 1, 1), now);
        passage.take(&event(2, EventKind::Hook(other)), now);
        passage.finish();
        let told = drain(&mut passage, now);
        assert!(told.iter().all(|(_, _, _, count)| *count == 1) && told.len() == 2, "{what}: {told:?}");
    }
    // Reference counts come and go.
    let mut passage = passage(10, 100, None);
    let more = HookEvent { process: view(&one, 9), ..base() };
    passage.take(&call(&one, 1, 1), Instant::now());
    passage.take(&event(2, EventKind::Hook(more)), Instant::now());
    assert_eq!(passage.counts.now().folded, 1);
}

#[test]
fn at_the_bound_events_pass_unfolded_and_are_counted() {
    let one = process(1);
    let mut passage = passage(10, 2, None);
    let now = Instant::now();
    let verdicts: Vec<_> =
        [1, 2, 3, 1, 3].iter().map(|&value| passage.take(&call(&one, value, 1), now)).collect();
    assert_eq!(verdicts, [Verdict::Kept, Verdict::Kept, Verdict::Tell, Verdict::Kept, Verdict::Tell]);
    assert_eq!(passage.counts.now(), CountsNow { folded: 1, unfolded: 2, waiting: 2, limited: 0 });
}

#[test]
fn the_rate_limit_counts_what_it_holds_back_and_reports_it() {
    let one = process(1);
    let mut passage = passage(10, 100, Some(2));
    let begin = Instant::now();
    assert_eq!(passage.take(&exec(&one), begin), Verdict::Tell);
    assert_eq!(passage.take(&exec(&one), begin), Verdict::Tell);
    assert_eq!(passage.take(&exec(&one), begin), Verdict::Limited);
    for time in 0..5 {
        passage.take(&call(&one, 1, time), begin);
    }
    let later = begin + Duration::from_secs(10);
    assert_eq!(drain(&mut passage, later), [], "five in one, held back too");
    assert_eq!(passage.counts.now().limited, 2);
    let report = passage.due().unwrap();
    assert!(report >= begin + Duration::from_secs(59));
    assert_eq!(drain(&mut passage, report + Duration::from_secs(1)), [("limited", 1, 0, 6)]);
    assert_eq!(passage.due(), None);
}

/// Sums balance whatever comes.
#[test]
fn every_event_is_accounted_for() {
    let processes: Vec<_> = (1..6).map(process).collect();
    let filters = parse_filters(r#"{"pid":[4]}"#).unwrap();
    let filters = Filters::compile(&[], &filters, &Offered::everything()).unwrap();
    let aggregation = Aggregation::new(Duration::from_secs(1), 7).ok();
    let subscription = Subscription { filters, aggregation, rate: Some(600), ..Subscription::default() };
    let mut passage = Passage::new(Arc::new(subscription), Audience::Export);
    let begin = Instant::now();
    // A fixed sequence that looks random.
    let mut state = 12_345u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut given, mut told, mut lines, mut filtered, mut reported) = (0, 0, 0, 0, 0);
    let mut count = |ready: &Told<'_>| match ready {
        Told::Event { count, .. } => (told, lines) = (told + count, lines + 1),
        Told::Limited { held, .. } => reported += held,
    };
    let mut now = begin;
    for _ in 0..20_000 {
        now += Duration::from_millis(random(20));
        while let Some(ready) = passage.next(now) {
            count(&ready.told());
        }
        let process = &processes[random(5) as usize];
        let event = match random(20) {
            0 => exec(process),
            1 => exit(process),
            _ => call(process, random(4) as i32, given),
        };
        given += 1;
        match passage.take(&event, now) {
            Verdict::Tell => count(&Told::from(&event)),
            Verdict::Filtered => filtered += 1,
            Verdict::Limited | Verdict::Kept => {}
        }
    }
    passage.finish();
    while let Some(ready) = passage.next(now) {
        count(&ready.told());
    }
    let counts = passage.counts.now();
    assert_eq!(counts.waiting, 0);
    assert_eq!(told + reported + filtered, given, "{counts:?}");
    assert_eq!(lines + counts.limited + counts.folded + filtered, given, "{counts:?}");
    assert!(filtered > 0 && counts.folded > 0 && counts.limited > 0 && counts.unfolded > 0, "{counts:?}");
}

#[test]
fn all_forms_tell_the_number_and_the_fields() {
    let one = process(1);
    let event = call(&one, 1, 1_795_422_600_123_456_789);
    let (told, whole) = (Told::Event { event: &event, count: 3 }, FieldFilters::default());
    let masked = parse_field_filters(r#"{"fields":"process.pid"}"#).unwrap();
    let masked = FieldFilters::compile(&masked).unwrap();
    let mut writer = json::Writer::default();
    for fields in [&whole, &masked] {
        let mut line = Vec::new();
        told.write_json(&mut writer, fields, &mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with('\n'), "{line}");
        let read = json::parse_line(&line).unwrap();
        let message = told.message(fields);
        assert_eq!(read.event, message.event, "{line}");
        let response = message.event.clone().unwrap();
        assert_eq!(response.aggregation_info.unwrap().count, 3);
        let bytes = told.encode(Form::Compatible, fields, proto::encode_response).0;
        assert_eq!(GetEventsResponse::decode(bytes).unwrap(), response);
        let bytes = told.encode(Form::Own, fields, proto::encode_event).0;
        assert_eq!(saker_v1::Event::decode(bytes).unwrap(), message);
        let mut text = String::new();
        told.write_compact(crate::compact::Compact::default(), fields, &mut text);
        assert!(text.trim_end().ends_with("×3"), "{text}");
    }
    let kept = told.message(&masked).event.unwrap();
    let Some(get_events_response::Event::ProcessKprobe(kprobe)) = kept.event else { panic!("{kept:?}") };
    assert_eq!((kprobe.process.unwrap().pid, kprobe.function_name.as_str()), (Some(1), ""));

    let alone = Told::from(&event);
    let mut line = Vec::new();
    alone.write_json(&mut writer, &whole, &mut line);
    assert!(!String::from_utf8(line).unwrap().contains("aggregation_info"));
    assert_eq!(alone.encode(Form::Own, &whole, proto::encode_event).0, proto::encode_event(&event));

    let limited = Told::Limited { held: 7, newest: &event };
    let mut line = Vec::new();
    limited.write_json(&mut writer, &masked, &mut line);
    let line = String::from_utf8(line).unwrap();
    assert!(
        line.starts_with(
            r#"{"rate_limit_info":{"number_of_dropped_process_events":"7"},"node_name":"kestrel""#
        ),
        "{line}"
    );
    let bytes = limited.encode(Form::Compatible, &masked, proto::encode_response).0;
    let response = GetEventsResponse::decode(bytes).unwrap();
    assert!(
        matches!(response.event, Some(get_events_response::Event::RateLimitInfo(info)) if info.number_of_dropped_process_events == 7)
    );
}

#[test]
fn a_window_has_bounds() {
    assert!(Aggregation::new(Duration::from_secs(3_601), 1).is_err());
    assert!(Aggregation::new(Duration::from_secs(1), 1 << 21).is_err());
    assert_eq!(Aggregation::new(Duration::ZERO, 0).unwrap(), Aggregation::default());
}

#[test]
fn the_next_event_meets_exchanged_filters() {
    let wanting = |text: &str| {
        let list = parse_filters(text).unwrap();
        let filters = Filters::compile(&list, &[], &Offered::everything()).unwrap();
        Arc::new(Subscription { filters, ..Subscription::default() })
    };
    let live = LiveFilters::new(Arc::default());
    let mut passage = Passage::open().following(&live);
    let exec = |pid| {
        let process = view(&process(pid), 1);
        event(1, EventKind::Exec(ExecEvent { process, parent: None, ancestors: Vec::new() }))
    };
    let mut passes = |pid| passage.take(&exec(pid), passage.clock()) == Verdict::Tell;
    assert!(passes(1) && passes(2));
    live.set(wanting(r#"{"binary_regex":["^/bin/p1$"]}"#));
    assert!(passes(1) && !passes(2));
    live.set(wanting(r#"{"binary_regex":["^/bin/p2$"]}"#));
    assert!(!passes(1) && passes(2));
    live.set(Arc::default());
    assert!(passes(1) && passes(2));
}

#[test]
fn the_next_event_meets_an_exchanged_rate_limit() {
    let limited = |rate| Arc::new(Subscription { rate, ..Subscription::default() });
    let live = LiveFilters::new(limited(Some(2)));
    let mut passage = Passage::new(limited(Some(2)), Audience::Export).following(&live);
    let one = process(1);
    let told = |passage: &mut Passage, count: usize| {
        let now = Instant::now();
        (0..count).filter(|_| passage.take(&exit(&one), now) == Verdict::Tell).count()
    };
    assert_eq!(told(&mut passage, 5), 2);
    live.set(limited(Some(3)));
    assert_eq!(told(&mut passage, 5), 3);
    live.set(limited(None));
    assert_eq!(told(&mut passage, 5), 5);
    // What was held back is told of although there is no limit any more.
    let reported = passage.next(Instant::now() + RATE_REPORT);
    assert!(matches!(reported, Some(Ready::Limited { held: 5, .. })), "{reported:?}");
    live.set(limited(Some(1)));
    assert_eq!(told(&mut passage, 5), 1);
    assert_eq!(passage.counts().now().limited, 9);
}

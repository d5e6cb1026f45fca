//! Described events through the matcher, against what is expected.

use super::{TestDocument, process, values};
use crate::diagnostic::{At, Diagnostic, Report};
use crate::explain;
use crate::matcher::{Clause, Content, Decision, Event, Matcher, Value};
use crate::model::{Functions, Hook, Places, Policy, Target};
use crate::shape::{Item, Record};
use crate::values::{FileHash, HashAlgorithm};
use crate::words::nearest;
use crate::yaml::shorten;

/// Instead of a hash: it cannot be computed.
const UNREADABLE: &str = "unreadable";

/// Likewise: it has no build id.
const NO_BUILD_ID: &str = "build-id:none";

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// Name of the case.
    pub name: String,
    /// Its line.
    pub line: usize,
    /// The hook.
    pub hook: String,
    /// What happened, in short.
    pub outcome: String,
    /// What was expected otherwise; none: the case passed.
    pub failures: Vec<Failure>,
    /// Every filter that was tried, with what came of it.
    pub trace: Vec<String>,
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The field of the expectation.
    pub field: &'static str,
    /// What it asks for.
    pub expected: String,
    /// What was.
    pub found: String,
}

impl TestDocument {
    /// Runs all cases.
    ///
    /// # Errors
    /// Cases that do not fit the policy.
    pub fn run(&self, policy: &Policy) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
        let mut report = Report::default();
        let results: Vec<CaseResult> =
            self.cases.iter().filter_map(|case| run(case, policy, &mut report)).collect();
        if report.errors() > 0 { Err(report.finish()) } else { Ok(results) }
    }
}

fn run(case: &Record, policy: &Policy, report: &mut Report) -> Option<CaseResult> {
    let hook = find_hook(case, policy, report)?;
    let event = event(case, hook, report);
    let matcher = Matcher::new(policy);
    let decision = matcher.decide(hook, &event);
    let actions = actions(&decision);
    let failures = compare(case.record("expect")?, hook, &decision, &actions, report);
    let selector = match decision.selector {
        Some(index) => format!("selector {}", described(hook, index)),
        None if !decision.applies => "not for this process".into(),
        None if hook.selectors.is_empty() => "no selectors".into(),
        None => "no selector".into(),
    };
    let event = if decision.posts { "event" } else { "no event" };
    let actions = if actions.is_empty() { String::new() } else { format!(", {}", actions.join(", ")) };
    Some(CaseResult {
        name: case.text("name")?.value,
        line: case.at.span.line,
        hook: names(hook).into_iter().next().unwrap_or_default(),
        outcome: format!("{selector}{actions}, {event}"),
        failures,
        trace: trace(policy, hook, &decision),
    })
}

/// How a hook can be called.
fn names(hook: &Hook) -> Vec<String> {
    let mut names = match &hook.target {
        Target::Kprobe(call) | Target::Fentry(call) => match &call.functions {
            Functions::Named(name) => vec![name.value.clone()],
            Functions::List(_) => Vec::new(),
        },
        Target::Tracepoint { subsystem, event, .. } => vec![format!("{}/{}", subsystem.value, event.value)],
        Target::Uprobe(uprobe) => match &uprobe.places {
            Places::Symbols(symbols) => symbols.iter().map(|place| place.at.name.clone()).collect(),
            Places::Offsets(_) | Places::Addresses(_) => Vec::new(),
        },
        Target::Usdt(usdt) => vec![format!("{}/{}", usdt.provider.value, usdt.name.value)],
        Target::Lsm(hook) => vec![hook.value.clone()],
    };
    names.push(hook.path.strip_prefix("spec.").unwrap_or(&hook.path).to_owned());
    names
}

fn find_hook<'p>(case: &Record, policy: &'p Policy, report: &mut Report) -> Option<&'p Hook> {
    let Some(name) = case.text("hook") else {
        if let [hook] = policy.hooks.as_slice() {
            return Some(hook);
        }
        let message = format!("the policy has {} hooks: `hook` must name one", policy.hooks.len());
        report.error(&case.at, message);
        return None;
    };
    let found: Vec<&Hook> = policy.hooks.iter().filter(|hook| names(hook).contains(&name.value)).collect();
    match found.as_slice() {
        [hook] => Some(hook),
        [] => {
            let all: Vec<String> = policy.hooks.iter().flat_map(names).collect();
            let hint = match nearest(&name.value, all.iter().map(String::as_str)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("there are {}", all.join(", ")),
            };
            report.error_hint(&case.at("hook"), format!("there is no hook `{}`", shorten(&name.value)), hint);
            None
        }
        several => {
            let message = format!("{} hooks are called `{}`", several.len(), shorten(&name.value));
            report.error_hint(&case.at("hook"), message, "name it by its field, such as `kprobes[0]`");
            None
        }
    }
}

fn event(case: &Record, hook: &Hook, report: &mut Report) -> Event {
    let process = process::process(case.record("process"), report);
    let data = hook.values.len() - hook.arguments;
    let mut described = Vec::new();
    for (field, first, count) in [("args", 0, hook.arguments), ("data", hook.arguments, data)] {
        let items = case.list(field);
        if items.len() > count {
            let message = format!("{} values are described, the hook captures {count}", items.len());
            report.error(&case.at(field), message);
        }
        for position in 0..count {
            let item: Option<&Item> = items.get(position);
            let argument = hook.values.get(first + position);
            described.push(match (item, argument) {
                (Some(item), Some(argument)) => values::value(item, argument, report),
                _ => Value::Failed,
            });
        }
    }
    let returned = case.get("return").and_then(|item| {
        let Some(on_return) = &hook.on_return else {
            report.error(&item.at, "the hook does not look at the return");
            return None;
        };
        Some(values::value(item, &on_return.value, report))
    });
    Event { process, values: described, returned, content: content(case, report) }
}

/// The content of the file, as the case describes it.
fn content(case: &Record, report: &mut Report) -> Content {
    let Some(text) = case.text("hash") else { return Content::None };
    if text.value == UNREADABLE {
        return Content::Unhashed;
    }
    if text.value == NO_BUILD_ID {
        return Content::Hash(FileHash { algorithm: HashAlgorithm::BuildId, bytes: Vec::new() });
    }
    match FileHash::parse(&text.value) {
        Ok(hash) => Content::Hash(hash),
        Err(problem) => {
            report.problem(&case.at("hash"), problem);
            Content::None
        }
    }
}

/// The actions that are carried out, by name.
fn actions(decision: &Decision<'_>) -> Vec<&'static str> {
    let at_return = decision.at_return.iter().flat_map(|at_return| &at_return.actions);
    let mut names: Vec<&'static str> =
        decision.actions.iter().chain(at_return).map(|action| action.kind.name().name()).collect();
    if names.is_empty() && decision.posts && decision.selector.is_some() {
        names.push("Post");
    }
    names
}

fn described(hook: &Hook, index: usize) -> String {
    match hook.selectors.get(index) {
        Some(selector) if !selector.label.is_empty() => format!("{index} `{}`", selector.label),
        _ => index.to_string(),
    }
}

fn compare(
    expect: &Record,
    hook: &Hook,
    decision: &Decision<'_>,
    actions: &[&'static str],
    report: &mut Report,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut differs =
        |field, expected: String, found: String| failures.push(Failure { field, expected, found });
    if let Some(event) = expect.given_flag("event")
        && event != decision.posts
    {
        let word = |event| if event { "an event" } else { "no event" };
        differs("event", word(event).into(), word(decision.posts).into());
    }
    if let Some(selector) = expect.text("selector") {
        match position(&selector.value, hook) {
            Err(message) => report.error(&expect.at("selector"), message),
            Ok(position) if position != decision.selector => {
                let word = |index: Option<usize>| {
                    index.map_or_else(|| "none".into(), |index| described(hook, index))
                };
                differs("selector", word(position), word(decision.selector));
            }
            Ok(_) => {}
        }
    }
    if expect.given("actions") {
        let expected: Vec<String> =
            expect.list("actions").iter().filter_map(Item::text).map(|text| text.value).collect();
        if expected != actions {
            let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
            differs("actions", list(&wanted), list(actions));
        }
    }
    if expect.names().next().is_none() {
        let at: At = expect.at.clone();
        report.error_hint(&at, "nothing is expected", "give `event`, `selector` or `actions`");
    }
    failures
}

/// The selector that an expectation names.
fn position(text: &str, hook: &Hook) -> Result<Option<usize>, String> {
    if text == "none" {
        return Ok(None);
    }
    let by_label = hook.selectors.iter().position(|selector| selector.label == text);
    let by_number = || text.parse().ok().filter(|index| *index < hook.selectors.len());
    match by_label.or_else(by_number) {
        Some(index) => Ok(Some(index)),
        None => Err(format!("the hook has no selector `{}`", shorten(text))),
    }
}

fn trace(policy: &Policy, hook: &Hook, decision: &Decision<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if !decision.applies {
        lines.push("the policy is not for this process".to_owned());
    }
    for tried in &decision.tried {
        let Some(selector) = hook.selectors.get(tried.selector) else { continue };
        let name = described(hook, tried.selector);
        let mut line = |clause: &Clause| {
            let phrase = explain::clause(policy, hook, selector, clause);
            let place = format!("{}[{}], line {}", clause.field, clause.index, clause.span.line);
            lines.push(format!("selector {name}: {phrase}: {} ({place})", clause.outcome));
        };
        tried.clauses.iter().for_each(&mut line);
        if let Some(at_return) = decision.at_return.as_ref().filter(|_| tried.matches) {
            at_return.clauses.iter().for_each(&mut line);
        }
        if tried.clauses.is_empty() {
            lines.push(format!("selector {name}: has no filters and matches everything"));
        }
    }
    lines
}

//! Filters and actions as parts of sentences.

use crate::matcher::Clause;
use crate::model::{
    ActionKind, ArgumentFilter, BinaryFilter, CapabilityFilter, FileHashFilter, Hook, IntegerTest, Jump,
    LabelCondition, LabelSelector, NamespaceChangeFilter, NamespaceFilter, NamespaceValue, Operand, PathTest,
    PidFilter, Policy, Post, RegisterSource, RegisterValue, Selector, Side, Test, TextTest, WorkloadFilter,
};
use crate::names;
use crate::values::IntegerRange;
use crate::words::{CapabilitySet, RateScope, WithoutHash};
use crate::yaml::shorten;

/// Values that are listed; of more the rest is counted.
const LISTED: usize = 6;

/// Values as a list with a word before the last.
fn list(values: impl IntoIterator<Item = String>, word: &str) -> String {
    let values: Vec<String> = values.into_iter().collect();
    match values.as_slice() {
        [] => "nothing".into(),
        [one] => one.clone(),
        [start @ .., last] if values.len() <= LISTED => format!("{} {word} {last}", start.join(", ")),
        _ => {
            let shown: Vec<_> = values.iter().take(LISTED).map(String::as_str).collect();
            format!("{} {word} {} more", shown.join(", "), values.len() - LISTED)
        }
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", shorten(text))
}

fn quoted_bytes(bytes: &[u8]) -> String {
    quoted(&String::from_utf8_lossy(bytes))
}

/// What must hold for a selector, in the order in which it is tried.
pub(super) fn conditions(policy: &Policy, hook: &Hook, selector: &Selector) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(selector.workloads.iter().map(|filter| format!("it is of {}", workloads(filter))));
    all.extend(selector.binaries.iter().map(|filter| binary("the program", filter)));
    all.extend(selector.parent_binaries.iter().map(|filter| binary("the parent's program", filter)));
    all.extend(selector.pids.iter().map(pid));
    all.extend(selector.namespaces.iter().map(namespace));
    all.extend(selector.capabilities.iter().map(capability));
    all.extend(selector.namespace_changes.iter().map(namespace_change));
    all.extend(selector.capability_changes.iter().map(capability_change));
    all.extend(selector.arguments.iter().chain(&selector.data).map(|filter| value(policy, hook, filter)));
    all.extend(selector.file_hashes.as_ref().map(file_hash));
    all
}

/// The filter of a clause that the matcher tried.
#[must_use]
pub fn clause(policy: &Policy, hook: &Hook, selector: &Selector, clause: &Clause) -> String {
    let index = clause.index;
    let phrase = match clause.field {
        "matchWorkloads" => {
            selector.workloads.as_ref().map(|filter| format!("it is of {}", workloads(filter)))
        }
        "matchBinaries" => selector.binaries.get(index).map(|filter| binary("the program", filter)),
        "matchParentBinaries" => {
            selector.parent_binaries.get(index).map(|filter| binary("the parent's program", filter))
        }
        "matchPIDs" => selector.pids.get(index).map(pid),
        "matchNamespaces" => selector.namespaces.get(index).map(namespace),
        "matchCapabilities" => selector.capabilities.get(index).map(capability),
        "matchNamespaceChanges" => selector.namespace_changes.get(index).map(namespace_change),
        "matchCapabilityChanges" => selector.capability_changes.get(index).map(capability_change),
        "matchArgs" => selector.arguments.get(index).map(|filter| value(policy, hook, filter)),
        "matchData" => selector.data.get(index).map(|filter| value(policy, hook, filter)),
        "matchFileHashes" | "matchBuildIds" => selector.file_hashes.as_ref().map(file_hash),
        "matchReturnArgs" => selector.return_arguments.get(index).map(|filter| value(policy, hook, filter)),
        _ => None,
    };
    phrase.unwrap_or_else(|| format!("{}[{index}]", clause.field))
}

fn what(filter: &FileHashFilter) -> &'static str {
    if filter.field == "matchBuildIds" { "build id" } else { "hash" }
}

fn file_hash(filter: &FileHashFilter) -> String {
    let is = if filter.negated { "is not" } else { "is" };
    let values = list(filter.values.iter().map(|value| quoted(&value.value.to_string())), "or");
    let without = match filter.without {
        WithoutHash::Act => "or cannot be computed",
        WithoutHash::Tell => "and if it cannot be computed, that is told and nothing done",
    };
    format!("the {} of the file {is} {values}, {without}", what(filter))
}

pub(super) fn labels(selector: &LabelSelector) -> String {
    let condition = |condition: &LabelCondition| match condition {
        LabelCondition::In { key, values } => {
            format!("{} = {}", quoted(key), list(values.iter().map(|value| quoted(value)), "or"))
        }
        LabelCondition::NotIn { key, values } => {
            format!("{} not {}", quoted(key), list(values.iter().map(|value| quoted(value)), "or"))
        }
        LabelCondition::Exists(key) => format!("a label {}", quoted(key)),
        LabelCondition::Missing(key) => format!("no label {}", quoted(key)),
    };
    if selector.conditions.is_empty() {
        return "any labels".into();
    }
    list(selector.conditions.iter().map(condition), "and")
}

pub(super) fn workloads(filter: &WorkloadFilter) -> String {
    let pods = filter.pods.as_ref().map(|pods| format!("pods with {}", labels(pods)));
    let inside = match (pods, &filter.containers) {
        (None, None) => None,
        (Some(pods), None) => Some(pods),
        (None, Some(containers)) => Some(format!("containers with {}", labels(containers))),
        (Some(pods), Some(containers)) => Some(format!("containers with {} in {pods}", labels(containers))),
    };
    match (inside, filter.host) {
        (Some(inside), false) => inside,
        (Some(inside), true) => format!("{inside}, or of the host"),
        (None, _) => "the host, outside of containers".into(),
    }
}

fn binary(subject: &str, filter: &BinaryFilter) -> String {
    let word = if filter.negated { "nor" } else { "or" };
    let (verb, values) = match &filter.test {
        PathTest::Equal(paths) => ("is", list(paths.iter().map(|path| quoted(&path.value)), word)),
        PathTest::Prefix(paths) => ("begins with", list(paths.iter().map(|path| quoted(&path.value)), word)),
        PathTest::Postfix(paths) => ("ends with", list(paths.iter().map(|path| quoted(&path.value)), word)),
        PathTest::Glob(globs) => ("fits", list(globs.iter().map(|glob| quoted(glob.value.text())), word)),
    };
    let children = match (filter.follow_children, filter.negated) {
        (false, _) => "",
        (true, false) => ", or that of an ancestor does",
        (true, true) => ", and that of no ancestor does",
    };
    format!("{subject} {}{children}", sentence(verb, filter.negated, &values))
}

/// A verb with its values, negated or not. Of negated ones the values are joined by `nor`.
fn sentence(verb: &str, negated: bool, values: &str) -> String {
    if !negated {
        return format!("{verb} {values}");
    }
    let (first, rest) =
        verb.split_once(' ').map_or((verb, String::new()), |(first, rest)| (first, format!(" {rest}")));
    let verb = match (first, rest.is_empty()) {
        ("is", true) if values.contains(" nor ") => "is neither".to_owned(),
        ("is", _) => format!("is not{rest}"),
        ("has", _) => format!("does not have{rest}"),
        _ => format!("does not {}{rest}", first.trim_end_matches('s')),
    };
    format!("{verb} {values}")
}

fn pid(filter: &PidFilter) -> String {
    let word = if filter.negated { "nor" } else { "or" };
    let subject = if filter.in_namespace { "the PID in its own namespace" } else { "the PID" };
    let values = list(filter.values.iter().map(ToString::to_string), word);
    let forks = match (filter.follow_forks, filter.negated) {
        (false, _) => "",
        (true, false) => ", or that of an ancestor is",
        (true, true) => ", and that of no ancestor is",
    };
    format!("{subject} {}{forks}", sentence("is", filter.negated, &values))
}

fn namespace(filter: &NamespaceFilter) -> String {
    let word = if filter.negated { "nor" } else { "or" };
    let value = |value: &NamespaceValue| match value {
        NamespaceValue::Host => "that of the host".to_owned(),
        NamespaceValue::Inode(inode) => inode.to_string(),
    };
    let values = list(filter.values.iter().map(value), word);
    format!("the {} namespace {}", filter.namespace.name(), sentence("is", filter.negated, &values))
}

fn namespace_change(filter: &NamespaceChangeFilter) -> String {
    let names = list(filter.namespaces.iter().map(|namespace| namespace.name().to_owned()), "or");
    if filter.negated {
        format!("a namespace other than {names} changed")
    } else {
        format!("the namespace {names} changed")
    }
}

fn set_name(set: CapabilitySet) -> String {
    set.name().to_ascii_lowercase()
}

fn namespaced(filter: &CapabilityFilter) -> &'static str {
    if filter.namespaced { ", outside of the host's user namespace" } else { "" }
}

fn capability(filter: &CapabilityFilter) -> String {
    let names = list(names::capability_names(filter.capabilities), if filter.negated { "nor" } else { "or" });
    let have = if filter.negated { "does not have" } else { "has" };
    format!("the process {have} {names} ({}){}", set_name(filter.set), namespaced(filter))
}

fn capability_change(filter: &CapabilityFilter) -> String {
    let names = list(names::capability_names(filter.capabilities), "or");
    let which = if filter.negated { format!("a capability other than {names}") } else { names };
    format!("{which} was gained or lost ({}){}", set_name(filter.set), namespaced(filter))
}

/// A filter on a captured value.
pub(super) fn value(policy: &Policy, hook: &Hook, filter: &ArgumentFilter) -> String {
    let predicate = &filter.predicate;
    let subject = match &filter.operand {
        Operand::Value(position) => super::targets::name(hook, *position),
        Operand::Pair(old, new) => {
            let (old, new) = (super::targets::name(hook, *old), super::targets::name(hook, *new));
            return format!("{new} has a capability that {old} lacks");
        }
        Operand::Expression => return format!("the expression on line {} is true", filter.span.line),
        Operand::Returned => "the value returned".to_owned(),
    };
    // The name of the operator, which stands for a test that is not known yet, says the negation already.
    let negated = predicate.negated && !matches!(predicate.test, Test::Untyped(_));
    let word = if negated { "nor" } else { "or" };
    let (verb, values) = test(policy, &predicate.test, word, predicate.operator.name());
    format!("{subject} {}", sentence(&verb, negated, &values))
}

fn test(policy: &Policy, test: &Test, word: &str, operator: &str) -> (String, String) {
    let side = |side: &Side| if *side == Side::Source { "source" } else { "destination" };
    match test {
        Test::Integer { test, .. } | Test::Capabilities(test) => integer(policy, test, word),
        Test::Text(test) => text(test, word),
        Test::FileType(types) => {
            ("is of type".into(), list(types.iter().map(|ty| ty.name().to_owned()), word))
        }
        Test::SameFile(paths) => {
            let quoted = list(paths.iter().map(|path| quoted_bytes(path)), word);
            ("is, by whatever path,".into(), format!("the file or in the folder {quoted}"))
        }
        Test::Address(which, networks) => {
            let verb = format!("has its {} address in", side(which));
            (verb, list(networks.iter().map(ToString::to_string), word))
        }
        Test::Port(which, ranges) => {
            (format!("has its {} port in", side(which)), list(ranges.iter().map(ToString::to_string), word))
        }
        Test::PrivilegedPort(which) => {
            (format!("has its {} port in", side(which)), "the ports below 1024".into())
        }
        Test::Protocol(numbers) => {
            let names = numbers.iter().map(|number| names::PROTOCOLS.name(*number));
            ("has the protocol".into(), list(names, word))
        }
        Test::Family(numbers) => {
            let names = numbers.iter().map(|number| names::FAMILIES.name(*number));
            ("has the family".into(), list(names, word))
        }
        Test::State(numbers) => {
            let names = numbers.iter().map(|number| names::TCP_STATES.name(*number));
            ("is in the state".into(), list(names, word))
        }
        Test::Untyped(values) => {
            (format!("passes `{operator}` with"), list(values.iter().map(|value| quoted(&value.value)), word))
        }
        Test::CapabilitiesGained | Test::Cel(_) => (operator.into(), String::new()),
    }
}

fn integer(policy: &Policy, test: &IntegerTest, word: &str) -> (String, String) {
    let numbers = |values: &[i128]| list(values.iter().map(ToString::to_string), word);
    match test {
        IntegerTest::Equal(values) => ("is".into(), numbers(values)),
        IntegerTest::Greater(values) => ("is greater than".into(), numbers(values)),
        IntegerTest::Less(values) => ("is less than".into(), numbers(values)),
        IntegerTest::Mask(masks) => {
            ("has a bit of".into(), list(masks.iter().map(|mask| format!("{mask:#x}")), word))
        }
        IntegerTest::InSet { ranges, lists } => {
            let range = |range: &IntegerRange| {
                if range.min == range.max {
                    range.min.to_string()
                } else {
                    format!("{} to {}", range.min, range.max)
                }
            };
            let lists = lists.iter().filter_map(|one| policy.list(*one));
            let lists = lists.map(|list| format!("one of the list `{}`", list.name));
            ("is".into(), list(ranges.iter().map(range).chain(lists), word))
        }
    }
}

fn text(test: &TextTest, word: &str) -> (String, String) {
    let quoted_all = |values: &[Vec<u8>]| list(values.iter().map(|value| quoted_bytes(value)), word);
    match test {
        TextTest::Equal(values) => ("is".into(), quoted_all(values)),
        TextTest::Prefix(values) => ("begins with".into(), quoted_all(values)),
        TextTest::Postfix(values) => ("ends with".into(), quoted_all(values)),
        TextTest::Contains(values) => ("contains".into(), quoted_all(values)),
        TextTest::ContainsIgnoringCase(values) => ("contains in any case".into(), quoted_all(values)),
        TextTest::Glob(globs) => ("fits".into(), list(globs.iter().map(|glob| quoted(glob.text())), word)),
    }
}

/// An action.
pub(super) fn action(kind: &ActionKind) -> String {
    match kind {
        ActionKind::Post(post) => self::post(*post),
        ActionKind::NoPost => "tell nothing".into(),
        ActionKind::Sigkill => "kill the process".into(),
        ActionKind::Signal(signal) => format!("send signal {signal} to the process"),
        ActionKind::Override { error, registers, jump: None } if registers.is_empty() => {
            format!("do not call it, return {error}")
        }
        ActionKind::Override { registers, jump: None, .. } => {
            format!("set {} and go on with that", settings(registers))
        }
        ActionKind::Override { registers, jump: Some(jump), .. } => {
            let place = match jump {
                Jump::Symbol(symbol) => quoted(symbol),
                Jump::Address(address) => format!("the address {address:#x}"),
                Jump::Offset(offset) => format!("the offset {offset}"),
            };
            let set = if registers.is_empty() {
                String::new()
            } else {
                format!("set {} and ", settings(registers))
            };
            format!("{set}go on at {place} instead")
        }
        ActionKind::GetUrl(url) => format!("have the agent fetch {}", quoted(url)),
        ActionKind::DnsLookup(name) => format!("have the agent look up {}", quoted(name)),
        ActionKind::TrackSock(position) => {
            format!("remember the socket at position {position} as this process's")
        }
        ActionKind::UntrackSock(position) => format!("forget the socket at position {position}"),
        ActionKind::NotifyEnforcer { error, signal } => {
            let returned = (*error != 0).then(|| format!("return {error}"));
            let sent = (*signal != 0).then(|| format!("send signal {signal}"));
            let all: Vec<String> = returned.into_iter().chain(sent).collect();
            let done = if all.is_empty() { "do nothing".to_owned() } else { all.join(", ") };
            format!("have the enforcer {done}")
        }
        ActionKind::CleanupEnforcerNotification => "take back what the enforcer was told".into(),
        ActionKind::Set { argument, value } => format!("write {value} into argument {argument}"),
    }
}

/// Registers as policies write them.
fn settings(registers: &[RegisterValue]) -> String {
    let one = |setting: &RegisterValue| {
        let offset = |offset: i64| if offset == 0 { String::new() } else { offset.to_string() };
        let value = match &setting.value {
            RegisterSource::Constant(number) => number.to_string(),
            RegisterSource::Register { register, offset: by } => format!("{}%{register}", offset(*by)),
            RegisterSource::Memory { register, offset: by } => format!("{}(%{register})", offset(*by)),
        };
        format!("`{}={value}`", setting.register)
    };
    let all: Vec<String> = registers.iter().map(one).collect();
    all.join(", ")
}

fn post(post: Post) -> String {
    let mut text = String::from("tell of it");
    if let Some(limit) = post.rate_limit {
        let scope = match limit.scope {
            RateScope::Thread => "thread",
            RateScope::Process => "process",
            RateScope::Global => "node",
        };
        text.push_str(&format!(", equal events once in {} s for each {scope}", limit.window.as_secs()));
    }
    for (on, what) in [
        (post.kernel_stack, "the kernel's stack"),
        (post.user_stack, "the program's stack"),
        (post.ima_hash, "the hash of the file"),
    ] {
        if on {
            text.push_str(&format!(", with {what}"));
        }
    }
    text
}

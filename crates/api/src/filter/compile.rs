//! One filter: its checks, and what it matches.

use regex::{RegexSet, RegexSetBuilder};

use super::cel::Expression;
use super::pid_set::PidSet;
use super::selector::Selector;
use super::{FilterError, Offered, Place};
use crate::tetragon::{self, EventType};
use crate::view::{EventView, ProcessRef, bits_of};

/// Filters in one list.
const MAX_FILTERS: usize = 1_024;
/// Values in one field of a filter.
const MAX_VALUES: usize = 65_536;
/// Expressions in one filter.
const MAX_EXPRESSIONS: usize = 256;
/// Memory that the compiled expressions of one field may take.
const MAX_REGEX_BYTES: usize = 4 << 20;

/// Checks and compiles one list.
pub(super) fn list(
    list: &'static str,
    filters: &[tetragon::Filter],
    offered: &Offered,
) -> Result<Vec<Compiled>, FilterError> {
    if filters.len() > MAX_FILTERS {
        return Err(FilterError::TooMany { list, what: "filters", given: filters.len(), limit: MAX_FILTERS });
    }
    let compile = |(index, filter)| Compiled::new(Place { list, index }, filter, offered);
    filters.iter().enumerate().map(compile).collect()
}

/// A filter ready to match. A condition that is not set is not there.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    event_set: Vec<EventType>,
    /// Apart, because it learns from events that the filter does not match.
    pid_set: Option<PidSet>,
    conditions: Vec<Condition>,
}

#[derive(Debug)]
enum Condition {
    Binary(RegexSet),
    Arguments(RegexSet),
    ParentBinary(RegexSet),
    ParentArguments(RegexSet),
    AncestorBinary(RegexSet),
    Container(RegexSet),
    ContainerName(RegexSet),
    Pod(RegexSet),
    NamespaceRegex(RegexSet),
    Namespace(Vec<String>),
    Labels(Vec<Selector>),
    HealthCheck(bool),
    Pid(Vec<u32>),
    Policy(Vec<String>),
    Capabilities([Option<SetCondition>; 3]),
    InInitTree(bool),
    Expressions(Vec<Expression>),
}

/// Condition on one capability set.
#[derive(Clone, Copy, Debug)]
enum SetCondition {
    Any(u64),
    All(u64),
    Exactly(u64),
    None(u64),
}

impl Compiled {
    fn new(place: Place, filter: &tetragon::Filter, offered: &Offered) -> Result<Self, FilterError> {
        let event_set = event_types(place, &filter.event_set)?;
        let mut compiled = Self { event_set, pid_set: None, conditions: Vec::new() };
        compiled.add_cheap(place, filter, offered)?;
        compiled.add_capabilities(place, filter, offered)?;
        compiled.add_regexes(place, filter, offered)?;
        compiled.add_labels(place, &filter.labels)?;
        compiled.add_expressions(place, &filter.cel_expression)?;
        Ok(compiled)
    }

    /// Conditions that cost little come first.
    fn add_cheap(
        &mut self,
        place: Place,
        filter: &tetragon::Filter,
        offered: &Offered,
    ) -> Result<(), FilterError> {
        for (what, given) in [
            ("values of pid", filter.pid.len()),
            ("values of pid_set", filter.pid_set.len()),
            ("values of namespace", filter.namespace.len()),
            ("values of policy_names", filter.policy_names.len()),
            ("values of labels", filter.labels.len()),
        ] {
            bounded(place, what, given)?;
        }
        if !filter.pid.is_empty() {
            let mut pids = filter.pid.clone();
            pids.sort_unstable();
            self.conditions.push(Condition::Pid(pids));
        }
        if !filter.pid_set.is_empty() {
            require(place, "pid_set", offered.pid_set, "--enable-pid-set-filter")?;
            self.pid_set = Some(PidSet::new(&filter.pid_set));
        }
        self.conditions.extend(filter.in_init_tree.map(Condition::InInitTree));
        self.conditions.extend(filter.health_check.map(Condition::HealthCheck));
        if !filter.namespace.is_empty() {
            self.conditions.push(Condition::Namespace(filter.namespace.clone()));
        }
        if !filter.policy_names.is_empty() {
            self.conditions.push(Condition::Policy(filter.policy_names.clone()));
        }
        Ok(())
    }

    fn add_capabilities(
        &mut self,
        place: Place,
        filter: &tetragon::Filter,
        offered: &Offered,
    ) -> Result<(), FilterError> {
        if let Some(capabilities) = &filter.capabilities {
            require(place, "capabilities", offered.credentials, "--enable-process-cred")?;
            self.conditions.push(Condition::Capabilities([
                set_condition(place, "permitted", capabilities.permitted.as_ref())?,
                set_condition(place, "effective", capabilities.effective.as_ref())?,
                set_condition(place, "inheritable", capabilities.inheritable.as_ref())?,
            ]));
        }
        Ok(())
    }

    fn add_regexes(
        &mut self,
        place: Place,
        filter: &tetragon::Filter,
        offered: &Offered,
    ) -> Result<(), FilterError> {
        if !filter.ancestor_binary_regex.is_empty() {
            let defaults = [EventType::ProcessExec, EventType::ProcessExit];
            let kinds = if self.event_set.is_empty() { &defaults } else { self.event_set.as_slice() };
            let offered = kinds.iter().all(|kind| offered.ancestors.contains(kind));
            require(place, "ancestor_binary_regex", offered, "--enable-ancestors for these event types")?;
        }
        let mut add = |field, patterns: &[String], condition: fn(RegexSet) -> Condition| {
            if !patterns.is_empty() {
                self.conditions.push(condition(regexes(place, field, patterns)?));
            }
            Ok(())
        };
        add("binary_regex", &filter.binary_regex, Condition::Binary)?;
        add("container_id", &filter.container_id, Condition::Container)?;
        add("pod_regex", &filter.pod_regex, Condition::Pod)?;
        add("namespace_regex", &filter.namespace_regex, Condition::NamespaceRegex)?;
        add("container_name_regex", &filter.container_name_regex, Condition::ContainerName)?;
        add("parent_binary_regex", &filter.parent_binary_regex, Condition::ParentBinary)?;
        add("arguments_regex", &filter.arguments_regex, Condition::Arguments)?;
        add("parent_arguments_regex", &filter.parent_arguments_regex, Condition::ParentArguments)?;
        add("ancestor_binary_regex", &filter.ancestor_binary_regex, Condition::AncestorBinary)
    }

    fn add_labels(&mut self, place: Place, labels: &[String]) -> Result<(), FilterError> {
        if !labels.is_empty() {
            let parse = |(entry, text): (usize, &String)| Selector::parse(place, entry, text);
            let selectors: Result<_, _> = labels.iter().enumerate().map(parse).collect();
            self.conditions.push(Condition::Labels(selectors?));
        }
        Ok(())
    }

    /// The last conditions, because they cost most.
    fn add_expressions(&mut self, place: Place, texts: &[String]) -> Result<(), FilterError> {
        if texts.is_empty() {
            return Ok(());
        }
        if texts.len() > MAX_EXPRESSIONS {
            let (what, given, limit) = ("values of cel_expression", texts.len(), MAX_EXPRESSIONS);
            return Err(FilterError::TooMany { list: place.list, what, given, limit });
        }
        let compile = |(entry, text): (usize, &String)| {
            Expression::compile(text).map_err(|mistake| FilterError::Expression {
                place,
                entry,
                expression: text.clone(),
                offset: mistake.at,
                reason: mistake.reason,
            })
        };
        let expressions = texts.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        self.conditions.push(Condition::Expressions(expressions));
        Ok(())
    }

    /// Whether it asks for gaps in so many words.
    pub(super) fn names_gaps(&self) -> bool {
        self.event_set.contains(&EventType::RateLimitInfo)
    }

    /// Whether it must see every event.
    pub(super) fn learns(&self) -> bool {
        self.pid_set.is_some()
    }

    pub(super) fn matches(&self, event: &EventView<'_>) -> bool {
        self.pid_set.as_ref().is_none_or(|set| set.contains(event))
            && (self.event_set.is_empty() || self.event_set.contains(&event.event_type))
            && self.conditions.iter().all(|condition| condition.holds(event))
    }
}

impl Condition {
    /// An event without a process meets no condition on one.
    fn holds(&self, event: &EventView<'_>) -> bool {
        let process = event.process;
        let on_process = |test: &dyn Fn(ProcessRef<'_>) -> bool| process.is_some_and(test);
        let on_parent = |test: &dyn Fn(ProcessRef<'_>) -> bool| event.parent.is_some_and(test);
        match self {
            Self::Binary(regexes) => on_process(&|process| regexes.is_match(process.binary())),
            Self::Arguments(regexes) => on_process(&|process| regexes.is_match(process.arguments())),
            Self::ParentBinary(regexes) => on_parent(&|parent| regexes.is_match(parent.binary())),
            Self::ParentArguments(regexes) => on_parent(&|parent| regexes.is_match(parent.arguments())),
            Self::AncestorBinary(regexes) => {
                event.ancestors.iter().any(|ancestor| regexes.is_match(ancestor.binary()))
            }
            Self::Container(regexes) => on_process(&|process| regexes.is_match(process.docker())),
            Self::ContainerName(regexes) => on_pod(process, |pod| {
                pod.container.as_ref().is_some_and(|container| regexes.is_match(&container.name))
            }),
            Self::Pod(regexes) => on_pod(process, |pod| regexes.is_match(&pod.name)),
            Self::NamespaceRegex(regexes) => on_pod(process, |pod| regexes.is_match(&pod.namespace)),
            Self::Namespace(names) => on_process(&|process| {
                let namespace = process.pod().map_or("", |pod| pod.namespace.as_str());
                names.iter().any(|name| name == namespace)
            }),
            Self::Labels(selectors) => {
                on_pod(process, |pod| selectors.iter().any(|selector| selector.matches(&pod.pod_labels)))
            }
            Self::HealthCheck(wanted) => on_process(&|process| {
                let probe = may_be_probe(process) || event.parent.is_some_and(may_be_probe);
                probe == *wanted
            }),
            Self::Pid(pids) => {
                on_process(&|process| process.pid().is_some_and(|pid| pids.binary_search(&pid).is_ok()))
            }
            Self::Policy(names) => names.iter().any(|name| !name.is_empty() && name == event.policy),
            Self::Capabilities(conditions) => {
                on_process(&|process| process.capabilities().is_some_and(|sets| all_hold(conditions, sets)))
            }
            Self::InInitTree(wanted) => on_process(&|process| process.in_init_tree() == *wanted),
            Self::Expressions(expressions) => expressions.iter().any(|expression| expression.matches(event)),
        }
    }
}

fn on_pod(process: Option<ProcessRef<'_>>, test: impl Fn(&tetragon::Pod) -> bool) -> bool {
    process.and_then(ProcessRef::pod).is_some_and(test)
}

fn may_be_probe(process: ProcessRef<'_>) -> bool {
    on_pod(Some(process), |pod| pod.container.as_ref().is_some_and(|container| container.maybe_exec_probe))
}

fn all_hold(conditions: &[Option<SetCondition>; 3], sets: [u64; 3]) -> bool {
    conditions.iter().zip(sets).all(|(condition, set)| match *condition {
        None => true,
        Some(SetCondition::Any(wanted)) => set & wanted != 0,
        Some(SetCondition::All(wanted)) => set & wanted == wanted,
        Some(SetCondition::Exactly(wanted)) => set == wanted,
        Some(SetCondition::None(unwanted)) => set & unwanted == 0,
    })
}

/// Values of one field of a condition, and what they mean.
type Choice<'a> = (&'a [i32], fn(u64) -> SetCondition);

fn set_condition(
    place: Place,
    set: &'static str,
    filter: Option<&tetragon::CapFilterSet>,
) -> Result<Option<SetCondition>, FilterError> {
    let Some(filter) = filter else { return Ok(None) };
    let choices: [Choice<'_>; 4] = [
        (&filter.any, SetCondition::Any),
        (&filter.all, SetCondition::All),
        (&filter.exactly, SetCondition::Exactly),
        (&filter.none, SetCondition::None),
    ];
    let mut given = choices.iter().filter(|(list, _)| !list.is_empty());
    match (given.next(), given.count()) {
        (Some((list, condition)), 0) => Ok(Some(condition(bits_of(list)))),
        (first, more) => {
            Err(FilterError::Capabilities { place, set, given: usize::from(first.is_some()) + more })
        }
    }
}

fn event_types(place: Place, numbers: &[i32]) -> Result<Vec<EventType>, FilterError> {
    bounded(place, "values of event_set", numbers.len())?;
    let check = |&value| EventType::try_from(value).map_err(|_| FilterError::EventType { place, value });
    numbers.iter().map(check).collect()
}

fn require(place: Place, field: &'static str, offered: bool, option: &str) -> Result<(), FilterError> {
    let refusal = || FilterError::NotOffered { place, field, option: option.to_owned() };
    offered.then_some(()).ok_or_else(refusal)
}

fn bounded(place: Place, what: &'static str, given: usize) -> Result<(), FilterError> {
    let refusal = FilterError::TooMany { list: place.list, what, given, limit: MAX_VALUES };
    (given <= MAX_VALUES).then_some(()).ok_or(refusal)
}

/// Compiles the expressions of a field; any of them may match, anywhere in the text.
pub(crate) fn regexes(
    place: Place,
    field: &'static str,
    patterns: &[String],
) -> Result<RegexSet, FilterError> {
    bounded(place, field, patterns.len())?;
    let refusal = |entry: usize, offset, reason| {
        let pattern = patterns.get(entry).cloned().unwrap_or_default();
        FilterError::Regex { place, field, entry, pattern, offset, reason }
    };
    for (entry, pattern) in patterns.iter().enumerate() {
        // The set would tell what is wrong, but not where.
        regex_syntax::Parser::new().parse(pattern).map_err(|error| {
            let (offset, reason) = mistake(&error);
            refusal(entry, offset, reason)
        })?;
    }
    let too_big = |error: regex::Error| refusal(0, 0, error.to_string());
    RegexSetBuilder::new(patterns).size_limit(MAX_REGEX_BYTES).build().map_err(too_big)
}

fn mistake(error: &regex_syntax::Error) -> (usize, String) {
    match error {
        regex_syntax::Error::Parse(error) => (error.span().start.offset, error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span().start.offset, error.kind().to_string()),
        other => (0, other.to_string()),
    }
}

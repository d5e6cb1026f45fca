//! From text to checked policies: every mistake is reported, none stops the search for the next.

mod actions;
mod arguments;
mod document;
mod filters;
mod hashes;
mod hooks;
mod lists;
mod places;
mod predicates;
mod process;
mod selectors;
mod workloads;

pub use predicates::typed;
pub(crate) use predicates::{capability_set, takes_no_values, types as operator_types};

pub(crate) use lists::syscall;
pub(crate) use places::symbol;

use std::collections::{HashMap, HashSet};

use crate::diagnostic::{At, Diagnostic, Report, Severity};
use crate::model::{List, ListContent, ListRef, Policy};
use crate::shape::Record;
use crate::words::Kind;
use crate::yaml;

/// What a text holds.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The policies without errors.
    pub policies: Vec<Policy>,
    /// What is wrong or doubtful, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// How many diagnostics of a severity there are.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

/// Parses and checks a text with any number of documents.
#[must_use]
pub fn check(text: &str) -> Checked {
    let mut report = Report::default();
    let documents = yaml::parse(text, &mut report);
    let mut policies: Vec<Policy> = Vec::new();
    let mut names: HashMap<(String, Option<String>), usize> = HashMap::new();
    let mut seen = 0;
    for node in documents {
        if node.is_null() {
            continue;
        }
        seen += 1;
        let Some(policy) = document::policy(node, &mut report) else { continue };
        let key = (policy.name.value.clone(), policy.scope().map(str::to_owned));
        if let Some(line) = names.get(&key) {
            let at = At { span: policy.name.span, ..At::default() };
            let message = format!("a policy `{}` stands already in line {line}", policy.name.value);
            report.error_hint(&at, message, "give it another name");
            continue;
        }
        names.insert(key, policy.span.line);
        policies.push(policy);
    }
    if seen == 0 && report.errors() == 0 {
        report.error(&At::default(), "there is no policy in the text");
    }
    let mut diagnostics = report.finish();
    // A macro is checked wherever it is used.
    let mut told = HashSet::new();
    diagnostics.retain(|one| told.insert((one.span, one.message.clone())));
    Checked { policies, diagnostics }
}

/// What of a list is asked for again and again.
#[derive(Clone, Copy, Default)]
struct ListFacts {
    /// It holds system calls.
    syscalls: bool,
    /// One of them is of a 32-bit ABI.
    compat: bool,
    /// All of it are `security_*` functions.
    security: bool,
}

impl ListFacts {
    fn of(list: &List) -> Self {
        match &list.content {
            ListContent::Syscalls(calls) => {
                let compat =
                    calls.iter().any(|call| call.value.abi.is_some_and(crate::model::Abi::is_compat));
                Self { syscalls: true, compat, security: false }
            }
            ListContent::AllSyscalls => Self { syscalls: true, ..Self::default() },
            ListContent::Functions(names) => {
                let security = names.iter().all(|name| name.value.starts_with("security_"));
                Self { security, ..Self::default() }
            }
            ListContent::Pattern(_) => Self::default(),
        }
    }
}

/// A macro and how many values it holds.
#[derive(Clone, Copy)]
struct Macro<'a> {
    record: &'a Record,
    weight: usize,
}

/// What checks of a policy's parts need to know of the rest.
struct Context<'a> {
    report: &'a mut Report,
    kind: Kind,
    lists: &'a [List],
    list_facts: Vec<ListFacts>,
    list_names: HashMap<&'a str, usize>,
    /// Lists that something refers to.
    used_lists: HashSet<usize>,
    macros: HashMap<&'a str, Macro<'a>>,
    /// Values that macros put into selectors so far.
    expanded: usize,
    used_macros: HashSet<&'a str>,
    has_enforcer: bool,
    uses_enforcer: bool,
}

impl Context<'_> {
    /// The list of `list:NAME`; none when the text is no such reference.
    fn list(&mut self, at: &At, text: &str) -> Option<Option<ListRef>> {
        let name = text.strip_prefix("list:")?;
        let found = self.list_names.get(name).copied();
        if let Some(index) = found {
            self.used_lists.insert(index);
        } else if self.report.is_full() {
            self.report.error(at, "");
        } else {
            let names = self.lists.iter().map(|list| list.name.as_str());
            let hint = match crate::words::nearest(name, names) {
                Some(name) => format!("did you mean `list:{name}`?"),
                None => "define it under `spec.lists`".into(),
            };
            self.report.error_hint(at, format!("there is no list `{name}`"), hint);
        }
        Some(found.map(ListRef))
    }

    fn facts(&self, list: ListRef) -> ListFacts {
        self.list_facts.get(list.0).copied().unwrap_or_default()
    }
}

/// A family of hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Kprobe,
    Fentry,
    Tracepoint { raw: bool },
    Uprobe,
    Usdt,
    Lsm,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Fentry => "fentry",
            Self::Tracepoint { .. } => "tracepoint",
            Self::Uprobe => "uprobe",
            Self::Usdt => "USDT",
            Self::Lsm => "LSM hook",
        }
    }

    /// The name with its article.
    fn one(self) -> String {
        let article = if self == Self::Lsm { "an" } else { "a" };
        format!("{article} {}", self.name())
    }

    /// Greatest index of an argument.
    fn last_index(self) -> u32 {
        match self {
            Self::Kprobe | Self::Uprobe => 5,
            Self::Fentry | Self::Usdt | Self::Lsm | Self::Tracepoint { raw: true } => 11,
            Self::Tracepoint { raw: false } => 127,
        }
    }
}

#[cfg(test)]
mod tests;

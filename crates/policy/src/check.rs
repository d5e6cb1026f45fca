//! From text to checked policies: every mistake is reported, none stops the search for the next.

mod actions;
mod arguments;
mod document;
mod filters;
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
    let mut seen = 0;
    for node in documents {
        if node.is_null() {
            continue;
        }
        seen += 1;
        let Some(policy) = document::policy(node, &mut report) else { continue };
        let same = |other: &&Policy| other.name.value == policy.name.value && other.scope() == policy.scope();
        if let Some(first) = policies.iter().find(same) {
            let at = At { span: policy.name.span, ..At::default() };
            let message =
                format!("a policy `{}` stands already in line {}", policy.name.value, first.span.line);
            report.error_hint(&at, message, "give it another name");
            continue;
        }
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

/// What checks of a policy's parts need to know of the rest.
struct Context<'a> {
    report: &'a mut Report,
    kind: Kind,
    lists: &'a [List],
    /// Lists that something refers to.
    used_lists: HashSet<usize>,
    macros: HashMap<&'a str, &'a Record>,
    used_macros: HashSet<&'a str>,
    has_enforcer: bool,
    uses_enforcer: bool,
}

impl Context<'_> {
    /// The list of `list:NAME`; none when the text is no such reference.
    fn list(&mut self, at: &At, text: &str) -> Option<Option<ListRef>> {
        let name = text.strip_prefix("list:")?;
        let found = self.lists.iter().position(|list| list.name == name);
        if let Some(index) = found {
            self.used_lists.insert(index);
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

    fn content(&self, list: ListRef) -> Option<&ListContent> {
        self.lists.get(list.0).map(|list| &list.content)
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

//! Test files for policies: described events, and what must come of them.

mod process;
mod run;
mod values;

pub use run::{CaseResult, Failure};

use crate::diagnostic::{At, Diagnostic, Report, Span};
use crate::language::scenario::SCENARIO;
use crate::shape::{self, Record};
use crate::yaml;

/// How values are written, for the reference page.
pub(crate) const VALUES_DOC: &str = "\
## Values

How a captured value is described depends on its type. `null` is a value that could not be read.

| type | written |
|---|---|
| integers | a number |
| `syscall64` | a number, or the name of a system call: `sys_dup`, `i386/sys_dup` |
| `string`, `data_loc`, `net_device`, `char_buf` | text |
| paths | the path; or `path` with `type` (`reg`, `dir`, …) or `mode`: `{path: /etc/passwd, type: reg}`; for `SameFile` `file`, where another path says which file it is: `{path: /mnt/key, file: /srv/key}` |
| `sock`, `socket`, `skb` | `{family, protocol, state, saddr, sport, daddr, dport}`; the family is that of the addresses |
| `sockaddr` | `{family, addr, port}` |
| `sockaddr_un` | the path; an abstract name begins with `@` |
| capability sets | a list of capabilities, or a number |
| `auto` | a number or text |
| others | anything: no filter looks at them |

`actions` of an expectation lists the actions of the selector that matched and, when the return matches too, those of the
return. When a selector has none and there is an event, it is `Post`.
";

/// Where a test finds its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// In this file, relative to the test file.
    File(String),
    /// In this text.
    Inline(String),
}

/// One document of a test file.
pub struct TestDocument {
    /// Where it begins.
    pub span: Span,
    /// Its policy.
    pub source: PolicySource,
    /// Which policy of the text; none: the only one.
    pub name: Option<String>,
    cases: Vec<Record>,
}

impl TestDocument {
    /// How many events it has.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.cases.len()
    }
}

/// Reads a test file. When there are errors among the diagnostics, the documents are not complete.
#[must_use]
pub fn parse_tests(text: &str) -> (Vec<TestDocument>, Vec<Diagnostic>) {
    let mut report = Report::default();
    let mut documents = Vec::new();
    for node in yaml::parse(text, &mut report) {
        if node.is_null() {
            continue;
        }
        let span = node.span;
        let Some(record) = shape::object(node, &SCENARIO, shape::document(span), &mut report) else {
            continue;
        };
        documents.extend(document(record, span, &mut report));
    }
    if documents.is_empty() && report.errors() == 0 {
        report.error(&At::default(), "there is no test in the text");
    }
    (documents, report.finish())
}

fn document(record: Record, span: Span, report: &mut Report) -> Option<TestDocument> {
    let source = match (record.text("policy"), record.text("inline")) {
        (Some(file), None) => PolicySource::File(file.value),
        (None, Some(text)) => PolicySource::Inline(text.value),
        _ => {
            report.error(&record.at, "exactly one of `policy` and `inline` must be given");
            return None;
        }
    };
    let name = record.text("name").map(|name| name.value);
    if record.list("events").is_empty() && record.get("events").is_some() {
        report.error(&record.at("events"), "at least one event is needed");
    }
    let cases = record.into_records("events");
    Some(TestDocument { span, source, name, cases })
}

#[cfg(test)]
mod tests;

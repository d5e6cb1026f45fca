//! What is wrong with a text, where, and what to do about it.

mod render;

use std::fmt;
use std::rc::Rc;

pub use render::{render, to_json};

/// Diagnostics that are kept of one text; the rest is counted.
pub const MAX_DIAGNOSTICS: usize = 1_000;

/// A place in a text, both from 1; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The text is refused.
    Error,
    /// The text is accepted, but probably does not say what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub span: Span,
    /// Path of the field, such as `spec.kprobes[0].call`; empty for the text as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Path of a field, sharing what it has in common with its neighbours.
#[derive(Clone, Default)]
pub struct Path(Option<Rc<Step>>);

struct Step {
    parent: Path,
    part: Part,
}

enum Part {
    Field(String),
    Index(usize),
}

impl Path {
    /// A field below this one.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        Self(Some(Rc::new(Step { parent: self.clone(), part: Part::Field(name.to_owned()) })))
    }

    /// An element of the list here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(Some(Rc::new(Step { parent: self.clone(), part: Part::Index(index) })))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.0 else { return Ok(()) };
        step.parent.fmt(f)?;
        match &step.part {
            Part::Field(name) if step.parent.0.is_none() => f.write_str(name),
            Part::Field(name) => write!(f, ".{name}"),
            Part::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Place and path together.
#[derive(Clone, Default)]
pub struct At {
    /// Where it stands.
    pub span: Span,
    /// Which field it is.
    pub path: Path,
}

/// Collects diagnostics.
#[derive(Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    left_out: usize,
}

impl Report {
    /// Adds an error.
    pub fn error(&mut self, at: &At, message: impl Into<String>) {
        self.add(Severity::Error, at, message.into(), None);
    }

    /// Adds an error that can be mended.
    pub fn error_hint(&mut self, at: &At, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, at, message.into(), Some(hint.into()));
    }

    /// Adds a warning.
    pub fn warning(&mut self, at: &At, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, at, message.into(), Some(hint.into()));
    }

    /// Adds what a parser of values says.
    pub fn problem(&mut self, at: &At, problem: Problem) {
        self.add(Severity::Error, at, problem.message, problem.hint);
    }

    fn add(&mut self, severity: Severity, at: &At, message: String, hint: Option<String>) {
        self.errors += usize::from(severity == Severity::Error);
        if self.diagnostics.len() >= MAX_DIAGNOSTICS {
            self.left_out += 1;
            return;
        }
        let path = at.path.to_string();
        self.diagnostics.push(Diagnostic { severity, span: at.span, path, message, hint });
    }

    /// Whether further diagnostics are only counted, so that hints need not be looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= MAX_DIAGNOSTICS
    }

    /// Errors so far.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// All that was added, in the order of the text.
    #[must_use]
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.severity));
        if self.left_out > 0 {
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            let message = format!("{} more are not listed", self.left_out);
            let (span, path) = (Span::default(), String::new());
            self.diagnostics.push(Diagnostic { severity, span, path, message, hint: None });
        }
        self.diagnostics
    }
}

/// What is wrong with a value, told by a parser that does not know where the value stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_like_the_text() {
        let path = Path::default().field("spec").field("kprobes").index(0).field("call");
        assert_eq!(path.to_string(), "spec.kprobes[0].call");
    }

    #[test]
    fn floods_are_cut_and_counted() {
        let mut report = Report::default();
        for _ in 0..MAX_DIAGNOSTICS + 5 {
            report.error(&At::default(), "x");
        }
        assert_eq!(report.errors(), MAX_DIAGNOSTICS + 5);
        let all = report.finish();
        assert_eq!(all.len(), MAX_DIAGNOSTICS + 1);
        assert_eq!(all.last().unwrap().message, "5 more are not listed");
    }
}

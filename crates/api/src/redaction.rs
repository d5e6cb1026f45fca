//! Hides parts of command lines and environments from every receiver.
//!
//! The texts that capture groups match are replaced by [`MASK`]; an expression without a group hides nothing, so it is
//! refused. It is applied when a process is entered, so that all events show the same: those of the process, of its
//! children as their parent, and of all that descend from it.

use regex::{Regex, RegexBuilder, RegexSet};

use crate::event::Process;
use crate::filter::{FilterError, Place, regexes};
use crate::tetragon::RedactionFilter;

/// What stands in the place of what is hidden.
pub const MASK: &str = "*****";
/// Filters, and expressions in one of them.
const MAX_FILTERS: usize = 256;
const MAX_EXPRESSIONS: usize = 1_024;
/// Memory that one compiled expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;
const LIST: &str = "redaction_filters";

/// Compiled redaction filters, each of which works on what the former left.
#[derive(Clone, Debug, Default)]
pub struct Redaction(Vec<Compiled>);

#[derive(Clone, Debug)]
struct Compiled {
    /// `None`: all.
    binaries: Option<RegexSet>,
    expressions: Vec<Regex>,
}

impl Redaction {
    /// Checks and compiles a list. The deprecated field `match` is refused: ignoring it would hide more or less than
    /// meant.
    ///
    /// # Errors
    /// [`FilterError`] for the first thing that cannot be honoured.
    pub fn compile(filters: &[RedactionFilter]) -> Result<Self, FilterError> {
        if filters.len() > MAX_FILTERS {
            let (given, limit) = (filters.len(), MAX_FILTERS);
            return Err(FilterError::TooMany { list: LIST, what: "filters", given, limit });
        }
        let compile = |(index, filter)| Compiled::new(Place { list: LIST, index }, filter);
        filters.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it hides nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hides what is to be hidden of a process. Its binary must be known already.
    ///
    /// Exact arguments (`argv`) are left out once anything of the joined ones is hidden, because an expression may
    /// reach over several.
    pub fn apply(&self, process: &mut Process) {
        for filter in self.0.iter().filter(|filter| filter.concerns(&process.binary)) {
            if let Some(hidden) = filter.hide(&process.arguments) {
                process.arguments = hidden.into_boxed_str();
                process.extra.argv.clear();
            }
            for argument in &mut process.extra.argv {
                if let Some(hidden) = filter.hide(argument) {
                    *argument = hidden.into_boxed_str();
                }
            }
            for (name, value) in &mut process.environment {
                if let Some(hidden) = filter.hide(&format!("{name}={value}")) {
                    let (shown, rest) = hidden.split_once('=').unwrap_or((&hidden, ""));
                    (*name, *value) = (shown.into(), rest.into());
                }
            }
        }
    }
}

impl Compiled {
    fn new(place: Place, filter: &RedactionFilter) -> Result<Self, FilterError> {
        let refusal = |reason| FilterError::Redaction { place, reason };
        if !filter.r#match.is_empty() {
            return Err(refusal("match is deprecated and has no effect; use binary_regex"));
        }
        if filter.redact.is_empty() {
            return Err(refusal("it has no expression in redact"));
        }
        if filter.redact.len() > MAX_EXPRESSIONS {
            let (given, limit) = (filter.redact.len(), MAX_EXPRESSIONS);
            return Err(FilterError::TooMany { list: LIST, what: "values of redact", given, limit });
        }
        // For the place of a mistake.
        regexes(place, "redact", &filter.redact)?;
        let binaries = match filter.binary_regex.as_slice() {
            [] => None,
            patterns => Some(regexes(place, "binary_regex", patterns)?),
        };
        let compile = |(entry, pattern): (usize, &String)| {
            let refusal = |reason: String| FilterError::Regex {
                place,
                field: "redact",
                entry,
                pattern: pattern.clone(),
                offset: 0,
                reason,
            };
            let regex = RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build();
            let regex = regex.map_err(|error| refusal(error.to_string()))?;
            if regex.captures_len() < 2 {
                let reason =
                    "it has no capture group, so it would hide nothing; put what is to be hidden in ( )";
                return Err(refusal(reason.to_owned()));
            }
            Ok(regex)
        };
        let expressions = filter.redact.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { binaries, expressions })
    }

    fn concerns(&self, binary: &str) -> bool {
        self.binaries.as_ref().is_none_or(|binaries| binaries.is_match(binary))
    }

    /// The text without what is to be hidden; `None`: nothing is.
    fn hide(&self, text: &str) -> Option<String> {
        let mut hidden: Option<String> = None;
        for expression in &self.expressions {
            if let Some(changed) = hide_groups(expression, hidden.as_deref().unwrap_or(text)) {
                hidden = Some(changed);
            }
        }
        hidden
    }
}

/// Replaces what the capture groups of all matches cover.
fn hide_groups(expression: &Regex, text: &str) -> Option<String> {
    let mut out = String::new();
    let (mut done, mut found) = (0, false);
    for captures in expression.captures_iter(text) {
        // Groups begin in the order of their numbers; one inside another is hidden with it.
        for group in captures.iter().skip(1).flatten() {
            if group.start() < done || group.is_empty() {
                // What of it reaches beyond the former is hidden too: `MASK` stands there already.
                done = if group.is_empty() { done } else { done.max(group.end()) };
                continue;
            }
            out.push_str(&text[done..group.start()]);
            out.push_str(MASK);
            (done, found) = (group.end(), true);
        }
    }
    found.then(|| {
        out.push_str(&text[done..]);
        out
    })
}

#[cfg(test)]
mod tests;

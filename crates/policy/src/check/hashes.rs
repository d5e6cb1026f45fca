//! Filters on the content of a file.

use super::Context;
use super::actions::IMA_HOOKS;
use crate::diagnostic::{Problem, Spanned};
use crate::model::{FileHashFilter, Hook, Target};
use crate::shape::Record;
use crate::values::{FileHash, HashAlgorithm};
use crate::words::{SetOperator, WithoutHash};

/// The hook at which a file cannot be read yet.
const TOO_EARLY: &str = "file_open";

/// The condition on the content of the hook's file: by its hash or by its build id. A hook has one file, so one list says
/// everything.
pub(super) fn content(
    hashes: &[&Record],
    build_ids: &[&Record],
    hook: &Hook,
    cx: &mut Context<'_>,
) -> Option<FileHashFilter> {
    if let (Some(_), Some(second)) = (hashes.first(), build_ids.first()) {
        let hint = "make a hook of each";
        cx.report.error_hint(&second.at, "a selector asks for a hash or for a build id, not for both", hint);
    }
    let (field, records) =
        if build_ids.is_empty() { ("matchFileHashes", hashes) } else { ("matchBuildIds", build_ids) };
    let record = records.first()?;
    if let Some(second) = records.get(1) {
        let hint = "a file has one: put all values into one list";
        cx.report.error_hint(&second.at, format!("a selector has one entry of `{field}`"), hint);
    }
    let name = match &hook.target {
        Target::Lsm(name) => name.value.as_str(),
        _ => "-",
    };
    if name == TOO_EARLY {
        let message = format!("a file that is being opened cannot be read yet: `file_open` has no `{field}`");
        let hint = "hook `file_post_open` (Linux 6.9), or `mmap_file` and `bprm_check_security`";
        cx.report.error_hint(&record.at, message, hint);
    } else if !name.is_empty() && !IMA_HOOKS.contains(&name) {
        let hooks: Vec<&str> = IMA_HOOKS.iter().copied().filter(|hook| *hook != TOO_EARLY).collect();
        let hint = format!("it is for the LSM hooks {}", hooks.join(", "));
        cx.report.error_hint(&record.at, format!("there is no `{field}` at this hook"), hint);
    }
    let negated = SetOperator::parse(&record.text("operator")?.value)? == SetOperator::NotIn;
    let items = record.list("values");
    if record.given("values") && items.is_empty() && record.get("values").is_some() {
        let hint = "without values the filter would do nothing; take it out";
        cx.report.error_hint(&record.at("values"), "at least one value is needed", hint);
    }
    let mut values = Vec::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        let parsed = if build_ids.is_empty() { hash(&text.value) } else { FileHash::build_id(&text.value) };
        match parsed {
            Ok(value) => values.push(Spanned { value, span: text.span }),
            Err(problem) => cx.report.problem(&item.at, problem),
        }
    }
    let without = record.text("withoutHash").and_then(|word| WithoutHash::parse(&word.value));
    Some(FileHashFilter {
        span: record.at.span,
        field,
        negated,
        values,
        without: without.unwrap_or(WithoutHash::Act),
    })
}

fn hash(text: &str) -> Result<FileHash, Problem> {
    match FileHash::parse(text) {
        Ok(hash) if hash.algorithm == HashAlgorithm::BuildId => {
            Err(Problem::hint("a build id is no hash", "give its digits under `matchBuildIds`"))
        }
        parsed => parsed,
    }
}

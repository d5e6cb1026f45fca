//! Policies for tests.

use crate::model::{Hook, Policy, Selector};
use crate::{Checked, Severity, check};

/// A policy with this specification.
pub(crate) fn with_spec(spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: x\nspec:\n{spec}")
}

/// A policy with one kprobe on a kernel function, with these fields.
pub(crate) fn with_hook(fields: &str) -> String {
    let fields: String = fields.lines().map(|line| format!("  {line}\n")).collect();
    with_spec(&format!("kprobes:\n- call: security_file_open\n  syscall: false\n{fields}"))
}

/// A policy whose only hook captures one value of a type and has one filter on it.
pub(crate) fn with_filter(ty: &str, operator: &str, values: &str) -> String {
    with_hook(&format!(
        "args: [{{index: 0, type: {ty}}}]\nselectors:\n- matchArgs:\n  - {{index: 0, operator: {operator}, values: \
         {values}}}\n"
    ))
}

/// The diagnostics as `severity path: message [hint]`.
pub(crate) fn told(checked: &Checked) -> Vec<String> {
    let one = |diagnostic: &crate::Diagnostic| {
        let hint = diagnostic.hint.as_ref().map_or(String::new(), |hint| format!(" [{hint}]"));
        format!("{} {}: {}{hint}", diagnostic.severity.name(), diagnostic.path, diagnostic.message)
    };
    checked.diagnostics.iter().map(one).collect()
}

/// The policy of a text that has no errors.
pub(crate) fn accepted(text: &str) -> Policy {
    let mut checked = check(text);
    assert_eq!(checked.count(Severity::Error), 0, "{text}\n{:#?}", told(&checked));
    checked.policies.remove(0)
}

/// Its first hook.
pub(crate) fn hook(policy: &Policy) -> &Hook {
    &policy.hooks[0]
}

/// The first selector of its first hook.
pub(crate) fn selector(policy: &Policy) -> &Selector {
    &policy.hooks[0].selectors[0]
}

/// Asserts that a text is refused, or warned of, with a diagnostic that has these words.
pub(crate) fn assert_told(text: &str, words: &[&str]) {
    let checked = check(text);
    let told = told(&checked);
    let fits = |line: &&String| words.iter().all(|word| line.contains(word));
    assert!(told.iter().any(|line| fits(&line)), "no diagnostic has {words:?}:\n{text}\n{told:#?}");
}

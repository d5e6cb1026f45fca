//! A policy in plain words.

mod narrow;
mod phrases;
mod targets;

use std::fmt::Write;

use serde_json::{Value, json};

pub use phrases::clause;

use crate::model::{Action, ActionKind, Hook, Policy, Selector};
use crate::words::Kind;

/// A policy in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Name of the policy.
    pub policy: String,
    /// What holds for all hooks.
    pub scope: Vec<String>,
    /// The hooks.
    pub hooks: Vec<HookExplanation>,
}

/// A hook in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookExplanation {
    /// Line in the text.
    pub line: usize,
    /// What is hooked.
    pub target: String,
    /// What is captured.
    pub captures: Vec<String>,
    /// What else is kept with events.
    pub notes: Vec<String>,
    /// What happens when, one for each selector.
    pub selectors: Vec<SelectorExplanation>,
    /// What happens to every other call.
    pub otherwise: String,
}

/// A selector in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorExplanation {
    /// Line in the text.
    pub line: usize,
    /// Name of the selector.
    pub label: String,
    /// What must hold, all of it.
    pub when: Vec<String>,
    /// What is done at the call.
    pub then: Vec<String>,
    /// What must hold of the value returned, all of it.
    pub when_returned: Vec<String>,
    /// What is done at the return.
    pub then_returned: Vec<String>,
}

/// Explains a policy.
#[must_use]
pub fn explain(policy: &Policy) -> Explanation {
    Explanation {
        policy: policy.name.value.clone(),
        scope: scope(policy),
        hooks: policy.hooks.iter().map(|hook| explain_hook(policy, hook)).collect(),
    }
}

fn scope(policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    let pods = policy.scope().map(|namespace| format!("pods of the namespace `{namespace}`"));
    let workloads = policy.workloads.as_ref().map(phrases::workloads);
    lines.push(match (pods, workloads) {
        (None, None) => "It is for every process of the node.".to_owned(),
        (Some(pods), None) => format!("It is for {pods}."),
        (None, Some(workloads)) => format!("It is for {workloads}."),
        (Some(pods), Some(workloads)) => format!("It is for {pods}, and of these for {workloads}."),
    });
    debug_assert!(policy.kind == Kind::Namespaced || policy.scope().is_none());
    if let Some(nodes) = &policy.nodes {
        lines.push(format!("It is for nodes with {}.", phrases::labels(nodes)));
    }
    if policy.loader.is_some() {
        lines.push("It tells of every executable file that a process maps.".into());
    }
    if let Some(enforcer) = &policy.enforcer {
        lines.push(format!("`NotifyEnforcer` takes effect at {}.", targets::enforcer(policy, enforcer)));
    }
    lines.push(targets::mode(policy));
    lines.extend(targets::options(&policy.options));
    lines
}

fn explain_hook(policy: &Policy, hook: &Hook) -> HookExplanation {
    let captures = hook.values.iter().enumerate();
    let mut captures: Vec<String> =
        captures.map(|(position, value)| targets::capture(hook, position, value)).collect();
    let mut notes = Vec::new();
    if let Some(returned) = &hook.on_return {
        captures.push(format!("the value returned, {}", targets::value(&returned.value)));
        if let Some(action) = returned.socket {
            notes.push(format!("The socket returned: `{}`.", action.name()));
        }
    }
    if !hook.message.is_empty() {
        notes.push(format!("Message: {}", hook.message));
    }
    if !hook.tags.is_empty() {
        notes.push(format!("Tags: {}", hook.tags.join(", ")));
    }
    notes.extend(narrow::callers(policy, hook));
    let otherwise =
        if hook.selectors.is_empty() { "Every call is told." } else { "Any other call: nothing." };
    HookExplanation {
        line: hook.span.line,
        target: targets::target(policy, hook),
        captures,
        notes,
        selectors: hook.selectors.iter().map(|selector| explain_selector(policy, hook, selector)).collect(),
        otherwise: otherwise.into(),
    }
}

fn explain_selector(policy: &Policy, hook: &Hook, selector: &Selector) -> SelectorExplanation {
    let when_returned: Vec<String> =
        selector.return_arguments.iter().map(|filter| phrases::value(policy, hook, filter)).collect();
    let silent = |actions: &[Action]| actions.is_empty();
    let returns =
        hook.on_return.is_some() && (!when_returned.is_empty() || !silent(&selector.return_actions));
    SelectorExplanation {
        line: selector.span.line,
        label: selector.label.clone(),
        when: phrases::conditions(policy, hook, selector),
        then: actions(&selector.actions, !returns),
        when_returned,
        then_returned: if returns { actions(&selector.return_actions, true) } else { Vec::new() },
    }
}

fn actions(actions: &[Action], post: bool) -> Vec<String> {
    if actions.is_empty() {
        return if post { vec!["tell of it".into()] } else { Vec::new() };
    }
    let mut phrases: Vec<String> = actions.iter().map(|action| phrases::action(&action.kind)).collect();
    let told = |action: &Action| matches!(action.kind, ActionKind::Post(_) | ActionKind::NoPost);
    if post && !actions.iter().any(told) {
        phrases.push("tell of it".into());
    }
    phrases
}

impl Explanation {
    /// As text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("Policy `{}`\n", self.policy);
        for line in &self.scope {
            let _ = writeln!(text, "  {line}");
        }
        for hook in &self.hooks {
            hook.write(&mut text);
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let hooks: Vec<Value> = self.hooks.iter().map(HookExplanation::json).collect();
        json!({"policy": self.policy, "scope": self.scope, "hooks": hooks})
    }
}

impl HookExplanation {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "\nHook: {} (line {})", self.target, self.line);
        if !self.captures.is_empty() {
            let _ = writeln!(text, "  Captures {}.", self.captures.join("; "));
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        for (index, selector) in self.selectors.iter().enumerate() {
            selector.write(index, text);
        }
        let _ = writeln!(text, "  {}", self.otherwise);
    }

    fn json(&self) -> Value {
        let selectors: Vec<Value> = self.selectors.iter().map(SelectorExplanation::json).collect();
        json!({
            "line": self.line,
            "target": self.target,
            "captures": self.captures,
            "notes": self.notes,
            "selectors": selectors,
            "otherwise": self.otherwise,
        })
    }
}

impl SelectorExplanation {
    fn write(&self, index: usize, text: &mut String) {
        let label = if self.label.is_empty() { String::new() } else { format!(" `{}`", self.label) };
        let otherwise = if index == 0 { "" } else { "else " };
        let when = match self.when.as_slice() {
            [] => "always".to_owned(),
            conditions => format!("when {}", conditions.join("\n      and ")),
        };
        let _ = writeln!(text, "  {index}.{label} {otherwise}{when}:");
        for action in &self.then {
            let _ = writeln!(text, "      → {action}");
        }
        if !self.then_returned.is_empty() || !self.when_returned.is_empty() {
            let when = match self.when_returned.as_slice() {
                [] => String::new(),
                conditions => format!(" and {}", conditions.join("\n      and ")),
            };
            let _ = writeln!(text, "     and when it returns{when}:");
        }
        for action in &self.then_returned {
            let _ = writeln!(text, "      → {action}");
        }
    }

    fn json(&self) -> Value {
        json!({
            "line": self.line,
            "label": self.label,
            "when": self.when,
            "then": self.then,
            "when_returned": self.when_returned,
            "then_returned": self.then_returned,
        })
    }
}

#[cfg(test)]
mod tests;

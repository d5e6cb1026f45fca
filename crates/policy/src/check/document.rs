//! A document: kind, metadata, options, and the parts of the specification.

use std::collections::HashSet;

use super::{Context, ListFacts, Macro, hooks, lists, workloads};
use crate::diagnostic::{At, Report, Span};
use crate::language::policy::{API_VERSION, POLICY};
use crate::model::{Enforcer, Options, Policy};
use crate::shape::{self, Record};
use crate::words::{Kind, Mode, OptionName, OverrideMethod};
use crate::yaml::{Content, Node, shorten};

/// The policy of a document; none when there are errors in it.
pub(super) fn policy(node: Node, report: &mut Report) -> Option<Policy> {
    let before = report.errors();
    if foreign(&node, report) {
        return None;
    }
    let span = node.span;
    let document = shape::object(node, &POLICY, shape::document(span), report)?;
    let policy = assemble(&document, span, report);
    policy.filter(|_| report.errors() == before)
}

/// Whether the document is no policy at all: then its fields are of no interest.
fn foreign(node: &Node, report: &mut Report) -> bool {
    let Content::Map(entries) = &node.content else { return false };
    let Some((_, kind)) = entries.iter().find(|(key, _)| key.text.eq_ignore_ascii_case("kind")) else {
        return false;
    };
    let Content::Scalar { text, .. } = &kind.content else { return false };
    let near = crate::words::nearest(text, Kind::WORDS.iter().map(|word| word.name)).is_some();
    if near || Kind::parse(text).is_some() {
        return false;
    }
    let at = At { span: kind.span, path: At::default().path.field("kind") };
    let message = format!("`{}` is not a policy", shorten(text));
    report.error_hint(&at, message, "a policy file holds TracingPolicy and TracingPolicyNamespaced only");
    true
}

fn assemble(document: &Record, span: Span, report: &mut Report) -> Option<Policy> {
    if let Some(version) = document.text("apiVersion").filter(|text| text.value != API_VERSION) {
        let message = format!("`{}` is not known", shorten(&version.value));
        report.error_hint(&document.at("apiVersion"), message, format!("write `{API_VERSION}`"));
    }
    let kind = document.text("kind").and_then(|word| Kind::parse(&word.value));
    let metadata = document.record("metadata");
    if let Some(metadata) = metadata {
        check_name(metadata, "name", 253, true, report);
        check_name(metadata, "namespace", 63, false, report);
        if kind == Some(Kind::Cluster) && metadata.given("namespace") {
            let hint = "TracingPolicyNamespaced is for one namespace";
            report.warning(
                &metadata.at("namespace"),
                "a TracingPolicy is for the whole node, not a namespace",
                hint,
            );
        }
    }
    let spec = document.record("spec")?;
    let kind = kind.unwrap_or(Kind::Cluster);
    let lists = lists::all(spec, report);
    let macros = spec.map("selectorsMacros").iter().filter_map(|(key, item)| {
        let record = item.record()?;
        Some((key.text.as_str(), Macro { record, weight: record.weight() }))
    });
    let mut cx = Context {
        report,
        kind,
        lists: &lists,
        list_facts: lists.iter().map(ListFacts::of).collect(),
        list_names: lists.iter().enumerate().map(|(index, list)| (list.name.as_str(), index)).collect(),
        used_lists: HashSet::new(),
        macros: macros.collect(),
        expanded: 0,
        used_macros: HashSet::new(),
        has_enforcer: spec.given("enforcers"),
        uses_enforcer: false,
    };
    let options = options(spec, cx.report);
    let workloads = workloads::of_policy(spec, &mut cx);
    let nodes = spec.record("nodeSelector").map(|labels| workloads::labels(labels, None, cx.report));
    let hooks = hooks::all(spec, &mut cx);
    let enforcer = spec.records("enforcers").next().map(|record| lists::enforcer(record, &mut cx));
    let loader = spec.flag("loader").then(|| spec.at("loader").span);
    unused(spec, &hooks.is_empty(), loader, enforcer.as_ref(), &mut cx);
    let name = metadata?.text("name")?;
    let namespace = metadata?.text("namespace");
    Some(Policy { span, kind, name, namespace, workloads, nodes, lists, options, hooks, loader, enforcer })
}

/// Warns of what has no effect.
fn unused(
    spec: &Record,
    no_hooks: &bool,
    loader: Option<Span>,
    enforcer: Option<&Enforcer>,
    cx: &mut Context<'_>,
) {
    if *no_hooks && loader.is_none() && cx.report.errors() == 0 {
        cx.report.warning(&spec.at, "the policy has no hooks", "it has no effect");
    }
    if let Some(enforcer) = enforcer.filter(|_| !cx.uses_enforcer && cx.report.errors() == 0) {
        let at = At { span: enforcer.span, path: spec.at.path.field("enforcers") };
        cx.report.warning(&at, "no hook has the action `NotifyEnforcer`", "the enforcer has no effect");
    }
    for (index, list) in cx.lists.iter().enumerate().filter(|(index, _)| !cx.used_lists.contains(index)) {
        let at = At { span: list.span, path: spec.at.path.field("lists").index(index) };
        let message = format!("nothing refers to the list `{}`", list.name);
        cx.report.warning(&at, message, format!("refer to it as `list:{}`", list.name));
    }
    for (key, item) in spec.map("selectorsMacros") {
        if !cx.used_macros.contains(key.text.as_str()) {
            let message = format!("no selector has the macro `{}`", shorten(&key.text));
            cx.report.warning(&item.at, message, "name it in the field `macros` of a selector");
        }
    }
}

/// Names as Kubernetes has them: a DNS subdomain, or one label of it.
fn check_name(metadata: &Record, field: &str, longest: usize, dots: bool, report: &mut Report) {
    let Some(name) = metadata.any_text(field) else { return };
    let name = name.value;
    let part = |part: &str| {
        let inner =
            part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    let fits = if dots { name.split('.').all(part) } else { part(&name) };
    if !fits || name.len() > longest {
        let message = format!("`{}` cannot be a {field}", shorten(&name));
        let dots = if dots { ", `.`" } else { "" };
        let hint = format!(
            "lower-case letters, digits, `-`{dots}; begins and ends with a letter or digit; at most {longest} characters"
        );
        report.error_hint(&metadata.at(field), message, hint);
    }
}

fn options(spec: &Record, report: &mut Report) -> Options {
    let mut options = Options::default();
    let mut seen = HashSet::new();
    for option in spec.records("options") {
        let (Some(name), Some(value)) = (option.text("name"), option.any_text("value")) else { continue };
        let Some(name) = OptionName::parse(&name.value) else { continue };
        if !seen.insert(name) {
            report.error(&option.at("name"), format!("`{}` is set twice", name.name()));
            continue;
        }
        let at = option.at("value");
        let value = value.value.as_str();
        match name {
            OptionName::DisableKprobeMulti => options.disable_kprobe_multi = boolean(value, &at, report),
            OptionName::DisableUprobeMulti => options.disable_uprobe_multi = boolean(value, &at, report),
            OptionName::OverrideMethod => {
                options.override_method = OverrideMethod::parse(value);
                if options.override_method.is_none() {
                    report.error(&at, "expected `override-return`, `fmod-ret` or `cgroup`");
                }
            }
            OptionName::PolicyMode => {
                options.mode = Mode::parse(value);
                if options.mode.is_none() {
                    report.error(&at, "expected `enforce` or `monitor`");
                }
            }
            OptionName::SleepablePreloadSize => {
                let size = crate::values::number(value).ok().and_then(|size| u32::try_from(size).ok());
                options.sleepable_preload_size = size.filter(|size| *size > 0);
                if options.sleepable_preload_size.is_none() {
                    report.error(&at, "expected a number from 1");
                }
            }
        }
    }
    options
}

fn boolean(value: &str, at: &At, report: &mut Report) -> bool {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => true,
        "false" | "f" | "0" => false,
        _ => {
            report.error(at, "expected `true` or `false`");
            false
        }
    }
}

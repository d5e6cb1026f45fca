//! Selectors: macros, filters, actions.

use super::{Context, Family, Macro, actions, filters, hashes, hooks, process, workloads};
use crate::diagnostic::At;
use crate::model::{Hook, Selector};
use crate::shape::{Item, Record};
use crate::yaml::{MAX_NODES, shorten};

const FILTERS: &[&str] = &[
    "matchWorkloads",
    "matchBinaries",
    "matchParentBinaries",
    "matchPIDs",
    "matchNamespaces",
    "matchCapabilities",
    "matchNamespaceChanges",
    "matchCapabilityChanges",
    "matchArgs",
    "matchData",
    "matchFileHashes",
    "matchBuildIds",
    "matchReturnArgs",
];

/// The selectors of a hook.
pub(super) fn all<'a>(
    record: &'a Record,
    family: Family,
    hook: &Hook,
    cx: &mut Context<'a>,
) -> Vec<Selector> {
    let records: Vec<&Record> = record.records("selectors").collect();
    stray_dashes(&records, cx);
    let mut selectors = Vec::new();
    for (index, own) in records.iter().enumerate() {
        let layers = Layers::of(own, cx);
        if index + 1 < records.len() && FILTERS.iter().all(|field| layers.find(field).is_none()) {
            let message = "this selector matches everything: those behind it are never reached";
            cx.report.warning(&own.at, message, "put it last, or give it filters");
        }
        selectors.push(selector(&layers, family, hook, cx));
    }
    selectors
}

/// A selector with filters only, and one with actions only behind it: probably one that was cut in two.
fn stray_dashes(records: &[&Record], cx: &mut Context<'_>) {
    let has = |record: &Record, fields: &[&str]| fields.iter().any(|field| record.given(field));
    let actions = ["matchActions", "matchReturnActions"];
    for pair in records.windows(2) {
        let [first, second] = pair else { continue };
        let filters_only = has(first, FILTERS) && !has(first, &actions);
        let actions_only = has(second, &actions) && !has(second, FILTERS) && !second.given("macros");
        if filters_only && actions_only {
            let message = "this selector has actions only, and the one before it filters only";
            let hint = "if the actions are for those filters, take the `-` out; as it is, they are for every other call";
            cx.report.warning(&second.at, message, hint);
        }
    }
}

/// A selector and the macros it names.
struct Layers<'a> {
    own: &'a Record,
    macros: Vec<&'a Record>,
}

impl<'a> Layers<'a> {
    fn of(own: &'a Record, cx: &mut Context<'a>) -> Self {
        let mut macros = Vec::new();
        for item in own.list("macros") {
            let Some(name) = item.text() else { continue };
            let found = cx.macros.get_key_value(name.value.as_str()).map(|(name, one)| (*name, *one));
            let Some((key, Macro { record, weight })) = found else {
                let names = cx.macros.keys().copied();
                let hint = match crate::words::nearest(&name.value, names) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "define it under `spec.selectorsMacros`".into(),
                };
                cx.report.error_hint(&item.at, format!("there is no macro `{}`", shorten(&name.value)), hint);
                continue;
            };
            cx.used_macros.insert(key);
            cx.expanded += weight;
            if cx.expanded > MAX_NODES {
                let message = format!("macros put more than {MAX_NODES} values into selectors");
                cx.report.error(&item.at, message);
                continue;
            }
            if record.given("macros") {
                cx.report.error(&record.at("macros"), "a macro cannot use macros");
            }
            macros.push(record);
        }
        let layers = Self { own, macros };
        layers.check_doubles(cx);
        layers
    }

    /// The same field in two places: it would not be clear which one counts.
    fn check_doubles(&self, cx: &mut Context<'_>) {
        for field in FILTERS.iter().chain(&["matchActions", "matchReturnActions"]) {
            let givers = self.all().filter(|record| record.given(field)).count();
            if givers > 1 {
                let message = format!("`{field}` is given in {givers} places: the selector and its macros");
                cx.report.error_hint(&self.own.at("macros"), message, "give it in one of them");
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a Record> {
        std::iter::once(self.own).chain(self.macros.iter().copied())
    }

    /// The record that gives a field.
    fn find(&self, field: &str) -> Option<&'a Record> {
        self.all().find(|record| record.given(field))
    }

    fn records(&self, field: &str) -> Vec<&'a Record> {
        self.find(field).map(|record| record.records(field).collect()).unwrap_or_default()
    }
}

fn selector(layers: &Layers<'_>, family: Family, hook: &Hook, cx: &mut Context<'_>) -> Selector {
    let own = layers.own;
    let label = match layers.find("label") {
        Some(record) => hooks::text(record, "label", cx),
        None => String::new(),
    };
    let workloads = layers.find("matchWorkloads").and_then(|record| record.record("matchWorkloads"));
    if let Some(workloads) = workloads
        && workloads.names().next().is_none()
    {
        cx.report.error(&workloads.at, "`matchWorkloads` is empty: it would do nothing");
    }
    let each = |field: &str| layers.records(field);
    Selector {
        span: own.at.span,
        label,
        workloads: workloads.and_then(|record| workloads::workloads(record, cx)),
        binaries: each("matchBinaries").into_iter().filter_map(|one| process::binary(one, cx)).collect(),
        parent_binaries: each("matchParentBinaries")
            .into_iter()
            .filter_map(|one| process::binary(one, cx))
            .collect(),
        pids: each("matchPIDs").into_iter().filter_map(|one| process::pid(one, cx)).collect(),
        namespaces: each("matchNamespaces")
            .into_iter()
            .filter_map(|one| process::namespace(one, cx))
            .collect(),
        capabilities: each("matchCapabilities")
            .into_iter()
            .filter_map(|one| process::capability(one, cx))
            .collect(),
        namespace_changes: each("matchNamespaceChanges")
            .into_iter()
            .filter_map(|one| process::namespace_change(one, cx))
            .collect(),
        capability_changes: each("matchCapabilityChanges")
            .into_iter()
            .filter_map(|one| process::capability(one, cx))
            .collect(),
        arguments: value_filters(layers, "matchArgs", filters::Role::Arguments, hook, family, cx),
        data: value_filters(layers, "matchData", filters::Role::Data, hook, family, cx),
        file_hashes: hashes::content(&each("matchFileHashes"), &each("matchBuildIds"), hook, cx),
        actions: actions::all(&each("matchActions"), family, hook, cx),
        return_arguments: value_filters(layers, "matchReturnArgs", filters::Role::Returned, hook, family, cx),
        return_actions: return_actions(layers, family, hook, cx),
    }
}

fn value_filters(
    layers: &Layers<'_>,
    field: &str,
    role: filters::Role,
    hook: &Hook,
    family: Family,
    cx: &mut Context<'_>,
) -> Vec<crate::model::ArgumentFilter> {
    let Some(record) = layers.find(field) else { return Vec::new() };
    let at = record.at(field);
    let functions = matches!(family, Family::Kprobe | Family::Fentry | Family::Uprobe);
    match role {
        filters::Role::Data if !functions => {
            cx.report.error(&at, format!("{} has no `data`", family.one()));
            return Vec::new();
        }
        filters::Role::Returned if !functions => {
            cx.report.error(&at, format!("{} has no return to look at", family.one()));
            return Vec::new();
        }
        filters::Role::Returned if hook.on_return.is_none() => {
            let hint = "add `return: true` and `returnArg` to the hook";
            cx.report.error_hint(&at, format!("`{field}` needs the hook to look at the return"), hint);
            return Vec::new();
        }
        _ => {}
    }
    record.records(field).filter_map(|one| filters::filter(one, role, hook, family, cx)).collect()
}

fn return_actions(
    layers: &Layers<'_>,
    family: Family,
    hook: &Hook,
    cx: &mut Context<'_>,
) -> Vec<crate::model::Action> {
    let Some(record) = layers.find("matchReturnActions") else { return Vec::new() };
    let at = record.at("matchReturnActions");
    if !matches!(family, Family::Kprobe | Family::Fentry) {
        cx.report.error(&at, format!("{} has no actions at the return", family.one()));
    } else if hook.on_return.is_none() {
        let hint = "add `return: true` and `returnArg` to the hook";
        cx.report.error_hint(&at, "`matchReturnActions` needs the hook to look at the return", hint);
    }
    let records = layers.records("matchReturnActions");
    for record in &records {
        let late = record.text("action").is_some_and(|action| action.value == "Override");
        if late {
            let message = "at the return the call has happened: it cannot be overridden";
            cx.report.error_hint(&record.at, message, "put the action under `matchActions`");
        }
    }
    actions::all(&records, family, hook, cx)
}

/// Place of an item or, without one, of its list.
pub(super) fn place(item: Option<&Item>, at: &At) -> At {
    item.map_or_else(|| at.clone(), |item| item.at.clone())
}

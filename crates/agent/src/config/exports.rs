//! Exports that files declare: a YAML list, each with a name, a kind, filters and bounds.
//!
//! Every mistake of all files is reported, with file, line, column and a hint.

mod brokers;
mod fields;
mod kinds;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use saker_api::filter::{
    FieldFilters, FilterError, Filters, Offered, Subscription, parse_field_filters, parse_filters,
};
use saker_api::passage::Aggregation;
use saker_api::tetragon::Filter;
use saker_export::Limits;
use saker_policy::tree::{self, At, Content, Node, Report};
use saker_policy::{Diagnostic, render};
use serde_json::Value;

use super::sources::{check_directory, read_safely};
use super::value;
use fields::Fields;
pub use kinds::{ExportKind, OtlpConfig, WebhookConfig};

/// Exports at once.
pub const MAX_EXPORTS: usize = 64;
/// Filters of one list.
const MAX_FILTERS: usize = 1_000;
/// Characters of a name.
const MAX_NAME: usize = 63;
/// Names of stages and sinks that are there without being declared.
const RESERVED: &[&str] = &[
    "decoder",
    "earlier",
    "engine",
    "file",
    "grpc",
    "kernel",
    "reader",
    "recording",
    "removed",
    "requests",
    "sensor",
    "stdout",
];

/// One export.
#[derive(Clone, Debug)]
pub struct ExportDef {
    /// Its name, in status, metrics and gap events.
    pub name: String,
    /// Where events go.
    pub kind: ExportKind,
    /// Which events, how many, and which of their fields.
    pub wanted: Arc<Subscription>,
    /// Bounds of its queue.
    pub queue: Limits,
    /// What was written of it.
    source: Value,
}

impl ExportDef {
    /// Whether both ask for the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.source == other.source && self.queue == other.queue
    }

    /// Whether it holds a directory that none can use beside it: a spool.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        let spool = |export: &Self| match export.kind {
            ExportKind::File(_) => None,
            _ => export.kind.owned_path().map(Path::to_owned),
        };
        spool(self).is_some_and(|dir| spool(other) == Some(dir))
    }
}

/// What is there for those that say nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Defaults<'a> {
    /// Bounds of a queue.
    pub queue: Limits,
    /// What filters can ask for.
    pub offered: &'a Offered,
}

/// All exports of a file, or of the files of a directory, or everything that is wrong with them, one a line. `wanted`:
/// it is an error if there is no such path.
pub(super) fn load(path: &Path, wanted: bool, defaults: &Defaults<'_>) -> Result<Vec<ExportDef>, String> {
    let mut problems = String::new();
    let mut exports: Vec<ExportDef> = Vec::new();
    for file in files(path, wanted)? {
        let text = match read_safely(&file) {
            Ok(text) => text,
            Err(error) => {
                problems.push_str(&format!("\n{error}"));
                continue;
            }
        };
        let (found, wrong) = parse(&text, defaults, &exports);
        exports.extend(found);
        if !wrong.is_empty() {
            problems.push('\n');
            problems.push_str(render(&file.display().to_string(), &text, &wrong).trim_end());
        }
    }
    if problems.is_empty() { Ok(exports) } else { Err(problems) }
}

/// The files to read, in the order of their names.
fn files(path: &Path, wanted: bool) -> Result<Vec<PathBuf>, String> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound && !wanted => return Ok(Vec::new()),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    if !found.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    check_directory(path, &found).map_err(|error| error.to_string())?;
    let entries = fs::read_dir(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let yaml = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"))
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(yaml).collect();
    files.sort();
    Ok(files)
}

/// The exports of a text, and what is wrong with it. `others` are those of other files, whose names are taken.
#[must_use]
pub fn parse(text: &str, defaults: &Defaults<'_>, others: &[ExportDef]) -> (Vec<ExportDef>, Vec<Diagnostic>) {
    let mut report = Report::default();
    let mut exports: Vec<ExportDef> = Vec::new();
    for document in tree::parse(text, &mut report) {
        let items = match &document.content {
            Content::List(items) => items,
            _ if document.is_null() => continue,
            _ => {
                let at = At { span: document.span, ..At::default() };
                let message = format!("expected a list of exports, not {}", document.describe());
                report.error_hint(&at, message, "begin each export with `- name: NAME`");
                continue;
            }
        };
        for (index, item) in items.iter().enumerate() {
            let at = At { span: item.span, path: tree::Path::default().index(index) };
            if others.len() + exports.len() >= MAX_EXPORTS {
                report.error(&at, format!("there are more than {MAX_EXPORTS} exports"));
                break;
            }
            let taken =
                |export: &ExportDef| others.iter().chain(&exports).find_map(|other| clash(export, other));
            if let Some(export) = one(item, &at, defaults, &mut report) {
                match taken(&export) {
                    Some(clash) => report.error(&at, clash),
                    None => exports.push(export),
                }
            }
        }
    }
    (exports, report.finish())
}

/// Why two exports cannot both be.
fn clash(export: &ExportDef, other: &ExportDef) -> Option<String> {
    if export.name == other.name {
        return Some(format!("there is another export `{}`", export.name));
    }
    match (export.kind.owned_path(), other.kind.owned_path()) {
        (Some(path), Some(other_path)) if path == other_path => {
            Some(format!("the export `{}` writes to {} too", other.name, path.display()))
        }
        _ => None,
    }
}

fn one(item: &Node, at: &At, defaults: &Defaults<'_>, report: &mut Report) -> Option<ExportDef> {
    let before = report.errors();
    let mut fields = Fields::of(item, at, report)?;
    let name = fields.required("name", check_name);
    let rate = fields.value("rate-limit", |text| value::number(text, -1, i64::from(u32::MAX)));
    let events = fields.value("queue-size", |text| value::number(text, 1, 100_000_000));
    let bytes = fields.value("queue-bytes", value::size);
    let allow = filters(&mut fields, "allow", defaults.offered);
    let deny = filters(&mut fields, "deny", defaults.offered);
    let masks = field_filters(&mut fields);
    let aggregation = aggregation(&mut fields);
    let kind = kinds::read(&mut fields);
    fields.finish();
    let fields = masks;
    let filters = Filters::compile(&allow, &deny, defaults.offered);
    // Each filter was compiled by itself before, so the lists compile, or are reported.
    (report.errors() == before).then_some(())?;
    Some(ExportDef {
        name: name?,
        kind: kind?,
        wanted: Arc::new(Subscription {
            filters: filters.ok()?,
            fields,
            aggregation,
            rate: rate.and_then(|rate| u32::try_from(rate).ok()),
        }),
        queue: Limits {
            events: events.and_then(|events| usize::try_from(events).ok()).unwrap_or(defaults.queue.events),
            bytes: bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(defaults.queue.bytes),
        },
        source: json(item),
    })
}

fn check_name(text: &str) -> Result<String, value::ValueError> {
    let wrong = |what: String| Err(value::ValueError::Other(what));
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(letter) || text.starts_with('-') {
        return wrong(format!(
            "a name has 1 to {MAX_NAME} of the characters a-z, 0-9 and -, and begins with no -"
        ));
    }
    if RESERVED.contains(&text) {
        return wrong(format!("`{text}` names something else already; take another name"));
    }
    Ok(text.to_owned())
}

/// A list of filters of the same language as `export-allowlist`, each a map.
fn filters(fields: &mut Fields<'_>, name: &'static str, offered: &Offered) -> Vec<Filter> {
    let mut list = Vec::new();
    for (index, (node, at)) in fields.list(name).into_iter().enumerate() {
        if index >= MAX_FILTERS {
            fields.report.error(&at, format!("more than {MAX_FILTERS} filters"));
            break;
        }
        if !matches!(node.content, Content::Map(_)) {
            let message = format!("expected a filter, not {}", node.describe());
            fields.report.error_hint(
                &at,
                message,
                "write it as a map, such as `- event_set: [PROCESS_EXEC]`",
            );
            continue;
        }
        let parsed = parse_filters(&json(node).to_string())
            .and_then(|filters| Filters::compile(&filters, &[], offered).map(|_| filters));
        match parsed {
            Ok(filters) => list.extend(filters),
            Err(FilterError::Text { reason, .. }) => fields.report.error(&at, reason),
            Err(error) => {
                let text = error.to_string();
                let message = text.strip_prefix("allow_list[0].").unwrap_or(&text);
                fields.report.error(&at, message);
            }
        }
    }
    list
}

/// Which fields of events are told, as `field-filters` of the agent has them, each a map.
fn field_filters(fields: &mut Fields<'_>) -> FieldFilters {
    let mut list = Vec::new();
    for (node, at) in fields.list("field-filters") {
        let parsed = parse_field_filters(&json(node).to_string())
            .and_then(|masks| FieldFilters::compile(&masks).map(|_| masks));
        match parsed {
            Ok(masks) => list.extend(masks),
            Err(FilterError::Text { reason, .. }) => fields.report.error(&at, reason),
            Err(error) => fields.report.error(&at, error.to_string()),
        }
    }
    // Each was compiled by itself before.
    FieldFilters::compile(&list).unwrap_or_default()
}

/// How equal events are folded; without a window they are not.
fn aggregation(fields: &mut Fields<'_>) -> Option<Aggregation> {
    const WINDOW: &str = "aggregation-window-size";
    let most = fields.value("aggregation-buffer-size", |text| value::number(text, 1, 1 << 20));
    let window = fields.value(WINDOW, value::duration)?;
    if window.is_zero() {
        fields.wrong(WINDOW, "a window needs some time, such as `15s`");
        return None;
    }
    let most = most.and_then(|most| u64::try_from(most).ok()).unwrap_or(0);
    Aggregation::new(window, most).map_err(|why| fields.wrong(WINDOW, why)).ok()
}

/// A node as JSON: what is written without quotes may be a number or a switch.
fn json(node: &Node) -> Value {
    match &node.content {
        Content::Scalar { text, plain: true } => match text.as_str() {
            _ if node.is_null() => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        },
        Content::Scalar { text, .. } => Value::from(text.as_str()),
        Content::List(items) => items.iter().map(json).collect(),
        Content::Map(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), json(node))).collect())
        }
    }
}

#[cfg(test)]
mod tests;

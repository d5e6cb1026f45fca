//! `saker explain`: fields of policies, as the definition of the language has them.

use std::fmt::Write;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::output::{self, Data, Usage};
use crate::screen::ScreenArgs;

/// Names of the kinds, as Kubernetes and Tetragon have them.
const KINDS: [(&str, &[&str]); 2] = [
    ("TracingPolicy", &["tracingpolicy", "tracingpolicies", "tp"]),
    ("TracingPolicyNamespaced", &["tracingpolicynamespaced", "tracingpoliciesnamespaced", "tpn"]),
];
const VERSION: &str = "cilium.io/v1alpha1";
/// Levels that --recursive shows; deeper ones only repeat.
const LEVELS: usize = 12;

/// Arguments of `saker explain`.
#[derive(Args)]
#[command(after_help = "\
`saker policy explain` says what a policy asks for; this says what fields there are.

Exit status: 0 it is explained; 2 there is no such field, or another mistake in the command line")]
pub struct ExplainArgs {
    /// Kind of resource with the way to a field, e.g. tracingpolicy.spec.kprobes
    #[arg(required_unless_present = "list")]
    path: Option<String>,
    /// All fields below too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// List the kinds of resources
    #[arg(long, conflicts_with = "path")]
    list: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    screen: ScreenArgs,
}

/// Explains.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let Some(path) = args.path.as_ref().filter(|_| !args.list) else {
        let kinds = KINDS.map(|(kind, names)| (kind, names.join(", ")));
        return output::print(&match args.output {
            Data::Json => {
                format!("{}\n", json!(kinds.map(|(kind, _)| json!({"kind": kind, "version": VERSION}))))
            }
            Data::Table => kinds.iter().map(|(kind, names)| format!("{kind} ({names})\n")).collect(),
        });
    };
    let schema = saker_policy::schema();
    let found = find(&schema, path).map_err(Usage::of)?;
    match args.output {
        Data::Json => output::print(&format!("{:#}\n", found.json())),
        Data::Table => args.screen.show(&found.text(args.recursive)),
    }
}

/// A field.
struct Found<'a> {
    schema: &'a Value,
    kind: &'static str,
    path: Vec<String>,
    field: &'a Value,
}

/// The field at the end of a way.
fn find<'a>(schema: &'a Value, path: &str) -> Result<Found<'a>> {
    let mut parts = path.split('.').filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let Some((kind, _)) = KINDS.iter().find(|(_, names)| names.contains(&lower.as_str())) else {
        bail!("there is no kind of resource `{name}`: see --list");
    };
    let (mut field, mut way) = (schema, Vec::new());
    for part in parts {
        let fields = fields(schema, field);
        let known = fields.iter().flat_map(|fields| fields.iter());
        let Some((name, next)) = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(part)) else {
            let names: Vec<&str> =
                fields.map(|fields| fields.keys().map(String::as_str).collect()).unwrap_or_default();
            let place = if way.is_empty() { (*kind).to_owned() } else { way.join(".") };
            match names.is_empty() {
                true => bail!("{place} has no fields, and so no `{part}`"),
                false => bail!("{place} has no field `{part}`; it has {}", names.join(", ")),
            }
        };
        way.push(name.clone());
        field = next;
    }
    Ok(Found { schema, kind, path: way, field })
}

/// What a reference stands for.
fn resolved<'a>(schema: &'a Value, of: &'a Value) -> &'a Value {
    let target = of.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    target.and_then(|target| schema.pointer(target)).unwrap_or(of)
}

/// What is in it, through lists and maps.
fn inner<'a>(schema: &'a Value, of: &'a Value) -> &'a Value {
    let mut at = resolved(schema, of);
    while let Some(next) =
        at.get("items").or_else(|| at.get("additionalProperties")).filter(|next| next.is_object())
    {
        at = resolved(schema, next);
    }
    at
}

fn fields<'a>(schema: &'a Value, of: &'a Value) -> Option<&'a Map<String, Value>> {
    inner(schema, of).get("properties").and_then(Value::as_object)
}

fn kind_of(schema: &Value, of: &Value) -> String {
    let at = resolved(schema, of);
    if let Some(items) = at.get("items") {
        return format!("[]{}", kind_of(schema, items));
    }
    if let Some(values) = at.get("additionalProperties").filter(|values| values.is_object()) {
        return format!("map[string]{}", kind_of(schema, values));
    }
    match at.get("type") {
        Some(Value::String(name)) if name == "object" => "Object".to_owned(),
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(_)) => "string".to_owned(),
        _ if at.get("enum").is_some() => "enum".to_owned(),
        _ => "any".to_owned(),
    }
}

fn description(of: &Value) -> &str {
    of.get("description").and_then(Value::as_str).unwrap_or_default().trim()
}

fn words<'a>(schema: &'a Value, of: &'a Value) -> Vec<&'a str> {
    let words = inner(schema, of).get("enum").and_then(Value::as_array);
    words.into_iter().flatten().filter_map(Value::as_str).collect()
}

impl Found<'_> {
    fn is_required(&self, object: &Value, name: &str) -> bool {
        let required = inner(self.schema, object).get("required").and_then(Value::as_array);
        required.into_iter().flatten().any(|one| one == name)
    }

    fn text(&self, recursive: bool) -> String {
        let mut text = format!("KIND:     {}\nVERSION:  {VERSION}\n", self.kind);
        if !self.path.is_empty() {
            // Writing to a string cannot fail.
            let _ =
                writeln!(text, "FIELD:    {} <{}>", self.path.join("."), kind_of(self.schema, self.field));
        }
        let told = description(self.field);
        let object = description(inner(self.schema, self.field));
        for about in [told, object].iter().filter(|about| !about.is_empty()) {
            let _ = writeln!(text, "\n{about}");
        }
        let all = words(self.schema, self.field);
        if !all.is_empty() {
            let _ = writeln!(text, "\nVALUES:   {}", all.join(", "));
        }
        if fields(self.schema, self.field).is_some() {
            text.push_str("\nFIELDS:\n");
            self.list(self.field, 1, recursive, &mut text);
        }
        text
    }

    fn list(&self, of: &Value, level: usize, recursive: bool, text: &mut String) {
        let margin = "  ".repeat(level);
        for (name, field) in fields(self.schema, of).into_iter().flatten() {
            let mark = if self.is_required(of, name) { " -required-" } else { "" };
            let _ = writeln!(text, "{margin}{name} <{}>{mark}", kind_of(self.schema, field));
            if recursive && level < LEVELS {
                self.list(field, level + 1, recursive, text);
            } else if !recursive && !description(field).is_empty() {
                let _ = writeln!(text, "{margin}  {}\n", description(field));
            }
        }
    }

    fn json(&self) -> Value {
        let fields = fields(self.schema, self.field).into_iter().flatten().map(|(name, field)| {
            json!({
                "name": name, "type": kind_of(self.schema, field), "description": description(field),
                "required": self.is_required(self.field, name), "values": words(self.schema, field),
            })
        });
        json!({
            "kind": self.kind, "version": VERSION, "field": self.path.join("."),
            "type": kind_of(self.schema, self.field), "description": description(self.field),
            "values": words(self.schema, self.field), "fields": fields.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_through_lists() {
        let schema = saker_policy::schema();
        let text = find(&schema, "tracingpolicy.spec.kprobes.selectors").unwrap().text(false);
        assert!(text.contains("FIELD:    spec.kprobes.selectors <[]Object>"), "{text}");
        assert!(text.contains("matchBinaries <[]Object>"), "{text}");
        let text = find(&schema, "tp.SPEC.kprobes.call").unwrap().text(false);
        assert!(text.contains("FIELD:    spec.kprobes.call <string>"), "{text}");
        let value = find(&schema, "tracingpolicies.spec.kprobes").unwrap().json();
        let call = value["fields"].as_array().unwrap().iter().find(|field| field["name"] == "call").unwrap();
        assert_eq!(call["type"], "string");
        let all = find(&schema, "tpn").unwrap().text(true);
        assert!(all.contains("matchArgs <[]Object>") && all.len() < 1_000_000, "{}", all.len());
    }

    #[test]
    fn mistakes_name_what_there_is() {
        let schema = saker_policy::schema();
        let told = |path: &str| find(&schema, path).err().unwrap().to_string();
        assert!(told("pod").contains("no kind of resource `pod`"));
        assert!(told("tp.spec.kprobe").contains("kprobes"), "{}", told("tp.spec.kprobe"));
        assert!(told("tp.spec.kprobes.call.x").contains("no fields"));
    }
}

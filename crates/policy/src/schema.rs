//! The JSON schema and the reference page, made from the definition of the fields.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::check::{operator_types, takes_no_values};
use crate::language::{
    FieldDef, MAX_ACTIONS, MAX_FILTERS, MAX_SELECTORS, MAX_STEPS, MAX_TAG, MAX_TAGS, MAX_TEXT, MAX_VALUE,
    MAX_VALUES, ObjectDef, Shape, UNLIMITED, policy::POLICY, reachable, scenario::SCENARIO,
};
use crate::values::MAX_CEL_DEPTH;
use crate::words::{ArgType, BinaryOperator, Operator, Word};
use crate::yaml::{MAX_ALIASED, MAX_BYTES, MAX_DEPTH, MAX_NODES};

/// The JSON schema of policies.
#[must_use]
pub fn schema() -> Value {
    document("Saker policy", &POLICY)
}

/// The JSON schema of the files of `saker policy test`.
#[must_use]
pub fn test_schema() -> Value {
    document("Saker policy test", &SCENARIO)
}

fn document(title: &str, root: &'static ObjectDef) -> Value {
    let objects = reachable(root);
    let definitions: Map<String, Value> =
        objects.iter().map(|object| (object.name.to_owned(), object_schema(object))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$ref": format!("#/$defs/{}", root.name),
        "$defs": definitions,
    })
}

fn object_schema(object: &ObjectDef) -> Value {
    let properties: Map<String, Value> =
        object.fields.iter().map(|field| (field.name.to_owned(), field_schema(field))).collect();
    let required: Vec<&str> =
        object.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": object.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn field_schema(field: &FieldDef) -> Value {
    let mut schema = shape_schema(&field.shape);
    let default =
        if field.default.is_empty() { String::new() } else { format!(" (default: {})", field.default) };
    // Beside a reference other keywords are allowed since draft 2019-09.
    schema["description"] = json!(format!("{}{default}", field.doc));
    schema
}

fn shape_schema(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": ["string", "number", "boolean"]}),
        Shape::Bool => json!({"type": "boolean"}),
        // Numbers beyond 64 bits do not occur; JSON has them as they are.
        Shape::Integer(min, max) => {
            let bound =
                |value: &i128| json!(i64::try_from(*value).map_or_else(|_| json!(u64::MAX), |v| json!(v)));
            json!({"type": "integer", "minimum": bound(min), "maximum": bound(max)})
        }
        Shape::Choice(words) => {
            let names: Vec<&str> = words
                .iter()
                .flat_map(|word| std::iter::once(word.name).chain(word.also.iter().copied()))
                .collect();
            json!({"enum": names})
        }
        Shape::Object(object) => json!({"$ref": format!("#/$defs/{}", object.name)}),
        Shape::List(inner, most) => {
            let mut schema = json!({"type": ["array", "null"], "items": shape_schema(inner)});
            if *most != UNLIMITED {
                schema["maxItems"] = json!(most);
            }
            schema
        }
        Shape::Map(inner) => json!({"type": ["object", "null"], "additionalProperties": shape_schema(inner)}),
        Shape::Value | Shape::Any => json!({}),
    }
}

const INTRODUCTION: &str = "\
# Policy reference

<!-- Written by `saker policy reference`; change crates/policy/src/language/ and words/ instead. -->

Every field of a policy, made from the table that the parser uses. [policies.md](policies.md) is the guide, and
[adr/0007-policy-quirks.md](adr/0007-policy-quirks.md) tells where Saker reads a policy otherwise than Tetragon.

`saker policy schema` prints the same as a JSON schema for editors.

Names of fields and words are found whatever the case of their letters; another case than here is warned of. A field that
is not in these tables is an error.

";

/// The reference page.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    limits(&mut text);
    text.push_str("## Objects\n\n");
    for object in reachable(&POLICY) {
        object_page(&mut text, object);
    }
    text.push_str("## Types\n\nOperators look at what is in the third column.\n\n");
    text.push_str("| type | value | operators see |\n|---|---|---|\n");
    for ty in ArgType::ALL {
        let word = &ArgType::WORDS[*ty as usize];
        let _ = writeln!(text, "| {} | {} | {} |", spellings(word), word.doc.trim(), ty.group().name());
    }
    operators(&mut text);
    text.push_str("\n## Test files\n\nFiles of `saker policy test`.\n\n");
    for object in reachable(&SCENARIO) {
        object_page(&mut text, object);
    }
    text.push_str(crate::scenario::VALUES_DOC);
    text
}

fn limits(text: &mut String) {
    text.push_str("## Limits\n\n| what | limit |\n|---|---|\n");
    let rows = [
        ("size of a file", format!("{} MiB", MAX_BYTES >> 20)),
        ("levels of nesting", MAX_DEPTH.to_string()),
        (
            "values in a file; of these by YAML aliases; put into selectors by macros",
            format!("{MAX_NODES}; {MAX_ALIASED}; {MAX_NODES}"),
        ),
        ("selectors of a hook", MAX_SELECTORS.to_string()),
        ("captured values of a hook (`args` and `data`)", MAX_VALUES.to_string()),
        ("entries of each `match…` list of a selector", MAX_FILTERS.to_string()),
        ("values of an operator", "none but the size of the file".into()),
        ("bytes of a path, prefix, ending, pattern, text or expression", MAX_VALUE.to_string()),
        ("nesting of an expression", MAX_CEL_DEPTH.to_string()),
        ("steps of `resolve`", MAX_STEPS.to_string()),
        ("actions of a selector, on each side", MAX_ACTIONS.to_string()),
        ("tags of a hook; bytes of a tag", format!("{MAX_TAGS}; {MAX_TAG}")),
        ("bytes of a message or label", MAX_TEXT.to_string()),
        ("enforcers", "1".into()),
    ];
    for (what, limit) in rows {
        let _ = writeln!(text, "| {what} | {limit} |");
    }
    text.push('\n');
}

fn object_page(text: &mut String, object: &ObjectDef) {
    let _ = writeln!(text, "### {}\n\n{}\n", object.name, object.doc);
    text.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
    for field in object.fields {
        let default = if field.required { "required" } else { field.default };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} |",
            field.name,
            shape_name(&field.shape),
            field.doc.replace('|', "\\|")
        );
    }
    text.push('\n');
    for field in object.fields {
        let mut shape = &field.shape;
        while let Shape::List(inner, _) | Shape::Map(inner) = shape {
            shape = inner;
        }
        // The long sets have sections of their own.
        if let Shape::Choice(words) = shape
            && !matches!(field.name, "type" | "operator" if words.len() > 8)
        {
            let _ = writeln!(text, "Words of `{}`:\n", field.name);
            for word in words.iter().filter(|word| !word.name.is_empty()) {
                let _ = writeln!(text, "- {}: {}", spellings(word), word.doc.trim());
            }
            text.push('\n');
        }
    }
}

fn shape_name(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".into(),
        Shape::Bool => "switch".into(),
        Shape::Integer(..) => "number".into(),
        Shape::Choice(_) => "word".into(),
        Shape::Object(object) => format!("[{}](#{})", object.name, object.name.to_lowercase()),
        Shape::List(inner, most) if *most == UNLIMITED => format!("list of {}", shape_name(inner)),
        Shape::List(inner, most) => format!("list of {}, at most {most}", shape_name(inner)),
        Shape::Map(inner) => format!("map to {}", shape_name(inner)),
        Shape::Value => "[value](#values)".into(),
        Shape::Any => "anything".into(),
    }
}

fn spellings(word: &Word) -> String {
    let all = std::iter::once(word.name).chain(word.also.iter().copied());
    all.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn operators(text: &mut String) {
    text.push_str("\n## Operators on captured values\n\n");
    text.push_str("Values of one operator are alternatives; of a negated one none may fit.\n\n");
    text.push_str("| operator | holds when | types |\n|---|---|---|\n");
    for operator in Operator::ALL {
        let word = &Operator::WORDS[*operator as usize];
        let types: Vec<String> = operator_types(*operator).iter().map(|ty| format!("`{ty}`")).collect();
        let values = if takes_no_values(*operator) { "; takes no values" } else { "" };
        let _ = writeln!(text, "| {} | {}{values} | {} |", spellings(word), word.doc.trim(), types.join(" "));
    }
    text.push_str("\n## Operators on programs\n\n| operator | holds when |\n|---|---|\n");
    for word in BinaryOperator::WORDS {
        let _ = writeln!(text, "| {} | {} |", spellings(word), word.doc.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_has_every_field_and_word() {
        let schema = schema();
        for object in reachable(&POLICY) {
            let properties = &schema["$defs"][object.name]["properties"];
            for field in object.fields {
                assert!(properties[field.name].is_object(), "{}.{}", object.name, field.name);
            }
        }
        let operators =
            schema["$defs"]["ArgumentFilter"]["properties"]["operator"]["enum"].as_array().unwrap();
        for word in ["Equal", "GT", "GreaterThan", "NotSportPriv", "NotGlob"] {
            assert!(operators.iter().any(|other| other == word), "{word}");
        }
        let selectors = &schema["$defs"]["FunctionHook"]["properties"]["selectors"];
        assert_eq!(selectors["maxItems"], 64);
        assert_eq!(schema["$defs"]["FunctionHook"]["required"], json!(["call"]));
    }

    #[test]
    fn all_references_resolve() {
        fn walk(value: &Value, definitions: &Value, found: &mut usize) {
            match value {
                Value::Object(map) => {
                    if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                        let name = target.strip_prefix("#/$defs/").unwrap();
                        assert!(definitions[name].is_object(), "{target}");
                        *found += 1;
                    }
                    map.values().for_each(|value| walk(value, definitions, found));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, definitions, found)),
                _ => {}
            }
        }
        for schema in [schema(), test_schema()] {
            let mut found = 0;
            walk(&schema, &schema["$defs"], &mut found);
            assert!(found > 5);
        }
    }

    #[test]
    fn committed_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy-reference.md");
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == reference(),
            "run: cargo run -p saker -- policy reference > docs/policy-reference.md"
        );
    }
}

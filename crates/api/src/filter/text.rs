//! Filters as text, as options of the agent and of clients have them: JSON objects one after another.

use prost_reflect::{DeserializeOptions, DynamicMessage};
use serde_json::{Deserializer, Value};

use super::FilterError;
use crate::descriptors::Described;
use crate::tetragon::{EventType, FieldFilter, FieldFilterAction, Filter, RedactionFilter};

/// Reads a list of filters, e.g. `{"event_set":["PROCESS_EXEC"]} {"pid":[1]}`; field names in snake_case or
/// camelCase, enums by name or number.
///
/// # Errors
/// [`FilterError::Text`] with line and column of the first mistake, an unknown field being one.
pub fn parse_filters(text: &str) -> Result<Vec<Filter>, FilterError> {
    objects("filter", text)
}

/// Reads a list of redaction filters, e.g. `{"redact":["--password[= ](\\S+)"],"binary_regex":["/mysql$"]}`.
///
/// # Errors
/// [`FilterError::Text`] with line and column of the first mistake, an unknown field being one.
pub fn parse_redaction_filters(text: &str) -> Result<Vec<RedactionFilter>, FilterError> {
    objects("redaction filter", text)
}

/// Messages in their JSON form, one after another.
fn objects<M: Described>(what: &'static str, text: &str) -> Result<Vec<M>, FilterError> {
    let mut json = Deserializer::from_str(text);
    let mut filters = Vec::new();
    while json.end().is_err() {
        let refusal = |error: &serde_json::Error| refusal(what, filters.len() + 1, error);
        let options = DeserializeOptions::new().deny_unknown_fields(true);
        let dynamic = DynamicMessage::deserialize_with_options(M::descriptor(), &mut json, &options)
            .map_err(|error| refusal(&error))?;
        filters.extend(M::from_dynamic(&dynamic));
    }
    Ok(filters)
}

/// Reads a list of field filters, e.g. `{"fields":"process.binary,parent","action":"EXCLUDE"}`.
///
/// # Errors
/// [`FilterError::Text`] with line and column of the first mistake, an unknown field being one.
pub fn parse_field_filters(text: &str) -> Result<Vec<FieldFilter>, FilterError> {
    let mut objects = Deserializer::from_str(text).into_iter::<Value>();
    let mut filters = Vec::new();
    while let Some(object) = objects.next() {
        let index = filters.len() + 1;
        let object = object.map_err(|error| refusal("field filter", index, &error))?;
        let filter = field_filter(&object).map_err(|reason| {
            let (line, column) = position(text, objects.byte_offset());
            FilterError::Text { what: "field filter", index, line, column, reason }
        })?;
        filters.push(filter);
    }
    Ok(filters)
}

fn refusal(what: &'static str, index: usize, error: &serde_json::Error) -> FilterError {
    // The message repeats the position, which has fields of its own here.
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    FilterError::Text { what, index, line: error.line().max(1), column: error.column().max(1), reason }
}

/// Line and column, from 1, of a byte of the text.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count().max(1))
}

/// Paths are as the fields are called, so the canonical JSON form of a field mask, which wants them in
/// camelCase, does not serve.
fn field_filter(object: &Value) -> Result<FieldFilter, String> {
    let Value::Object(object) = object else { return Err("a JSON object is expected".to_owned()) };
    let mut filter = FieldFilter::default();
    for (name, value) in object {
        match name.as_str() {
            "event_set" | "eventSet" => {
                let values = value.as_array().ok_or("event_set must be a list")?;
                filter.event_set = values.iter().map(event_type).collect::<Result<_, _>>()?;
            }
            "fields" => {
                let paths = value.as_str().ok_or("fields must be one string of paths with commas between")?;
                let paths = paths.split(',').map(|path| path.trim().to_owned());
                let paths = paths.filter(|path| !path.is_empty()).collect();
                filter.fields = Some(prost_types::FieldMask { paths });
            }
            "action" => {
                let known = value.as_str().and_then(FieldFilterAction::from_str_name);
                filter.action = known.ok_or("action must be INCLUDE or EXCLUDE")?.into();
            }
            "invert_event_set" | "invertEventSet" => {
                filter.invert_event_set =
                    Some(value.as_bool().ok_or("invert_event_set must be true or false")?);
            }
            other => return Err(format!("a field filter has no field {other:?}")),
        }
    }
    Ok(filter)
}

fn event_type(value: &Value) -> Result<i32, String> {
    value
        .as_str()
        .and_then(EventType::from_str_name)
        .map(i32::from)
        .or_else(|| value.as_i64().and_then(|number| number.try_into().ok()))
        .ok_or_else(|| format!("{value} is not an event type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_stand_one_after_another() {
        let text = "{\"event_set\":[\"PROCESS_EXEC\",5]}\n{\"healthCheck\":true,\"pid\":[1]} {}";
        let filters = parse_filters(text).unwrap();
        assert_eq!(filters.len(), 3);
        assert_eq!(filters[0].event_set, [1, 5]);
        assert_eq!((filters[1].health_check, filters[1].pid.as_slice()), (Some(true), [1].as_slice()));
        assert_eq!(filters[2], Filter::default());
        assert_eq!(parse_filters(" \n ").unwrap(), []);
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        for (text, index, line) in [
            ("{\"pid\":[1]}\n{\"pidd\":[1]}", 2, 2),
            ("{\"event_set\":[\"PROCESS\"]}", 1, 1),
            ("{\"pid\":[1]", 1, 1),
            ("{},\n{}", 2, 1),
            ("x", 1, 1),
            ("[{}]", 1, 1),
        ] {
            match parse_filters(text) {
                Err(FilterError::Text { index: i, line: l, column, .. }) => {
                    assert_eq!((i, l), (index, line), "{text:?}");
                    assert!(column > 0);
                }
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn field_filters_have_paths_in_one_string() {
        let text = "{\"fields\":\"process.exec_id, parent\",\"action\":\"EXCLUDE\",\"invert_event_set\":true,\
                    \"event_set\":[\"PROCESS_EXIT\"]}";
        let filters = parse_field_filters(text).unwrap();
        assert_eq!(filters[0].fields.as_ref().unwrap().paths, ["process.exec_id", "parent"]);
        assert_eq!((filters[0].action, filters[0].invert_event_set), (1, Some(true)));
        let error = parse_field_filters("{}\n{\"action\":\"DROP\"}").unwrap_err().to_string();
        assert_eq!(error, "field filter number 2, line 2, column 17: action must be INCLUDE or EXCLUDE");
    }
}

//! A document against the definition of its fields: names, types, words, ranges.
//!
//! What does not fit is reported and left out, so that what comes after sees only values of the right type.

use std::collections::HashSet;

use crate::diagnostic::{At, Report, Span, Spanned};
use crate::language::{FieldDef, ObjectDef, Shape, UNLIMITED};
use crate::words::{Word, nearest};
use crate::yaml::{Content, Key, Node, shorten};

/// A value that has the shape its field asks for.
pub(crate) struct Item {
    pub(crate) at: At,
    pub(crate) value: Value,
}

/// What it holds.
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Integer(i128),
    Object(Record),
    List(Vec<Item>),
    Map(Vec<(Key, Item)>),
    /// A value whose form depends on what it describes.
    Node(Node),
}

/// An object's fields, by their canonical names.
pub(crate) struct Record {
    pub(crate) at: At,
    def: &'static ObjectDef,
    fields: Vec<(&'static str, Item)>,
    /// Fields that were given, but wrong.
    broken: Vec<&'static str>,
}

impl Record {
    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&Item> {
        debug_assert!(self.def.field(name).is_some(), "{} has no {name}", self.def.name);
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, item)| item)
    }

    /// Whether the field was given, right or wrong.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.get(name).is_some() || self.broken.contains(&name)
    }

    /// Place of a field, or of the object.
    pub(crate) fn at(&self, name: &str) -> At {
        self.get(name).map_or_else(|| self.at.clone(), |item| item.at.clone())
    }

    /// A text; none also when it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<Spanned<String>> {
        self.any_text(name).filter(|text| !text.value.is_empty())
    }

    /// A text.
    pub(crate) fn any_text(&self, name: &str) -> Option<Spanned<String>> {
        self.get(name)?.text()
    }

    /// A switch; off when it is not given.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Item { value: Value::Bool(true), .. }))
    }

    /// A switch that was given.
    pub(crate) fn given_flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.value {
            Value::Bool(on) => Some(on),
            _ => None,
        }
    }

    /// A number that was given and fits.
    pub(crate) fn integer<T: TryFrom<i128>>(&self, name: &str) -> Option<T> {
        self.get(name)?.integer()
    }

    /// The elements of a list; none when it is not given.
    pub(crate) fn list(&self, name: &str) -> &[Item] {
        match self.get(name) {
            Some(Item { value: Value::List(items), .. }) => items,
            _ => &[],
        }
    }

    /// The entries of a map; none when it is not given.
    pub(crate) fn map(&self, name: &str) -> &[(Key, Item)] {
        match self.get(name) {
            Some(Item { value: Value::Map(entries), .. }) => entries,
            _ => &[],
        }
    }

    /// An object.
    pub(crate) fn record(&self, name: &str) -> Option<&Record> {
        self.get(name)?.record()
    }

    /// The objects of a list.
    pub(crate) fn records(&self, name: &str) -> impl Iterator<Item = &Record> {
        self.list(name).iter().filter_map(Item::record)
    }

    /// The objects of a list, taken out.
    pub(crate) fn into_records(self, name: &str) -> Vec<Record> {
        let item = self.fields.into_iter().find(|(field, _)| *field == name).map(|(_, item)| item.value);
        let Some(Value::List(items)) = item else { return Vec::new() };
        let record = |item: Item| match item.value {
            Value::Object(record) => Some(record),
            _ => None,
        };
        items.into_iter().filter_map(record).collect()
    }

    /// How many values it holds, all levels together.
    pub(crate) fn weight(&self) -> usize {
        self.fields.iter().map(|(_, item)| item.weight()).sum()
    }

    /// Names of the fields that were given and fit.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|(name, _)| *name)
    }
}

impl Item {
    pub(crate) fn text(&self) -> Option<Spanned<String>> {
        match &self.value {
            Value::Text(text) => Some(Spanned { value: text.clone(), span: self.at.span }),
            _ => None,
        }
    }

    pub(crate) fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        match self.value {
            Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        match &self.value {
            Value::Object(record) => Some(record),
            _ => None,
        }
    }

    fn weight(&self) -> usize {
        1 + match &self.value {
            Value::Object(record) => record.weight(),
            Value::List(items) => items.iter().map(Item::weight).sum(),
            Value::Map(entries) => entries.iter().map(|(_, item)| item.weight()).sum(),
            Value::Text(_) | Value::Bool(_) | Value::Integer(_) | Value::Node(_) => 0,
        }
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        match &self.value {
            Value::Node(node) => Some(node),
            _ => None,
        }
    }
}

/// A node as an object, when it is a map.
pub(crate) fn object(node: Node, def: &'static ObjectDef, at: At, report: &mut Report) -> Option<Record> {
    let Content::Map(entries) = node.content else {
        report.error_hint(&at, format!("expected a map, found {}", node.describe()), fields_hint(def));
        return None;
    };
    let mut record = Record { at, def, fields: Vec::new(), broken: Vec::new() };
    for (key, node) in entries {
        entry(&mut record, &key, node, report);
    }
    for field in def.fields.iter().filter(|field| field.required) {
        if !record.given(field.name) {
            let message = format!("`{}` is missing", field.name);
            report.error_hint(&record.at, message, format!("it gives {}", field.doc));
        }
    }
    Some(record)
}

fn entry(record: &mut Record, key: &Key, node: Node, report: &mut Report) {
    let place = |name: &str| At { span: key.span, path: record.at.path.field(name) };
    let Some((field, exact)) = record.def.field(&key.text) else {
        if report.is_full() {
            report.error(&record.at, "");
            return;
        }
        let message = format!("{} has no field `{}`", article(record.def), shorten(&key.text));
        let names = record.def.fields.iter().map(|field| field.name);
        let hint = match nearest(&key.text, names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => fields_hint(record.def),
        };
        report.error_hint(&place(&shorten(&key.text)), message, hint);
        return;
    };
    let name = field.name;
    if !exact {
        let message = format!("`{}` is written `{name}`", key.text);
        report.warning(
            &place(name),
            message,
            "the case of letters is not looked at here, but other tools do",
        );
    }
    if record.given(name) {
        report.error(&place(name), format!("`{name}` is set twice"));
        return;
    }
    if node.is_null() && !matches!(field.shape, Shape::Value) {
        return;
    }
    let path = record.at.path.field(name);
    match item(node, field, &field.shape, path, report) {
        Some(item) => record.fields.push((name, item)),
        None => record.broken.push(name),
    }
}

fn article(def: &ObjectDef) -> String {
    format!("{} ({})", def.name, def.doc.split(['.', '(']).next().unwrap_or("").trim())
}

fn fields_hint(def: &ObjectDef) -> String {
    let names: Vec<_> = def.fields.iter().map(|field| field.name).collect();
    format!("the fields are {}", names.join(", "))
}

fn item(
    node: Node,
    field: &FieldDef,
    shape: &'static Shape,
    path: crate::diagnostic::Path,
    report: &mut Report,
) -> Option<Item> {
    let at = At { span: node.span, path };
    let value = match shape {
        Shape::Text => Value::Text(text(node, field, &at, report)?),
        Shape::Bool => Value::Bool(switch(&node, &at, report)?),
        Shape::Integer(min, max) => Value::Integer(integer(&node, *min, *max, &at, report)?),
        Shape::Choice(words) => Value::Text(choice(&node, words, &at, report)?.to_owned()),
        Shape::Object(def) => Value::Object(object(node, def, at.clone(), report)?),
        Shape::List(inner, most) => Value::List(list(node, field, inner, *most, &at, report)?),
        Shape::Map(inner) => Value::Map(map(node, field, inner, &at, report)?),
        Shape::Value | Shape::Any => Value::Node(node),
    };
    Some(Item { at, value })
}

fn text(node: Node, field: &FieldDef, at: &At, report: &mut Report) -> Option<String> {
    let described = node.describe();
    match node.content {
        Content::Scalar { text, plain } if !(plain && matches!(text.as_str(), "" | "~" | "null")) => {
            Some(text)
        }
        _ => {
            report.error_hint(
                at,
                format!("expected text, found {described}"),
                format!("it is {}", field.doc),
            );
            None
        }
    }
}

fn switch(node: &Node, at: &At, report: &mut Report) -> Option<bool> {
    let message = || format!("expected `true` or `false`, found {}", node.describe());
    let Content::Scalar { text, plain } = &node.content else {
        report.error(at, message());
        return None;
    };
    let word = text.to_ascii_lowercase();
    match (word.as_str(), plain) {
        ("true", true) => return Some(true),
        ("false", true) => return Some(false),
        ("true" | "false", false) => report.error_hint(at, message(), "leave the quotes away"),
        ("yes" | "on" | "y", _) => report.error_hint(at, message(), "write `true`"),
        ("no" | "off" | "n", _) => report.error_hint(at, message(), "write `false`"),
        _ => report.error(at, message()),
    }
    None
}

fn integer(node: &Node, min: i128, max: i128, at: &At, report: &mut Report) -> Option<i128> {
    let message = || format!("expected a whole number, found {}", node.describe());
    let Content::Scalar { text, plain } = &node.content else {
        report.error(at, message());
        return None;
    };
    let Ok(number) = crate::values::number(text) else {
        report.error(at, message());
        return None;
    };
    if !plain {
        report.error_hint(at, message(), "leave the quotes away");
        return None;
    }
    if number < min || number > max {
        report.error(at, format!("{number} is out of range: {min} to {max}"));
        return None;
    }
    Some(number)
}

fn choice(node: &Node, words: &'static [Word], at: &At, report: &mut Report) -> Option<&'static str> {
    let Content::Scalar { text, .. } = &node.content else {
        report.error_hint(at, format!("expected a word, found {}", node.describe()), words_hint(words));
        return None;
    };
    if let Some(word) = words.iter().find(|word| word.exact(text)) {
        return Some(word.name);
    }
    if let Some(word) = words.iter().find(|word| word.loose(text)) {
        report.warning(at, format!("`{text}` is written `{}`", word.name), "other tools may refuse it");
        return Some(word.name);
    }
    if report.is_full() {
        report.error(at, "");
        return None;
    }
    let all = || words.iter().flat_map(|word| std::iter::once(word.name).chain(word.also.iter().copied()));
    let hint = match nearest(text, all().filter(|word| !word.is_empty())) {
        Some(word) => format!("did you mean `{word}`?"),
        None => words_hint(words),
    };
    report.error_hint(at, format!("`{}` is not one of the words that may stand here", shorten(text)), hint);
    None
}

fn words_hint(words: &[Word]) -> String {
    let names: Vec<_> = words.iter().map(|word| word.name).filter(|name| !name.is_empty()).collect();
    format!("one of {}", names.join(", "))
}

fn list(
    node: Node,
    field: &FieldDef,
    inner: &'static Shape,
    most: usize,
    at: &At,
    report: &mut Report,
) -> Option<Vec<Item>> {
    let Content::List(nodes) = node.content else {
        let message = format!("expected a list, found {}", node.describe());
        report.error_hint(at, message, "begin each element with `- `");
        return None;
    };
    if most != UNLIMITED && nodes.len() > most {
        report.error(at, format!("`{}` has {} elements, {most} are allowed", field.name, nodes.len()));
    }
    let element = |(index, node): (usize, Node)| {
        let path = at.path.index(index);
        item(node, field, inner, path, report)
    };
    Some(nodes.into_iter().take(most).enumerate().filter_map(element).collect())
}

fn map(
    node: Node,
    field: &FieldDef,
    inner: &'static Shape,
    at: &At,
    report: &mut Report,
) -> Option<Vec<(Key, Item)>> {
    let Content::Map(entries) = node.content else {
        report.error(at, format!("expected a map, found {}", node.describe()));
        return None;
    };
    let mut items = Vec::new();
    let mut seen = HashSet::new();
    for (key, node) in entries {
        let path = at.path.field(&shorten(&key.text));
        if !seen.insert(key.text.clone()) {
            continue;
        }
        if let Some(item) = item(node, field, inner, path, report) {
            items.push((key, item));
        }
    }
    Some(items)
}

/// A place without a path, of a whole document.
pub(crate) fn document(span: Span) -> At {
    At { span, ..At::default() }
}

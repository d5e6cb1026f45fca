//! The one definition of every field: the parser, the JSON schema and the reference page are made from it.

pub(crate) mod hooks;
pub(crate) mod policy;
pub(crate) mod scenario;
pub(crate) mod selectors;

use crate::words::Word;

/// An object of the language: a map with these fields.
pub struct ObjectDef {
    /// Its name in the schema and the reference.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its fields, in the order of the reference.
    pub fields: &'static [FieldDef],
}

impl ObjectDef {
    /// The field of a name, and whether it was spelled as it should be.
    pub(crate) fn field(&self, name: &str) -> Option<(&'static FieldDef, bool)> {
        let exact = self.fields.iter().find(|field| field.name == name);
        let loose = || self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        exact.map(|field| (field, true)).or_else(|| loose().map(|field| (field, false)))
    }
}

/// A field of an object.
pub struct FieldDef {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What holds without it; empty when that needs no words.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// What a field holds.
pub enum Shape {
    /// Any scalar, as text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number in this range.
    Integer(i128, i128),
    /// One of these words.
    Choice(&'static [Word]),
    /// An object.
    Object(&'static ObjectDef),
    /// A list with at most so many elements.
    List(&'static Shape, usize),
    /// A map of free names to this.
    Map(&'static Shape),
    /// A value in one of the forms of a described event.
    Value,
    /// Anything; not looked at.
    Any,
}

/// No limit of its own: the size of the document is the limit.
pub(crate) const UNLIMITED: usize = usize::MAX;

/// Hooks of one family.
pub const MAX_HOOKS: usize = 1_024;
/// Selectors of one hook.
pub const MAX_SELECTORS: usize = 64;
/// Captured values of one hook.
pub const MAX_VALUES: usize = 12;
/// Entries of each filter list of a selector.
pub const MAX_FILTERS: usize = 32;
/// Actions of a selector, on each side.
pub const MAX_ACTIONS: usize = 16;
/// Tags of a hook.
pub const MAX_TAGS: usize = 64;
/// Bytes of a tag.
pub const MAX_TAG: usize = 256;
/// Bytes of a message, label or name.
pub const MAX_TEXT: usize = 1_024;
/// Bytes of one value of a filter: a path, prefix, suffix, part, pattern, text or expression.
pub const MAX_VALUE: usize = 4_096;
/// Steps of a `resolve` path.
pub const MAX_STEPS: usize = 32;

pub(crate) const U32: Shape = Shape::Integer(0, u32::MAX as i128);
pub(crate) const I32: Shape = Shape::Integer(i32::MIN as i128, i32::MAX as i128);
pub(crate) const U64: Shape = Shape::Integer(0, u64::MAX as i128);
pub(crate) const I64: Shape = Shape::Integer(i64::MIN as i128, i64::MAX as i128);
pub(crate) const TEXTS: Shape = Shape::List(&Shape::Text, UNLIMITED);

/// A field that may be left out.
pub(crate) const fn field(
    name: &'static str,
    shape: Shape,
    default: &'static str,
    doc: &'static str,
) -> FieldDef {
    FieldDef { name, shape, required: false, default, doc }
}

/// A field that must be there.
pub(crate) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> FieldDef {
    FieldDef { name, shape, required: true, default: "", doc }
}

/// The objects that a definition reaches, itself first, each once.
#[must_use]
pub fn reachable(root: &'static ObjectDef) -> Vec<&'static ObjectDef> {
    let mut found: Vec<&'static ObjectDef> = vec![root];
    let mut next = 0;
    while let Some(object) = found.get(next).copied() {
        next += 1;
        for field in object.fields {
            let mut shape = &field.shape;
            while let Shape::List(inner, _) | Shape::Map(inner) = shape {
                shape = inner;
            }
            if let Shape::Object(inner) = shape
                && !found.iter().any(|other| other.name == inner.name)
            {
                found.push(inner);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_defined_once_and_documented() {
        for root in [&policy::POLICY, &scenario::SCENARIO] {
            for object in reachable(root) {
                assert!(!object.doc.is_empty(), "{}", object.name);
                for (index, field) in object.fields.iter().enumerate() {
                    let place = format!("{}.{}", object.name, field.name);
                    assert!(!field.doc.is_empty(), "{place}");
                    let twice = object.fields[..index]
                        .iter()
                        .any(|other| other.name.eq_ignore_ascii_case(field.name));
                    assert!(!twice, "{place}");
                }
            }
        }
    }

    #[test]
    fn names_of_objects_are_distinct() {
        let objects = reachable(&policy::POLICY);
        assert!(objects.len() > 15);
        for (index, object) in objects.iter().enumerate() {
            assert!(objects[..index].iter().all(|other| other.name != object.name), "{}", object.name);
        }
    }
}

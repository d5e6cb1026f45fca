//! The fields of one export, each with its place.

use std::path::PathBuf;

use saker_policy::tree::{At, Content, Key, Node, Report};
use saker_policy::words::nearest;

use crate::config::value::{self, ValueError};

/// A map whose fields are asked for one after the other; what nobody asked for is an error at the end.
pub(super) struct Fields<'a> {
    map: &'a [(Key, Node)],
    at: At,
    pub(super) report: &'a mut Report,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// `None`: it is no map, which is reported.
    pub(super) fn of(node: &'a Node, at: &At, report: &'a mut Report) -> Option<Self> {
        let Content::Map(map) = &node.content else {
            let message = format!("expected an export, not {}", node.describe());
            report.error_hint(at, message, "write `- name: NAME`, and `kind: KIND` below it");
            return None;
        };
        Some(Self { map, at: at.clone(), report, known: Vec::new() })
    }

    fn node(&mut self, name: &'static str) -> Option<(&'a Node, At)> {
        self.known.push(name);
        let (_, node) = self.map.iter().find(|(key, _)| key.text == name)?;
        (!node.is_null()).then(|| (node, At { span: node.span, path: self.at.path.field(name) }))
    }

    /// The text of a field; `None`: it is not there, or no text, which is reported.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.value(name, |text| Ok(text.to_owned()))
    }

    /// A field by the reader of its kind.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let (node, at) = self.node(name)?;
        self.scalar(node, &at, read)
    }

    /// The same of a field that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let Some((node, at)) = self.node(name) else {
            self.report.error(&self.at, format!("`{name}` is missing"));
            return None;
        };
        self.scalar(node, &at, read)
    }

    fn scalar<T>(&mut self, node: &Node, at: &At, read: impl Fn(&str) -> Result<T, ValueError>) -> Option<T> {
        let Content::Scalar { text, .. } = &node.content else {
            self.report.error(at, format!("expected one value, not {}", node.describe()));
            return None;
        };
        match read(text.trim()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.report.error(at, format!("{}: {error}", node.describe()));
                None
            }
        }
    }

    /// One of these words, by its place among them.
    pub(super) fn choice(&mut self, name: &'static str, words: &[&str]) -> Option<usize> {
        self.value(name, |text| {
            let found = words.iter().position(|word| *word == text);
            found.ok_or_else(|| ValueError::Choice(words.join(", ")))
        })
    }

    /// A switch; not there: off.
    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        self.value(name, value::switch).unwrap_or_default()
    }

    /// An absolute path.
    pub(super) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.value(name, absolute)
    }

    /// A list, or one value in place of a list of one.
    pub(super) fn list(&mut self, name: &'static str) -> Vec<(&'a Node, At)> {
        let Some((node, at)) = self.node(name) else { return Vec::new() };
        match &node.content {
            Content::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (item, At { span: item.span, path: at.path.index(index) }))
                .collect(),
            _ => vec![(node, at)],
        }
    }

    /// The values of a list by the reader of their kind; those that cannot be read are reported.
    pub(super) fn values<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Vec<T> {
        let nodes = self.list(name);
        nodes.into_iter().filter_map(|(node, at)| self.scalar(node, &at, &read)).collect()
    }

    /// A map of texts.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<(String, String)> {
        let Some((node, at)) = self.node(name) else { return Vec::new() };
        let Content::Map(map) = &node.content else {
            self.report.error(&at, format!("expected a map, not {}", node.describe()));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (key, node) in map {
            let at = At { span: node.span, path: at.path.field(&key.text) };
            let text = self.scalar(node, &at, |text| Ok(text.to_owned()));
            texts.extend(text.map(|text| (key.text.clone(), text)));
        }
        texts
    }

    /// Reports something about this export, at one of its fields if that is there.
    pub(super) fn wrong(&mut self, name: &'static str, message: impl Into<String>) {
        let at = match self.node(name) {
            Some((_, at)) => at,
            None => self.at.clone(),
        };
        self.report.error(&at, message);
    }

    /// Reports fields that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.map {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let at = At { span: key.span, path: self.at.path.field(&key.text) };
            let hint = nearest(&key.text, self.known.iter().copied()).map_or_else(
                || format!("there are {}", self.known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.report.error_hint(&at, "there is no such field in an export of this kind", hint);
        }
    }
}

/// A path that does not depend on where the agent was started.
pub(super) fn absolute(text: &str) -> Result<PathBuf, ValueError> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(ValueError::Other("the path must be absolute".into())) }
}

//! YAML text to trees of nodes that know their line and column.
//!
//! Bounds: see the constants. Anchors and aliases work; what they expand to counts as nodes, so a small text
//! cannot become a large tree.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::diagnostic::{At, Report, Span};

/// Bytes of one file.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Levels of nesting.
pub const MAX_DEPTH: usize = 48;
/// Nodes of one file, after aliases are expanded.
pub const MAX_NODES: usize = 1_000_000;
/// Nodes that aliases of one file expand to.
pub const MAX_ALIASED: usize = 100_000;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub span: Span,
    /// What it holds.
    pub content: Content,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text.
    Scalar {
        /// Without quotes and escapes.
        text: String,
        /// It was written without quotes.
        plain: bool,
    },
    /// Nodes in their order.
    List(Vec<Node>),
    /// Nodes by key, in their order, each key once.
    Map(Vec<(Key, Node)>),
}

/// Key of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The word.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Node {
    /// Nothing, or the word `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.content {
            Content::Scalar { .. } if self.is_null() => "nothing".into(),
            Content::Scalar { text, plain: true } => format!("`{}`", shorten(text)),
            Content::Scalar { text, .. } => format!("the text \"{}\"", shorten(text)),
            Content::List(_) => "a list".into(),
            Content::Map(_) => "a map".into(),
        }
    }

    fn count(&self) -> usize {
        1 + match &self.content {
            Content::Scalar { .. } => 0,
            Content::List(items) => items.iter().map(Self::count).sum(),
            Content::Map(entries) => entries.iter().map(|(_, value)| 1 + value.count()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.content {
            Content::Scalar { .. } => 0,
            Content::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Content::Map(entries) => entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
        }
    }
}

/// The first characters of a text, for messages.
#[must_use]
pub fn shorten(text: &str) -> String {
    let clean = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    let mut short: String = clean.take(60).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

/// The documents of a text. What stands behind a mistake of YAML itself is not read.
pub fn parse(text: &str, report: &mut Report) -> Vec<Node> {
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes, {MAX_BYTES} are allowed", text.len());
        report.error(&At::default(), message);
        return Vec::new();
    }
    let mut builder = Builder::default();
    let end = end(text);
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, span) = match event {
            Ok((event, span)) => (event, place(span.start).min(end)),
            Err(error) => {
                let at = At { span: place(*error.marker()).min(end), ..At::default() };
                report.error(&at, format!("not YAML: {}", error.info()));
                break;
            }
        };
        if let Err(message) = builder.event(event, span, report) {
            report.error(&At { span, ..At::default() }, message);
            break;
        }
    }
    builder.documents
}

/// The end of a text: the parser puts what is missing there on a line behind it.
fn end(text: &str) -> Span {
    let lines = lines(text);
    let column = lines.last().map_or(0, |last| last.chars().count()) + 1;
    Span { line: lines.len(), column }
}

/// The lines as YAML counts them: a carriage return alone ends one too.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        lines.extend(line.strip_suffix('\r').unwrap_or(line).split('\r'));
    }
    lines
}

fn place(marker: saphyr_parser::Marker) -> Span {
    Span { line: marker.line(), column: marker.col() + 1 }
}

/// A list or map that is not complete.
struct Open {
    span: Span,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: HashSet<String>, key: Option<Key> },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    aliased: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span, report: &mut Report) -> Result<(), String> {
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Alias(anchor) => {
                let node = self.alias(anchor)?;
                return self.add(Node { span, ..node }, 0, report);
            }
            Event::Scalar(text, style, anchor, _) => {
                let content = Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                return self.add(Node { span, content }, anchor, report);
            }
            Event::SequenceStart(anchor, _) => self.begin(span, anchor, OpenContent::List(Vec::new()))?,
            Event::MappingStart(anchor, _) => {
                let content = OpenContent::Map { entries: Vec::new(), seen: HashSet::new(), key: None };
                self.begin(span, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let content = match open.content {
                    OpenContent::List(items) => Content::List(items),
                    OpenContent::Map { entries, .. } => Content::Map(entries),
                };
                return self.add(Node { span: open.span, content }, open.anchor, report);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, span: Span, anchor: usize, content: OpenContent) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        self.open.push(Open { span, anchor, content });
        Ok(())
    }

    /// A copy of what the anchor stands for.
    fn alias(&mut self, anchor: usize) -> Result<Node, String> {
        let node = self.anchors.get(&anchor).ok_or("the alias is used inside of what it names")?;
        let count = node.count();
        self.aliased += count;
        self.nodes += count;
        if self.aliased > MAX_ALIASED {
            return Err(format!("aliases expand to more than {MAX_ALIASED} values"));
        }
        if self.open.len() + node.depth() > MAX_DEPTH + 1 {
            return Err(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        Ok(node.clone())
    }

    fn add(&mut self, node: Node, anchor: usize, report: &mut Report) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        if anchor != 0 {
            // Kept until the document ends, so it counts as well.
            self.nodes += node.count();
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match &mut open.content {
            OpenContent::List(items) => items.push(node),
            OpenContent::Map { entries, seen, key } => match key.take() {
                None => {
                    let Content::Scalar { text, .. } = node.content else {
                        return Err("the key of a map must be a plain word".into());
                    };
                    *key = Some(Key { text, span: node.span });
                }
                Some(key) => {
                    if seen.insert(key.text.clone()) {
                        entries.push((key, node));
                    } else {
                        let at = At { span: key.span, ..At::default() };
                        report.error(&at, format!("`{}` is set twice", shorten(&key.text)));
                    }
                }
            },
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;

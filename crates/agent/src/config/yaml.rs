//! The YAML file: a flat map of option to value.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// One entry of the map.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// Why a text is not such a map.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) what: String,
}

fn error(span: Span, what: impl Into<String>) -> YamlError {
    YamlError { line: span.start.line(), what: what.into() }
}

/// Reads a map of scalars and lists of scalars; values keep their text, so that `0600` and `1e3` stay what they are.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, YamlError> {
    let mut events = Parser::new_from_str(text).filter(|event| {
        !matches!(event, Ok((Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _)))
    });
    let mut next = || {
        let event = events.next().ok_or(YamlError { line: 0, what: "unexpected end".into() })?;
        event.map_err(|scan| YamlError { line: scan.marker().line(), what: scan.info().to_owned() })
    };
    match next()? {
        (Event::StreamEnd, _) => return Ok(Vec::new()),
        // A document of comments only is one empty value.
        (Event::Scalar(text, ..), _) if text.is_empty() || text == "~" => return Ok(Vec::new()),
        (Event::MappingStart(..), _) => {}
        (_, span) => return Err(error(span, "expected `option: value` lines")),
    }
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let (key, line) = match next()? {
            (Event::MappingEnd, _) => break,
            (Event::Scalar(key, ..), span) => (key.into_owned(), span.start.line()),
            (_, span) => return Err(error(span, "expected the name of an option")),
        };
        if entries.iter().any(|entry| entry.key == key) {
            return Err(YamlError { line, what: format!("`{key}` is set twice") });
        }
        let value = match next()? {
            (Event::Scalar(value, style, ..), _) => scalar(&value, style),
            (Event::SequenceStart(..), _) => {
                let mut items = Vec::new();
                loop {
                    match next()? {
                        (Event::SequenceEnd, _) => break items.join(","),
                        (Event::Scalar(item, style, ..), _) => items.push(scalar(&item, style)),
                        (_, span) => {
                            return Err(error(span, format!("`{key}`: a list may hold only plain values")));
                        }
                    }
                }
            }
            (_, span) => return Err(error(span, format!("`{key}`: expected a plain value or a list"))),
        };
        entries.push(Entry { key, value, line });
    }
    match next()? {
        (Event::DocumentEnd, _) => {}
        (_, span) => return Err(error(span, "expected the end of the map")),
    }
    match next()? {
        (Event::StreamEnd, _) => Ok(entries),
        (_, span) => Err(error(span, "a second document is not allowed")),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> String {
    let null = style == ScalarStyle::Plain && matches!(text, "~" | "null");
    if null { String::new() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text).unwrap().into_iter().map(|entry| (entry.key, entry.value, entry.line)).collect()
    }

    #[test]
    fn scalars_and_lists_keep_their_text() {
        let text = "# comment\nexport-file-perm: 0600\n\nlist: [a, \"b\"]\nblock:\n  - x\n  - y\nnone:\nquoted: 'null'\n";
        let expected = [
            ("export-file-perm", "0600", 2),
            ("list", "a,b", 4),
            ("block", "x,y", 5),
            ("none", "", 8),
            ("quoted", "null", 9),
        ];
        let expected: Vec<_> = expected.map(|(key, value, line)| (key.into(), value.into(), line)).into();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn nothing_is_an_empty_map() {
        assert!(pairs("").is_empty());
        assert!(pairs("# only a comment\n").is_empty());
        assert!(pairs("---\n").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, what) in [
            ("a: 1\nb: {c: 2}\n", 2, "expected a plain value or a list"),
            ("- a\n", 1, "expected `option: value` lines"),
            ("a: 1\nb: 2\na: 3\n", 3, "`a` is set twice"),
            ("a: 1\n---\nb: 1\n", 2, "second document"),
            ("a: \"open\n", 1, ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.what.contains(what), "{text:?}: {error}");
            assert!(error.line >= line, "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-a-z:\\[\\]{}&*!|>'\"%@` \n#,0-9]{0,60}") {
            let _ = parse(&text);
        }
    }
}

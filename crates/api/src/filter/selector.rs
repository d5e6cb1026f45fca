//! Label selectors of Kubernetes: `app=web,tier in (front, back),!canary,replicas>2`.

use std::collections::BTreeMap;

use super::{FilterError, Place};

/// All requirements of one selector; they are joined by AND.
#[derive(Debug, PartialEq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, PartialEq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    /// Also met by a label that is not there.
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl Selector {
    pub(super) fn parse(place: Place, entry: usize, text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { text, at: 0 };
        parser.selector().map_err(|reason| FilterError::Selector {
            place,
            entry,
            selector: text.to_owned(),
            offset: parser.at,
            reason,
        })
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let label = labels.get(&requirement.key);
            let number = || label.and_then(|value| value.parse::<i64>().ok());
            match &requirement.test {
                Test::Exists => label.is_some(),
                Test::Missing => label.is_none(),
                Test::In(values) => label.is_some_and(|label| values.contains(label)),
                Test::NotIn(values) => !label.is_some_and(|label| values.contains(label)),
                Test::Above(bound) => number().is_some_and(|number| number > *bound),
                Test::Below(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector, &'static str> {
        let mut requirements = Vec::new();
        self.spaces();
        while !self.rest().is_empty() {
            requirements.push(self.requirement()?);
            self.spaces();
            if !self.rest().is_empty() && !self.takes(",") {
                return Err("a comma is expected here");
            }
            self.spaces();
        }
        Ok(Selector(requirements))
    }

    fn requirement(&mut self) -> Result<Requirement, &'static str> {
        if self.takes("!") {
            self.spaces();
            return Ok(Requirement { key: self.key()?, test: Test::Missing });
        }
        let key = self.key()?;
        self.spaces();
        let test = if self.takes("!=") {
            Test::NotIn(vec![self.value()])
        } else if self.takes("==") || self.takes("=") {
            Test::In(vec![self.value()])
        } else if self.takes(">") {
            Test::Above(self.number()?)
        } else if self.takes("<") {
            Test::Below(self.number()?)
        } else if self.takes_word("in") {
            Test::In(self.values()?)
        } else if self.takes_word("notin") {
            Test::NotIn(self.values()?)
        } else {
            Test::Exists
        };
        Ok(Requirement { key, test })
    }

    fn values(&mut self) -> Result<Vec<String>, &'static str> {
        self.spaces();
        if !self.takes("(") {
            return Err("a list in parentheses is expected here");
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value());
            self.spaces();
            if self.takes(")") {
                return Ok(values);
            }
            if !self.takes(",") {
                return Err("a comma or a closing parenthesis is expected here");
            }
        }
    }

    fn number(&mut self) -> Result<i64, &'static str> {
        self.spaces();
        let start = self.at;
        let value = self.value();
        value.parse().map_err(|_| {
            self.at = start;
            "a whole number is expected here"
        })
    }

    fn key(&mut self) -> Result<String, &'static str> {
        let word = self.word();
        if word.is_empty() { Err("the name of a label is expected here") } else { Ok(word) }
    }

    fn value(&mut self) -> String {
        self.spaces();
        self.word()
    }

    fn word(&mut self) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !allowed(c)).unwrap_or(rest.len())];
        let word = word.to_owned();
        self.at += word.len();
        word
    }

    fn takes(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// An operator that is a word ends where a list begins.
    fn takes_word(&mut self, word: &str) -> bool {
        let follows = |rest: &str| rest.starts_with([' ', '\t', '(']);
        let found = self.rest().strip_prefix(word).is_some_and(follows);
        found && self.takes(word)
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { list: "allow_list", index: 0 };

    fn labels() -> BTreeMap<String, String> {
        [("app", "web"), ("example.org/tier", "front"), ("replicas", "3"), ("empty", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn requirements_match_as_kubernetes_has_them() {
        for (text, expected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("nothing", false),
            ("!nothing", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web , replicas > 2 ", true),
            ("app=db", false),
            ("app!=db", true),
            ("app!=web", false),
            ("nothing!=x", true),
            ("empty=", true),
            ("example.org/tier in (back,front)", true),
            ("example.org/tier notin (back, front)", false),
            ("nothing notin (x)", true),
            ("replicas<3", false),
            ("replicas<4,replicas>2", true),
            ("app>2", false),
            ("index=web", false),
            ("app=web,replicas=4", false),
        ] {
            let selector = Selector::parse(PLACE, 0, text).unwrap();
            assert_eq!(selector.matches(&labels()), expected, "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, expected) in
            [("app=web;", 7), ("=x", 0), ("a in x", 5), ("a in (x", 7), ("a>b", 2), ("a b", 2), ("é", 0)]
        {
            match Selector::parse(PLACE, 3, text) {
                Err(FilterError::Selector { entry: 3, offset, .. }) => {
                    assert_eq!(offset, expected, "{text:?}");
                }
                other => panic!("{text:?} gave {other:?}"),
            }
        }
    }
}

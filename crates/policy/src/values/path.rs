//! Paths of members from an argument to the value that is wanted.

use std::fmt;

use crate::diagnostic::Problem;
use crate::language::MAX_STEPS;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To a member of a structure.
    Member(String),
    /// To an element of an array, or of what a pointer points to.
    Index(u32),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) => f.write_str(name),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// Reads `a.b[2].c`.
///
/// # Errors
/// When a part is no name, an index no number, or the path is too long.
pub fn parse(text: &str) -> Result<Vec<Step>, Problem> {
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
        let named = !name.is_empty()
            && name.chars().all(word)
            && !name.starts_with(|char: char| char.is_ascii_digit());
        if named {
            steps.push(Step::Member(name.to_owned()));
        } else if !(name.is_empty() && !rest.is_empty() && steps.is_empty()) {
            let message = format!("`{}` is not the name of a member", crate::yaml::shorten(part));
            return Err(Problem::hint(message, "a path looks like `mm.owner.comm` or `names[2].len`"));
        }
        indices(rest, &mut steps)?;
        if steps.len() > MAX_STEPS {
            return Err(Problem::new(format!("the path has more than {MAX_STEPS} steps")));
        }
    }
    Ok(steps)
}

fn indices(mut rest: &str, steps: &mut Vec<Step>) -> Result<(), Problem> {
    while !rest.is_empty() {
        let inside = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((digits, after)) = inside else {
            return Err(Problem::new(format!("`{}`: expected `[NUMBER]`", crate::yaml::shorten(rest))));
        };
        let digit = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let index = digits.parse().ok().filter(|_| digit);
        let index = index.ok_or_else(|| Problem::new(format!("`{digits}` is not an index")))?;
        steps.push(Step::Index(index));
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(name: &str) -> Step {
        Step::Member(name.into())
    }

    #[test]
    fn paths() {
        assert_eq!(parse("mm.owner.comm").unwrap(), [member("mm"), member("owner"), member("comm")]);
        let expected = [member("names"), Step::Index(2), member("x"), Step::Index(0), Step::Index(1)];
        assert_eq!(parse("names[2].x[0][1]").unwrap(), expected);
        assert_eq!(parse("[3].a").unwrap(), [Step::Index(3), member("a")]);
        for text in ["", ".", "a..b", "a.", "a[", "a[x]", "a[]", "a[-1]", "a b", "1a", "a[1]b", "a.[1]"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&vec!["a"; MAX_STEPS].join(".")).is_ok());
        assert!(parse(&vec!["a"; MAX_STEPS + 1].join(".")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-c.\\[\\]0-9é]{0,20}") {
            let _ = parse(&text);
        }
    }
}

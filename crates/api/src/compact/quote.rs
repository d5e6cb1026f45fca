//! Quotes values as Go's `strconv.Quote` does, when they need it.

use std::borrow::Cow;
use std::fmt::Write;

/// The text itself, or in quotes when it holds a space or a character that cannot be printed.
#[must_use]
pub fn quoted(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) || text.chars().all(|c| c != ' ' && printable(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    out.push('"');
    for c in text.chars() {
        quote_char(c, &mut out);
    }
    out.push('"');
    Cow::Owned(out)
}

fn quote_char(c: char, out: &mut String) {
    let short = match c {
        '"' | '\\' => c,
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        _ if printable(c) => return out.push(c),
        _ => {
            let code = u32::from(c);
            // Writing to a string cannot fail.
            let _ = match code {
                0..0x80 => write!(out, "\\x{code:02x}"),
                0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

/// Letters, marks, numbers, punctuation, symbols and the plain space.
fn printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The standard library escapes what is unprintable; of a text that does not begin with it, it leaves
    // combining marks as they are.
    let mut buffer = ['x', c].iter().collect::<String>();
    let length = buffer.len();
    buffer = buffer.escape_debug().collect();
    buffer.len() == length
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_are_quoted_only_when_needed() {
        for (text, expected) in [
            ("", ""),
            ("/usr/bin/curl", "/usr/bin/curl"),
            ("a\"b\\c", "a\"b\\c"),
            ("a b", "\"a b\""),
            ("a \"b\" \\", "\"a \\\"b\\\" \\\\\""),
            ("new\nline\ttab", "\"new\\nline\\ttab\""),
            ("\u{1b}[31m", "\"\\x1b[31m\""),
            ("\u{7f}\u{0}\u{7}", "\"\\x7f\\x00\\a\""),
            ("grüße", "grüße"),
            ("e\u{301}", "e\u{301}"),
            ("日本", "日本"),
            ("\u{a0}", "\"\\u00a0\""),
            ("\u{85}\u{9b}", "\"\\u0085\\u009b\""),
            ("\u{202e}", "\"\\u202e\""),
            ("\u{200b}", "\"\\u200b\""),
            ("\u{e0001}", "\"\\U000e0001\""),
            ("\u{fffd}", "\u{fffd}"),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }
}

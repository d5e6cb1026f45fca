//! Takes secrets out of texts.

use std::sync::LazyLock;

use regex::Regex;

/// What stands in the place of a secret.
const GONE: &str = "[redacted]";

/// Names that sound like those of secrets.
const NAMES: &str = r"(?:password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential|authorization|bearer|cookie)";

struct Rules {
    keys: Regex,
    quoted: Regex,
    line: Regex,
    flag: Regex,
    address: Regex,
    bearer: Regex,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "constants that a test compiles")]
    let regex = |text: &str| Regex::new(text).expect("a constant expression");
    Rules {
        keys: regex(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"),
        // JSON: only the value, whatever it is.
        quoted: regex(&format!(
            r#"(?i)("[^"\n]{{0,100}}{NAMES}[^"\n]{{0,100}}"\s*:\s*)("(?:[^"\\]|\\.)*"|[^\s,}}\]\[{{"]+)"#
        )),
        // A line of a configuration or an environment: all that follows, for values may hold spaces.
        line: regex(&format!(r#"(?im)^([\s#-]*[\w.-]{{0,100}}{NAMES}[\w.-]{{0,100}}\s*[:=][ \t]*)(\S.*)$"#)),
        // Of a command line: the next word.
        flag: regex(&format!(
            r#"(?i)(--?[\w-]{{0,100}}{NAMES}[\w-]{{0,100}}(?:=|[ \x00]+))("[^"]*"|'[^']*'|[^\s\x00]+)"#
        )),
        address: regex(r#"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@"']+@"#),
        bearer: regex(r"(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]{8,}"),
    }
});

/// The text without what looks like a secret.
pub fn text(text: &str) -> String {
    let rules = &*RULES;
    let text = rules.keys.replace_all(text, GONE);
    let text = rules.quoted.replace_all(&text, format!("${{1}}\"{GONE}\""));
    let text = rules.line.replace_all(&text, format!("${{1}}{GONE}"));
    let text = rules.flag.replace_all(&text, format!("${{1}}{GONE}"));
    let text = rules.address.replace_all(&text, format!("${{1}}{GONE}@"));
    rules.bearer.replace_all(&text, format!("${{1}} {GONE}")).into_owned()
}

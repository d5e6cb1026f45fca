//! Takes secrets out of texts: by the names that they have, and by what they look like.
//!
//! Rather too much than too little: what is taken out can be asked for.

use std::sync::LazyLock;

use regex::Regex;

/// What stands in the place of a secret.
const GONE: &str = "[redacted]";

/// Names that sound like those of secrets.
const NAMES: &str = r"(?:password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential|authorization|bearer|cookie)";

/// What secrets look like that say themselves what they are, with the sources of the forms.
const SHAPES: [&str; 12] = [
    // JSON Web Tokens (RFC 7519): two objects, which begin with `{"`, and a signature that may be missing.
    r"\beyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
    // Encrypted ones (RFC 7516) have five parts.
    r"\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){4}",
    // Unique identifiers of AWS's IAM: a prefix that tells the kind, and capitals and digits.
    r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z2-7]{12,32}\b",
    // GitHub, GitLab.
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bgl(?:pat|ptt|rt|dt|cbt|oas)-[A-Za-z0-9_-]{16,}",
    // Slack.
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    // Google: keys of interfaces, tokens of OAuth.
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bya29\.[A-Za-z0-9_-]{10,}",
    // Stripe; npm; seeds of NATS (`S`, the kind, base 32).
    r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}",
    r"\bnpm_[A-Za-z0-9]{30,}",
    r"\bS[ACNOPUX][A-Z2-7]{56}\b",
];

struct Rules {
    keys: Regex,
    end_of_key: Regex,
    pair: Regex,
    quoted: Regex,
    line: Regex,
    flag: Regex,
    variable: Regex,
    address: Regex,
    bearer: Regex,
    shapes: Regex,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "constants that a test compiles")]
    let regex = |text: &str| Regex::new(text).expect("a constant expression");
    let key = "PRIVATE KEY(?: BLOCK)?-----";
    Rules {
        keys: regex(&format!(r"(?s)-----BEGIN [A-Z0-9 ]*{key}.*?(?:-----END [A-Z0-9 ]*{key}|\z)")),
        // Of a text that begins within a key: its lines, and line breaks as JSON has them.
        end_of_key: regex(&format!(r"(?:[A-Za-z0-9+/=]|\s|\\[nr])*-----END [A-Z0-9 ]*{key}")),
        // Variables of an environment in events: only the value.
        pair: regex(&format!(
            r#"(?i)("key"\s*:\s*"[^"\n]{{0,100}}{NAMES}[^"\n]{{0,100}}"\s*,\s*"value"\s*:\s*)"(?:[^"\\]|\\.)*""#
        )),
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
        // A variable before a command, or a part of a query of an address.
        variable: regex(&format!(
            r#"(?i)(\b[\w.-]{{0,100}}{NAMES}[\w.-]{{0,100}}=)("[^"]*"|'[^']*'|[^\s\x00&;"'\\]+)"#
        )),
        // Up to the last sign that it may be, for passwords hold such signs.
        address: regex(r#"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s\x00"']*@"#),
        bearer: regex(r"(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]{8,}"),
        shapes: regex(&SHAPES.join("|")),
    }
});

/// The text without what looks like a secret.
pub fn text(text: &str) -> String {
    let rules = &*RULES;
    let text = rules.keys.replace_all(text, GONE);
    let text = rules.end_of_key.replace_all(&text, GONE);
    // What has a shape is gone before names are looked at, whose values may be cut by what stands in it.
    let text = rules.shapes.replace_all(&text, GONE);
    let text = rules.address.replace_all(&text, format!("${{1}}{GONE}@"));
    let text = rules.bearer.replace_all(&text, format!("${{1}} {GONE}"));
    let text = rules.pair.replace_all(&text, format!("${{1}}\"{GONE}\""));
    let text = rules.quoted.replace_all(&text, format!("${{1}}\"{GONE}\""));
    let text = rules.line.replace_all(&text, format!("${{1}}{GONE}"));
    let text = rules.flag.replace_all(&text, format!("${{1}}{GONE}"));
    rules.variable.replace_all(&text, format!("${{1}}{GONE}")).into_owned()
}

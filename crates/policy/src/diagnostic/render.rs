//! Diagnostics as text with the line they are about, and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Diagnostic, Severity};

/// Characters of a source line that are shown; of a longer one the part around the column.
const WIDTH: usize = 160;

/// The diagnostics as a compiler shows them: `file:line:col: error: …`, the line, a caret and the hint.
#[must_use]
pub fn render(file: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let lines = crate::yaml::lines(text);
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(&mut out, file, &lines, diagnostic);
    }
    out
}

fn one(out: &mut String, file: &str, lines: &[&str], diagnostic: &Diagnostic) {
    let Diagnostic { severity, span, path, message, hint } = diagnostic;
    let place = if span.line == 0 { String::new() } else { format!("{span}:") };
    let _ = write!(out, "{file}:{place} {}: ", severity.name());
    if !path.is_empty() {
        let _ = write!(out, "{path}: ");
    }
    let _ = writeln!(out, "{message}");
    if let Some(line) = span.line.checked_sub(1).and_then(|line| lines.get(line)) {
        let (shown, column) = window(line, span.column);
        let number = span.line.to_string();
        let blank = " ".repeat(number.len());
        let _ = writeln!(out, " {number} | {shown}");
        let _ = writeln!(out, " {blank} | {}^", " ".repeat(column));
    }
    if let Some(hint) = hint {
        let _ = writeln!(out, "   hint: {hint}");
    }
}

/// The part of a line to show, and the caret's offset in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let caret = column.saturating_sub(1);
    let start = if caret >= WIDTH { caret - WIDTH / 2 } else { 0 };
    let shown: String =
        line.chars().skip(start).take(WIDTH).map(|char| if char.is_control() { ' ' } else { char }).collect();
    (shown, caret - start)
}

/// The diagnostics as a JSON array.
#[must_use]
pub fn to_json(file: &str, diagnostics: &[Diagnostic]) -> Value {
    let one = |diagnostic: &Diagnostic| {
        let Diagnostic { severity, span, path, message, hint } = diagnostic;
        json!({
            "file": file,
            "line": span.line,
            "column": span.column,
            "severity": match severity { Severity::Error => "error", Severity::Warning => "warning" },
            "path": path,
            "message": message,
            "hint": hint,
        })
    };
    Value::Array(diagnostics.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    fn diagnostic(span: Span, hint: Option<&str>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            span,
            path: "spec.x".into(),
            message: "is wrong".into(),
            hint: hint.map(Into::into),
        }
    }

    #[test]
    fn caret_stands_below_the_place() {
        let text = "a: 1\n\tb: wrong\n";
        let shown = render("f.yaml", text, &[diagnostic(Span { line: 2, column: 5 }, Some("try c"))]);
        let expected = "f.yaml:2:5: error: spec.x: is wrong\n 2 |  b: wrong\n   |     ^\n   hint: try c\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        let text = "x".repeat(1000) + "y";
        let shown = render("f", &text, &[diagnostic(Span { line: 1, column: 1001 }, None)]);
        let line = shown.lines().nth(1).unwrap();
        assert!(line.len() < 200 && line.ends_with('y'), "{shown}");
        assert_eq!(line.find('y'), shown.lines().nth(2).unwrap().find('^'));
    }

    #[test]
    fn places_outside_the_text_are_no_panic() {
        let shown = render("f", "a", &[diagnostic(Span { line: 9, column: 9 }, None)]);
        assert_eq!(shown, "f:9:9: error: spec.x: is wrong\n");
    }

    #[test]
    fn lines_are_those_of_yaml() {
        let text = "a: 1\r\nb: 2\rc: [\r\n";
        assert_eq!(crate::yaml::lines(text), ["a: 1", "b: 2", "c: [", ""]);
        let checked = crate::check("a: 1\rkind: Pod\r\n");
        let shown = render("f", "a: 1\rkind: Pod\r\n", &checked.diagnostics);
        assert!(shown.contains("\n 2 | kind: Pod\n"), "{shown}");
    }

    #[test]
    fn json_has_all_fields() {
        let json = to_json("f", &[diagnostic(Span { line: 2, column: 5 }, Some("h"))]);
        assert_eq!(json[0]["line"], 2);
        assert_eq!(json[0]["hint"], "h");
        assert_eq!(json[0]["severity"], "error");
    }
}

//! `cargo xtask svg`: a picture of coloured terminal output, for documents.
//!
//! Reads lines with the colours that `saker events --color always` uses; writes SVG. Lines beyond the width are cut and
//! end in an ellipsis.

use std::fmt::Write;
use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Arguments of `svg`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Characters of a line
    #[arg(long, default_value_t = 100)]
    width: usize,
}

const LINE: usize = 22;
/// Colours 31 to 36, on a dark ground.
const COLOURS: [&str; 6] = ["#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea"];
const PLAIN: &str = "#e6edf3";

/// Runs the verb.
///
/// # Errors
/// Standard input is no text.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    print!("{}", picture(&text, args.width));
    Ok(ExitCode::SUCCESS)
}

fn picture(text: &str, width: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (w, h) = (width * 9 + 32, lines.len() * LINE + 28);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <g font-family=\"monospace\" font-size=\"15\" xml:space=\"preserve\">\n"
    );
    for (number, line) in lines.iter().enumerate() {
        let y = number * LINE + 30;
        // Writing to a string cannot fail.
        let _ = write!(svg, "<text x=\"16\" y=\"{y}\">");
        spans(line, width, &mut svg);
        svg.push_str("</text>\n");
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Pieces of one colour, so many characters at most.
fn spans(line: &str, width: usize, svg: &mut String) {
    let mut room = width;
    for (index, piece) in line.split("\u{1b}[").enumerate() {
        let (colour, text) = match piece.split_once('m') {
            Some((code, text)) if index > 0 => (colour(code), text),
            _ => (PLAIN, piece),
        };
        let length = text.chars().count();
        let cut = length > room;
        let shown: String = text.chars().take(if cut { room.saturating_sub(1) } else { length }).collect();
        let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let end = if cut { "…" } else { "" };
        if !escaped.is_empty() {
            let _ = write!(svg, "<tspan fill=\"{colour}\">{escaped}{end}</tspan>");
        }
        if cut {
            return;
        }
        room -= length;
    }
}

fn colour(code: &str) -> &'static str {
    let number = code.parse::<usize>().ok().and_then(|code| code.checked_sub(31));
    number.and_then(|index| COLOURS.get(index)).copied().unwrap_or(PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_cuts_and_markup() {
        let made = picture("a \u{1b}[31m<b>\u{1b}[0m cdefgh\n", 8);
        assert!(made.contains("<tspan fill=\"#ff7b72\">&lt;b&gt;</tspan>"), "{made}");
        assert!(made.contains("<tspan fill=\"#e6edf3\"> c…</tspan></text>"), "{made}");
        assert_eq!(made.matches("<text").count(), 1);
    }
}

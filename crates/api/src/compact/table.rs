//! Events as rows of a table.

use super::{Compact, quoted, time_of};
use crate::json::rfc3339;
use crate::saker_v1;
use crate::view::{EventView, ProcessRef};

/// Widths of the columns but the last; what is wider pushes the rest on.
const WIDTHS: [usize; 5] = [12, 10, 8, 24, 28];
const HEAD: [&str; 6] = ["TIME", "TYPE", "PID", "SOURCE", "BINARY", "DETAILS"];

impl Compact {
    /// The head of a table of [`Compact::write_row`].
    #[must_use]
    pub fn table_header() -> String {
        let mut out = String::new();
        row(&HEAD.map(str::to_owned), &mut out);
        out
    }

    /// Appends an event that came as our message as a row: time of day (UTC), type, process and what its compact line
    /// says beyond that.
    pub fn write_row(&self, event: &saker_v1::Event, out: &mut String) {
        let Some(response) = &event.event else { return };
        let view = EventView::from(response);
        let (time, _) = rfc3339(time_of(response));
        let time: String = time.iter().map(|&byte| char::from(byte)).skip(11).take(12).collect();
        let kind = if event.gap.is_some() { "gap" } else { short(view.event_type.as_str_name()) };
        let source = match view.process.and_then(ProcessRef::pod) {
            Some(pod) => format!("{}/{}", pod.namespace, pod.name),
            None => response.node_name.clone(),
        };
        let (source, binary) = (quoted(&source).into_owned(), view.process.map_or("", ProcessRef::binary));
        let binary = quoted(binary).into_owned();
        let plain = Self { colors: false, timestamps: false, stacks: false };
        let mut line = String::new();
        plain.write_message(event, &mut line);
        let details = details(&line, &source, &binary);
        let pid = view.process.and_then(ProcessRef::pid).map(|pid| pid.to_string()).unwrap_or_default();
        row(&[time, kind.to_ascii_lowercase(), pid, source, binary, details.to_owned()], out);
        if self.stacks {
            super::stack::of_message(response, event.hook.as_ref(), out);
        }
    }
}

/// `PROCESS_EXEC`: `EXEC`.
fn short(name: &str) -> &str {
    name.strip_prefix("PROCESS_").unwrap_or(name)
}

/// What stands in a compact line behind the binary, or behind the source of an event without a process.
fn details<'a>(line: &'a str, source: &str, binary: &str) -> &'a str {
    let line = line.trim_end_matches('\n');
    // Source and binary follow the label; what is empty is not there.
    let parts: Vec<&str> = [source, binary].into_iter().filter(|part| !part.is_empty()).collect();
    let begin = format!(" {}", parts.join(" "));
    line.split_once(&begin).map_or(line, |(_, rest)| rest).trim_start()
}

fn row(cells: &[String; 6], out: &mut String) {
    for (cell, width) in cells.iter().zip(WIDTHS.into_iter().chain([0])) {
        let missing = width.saturating_sub(cell.chars().count());
        out.push_str(cell);
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str("  ");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
}

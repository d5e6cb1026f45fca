//! The tree and its summary for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use prost_types::Timestamp;
use saker_api::compact::quoted;

use super::forest::{Counts, Done, Exit, Image};
use super::picture::{Item, Picture, Shown};
use crate::output;
use crate::screen::{Line, Screen, Style};

/// Columns that a program's arguments get at least, before what else is to be said of it is cut.
const ARGUMENTS_LEAST: usize = 16;
/// Programs in the summary.
const BINARIES: usize = 30;
const DAY: u64 = 86_400;
const SECOND: u64 = 1_000_000_000;

/// What draws the tree.
struct Strokes {
    branch: &'static str,
    last_branch: &'static str,
    act: &'static str,
    last_act: &'static str,
    down: &'static str,
}

const LINES: Strokes =
    Strokes { branch: "├─ ", last_branch: "└─ ", act: "├ ", last_act: "└ ", down: "│  " };
const ASCII: Strokes = Strokes { branch: "|- ", last_branch: "`- ", act: "| ", last_act: "` ", down: "|  " };

/// Draws a picture.
struct Drawing<'a> {
    picture: &'a Picture,
    screen: Screen,
    strokes: Strokes,
    /// The day whose times are told without it, in days since 1970.
    day: u64,
    text: String,
}

/// The tree as lines.
pub fn tree(picture: &Picture, screen: Screen, ascii: bool) -> String {
    let starts = picture.forest.images.iter().map(|image| image.start);
    let day = starts.max().unwrap_or_default() / SECOND / DAY;
    let strokes = if ascii { ASCII } else { LINES };
    let mut drawing = Drawing { picture, screen, strokes, day, text: String::new() };
    if !picture.roots.is_empty() {
        let heading = format!("{} (UTC)\n", date(day));
        drawing.text.push_str(&screen.paint(Style::Dim, &heading));
    }
    for &root in &picture.roots {
        drawing.root(root);
    }
    drawing.text
}

impl Drawing<'_> {
    fn root(&mut self, root: usize) {
        self.process(root, "", "");
        let mut stack = vec![(root, 0, String::new())];
        while let Some((node, place, prefix)) = stack.pop() {
            let items = &self.picture.nodes[node].items;
            let Some(&item) = items.get(place) else { continue };
            let last = place + 1 == items.len();
            let below = prefix.clone() + if last { "   " } else { self.strokes.down };
            if !last {
                stack.push((node, place + 1, prefix.clone()));
            }
            match item {
                Item::Child(child) => {
                    let branch = if last { self.strokes.last_branch } else { self.strokes.branch };
                    self.process(child, &prefix, branch);
                    if !self.picture.nodes[child].deep {
                        stack.push((child, 0, below));
                    }
                }
                _ => {
                    let stroke = if last { self.strokes.last_act } else { self.strokes.act };
                    self.item(node, item, &prefix, stroke);
                }
            }
        }
    }

    /// The line of a process.
    fn process(&mut self, node: usize, prefix: &str, branch: &str) {
        let (image, of) = (self.picture.first(node), &self.picture.nodes[node]);
        let mut line = self.begin(image.start, prefix, branch);
        let style = if of.wanted && of.items.len() + 1 < self.picture.forest.images.len() {
            Style::Wanted
        } else {
            Style::Binary
        };
        line.add(Some(style), &program(image)).add(None, &format!(" [{}]", image.pid));
        let mut tail = String::new();
        let creator = of.parent.map(|parent| self.picture.first(parent));
        if let Some(uid) = image.uid.filter(|_| creator.is_none_or(|creator| creator.uid != image.uid)) {
            let _ = write!(tail, " uid {uid}");
        }
        if !image.place.is_empty() && creator.is_none_or(|creator| creator.place != image.place) {
            let _ = write!(tail, " in {}", quoted(&image.place));
        }
        if of.deep && branch.is_empty() {
            let _ = write!(tail, " (goes on from above)");
        } else if of.deep {
            let _ = write!(tail, " (goes on below)");
        }
        let (end, alert) = self.picture.exit(node).map_or((String::new(), false), |exit| {
            (ended(exit, image.start), !exit.signal.is_empty() || exit.status != 0)
        });
        let kept = tail.chars().count() + end.chars().count();
        line.fit(&arguments(image), kept, ARGUMENTS_LEAST);
        line.add(Some(Style::Dim), &tail);
        line.add(Some(if alert { Style::Alert } else { Style::Dim }), &end);
        self.text.push_str(&line.end());
    }

    fn item(&mut self, node: usize, item: Item, prefix: &str, stroke: &str) {
        let line = match item {
            Item::Exec(image) => {
                let image = &self.picture.forest.images[image];
                let mut line = self.begin(image.start, prefix, stroke);
                line.add(None, "exec ").add(Some(Style::Binary), &program(image));
                line.add(None, &arguments(image));
                line
            }
            Item::Act(image, act) => self.act(&self.picture.forest.images[image].acts[act], prefix, stroke),
            Item::More => {
                let mut line = self.begin(0, prefix, stroke);
                line.add(
                    Some(Style::Dim),
                    &format!("and more that is not kept: {}", kinds(&self.picture.more(node))),
                );
                line
            }
            Item::Child(_) => return,
        };
        self.text.push_str(&line.end());
    }

    fn act(&self, done: &Done, prefix: &str, stroke: &str) -> Line {
        let mut tail = String::new();
        if done.count > 1 {
            let _ = write!(tail, " x{}", done.count);
            if done.last > done.first {
                let _ = write!(tail, " in {}", span(done.last - done.first));
            }
        }
        let act = &done.act;
        let policy =
            if act.policy.is_empty() { String::new() } else { format!(" [{}]", quoted(&act.policy)) };
        let action = match (act.action.as_str(), act.withheld.as_str()) {
            ("", _) => String::new(),
            (action, "") => format!(" {}", action.to_ascii_uppercase()),
            (action, reason) => format!(" {action} withheld ({})", quoted(reason)),
        };
        let mut line = self.begin(done.first, prefix, stroke);
        let kept = [&tail, &policy, &action].iter().map(|text| text.chars().count()).sum();
        line.fit_styled(Some(Style::Act), &act.text, kept, ARGUMENTS_LEAST);
        line.add(Some(Style::Dim), &tail).add(Some(Style::Policy), &policy).add(Some(Style::Alert), &action);
        line
    }

    fn begin(&self, time: u64, prefix: &str, stroke: &str) -> Line {
        let mut line = self.screen.line();
        line.add(Some(Style::Dim), &format!("{} {prefix}{stroke}", self.time(time)));
        line
    }

    /// The time of the day, or the date of another, in twelve columns.
    fn time(&self, time: u64) -> String {
        let (seconds, milliseconds) = (time / SECOND, time / 1_000_000 % 1000);
        let (day, second) = (seconds / DAY, seconds % DAY);
        match time {
            0 => format!("{:12}", ""),
            _ if day != self.day => format!("{:12}", date(day)),
            _ => format!("{:02}:{:02}:{:02}.{milliseconds:03}", second / 3600, second / 60 % 60, second % 60),
        }
    }
}

fn date(day: u64) -> String {
    let time = Timestamp { seconds: i64::try_from(day * DAY).unwrap_or_default(), nanos: 0 };
    time.to_string().chars().take_while(|&c| c != 'T').collect()
}

fn program(image: &Image) -> String {
    if image.binary.is_empty() { "?".to_owned() } else { quoted(&image.binary).into_owned() }
}

/// Arguments after a space. They are one line already; only what commands a terminal is taken out.
fn arguments(image: &Image) -> String {
    if image.arguments.is_empty() {
        return String::new();
    }
    let printable = |word: &str| {
        if quoted(word) == word { word.to_owned() } else { quoted(word).trim_matches('"').to_owned() }
    };
    image.arguments.split(' ').fold(String::new(), |text, word| text + " " + &printable(word))
}

/// How a process ended, and after what time.
fn ended(exit: &Exit, start: u64) -> String {
    let mut text = match exit {
        Exit { unseen: true, .. } => " ended unseen".to_owned(),
        Exit { signal, .. } if !signal.is_empty() => format!(" killed by {}", quoted(signal)),
        Exit { status, .. } => format!(" exit {status}"),
    };
    if exit.time > start && start > 0 {
        let _ = write!(text, " after {}", span(exit.time - start));
    }
    text
}

/// A time in nanoseconds for people.
fn span(nanoseconds: u64) -> String {
    let seconds = nanoseconds / SECOND;
    match seconds {
        0 if nanoseconds < 1_000_000 => format!("{} us", nanoseconds / 1000),
        0 => format!("{} ms", nanoseconds / 1_000_000),
        1..60 => format!("{seconds}.{} s", nanoseconds / 100_000_000 % 10),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..DAY => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / DAY, seconds / 3600 % 24),
    }
}

fn kinds(counts: &BTreeMap<crate::acts::Kind, u64>) -> String {
    let words: Vec<String> =
        counts.iter().map(|(kind, count)| format!("{count} {}", kind.plural())).collect();
    words.join(", ")
}

fn names(counts: &BTreeMap<String, u64>) -> String {
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{} {count}", quoted(name))).collect();
    words.join(", ")
}

/// Counts by program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Processes that were it.
    pub processes: u64,
    /// Events of it: files, connections and other calls.
    pub files: u64,
    pub connections: u64,
    pub calls: u64,
    /// Actions of policies on it.
    pub acted: u64,
    pub withheld: u64,
}

/// What shown processes did, by program, the busiest first.
pub fn programs(picture: &Picture) -> Vec<(&str, Sums)> {
    use crate::acts::Kind;
    let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
    for node in picture.nodes.iter().filter(|node| node.shown == Shown::All) {
        for &index in &node.images {
            let image = &picture.forest.images[index];
            let sum = sums.entry(&image.binary).or_default();
            sum.processes += 1;
            let kept = image.acts.iter().map(|done| (done.act.kind, done.count));
            for (kind, count) in kept.chain(image.more.iter().map(|(&kind, &count)| (kind, count))) {
                match kind {
                    Kind::File => sum.files += count,
                    Kind::Connection => sum.connections += count,
                    _ => sum.calls += count,
                }
            }
            for done in image.acts.iter().filter(|done| !done.act.action.is_empty()) {
                *(if done.act.withheld.is_empty() { &mut sum.acted } else { &mut sum.withheld }) +=
                    done.count;
            }
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    let total = |sum: &Sums| sum.files + sum.connections + sum.calls + sum.processes;
    sums.sort_by_key(|(name, sum)| (std::cmp::Reverse((sum.acted, total(sum))), *name));
    sums
}

/// What was counted, with what is missing.
pub fn summary(picture: &Picture, by_program: bool) -> String {
    let Counts { events, kinds: by_kind, policies, acted, withheld, .. } = &picture.forest.counts;
    let counts = &picture.forest.counts;
    let shown = picture.nodes.iter().filter(|node| node.shown != Shown::No).count();
    let mut text = String::new();
    if by_program {
        let titles = ["BINARY", "PROCESSES", "FILES", "CONNECTIONS", "CALLS", "ACTED", "WITHHELD"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        let programs = programs(picture);
        for (name, sum) in programs.iter().take(BINARIES) {
            let name = if name.is_empty() { "?".to_owned() } else { quoted(name).into_owned() };
            let numbers = [sum.processes, sum.files, sum.connections, sum.calls, sum.acted, sum.withheld];
            rows.push([vec![name], numbers.map(|number| number.to_string()).to_vec()].concat());
        }
        text.push_str(&output::columns(&rows));
        if programs.len() > BINARIES {
            let _ = writeln!(text, "and {} more programs", programs.len() - BINARIES);
        }
        text.push('\n');
    }
    let gap = if by_kind.is_empty() { "" } else { ": " };
    let _ = writeln!(
        text,
        "{shown} of {} processes shown; {events} events{gap}{}; {} killed, {} failed",
        picture.nodes.len(),
        kinds(by_kind),
        counts.killed,
        counts.failed
    );
    let nodes = picture.forest.nodes.len();
    if nodes > 1 {
        let _ = writeln!(text, "from {nodes} machines");
    }
    for (what, counts) in [("policies", policies), ("actions", acted), ("withheld", withheld)] {
        if !counts.is_empty() {
            let _ = writeln!(text, "{what}: {}", names(counts));
        }
    }
    if counts.gaps > 0 {
        let _ = writeln!(
            text,
            "! {} records were lost before they became events ({} gaps): processes and acts may be missing",
            counts.lost, counts.gaps
        );
    }
    if counts.unkept > 0 {
        let _ = writeln!(
            text,
            "! {} events are counted but not shown: they go beyond --max-memory or --max-events",
            counts.unkept
        );
    }
    text
}

//! The tree as JSON and for Graphviz. JSON is written as it is gone through, so that a deep tree needs no deep stack.

use std::fmt::Write;

use prost_types::Timestamp;
use serde_json::{Map, Value, json};

use super::forest::{Done, Image};
use super::picture::{Item, Picture, Shown};
use super::show::programs;

/// Longest label of a process in a graph, in characters.
const LABEL: usize = 60;

/// The tree as a JSON object: `processes`, each with `children`, and `summary`.
pub fn json(picture: &Picture, summary_only: bool) -> String {
    let mut text = String::from("{");
    if !summary_only {
        text.push_str("\"processes\":[");
        for (place, &root) in picture.roots.iter().enumerate() {
            text.push_str(if place == 0 { "" } else { "," });
            nested(picture, root, &mut text);
        }
        text.push_str("],");
    }
    let _ = writeln!(text, "\"summary\":{}}}", summary(picture));
    text
}

/// A process with those below it.
fn nested(picture: &Picture, root: usize, text: &mut String) {
    open(picture, root, text);
    let mut stack = vec![(root, children(picture, root).into_iter(), true)];
    while let Some((_, children, first)) = stack.last_mut() {
        let Some(child) = children.next() else {
            text.push_str("]}");
            stack.pop();
            continue;
        };
        text.push_str(if std::mem::replace(first, false) { "" } else { "," });
        open(picture, child, text);
        let below = self::children(picture, child).into_iter();
        stack.push((child, below, true));
    }
}

/// Those that stand in a process, without those that go on at the top.
fn children(picture: &Picture, node: usize) -> Vec<usize> {
    let items = picture.nodes[node].items.iter();
    let children = items.filter_map(|item| if let Item::Child(child) = item { Some(*child) } else { None });
    children.filter(|&child| !picture.nodes[child].deep).collect()
}

/// A process but for its end, up to its first child.
fn open(picture: &Picture, node: usize, text: &mut String) {
    let of = &picture.nodes[node];
    let first = picture.first(node);
    let mut object = Map::new();
    image(first, &mut object);
    object.insert("parent_exec_id".into(), json!(first.parent));
    object.insert("wanted".into(), json!(of.wanted));
    if of.deep {
        object.insert("continued".into(), json!(true));
    }
    if of.shown == Shown::Way {
        object.insert("only_on_the_way".into(), json!(true));
    }
    if let Some(exit) = picture.exit(node) {
        let mut end = json!({ "signal": exit.signal, "status": exit.status });
        end["time"] = time(exit.time);
        if exit.unseen {
            end = json!({ "unseen": true });
        }
        object.insert("exit".into(), end);
    }
    let events: Vec<Value> = of
        .items
        .iter()
        .filter_map(|item| match *item {
            Item::Exec(index) => {
                let mut object = Map::from_iter([("kind".to_owned(), json!("exec"))]);
                image(&picture.forest.images[index], &mut object);
                Some(Value::Object(object))
            }
            Item::Act(index, act) => Some(done(&picture.forest.images[index].acts[act])),
            Item::Child(_) | Item::More => None,
        })
        .collect();
    object.insert("events".into(), Value::Array(events));
    let more: Map<String, Value> = picture
        .more(node)
        .into_iter()
        .map(|(kind, count)| (kind.plural().to_owned(), json!(count)))
        .collect();
    if !more.is_empty() {
        object.insert("not_kept".into(), Value::Object(more));
    }
    let object = Value::Object(object).to_string();
    text.push_str(object.strip_suffix('}').unwrap_or(&object));
    text.push_str(",\"children\":[");
}

fn image(image: &Image, object: &mut Map<String, Value>) {
    for (name, value) in [
        ("exec_id", &image.exec_id),
        ("binary", &image.binary),
        ("arguments", &image.arguments),
        ("place", &image.place),
    ] {
        if !value.is_empty() {
            object.insert(name.into(), json!(value));
        }
    }
    object.insert("pid".into(), json!(image.pid));
    if let Some(uid) = image.uid {
        object.insert("uid".into(), json!(uid));
    }
    object.insert("start_time".into(), time(image.start));
    if image.earlier {
        object.insert("before_agent".into(), json!(true));
    }
}

fn done(done: &Done) -> Value {
    let act = &done.act;
    let mut object = Map::from_iter([
        ("kind".to_owned(), json!(act.kind.name())),
        ("text".to_owned(), json!(act.text)),
        ("time".to_owned(), time(done.first)),
        ("count".to_owned(), json!(done.count)),
    ]);
    if done.last > done.first {
        object.insert("last_time".into(), time(done.last));
    }
    for (name, value) in [
        ("target", &act.target),
        ("policy", &act.policy),
        ("action", &act.action),
        ("action_withheld", &act.withheld),
    ] {
        if !value.is_empty() {
            object.insert(name.into(), json!(value));
        }
    }
    Value::Object(object)
}

fn time(nanoseconds: u64) -> Value {
    if nanoseconds == 0 {
        return Value::Null;
    }
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or_default();
    let nanos = i32::try_from(nanoseconds % 1_000_000_000).unwrap_or_default();
    json!(Timestamp { seconds, nanos }.to_string())
}

fn summary(picture: &Picture) -> Value {
    let counts = &picture.forest.counts;
    let kinds: Map<String, Value> =
        counts.kinds.iter().map(|(kind, count)| (kind.plural().to_owned(), json!(count))).collect();
    let programs: Vec<Value> = programs(picture)
        .into_iter()
        .map(|(binary, sum)| {
            json!({
                "binary": binary, "processes": sum.processes, "files": sum.files, "connections": sum.connections,
                "calls": sum.calls, "acted": sum.acted, "withheld": sum.withheld,
            })
        })
        .collect();
    json!({
        "processes": picture.nodes.len(),
        "processes_shown": picture.nodes.iter().filter(|node| node.shown != Shown::No).count(),
        "machines": picture.forest.nodes,
        "events": counts.events,
        "kinds": kinds,
        "policies": counts.policies,
        "actions": counts.acted,
        "actions_withheld": counts.withheld,
        "killed": counts.killed,
        "failed": counts.failed,
        "gaps": counts.gaps,
        "records_lost": counts.lost,
        "events_not_kept": counts.unkept,
        "programs": programs,
    })
}

/// The tree as a graph: processes, and what policies acted on.
pub fn dot(picture: &Picture) -> String {
    let mut text = String::from("digraph processes {\n  rankdir=LR;\n  node [shape=box];\n");
    for (index, node) in picture.nodes.iter().enumerate().filter(|(_, node)| node.shown != Shown::No) {
        let image = picture.first(index);
        let command: String = format!("{} {}", image.binary, image.arguments).chars().take(LABEL).collect();
        let label = format!("{} [{}]", command.trim_end(), image.pid);
        let bold = if node.wanted { ", style=bold" } else { "" };
        let _ = writeln!(text, "  p{index} [label={}{bold}];", dot_text(&label));
        if let Some(parent) = node.parent {
            let _ = writeln!(text, "  p{parent} -> p{index};");
        }
        for item in &node.items {
            let Item::Act(of, act) = *item else { continue };
            let done = &picture.forest.images[of].acts[act];
            let label: String = done.act.text.chars().take(LABEL).collect();
            let color = if done.act.action.is_empty() { "gray" } else { "red" };
            let _ = writeln!(
                text,
                "  a{of}_{act} [shape=ellipse, color={color}, label={}];\n  p{index} -> a{of}_{act};",
                dot_text(&label)
            );
        }
    }
    text.push_str("}\n");
    text
}

/// A text in quotes as Graphviz has them.
fn dot_text(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

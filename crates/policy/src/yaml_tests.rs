//! Tests of trees, places and bounds.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> (Vec<Node>, Vec<String>) {
    let mut report = Report::default();
    let documents = parse(text, &mut report);
    let told = report.finish().into_iter().map(|told| format!("{}: {}", told.span, told.message));
    (documents, told.collect())
}

fn entry<'a>(node: &'a Node, name: &str) -> &'a (Key, Node) {
    let Content::Map(entries) = &node.content else { panic!("not a map: {node:?}") };
    entries.iter().find(|(key, _)| key.text == name).unwrap()
}

#[test]
fn every_node_knows_its_place() {
    let (documents, told) = read("# head\na:\n  - b: \"x\"\n    c: [1, zwei]\n");
    assert!(told.is_empty(), "{told:?}");
    let (key, list) = entry(&documents[0], "a");
    assert_eq!(key.span, Span { line: 2, column: 1 });
    let Content::List(items) = &list.content else { panic!() };
    assert_eq!(entry(&items[0], "b").1.span, Span { line: 3, column: 8 });
    let (key, inner) = entry(&items[0], "c");
    assert_eq!(key.span, Span { line: 4, column: 5 });
    let Content::List(inner) = &inner.content else { panic!() };
    assert_eq!(inner[1].span, Span { line: 4, column: 12 });
}

#[test]
fn several_documents() {
    let (documents, told) = read("a: 1\n---\nb: 2\n---\n");
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(documents.len(), 3);
    assert!(documents[2].is_null());
    assert_eq!(entry(&documents[1], "b").0.span.line, 3);
}

#[test]
fn duplicate_keys_are_errors_and_the_rest_is_read() {
    let (documents, told) = read("a: 1\nb: 2\na: 3\nc: 4\n");
    assert_eq!(told, ["3:1: `a` is set twice"]);
    let Content::Map(entries) = &documents[0].content else { panic!() };
    assert_eq!(entries.len(), 3);
}

#[test]
fn mistakes_of_yaml_have_a_place_and_keep_what_came_before() {
    let (documents, told) = read("a: 1\n---\nb: \"open\n");
    assert_eq!(documents.len(), 1);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("not YAML"), "{told:?}");
}

#[test]
fn what_is_missing_at_the_end_is_told_at_the_end() {
    let (_, told) = read("a: 1\nsin");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("2:4: not YAML"), "{told:?}");
}

#[test]
fn aliases_are_copies() {
    let (documents, told) = read("a: &x [1, 2]\nb: *x\n");
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(entry(&documents[0], "a").1.content, entry(&documents[0], "b").1.content);
    assert_eq!(entry(&documents[0], "b").1.span.line, 2);
}

#[test]
fn aliases_cannot_explode() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let refer = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{refer}]\n"));
    }
    let (_, told) = read(&text);
    assert!(told.iter().any(|line| line.contains("aliases expand to more than")), "{told:?}");
}

#[test]
fn an_alias_inside_of_itself_is_an_error() {
    let (_, told) = read("a: &x [1, *x]\n");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn depth_is_bounded() {
    let fits = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
    assert!(read(&fits).1.is_empty());
    let (_, told) = read(&"[".repeat(MAX_DEPTH + 1));
    assert!(told[0].contains("levels deep"), "{told:?}");
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..MAX_DEPTH + 5 {
        text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(read(&text).1.iter().any(|line| line.contains("levels deep")));
}

#[test]
fn size_is_bounded() {
    let (documents, told) = read(&"#".repeat(MAX_BYTES + 1));
    assert!(documents.is_empty() && told[0].contains("are allowed"), "{told:?}");
    let (_, told) = read(&format!("[{}]", "a,".repeat(MAX_NODES + 1)));
    assert!(told[0].contains("more than 1000000 values"), "{told:?}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "[-a-z:\\[\\]{}&*!|>'\"%@` \n#,0-9?]{0,80}") {
        read(&text);
    }
}

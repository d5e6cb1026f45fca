//! The matcher against formulations that are written differently and as plainly as possible.

use proptest::prelude::*;

use super::*;
use crate::testing::{accepted, hook, with_filter, with_hook};

/// Integer types with sign and width.
const TYPES: &[(&str, bool, u32)] = &[
    ("int8", true, 8),
    ("uint8", false, 8),
    ("int16", true, 16),
    ("uint16", false, 16),
    ("int", true, 32),
    ("uint32", false, 32),
    ("int64", true, 64),
    ("uint64", false, 64),
    ("size_t", false, 64),
];

/// The value of a type that has these bits, by the machine's own conversions.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "that is the point")]
fn as_type(bits: u64, signed: bool, width: u32) -> i128 {
    match (signed, width) {
        (true, 8) => i128::from(bits as i8),
        (false, 8) => i128::from(bits as u8),
        (true, 16) => i128::from(bits as i16),
        (false, 16) => i128::from(bits as u16),
        (true, 32) => i128::from(bits as i32),
        (false, 32) => i128::from(bits as u32),
        (true, _) => i128::from(bits as i64),
        (false, _) => i128::from(bits),
    }
}

fn posts(text: &str, values: Vec<Value>) -> bool {
    let policy = accepted(text);
    let event = Event { values, ..Event::default() };
    Matcher::new(&policy).decide(hook(&policy), &event).posts
}

/// Bits near the places where types end.
fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0_u64..4).prop_map(|low| low),
        (0_u32..64, -2_i64..3).prop_map(|(bit, near)| (1_u64 << bit).wrapping_add_signed(near)),
        (0_u64..4).prop_map(|low| u64::MAX - low),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn integers(ty in prop::sample::select(TYPES), value in bits(), listed in prop::collection::vec(bits(), 1..4)) {
        let (name, signed, width) = ty;
        let own = as_type(value, signed, width);
        let others: Vec<i128> = listed.iter().map(|bits| as_type(*bits, signed, width)).collect();
        let texts: Vec<String> = others.iter().map(|other| format!("'{other}'")).collect();
        let texts = format!("[{}]", texts.join(", "));
        let ranges: Vec<String> =
            others.windows(2).map(|pair| format!("'{}:{}'", pair[0].min(pair[1]), pair[0].max(pair[1]))).collect();
        let value = || vec![Value::Integer(own)];
        let any = |fit: &dyn Fn(i128) -> bool| others.iter().any(|other| fit(*other));
        prop_assert_eq!(posts(&with_filter(name, "Equal", &texts), value()), any(&|other| other == own));
        prop_assert_eq!(posts(&with_filter(name, "NotEqual", &texts), value()), !any(&|other| other == own));
        prop_assert_eq!(posts(&with_filter(name, "InMap", &texts), value()), any(&|other| other == own));
        prop_assert_eq!(posts(&with_filter(name, "NotInMap", &texts), value()), !any(&|other| other == own));
        prop_assert_eq!(posts(&with_filter(name, "GT", &texts), value()), any(&|other| own > other));
        prop_assert_eq!(posts(&with_filter(name, "LT", &texts), value()), any(&|other| own < other));
        if !ranges.is_empty() {
            let ranges = format!("[{}]", ranges.join(", "));
            let inside = others.windows(2).any(|pair| {
                (own >= pair[0] && own <= pair[1]) || (own >= pair[1] && own <= pair[0])
            });
            prop_assert_eq!(posts(&with_filter(name, "InRange", &ranges), value()), inside);
            prop_assert_eq!(posts(&with_filter(name, "NotInRange", &ranges), value()), !inside);
        }
    }

    #[test]
    fn masks(ty in prop::sample::select(TYPES), value in bits(), mask in bits()) {
        let (name, signed, width) = ty;
        let keep = u64::MAX >> (64 - width);
        prop_assume!(mask & keep != 0);
        let text = with_filter(name, "Mask", &format!("['{:#x}']", mask & keep));
        let own = Value::Integer(as_type(value, signed, width));
        prop_assert_eq!(posts(&text, vec![own]), value & mask & keep != 0);
    }

    #[test]
    fn texts(text in "[ab/]{0,6}", parts in prop::collection::vec("[ab/]{1,3}", 1..4)) {
        let values = format!("[{}]", parts.iter().map(|part| format!("'{part}'")).collect::<Vec<_>>().join(", "));
        for (operator, fit) in [
            ("Equal", (|text: &str, part: &str| text == part) as fn(&str, &str) -> bool),
            ("Prefix", |text, part| text.len() >= part.len() && &text[..part.len()] == part),
            ("Postfix", |text, part| text.len() >= part.len() && &text[text.len() - part.len()..] == part),
            ("SubString", |text, part| (0..=text.len()).any(|at| text[at..].starts_with(part))),
        ] {
            let expected = parts.iter().any(|part| fit(&text, part));
            let string = || vec![Value::Text(text.clone().into_bytes())];
            prop_assert_eq!(posts(&with_filter("string", operator, &values), string()), expected, "{}", operator);
            if operator == "SubString" {
                continue;
            }
            let negated = format!("Not{operator}");
            prop_assert_eq!(posts(&with_filter("string", &negated, &values), string()), !expected);
            let path = || vec![Value::Path { path: text.clone().into_bytes(), mode: 0, file: Vec::new() }];
            let with_path = |operator: &str| posts(&with_filter("path", operator, &values), path());
            prop_assert_eq!(with_path(operator), expected && !text.is_empty());
            prop_assert_eq!(with_path(&negated), !expected && !text.is_empty());
        }
    }

    /// Selectors are an OR of ANDs, decided by the first that matches.
    #[test]
    fn selectors(
        selectors in prop::collection::vec(prop::collection::vec((0_usize..3, 0_i128..4, any::<bool>()), 0..4), 1..5),
        values in prop::collection::vec(prop::option::of(0_i128..4), 3),
    ) {
        let mut text = String::from("args: [{index: 0, type: int}, {index: 1, type: int}, {index: 2, type: int}]\nselectors:\n");
        for filters in &selectors {
            let filters: Vec<String> = filters
                .iter()
                .map(|(index, value, negated)| {
                    let operator = if *negated { "NotEqual" } else { "Equal" };
                    format!("{{index: {index}, operator: {operator}, values: ['{value}']}}")
                })
                .collect();
            text.push_str(&format!("- {{matchArgs: [{}]}}\n", filters.join(", ")));
        }
        let policy = accepted(&with_hook(&text));
        let event = Event {
            values: values.iter().map(|value| value.map_or(Value::Failed, Value::Integer)).collect(),
            ..Event::default()
        };
        let decision = Matcher::new(&policy).decide(hook(&policy), &event);
        let fits = |(index, value, negated): &(usize, i128, bool)| {
            values[*index].is_some_and(|own| if *negated { own != *value } else { own == *value })
        };
        let expected = selectors.iter().position(|filters| filters.iter().all(fits));
        prop_assert_eq!(decision.selector, expected);
        prop_assert_eq!(decision.posts, expected.is_some());
        // Of every selector that was tried, exactly the filters up to the first that fails.
        for (tried, filters) in decision.tried.iter().zip(&selectors) {
            let length = filters.iter().position(|filter| !fits(filter)).map_or(filters.len(), |first| first + 1);
            prop_assert_eq!(tried.clauses.len(), length);
        }
    }

    #[test]
    fn ports(port: u16, low: u16, high: u16) {
        let values = format!("['{low}:{high}']");
        let socket = || vec![Value::Socket(SocketValue {
            destination: Some([127, 0, 0, 1].into()),
            destination_port: port,
            ..SocketValue::default()
        })];
        let inside = port >= low.min(high) && port <= low.max(high);
        prop_assert_eq!(posts(&with_filter("sock", "DPort", &values), socket()), inside);
        prop_assert_eq!(posts(&with_filter("sock", "NotDPort", &values), socket()), !inside);
        prop_assert_eq!(posts(&with_filter("sock", "DPortPriv", "[]"), socket()), port < 1024);
        prop_assert_eq!(posts(&with_filter("sock", "NotDPortPriv", "[]"), socket()), port >= 1024);
    }
}

//! Tests of expressions: what is accepted, what it means.

use proptest::prelude::*;

use super::*;

const TYPES: &[Option<NumberType>] =
    &[Some(NumberType::I32), Some(NumberType::U32), Some(NumberType::I64), Some(NumberType::U64), None];

fn holds(text: &str, values: &[i128]) -> bool {
    parse(text, TYPES).unwrap().holds(&|position| values.get(position).copied()).unwrap()
}

#[test]
fn precedence_and_types() {
    let values = [-1, 7, 100, 200];
    for text in [
        "arg0 == int32(-1)",
        "arg1 == uint32(7u)",
        "arg1 == uint32(0x7)",
        "arg2 + 1 == 101 && arg3 - 1u == 199u",
        "arg2 == 1 || arg2 == 100",
        "!(arg2 < 100) && arg2 <= 100 && arg2 >= 100 && !(arg2 > 100)",
        "arg2 == 1 && arg2 == 2 || arg2 == 100",
        "and(arg1, uint32(4u)) != uint32(0u)",
        "or(arg2, 3) == 103",
        "xor(arg2, 100) == 0",
        "not(arg0) == int32(0)",
        "uint32(arg0) == uint32(4294967295u)",
        "int64(arg0) == -1",
        "1 - 1 - 1 == -1",
    ] {
        assert!(holds(text, &values), "{text}");
    }
    assert!(!holds("arg0 > int32(0)", &values));
    assert!(holds("arg0 + int32(1) < arg0", &[i128::from(i32::MAX)]), "arithmetic wraps");
}

#[test]
fn mistakes_are_told() {
    for (text, part) in [
        ("", "is not known here"),
        ("arg2", "gives a number"),
        ("arg2 == 1u", "the types differ"),
        ("arg0 == 1", "the types differ"),
        ("arg9 == 1", "5 arguments are captured"),
        ("arg4 == 1", "is not an integer"),
        ("arg2 == 1 &&", "is not known here"),
        ("(arg2 == 1", "expected `)`"),
        ("arg2 == 1)", "expected an operator"),
        ("arg2 * 2 == 1", "expected an operator"),
        ("arg2 && arg2 == 1", "must be conditions"),
        ("(arg2 == 1) == 1", "must be numbers"),
        ("!arg2", "needs a condition"),
        ("and(arg2) == 1", "takes 2, not 1"),
        ("99999999999999999999 == 1", "expected a number"),
        ("9223372036854775808 == 1", "does not fit int64"),
        ("size(arg2) == 1", "is not known here"),
    ] {
        let problem = parse(text, TYPES).unwrap_err();
        assert!(problem.message.contains(part), "{text}: {problem}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = format!("{}arg2 == 1{}", "(".repeat(500), ")".repeat(500));
    assert!(parse(&nested, TYPES).unwrap_err().message.contains("levels deep"));
    let nots = format!("{}(arg2 == 1)", "!".repeat(500));
    assert!(parse(&nots, TYPES).unwrap_err().message.contains("levels deep"));
    let calls = format!("{}arg2{} == 1", "not(".repeat(500), ")".repeat(500));
    assert!(parse(&calls, TYPES).unwrap_err().message.contains("levels deep"));
    let chain = vec!["arg2 == 1"; 1000].join(" || ");
    assert!(parse(&chain, TYPES).unwrap_err().message.contains("in a row"));
}

#[test]
fn what_cannot_be_read_never_matches() {
    let read = |position: usize| (position == 2).then_some(1);
    let condition = parse("arg2 == 1 || arg3 == 1u", TYPES).unwrap();
    assert_eq!(condition.holds(&read), None);
    assert_eq!(parse("arg2 == 1", TYPES).unwrap().holds(&read), Some(true));
}

proptest! {
    #[test]
    fn arithmetic_is_that_of_the_machine(a: i32, b: i32, c: u64, d: u64) {
        let values = [i128::from(a), 0, i128::from(b), i128::from(c)];
        let text = format!("arg0 + int32({b}) == int32({})", i64::from(a.wrapping_add(b)));
        prop_assert!(holds(&text, &values), "{}", text);
        let text = format!("arg3 - {d}u == {}u", c.wrapping_sub(d));
        prop_assert!(holds(&text, &values), "{}", text);
        let text = format!("xor(and(arg3, {d}u), or(arg3, {d}u)) == xor(arg3, {d}u)");
        prop_assert!(holds(&text, &values), "{}", text);
        let text = format!("int32(arg3) == int32({})", c as i32);
        prop_assert!(holds(&text, &values), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[-argint0-9u()!=<>&|+, .é]{0,30}") {
        let _ = parse(&text, TYPES);
    }
}

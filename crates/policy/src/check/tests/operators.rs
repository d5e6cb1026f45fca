//! Every operator with every type.

use crate::model::{IntegerTest, Side, Test, TextTest};
use crate::testing::{accepted, assert_told, selector, with_filter};
use crate::values::{IntegerRange, PortRange};
use crate::words::{ArgType, FileType, Operator};
use crate::{Severity, check};

fn test_of(ty: &str, operator: &str, values: &str) -> (Test, bool) {
    let policy = accepted(&with_filter(ty, operator, values));
    let predicate = selector(&policy).arguments[0].predicate.clone();
    (predicate.test, predicate.negated)
}

fn integers(ty: &str, operator: &str, values: &str) -> IntegerTest {
    match test_of(ty, operator, values).0 {
        Test::Integer { test, .. } | Test::Capabilities(test) => test,
        other => panic!("{other:?}"),
    }
}

fn texts(ty: &str, operator: &str, values: &str) -> TextTest {
    match test_of(ty, operator, values).0 {
        Test::Text(test) => test,
        other => panic!("{other:?}"),
    }
}

/// What operators look at, written out a second time: types by operator.
fn expected(operator: Operator) -> &'static [&'static str] {
    const INTEGERS: &[&str] =
        &["int8", "uint8", "int16", "uint16", "int", "uint32", "int64", "uint64", "size_t", "bpf_cmd"];
    const NUMBERS: &[&str] = &[
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int",
        "uint32",
        "int64",
        "uint64",
        "size_t",
        "bpf_cmd",
        "kernel_cap_t",
        "cap_inheritable",
        "cap_permitted",
        "cap_effective",
    ];
    const TEXTS: &[&str] =
        &["string", "char_buf", "net_device", "fd", "file", "path", "dentry", "linux_binprm", "sockaddr_un"];
    const EQUAL: &[&str] = &[
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int",
        "uint32",
        "int64",
        "uint64",
        "size_t",
        "bpf_cmd",
        "kernel_cap_t",
        "cap_inheritable",
        "cap_permitted",
        "cap_effective",
        "string",
        "char_buf",
        "net_device",
        "fd",
        "file",
        "path",
        "dentry",
        "linux_binprm",
        "sockaddr_un",
    ];
    match operator.positive().0 {
        Operator::Equal => EQUAL,
        Operator::GreaterThan | Operator::LessThan | Operator::Mask => NUMBERS,
        Operator::InMap | Operator::InRange => INTEGERS,
        Operator::Prefix
        | Operator::Postfix
        | Operator::SubString
        | Operator::SubStringIgnCase
        | Operator::Glob => TEXTS,
        Operator::FileType | Operator::SameFile => &["fd", "file", "path", "dentry", "linux_binprm"],
        Operator::SAddr | Operator::SPort | Operator::SPortPriv => &["sock", "socket", "skb", "sockaddr"],
        Operator::DAddr | Operator::DPort | Operator::DPortPriv | Operator::Protocol => {
            &["sock", "socket", "skb"]
        }
        Operator::Family => &["sock", "socket", "skb", "sockaddr", "sockaddr_un"],
        Operator::State => &["sock", "socket"],
        other => panic!("{other:?}"),
    }
}

fn value(operator: Operator) -> &'static str {
    match operator.positive().0 {
        Operator::InRange => "['1:2']",
        Operator::FileType => "[reg]",
        Operator::SameFile => "[/etc/shadow]",
        Operator::SAddr | Operator::DAddr => "[127.0.0.1]",
        Operator::SPortPriv | Operator::DPortPriv => "[]",
        _ => "['1']",
    }
}

#[test]
fn every_operator_with_every_type() {
    let special = [Operator::CapabilitiesGained, Operator::CelExpr];
    // These have rules of their own where they may stand.
    let elsewhere = [ArgType::Auto, ArgType::ConstBuf, ArgType::DataLoc, ArgType::Syscall64];
    for operator in Operator::ALL.iter().filter(|operator| !special.contains(operator)) {
        for ty in ArgType::ALL.iter().filter(|ty| !elsewhere.contains(ty)) {
            let checked = check(&with_filter(ty.name(), operator.name(), value(*operator)));
            let accepted = checked.count(Severity::Error) == 0;
            let expected = expected(*operator).contains(&ty.name());
            assert_eq!(accepted, expected, "{} {}", operator.name(), ty.name());
        }
    }
}

#[test]
fn integers_are_numbers_of_their_type() {
    assert_eq!(integers("int", "Equal", "['-1', '0x10', 7]"), IntegerTest::Equal(vec![-1, 16, 7]));
    assert_eq!(integers("int", "GT", "[5]"), IntegerTest::Greater(vec![5]));
    assert_eq!(integers("int8", "LessThan", "['-128']"), IntegerTest::Less(vec![-128]));
    assert_eq!(integers("int", "Mask", "['0x80000000', 1]"), IntegerTest::Mask(vec![1 << 31, 1]));
    let range = |min, max| IntegerRange { min, max };
    let set = IntegerTest::InSet { ranges: vec![range(1, 1), range(5, 9)], lists: vec![] };
    assert_eq!(integers("uint32", "InMap", "['1', '5:9']"), set);
    let set = IntegerTest::InSet { ranges: vec![range(-5, 0x10)], lists: vec![] };
    assert_eq!(integers("int64", "InRange", "['-5:0x10']"), set);
    let most = IntegerTest::Equal(vec![i128::from(u64::MAX)]);
    assert_eq!(integers("size_t", "Equal", "['18446744073709551615']"), most);
    assert!(matches!(
        test_of("int", "NotInMap", "[1]"),
        (Test::Integer { signed: true, bits: 32, .. }, true)
    ));
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    for (ty, operator, values, word) in [
        ("uint8", "Equal", "[256]", "out of range: 0 to 255"),
        ("int16", "Equal", "[32768]", "out of range"),
        ("uint32", "Equal", "['-1']", "0xffffffff"),
        ("int", "Equal", "[ten]", "`ten` is not a whole number"),
        ("int", "InRange", "['5']", "5:5"),
        ("int", "Mask", "[0]", "never matches"),
        ("int", "InRange", "['9:5']", "written backwards"),
        ("kernel_cap_t", "Equal", "[CAP_SYS_ADMN]", "CAP_SYS_ADMIN"),
    ] {
        assert_told(&with_filter(ty, operator, values), &[word]);
    }
}

#[test]
fn capability_sets_are_bits() {
    let set = integers("cap_effective", "Equal", "['CAP_CHOWN,DAC_OVERRIDE', '0x8']");
    assert_eq!(set, IntegerTest::Equal(vec![3, 8]));
    assert_eq!(integers("kernel_cap_t", "Mask", "[cap_sys_admin]"), IntegerTest::Mask(vec![1 << 21]));
}

#[test]
fn texts_are_bytes_without_a_nul_at_the_end() {
    let bytes = |text: &str| text.as_bytes().to_vec();
    assert_eq!(texts("string", "Equal", "[\"a\\0\"]"), TextTest::Equal(vec![bytes("a")]));
    assert_eq!(texts("char_buf", "Equal", "[\"a\\0\"]"), TextTest::Equal(vec![bytes("a\0")]));
    assert_eq!(texts("file", "Postfix", "[x]"), TextTest::Postfix(vec![bytes("x")]));
    let lower = TextTest::ContainsIgnoringCase(vec![bytes("abc")]);
    assert_eq!(texts("string", "SubStringIgnCase", "[aBc]"), lower);
    assert!(matches!(texts("path", "Glob", "['/etc/**']"), TextTest::Glob(_)));
    assert_told(&with_filter("string", "Equal", "[\"a\\0b\"]"), &["error", "can never match"]);
    assert_told(&with_filter("file", "Equal", "[etc]"), &["warning", "paths begin with `/`"]);
    assert_told(&with_filter("file", "Prefix", "['']"), &["warning", "matches everything"]);
    assert_told(&with_filter("file", "Glob", "['/[a']"), &["error", "not closed"]);
    let long = "x".repeat(4096);
    accepted(&with_filter("string", "Prefix", &format!("[{long}]")));
    accepted(&with_filter("string", "Postfix", &format!("[{long}]")));
    assert_told(&with_filter("string", "Prefix", &format!("[{long}x]")), &["4097 bytes, 4096 are allowed"]);
}

#[test]
fn sockets() {
    let ports = vec![PortRange { min: 53, max: 53 }, PortRange { min: 1, max: 9 }];
    assert_eq!(test_of("sock", "NotDPort", "[53, '1:9']"), (Test::Port(Side::Destination, ports), true));
    assert_eq!(test_of("skb", "Protocol", "[IPPROTO_UDP, '6']"), (Test::Protocol(vec![17, 6]), false));
    assert_eq!(test_of("sockaddr", "Family", "[AF_INET6, '2']"), (Test::Family(vec![10, 2]), false));
    assert_eq!(test_of("sock", "State", "[TCP_LISTEN]"), (Test::State(vec![10]), false));
    assert_eq!(test_of("sock", "NotSportPriv", "[]"), (Test::PrivilegedPort(Side::Source), true));
    let Test::Address(Side::Source, networks) = test_of("sockaddr", "SAddr", "['10.1.1.1/8', '::1']").0
    else {
        panic!()
    };
    assert_eq!(networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1"]);
    assert_told(
        &with_filter("skb", "State", "[TCP_LISTEN]"),
        &["State needs a sock or socket argument", "an? skb"][..1],
    );
    assert_told(&with_filter("sock", "DAddr", "[example.com]"), &["is not an address or network"]);
    assert_told(&with_filter("sock", "DPort", "['70000']"), &["not a port"]);
    assert_told(&with_filter("sock", "Family", "[AF_INTE]"), &["AF_INET"]);
}

#[test]
fn file_types() {
    let types = vec![FileType::Regular, FileType::Fifo];
    assert_eq!(test_of("file", "NotFileType", "[regular, pipe]"), (Test::FileType(types), true));
    assert_told(&with_filter("file", "FileType", "[door]"), &["`door` is not a type of file", "dir"]);
}

#[test]
fn files_are_named_by_absolute_paths() {
    let paths = vec![b"/etc/shadow".to_vec(), b"/srv".to_vec(), b"/".to_vec()];
    assert_eq!(test_of("file", "SameFile", "[/etc/shadow, '/srv/', /]"), (Test::SameFile(paths), false));
    for (value, word) in [("shadow", "absolute path"), ("/etc/../srv", "`..`"), ("\"/a\\0\"", "NUL byte")] {
        assert_told(&with_filter("file", "NotSameFile", &format!("[{value}]")), &[word]);
    }
}

#[test]
fn thousands_of_values_are_fine() {
    let values: Vec<String> = (0..20_000).map(|number| format!("'{number}'")).collect();
    let IntegerTest::Equal(values) = integers("int", "NotEqual", &format!("[{}]", values.join(","))) else {
        panic!()
    };
    assert_eq!(values.len(), 20_000);
}

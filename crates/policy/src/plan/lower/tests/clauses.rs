//! Filters and what they become.

use std::fmt::Write;

use saker_abi::generated::*;

use super::fake::Fake;
use super::{assert_refused, filtered, hook, planned, pool, process_clauses, value_clauses};
use crate::plan::{BinaryTest, Pattern, Request, SelectorRequest};
use crate::testing::{with_filter, with_hook};
use crate::values::Glob;

/// Operator, flags and numbers of a hook's only clause.
fn one(ty: &str, operator: &str, values: &str) -> (u32, u32, Vec<u64>) {
    let plan = filtered(ty, operator, values);
    let clauses = value_clauses(&plan.hooks[0].plan);
    assert_eq!(clauses.len(), 1, "{ty} {operator}");
    let clause = clauses[0];
    let pairs = u32::from(clause.op) == SAKER_OP_RANGE;
    (clause.op.into(), clause.flags.into(), pool(&plan.hooks[0].plan, &clause, pairs))
}

#[test]
fn integers() {
    let signed = SAKER_CLAUSE_SIGNED;
    let negated = SAKER_CLAUSE_NEGATED;
    let minus = |number: i64| number.cast_unsigned();
    for (ty, operator, values, expected) in [
        ("uint32", "Equal", "['7', '5', '7']", (SAKER_OP_EQUAL, 0, vec![5, 7])),
        ("int", "Equal", "['-1']", (SAKER_OP_EQUAL, signed, vec![minus(-1)])),
        ("int", "NotEqual", "['0xffffffff']", (SAKER_OP_EQUAL, signed | negated, vec![minus(-1)])),
        ("uint64", "Equal", "['0xffffffffffffffff']", (SAKER_OP_EQUAL, 0, vec![u64::MAX])),
        ("int", "GT", "['5', '-3', '9']", (SAKER_OP_GREATER, signed, vec![minus(-3)])),
        ("uint16", "LT", "['5', '3', '9']", (SAKER_OP_LESS, 0, vec![9])),
        ("uint32", "Mask", "['1', '0x10', '2']", (SAKER_OP_MASK, 0, vec![0x13])),
        ("int", "InRange", "['-5:3', '4:9', '20:21']", (SAKER_OP_RANGE, signed, vec![minus(-5), 9, 20, 21])),
        ("uint8", "NotInRange", "['1:3']", (SAKER_OP_RANGE, negated, vec![1, 3])),
        ("uint32", "InMap", "['5', '9', '8']", (SAKER_OP_RANGE, 0, vec![5, 5, 8, 9])),
        ("uint32", "InMap", "['5', '9']", (SAKER_OP_EQUAL, 0, vec![5, 9])),
        ("uint32", "NotInMap", "['5', '1:9']", (SAKER_OP_RANGE, negated, vec![1, 9])),
        ("cap_effective", "Equal", "['CAP_CHOWN,CAP_KILL']", (SAKER_OP_EQUAL, 0, vec![0x21])),
        ("kernel_cap_t", "Mask", "['CAP_CHOWN', 'CAP_KILL']", (SAKER_OP_MASK, 0, vec![0x21])),
    ] {
        assert_eq!(one(ty, operator, values), expected, "{ty} {operator} {values}");
    }
}

#[test]
fn many_numbers_are_a_set_and_many_ranges_too() {
    let list = |count: u32, text: &dyn Fn(u32) -> String| {
        let all: Vec<String> = (0..count).map(|number| format!("'{}'", text(number))).collect();
        format!("[{}]", all.join(", "))
    };
    let plan = filtered("uint32", "NotEqual", &list(40, &|number| (number * 3).to_string()));
    let clause = value_clauses(&plan.hooks[0].plan)[0];
    assert_eq!((clause.op.into(), clause.flags.into()), (SAKER_OP_NUMBER_SET, SAKER_CLAUSE_NEGATED));
    let numbers: Vec<u64> = plan.sets.numbers.iter().map(|key| key.number).collect();
    assert_eq!(numbers, (0..40).map(|number| number * 3).collect::<Vec<u64>>());
    assert!(plan.sets.numbers.iter().all(|key| key.set == clause.set && clause.set > 0));
    // More ranges than can be compared one by one, but few numbers.
    let ranges = list(150, &|number| format!("{}:{}", number * 10, number * 10 + 1));
    let plan = filtered("uint32", "InRange", &ranges);
    assert_eq!(u32::from(value_clauses(&plan.hooks[0].plan)[0].op), SAKER_OP_NUMBER_SET);
    assert_eq!(plan.sets.numbers.len(), 300);
    let wide = list(150, &|number| format!("{}:{}", number * 10_000, number * 10_000 + 5_000));
    let text = with_filter("uint32", "InRange", &wide);
    assert_refused(&text, &Fake::default(), &["150 separate ones"]);
}

#[test]
fn texts() {
    for (operator, op, flags) in [
        ("Equal", SAKER_OP_TEXT_EQUAL, 0),
        ("NotEqual", SAKER_OP_TEXT_EQUAL, SAKER_CLAUSE_NEGATED),
        ("Postfix", SAKER_OP_TEXT_POSTFIX, 0),
        ("NotPostfix", SAKER_OP_TEXT_POSTFIX, SAKER_CLAUSE_NEGATED),
    ] {
        let plan = filtered("string", operator, "['/b', '/aa', '/b']");
        let clause = value_clauses(&plan.hooks[0].plan)[0];
        assert_eq!((u32::from(clause.op), u32::from(clause.flags)), (op, flags), "{operator}");
        let texts: Vec<&[u8]> = plan.sets.texts.iter().map(|key| &key.text[..key.len as usize]).collect();
        assert_eq!(texts, [b"/aa".as_slice(), b"/b"]);
        assert!(plan.sets.texts.iter().all(|key| key.set == clause.set));
        let lengths = if op == SAKER_OP_TEXT_POSTFIX { vec![2, 3] } else { vec![] };
        assert_eq!(pool(&plan.hooks[0].plan, &clause, false), lengths);
    }
    for operator in ["Prefix", "NotPrefix"] {
        let plan = filtered("file", operator, "['/etc/', /usr]");
        let keys: Vec<(u32, &[u8])> =
            plan.sets.prefixes.iter().map(|key| (key.bits, &key.text[..5])).collect();
        assert_eq!(keys, [(32 + 40, b"/etc/".as_slice()), (32 + 32, b"/usr\0")]);
    }
}

#[test]
fn long_texts_are_chains_of_pieces() {
    let longest = "x".repeat(SAKER_LONG_MAX as usize);
    let one = "a".repeat(248);
    let values = format!("['b{one}', '{one}{one}', '{one}b', '{longest}']");
    for (operator, op, lengths) in [
        ("Equal", SAKER_OP_TEXT_EQUAL, vec![]),
        ("NotPrefix", SAKER_OP_TEXT_PREFIX, vec![249, 496, 4096]),
        ("Postfix", SAKER_OP_TEXT_POSTFIX, vec![249, 496, 4096]),
    ] {
        let plan = filtered("string", operator, &values);
        let clause = value_clauses(&plan.hooks[0].plan)[0];
        assert_eq!(u32::from(clause.op), op, "{operator}");
        assert_eq!(u32::from(clause.flags) & SAKER_CLAUSE_LONG, SAKER_CLAUSE_LONG, "{operator}");
        assert_eq!(pool(&plan.hooks[0].plan, &clause, false), lengths, "{operator}");
        assert!(plan.sets.texts.is_empty() && plan.sets.prefixes.is_empty(), "{operator}");
        // 248 bytes, and what follows them in two texts; another beginning and its end; 17 pieces of the longest.
        let pieces: Vec<_> = plan.sets.pieces.iter().filter(|(key, _)| key.text[0] != b'x').collect();
        assert_eq!(plan.sets.pieces.len() - pieces.len(), 17, "{operator}");
        let told: Vec<(u32, u32)> = pieces.iter().map(|(key, piece)| (key.len, piece.ends)).collect();
        assert_eq!(told, [(248, 0), (248, 1), (1, 1), (248, 0), (1, 1)], "{operator}");
        assert_eq!((pieces[0].0.set, pieces[3].0.set), (clause.set, clause.set));
        assert!(pieces[1..3].iter().all(|(key, _)| key.set == pieces[0].1.next));
    }
    let plan = filtered("string", "Equal", &format!("['{one}']"));
    assert_eq!(value_clauses(&plan.hooks[0].plan)[0].flags, 0);
    assert!(plan.sets.pieces.is_empty());
}

#[test]
fn patterns_with_one_wildcard_are_compared() {
    for (values, op) in [
        ("['/etc/**', '/usr/**']", SAKER_OP_TEXT_PREFIX),
        ("['**/id_rsa', '**.pem']", SAKER_OP_TEXT_POSTFIX),
        ("['/etc/passwd']", SAKER_OP_TEXT_EQUAL),
    ] {
        let plan = filtered("file", "NotGlob", values);
        let clause = value_clauses(&plan.hooks[0].plan)[0];
        assert_eq!((u32::from(clause.op), u32::from(clause.flags)), (op, SAKER_CLAUSE_NEGATED), "{values}");
        assert!(plan.sets.columns.is_empty());
    }
}

#[test]
fn other_patterns_and_parts_are_columns() {
    for (ty, operator, values, shortest) in [
        ("file", "Glob", "['/etc/*', '/etc/*']", 5),
        ("file", "NotGlob", "['/etc/**', '**/x']", 1),
        ("path", "Glob", "['/home/**/x', '/a?b']", 4),
        // Text that is no path may be the last component alone.
        ("string", "Glob", "['**/x']", 1),
        ("char_buf", "SubString", "[xyz, abcd]", 3),
        ("sockaddr_un", "SubStringIgnCase", "[xyz]", 3),
    ] {
        let plan = filtered(ty, operator, values);
        let clause = value_clauses(&plan.hooks[0].plan)[0];
        assert_eq!(u32::from(clause.op), SAKER_OP_TEXT_PATTERN, "{values}");
        assert_eq!((clause.set, clause.count, clause.number), (0, 1, shortest), "{values}");
        assert_eq!(plan.sets.columns.len(), 1, "{values}");
    }
    let text = with_hook(
        "args: [{index: 0, type: string}]
selectors:
- matchArgs: [{index: 0, operator: Glob, values: ['a*b']}, {index: 0, operator: NotGlob, values: ['*c*']}]",
    );
    let plan = planned(&text, &Fake::default());
    let clauses = value_clauses(&plan.hooks[0].plan);
    assert_eq!((clauses[0].set, clauses[1].set, plan.sets.columns.len()), (0, 1, 2));
}

#[test]
fn patterns_have_a_bound() {
    let all: Vec<String> = (0..257).map(|number| format!("{number:03}{}*", "x".repeat(40))).collect();
    let some = format!("['{}']", all[..256].join("', '"));
    assert_eq!(filtered("string", "Glob", &some).sets.columns.len(), 256);
    let text = with_filter("string", "Glob", &format!("['{}']", all.join("', '")));
    assert_refused(&text, &Fake::default(), &["the patterns of the filter take more than 256 words of 64"]);
}

#[test]
fn abstract_names_begin_with_nul() {
    let plan = filtered("sockaddr_un", "Equal", "['@bus', /run/x]");
    let texts: Vec<&[u8]> = plan.sets.texts.iter().map(|key| &key.text[..key.len as usize]).collect();
    assert_eq!(texts, [b"\0bus".as_slice(), b"/run/x", b"@bus"]);
}

#[test]
fn file_types_are_bits() {
    let plan = filtered("file", "NotFileType", "[reg, dir]");
    let clause = value_clauses(&plan.hooks[0].plan)[0];
    assert_eq!((u32::from(clause.op), clause.number), (SAKER_OP_FILE_TYPE, 1 << 8 | 1 << 4));
    assert_eq!(u32::from(clause.flags), SAKER_CLAUSE_NEGATED);
}

#[test]
fn files_are_sets_of_paths_that_the_loader_resolves() {
    let plan = filtered("file", "NotSameFile", "['/srv/b/', /srv/a, /srv//b]");
    let clause = value_clauses(&plan.hooks[0].plan)[0];
    assert_eq!((u32::from(clause.op), u32::from(clause.flags)), (SAKER_OP_SAME_FILE, SAKER_CLAUSE_NEGATED));
    let paths = vec![b"/srv/a".to_vec(), b"/srv/b".to_vec()];
    assert_eq!(plan.sets.files, [crate::plan::NamedFiles { set: clause.set, paths }]);
    assert_eq!(plan.hooks[0].plan.stage[0].files, 1);
    let many: Vec<String> = (0..=SAKER_FILES_NAMED_MAX).map(|number| format!("/f/{number}")).collect();
    let text = with_filter("file", "SameFile", &format!("[{}]", many.join(", ")));
    assert_refused(&text, &Fake::default(), &["names 16385 files, 16384 are possible"]);
}

#[test]
fn addresses_and_ports_are_asked_of_internet_sockets_only() {
    let plan = filtered("sock", "DAddr", "[10.1.2.3/8, '::1', 10.0.0.0/8]");
    let clauses = value_clauses(&plan.hooks[0].plan);
    assert_eq!((clauses.len(), u32::from(clauses[0].op)), (1, SAKER_OP_DESTINATION));
    let keys: Vec<(u32, u32, u8)> =
        plan.sets.networks.iter().map(|key| (key.set - clauses[0].set, key.bits, key.address[0])).collect();
    assert_eq!(keys, [(0, 32 + 8, 10), (1, 32 + 128, 0)]);
    for (operator, values, op, pairs, flags) in [
        ("NotSAddr", "[10.0.0.0/8]", SAKER_OP_SOURCE, vec![], SAKER_CLAUSE_NEGATED),
        ("SPort", "['20:25', '26', '80']", SAKER_OP_SOURCE_PORT, vec![20, 26, 80, 80], 0),
        ("NotDPort", "['53']", SAKER_OP_DESTINATION_PORT, vec![53, 53], SAKER_CLAUSE_NEGATED),
        ("SPortPriv", "[]", SAKER_OP_SOURCE_PORT, vec![0, 1023], 0),
        ("NotDPortPriv", "[]", SAKER_OP_DESTINATION_PORT, vec![0, 1023], SAKER_CLAUSE_NEGATED),
    ] {
        let plan = filtered("sock", operator, values);
        let plan = &plan.hooks[0].plan;
        let clauses = value_clauses(plan);
        assert_eq!(clauses.len(), 2, "{operator}");
        assert_eq!((u32::from(clauses[0].op), clauses[0].flags), (SAKER_OP_FAMILY, 0));
        assert_eq!(pool(plan, &clauses[0], false), [2, 10]);
        assert_eq!((u32::from(clauses[1].op), u32::from(clauses[1].flags)), (op, flags), "{operator}");
        assert_eq!(pool(plan, &clauses[1], true), pairs, "{operator}");
    }
    let text = with_hook(
        "args: [{index: 0, type: sock}]
selectors:
- matchArgs: [{index: 0, operator: SPort, values: ['1']}, {index: 0, operator: DPort, values: ['2']}]",
    );
    let clauses = value_clauses(&hook(&text, &Fake::default()).plan);
    assert_eq!(clauses.len(), 3, "one question for the family is enough");
}

#[test]
fn words_of_sockets_are_numbers() {
    for (operator, values, op, numbers) in [
        ("Protocol", "[IPPROTO_UDP, IPPROTO_TCP]", SAKER_OP_PROTOCOL, vec![6, 17]),
        ("Family", "[AF_INET6]", SAKER_OP_FAMILY, vec![10]),
        ("State", "[TCP_LISTEN]", SAKER_OP_STATE, vec![10]),
    ] {
        assert_eq!(one("sock", operator, values), (op, 0, numbers));
    }
}

#[test]
fn gained_capabilities_name_both_sets() {
    let text = with_hook(
        "args: [{index: 0, type: cap_permitted}, {index: 1, type: cap_permitted}]
selectors:
- matchArgs: [{args: [1, 0], operator: CapabilitiesGained}]",
    );
    let clause = value_clauses(&hook(&text, &Fake::default()).plan)[0];
    assert_eq!((u32::from(clause.op), clause.value, clause.first), (SAKER_OP_GAINED, 1, 0));
}

#[test]
fn what_is_cheap_is_asked_first() {
    let text = with_hook(
        "args: [{index: 0, type: file}, {index: 1, type: int}, {index: 1, type: string}]
selectors:
- matchArgs:
  - {index: 0, operator: Equal, values: [/a]}
  - {args: [2], operator: Prefix, values: [b]}
  - {args: [1], operator: Equal, values: ['4']}",
    );
    let order: Vec<u8> = value_clauses(&hook(&text, &Fake::default()).plan).iter().map(|c| c.value).collect();
    assert_eq!(order, [1, 2, 0]);
}

/// The clauses of one filter on the process.
fn process(filter: &str) -> (Vec<saker_clause>, Box<saker_plan>, Vec<BinaryTest>) {
    let text = with_hook(&format!("selectors:\n- {filter}"));
    let mut plan = planned(&text, &Fake::default());
    let hook = plan.hooks.remove(0);
    (process_clauses(&hook.plan), hook.plan, plan.binaries)
}

#[test]
fn processes() {
    for (filter, op, first, flags, numbers) in [
        ("matchPIDs: [{operator: In, values: [9, 3, 9]}]", SAKER_OP_PID, 0, 0, vec![3, 9]),
        (
            "matchPIDs: [{operator: NotIn, isNamespacePID: true, values: [0, 1]}]",
            SAKER_OP_NS_PID,
            0,
            SAKER_CLAUSE_NEGATED,
            vec![0, 1],
        ),
        (
            "matchNamespaces: [{namespace: Net, operator: In, values: [host_ns, '4026']}]",
            SAKER_OP_NAMESPACE,
            5,
            0,
            vec![15, 4026],
        ),
        (
            "matchNamespaces: [{namespace: User, operator: NotIn, values: [host_ns]}]",
            SAKER_OP_NAMESPACE,
            9,
            SAKER_CLAUSE_NEGATED,
            vec![19],
        ),
    ] {
        let (clauses, plan, _) = process(filter);
        assert_eq!(clauses.len(), 1, "{filter}");
        let clause = clauses[0];
        assert_eq!((clause.op.into(), clause.first, clause.flags.into()), (op, first, flags), "{filter}");
        assert_eq!(pool(&plan, &clause, false), numbers, "{filter}");
    }
}

#[test]
fn capabilities_of_processes() {
    let filter = "matchCapabilities: [{type: Permitted, operator: NotIn, values: [CAP_KILL], isNamespaceCapability: true}]";
    let (clauses, ..) = process(filter);
    assert_eq!(u32::from(clauses[0].op), SAKER_OP_USER_NAMESPACE);
    assert_eq!(clauses[0].flags, 0, "outside of the host's namespace, whether negated or not");
    assert_eq!(
        (u32::from(clauses[1].op), clauses[1].first, clauses[1].number),
        (SAKER_OP_CAPABILITY, 2, 1 << 5)
    );
    assert_eq!(u32::from(clauses[1].flags), SAKER_CLAUSE_NEGATED);
}

#[test]
fn binaries_are_bits() {
    let mut text = String::new();
    for (operator, values) in [
        ("In", "[/b, /a]"),
        ("NotPrefix", "[/usr/]"),
        ("Postfix", "[sh]"),
        ("NotIn", "[/a, /b]"),
        ("Glob", "['/a/*']"),
    ] {
        writeln!(text, "- matchBinaries: [{{operator: {operator}, values: {values}}}]").unwrap();
    }
    let plan = planned(&with_hook(&format!("selectors:\n{text}")), &Fake::default());
    let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let expected = [
        BinaryTest::Equal(bytes(&["/a", "/b"])),
        BinaryTest::Prefix(bytes(&["/usr/"])),
        BinaryTest::Postfix(bytes(&["sh"])),
        BinaryTest::Pattern(vec![Pattern::of(&Glob::parse("/a/*").unwrap())]),
    ];
    assert_eq!(plan.binaries, expected);
    let hook = &plan.hooks[0].plan;
    assert_eq!(hook.flags & SAKER_PLAN_BINARIES, SAKER_PLAN_BINARIES);
    let clauses = &hook.clause[..5];
    let seen: Vec<(u8, u32)> = clauses.iter().map(|clause| (clause.first, clause.flags.into())).collect();
    assert_eq!(seen, [(0, 0), (1, 1), (2, 0), (0, 1), (3, 0)]);
    assert!(clauses.iter().all(|clause| u32::from(clause.op) == SAKER_OP_BINARY));
}

/// Each with the operators of its clauses, the flags of the plan, and what its bit stands for.
#[test]
fn descendants_and_parents_are_bits() {
    let followed = |test| BinaryTest::Followed(Box::new(test));
    let equal = || BinaryTest::Equal(vec![b"/a".to_vec()]);
    for (filter, ops, flags, test) in [
        (
            "matchPIDs: [{operator: NotIn, followForks: true, values: [7, 3, 7]}]",
            vec![(SAKER_OP_FOLLOWED, SAKER_CLAUSE_NEGATED)],
            SAKER_PLAN_FOLLOW,
            followed(BinaryTest::Pids(vec![3, 7])),
        ),
        (
            // A process without number in a namespace is left out, whether negated or not.
            "matchPIDs: [{operator: NotIn, followForks: true, isNamespacePID: true, values: [0, 1]}]",
            vec![(SAKER_OP_IN_PID_NAMESPACE, 0), (SAKER_OP_FOLLOWED, SAKER_CLAUSE_NEGATED)],
            SAKER_PLAN_FOLLOW,
            followed(BinaryTest::NamespacePids(vec![0, 1])),
        ),
        (
            "matchBinaries: [{operator: In, followChildren: true, values: [/a]}]",
            vec![(SAKER_OP_FOLLOWED, 0)],
            SAKER_PLAN_FOLLOW | SAKER_PLAN_BINARIES,
            followed(equal()),
        ),
        (
            "matchBinaries: [{operator: NotPostfix, followChildren: true, values: [/b]}]",
            vec![(SAKER_OP_FOLLOWED, SAKER_CLAUSE_NEGATED)],
            SAKER_PLAN_FOLLOW | SAKER_PLAN_BINARIES,
            followed(BinaryTest::Postfix(vec![b"/b".to_vec()])),
        ),
        (
            "matchParentBinaries: [{operator: NotIn, values: [/a]}]",
            vec![(SAKER_OP_PARENT_BINARY, SAKER_CLAUSE_NEGATED)],
            SAKER_PLAN_PARENT,
            equal(),
        ),
        (
            "matchParentBinaries: [{operator: Prefix, followChildren: true, values: [/c/]}]",
            vec![(SAKER_OP_PARENT_FOLLOWED, 0)],
            SAKER_PLAN_PARENT | SAKER_PLAN_FOLLOW,
            followed(BinaryTest::Prefix(vec![b"/c/".to_vec()])),
        ),
    ] {
        let (clauses, plan, binaries) = process(filter);
        let found: Vec<_> = clauses.iter().map(|one| (u32::from(one.op), u32::from(one.flags))).collect();
        assert_eq!(found, ops, "{filter}");
        assert_eq!(plan.flags, flags, "{filter}");
        assert_eq!(binaries, [test], "{filter}");
    }
}

#[test]
fn changes_are_masks() {
    for (filter, first, number) in [
        ("matchNamespaceChanges: [{operator: In, values: [Uts, User]}]", 0, 1 | 1 << 9),
        ("matchNamespaceChanges: [{operator: NotIn, values: [Uts, User]}]", 0, 0x1fe),
        ("matchCapabilityChanges: [{type: Permitted, operator: In, values: [CAP_KILL]}]", 2, 1 << 5),
        ("matchCapabilityChanges: [{operator: NotIn, values: [CAP_KILL]}]", 0, !(1 << 5)),
    ] {
        let (clauses, ..) = process(filter);
        assert_eq!((clauses.len(), clauses[0].first, clauses[0].number), (1, first, number), "{filter}");
        assert_eq!(clauses[0].flags, 0, "what is not named must have changed: {filter}");
        let wanted =
            if filter.contains("Namespace") { SAKER_OP_NAMESPACE_CHANGE } else { SAKER_OP_CAPABILITY_CHANGE };
        assert_eq!(u32::from(clauses[0].op), wanted, "{filter}");
    }
    let filter = "matchCapabilityChanges: [{operator: In, values: [CAP_KILL], isNamespaceCapability: true}]";
    assert_eq!(u32::from(process(filter).0[0].op), SAKER_OP_USER_NAMESPACE);
}

#[test]
fn what_is_followed_has_a_bit_of_its_own() {
    let text = "selectors:\n- matchBinaries: [{operator: In, values: [/a]}]\n- matchBinaries: [{operator: In, \
                values: [/a], followChildren: true}]\n- matchParentBinaries: [{operator: NotIn, values: [/a], \
                followChildren: true}]";
    let plan = planned(&with_hook(text), &Fake::default());
    assert_eq!(plan.binaries.len(), 2);
    let bits: Vec<u8> = plan.hooks[0].plan.clause[..3].iter().map(|clause| clause.first).collect();
    assert_eq!(bits, [0, 1, 1]);
}

#[test]
fn long_paths_of_binaries_are_patterns() {
    let long = format!("/{}", "x".repeat(300));
    let (_, _, tests) = process(&format!("matchBinaries: [{{operator: Postfix, values: [/a, '{long}']}}]"));
    assert_eq!(tests[0].looked_up().collect::<Vec<_>>(), [b"/a"]);
    assert_eq!(tests[0].patterns(), [Pattern::ending(long.as_bytes())]);
    let filter = |count: usize| {
        let paths: Vec<String> =
            (0..count).map(|number| format!("/{number:03}{}", "x".repeat(4091))).collect();
        with_hook(&format!(
            "selectors:\n- matchBinaries: [{{operator: In, values: ['{}']}}]",
            paths.join("', '")
        ))
    };
    planned(&filter(4), &Fake::default());
    assert_refused(&filter(5), &Fake::default(), &["256 words of 64 places"]);
}

#[test]
fn actions_and_limits() {
    let text = with_hook(
        "args: [{index: 0, type: int}]
return: true
returnArg: {index: 0, type: int}
selectors:
- matchActions: [{action: Post, rateLimit: 2m, rateLimitScope: process}]
  matchArgs: [{index: 0, operator: Equal, values: ['1']}]
  matchReturnArgs: [{index: 0, operator: LT, values: ['0']}]
- matchActions: [{action: NoPost}]
  matchArgs: [{index: 0, operator: Equal, values: ['2']}]
- matchActions: [{action: Post, rateLimit: 5, rateLimitScope: global}]",
    );
    let plan = hook(&text, &Fake::default()).plan;
    assert_eq!((plan.selectors, plan.return_selectors), (3, 3));
    assert_eq!(
        (plan.selector[0].window, u32::from(plan.selector[0].flags)),
        (120_000_000_000, SAKER_SELECT_PER_PROCESS)
    );
    assert_eq!(u32::from(plan.selector[1].flags), SAKER_SELECT_NO_POST);
    assert_eq!(u32::from(plan.selector[1].action), SAKER_ACTION_NO_POST);
    assert_eq!(u32::from(plan.selector[2].flags), SAKER_SELECT_GLOBAL);
    let entries: Vec<u16> = plan.return_selector[..3].iter().map(|selector| selector.entry).collect();
    assert_eq!(entries, [0, 1, 2]);
    assert_eq!(u32::from(plan.return_selector[1].flags), SAKER_SELECT_NO_POST);
    assert_eq!((plan.return_stages, plan.return_stage[0].selectors), (1, 1));
    let clause = plan.clause[usize::from(plan.return_stage[0].clause)];
    assert_eq!((u32::from(clause.value), u32::from(clause.op)), (SAKER_VALUES_MAX, SAKER_OP_LESS));
}

/// A value is read once for all selectors, and what is cheap to read comes first.
#[test]
fn clauses_are_sorted_into_stages() {
    let text = with_hook(
        "args: [{index: 0, type: file}, {index: 1, type: int}]
selectors:
- matchArgs: [{index: 0, operator: Prefix, values: [/a]}, {index: 1, operator: Equal, values: ['1']}]
- matchPIDs: [{operator: In, values: [1]}]
- matchArgs: [{index: 0, operator: Postfix, values: [/b]}, {index: 0, operator: Equal, values: [/c]}]",
    );
    let plan = hook(&text, &Fake::default()).plan;
    let stages: Vec<(u8, u16, u64)> = plan.stage[..usize::from(plan.stages)]
        .iter()
        .map(|stage| (stage.value, stage.count, stage.selectors))
        .collect();
    assert_eq!(stages, [(1, 1, 0b001), (0, 3, 0b101)]);
    let of_files = &plan.clause[usize::from(plan.stage[1].clause)..][..3];
    assert_eq!(of_files.iter().map(|clause| clause.selector).collect::<Vec<_>>(), [0, 2, 2]);
}

/// Only where the policy lets a return be held back is an entry without one no event.
#[test]
fn a_return_that_may_be_held_back_is_marked() {
    let with = |selectors: &str| {
        with_hook(&format!("return: true\nreturnArg: {{index: 0, type: int}}\nselectors: {selectors}"))
    };
    let filter = "matchReturnArgs: [{index: 0, operator: Equal, values: ['0']}]";
    for (text, marked) in [
        (with_hook("args: []"), false),
        (with("[]"), false),
        (with("[{matchPIDs: [{operator: In, values: [1]}]}]"), false),
        (with(&format!("[{{{filter}}}]")), true),
        (with(&format!("[{{matchPIDs: [{{operator: In, values: [1]}}]}}, {{{filter}}}]")), true),
        (with("[{matchReturnActions: [{action: NoPost}]}]"), true),
    ] {
        assert_eq!(hook(&text, &Fake::default()).text.conditional_return, marked, "{text}");
    }
}

#[test]
fn requests_stand_beside_the_plan() {
    let text = with_hook(
        "return: true
returnArg: {index: 0, type: int}
selectors:
- matchPIDs: [{operator: In, values: [1]}]
- matchActions: [{action: GetUrl, argUrl: 'http://x/y'}, {action: DnsLookup, argFqdn: a.b.}]
  matchReturnActions: [{action: GetUrl, argUrl: 'https://z'}, {action: Post}]",
    );
    let hook = hook(&text, &Fake::default());
    let one = |at_return, request| SelectorRequest { selector: 1, at_return, request };
    assert_eq!(
        hook.text.requests,
        [
            one(false, Request::Url("http://x/y".into())),
            one(false, Request::Name("a.b".into())),
            one(true, Request::Url("https://z".into())),
        ]
    );
    assert_eq!(u32::from(hook.plan.selector[1].action), SAKER_ACTION_DNS_LOOKUP);
    assert_eq!(u32::from(hook.plan.return_selector[1].action), SAKER_ACTION_POST);
}

//! Test files: what passes, what fails and why, what is refused.

use super::*;
use crate::testing::{accepted, with_hook, with_spec};

fn run(policy: &str, cases: &str) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
    let cases: String = cases.lines().map(|line| format!("{line}\n")).collect();
    let (documents, diagnostics) = parse_tests(&format!("policy: p.yaml\nevents:\n{cases}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    documents[0].run(&accepted(policy))
}

fn open_policy() -> String {
    with_hook(
        "return: true\nreturnArg: {index: 0, type: int}\nargs: [{index: 0, type: file}, {index: 1, type: int}]\n\
         selectors:\n- label: secrets\n  matchBinaries: [{operator: NotIn, values: [/usr/bin/login]}]\n\
         \x20 matchArgs: [{index: 0, operator: Prefix, values: [/etc/shadow]}, {index: 1, operator: Mask, values: ['4']}]\n\
         \x20 matchActions: [{action: Sigkill}]\n",
    )
}

#[test]
fn expectations() {
    let results = run(
        &open_policy(),
        "- name: read\n  process: {binary: /bin/cat}\n  args: [/etc/shadow, 4]\n  return: 0\n\
         \x20 expect: {event: true, selector: secrets, actions: [Sigkill]}\n\
         - name: by number\n  args: [{path: /etc/shadow, type: reg}, 0x6]\n  expect: {selector: 0}\n\
         - name: login\n  process: {binary: /usr/bin/login}\n  args: [/etc/shadow, 4]\n\
         \x20 expect: {event: false, selector: none, actions: []}\n\
         - name: unreadable\n  args: [null, 4]\n  expect: {event: false}\n\
         - name: fails\n  args: [/etc/passwd, 4]\n  expect: {event: true, selector: 0, actions: [Post]}\n",
    )
    .unwrap();
    let passed: Vec<bool> = results.iter().map(|result| result.failures.is_empty()).collect();
    assert_eq!(passed, [true, true, true, true, false]);
    let failed = &results[4];
    assert_eq!(failed.failures.len(), 3);
    assert_eq!(failed.failures[1].expected, "0 `secrets`");
    assert_eq!(failed.failures[1].found, "none");
    assert!(
        failed.trace[1].contains("argument 0 (file) begins with `/etc/shadow`: does not hold"),
        "{:?}",
        failed.trace
    );
    assert_eq!(failed.trace.len(), 2, "the filter behind the one that failed was not tried");
    assert_eq!(failed.outcome, "no selector, no event");
}

#[test]
fn contents_are_known_by_their_hash() {
    let (bad, good) = (format!("sha256:{}", "ab".repeat(32)), format!("sha256:{}", "cd".repeat(32)));
    let policy = |further: &str| {
        with_spec(&format!(
            "lsmhooks:\n- hook: mmap_file\n  selectors:\n  - matchFileHashes: [{{operator: In, values: ['{bad}']{further}}}]\n    \
             matchActions: [{{action: Override, argError: -1}}]\n"
        ))
    };
    let cases = |unreadable: &str| {
        format!(
            "- name: bad\n  hash: '{bad}'\n  expect: {{event: true, actions: [Override]}}\n\
             - name: good\n  hash: '{good}'\n  expect: {{event: false, selector: none}}\n\
             - name: memory\n  expect: {{event: false, selector: none}}\n\
             - name: unreadable\n  hash: unreadable\n  expect: {{event: true, actions: [{unreadable}]}}\n"
        )
    };
    for (further, unreadable) in [("", "Override"), (", withoutHash: Tell", "Post")] {
        let results = run(&policy(further), &cases(unreadable)).unwrap();
        let failed: Vec<_> = results.iter().filter(|result| !result.failures.is_empty()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(results[3].trace[0].contains("cannot be computed"), "{:?}", results[3].trace);
    }
    let listed = policy("").replace("operator: In", "operator: NotIn");
    let results = run(&listed, &cases("Override").replace("good", "neither")).unwrap();
    let passed: Vec<bool> = results.iter().map(|result| result.failures.is_empty()).collect();
    assert_eq!(passed, [false, false, true, true], "{results:?}");
    assert!(run(&policy(""), "- name: x\n  hash: md9:00\n  expect: {event: true}\n").is_err());
}

#[test]
fn values_of_all_kinds() {
    let types = [
        ("string", "Equal", "x", "x"),
        ("char_buf", "Equal", "x", "x"),
        ("uint64", "Equal", "'18446744073709551615'", "18446744073709551615"),
        ("sock", "DAddr", "'::1'", "{daddr: '::1', dport: 80, protocol: TCP, state: LISTEN}"),
        ("sock", "Family", "AF_INET6", "{daddr: '::1'}"),
        ("skb", "Protocol", "IPPROTO_UDP", "{protocol: udp, saddr: 1.2.3.4, sport: 53}"),
        ("sockaddr", "SPort", "'53'", "{addr: 1.2.3.4, port: 53}"),
        ("sockaddr_un", "Prefix", "'@a'", "'@abc'"),
        ("cap_effective", "Mask", "CAP_KILL", "[CAP_KILL, CAP_CHOWN]"),
        ("cap_effective", "Equal", "'0x20'", "CAP_KILL"),
        ("path", "FileType", "dir", "{path: /x, mode: 0o040755}"),
        ("file", "SameFile", "/srv", "{path: /mnt/key, file: /srv/key, type: reg}"),
    ];
    for (ty, operator, values, described) in types {
        let policy = crate::testing::with_filter(ty, operator, &format!("[{values}]"));
        let case = format!("- name: n\n  args: [{described}]\n  expect: {{event: true, actions: [Post]}}\n");
        let results = run(&policy, &case).unwrap_or_else(|told| panic!("{ty}: {told:?}"));
        assert!(results[0].failures.is_empty(), "{ty} {operator}: {:?}", results[0]);
    }
}

#[test]
fn processes() {
    let policy = with_hook(
        "selectors:\n- matchNamespaces: [{namespace: Pid, operator: In, values: ['77']}]\n\
         \x20 matchPIDs: [{operator: In, values: [1], isNamespacePID: true, followForks: true}]\n\
         \x20 matchParentBinaries: [{operator: In, values: [/bin/sh]}]\n\
         \x20 matchCapabilities: [{operator: In, values: [CAP_KILL]}]\n\
         \x20 matchWorkloads: {podSelector: {matchLabels: {app: x}}}\n",
    );
    let results = run(
        &policy,
        "- name: n\n  process:\n    nspid: 5\n    namespaces: {Pid: 77}\n    effective: [CAP_KILL]\n\
         \x20   ancestors: [{nspid: 1, binary: /bin/sh}]\n    container: {name: c, labels: {app: x}}\n\
         \x20 expect: {event: true}\n",
    )
    .unwrap();
    assert!(results[0].failures.is_empty(), "{:?}", results[0].trace);
}

#[test]
fn hooks_by_name() {
    let policy = with_spec(
        "kprobes:\n- {call: sys_read}\ntracepoints:\n- {subsystem: a, event: b}\nlsmhooks:\n- {hook: file_open}\n\
         - {hook: file_open}\nuprobes:\n- {path: /x, symbols: [f, g]}\nusdts:\n- {path: /x, provider: p, name: n}",
    );
    for name in ["sys_read", "a/b", "g", "p/n", "kprobes[0]", "lsmhooks[1]"] {
        let results =
            run(&policy, &format!("- {{name: n, hook: '{name}', expect: {{event: true}}}}")).unwrap();
        assert!(results[0].failures.is_empty(), "{name}");
    }
    for (hook, message) in [
        ("hook: file_open, ", "2 hooks are called `file_open`"),
        ("hook: sys_reed, ", "there is no hook `sys_reed`"),
        ("", "the policy has 6 hooks"),
    ] {
        let told = run(&policy, &format!("- {{name: n, {hook}expect: {{event: true}}}}")).unwrap_err();
        assert!(told[0].message.contains(message), "{told:?}");
    }
}

#[test]
fn cases_that_do_not_fit_are_refused() {
    for (case, message) in [
        ("args: [/x, 1, 2], expect: {event: true}", "3 values are described, the hook captures 2"),
        ("args: [/x, many], expect: {event: true}", "`many` is not a whole number (a value of type int)"),
        ("args: [{pth: /x}], expect: {event: true}", "there is no `pth` here"),
        ("args: [[x]], expect: {event: true}", "expected a map, found a list"),
        ("expect: {selector: nobody}", "the hook has no selector `nobody`"),
        ("expect: {selector: 7}", "the hook has no selector `7`"),
        ("expect: {}", "nothing is expected"),
        ("process: {effective: [CAP_X]}, expect: {event: true}", "is not a capability"),
        ("process: {namespaces: {Foo: 1}}, expect: {event: true}", "`Foo` is not a kind of namespace"),
    ] {
        let told = run(&open_policy(), &format!("- {{name: n, {case}}}")).unwrap_err();
        assert!(told.iter().any(|one| one.message.contains(message)), "{case}: {told:?}");
    }
    for (text, message) in [
        ("events: [{name: n, expect: {event: true}}]", "exactly one of `policy` and `inline`"),
        ("policy: p\nevents: []", "at least one event is needed"),
        ("policy: p\nevents: [{name: n}]", "`expect` is missing"),
        ("policy: p\nevens: []", "has no field `evens`"),
        ("", "there is no test in the text"),
    ] {
        let (_, told) = parse_tests(text);
        assert!(told.iter().any(|one| one.message.contains(message)), "{text}: {told:?}");
    }
}

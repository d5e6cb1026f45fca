//! Whole diagnostics as people see them.

use crate::{check, render};

const TEXT: &str = "\
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: Bad_Name
spec:
  kprobes:
  - call: tcp_connect
    syscal: false
    args:
    - index: 0
      type: sock
    - index: 1
      type: int
    selectors:
    - matchArgs:
      - index: 1
        operator: SAddr
        values: [10.0.0.0/8]
      - index: 0
        operator: DPort
        values: [http]
      matchActions:
      - action: sigkill
";

const EXPECTED: &str = "\
f.yaml:4:9: error: metadata.name: `Bad_Name` cannot be a name
 4 |   name: Bad_Name
   |         ^
   hint: lower-case letters, digits, `-`, `.`; begins and ends with a letter or digit; at most 253 characters
f.yaml:7:11: warning: spec.kprobes[0].call: `tcp_connect` is not a system call, but `syscall` is true when it is not written
 7 |   - call: tcp_connect
   |           ^
   hint: write `syscall: false`
f.yaml:8:5: error: spec.kprobes[0].syscal: FunctionHook (A kernel function or system call) has no field `syscal`
 8 |     syscal: false
   |     ^
   hint: did you mean `syscall`?
f.yaml:17:19: error: spec.kprobes[0].selectors[0].matchArgs[0].operator: SAddr needs a sock, socket, skb or sockaddr \
argument; argument 1 is an int
 17 |         operator: SAddr
    |                   ^
   hint: for int there are Equal, NotEqual, GreaterThan, LessThan, Mask, InMap, NotInMap, InRange, NotInRange, CelExpr
f.yaml:21:18: error: spec.kprobes[0].selectors[0].matchArgs[1].values[0]: `http` is not a port or range of ports
 21 |         values: [http]
    |                  ^
   hint: 0 to 65535, or `a:b`
f.yaml:23:17: warning: spec.kprobes[0].selectors[0].matchActions[0].action: `sigkill` is written `Sigkill`
 23 |       - action: sigkill
    |                 ^
   hint: other tools may refuse it
";

#[test]
fn everything_is_told_at_once() {
    let checked = check(TEXT);
    let shown = render("f.yaml", TEXT, &checked.diagnostics);
    assert_eq!(shown, EXPECTED);
    assert!(checked.policies.is_empty());
}

#[test]
fn one_bad_document_does_not_hide_another() {
    let good = TEXT.replace("Bad_Name", "good").split("    syscal").next().unwrap().to_owned();
    let checked = check(&format!("{TEXT}---\n{good}"));
    assert_eq!(checked.policies.len(), 1);
    assert_eq!(checked.policies[0].name.value, "good");
    assert_eq!(checked.policies[0].name.span.line, 28);
}

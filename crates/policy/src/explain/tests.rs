//! Explanations as people see them.

use super::*;
use crate::testing::{accepted, with_spec};

const SPEC: &str = "\
podSelector:
  matchLabels: {app: shop}
options:
- {name: policy-mode, value: monitor}
lists:
- {name: dups, type: syscalls, values: [sys_dup, __ia32_sys_dup]}
kprobes:
- call: tcp_connect
  syscall: false
  message: goes out
  tags: [net]
  args:
  - {index: 0, type: sock, label: socket}
  selectors:
  - label: inside
    matchBinaries: [{operator: In, values: [/usr/bin/curl, /usr/bin/wget]}]
    matchArgs:
    - {index: 0, operator: DAddr, values: [10.0.0.0/8]}
    - {index: 0, operator: NotDPort, values: ['80', '443']}
    matchActions: [{action: NoPost}]
  - matchBinaries: [{operator: NotPrefix, values: [/usr/], followChildren: true}]
    matchPIDs: [{operator: NotIn, values: [1]}]
    matchActions: [{action: Sigkill}]
- call: list:dups
  return: true
  args: [{index: 0, type: int}]
  returnArg: {index: 0, type: int}
  selectors:
  - matchReturnArgs: [{operator: LT, values: ['0']}]
    matchReturnActions: [{action: Post, rateLimit: 5m}]
lsmhooks:
- hook: file_open
";

const EXPECTED: &str = "\
Policy `x`
  It is for pods with `app` = `shop`.
  It has actions that interfere, but its mode is `monitor`: they are only told.

Hook: the kernel function `tcp_connect` (line 13)
  Captures argument 0, sock, called `socket`.
  Message: goes out
  Tags: net
  0. `inside` when the program is `/usr/bin/curl` or `/usr/bin/wget`
      and argument 0 (socket) has its destination address in 10.0.0.0/8
      and argument 0 (socket) does not have its destination port in 80 nor 443:
      → tell nothing
  1. else when the program does not begin with `/usr/`, and that of no ancestor does
      and the PID is not 1:
      → kill the process
      → tell of it
  Any other call: nothing.

Hook: the system calls of the list `dups`: dup, dup (32 bits) (line 29)
  Captures argument 0, int; the value returned, int.
  Callers of 32 bits: seen, by the calls that are named for them.
  0. always:
     and when it returns and the value returned is less than 0:
      → tell of it, equal events once in 300 s for each thread
  Any other call: nothing.

Hook: the LSM hook `file_open` (line 37)
  Every call is told.
";

#[test]
fn plain_words() {
    let explanation = explain(&accepted(&with_spec(SPEC)));
    assert_eq!(explanation.text(), EXPECTED);
}

#[test]
fn json_says_the_same() {
    let json = explain(&accepted(&with_spec(SPEC))).json();
    assert_eq!(json["policy"], "x");
    assert_eq!(json["hooks"][0]["selectors"][0]["label"], "inside");
    assert_eq!(json["hooks"][0]["selectors"][1]["then"][0], "kill the process");
    assert_eq!(json["hooks"][1]["selectors"][0]["when_returned"][0], "the value returned is less than 0");
}

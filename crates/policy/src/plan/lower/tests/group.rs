//! Refusing by programs of a control group: when they are taken, and what is refused because they do not see it.

use super::fake::Fake;
use super::{assert_refused, hook, refused};
use crate::plan::{Attach, SocketCall, SocketPrograms};
use crate::testing::with_spec;

/// A kernel that has nothing else to refuse with, and whose programs may do all.
fn bare() -> Fake {
    let sockets = SocketPrograms { group: "/groups".into(), is_part: false, errors: true, signals: true };
    Fake { sockets: Some(sockets), ..Fake::with(false, false, false) }
}

/// The same, of which something is changed.
fn with(change: impl Fn(&mut SocketPrograms)) -> Fake {
    let mut kernel = bare();
    kernel.sockets.iter_mut().for_each(change);
    kernel
}

const ADDRESS: &str = "{index: 1, type: sockaddr}";
const MESSAGE: &str = "{index: 1, type: sockaddr, resolve: msg_name}";
const SOCKETS: &str = "{index: 0, operator: Protocol, values: [TCP, UDP]}";
const UDP: &str = "{index: 0, operator: Protocol, values: [UDP]}";
const PORT: &str = "{index: 1, operator: SPort, values: [25]}";

/// A hook that refuses what these filters hold of.
fn refusing(hook: &str, second: &str, filters: &str, actions: &str) -> String {
    with_spec(&format!(
        "lsmhooks:\n- hook: {hook}\n  args: [{{index: 0, type: socket}}, {second}]\n  selectors:\n  \
         - matchArgs: [{filters}]\n    matchActions: [{actions}]"
    ))
}

const REFUSE: &str = "{action: Override, argError: -13}";

fn connecting(filters: &str) -> String {
    refusing("socket_connect", ADDRESS, filters, REFUSE)
}

fn sending(filters: &str) -> String {
    refusing("socket_sendmsg", MESSAGE, filters, REFUSE)
}

/// The same at the function that asks the security modules.
fn by_function(text: &str) -> String {
    let call = "call: security_socket_connect\n    syscall: false";
    text.replace("lsmhooks:", "kprobes:").replace("hook: socket_connect", call)
}

#[test]
fn they_are_taken_when_nothing_stronger_is_there() {
    let text = connecting(&format!("{SOCKETS}, {PORT}"));
    let by_group = |call| Attach::Group { call, group: "/groups".into() };
    let plan = hook(&text, &bare());
    assert_eq!(plan.attach, by_group(SocketCall::Connect));
    assert_eq!(plan.text.function, "socket_connect");
    assert!(
        plan.note.contains("lets no program decide") && plan.note.contains("raw sockets"),
        "{}",
        plan.note
    );
    let function = by_function(&text);
    assert_eq!(hook(&function, &bare()).attach, by_group(SocketCall::Connect));
    assert_eq!(hook(&function, &bare()).text.function, "security_socket_connect");
    let mut stronger = bare();
    stronger.mechanisms.trampoline = true;
    let by_function = Attach::Decision { function: "security_socket_connect".into(), on_return: false };
    assert_eq!(hook(&text, &stronger).attach, by_function);
    assert_eq!(hook(&text, &stronger).text.function, "socket_connect");
    stronger.mechanisms.lsm = true;
    assert_eq!(hook(&text, &stronger).attach, Attach::Lsm("socket_connect".into()));
    // Or when they are asked for.
    let asked = format!("{text}\n  options: [{{name: override-method, value: cgroup}}]");
    assert_eq!(hook(&asked, &stronger).attach, by_group(SocketCall::Connect));
    let bind = refusing("socket_bind", ADDRESS, SOCKETS, REFUSE);
    assert_eq!(hook(&bind, &bare()).attach, by_group(SocketCall::Bind));
    let send = sending(&format!("{UDP}, {PORT}"));
    assert_eq!(hook(&send, &bare()).attach, by_group(SocketCall::Send));
    let part = hook(&text, &with(|programs| programs.is_part = true));
    assert!(part.note.contains("made in the control group /groups"), "{}", part.note);
}

#[test]
fn what_they_do_not_see_is_refused() {
    for (filters, reason) in [
        (PORT.to_owned(), "they see the protocols [TCP, UDP] only"),
        (format!("{{index: 0, operator: Protocol, values: [TCP, SCTP]}}, {PORT}"), "they see the protocols"),
        (SOCKETS.to_owned(), "a socket is disconnected"),
        (
            format!("{SOCKETS}, {{index: 1, operator: Family, values: [AF_INET, AF_UNSPEC]}}"),
            "a socket is disconnected",
        ),
    ] {
        assert_refused(&connecting(&filters), &bare(), &[reason]);
    }
    let other = refusing("file_permission", "{index: 1, type: int}", "", REFUSE);
    let other = other
        .replace("type: socket}", "type: file}")
        .replace("matchArgs: []", "matchPIDs: [{operator: In, values: [7]}]");
    assert_refused(&other, &bare(), &["LSM programs take no effect"]);
    let size = connecting(&format!("{SOCKETS}, {PORT}"))
        .replace(ADDRESS, &format!("{ADDRESS}, {{index: 2, type: int}}"));
    assert_refused(&size, &bare(), &["argument 2 is not known to them"]);
    let none = Fake::with(false, false, false);
    assert_refused(&connecting(&format!("{SOCKETS}, {PORT}")), &none, &["control groups are not mounted"]);
}

#[test]
fn a_selector_that_only_lets_pass_may_be_about_anything() {
    let text = connecting(&format!("{SOCKETS}, {PORT}")).replace(
        "selectors:\n",
        "selectors:\n    - matchPIDs: [{operator: In, values: [7]}]\n      matchActions: [{action: NoPost}]\n",
    );
    assert!(matches!(hook(&text, &bare()).attach, Attach::Group { .. }));
    let telling = text.replace("NoPost", "Post");
    assert_refused(&telling, &bare(), &["selector 0: they see the protocols"]);
}

#[test]
fn what_is_sent_says_both_forms_of_an_address() {
    let of = |values: &str| sending(&format!("{UDP}, {{index: 1, operator: SAddr, values: [{values}]}}"));
    for same in ["10.0.0.0/8, \"::ffff:10.0.0.0/104\"", "\"2001:db8::/32\"", "\"::/0\", 0.0.0.0/0"] {
        assert!(matches!(hook(&of(same), &bare()).attach, Attach::Group { .. }), "{same}");
    }
    let told = refused(&of("10.0.0.0/8"), &bare()).join("\n");
    assert!(told.contains("add ::ffff:10.0.0.0/104 to the values"), "{told}");
    for unlike in ["\"::/0\"", "10.0.0.0/8, \"::ffff:10.0.0.0/112\"", "\"::ffff:10.0.0.1\""] {
        assert_refused(&of(unlike), &bare(), &["they do not see whether an IPv6 socket"]);
    }
    // A selector that lets pass too: what it passes must be what is not refused.
    let passing = sending(&format!("{UDP}, {PORT}")).replace(
        "selectors:\n",
        "selectors:\n    - matchArgs: [{index: 1, operator: SAddr, values: [10.0.0.0/8]}]\n      \
         matchActions: [{action: NoPost}]\n",
    );
    assert_refused(&passing, &bare(), &["they do not see whether"]);
    let family = sending(&format!("{UDP}, {{index: 1, operator: Family, values: [AF_INET]}}"));
    assert_refused(&family, &bare(), &["name AF_INET and AF_INET6"]);
    // A socket of IPv4 has no other form.
    let narrow = format!("{{index: 0, operator: Family, values: [AF_INET]}}, {UDP}, {PORT}");
    assert!(matches!(hook(&sending(&narrow), &bare()).attach, Attach::Group { .. }));
    assert_refused(&sending(UDP), &bare(), &["what is sent to an address only"]);
    assert_refused(&sending(&format!("{SOCKETS}, {PORT}")), &bare(), &["they see the protocols [UDP] only"]);
    let whole = sending(&format!("{UDP}, {PORT}")).replace(", resolve: msg_name", "");
    assert_refused(&whole, &bare(), &["of argument 1 they know the address alone"]);
}

#[test]
fn what_they_may_not_do_is_refused() {
    let filters = format!("{SOCKETS}, {PORT}");
    let doing = |actions: &str| refusing("socket_connect", ADDRESS, &filters, actions);
    let old = with(|programs| (programs.errors, programs.signals) = (false, false));
    assert_refused(&doing(REFUSE), &old, &["EPERM only before Linux 6.1"]);
    let plain = "{action: Override, argError: -1}";
    assert!(matches!(hook(&doing(plain), &old).attach, Attach::Group { .. }));
    assert_refused(&doing(&format!("{plain}, {{action: Sigkill}}")), &old, &["may not send signals"]);
    assert!(matches!(
        hook(&doing(&format!("{plain}, {{action: Sigkill}}")), &bare()).attach,
        Attach::Group { .. }
    ));
    assert_refused(
        &by_function(&doing("{action: Override, argError: 1}")),
        &bare(),
        &["an error, which 1 is not"],
    );
    let stacks = "{action: Override, argError: -1}, {action: Post, userStackTrace: true}";
    assert_refused(&by_function(&doing(stacks)), &bare(), &["they do not know who called"]);
}

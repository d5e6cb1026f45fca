//! Refusing by programs of a control group: what they can serve, and what they cannot.
//!
//! They stand in for hooks of the security modules that see more: every socket, where these see TCP and UDP. So each
//! selector that does something must be about what they see, by its own conditions.

use std::net::{IpAddr, Ipv6Addr};

use super::Lowering;
use super::targets::{Reads, Site};
use crate::diagnostic::Problem;
use crate::model::{ActionKind, Argument, ArgumentFilter, Hook, Operand, Selector, Source, Test};
use crate::plan::{Attach, Signature, SocketCall, SocketPrograms};
use crate::values::{Network, Step};
use crate::words::{ArgType, OverrideMethod};

/// Numbers of protocols (`linux/in.h`) and of address families (`linux/socket.h`).
const TCP: u16 = 6;
const UDP: u16 = 17;
const INET: u16 = 2;
const INET6: u16 = 10;
/// What is returned without asking for an error.
const EPERM: i32 = -1;
/// Bits of an IPv6 address before an IPv4 address that stands in it.
const MAPPED: u8 = 96;

/// Whether the policy asks for this way.
pub(super) fn is_asked_for(cx: &Lowering<'_>) -> bool {
    cx.policy.options.override_method == Some(OverrideMethod::Cgroup)
}

/// Programs of a control group that decide in place of `function`, which has this signature, for a reason.
pub(super) fn site(
    cx: &Lowering<'_>,
    hook: &Hook,
    call: Option<SocketCall>,
    function: &str,
    signature: Option<Signature>,
    reason: &str,
) -> Result<Site, Problem> {
    let (Some(call), Some(mut signature)) = (call, signature) else {
        let message = format!("programs of control groups decide nothing in place of {function}");
        return Err(Problem::hint(message, "they do at socket_connect, socket_bind and socket_sendmsg"));
    };
    let programs = cx.kernel.socket_programs().map_err(|why| {
        Problem::hint(format!("{reason}; and not by a control group: {why}"), "boot with `bpf` in `lsm=`")
    })?;
    let refused = |problem: Problem| {
        let message = format!("{reason}; and programs of a control group cannot: {}", problem.message);
        Problem { message, hint: problem.hint }
    };
    fits(hook, call, &programs).map_err(refused)?;
    // What else is passed is not known to them.
    signature.arguments.truncate(2);
    let words = signature.arguments.len();
    let attach = Attach::Group { call, group: programs.group.clone() };
    let mut site = Site::new(attach, function.to_owned(), Reads::Function(Some(signature)), words);
    site.note = format!("{reason}: {}", seen(call, &programs));
    Ok(site)
}

/// What these programs see, in a sentence.
fn seen(call: SocketCall, programs: &SocketPrograms) -> String {
    let what = match call {
        SocketCall::Connect => "TCP and UDP sockets, also TCP fast open, which is no `connect`",
        SocketCall::Bind => "TCP and UDP sockets",
        SocketCall::Send => {
            "UDP with an address, and of IPv6 sockets that are connected to IPv4 addresses also without"
        }
    };
    let whose = if programs.is_part {
        format!("; only of sockets that were made in the control group {}", programs.group)
    } else {
        String::new()
    };
    format!(
        "decided by programs of a control group ({0}4, {0}6), which see {what}; not raw sockets, which need \
         CAP_NET_RAW{whose}",
        call.program()
    )
}

/// Whether the programs can do all that the hook asks for.
fn fits(hook: &Hook, call: SocketCall, programs: &SocketPrograms) -> Result<(), Problem> {
    if hook.on_return.is_some() {
        return Err(Problem::hint("they see no return", "take `return` out"));
    }
    for value in &hook.values {
        readable(value, call)?;
    }
    if hook.selectors.is_empty() {
        return Err(Problem::new("without selectors every call is meant, and they do not see all"));
    }
    for (index, selector) in hook.selectors.iter().enumerate() {
        let of = |problem: Problem| Problem {
            message: format!("selector {index}: {}", problem.message),
            hint: problem.hint,
        };
        possible(selector, programs).map_err(of)?;
        let acts = |kind: &ActionKind| {
            matches!(kind, ActionKind::Override { .. } | ActionKind::Sigkill | ActionKind::Signal(_))
        };
        let silent = selector.actions.iter().any(|action| action.kind == ActionKind::NoPost);
        if call == SocketCall::Send {
            same_for_mapped(hook, selector).map_err(of)?;
        }
        if silent && !selector.actions.iter().any(|action| acts(&action.kind)) {
            // It only takes calls out of those behind it.
            continue;
        }
        covered(hook, selector, call).map_err(of)?;
    }
    Ok(())
}

/// Whether a value is one that they know: the socket, and the address.
fn readable(value: &Argument, call: SocketCall) -> Result<(), Problem> {
    let Source::Argument(index) = value.source else { return Ok(()) };
    if value.size.is_some() {
        return Err(Problem::hint("they do not know the size of anything", "take `sizeArgIndex` out"));
    }
    match index {
        0 => Ok(()),
        1 if is_address(value, call) => Ok(()),
        1 => {
            let wanted = match call {
                SocketCall::Send => "`{index: 1, type: sockaddr, resolve: msg_name}`",
                _ => "`{index: 1, type: sockaddr}`",
            };
            let message = "of argument 1 they know the address alone";
            Err(Problem::hint(message, format!("capture it as {wanted}")))
        }
        _ => Err(Problem::hint(
            format!("argument {index} is not known to them"),
            "capture the socket (0) and the address (1) only",
        )),
    }
}

/// Whether a value is the address that is given.
fn is_address(value: &Argument, call: SocketCall) -> bool {
    let path: &[Step] = &value.resolve;
    let right = match call {
        SocketCall::Send => matches!(path, [Step::Member(name)] if name == "msg_name"),
        SocketCall::Connect | SocketCall::Bind => path.is_empty(),
    };
    value.source == Source::Argument(1) && value.ty == ArgType::Sockaddr && value.btf_type.is_none() && right
}

/// Whether a value is the socket itself.
fn is_socket(value: &Argument) -> bool {
    let right = match value.ty {
        ArgType::Socket => value.resolve.is_empty(),
        ArgType::Sock => matches!(value.resolve.as_slice(), [Step::Member(name)] if name == "sk"),
        _ => false,
    };
    value.source == Source::Argument(0) && value.btf_type.is_none() && right
}

/// Whether they may do what a selector asks for.
fn possible(selector: &Selector, programs: &SocketPrograms) -> Result<(), Problem> {
    if !selector.namespace_changes.is_empty() || !selector.capability_changes.is_empty() {
        return Err(Problem::new("they do not know what a thread has changed"));
    }
    for action in &selector.actions {
        match &action.kind {
            ActionKind::Post(post) if post.kernel_stack || post.user_stack => {
                return Err(Problem::hint("they do not know who called", "take the stack traces out"));
            }
            ActionKind::Override { error, .. } if *error != EPERM && !programs.errors => {
                let message = format!("they refuse with EPERM only before Linux 6.1, and not with {error}");
                return Err(Problem::hint(message, "write `argError: -1`"));
            }
            ActionKind::Override { error, .. } if *error > 0 => {
                let message = format!("they refuse with an error, which {error} is not");
                return Err(Problem::hint(message, "write `argError: -1`"));
            }
            ActionKind::Sigkill | ActionKind::Signal(_) if !programs.signals => {
                let message = "they may not send signals on this kernel";
                return Err(Problem::hint(message, "take the signal out: `Override` prevents the call"));
            }
            ActionKind::TrackSock(_) | ActionKind::UntrackSock(_) => {
                return Err(Problem::hint("they track no sockets", "track them by another hook"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The conditions of a selector on a value.
fn on<'a>(
    hook: &'a Hook,
    selector: &'a Selector,
    is: impl Fn(&Argument) -> bool + 'a,
) -> impl Iterator<Item = &'a ArgumentFilter> {
    selector.arguments.iter().filter(move |filter| {
        let Operand::Value(position) = filter.operand else { return false };
        hook.values.get(position).is_some_and(&is)
    })
}

/// Whether all that a selector can match is seen.
fn covered(hook: &Hook, selector: &Selector, call: SocketCall) -> Result<(), Problem> {
    let protocols: &[u16] = if call == SocketCall::Send { &[UDP] } else { &[TCP, UDP] };
    let within = |filter: &ArgumentFilter| {
        let Test::Protocol(asked) = &filter.predicate.test else { return false };
        !filter.predicate.negated && asked.iter().all(|one| protocols.contains(one))
    };
    if !on(hook, selector, is_socket).any(within) {
        let names = if call == SocketCall::Send { "[UDP]" } else { "[TCP, UDP]" };
        let message = format!(
            "they see the protocols {names} only, and the selector is about others too (such as SCTP, MPTCP, raw and \
             local sockets)"
        );
        let hint = format!(
            "capture the socket, `{{index: 0, type: socket}}`, and add \
             `{{index: 0, operator: Protocol, values: {names}}}` to matchArgs"
        );
        return Err(Problem::hint(message, hint));
    }
    if call == SocketCall::Bind {
        return Ok(());
    }
    let address = move |value: &Argument| is_address(value, call);
    let inet = |filter: &ArgumentFilter| match &filter.predicate.test {
        Test::Family(asked) => {
            !filter.predicate.negated && asked.iter().all(|one| [INET, INET6].contains(one))
        }
        // None of these holds of an address of another family.
        Test::Address(..) | Test::Port(..) | Test::PrivilegedPort(_) => true,
        _ => false,
    };
    if !on(hook, selector, address).any(inet) {
        let message = match call {
            SocketCall::Send => "they see what is sent to an address only",
            _ => "they do not see that a socket is disconnected, which the selector is about too",
        };
        let hint =
            "add a condition on the address to matchArgs: SAddr, SPort, or Family with AF_INET and AF_INET6";
        return Err(Problem::hint(message, hint));
    }
    Ok(())
}

/// Of what an IPv6 socket sends to an IPv4 address they do not see whether it was given as such or within an IPv6 address
/// (`::ffff:192.0.2.1`); so the answer must be the same.
fn same_for_mapped(hook: &Hook, selector: &Selector) -> Result<(), Problem> {
    let narrow = |filter: &ArgumentFilter| matches!(&filter.predicate.test, Test::Family(asked) if !filter.predicate.negated && asked == &[INET]);
    if on(hook, selector, is_socket).any(narrow) {
        return Ok(());
    }
    let unlike = |filter: &&ArgumentFilter| match &filter.predicate.test {
        Test::Family(asked) => asked.contains(&INET) != asked.contains(&INET6),
        Test::Address(_, networks) => !networks.iter().all(|one| has_twin(*one, networks)),
        _ => false,
    };
    match on(hook, selector, |value| is_address(value, SocketCall::Send)).find(unlike) {
        None => Ok(()),
        Some(filter) => {
            let example = match &filter.predicate.test {
                Test::Address(_, networks) => {
                    let missing = networks.iter().find(|one| !has_twin(**one, networks));
                    missing.and_then(|one| twin(*one)).map(|one| format!("add {one} to the values"))
                }
                _ => Some("name AF_INET and AF_INET6".to_owned()),
            };
            let message = "they do not see whether an IPv6 socket was given an IPv4 address as such or within an IPv6 \
                           address, and the conditions on the address tell these apart";
            let hint = example.unwrap_or_else(|| "have both forms among the values".to_owned());
            let hint = format!("{hint}; or restrict the socket to Family AF_INET");
            Err(Problem::hint(message, hint))
        }
    }
}

/// The same addresses in the other form; none: it has none in the other.
fn twin(network: Network) -> Option<Network> {
    match network.address {
        IpAddr::V4(address) => {
            let address = IpAddr::V6(address.to_ipv6_mapped());
            Some(Network { address, prefix: network.prefix.saturating_add(MAPPED) })
        }
        IpAddr::V6(address) if network.prefix >= MAPPED => {
            let address = IpAddr::V4(address.to_ipv4_mapped()?);
            Some(Network { address, prefix: network.prefix - MAPPED })
        }
        IpAddr::V6(_) => {
            let all = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
            let address = IpAddr::V4([0, 0, 0, 0].into());
            network.contains(IpAddr::V6(all)).then_some(Network { address, prefix: 0 })
        }
    }
}

/// Whether the addresses of a network are in one of these in their other form too.
fn has_twin(network: Network, networks: &[Network]) -> bool {
    let Some(twin) = twin(network) else { return true };
    networks.iter().any(|other| other.prefix <= twin.prefix && other.contains(twin.address))
}

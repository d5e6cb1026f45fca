//! Random policies: each operator on each type, each filter on processes, each action.

use std::fmt::Write as _;

use crate::equivalence::Random;
use crate::lab::policy;
use crate::places::Place;

type Args = [(u32, &'static str, &'static str)];

fn often(random: &mut Random, of: usize) -> bool {
    random.below(of) == 0
}

fn numbers(random: &mut Random, bits: u32) -> String {
    let count = *random.one(&[1, 1, 2, 4, 40, 300]);
    let one = |random: &mut Random| random.next() >> (64 - bits + random.below(bits as usize) as u32).min(63);
    (0..count).map(|_| format!("'{}'", one(random))).collect::<Vec<_>>().join(", ")
}

fn words(random: &mut Random, path: bool) -> String {
    let count = *random.one(&[1, 2, 9, 60]);
    let one = |random: &mut Random| {
        let parts =
            ["etc", "usr", "a", "lib64", "x-y", ".ssh", "authorized_keys", "tmp", "very.long.name.of.a.file"];
        let words: Vec<&str> = (0..1 + random.below(6)).map(|_| *random.one(&parts)).collect();
        // Now and then longer than what is looked up at once.
        let more = if random.below(30) == 0 { "x".repeat(300) } else { String::new() };
        format!("'{}{}{more}'", if path { "/" } else { "" }, words.join("/"))
    };
    (0..count).map(|_| one(random)).collect::<Vec<_>>().join(", ")
}

/// One to four patterns with all that patterns have.
fn globs(random: &mut Random) -> String {
    let one = |random: &mut Random| {
        let parts = ["etc", "**", "*", "lib*", "?ib", "[a-f]*", "[!x]y", "*.so.?", ".ssh", "log"];
        let parts: Vec<&str> = (0..1 + random.below(5)).map(|_| *random.one(&parts)).collect();
        format!("'/{}'", parts.join("/"))
    };
    (0..1 + random.below(4)).map(|_| one(random)).collect::<Vec<_>>().join(", ")
}

fn ports(random: &mut Random) -> String {
    let mut ports: Vec<String> =
        (0..1 + random.below(9)).map(|_| format!("'{}'", random.next() & 0xffff)).collect();
    if often(random, 3) {
        ports.push("'1000:2000'".to_owned());
    }
    ports.join(", ")
}

/// Texts: what every kind of text has.
fn text_filter(random: &mut Random, path: bool) -> (&'static [&'static str], String) {
    match random.below(4) {
        0 => (&["Glob", "NotGlob"], globs(random)),
        1 => (&["SubString", "SubStringIgnCase"], "'ssh', 'a/B', 'authorized_'".to_owned()),
        _ => (&["Equal", "NotEqual", "Prefix", "NotPrefix", "Postfix", "NotPostfix"], words(random, path)),
    }
}

fn integer_filter(random: &mut Random, bits: u32) -> (&'static [&'static str], String) {
    match random.below(4) {
        0 => (&["InRange", "NotInRange"], "'1:9', '11:100'".to_owned()),
        1 => (&["Mask"], "'0x40', '3'".to_owned()),
        2 => (&["InMap", "NotInMap"], "'1:9', '12', '30:120'".to_owned()),
        _ => (&["Equal", "NotEqual", "GT", "LT", "InMap", "NotInMap"], numbers(random, bits)),
    }
}

/// A filter on a value of this type, behind what it is a filter of; none for types without filters.
fn filter(random: &mut Random, ty: &str) -> Option<String> {
    let (operators, values) = match ty {
        "int8" | "uint8" => integer_filter(random, 7),
        "int" | "uint32" | "int16" | "uint16" => integer_filter(random, 15),
        "uint64" | "int64" | "size_t" => integer_filter(random, 31),
        "file" | "path" if often(random, 4) => {
            (&["FileType", "NotFileType"][..], "reg, dir, fifo, sock, chr, blk, lnk".to_owned())
        }
        "file" | "path" | "dentry" | "fd" | "linux_binprm" if often(random, 6) => {
            (&["SameFile", "NotSameFile"][..], "/dev/shm, /dev/shm/nothing".to_owned())
        }
        "file" | "path" | "dentry" | "fd" | "linux_binprm" => text_filter(random, true),
        "string" | "char_buf" | "net_device" | "data_loc" => text_filter(random, false),
        "sock" | "socket" | "skb" => match random.below(6) {
            0 => {
                (&["SAddr", "DAddr", "NotSAddr", "NotDAddr"][..], "10.0.0.0/8, '::1', 192.168.3.4".to_owned())
            }
            1 => (&["SPort", "DPort", "NotSPort", "NotDPort"][..], ports(random)),
            2 => (&["Protocol"][..], "IPPROTO_TCP, IPPROTO_UDP".to_owned()),
            3 => {
                return Some(privileged(random, &["SPortPriv", "NotSportPriv", "DPortPriv", "NotDPortPriv"]));
            }
            4 if ty != "skb" => (&["State"][..], "TCP_ESTABLISHED, TCP_LISTEN".to_owned()),
            _ => (&["Family"][..], "AF_INET, AF_INET6".to_owned()),
        },
        "sockaddr" => match random.below(4) {
            0 => (&["SAddr", "NotSAddr"][..], "127.0.0.0/8, 'fe80::/10'".to_owned()),
            1 => (&["SPort", "NotSPort"][..], ports(random)),
            2 => return Some(privileged(random, &["SPortPriv", "NotSportPriv"])),
            _ => (&["Family"][..], "AF_INET, AF_UNIX".to_owned()),
        },
        "sockaddr_un" if often(random, 4) => (&["Family"][..], "AF_UNIX".to_owned()),
        "sockaddr_un" => match random.below(3) {
            0 => (&["SubString", "SubStringIgnCase"][..], "'sock', 'a/B'".to_owned()),
            _ => (&["Equal", "NotEqual", "Prefix", "NotPrefix"][..], words(random, false)),
        },
        "kernel_cap_t" | "cap_inheritable" | "cap_effective" | "cap_permitted" => {
            (&["Equal", "NotEqual", "Mask", "GT", "LT"][..], "CAP_SYS_ADMIN".to_owned())
        }
        _ => return None,
    };
    let operator = random.one(operators);
    Some(format!("operator: {operator}, values: [{values}]"))
}

fn privileged(random: &mut Random, operators: &[&str]) -> String {
    format!("operator: {}", random.one(operators))
}

/// A number in an expression: of the type of the argument at this position.
fn term(random: &mut Random, position: usize, ty: &str, depth: usize) -> String {
    let ty = if ty == "int" { "int32" } else { ty };
    match if depth == 0 { random.below(2) } else { random.below(5) } {
        0 | 2 => format!("arg{position}"),
        1 => {
            let number = random.next() >> (33 + random.below(20));
            format!("{ty}({number}{})", if ty.starts_with('u') { "u" } else { "" })
        }
        3 => {
            let operator = *random.one(&["+", "-"]);
            let both = [term(random, position, ty, depth - 1), term(random, position, ty, depth - 1)];
            format!("({} {operator} {})", both[0], both[1])
        }
        _ => {
            let operator = *random.one(&["and", "or", "xor"]);
            let both = [term(random, position, ty, depth - 1), term(random, position, ty, depth - 1)];
            format!("{operator}({}, {})", both[0], both[1])
        }
    }
}

/// An expression over these arguments, by position and type; none when none of them is a number of 32 or 64 bits.
fn expression(random: &mut Random, args: &Args) -> Option<String> {
    let numbers: Vec<(usize, &str)> = args
        .iter()
        .enumerate()
        .filter(|(_, (_, ty, more))| {
            matches!(*ty, "int" | "uint32" | "int64" | "uint64") && !more.contains("resolve")
        })
        .map(|(position, (_, ty, _))| (position, *ty))
        .collect();
    if numbers.is_empty() {
        return None;
    }
    let conditions: Vec<String> = (0..1 + random.below(4))
        .map(|_| {
            let (position, ty) = *random.one(&numbers);
            let operator = *random.one(&["==", "!=", "<", "<=", ">", ">="]);
            let not = if often(random, 4) { "!" } else { "" };
            // Without an argument the expression would be a constant.
            let right = term(random, position, ty, 2);
            format!("{not}(arg{position} {operator} {right})")
        })
        .collect();
    let operator = *random.one(&[" && ", " || "]);
    Some(format!("{{operator: CelExpr, values: ['{}']}}", conditions.join(operator)))
}

fn flag(random: &mut Random, name: &str) -> String {
    if often(random, 3) { format!(", {name}: true") } else { String::new() }
}

fn binaries(random: &mut Random, field: &str, to: &mut String) {
    let (operators, values): (&[&str], String) = if often(random, 4) {
        (&["Glob", "NotGlob"], globs(random))
    } else {
        (&["In", "NotIn", "Prefix", "NotPrefix", "Postfix", "NotPostfix"], words(random, true))
    };
    let operator = *random.one(operators);
    let follow = flag(random, "followChildren");
    let _ = writeln!(to, "    {field}: [{{operator: {operator}, values: [{values}]{follow}}}]");
}

fn process_filters(random: &mut Random, to: &mut String) {
    const NAMESPACES: [&str; 10] =
        ["Uts", "Ipc", "Mnt", "Pid", "PidForChildren", "Net", "Time", "TimeForChildren", "Cgroup", "User"];
    let membership = |random: &mut Random| *random.one(&["In", "NotIn"]);
    let set = |random: &mut Random| *random.one(&["Effective", "Permitted", "Inheritable"]);
    if often(random, 6) {
        let _ = writeln!(to, "    matchWorkloads: {{{}}}", crate::workloads::filter(random));
    }
    if often(random, 3) {
        let operator = membership(random);
        let flags = flag(random, "followForks") + &flag(random, "isNamespacePID");
        let _ = writeln!(to, "    matchPIDs: [{{operator: {operator}, values: [1, 2, 77]{flags}}}]");
    }
    if often(random, 3) {
        binaries(random, "matchBinaries", to);
    }
    if often(random, 5) {
        binaries(random, "matchParentBinaries", to);
    }
    if often(random, 4) {
        let (namespace, operator) = (*random.one(&NAMESPACES), membership(random));
        let _ = writeln!(
            to,
            "    matchNamespaces: [{{namespace: {namespace}, operator: {operator}, values: [host_ns, '4026531999']}}]"
        );
    }
    for field in ["matchCapabilities", "matchCapabilityChanges"] {
        if often(random, 5) {
            let (set, operator) = (set(random), membership(random));
            let inside = flag(random, "isNamespaceCapability");
            let _ = writeln!(
                to,
                "    {field}: [{{type: {set}, operator: {operator}, values: [CAP_SYS_ADMIN, CAP_KILL]{inside}}}]"
            );
        }
    }
    if often(random, 5) {
        let (one, other, operator) = (*random.one(&NAMESPACES), random.one(&NAMESPACES), membership(random));
        let values = if one == *other { one.to_owned() } else { format!("{one}, {other}") };
        let _ = writeln!(to, "    matchNamespaceChanges: [{{operator: {operator}, values: [{values}]}}]");
    }
}

/// What to do; the positions of sockets among the arguments can be remembered.
fn actions(random: &mut Random, section: &str, decides: bool, args: &Args, field: &str, to: &mut String) {
    let kernel = matches!(section, "kprobes" | "fentries");
    let socket = args.iter().position(|(_, ty, _)| matches!(*ty, "sock" | "socket"));
    let actions = match (random.below(10), socket) {
        (0, _) => "{action: Post, rateLimit: 5s, rateLimitScope: process}".to_owned(),
        (1, _) => "{action: NoPost}".to_owned(),
        (2, _) => "{action: Post, kernelStackTrace: true}".to_owned(),
        (3, _) => {
            "{action: Post, kernelStackTrace: true, userStackTrace: true, rateLimit: 1m, rateLimitScope: global}"
                .to_owned()
        }
        (4, _) if kernel => {
            "{action: GetUrl, argUrl: 'http://localhost/'}, {action: DnsLookup, argFqdn: example.org}".to_owned()
        }
        (5, Some(socket)) if kernel => {
            let action = *random.one(&["TrackSock", "UntrackSock"]);
            format!("{{action: {action}, argSock: {socket}}}")
        }
        // They are loaded so that they only tell.
        (6, _) if matches!(section, "kprobes" | "lsmhooks" | "tracepoints" | "uprobes") => {
            let signal = *random.one(&["Sigkill", "Signal, argSig: 10"]);
            format!("{{action: {signal}}}")
        }
        // At `fentries` nothing can be refused.
        (7, _) if decides && section != "fentries" => {
            let more = *random.one(&["", ", {action: Sigkill}", ", {action: NoPost}"]);
            format!("{{action: Override, argError: -13}}{more}")
        }
        _ => return,
    };
    let _ = writeln!(to, "    {field}: [{actions}]");
}

fn argument_filters(random: &mut Random, args: &Args) -> Vec<String> {
    let mut filters = Vec::new();
    for (position, (_, ty, _)) in args.iter().enumerate() {
        for _ in 0..random.below(3) {
            if let Some(filter) = filter(random, ty) {
                filters.push(format!("{{args: [{position}], {filter}}}"));
            }
        }
    }
    if often(random, 4) {
        filters.extend(expression(random, args));
    }
    let sets: Vec<usize> = args
        .iter()
        .enumerate()
        .filter(|(_, (_, ty, _))| ty.starts_with("cap_") || *ty == "kernel_cap_t")
        .map(|(position, _)| position)
        .collect();
    if let [first, second, ..] = sets[..]
        && often(random, 2)
    {
        filters.push(format!("{{args: [{first}, {second}], operator: CapabilitiesGained}}"));
    }
    filters
}

fn selector(random: &mut Random, place: &Place, args: &Args, result: &str, data: bool) -> String {
    // What the kernel lets a program decide.
    let decides =
        place.section == "lsmhooks" || place.fields.contains("call: security_") && result.is_empty();
    let mut text = String::new();
    process_filters(random, &mut text);
    let filters = argument_filters(random, args);
    if !filters.is_empty() {
        let _ = writeln!(text, "    matchArgs:\n    - {}", filters.join("\n    - "));
    }
    if data && often(random, 2) {
        let filter = filter(random, "string").unwrap_or_default();
        let _ = writeln!(text, "    matchData: [{{index: 0, {filter}}}]");
    }
    if !result.is_empty() && often(random, 3) {
        if let Some(filter) = filter(random, result) {
            let _ = writeln!(text, "    matchReturnArgs: [{{index: 0, {filter}}}]");
        }
        if matches!(place.section, "kprobes" | "fentries") {
            actions(random, "", false, &[], "matchReturnActions", &mut text);
        }
    }
    actions(random, place.section, decides, args, "matchActions", &mut text);
    if text.is_empty() { "    matchPIDs: [{operator: NotIn, values: [1]}]\n".to_owned() } else { text }
}

/// One hook of a random place.
fn hook(random: &mut Random, places: &[&'static Place]) -> (&'static str, String) {
    let place = random.one(places);
    let mut text = format!("- {}\n", place.fields);
    let args: Vec<_> = place.args.iter().filter(|_| random.below(4) != 0).copied().collect();
    let returns = !place.result.is_empty() && often(random, 2);
    // What is read at the return needs one.
    let args: Vec<_> =
        args.into_iter().filter(|(_, _, more)| returns || !more.contains("returnCopy")).collect();
    if !args.is_empty() {
        text.push_str("  args:\n");
        for (number, (index, ty, more)) in args.iter().enumerate() {
            let label = if often(random, 3) { format!(", label: l{number}") } else { String::new() };
            let more = if more.is_empty() { String::new() } else { format!(", {more}") };
            let _ = writeln!(text, "  - {{index: {index}, type: {ty}{more}{label}}}");
        }
    }
    let data = matches!(place.section, "kprobes" | "fentries") && often(random, 4);
    if data {
        text.push_str(
            "  data:\n  - {index: 0, type: string, source: current_task, resolve: real_parent.comm}\n",
        );
    }
    if returns {
        let _ = writeln!(text, "  return: true\n  returnArg: {{index: 0, type: {}}}", place.result);
        if place.result == "sock" && often(random, 2) {
            let _ = writeln!(text, "  returnArgAction: {}", random.one(&["TrackSock", "UntrackSock"]));
        }
    }
    let selectors = *random.one(&[0, 1, 1, 2, 3, 5, 12]);
    if selectors > 0 {
        text.push_str("  selectors:\n");
    }
    for _ in 0..selectors {
        let result = if returns { place.result } else { "" };
        let selector = selector(random, place, &args, result, data);
        let _ = writeln!(text, "  -{}", selector.trim_end().strip_prefix("   ").unwrap_or_default());
    }
    (place.section, text)
}

/// One to three hooks.
pub(crate) fn random_policy(random: &mut Random, places: &[&'static Place]) -> String {
    let hooks: Vec<(&str, String)> = (0..1 + random.below(3)).map(|_| hook(random, places)).collect();
    let mut spec = String::new();
    for section in ["kprobes", "fentries", "lsmhooks", "tracepoints", "uprobes"] {
        let of_section: Vec<&str> =
            hooks.iter().filter(|(own, _)| *own == section).map(|(_, text)| text.as_str()).collect();
        if !of_section.is_empty() {
            let _ = write!(spec, "{section}:\n{}", of_section.concat());
        }
    }
    policy(&spec)
}

//! Random filters on buffers, files, addresses, sockets and sets of capabilities: what the kernel makes of calls is what
//! the matcher makes of them.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::{SocketAddr as LocalAddress, UnixDatagram, UnixStream};
use std::path::PathBuf;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use saker_policy::matcher::{SocketValue, Value};

use crate::equivalence::{Random, checked, decided_of, rounds, word};
use crate::lab::{Lab, any_function, policy};
use crate::patterns;

/// One to three selectors of this process, each with one or two filters.
fn selectors(random: &mut Random, mut filter: impl FnMut(&mut Random) -> String) -> String {
    let mut text = String::new();
    for _ in 0..1 + random.below(3) {
        let filters: Vec<String> = (0..1 + random.below(2)).map(|_| filter(random)).collect();
        text.push_str(&format!(
            "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchArgs: [{}]\n",
            filters.join(", ")
        ));
    }
    text
}

/// Numbers of the calls that the matcher decides to tell, each with the selector.
fn expected(text: &str, values: &[Vec<Value>]) -> Vec<(i64, u16)> {
    let policy = checked(text);
    let decided = |(number, values): (i64, &Vec<Value>)| {
        Some((number, decided_of(&policy, String::new(), values.clone())?))
    };
    (0..).zip(values).filter_map(decided).collect()
}

/// Calls told of, as one value that is their number tells, and the selectors.
fn numbered(lab: &Lab, value: u32, act: impl FnOnce()) -> Vec<(i64, u16)> {
    lab.told(act).iter().map(|one| (one.number(value), one.selector)).collect()
}

#[test]
fn buffers() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(11);
    let file = File::options().write(true).open("/dev/null").unwrap();
    let mut told_of = 0;
    for _ in 0..rounds() {
        let mut seen = Vec::new();
        let selectors = selectors(&mut random, |random| patterns::filter(random, "args: [1]", &mut seen));
        let text = policy(&format!(
            "kprobes:\n- call: sys_pwrite64\n  syscall: true\n  args: [{{index: 3, type: int64}}, {{index: 1, type: \
             char_buf, sizeArgIndex: 3}}]\n  selectors:\n{selectors}"
        ));
        let calls: Vec<Vec<u8>> = (0..40).map(|_| patterns::near(&mut random, &seen).into_bytes()).collect();
        let values: Vec<Vec<Value>> =
            calls.iter().map(|call| vec![Value::Integer(0), Value::Bytes(call.clone())]).collect();
        let expected = expected(&text, &values);
        let _applied = lab.apply(&text).unwrap();
        let told = numbered(&lab, 0, || {
            for (number, call) in (0..).zip(&calls) {
                file.write_at(call, number).unwrap();
            }
        });
        assert_eq!(told, expected, "{text}\n{calls:?}");
        told_of += told.len();
    }
    assert!(told_of as u64 > 2 * rounds(), "only {told_of} calls matched");
}

/// Files in a folder of their own that is gone at the end.
struct Files {
    folder: PathBuf,
    open: Vec<(String, File)>,
}

impl Files {
    fn new(random: &mut Random, name: &str) -> Self {
        // Of a file of an overlay both it and the file below are asked for.
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = place.join(format!("saker-{name}-{}", std::process::id()));
        let mut open = Vec::new();
        for _ in 0..24 {
            let place: Vec<String> =
                (0..1 + random.below(3)).map(|_| format!("{}b", word(random, 3).replace('/', "a"))).collect();
            let path = folder.join(place.join("/")).join(format!("{}a", word(random, 2).replace('/', "b")));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            // A folder may have the name already.
            let file = File::options().create(true).read(true).append(true).open(&path);
            open.extend(file.ok().map(|file| (path.to_string_lossy().into_owned(), file)));
        }
        assert!(open.len() > 8, "{} files", open.len());
        Self { folder, open }
    }

    /// A filter on the paths of such files.
    fn filter(&self, random: &mut Random, which: &str) -> String {
        let operators = [
            "Equal",
            "NotEqual",
            "Prefix",
            "NotPrefix",
            "Postfix",
            "NotPostfix",
            "Glob",
            "NotGlob",
            "SubString",
            "SubStringIgnCase",
        ];
        let operator = *random.one(&operators);
        let values: Vec<String> = (0..1 + random.below(3))
            .map(|_| {
                let path = &random.one(&self.open).0;
                let cut = random.below(self.tail(path).len()) + 1;
                match operator {
                    "Equal" | "NotEqual" => path.clone(),
                    "Prefix" | "NotPrefix" => path[..path.len() - cut].to_owned(),
                    "Glob" | "NotGlob" => patterns::pattern_for(random, path),
                    _ => path[path.len() - cut..].to_owned(),
                }
            })
            .map(|value| format!("'{value}'"))
            .collect();
        format!("{{{which}, operator: {operator}, values: [{}]}}", values.join(", "))
    }

    fn tail<'a>(&self, path: &'a str) -> &'a str {
        &path[self.folder.to_string_lossy().len() + 1..]
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn paths_of_descriptors() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(12);
    let files = Files::new(&mut random, "descriptors");
    let values: Vec<Vec<Value>> = files
        .open
        .iter()
        .map(|(path, _)| {
            vec![
                Value::Integer(0),
                Value::Path { path: path.clone().into_bytes(), mode: 0o100_644, file: Vec::new() },
            ]
        })
        .collect();
    let mut told_of = 0;
    for _ in 0..rounds() {
        let selectors = selectors(&mut random, |random| files.filter(random, "args: [1]"));
        let text = policy(&format!(
            "kprobes:\n- call: sys_pread64\n  syscall: true\n  args: [{{index: 3, type: int64}}, {{index: 0, type: fd}}]\n  \
             selectors:\n{selectors}"
        ));
        let expected = expected(&text, &values);
        let _applied = lab.apply(&text).unwrap();
        let told = numbered(&lab, 0, || {
            for (number, (_, file)) in (0..).zip(&files.open) {
                file.read_at(&mut [0; 1], number).unwrap();
            }
        });
        assert_eq!(told, expected, "{text}\n{:?}", files.open);
        told_of += told.len();
    }
    assert!(told_of as u64 > 2 * rounds(), "only {told_of} calls matched");
}

/// Paths and types of files, some of which have no path.
#[test]
fn files_and_their_types() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("NOT RUN: no function of this kernel can be hooked");
        return;
    }
    let mut random = Random(13);
    let mut files = Files::new(&mut random, "types");
    files.open.truncate(12);
    let (reader, writer) = std::io::pipe().unwrap();
    let (socket, other) = UnixStream::pair().unwrap();
    let mut others: Vec<(&str, File)> = vec![
        ("", File::from(OwnedFd::from(reader))),
        ("", File::from(OwnedFd::from(socket))),
        ("/dev/zero", File::open("/dev/zero").unwrap()),
        ("/dev/null", File::open("/dev/null").unwrap()),
    ];
    let modes = |file: &File| file.metadata().unwrap().mode();
    let mut values: Vec<Vec<Value>> = Vec::new();
    let known = files.open.iter().map(|(path, file)| (path.clone(), modes(file)));
    let all: Vec<(String, u32)> =
        known.chain(others.iter().map(|(path, file)| ((*path).to_owned(), modes(file)))).collect();
    for (path, mode) in &all {
        values.push(vec![Value::Path { path: path.as_bytes().to_vec(), mode: *mode, file: Vec::new() }]);
    }
    let mut told_of = 0;
    for _ in 0..rounds() {
        let selectors = selectors(&mut random, |random| {
            if random.below(2) == 0 {
                return files.filter(random, "args: [0]");
            }
            let operator = *random.one(&["FileType", "NotFileType"]);
            let ty = *random.one(&["reg", "fifo", "sock", "chr", "dir, blk, lnk", "reg, chr", "pipe, dir"]);
            format!("{{args: [0], operator: {operator}, values: [{ty}]}}")
        });
        let text = policy(&format!(
            "kprobes:\n- call: security_file_permission\n  syscall: false\n  args: [{{index: 0, type: file}}]\n  \
             selectors:\n{selectors}"
        ));
        let expected: Vec<(String, u16)> = expected(&text, &values)
            .into_iter()
            .map(|(number, selector)| (all[number as usize].0.clone(), selector))
            .collect();
        let _applied = lab.apply(&text).unwrap();
        let told = lab.told(|| {
            for (_, file) in &mut files.open {
                let _ = file.read(&mut [0; 1]).unwrap();
            }
            // What is read there is put in by others, whose calls are seen too.
            for (_, file) in &mut others[2..] {
                let _ = file.read(&mut [0; 1]).unwrap();
            }
        });
        let of_files: Vec<(String, u16)> = told.iter().map(|one| (one.path(0), one.selector)).collect();
        let with_path: Vec<(String, u16)> =
            expected.iter().filter(|(path, _)| !path.is_empty()).cloned().collect();
        assert_eq!(of_files, with_path, "{text}\n{all:?}");
        let told_without = lab.told(|| {
            // Both ends are seen: one is written, the other read.
            rustix::io::write(&writer, b"x").unwrap();
            let _ = others[0].1.read(&mut [0; 1]).unwrap();
            rustix::io::write(&other, b"x").unwrap();
            let _ = others[1].1.read(&mut [0; 1]).unwrap();
        });
        let selectors_of: Vec<u16> = told_without.iter().map(|one| one.selector).collect();
        let twice: Vec<u16> = expected
            .iter()
            .filter(|(path, _)| path.is_empty())
            .flat_map(|(_, selector)| [*selector; 2])
            .collect();
        assert_eq!(selectors_of, twice, "{text}");
        told_of += told.len() + told_without.len();
    }
    assert!(told_of as u64 > 2 * rounds(), "only {told_of} calls matched");
}

/// Addresses near each other, of both versions.
fn address(random: &mut Random) -> SocketAddr {
    let low = (random.next() % 4) as u16;
    let port = *random.one(&[1, 53, 1022, 1023, 1024, 1025, 8080, 65_535]);
    let ip = match random.below(5) {
        0 => IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 1 + low)),
        1 => IpAddr::V6(Ipv6Addr::new(0xfd00 + low, 0, 0, 0, 0, 0, 0, 1)),
        2 => IpAddr::V4(Ipv4Addr::new(127, 0, low as u8, 1)),
        3 => IpAddr::V4(Ipv4Addr::new(126 + low as u8, 255, 255, 255)),
        _ => IpAddr::V4(Ipv4Addr::new(127, 0, 0, low as u8)),
    };
    SocketAddr::new(ip, port)
}

fn networks(random: &mut Random) -> String {
    let one = |random: &mut Random| {
        let ip = address(random).ip();
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = *random.one(&[0, 7, 8, 15, 16, 23, 24, 30, 31, 32, 64, 127, 128]);
        format!("'{ip}/{}'", most.min(bits))
    };
    (0..1 + random.below(3)).map(|_| one(random)).collect::<Vec<_>>().join(", ")
}

/// A filter on an address or on a side of a socket.
fn address_filter(random: &mut Random, which: &str, sides: &[&str]) -> String {
    let side = *random.one(sides);
    let not = if random.below(2) == 0 { "Not" } else { "" };
    let more = match random.below(4) {
        0 => format!("{not}{side}Addr, values: [{}]", networks(random)),
        1 => {
            let ports =
                *random.one(&["'53'", "'1:1023'", "'1024:65535', '1'", "'0:65535'", "'1023', '8080'"]);
            format!("{not}{side}Port, values: [{ports}]")
        }
        2 => match (not, side) {
            ("Not", "S") => "NotSportPriv".to_owned(),
            _ => format!("{not}{side}PortPriv"),
        },
        _ => {
            format!("Family, values: [{}]", *random.one(&["AF_INET", "AF_INET6", "'2', '10'", "AF_UNIX"]))
        }
    };
    format!("{{{which}, operator: {more}}}")
}

/// A socket that sends nothing when it is connected.
fn socket_for(address: &SocketAddr) -> std::io::Result<UdpSocket> {
    UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })
}

#[test]
fn addresses() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(14);
    let mut told_of = 0;
    for _ in 0..rounds() {
        let selectors = selectors(&mut random, |random| address_filter(random, "args: [0]", &["S"]));
        let text = policy(&format!(
            "kprobes:\n- call: sys_connect\n  syscall: true\n  args: [{{index: 1, type: sockaddr}}, {{index: 0, type: \
             int64}}]\n  selectors:\n{selectors}"
        ));
        let calls: Vec<(SocketAddr, UdpSocket)> = (0..40)
            .map(|_| address(&mut random))
            .filter_map(|address| Some((address, socket_for(&address).ok()?)))
            .collect();
        let value = |address: &SocketAddr| Value::Address {
            family: if address.is_ipv4() { 2 } else { 10 },
            address: Some(address.ip()),
            port: address.port(),
        };
        let values: Vec<Vec<Value>> =
            calls.iter().map(|(address, _)| vec![value(address), Value::Integer(0)]).collect();
        // Each has a descriptor of its own.
        let number = |socket: &UdpSocket| i64::from(socket.as_raw_fd());
        let expected: Vec<(i64, u16)> = expected(&text, &values)
            .into_iter()
            .map(|(index, selector)| (number(&calls[index as usize].1), selector))
            .collect();
        let _applied = lab.apply(&text).unwrap();
        let told = numbered(&lab, 1, || {
            for (address, socket) in &calls {
                // There may be no way to it.
                let _ = socket.connect(address);
            }
        });
        assert_eq!(told, expected, "{text}\n{calls:?}");
        told_of += told.len();
    }
    assert!(told_of as u64 > 2 * rounds(), "only {told_of} calls matched");
}

#[test]
fn local_addresses() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(15);
    let mut told_of = 0;
    for _ in 0..rounds() {
        let name = |random: &mut Random| {
            let name = format!("{}a", word(random, 4).replace('/', "b"));
            // A path, or a name that begins with what stands for a NUL.
            if random.below(2) == 0 { format!("/saker-none/{name}") } else { format!("@{name}") }
        };
        let selectors = selectors(&mut random, |random| {
            let operators = ["Equal", "NotEqual", "Prefix", "NotPrefix", "SubString", "SubStringIgnCase"];
            let operator = *random.one(&operators);
            if random.below(8) == 0 {
                return "{args: [0], operator: Family, values: [AF_UNIX]}".to_owned();
            }
            let values: Vec<String> = (0..1 + random.below(3))
                .map(|_| {
                    let whole = name(random);
                    let part = match operator {
                        "Prefix" | "NotPrefix" => &whole[..1 + random.below(whole.len())],
                        "SubString" | "SubStringIgnCase" => &whole[whole.len() - 1 - random.below(2)..],
                        _ => &whole,
                    };
                    format!("'{part}'")
                })
                .collect();
            format!("{{args: [0], operator: {operator}, values: [{}]}}", values.join(", "))
        });
        let text = policy(&format!(
            "kprobes:\n- call: sys_connect\n  syscall: true\n  args: [{{index: 1, type: sockaddr_un}}, {{index: 0, type: \
             int64}}]\n  selectors:\n{selectors}"
        ));
        let calls: Vec<(String, UnixDatagram)> =
            (0..40).map(|_| (name(&mut random), UnixDatagram::unbound().unwrap())).collect();
        let values: Vec<Vec<Value>> = calls
            .iter()
            .map(|(name, _)| vec![Value::LocalAddress(name.clone().into_bytes()), Value::Integer(0)])
            .collect();
        let number = |socket: &UnixDatagram| i64::from(socket.as_raw_fd());
        let expected: Vec<(i64, u16)> = expected(&text, &values)
            .into_iter()
            .map(|(index, selector)| (number(&calls[index as usize].1), selector))
            .collect();
        let _applied = lab.apply(&text).unwrap();
        let told = numbered(&lab, 1, || {
            for (name, socket) in &calls {
                // Nobody has such a name.
                let _ = match name.strip_prefix('@') {
                    Some(name) => socket.connect_addr(&LocalAddress::from_abstract_name(name).unwrap()),
                    None => socket.connect(name),
                };
            }
        });
        assert_eq!(told, expected, "{text}\n{calls:?}");
        told_of += told.len();
    }
    assert!(told_of as u64 > 2 * rounds(), "only {told_of} calls matched");
}

/// Both sides of sockets, as they send.
#[test]
fn sides_of_sockets() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("NOT RUN: no function of this kernel can be hooked");
        return;
    }
    let mut random = Random(16);
    let mut told_of = 0;
    for _ in 0..rounds() {
        let selectors = selectors(&mut random, |random| match random.below(6) {
            0 => format!(
                "{{args: [0], operator: Protocol, values: [{}]}}",
                *random.one(&["IPPROTO_UDP", "IPPROTO_TCP", "'17', '6'"])
            ),
            1 => format!(
                "{{args: [0], operator: State, values: [{}]}}",
                *random.one(&["TCP_ESTABLISHED", "TCP_CLOSE", "'1', '7'"])
            ),
            _ => address_filter(random, "args: [0]", &["S", "D"]),
        });
        let text = policy(&format!(
            "kprobes:\n- call: security_socket_sendmsg\n  syscall: false\n  args: [{{index: 0, type: socket}}, {{index: 2, \
             type: int}}]\n  selectors:\n{selectors}"
        ));
        // Those to which there is a way, each with its number as the size of what it sends.
        let mut calls: Vec<(UdpSocket, Value)> = Vec::new();
        for _ in 0..60 {
            let (from, to) = (address(&mut random), address(&mut random));
            let Ok(socket) = UdpSocket::bind(from) else { continue };
            if to.ip().is_ipv4() != from.is_ipv4() || socket.connect(to).is_err() {
                continue;
            }
            let value = SocketValue {
                family: if from.is_ipv4() { 2 } else { 10 },
                protocol: 17,
                // TCP_ESTABLISHED, which connected sockets of other protocols have too.
                state: Some(1),
                source: Some(from.ip()),
                destination: Some(to.ip()),
                source_port: from.port(),
                destination_port: to.port(),
            };
            calls.push((socket, Value::Socket(value)));
        }
        assert!(calls.len() > 3, "{} sockets", calls.len());
        let values: Vec<Vec<Value>> =
            calls.iter().map(|(_, value)| vec![value.clone(), Value::Integer(0)]).collect();
        let expected = expected(&text, &values);
        let _applied = lab.apply(&text).unwrap();
        let told = numbered(&lab, 1, || {
            for (number, (socket, _)) in calls.iter().enumerate() {
                // What is refused was sent.
                let _ = socket.send(&vec![0; number]);
            }
        });
        assert_eq!(told, expected, "{text}\n{calls:?}");
        told_of += told.len();
    }
    assert!(told_of as u64 > rounds(), "only {told_of} calls matched");
}

#[test]
fn sets_of_capabilities() {
    let Some(mut lab) = Lab::new() else { return };
    if !any_function() {
        println!("NOT RUN: no function of this kernel can be hooked");
        return;
    }
    let mut random = Random(17);
    let all = capabilities(None).unwrap();
    const NAMES: [&str; 5] = ["CAP_KILL", "CAP_SYSLOG", "CAP_NET_RAW", "CAP_SYS_TIME", "CAP_BPF"];
    let sets = [
        CapabilitySet::KILL,
        CapabilitySet::SYSLOG,
        CapabilitySet::NET_RAW,
        CapabilitySet::SYS_TIME,
        CapabilitySet::BPF,
    ];
    let some = |random: &mut Random| {
        sets.iter().filter(|_| random.below(2) == 0).fold(CapabilitySet::empty(), |all, one| all | *one)
    };
    // Policies that match nothing are among them, and of the first two both are.
    let rounds = rounds().max(6);
    let mut told_of = 0;
    for _ in 0..rounds {
        let selectors = selectors(&mut random, |random| {
            if random.below(4) == 0 {
                let order = *random.one(&["0, 1", "1, 0", "0, 2", "2, 1"]);
                return format!("{{args: [{order}], operator: CapabilitiesGained}}");
            }
            let operator = *random.one(&["Equal", "NotEqual", "Mask", "GT", "LT"]);
            let named = |random: &mut Random| {
                let names: Vec<&str> = NAMES.iter().filter(|_| random.below(2) == 0).copied().collect();
                if names.is_empty() { "CAP_KILL".to_owned() } else { names.join(",") }
            };
            let values: Vec<String> =
                (0..1 + random.below(3)).map(|_| format!("'{}'", named(random))).collect();
            let position = random.below(2);
            format!("{{args: [{position}], operator: {operator}, values: [{}]}}", values.join(", "))
        });
        let text = policy(&format!(
            "kprobes:\n- call: security_capset\n  syscall: false\n  args: [{{index: 2, type: cap_effective}}, {{index: 3, \
             type: cap_inheritable}}, {{index: 4, type: cap_permitted}}]\n  selectors:\n{selectors}"
        ));
        let calls: Vec<CapabilitySets> = (0..24)
            .map(|_| {
                let (effective, inheritable) = (some(&mut random), some(&mut random));
                // Without CAP_SETPCAP none but permitted ones could be made inheritable; all of these are.
                CapabilitySets { effective, inheritable, ..all }
            })
            // What was told is read with all of them.
            .chain([all])
            .collect();
        let values: Vec<Vec<Value>> = calls
            .iter()
            .map(|sets| {
                [sets.effective, sets.inheritable, sets.permitted]
                    .map(|set| Value::Capabilities(set.bits()))
                    .to_vec()
            })
            .collect();
        let expected: Vec<(i64, i64, u16)> = expected(&text, &values)
            .into_iter()
            .map(|(index, selector)| {
                let sets = &calls[index as usize];
                (sets.effective.bits().cast_signed(), sets.inheritable.bits().cast_signed(), selector)
            })
            .collect();
        let _applied = lab.apply(&text).unwrap();
        let told = lab.told(|| {
            for sets in &calls {
                set_capabilities(None, *sets).unwrap();
            }
        });
        let told: Vec<(i64, i64, u16)> =
            told.iter().map(|one| (one.number(0), one.number(1), one.selector)).collect();
        assert_eq!(told, expected, "{text}");
        told_of += told.len();
    }
    assert!(told_of as u64 > 2 * rounds, "only {told_of} calls matched");
}

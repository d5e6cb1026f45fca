//! Owners of sockets: told where others run, and never of a socket that is another by then.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use saker_abi::generated::*;
use saker_policy::Diagnostic;
use zerocopy::FromBytes;

use super::lab::{Applied, Lab, Told, mechanisms, plan, policy};

/// Sockets that this process opens are its own, and those that its listeners make of connections.
const TRACKED: &str = "kprobes:
- call: sk_alloc
  syscall: false
  return: true
  args: [{index: 1, type: int}]
  returnArg: {index: 0, type: sock}
  returnArgAction: TrackSock
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchActions: [{action: NoPost}]
- call: tcp_create_openreq_child
  syscall: false
  return: true
  args: [{index: 0, type: sock}]
  returnArg: {index: 0, type: sock}
  returnArgAction: TrackSock
  selectors:
  - matchArgs: [{index: 0, operator: SPort, values: ['PORT']}]
";

/// What arrives at and leaves from the port.
const SEEN: &str = "kprobes:
- call: tcp_rcv_established
  syscall: false
  args: [{index: 0, type: sock}]
  selectors:
  - matchArgs: [{index: 0, operator: SPort, values: ['PORT']}]
- call: ip_output
  syscall: false
  args: [{index: 2, type: skb}]
  selectors:
  - matchArgs:
    - {index: 2, operator: Protocol, values: [IPPROTO_TCP]}
    - {index: 2, operator: SPort, values: ['PORT']}
";

/// The policies with their port, or why this kernel refuses to track.
fn applied(lab: &mut Lab, texts: &[&str], port: u16) -> Result<Vec<Applied>, Vec<Diagnostic>> {
    texts.iter().map(|text| lab.apply(&policy(&text.replace("PORT", &port.to_string())))).collect()
}

fn assert_refused(refused: &[Diagnostic]) {
    let ways = mechanisms();
    assert!(!ways.trampoline, "{refused:#?}");
    println!("refused: {}", refused[0].message);
}

/// Another process that sends a line to the port and waits for one.
fn client(port: u16) -> Child {
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3; read -r answer <&3");
    Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap()
}

/// Takes a connection, reads a line and answers.
fn serve(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut line = [0; 16];
    let read = stream.read(&mut line).unwrap();
    assert_eq!(&line[..read], b"hello\n");
    stream.write_all(b"bye\n").unwrap();
    stream
}

fn socket(told: &Told) -> u64 {
    saker_sock::read_from_prefix(told.value(0)).unwrap().0.cookie
}

/// The listener is told of before the port is known: so it is opened while a policy for any port is there.
fn listen(lab: &mut Lab) -> Result<(TcpListener, u16, Vec<Applied>), Vec<Diagnostic>> {
    let early = applied(lab, &[TRACKED], 1)?;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    Ok((listener, port, early))
}

#[test]
fn events_in_other_tasks_are_told_of_the_owner() {
    let Some(mut lab) = Lab::new() else { return };
    let (listener, port, early) = match listen(&mut lab) {
        Ok(found) => found,
        Err(refused) => return assert_refused(&refused),
    };
    let policies = applied(&mut lab, &[TRACKED, SEEN], port).unwrap();
    drop(early);
    let mut child = client(port);
    let stream = serve(&listener);
    assert!(child.wait().unwrap().success());
    drop(stream);
    let told = lab.told_so_far();
    let me = std::process::id();
    let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    let of = |hook: u32, values: usize| {
        let fits = move |one: &&Told| one.hook == hook && !one.is_return() && one.value(0).len() == values;
        told.iter().filter(fits).collect::<Vec<_>>()
    };
    let received = of(0, size_of::<saker_sock>());
    assert!(!received.is_empty(), "{told:#?}");
    // The other end runs when its packets arrive here, as loopback delivers them.
    for one in &received {
        assert!(one.is_owner() && (one.pid, one.tid) == (me, thread), "{one:#?}");
    }
    let made: Vec<&Told> = told.iter().filter(|one| one.hook == 1 && one.is_return()).collect();
    assert_eq!(made.len(), 1, "{told:#?}");
    assert!(made[0].is_owner() && made[0].pid == me, "{made:#?}");
    let sent = of(1, size_of::<saker_skb>());
    assert!(sent.iter().any(|one| one.is_owner() && one.pid == me), "{sent:#?}");
    drop(policies);
}

/// Addresses of sockets come again, their owners do not.
#[test]
fn a_socket_that_is_gone_has_no_owner() {
    let Some(mut lab) = Lab::new() else { return };
    let (listener, port, early) = match listen(&mut lab) {
        Ok(found) => found,
        Err(refused) => return assert_refused(&refused),
    };
    let connects = "kprobes:
- call: tcp_connect
  syscall: false
  args: [{index: 0, type: sock}]
  selectors:
  - matchArgs: [{index: 0, operator: DPort, values: ['PORT']}]
";
    let _policies = applied(&mut lab, &[connects], port).unwrap();
    let me = std::process::id();
    let (mut own, mut again, mut others) = (HashSet::new(), 0, 0);
    for _ in 0..20 {
        for _ in 0..16 {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            drop((stream, listener.accept().unwrap()));
        }
        for _ in 0..4 {
            let mut child = client(port);
            serve(&listener);
            assert!(child.wait().unwrap().success());
        }
        let told = lab.told_so_far();
        // A socket of another that was taken for one of this process would be one more.
        assert_eq!(told.iter().filter(|one| one.pid == me).count(), 16, "{told:#?}");
        assert_eq!(told.len(), 20, "{told:#?}");
        for one in told {
            if one.pid == me {
                assert!(one.is_owner(), "{one:#?}");
                own.insert(socket(&one));
            } else {
                assert!(!one.is_owner(), "{one:#?}");
                others += 1;
                again += usize::from(own.contains(&socket(&one)));
            }
        }
        if again > 8 {
            break;
        }
    }
    println!("{others} sockets of others, {again} of them where one of this process had been");
    assert!(again > 0, "no address came again: nothing was tested");
    drop(early);
}

/// The owners are forgotten with the last policy that tracks.
#[test]
fn forgotten_by_an_action_and_with_the_policies() {
    let Some(mut lab) = Lab::new() else { return };
    let (listener, port, early) = match listen(&mut lab) {
        Ok(found) => found,
        Err(refused) => return assert_refused(&refused),
    };
    let polled = "kprobes:
- call: tcp_v4_connect
  syscall: false
  args: [{index: 0, type: sock}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchActions: [{action: UntrackSock, argSock: 0}]
- call: tcp_connect
  syscall: false
  args: [{index: 0, type: sock}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 0, operator: DPort, values: ['PORT']}]
";
    let connect = |lab: &Lab| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop((stream, listener.accept().unwrap()));
        lab.told_so_far()
    };
    let only_seen = polled
        .split_once("- call: tcp_connect")
        .map(|(_, rest)| format!("kprobes:\n- call: tcp_connect{rest}"));
    let seen = applied(&mut lab, &[&only_seen.unwrap()], port).unwrap();
    assert!(connect(&lab).iter().all(Told::is_owner));
    drop(early);
    let told = connect(&lab);
    assert!(!told.is_empty() && !told.iter().any(Told::is_owner), "{told:#?}");
    drop(seen);
    let _tracked = applied(&mut lab, &[TRACKED, polled], 1).unwrap();
    let _policies = applied(&mut lab, &[polled], port).unwrap();
    let told = connect(&lab);
    let before: Vec<bool> = told.iter().filter(|one| one.hook == 0).map(Told::is_owner).collect();
    assert!(before.first().is_some_and(|owner| *owner), "{told:#?}");
    let after: Vec<&Told> = told.iter().filter(|one| one.hook == 1).collect();
    assert!(!after.is_empty() && !after.iter().any(|one| one.is_owner()), "{told:#?}");
    assert!(plan(&policy(&only_end())).is_ok());
}

/// A policy that forgets and never remembers.
fn only_end() -> String {
    "kprobes:
- call: __sk_free
  syscall: false
  args: [{index: 0, type: sock}]
  selectors: [{matchActions: [{action: UntrackSock}]}]"
        .to_owned()
}

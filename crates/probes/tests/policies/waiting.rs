//! Calls under way when their policy goes.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::lab::{Lab, policy, ways};

#[test]
fn calls_that_wait_go_with_their_policy() {
    let Some(mut lab) = Lab::new() else { return };
    for way in ways() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let on = |number| {
            policy(&format!(
                "kprobes:\n- call: sys_read\n  syscall: true\n  return: true\n  args: [{{index: 0, type: int}}]\n  \
                 returnArg: {{index: 0, type: int}}\n  selectors:\n  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    \
                 matchArgs: [{{index: 0, operator: Equal, values: ['{number}']}}]"
            ))
        };
        let Ok(first) = lab.apply_on(&on(reader.as_raw_fd()), &way) else { continue };
        let Ok(second) = lab.apply_on(&on(reader.as_raw_fd()), &way) else { continue };
        let thread =
            std::thread::spawn(move || std::io::Read::read_exact(&mut reader, &mut [0]).map(|()| reader));
        let begin = Instant::now();
        while lab.waiting_calls() < 2 {
            assert!(begin.elapsed() < Duration::from_secs(20), "{} wait", lab.waiting_calls());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(first);
        assert_eq!(lab.waiting_calls(), 1, "that of the other policy");
        drop(second);
        assert_eq!(lab.waiting_calls(), 0);
        writer.write_all(&[1]).unwrap();
        thread.join().unwrap().unwrap();
    }
}

//! Estimates of what hooks cost, beside what was measured of such hooks (SPECIFICATION.md, 6.1).

use super::fake::Fake;
use super::hook;
use crate::plan::SocketPrograms;
use crate::plan::cost::{Content, Folders, cost};
use crate::testing::with_spec;

fn estimated(call: &str, args: &str, selector: &str) -> crate::plan::cost::Cost {
    let text = with_spec(&format!(
        "kprobes:\n- call: {call}\n  syscall: false\n  args: [{args}]\n  selectors:\n  - {selector}"
    ));
    cost(&hook(&text, &Fake::default())).unwrap()
}

const FILE: &str = "{index: 0, type: file}";
const PREFIX: &str = "matchArgs: [{index: 0, operator: Prefix, values: [/srv/a/, /srv/b/]}]";

#[test]
fn estimates_are_near_what_was_measured() {
    let near = |estimate: Option<u32>, measured: [u32; 2]| {
        let estimate = estimate.unwrap();
        let bounds = measured[0] * 8 / 10..=measured[1] * 12 / 10;
        assert!(bounds.contains(&estimate), "{estimate} and {measured:?}");
    };
    let process = "matchBinaries: [{operator: In, values: [/bin/a]}]";
    near(estimated("security_file_permission", FILE, process).other_process, [250, 300]);
    let integer = "matchArgs: [{index: 1, operator: Equal, values: ['77']}]";
    let mask = format!("{FILE}, {{index: 1, type: int}}");
    near(estimated("security_file_permission", &mask, integer).other_values, [290, 340]);
    near(estimated("security_file_permission", FILE, PREFIX).other_values, [650, 770]);
    let same = "matchArgs: [{index: 0, operator: SameFile, values: [/srv/a]}]";
    let by_file = estimated("security_file_permission", FILE, same);
    near(by_file.other_values, [1_580, 1_660]);
    let Folders { once, each } = by_file.folders.unwrap();
    near(by_file.other_values.map(|file| file + once + each), [2_880, 2_880]);
    near(by_file.other_values.map(|file| file + once + 4 * each), [4_410, 4_410]);
    assert_eq!(estimated("security_file_permission", FILE, PREFIX).folders, None);
    // Of a hook of 1,290 for open and close, and a refusal that costs less than the rest of an open.
    near(Some(estimated("security_file_open", FILE, PREFIX).told), [4_200, 5_500]);
}

#[test]
fn what_is_about_all_has_no_other_calls() {
    let process = format!("{{matchPIDs: [{{operator: In, values: [7]}}], {PREFIX}}}");
    let both = estimated("security_file_open", FILE, &process);
    assert!(both.other_process < both.other_values && both.other_values < Some(both.told), "{both:?}");
    let all = estimated("security_file_open", FILE, "matchActions: [{action: Post}]");
    assert_eq!((all.other_process, all.other_values), (None, None));
    let all = estimated(
        "security_file_open",
        FILE,
        &format!("{PREFIX}\n  - matchPIDs: [{{operator: In, values: [7]}}]"),
    );
    assert_eq!((all.other_process, all.other_values), (None, None), "each asks for something else");
}

#[test]
fn contents_cost_by_their_size() {
    let content = |filter: &str| {
        let text = with_spec(&format!(
            "lsmhooks:\n- hook: file_post_open\n  args: [{{index: 0, type: file}}]\n  selectors:\n  - {filter}"
        ));
        cost(&hook(&text, &Fake { hashes: true, ..Fake::default() })).unwrap().content
    };
    let hash = format!("matchFileHashes: [{{operator: In, values: ['sha256:{}']}}]", "1a".repeat(32));
    let Some(Content::Hash { small, each_kib }) = content(&hash) else { panic!("no hash") };
    // Of 1 MiB 57.9 M.
    let large = small + 1_020 * each_kib;
    assert!((57_000_000..59_000_000).contains(&large), "{large}");
    assert_eq!(content("matchBuildIds: [{operator: In, values: ['0a0b']}]"), Some(Content::BuildId(4_900)));
    assert_eq!(content("matchPIDs: [{operator: In, values: [7]}]"), None);
}

#[test]
fn programs_of_a_control_group_cost_what_was_measured() {
    let text = with_spec(
        "options: [{name: override-method, value: cgroup}]\nlsmhooks:\n- hook: socket_connect\n  \
         args: [{index: 0, type: socket}, {index: 1, type: sockaddr}]\n  selectors:\n  \
         - matchArgs: [{index: 0, operator: Protocol, values: [TCP, UDP]}, {index: 1, operator: SAddr, values: [127.0.0.2]}]\n    \
         matchActions: [{action: Override, argError: -1}]",
    );
    let sockets = SocketPrograms { group: "/groups".into(), is_part: false, errors: true, signals: true };
    let kernel = Fake { sockets: Some(sockets), ..Fake::default() };
    let other = cost(&hook(&text, &kernel)).unwrap().other_values.unwrap();
    assert!((2_400..2_800).contains(&other), "{other}");
}

#[test]
fn what_was_not_measured_is_not_guessed() {
    let text = with_spec("uprobes: [{path: /bin/c, symbols: [f]}]");
    assert_eq!(cost(&hook(&text, &Fake::default())), None);
}

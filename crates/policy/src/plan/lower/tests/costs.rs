//! Estimates of what hooks cost, beside what was measured of such hooks (SPECIFICATION.md, 6.1).

use super::fake::Fake;
use super::hook;
use crate::plan::cost::cost;
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
fn what_was_not_measured_is_not_guessed() {
    let text = with_spec("uprobes: [{path: /bin/c, symbols: [f]}]");
    assert_eq!(cost(&hook(&text, &Fake::default())), None);
}

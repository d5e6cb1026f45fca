//! Fields of the records of tracepoints.

use saker_abi::generated::*;

use super::{Fake, assert_refused, hook};
use crate::plan::Attach;

/// As Linux 6.12 describes it, with an address and an array added.
pub(super) const EXEC: &str = "name: sched_process_exec\nID: 330\nformat:\n\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;\n\
\tfield:pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;\n\
\tfield:const void * file;\toffset:24;\tsize:8;\tsigned:0;\n\
\tfield:unsigned long args[6];\toffset:32;\tsize:48;\tsigned:0;\n\n\
print fmt: \"filename=%s\"\n";

fn exec(args: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: x}}\nspec:\n  tracepoints:\n  \
         - subsystem: sched\n    event: sched_process_exec\n    args: [{args}]\n"
    )
}

#[test]
fn fields_have_their_types() {
    let text = exec("{index: 4}, {index: 5}, {index: 8}, {index: 6, type: int64}, {index: 7, type: file}");
    let found = hook(&text, &Fake::with(false, false, false));
    let attach = Attach::Tracepoint { subsystem: "sched".into(), event: "sched_process_exec".into() };
    assert_eq!((found.attach, u32::from(found.plan.family)), (attach, SAKER_FAMILY_TRACEPOINT));
    let values = &found.plan.value[..5];
    let types: Vec<u32> = values.iter().map(|value| value.type_.into()).collect();
    let wanted = [SAKER_TYPE_DATA_LOC, SAKER_TYPE_INT, SAKER_TYPE_CONST_BUF, SAKER_TYPE_S64, SAKER_TYPE_FILE];
    assert_eq!(types, wanted);
    assert!(values.iter().all(|value| u32::from(value.source) == SAKER_SOURCE_CONTEXT && value.steps == 1));
    assert_eq!(values[0].step[0].load, SAKER_LOAD_LOCATED);
    assert_eq!((values[3].step[0].offset, values[3].step[0].load, values[3].width), (16, 4, 0x84));
    assert_eq!(values[2].max, 48);
}

#[test]
fn an_address_is_followed() {
    let text = exec("{index: 7, type: int64, btfType: file, resolve: f_pos}");
    let value = hook(&text, &Fake::default()).plan.value[0];
    assert_eq!((u32::from(value.source), value.steps), (SAKER_SOURCE_CONTEXT, 2));
    assert_eq!((value.step[0].offset, value.step[1].offset), (24, 64));
}

#[test]
fn what_is_not_in_a_record() {
    for (args, words) in [
        ("{index: 9}", "has no field 9: type: 4 is `filename`"),
        ("{index: 9, type: int}", "has no field 9"),
        ("{index: 3, type: int}", "shows the field `common_pid` to no program"),
        ("{index: 5, type: string}", "the field `pid_t pid` is a number of 4 bytes"),
        ("{index: 8, type: int}", "is an array or structure of 48 bytes"),
        ("{index: 7, type: char_buf}", "how many bytes the buffer has"),
        ("{index: 5, type: int, btfType: file, resolve: f_pos}", "no pointer that `resolve` could follow"),
    ] {
        let words = words.split(": type").next().unwrap_or(words);
        assert_refused(&exec(args), &Fake::default(), &[words]);
    }
}

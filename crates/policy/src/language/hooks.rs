//! The hook families and captured values.

use super::{
    FieldDef, MAX_SELECTORS, MAX_TAGS, MAX_VALUES, ObjectDef, Shape, TEXTS, U32, U64, UNLIMITED, field,
    required, selectors,
};
use crate::words::{ArgType, ReturnSocketAction, SourceName};

const MESSAGE: FieldDef =
    field("message", Shape::Text, "", "text for people, copied to events; at most 1,024 bytes");
const TAGS: FieldDef =
    field("tags", Shape::List(&Shape::Text, MAX_TAGS), "", "words copied to events; at most 256 bytes each");
static AN_ARG: Shape = Shape::Object(&ARG);
static A_SELECTOR: Shape = Shape::Object(&selectors::SELECTOR);

const ARGS: FieldDef = field("args", Shape::List(&AN_ARG, MAX_VALUES), "", "arguments to capture");
const DATA: FieldDef = field(
    "data",
    Shape::List(&AN_ARG, MAX_VALUES),
    "",
    "values from elsewhere to capture; each needs `source` and `resolve`",
);
const SELECTORS: FieldDef = field(
    "selectors",
    Shape::List(&A_SELECTOR, MAX_SELECTORS),
    "every call is told",
    "conditions and actions; the first that matches decides, none means no event",
);
const RETURN: FieldDef =
    field("return", Shape::Bool, "false", "also look at the function's return; needs `returnArg`");
const RETURN_ARG: FieldDef = field("returnArg", Shape::Object(&ARG), "", "type of the value returned");

pub(crate) static KPROBE: ObjectDef = ObjectDef {
    name: "FunctionHook",
    doc: "A kernel function or system call (`kprobes`, `fentries`).",
    fields: &[
        required(
            "call",
            Shape::Text,
            "kernel function, system call (`sys_NAME`, with `syscall: true`), or `list:NAME`",
        ),
        field(
            "syscall",
            Shape::Bool,
            "true",
            "the call is a system call; always write this field, most hooks want `false`",
        ),
        RETURN,
        MESSAGE,
        ARGS,
        DATA,
        RETURN_ARG,
        field(
            "returnArgAction",
            Shape::Choice(ReturnSocketAction::WORDS),
            "",
            "what to do with the socket that is returned",
        ),
        SELECTORS,
        TAGS,
        field("ignore", Shape::Object(&IGNORE_CALL), "", "what is no failure"),
    ],
};

static IGNORE_CALL: ObjectDef = ObjectDef {
    name: "IgnoreCall",
    doc: "What of a function hook is no failure.",
    fields: &[field("callNotFound", Shape::Bool, "false", "the kernel has no such function")],
};

pub(crate) static TRACEPOINT: ObjectDef = ObjectDef {
    name: "Tracepoint",
    doc: "A tracepoint.",
    fields: &[
        required("subsystem", Shape::Text, "such as `syscalls`, `sched`"),
        required("event", Shape::Text, "such as `sys_enter_openat`"),
        field(
            "raw",
            Shape::Bool,
            "false",
            "attach to the raw tracepoint, whose arguments are kernel objects",
        ),
        ARGS,
        SELECTORS,
        MESSAGE,
        TAGS,
    ],
};

pub(crate) static UPROBE: ObjectDef = ObjectDef {
    name: "Uprobe",
    doc: "A function of a program or library. Exactly one of `symbols`, `offsets`, `addrs` must be given.",
    fields: &[
        required("path", Shape::Text, "the ELF file"),
        field("symbols", TEXTS, "", "functions: `name` or `name+0xOFFSET`"),
        field("offsets", Shape::List(&U64, UNLIMITED), "", "offsets in the file"),
        field("addrs", Shape::List(&U64, UNLIMITED), "", "virtual addresses"),
        field("refCtrOffsets", Shape::List(&U64, UNLIMITED), "", "semaphores, one for each place"),
        field("btfPath", Shape::Text, "", "BTF file of the program, for `btfType` and `resolve`"),
        ARGS,
        DATA,
        RETURN,
        RETURN_ARG,
        field(
            "binaryDigests",
            TEXTS,
            "",
            "attach only to a file with one of these: `ALGORITHM:HEX` (sha1, sha256, sha384, sha512, build-id)",
        ),
        field("ignore", Shape::Object(&IGNORE_DIGEST), "", "what is no failure"),
        SELECTORS,
        MESSAGE,
        TAGS,
    ],
};

static IGNORE_DIGEST: ObjectDef = ObjectDef {
    name: "IgnoreDigest",
    doc: "What of a uprobe is no failure.",
    fields: &[field("digestVerificationFailure", Shape::Bool, "false", "no digest fits the file")],
};

pub(crate) static USDT: ObjectDef = ObjectDef {
    name: "Usdt",
    doc: "A probe that a program declares itself.",
    fields: &[
        required("path", Shape::Text, "the ELF file"),
        field("btfPath", Shape::Text, "", "BTF file of the program, for `btfType` and `resolve`"),
        required("provider", Shape::Text, "provider of the probe"),
        required("name", Shape::Text, "name of the probe"),
        ARGS,
        SELECTORS,
        MESSAGE,
        TAGS,
    ],
};

pub(crate) static LSM: ObjectDef = ObjectDef {
    name: "LsmHook",
    doc: "A hook of Linux security modules.",
    fields: &[
        required("hook", Shape::Text, "the hook, such as `file_open`, without `bpf_lsm_`"),
        ARGS,
        SELECTORS,
        MESSAGE,
        TAGS,
    ],
};

/// A captured value.
pub(crate) static ARG: ObjectDef = ObjectDef {
    name: "Argument",
    doc: "A value to capture.",
    fields: &[
        required(
            "index",
            U32,
            "which argument, from 0; of a tracepoint which field of its format, counting the common ones",
        ),
        field("type", Shape::Choice(ArgType::WORDS), "`auto`", "how to read it"),
        field(
            "resolve",
            Shape::Text,
            "",
            "path of members from the argument to the value, such as `mm.owner.comm` or `names[2].len`; of `pt_regs` \
             a register",
        ),
        field(
            "sizeArgIndex",
            U32,
            "0: none",
            "of `char_buf` and `char_iovec`: the argument that holds the size, **counted from 1**",
        ),
        field(
            "returnCopy",
            Shape::Bool,
            "false",
            "read the buffer when the function returns; needs `return: true`",
        ),
        field(
            "maxData",
            Shape::Bool,
            "false",
            "of `char_buf`, `char_iovec` and `iov_iter`: tell up to 327,360 bytes instead of 4,096",
        ),
        field("label", Shape::Text, "", "name of the value in events"),
        field("source", Shape::Choice(SourceName::WORDS), "", "of `data`: where the value comes from"),
        field("btfType", Shape::Text, "", "treat the argument as a pointer to this structure"),
        field("btfTypeModule", Shape::Text, "", "kernel module that knows `btfType`"),
    ],
};

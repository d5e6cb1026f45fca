//! The files of `saker policy test`.

use super::{ObjectDef, Shape, TEXTS, U32, UNLIMITED, field, required};
use crate::words::Namespace;

/// Namespaces by kind: an inode number, or `host`.
const NAMESPACES: Shape = Shape::Map(&Shape::Text);

/// A test file.
pub static SCENARIO: ObjectDef = ObjectDef {
    name: "PolicyTest",
    doc: "One document of a test file. Give `policy` or `inline`.",
    fields: &[
        field("policy", Shape::Text, "", "policy file, relative to this file"),
        field("inline", Shape::Text, "", "text of a policy (`inline: |`)"),
        field("name", Shape::Text, "the only policy", "which policy of the file"),
        required(
            "events",
            Shape::List(&Shape::Object(&CASE), UNLIMITED),
            "events, and what must come of them",
        ),
    ],
};

static CASE: ObjectDef = ObjectDef {
    name: "Case",
    doc: "An event, and what must come of it.",
    fields: &[
        required("name", Shape::Text, "what the event shows"),
        field(
            "hook",
            Shape::Text,
            "the only hook",
            "which hook: its function, tracepoint (`subsystem/event`), LSM hook, symbol or probe (`provider/name`); \
             or its field, such as `kprobes[1]`",
        ),
        field("process", Shape::Object(&PROCESS), "", "the process that calls"),
        field("args", Shape::List(&Shape::Value, UNLIMITED), "", "values of `args`, in their order"),
        field("data", Shape::List(&Shape::Value, UNLIMITED), "", "values of `data`, in their order"),
        field(
            "hash",
            Shape::Text,
            "no file with a content",
            "hash of the hook's file, such as `sha256:` and its digits, `build-id:` and its digits or `none`; or `unreadable`",
        ),
        field("return", Shape::Value, "", "value returned"),
        required("expect", Shape::Object(&EXPECT), "what must come of it"),
    ],
};

static PROCESS: ObjectDef = ObjectDef {
    name: "Process",
    doc: "A process. What is left out is that of a process of the host without privileges.",
    fields: &[
        field("pid", U32, "1000", "its number"),
        field("nspid", U32, "", "its number in its own PID namespace, when that is not the host's"),
        field("binary", Shape::Text, "\"\"", "resolved path of its program"),
        field("earlier", TEXTS, "", "those of the programs that it ran before"),
        field(
            "ancestors",
            Shape::List(&Shape::Object(&ANCESTOR), UNLIMITED),
            "",
            "its ancestors, the parent first",
        ),
        field("namespaces", NAMESPACES, "host", "by kind: an inode number, or `host`"),
        field(
            "namespaceChanges",
            Shape::List(&Shape::Choice(Namespace::WORDS), UNLIMITED),
            "",
            "namespaces that changed since it began or last executed",
        ),
        field("effective", TEXTS, "", "effective capabilities"),
        field("inheritable", TEXTS, "", "inheritable capabilities"),
        field("permitted", TEXTS, "", "permitted capabilities"),
        field("effectiveChanges", TEXTS, "", "capabilities that changed in the effective set"),
        field("inheritableChanges", TEXTS, "", "capabilities that changed in the inheritable set"),
        field("permittedChanges", TEXTS, "", "capabilities that changed in the permitted set"),
        field("container", Shape::Object(&CONTAINER), "a process of the host", "the container it runs in"),
    ],
};

static ANCESTOR: ObjectDef = ObjectDef {
    name: "Ancestor",
    doc: "An ancestor of the process.",
    fields: &[
        field("pid", U32, "1", "its number"),
        field("nspid", U32, "", "its number in its own PID namespace, when that is not the host's"),
        field("binary", Shape::Text, "\"\"", "resolved path of its program"),
        field("earlier", TEXTS, "", "those of the programs that it ran before"),
    ],
};

static CONTAINER: ObjectDef = ObjectDef {
    name: "Container",
    doc: "The container and pod of the process.",
    fields: &[
        field("name", Shape::Text, "\"\"", "name of the container"),
        field("repo", Shape::Text, "\"\"", "repository of its image"),
        field("namespace", Shape::Text, "default", "namespace of the pod"),
        field("labels", Shape::Map(&Shape::Text), "", "labels of the pod"),
    ],
};

static EXPECT: ObjectDef = ObjectDef {
    name: "Expectation",
    doc: "What must come of an event. Only what is given is looked at.",
    fields: &[
        field("event", Shape::Bool, "", "whether there is an event"),
        field(
            "selector",
            Shape::Text,
            "",
            "the selector that matches: its position from 0, its label, or `none`",
        ),
        field("actions", TEXTS, "", "exactly these actions, those of the call and then those of the return"),
    ],
};

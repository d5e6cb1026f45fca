//! Selectors, their filters and actions.

use super::{
    FieldDef, I32, I64, MAX_ACTIONS, MAX_FILTERS, ObjectDef, Shape, TEXTS, U32, U64, UNLIMITED, field,
};
use super::{policy::LABELS, required};
use crate::words::{
    ActionName, BinaryOperator, CapabilitySet, Namespace, Operator, RateScope, SetOperator, WithoutHash,
};

const fn filters(name: &'static str, shape: &'static Shape, doc: &'static str) -> FieldDef {
    field(name, Shape::List(shape, MAX_FILTERS), "", doc)
}

/// A selector.
pub(crate) static SELECTOR: ObjectDef = ObjectDef {
    name: "Selector",
    doc: "A set of filters, all of which must hold, and what to do then.",
    fields: &[
        field("label", Shape::Text, "", "name of the selector"),
        field("macros", TEXTS, "", "parts of `selectorsMacros` to add"),
        field("matchWorkloads", Shape::Object(&WORKLOADS), "", "pods, containers, the host"),
        filters("matchBinaries", &Shape::Object(&BINARIES), "the program that the process runs"),
        filters("matchParentBinaries", &Shape::Object(&BINARIES), "the program that its parent runs"),
        filters("matchPIDs", &Shape::Object(&PIDS), "number of the process"),
        filters("matchNamespaces", &Shape::Object(&NAMESPACES), "namespaces of the process"),
        filters("matchCapabilities", &Shape::Object(&CAPABILITIES), "capabilities of the process"),
        filters(
            "matchNamespaceChanges",
            &Shape::Object(&NAMESPACE_CHANGES),
            "namespaces that changed since the process began or last executed",
        ),
        filters(
            "matchCapabilityChanges",
            &Shape::Object(&CAPABILITIES),
            "capabilities that changed since the process began or last executed",
        ),
        filters("matchArgs", &Shape::Object(&ARGS), "captured arguments"),
        filters("matchData", &Shape::Object(&DATA), "captured data; `index` is the position in `data`"),
        filters(
            "matchFileHashes",
            &Shape::Object(&FILE_HASHES),
            "LSM hooks: the hash of the file, which the kernel computes when all other filters hold; one entry",
        ),
        filters(
            "matchBuildIds",
            &Shape::Object(&BUILD_IDS),
            "LSM hooks: the build id of the file, which is looked for when all other filters hold; one entry",
        ),
        field(
            "matchActions",
            Shape::List(&Shape::Object(&ACTION), MAX_ACTIONS),
            "Post",
            "what to do at the call",
        ),
        filters("matchReturnArgs", &Shape::Object(&DATA), "the value returned"),
        field(
            "matchReturnActions",
            Shape::List(&Shape::Object(&ACTION), MAX_ACTIONS),
            "",
            "what to do at the return",
        ),
    ],
};

static WORKLOADS: ObjectDef = ObjectDef {
    name: "Workloads",
    doc: "Which workloads, as at the top of a policy.",
    fields: &[
        field("podSelector", Shape::Object(&LABELS), "", "containers of pods with these labels"),
        field("containerSelector", Shape::Object(&LABELS), "", "containers; labels `name` and `repo`"),
        field("hostSelector", Shape::Object(&LABELS), "", "`{}`: processes outside of containers"),
    ],
};

static BINARIES: ObjectDef = ObjectDef {
    name: "BinaryFilter",
    doc: "A condition on the path of a program. It is the resolved path; of a script that of its interpreter.",
    fields: &[
        required("operator", Shape::Choice(BinaryOperator::WORDS), "what must hold"),
        required("values", TEXTS, "paths, or parts or patterns of paths"),
        field("followChildren", Shape::Bool, "false", "also descendants of such a process"),
    ],
};

static PIDS: ObjectDef = ObjectDef {
    name: "PidFilter",
    doc: "A condition on the number of the process. Several entries must all hold.",
    fields: &[
        required("operator", Shape::Choice(SetOperator::WORDS), "what must hold"),
        required("values", Shape::List(&U32, UNLIMITED), "numbers"),
        field(
            "isNamespacePID",
            Shape::Bool,
            "false",
            "as seen in the PID namespace of the process; 0 outside of one",
        ),
        field("followForks", Shape::Bool, "false", "also descendants of such a process"),
    ],
};

static NAMESPACES: ObjectDef = ObjectDef {
    name: "NamespaceFilter",
    doc: "A condition on a namespace of the process.",
    fields: &[
        required("namespace", Shape::Choice(Namespace::WORDS), "which kind"),
        required("operator", Shape::Choice(SetOperator::WORDS), "what must hold"),
        required("values", TEXTS, "inode numbers, or `host_ns` for the host's"),
    ],
};

static NAMESPACE_CHANGES: ObjectDef = ObjectDef {
    name: "NamespaceChangeFilter",
    doc: "A namespace changed. `In`: one of these; `NotIn`: one that is not named.",
    fields: &[
        required("operator", Shape::Choice(SetOperator::WORDS), "which changes count"),
        required("values", Shape::List(&Shape::Choice(Namespace::WORDS), UNLIMITED), "kinds of namespaces"),
    ],
};

static CAPABILITIES: ObjectDef = ObjectDef {
    name: "CapabilityFilter",
    doc: "A condition on a capability set. `In`: one of these; `NotIn`: none of these, and of changes one that is \
          not named.",
    fields: &[
        field("type", Shape::Choice(CapabilitySet::WORDS), "Effective", "which set"),
        required("operator", Shape::Choice(SetOperator::WORDS), "what must hold"),
        field(
            "isNamespaceCapability",
            Shape::Bool,
            "false",
            "only processes outside of the host's user namespace",
        ),
        required("values", TEXTS, "capabilities, with or without `CAP_`"),
    ],
};

static ARGS: ObjectDef = ObjectDef {
    name: "ArgumentFilter",
    doc: "A condition on a captured argument.",
    fields: &[
        field(
            "index",
            U32,
            "0",
            "the `index` of a captured argument; of a tracepoint, when none has it, the position in `args`, from 0",
        ),
        field("args", Shape::List(&U32, UNLIMITED), "", "positions in `args`, from 0; instead of `index`"),
        required("operator", Shape::Choice(Operator::WORDS), "what must hold"),
        field("values", TEXTS, "", "what to compare with; numbers may begin with `0x`, `0o`, `0b`"),
    ],
};

static DATA: ObjectDef = ObjectDef {
    name: "ValueFilter",
    doc: "A condition on captured data or on the value returned.",
    fields: &[
        field("index", U32, "0", "position in `data`; of the value returned the `index` of `returnArg`"),
        field("args", Shape::List(&U32, UNLIMITED), "", "the same, instead of `index`"),
        required("operator", Shape::Choice(Operator::WORDS), "what must hold"),
        field("values", TEXTS, "", "what to compare with"),
    ],
};

static FILE_HASHES: ObjectDef = ObjectDef {
    name: "FileHashFilter",
    doc: "A condition on the hash of the hook's file by IMA. It does not hold where there is no file with a content: of \
          mappings without a file, devices, folders.",
    fields: &[
        required("operator", Shape::Choice(SetOperator::WORDS), "what must hold"),
        required(
            "values",
            TEXTS,
            "hashes by the algorithm of the kernel's IMA, such as `sha256:` and 64 hexadecimal digits",
        ),
        field(
            "withoutHash",
            Shape::Choice(WithoutHash::WORDS),
            "Act",
            "what is done about a file whose hash cannot be computed",
        ),
    ],
};

static BUILD_IDS: ObjectDef = ObjectDef {
    name: "BuildIdFilter",
    doc: "A condition on what the linker named the hook's file by. It does not hold where there is no file with a content; \
          a file without build id is none of those listed.",
    fields: &[
        required("operator", Shape::Choice(SetOperator::WORDS), "what must hold"),
        required("values", TEXTS, "build ids in hexadecimal digits, as `readelf -n` shows them"),
        field(
            "withoutHash",
            Shape::Choice(WithoutHash::WORDS),
            "Act",
            "what is done about a file that cannot be read",
        ),
    ],
};

static ACTION: ObjectDef = ObjectDef {
    name: "Action",
    doc: "What to do.",
    fields: &[
        required("action", Shape::Choice(ActionName::WORDS), "what"),
        field("argError", I32, "0", "Override, NotifyEnforcer: value to return, usually a negative errno"),
        field("argSig", U32, "0", "Signal, NotifyEnforcer: number of the signal"),
        field("argSock", U32, "0", "TrackSock, UntrackSock: position of the socket in `args`"),
        field("argUrl", Shape::Text, "", "GetUrl: what to fetch"),
        field("argFqdn", Shape::Text, "", "DnsLookup: name to look up"),
        field("argIndex", U32, "0", "Set: position of the argument"),
        field("argValue", U32, "0", "Set: value to write"),
        field(
            "argRegs",
            TEXTS,
            "",
            "Override of a uprobe: registers to set, `REGISTER=VALUE` (a number, `%REG`, `OFFSET%REG`, `(%REG)`, \
             `OFFSET(%REG)`), at most 8",
        ),
        field("argNewSymbol", Shape::Text, "", "Override of a uprobe: symbol to go on at"),
        field("argNewAddr", U64, "", "Override of a uprobe: address to go on at"),
        field("argNewOffset", I64, "", "Override of a uprobe: offset to go on at"),
        field(
            "rateLimit",
            Shape::Text,
            "",
            "Post: time in which equal events are told once: `5`, `5s`, `5m`, `1h`",
        ),
        field(
            "rateLimitScope",
            Shape::Choice(RateScope::WORDS),
            "thread",
            "Post: what the limit counts together",
        ),
        field("kernelStackTrace", Shape::Bool, "false", "Post: with the kernel's stack"),
        field("userStackTrace", Shape::Bool, "false", "Post: with the program's stack"),
        field("imaHash", Shape::Bool, "false", "Post, LSM hooks: with the hash of the file by IMA"),
    ],
};

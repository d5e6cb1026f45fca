//! The document, its metadata, and what a policy has beside hooks.

use super::{FieldDef, MAX_HOOKS, ObjectDef, Shape, TEXTS, UNLIMITED, field, hooks, required, selectors};
use crate::words::{Kind, LabelOperator, ListType, OptionName};

/// The value of `apiVersion`.
pub(crate) const API_VERSION: &str = "cilium.io/v1alpha1";

/// A policy.
pub static POLICY: ObjectDef = ObjectDef {
    name: "Policy",
    doc: "One document of a policy file.",
    fields: &[
        required("apiVersion", Shape::Text, "`cilium.io/v1alpha1`"),
        required("kind", Shape::Choice(Kind::WORDS), "which processes the policy is for"),
        required("metadata", Shape::Object(&METADATA), "name and place"),
        required("spec", Shape::Object(&SPEC), "what to hook and what to do"),
        field("status", Shape::Any, "", "written by Kubernetes; not read"),
    ],
};

static METADATA: ObjectDef = ObjectDef {
    name: "Metadata",
    doc: "Name of the policy. What else Kubernetes keeps here is accepted and not read.",
    fields: &[
        required(
            "name",
            Shape::Text,
            "name: lower-case letters, digits, `-` and `.`; each part between dots begins and ends with a letter or \
             digit; at most 253 characters",
        ),
        field("namespace", Shape::Text, "`default`", "namespace of a TracingPolicyNamespaced"),
        field("labels", Shape::Any, "", "free; not read"),
        field("annotations", Shape::Any, "", "free; not read"),
        field("creationTimestamp", Shape::Any, "", "not read"),
        field("deletionTimestamp", Shape::Any, "", "not read"),
        field("deletionGracePeriodSeconds", Shape::Any, "", "not read"),
        field("finalizers", Shape::Any, "", "not read"),
        field("generateName", Shape::Any, "", "not read"),
        field("generation", Shape::Any, "", "not read"),
        field("managedFields", Shape::Any, "", "not read"),
        field("ownerReferences", Shape::Any, "", "not read"),
        field("resourceVersion", Shape::Any, "", "not read"),
        field("selfLink", Shape::Any, "", "not read"),
        field("uid", Shape::Any, "", "not read"),
    ],
};

const fn hooks_of(name: &'static str, shape: &'static Shape, doc: &'static str) -> FieldDef {
    field(name, Shape::List(shape, MAX_HOOKS), "", doc)
}

static SPEC: ObjectDef = ObjectDef {
    name: "Spec",
    doc: "The policy itself. Hooks of several families may stand together.",
    fields: &[
        hooks_of("kprobes", &Shape::Object(&hooks::KPROBE), "kernel functions and system calls"),
        hooks_of(
            "fentries",
            &Shape::Object(&hooks::KPROBE),
            "kernel functions, by trampolines; without actions that interfere",
        ),
        hooks_of("tracepoints", &Shape::Object(&hooks::TRACEPOINT), "tracepoints of the kernel"),
        hooks_of("uprobes", &Shape::Object(&hooks::UPROBE), "functions of programs and libraries"),
        hooks_of("usdts", &Shape::Object(&hooks::USDT), "probes that a program declares itself"),
        hooks_of("lsmhooks", &Shape::Object(&hooks::LSM), "hooks of Linux security modules"),
        field("loader", Shape::Bool, "false", "tell of every executable file that is mapped"),
        field(
            "enforcers",
            Shape::List(&Shape::Object(&ENFORCER), 1),
            "",
            "calls at which the action `NotifyEnforcer` takes effect",
        ),
        field("podSelector", Shape::Object(&LABELS), "", "only containers of pods with these labels"),
        field(
            "containerSelector",
            Shape::Object(&LABELS),
            "",
            "only these containers; the labels are `name` and `repo`",
        ),
        field("hostSelector", Shape::Object(&LABELS), "", "`{}`: also processes outside of containers"),
        field("nodeSelector", Shape::Object(&LABELS), "", "only nodes with these labels"),
        field("lists", Shape::List(&Shape::Object(&LIST), MAX_HOOKS), "", "names to refer to as `list:NAME`"),
        field("options", Shape::List(&Shape::Object(&OPTION), MAX_HOOKS), "", "options of the policy"),
        field(
            "selectorsMacros",
            Shape::Map(&Shape::Object(&selectors::SELECTOR)),
            "",
            "named parts of selectors, for their field `macros`",
        ),
    ],
};

static ENFORCER: ObjectDef = ObjectDef {
    name: "Enforcer",
    doc: "Where `NotifyEnforcer` takes effect.",
    fields: &[required("calls", TEXTS, "system calls, `security_*` functions, or `list:NAME`")],
};

static LIST: ObjectDef = ObjectDef {
    name: "List",
    doc: "A list of functions or system calls.",
    fields: &[
        required("name", Shape::Text, "name, for `list:NAME`"),
        field("type", Shape::Choice(ListType::WORDS), "functions", "what the list holds"),
        field(
            "values",
            TEXTS,
            "",
            "the names; system calls as `sys_dup`, `__x64_sys_dup` or `i386/sys_dup` (`x64`, `i386`, `arm64`, `arm32`)",
        ),
        field("pattern", Shape::Text, "", "regular expression; with the type `generated_ftrace`"),
        field("validated", Shape::Bool, "false", "do not check that the functions exist"),
    ],
};

static OPTION: ObjectDef = ObjectDef {
    name: "Option",
    doc: "An option of the policy.",
    fields: &[
        required("name", Shape::Choice(OptionName::WORDS), "which option"),
        required("value", Shape::Text, "its value"),
    ],
};

/// A label selector.
pub(crate) static LABELS: ObjectDef = ObjectDef {
    name: "LabelSelector",
    doc: "Conditions on labels; all must hold. `{}` selects everything.",
    fields: &[
        field("matchLabels", Shape::Map(&Shape::Text), "", "labels with exactly these values"),
        field(
            "matchExpressions",
            Shape::List(&Shape::Object(&EXPRESSION), UNLIMITED),
            "",
            "further conditions",
        ),
    ],
};

static EXPRESSION: ObjectDef = ObjectDef {
    name: "LabelExpression",
    doc: "A condition on one label.",
    fields: &[
        required("key", Shape::Text, "the label"),
        required("operator", Shape::Choice(LabelOperator::WORDS), "what must hold"),
        field("values", TEXTS, "", "with `In` and `NotIn`"),
    ],
};

//! What is known when a plan is made, beside the policy and the kernel.

use std::collections::BTreeMap;

use crate::matcher::workload;
use crate::model::Policy;

/// Programs that the kernel attaches to one function by trampolines, and before Linux 5.19. Source: `BPF_MAX_TRAMP_LINKS`
/// and `BPF_MAX_TRAMP_PROGS` of include/linux/bpf.h.
const TRAMPOLINE_MAX: [usize; 2] = [38, 40];

/// What restricts a plan beside the kernel. By default nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Functions that the kernel turned out to attach no program to by a trampoline, each with the reason.
    pub no_trampoline: BTreeMap<String, String>,
    /// Kprobes are attached one by one, whatever a policy says.
    pub kprobes_one_by_one: bool,
    /// Actions that come when the operation can no longer be prevented are refused, and not only warned of.
    pub require_prevention: bool,
    /// It is known which containers are of which pods.
    pub names_pods: bool,
    /// Labels of the node.
    pub node_labels: BTreeMap<String, String>,
}

impl Choices {
    /// Whether a policy is for this node.
    #[must_use]
    pub fn are_of_node(&self, policy: &Policy) -> bool {
        let labels = || self.node_labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        policy.nodes.as_ref().is_none_or(|selector| workload::fulfils(selector, &labels()))
    }

    /// Why no trampoline is left for a function that has all the programs it takes.
    #[must_use]
    pub fn full_trampoline(function: &str) -> String {
        let [now, before] = TRAMPOLINE_MAX;
        format!(
            "the kernel attaches at most {now} programs (before Linux 5.19: {before}) to one function by trampolines, \
             those at its return and those of other tools included, and {function} has them"
        )
    }

    /// The reasons for all functions, in a line.
    #[must_use]
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.no_trampoline.values().map(String::as_str).collect();
        reasons.join("; ")
    }
}

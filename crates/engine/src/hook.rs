//! What is known of the hooks of policies.

/// What events tell of a policy and its hooks, beside what its records say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyText {
    /// Number that its records carry.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its namespace; empty: none.
    pub namespace: String,
    /// Its hooks, by the numbers that records carry.
    pub hooks: Vec<HookText>,
}

/// What events tell of a hook, beside what its records say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookText {
    /// Function, LSM hook without `bpf_lsm_`, or system call with the prefix of the architecture.
    pub function: String,
    /// Of a tracepoint.
    pub subsystem: String,
    /// Of a tracepoint.
    pub event: String,
    /// Text for people; empty: none.
    pub message: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Labels of the captured values, in their order; empty: none.
    pub labels: Vec<String>,
    /// How many of the captured values are arguments; the others are data.
    pub arguments: usize,
    /// Names by what `saker_hook.function` says (an address or the number of a system call), for hooks of several.
    pub functions: Vec<(u64, String)>,
}

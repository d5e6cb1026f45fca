//! `saker policy list`, `status` and `domains`: what a running agent tells of its policies.

use anyhow::{Result, bail};
use clap::Args;
use saker_agent::logging::say;
use saker_api::json;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{ListPoliciesRequest, ListPoliciesResponse, Policy, PolicyHook, PolicySelector};
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::{
    HookState, ListDomainsRequest, ListTracingPoliciesRequest, ListTracingPoliciesResponse,
    TracingPolicyStatus,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::client::{self, ServerArgs};
use crate::output::{self, Data};
use crate::status::{bytes, policy_name};

/// Arguments of `saker policy list`.
#[derive(Args)]
pub struct ListArgs {
    /// Only policies of this domain
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
    /// Form of the output; json is that of Tetragon, with the hooks of each policy
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `saker policy status`.
#[derive(Args)]
pub struct StatusArgs {
    /// Name of a policy; without it all are shown
    name: Option<String>,
    /// Only policies of this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only policies of this domain
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `saker policy domains`.
#[derive(Args)]
pub struct DomainsArgs {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Data::Table)]
    output: Data,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists policies.
pub fn run(args: &ListArgs) -> Result<()> {
    let (policies, own) = client::runtime()?.block_on(async {
        let channel = args.server.connect().await?;
        let request = ListTracingPoliciesRequest { domain: args.domain.clone() };
        let answer = FineGuidanceSensorsClient::new(channel.clone()).list_tracing_policies(request).await;
        let policies = answer.map_err(|status| client::refused(&status))?.into_inner();
        let request = ListPoliciesRequest { domain: args.domain.clone() };
        let own = match SakerServiceClient::new(channel).list_policies(request).await {
            Ok(answer) => answer.into_inner(),
            // Tetragon's agent does not know that call.
            Err(status) if status.code() == Code::Unimplemented => ListPoliciesResponse::default(),
            Err(status) => return Err(client::refused(&status)),
        };
        anyhow::Ok((policies, own))
    })?;
    match args.output {
        Data::Json => output::print(&format!("{}\n", with_hooks(json::policies_object(&policies), &own))),
        Data::Table => {
            output::print(&table(&policies))?;
            note_none(policies.policies.is_empty(), &args.domain);
            Ok(())
        }
    }
}

/// Shows hooks.
pub fn status(args: &StatusArgs) -> Result<()> {
    let mut answer = client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(args.server.connect().await?);
        let request = ListPoliciesRequest { domain: args.domain.clone() };
        let answer = client.list_policies(request).await;
        anyhow::Ok(answer.map_err(|status| client::refused(&status))?.into_inner())
    })?;
    answer.policies.retain(|policy| {
        args.name.as_ref().is_none_or(|name| policy.name == *name)
            && args.namespace.as_ref().is_none_or(|namespace| policy.namespace == *namespace)
    });
    if let (Some(name), true) = (&args.name, answer.policies.is_empty()) {
        bail!("there is no such policy {name}; see `saker policy list`");
    }
    match args.output {
        Data::Json => output::print(&format!("{}\n", document(&answer))),
        Data::Table => {
            output::print(&hooks(&answer))?;
            note_none(answer.policies.is_empty(), &args.domain);
            Ok(())
        }
    }
}

/// Titles alone leave open whether something went wrong. Programs that read the table are not told.
fn note_none(none: bool, domain: &str) {
    match (none, domain) {
        (false, _) => {}
        (true, "") => say("saker: no policies are loaded; `saker policy add FILE` loads one"),
        (true, domain) => say(format_args!("saker: no policies are loaded in the domain {domain}")),
    }
}

/// Lists domains.
pub fn domains(args: &DomainsArgs) -> Result<()> {
    let domains = client::runtime()?.block_on(async {
        let mut client = FineGuidanceSensorsClient::new(args.server.connect().await?);
        let answer = client.list_domains(ListDomainsRequest {}).await;
        anyhow::Ok(answer.map_err(|status| client::refused(&status))?.into_inner().domains)
    })?;
    match args.output {
        Data::Json => output::print(&format!("{}\n", json!({ "domains": domains }))),
        Data::Table => output::print(&domains.iter().map(|domain| format!("{domain}\n")).collect::<String>()),
    }
}

/// Tetragon's list with the hooks of each policy.
fn with_hooks(mut list: Value, own: &ListPoliciesResponse) -> Value {
    let policies = list.get_mut("policies").and_then(Value::as_array_mut).into_iter().flatten();
    for policy in policies.filter_map(Value::as_object_mut) {
        // Numbers of 64 bits are texts in this form.
        let id = policy.get("id").and_then(Value::as_str).and_then(|id| id.parse::<u32>().ok());
        if let Some(found) = own.policies.iter().find(|own| Some(own.id) == id) {
            policy.insert("hooks".into(), found.hooks.iter().map(hook_object).collect());
        }
    }
    list
}

/// Policies with everything that is told of them.
pub fn document(list: &ListPoliciesResponse) -> Value {
    json!({ "policies": list.policies.iter().map(policy_object).collect::<Vec<_>>() })
}

/// A policy with everything that is told of it.
fn policy_object(policy: &Policy) -> Value {
    json!({
        "id": policy.id,
        "name": policy.name,
        "namespace": policy.namespace,
        "domain": policy.domain,
        "origin": policy.origin,
        "state": policy.state,
        "error": policy.error,
        "mode": policy.mode,
        "kernel_memory_bytes": policy.kernel_memory_bytes,
        "hooks": policy.hooks.iter().map(hook_object).collect::<Vec<_>>(),
    })
}

fn hook_object(hook: &PolicyHook) -> Value {
    let counters = hook.counters.unwrap_or_default();
    json!({
        "path": hook.path,
        "function": hook.function,
        "mechanism": hook.mechanism,
        "state": hook.state,
        "error": hook.error,
        "missing": hook.missing,
        "note": hook.note,
        "kernel_memory_bytes": hook.kernel_memory_bytes,
        "calls": counters.calls,
        "matched": counters.matched,
        "posted": counters.posted,
        "limited": counters.limited,
        "lost": counters.lost,
        "unpaired": counters.unpaired,
        "missed": counters.missed,
        "signalled": counters.signalled,
        "overridden": counters.overridden,
        "monitored_signal": counters.monitored_signal,
        "monitored_override": counters.monitored_override,
        "spared": counters.spared,
        "failed": counters.failed,
        "undecided": counters.undecided,
        "unposted": counters.unposted,
        "runs": counters.runs,
        "run_time_ns": counters.run_time_ns,
        "selectors": hook.selectors.iter().map(selector_object).collect::<Vec<_>>(),
    })
}

fn selector_object(selector: &PolicySelector) -> Value {
    json!({
        "index": selector.index,
        "label": selector.label,
        "matched": selector.matched,
        "posted": selector.posted,
        "unposted": selector.unposted,
        "signalled": selector.signalled,
        "overridden": selector.overridden,
        "monitored_signal": selector.monitored_signal,
        "monitored_override": selector.monitored_override,
        "withheld": selector.withheld,
    })
}

/// The columns of Tetragon's list; what is wrong stands below them.
fn table(list: &ListTracingPoliciesResponse) -> String {
    let titles = [
        "ID",
        "NAME",
        "DOMAIN",
        "STATE",
        "FILTERID",
        "NAMESPACE",
        "SENSORS",
        "KERNELMEMORY",
        "MODE",
        "NPOST",
        "NENFORCE",
        "NMONITOR",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(list.policies.iter().map(row));
    let mut text = output::columns(&rows);
    for policy in list.policies.iter().filter(|policy| !policy.hook_statuses.is_empty()) {
        text.push_str(&format!("\n{}\n{}", policy.name, hook_states(policy)));
    }
    let errors = list.policies.iter().map(|policy| (policy.name.as_str(), policy.error.as_str()));
    text + &wrong(errors)
}

fn row(policy: &TracingPolicyStatus) -> Vec<String> {
    let counters = policy.stats.as_ref().and_then(|stats| stats.action_counters).unwrap_or_default();
    let enforced = counters.signal + counters.r#override + counters.notify_enforcer + counters.set;
    let monitored = counters.monitor_signal
        + counters.monitor_override
        + counters.monitor_notify_enforcer
        + counters.monitor_set;
    let word = |name: &str, prefix: &str| name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase();
    let namespace = if policy.namespace.is_empty() { "(global)" } else { &policy.namespace };
    vec![
        policy.id.to_string(),
        policy.name.clone(),
        policy.domain.clone(),
        word(policy.state().as_str_name(), "TP_STATE_"),
        policy.filter_id.to_string(),
        namespace.to_owned(),
        policy.sensors.join(","),
        bytes(policy.kernel_memory_bytes),
        word(policy.mode().as_str_name(), "TP_MODE_"),
        counters.post.to_string(),
        enforced.to_string(),
        monitored.to_string(),
    ]
}

fn hook_states(policy: &TracingPolicyStatus) -> String {
    let mut rows = vec![["SECTION", "CFGIDX", "DESCRIPTION", "STATUS"].map(str::to_owned).to_vec()];
    for hook in &policy.hook_statuses {
        let state = match hook.state() {
            HookState::StatusUnspecified => "unspecified",
            HookState::StatusLoaded => "loaded",
            HookState::StatusDigestRejected => "digest_rejected",
            HookState::StatusCallNotFound => "call_not_found",
            HookState::StatusPartialCallNotFound => "partial_call_not_found",
        };
        let description = hook.hook_description.clone();
        rows.push(vec![hook.section.clone(), hook.hook_idx.to_string(), description, state.into()]);
    }
    output::columns(&rows)
}

/// Each policy's hooks, one in a line.
fn hooks(list: &ListPoliciesResponse) -> String {
    let titles = [
        "POLICY",
        "HOOK",
        "FUNCTION",
        "ATTACHED AS",
        "STATE",
        "CALLS",
        "MATCHED",
        "POSTED",
        "LIMITED",
        "LOST",
        "UNPAIRED",
        "MISSED",
        "UNDECIDED",
        "ENFORCED",
        "WITHHELD",
        "MEMORY",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for policy in &list.policies {
        let name = policy_name(policy);
        if policy.hooks.is_empty() {
            rows.push(vec![name.clone(), "-".into(), "-".into(), "-".into(), policy.state.clone()]);
        }
        for hook in &policy.hooks {
            let counters = hook.counters.unwrap_or_default();
            let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
            let mut row = vec![
                name.clone(),
                hook.path.strip_prefix("spec.").unwrap_or(&hook.path).to_owned(),
                or_none(&hook.function),
                or_none(&hook.mechanism),
                // What hinders a policy as a whole is told of it, not of each hook.
                if hook.state == "loaded" { hook.state.clone() } else { policy.state.clone() },
            ];
            let counts = [
                counters.calls,
                counters.matched,
                counters.posted,
                counters.limited,
                counters.lost,
                counters.unpaired,
                counters.missed,
                counters.undecided,
                counters.signalled + counters.overridden,
                counters.monitored_signal + counters.monitored_override + counters.spared + counters.failed,
            ];
            row.extend(counts.map(|count| count.to_string()));
            row.push(bytes(hook.kernel_memory_bytes));
            rows.push(row);
        }
    }
    let errors: Vec<(String, &str)> = list.policies.iter().map(|p| (place(p), p.error.as_str())).collect();
    output::columns(&rows)
        + &selectors(list)
        + &notes(list)
        + &wrong(errors.iter().map(|(name, error)| (name.as_str(), *error)))
}

/// Titles of what is told of selectors.
pub(super) const SELECTOR_TITLES: [&str; 11] = [
    "POLICY",
    "HOOK",
    "FUNCTION",
    "SELECTOR",
    "LABEL",
    "MATCHED",
    "POSTED",
    "UNPOSTED",
    "SIGNALLED",
    "OVERRIDDEN",
    "WITHHELD",
];

/// What is told of a selector.
pub(super) fn selector_row(policy: &Policy, hook: &PolicyHook, selector: &PolicySelector) -> Vec<String> {
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let counts = [
        selector.matched,
        selector.posted,
        selector.unposted,
        selector.signalled,
        selector.overridden,
        selector.monitored_signal + selector.monitored_override + selector.withheld,
    ];
    let mut row = vec![
        policy_name(policy),
        hook.path.strip_prefix("spec.").unwrap_or(&hook.path).to_owned(),
        or_none(&hook.function),
        selector.index.map_or("-".to_owned(), |index| index.to_string()),
        or_none(&selector.label),
    ];
    row.extend(counts.map(|count| count.to_string()));
    row
}

/// The selectors of hooks that have several, or one with a label: of others the hook says it all.
fn selectors(list: &ListPoliciesResponse) -> String {
    let mut rows = vec![SELECTOR_TITLES.map(str::to_owned).to_vec()];
    for policy in &list.policies {
        for hook in &policy.hooks {
            if hook.selectors.len() > 1 || hook.selectors.iter().any(|selector| !selector.label.is_empty()) {
                rows.extend(hook.selectors.iter().map(|selector| selector_row(policy, hook, selector)));
            }
        }
    }
    if rows.len() > 1 { format!("\n{}", output::columns(&rows)) } else { String::new() }
}

/// Why hooks are not attached in the way that is taken first, each in a paragraph.
fn notes(list: &ListPoliciesResponse) -> String {
    let hooks = list.policies.iter().flat_map(|policy| policy.hooks.iter().map(move |hook| (policy, hook)));
    let noted = hooks.filter(|(_, hook)| !hook.note.is_empty());
    let line = |(policy, hook): (&Policy, &PolicyHook)| {
        let path = hook.path.strip_prefix("spec.").unwrap_or(&hook.path);
        format!("\n{} {path} is attached as {}: {}\n", policy_name(policy), hook.mechanism, hook.note)
    };
    noted.map(line).collect()
}

fn place(policy: &Policy) -> String {
    format!("{} ({})", policy_name(policy), policy.origin)
}

/// What is wrong with policies, each in a paragraph.
fn wrong<'a>(errors: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let errors = errors.filter(|(_, error)| !error.is_empty());
    errors.map(|(name, error)| format!("\n! {name}: {}\n", error.replace('\n', "\n  "))).collect()
}

#[cfg(test)]
mod tests {
    use saker_api::saker_v1::HookCounters;
    use saker_api::tetragon::{
        HookStatus, TracingPolicyActionCounters, TracingPolicyMode, TracingPolicyState, TracingPolicyStats,
    };

    use super::*;

    #[test]
    fn the_list_has_the_columns_of_the_peer_and_tells_what_is_wrong() {
        let counters = TracingPolicyActionCounters {
            post: 5,
            signal: 1,
            set: 2,
            monitor_set: 4,
            ..TracingPolicyActionCounters::default()
        };
        let policy = TracingPolicyStatus {
            id: 3,
            name: "a".into(),
            domain: "grpc".into(),
            state: TracingPolicyState::TpStatePartiallyEnabled.into(),
            sensors: vec!["generic_kprobe".into(), "generic_lsm".into()],
            kernel_memory_bytes: 2048,
            mode: TracingPolicyMode::TpModeMonitorOnly.into(),
            stats: Some(TracingPolicyStats {
                action_counters: Some(counters),
                ..TracingPolicyStats::default()
            }),
            hook_statuses: vec![HookStatus {
                section: "kprobes".into(),
                state: HookState::StatusPartialCallNotFound.into(),
                hook_description: "x is not there".into(),
                hook_idx: 1,
            }],
            error: "first\nsecond".into(),
            ..TracingPolicyStatus::default()
        };
        let list = ListTracingPoliciesResponse { policies: vec![policy] };
        let counters = HookCounters { matched: 7, ..HookCounters::default() };
        let hooks = vec![PolicyHook { counters: Some(counters), ..PolicyHook::default() }];
        let own = ListPoliciesResponse { policies: vec![Policy { id: 3, hooks, ..Policy::default() }] };
        let object = with_hooks(json::policies_object(&list), &own);
        assert_eq!(object["policies"][0]["hooks"][0]["matched"], 7, "{object}");
        assert_eq!(object["policies"][0]["state"], "TP_STATE_PARTIALLY_ENABLED", "{object}");
        let text = table(&list);
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "3",
                "a",
                "grpc",
                "partially_enabled",
                "0",
                "(global)",
                "generic_kprobe,generic_lsm",
                "2.0",
                "KiB",
                "monitor_only",
                "5",
                "3",
                "4"
            ]
        );
        assert!(text.contains("kprobes  1       x is not there  partial_call_not_found\n"), "{text}");
        assert!(text.ends_with("\n! a: first\n  second\n"), "{text}");
    }

    #[test]
    fn hooks_show_what_they_counted() {
        let counters = HookCounters {
            calls: 11,
            matched: 7,
            posted: 5,
            limited: 1,
            lost: 1,
            signalled: 2,
            overridden: 1,
            monitored_override: 3,
            spared: 1,
            ..Default::default()
        };
        let policy = Policy {
            name: "a".into(),
            namespace: "team".into(),
            origin: "/p/a.yaml".into(),
            state: "enabled".into(),
            hooks: vec![PolicyHook {
                path: "spec.kprobes[0]".into(),
                function: "f".into(),
                mechanism: "fentry".into(),
                state: "loaded".into(),
                kernel_memory_bytes: 1024,
                counters: Some(counters),
                selectors: vec![PolicySelector::default()],
                ..PolicyHook::default()
            }],
            error: "not up to date".into(),
            ..Policy::default()
        };
        let refused = Policy { name: "b.yaml".into(), state: "load_error".into(), ..Policy::default() };
        let mut noted = policy.clone();
        (noted.hooks[0].note, noted.hooks[0].mechanism) = ("no more".into(), "kprobe".into());
        let text = hooks(&ListPoliciesResponse { policies: vec![noted] });
        assert!(text.contains("\n\nteam/a kprobes[0] is attached as kprobe: no more\n\n! team/a"), "{text}");
        assert!(!text.contains("SELECTOR"), "of one selector the hook says it all: {text}");
        let mut several = policy.clone();
        let selector = |index, label: &str, matched| PolicySelector {
            index: Some(index),
            label: label.into(),
            matched,
            posted: 1,
            unposted: 2,
            signalled: 3,
            overridden: 4,
            monitored_signal: 5,
            monitored_override: 6,
            withheld: 7,
        };
        several.hooks[0].selectors = vec![selector(0, "shells", 9), selector(1, "", 0)];
        let text = hooks(&ListPoliciesResponse { policies: vec![several] });
        let cells: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[4].join(" "), "team/a kprobes[0] f 0 shells 9 1 2 3 4 18", "{text}");
        assert_eq!(cells[5].join(" "), "team/a kprobes[0] f 1 - 0 1 2 3 4 18", "{text}");
        let text = hooks(&ListPoliciesResponse { policies: vec![policy, refused] });
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = "team/a kprobes[0] f fentry loaded 11 7 5 1 1 0 0 0 3 4 1.0 KiB";
        assert_eq!(cells.join(" "), expected);
        assert!(text.contains("b.yaml  -           -         -            load_error\n"), "{text}");
        assert!(text.ends_with("\n! team/a (/p/a.yaml): not up to date\n"), "{text}");
    }
}

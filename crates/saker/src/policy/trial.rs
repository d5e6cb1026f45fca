//! `saker policy add --dry-run`: what a policy would do, without doing it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use saker_agent::logging::say;
use saker_api::json;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{TryPolicyRequest, TryPolicyResponse};
use tonic::Status;

use super::change::FileArgs;
use super::list;
use crate::client;
use crate::output::{self, Data};

/// Exit status that says that the policy would have hit somebody.
pub const WOULD_ACT: u8 = 3;

/// Tries the policy of a file for a while.
///
/// # Errors
/// It cannot be tried, or the agent broke it off; [`output::Ended`] with [`WOULD_ACT`] if it would have acted.
pub fn run(args: &FileArgs, text: &str, time: Duration, form: Data) -> Result<()> {
    let ended = client::runtime()?.block_on(async {
        let mut client = SakerServiceClient::new(args.server.connect().await?);
        let duration = Some(prost_types::Duration::try_from(time)?);
        let request = TryPolicyRequest { yaml: text.to_owned(), duration };
        anyhow::Ok(watch(client.try_policy(request).await, &mut client_message).await)
    })?;
    let told = match ended {
        Ok(told) => told.context(
            "the agent broke the trial off: it may have ended, and then nothing is left of the policy",
        )?,
        Err(status) => return super::change::refused(args, text, &status),
    };
    match form {
        Data::Json => output::print(&format!("{}\n", json::trial_object(&told)))?,
        Data::Table => output::print(&table(&told))?,
    }
    if would_act(&told) > 0 { Err(output::Ended(WOULD_ACT).into()) } else { Ok(()) }
}

/// Says on standard error what is being tried.
fn client_message(name: &str) {
    say(format_args!("saker: {name} is loaded and only tells; interrupt to end it early, which removes it"));
}

/// The last message of a trial; none: there was no last one.
async fn watch(
    answer: Result<tonic::Response<tonic::Streaming<TryPolicyResponse>>, Status>,
    began: &mut dyn FnMut(&str),
) -> Result<Option<TryPolicyResponse>, Status> {
    let mut stream = answer?.into_inner();
    while let Some(message) = stream.message().await? {
        if message.ended {
            return Ok(Some(message));
        }
        if let Some(policy) = &message.policy {
            began(&policy.name);
        }
    }
    Ok(None)
}

/// Actions that would have been carried out, by the counters of the kernel, which know of those that are not told too.
fn would_act(told: &TryPolicyResponse) -> u64 {
    let hooks = told.policy.iter().flat_map(|policy| &policy.hooks);
    let counters = hooks.filter_map(|hook| hook.counters.as_ref());
    counters.map(|counters| counters.monitored_signal + counters.monitored_override).sum()
}

fn table(told: &TryPolicyResponse) -> String {
    let Some(policy) = &told.policy else { return "nothing is known of the policy\n".to_owned() };
    let mut rows = vec![list::SELECTOR_TITLES.map(str::to_owned).to_vec()];
    for hook in &policy.hooks {
        rows.extend(hook.selectors.iter().map(|selector| list::selector_row(policy, hook, selector)));
    }
    let mut text = output::columns(&rows);
    let mut rows = vec![
        ["HOOK", "SELECTOR", "ACTION", "BINARY", "CGROUP", "POD", "EVENTS", "WOULD ACT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for group in &told.groups {
        let action = group.action.strip_prefix("KPROBE_ACTION_").unwrap_or(&group.action);
        let pod = if group.pod.is_empty() { "-" } else { &group.pod };
        rows.push(vec![
            group.hook.clone(),
            group.selector.map_or("-".to_owned(), |selector| selector.to_string()),
            action.to_ascii_lowercase(),
            group.binary.clone(),
            group.cgroup_id.to_string(),
            pod.to_owned(),
            group.events.to_string(),
            group.would_act.to_string(),
        ]);
    }
    if told.groups.is_empty() {
        text.push_str("\nno events\n");
    } else {
        text.push('\n');
        text.push_str(&output::columns(&rows));
    }
    if told.other_groups_events > 0 {
        text.push_str(&format!("{} more events are not in this table\n", told.other_groups_events));
    }
    if told.dropped > 0 {
        text.push_str(&format!(
            "! {} events of the agent were dropped before this table: it is not complete, the counters above are\n",
            told.dropped
        ));
    }
    let lost: u64 = policy.hooks.iter().filter_map(|hook| hook.counters.as_ref()).map(|one| one.lost).sum();
    if lost > 0 {
        text.push_str(&format!(
            "! {lost} records were lost in the kernel: the table of events is not complete, the counters above are\n"
        ));
    }
    match would_act(told) {
        0 => text + "\nit would have hit nobody\n",
        count => text + &format!("\nit would have acted {count} times\n"),
    }
}

/// Checks what only goes together.
///
/// # Errors
/// A time without a trial, or a trial without a time.
pub fn time(dry_run: bool, time: Option<Duration>) -> Result<Option<Duration>> {
    match (dry_run, time) {
        (false, None) => Ok(None),
        (true, Some(time)) if !time.is_zero() => Ok(Some(time)),
        (true, _) => bail!("say for how long: --dry-run --for 60s"),
        (false, Some(_)) => bail!("--for is of --dry-run"),
    }
}

#[cfg(test)]
mod tests {
    use saker_api::saker_v1::{HookCounters, Policy, PolicyHook, PolicySelector, TriedGroup};

    use super::*;

    fn told() -> TryPolicyResponse {
        let counters = HookCounters { monitored_signal: 2, ..HookCounters::default() };
        let selector = PolicySelector {
            index: Some(0),
            label: "shells".into(),
            matched: 5,
            posted: 4,
            monitored_signal: 2,
            ..PolicySelector::default()
        };
        let hook = PolicyHook {
            path: "spec.kprobes[0]".into(),
            function: "f".into(),
            counters: Some(counters),
            selectors: vec![selector],
            ..PolicyHook::default()
        };
        let group = TriedGroup {
            hook: "f".into(),
            selector: Some(0),
            action: "KPROBE_ACTION_SIGKILL".into(),
            binary: "/bin/sh".into(),
            cgroup_id: 9,
            events: 4,
            would_act: 2,
            ..TriedGroup::default()
        };
        TryPolicyResponse {
            policy: Some(Policy { name: "a-dry-run-1".into(), hooks: vec![hook], ..Policy::default() }),
            ended: true,
            groups: vec![group],
            ..TryPolicyResponse::default()
        }
    }

    #[test]
    fn tables_tell_what_would_have_been() {
        let mut told = told();
        let text = table(&told);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..5], ["a-dry-run-1", "kprobes[0]", "f", "0", "shells"]);
        assert_eq!(lines[4], ["f", "0", "sigkill", "/bin/sh", "9", "-", "4", "2"]);
        assert!(text.ends_with("\nit would have acted 2 times\n"), "{text}");
        told.dropped = 7;
        assert!(table(&told).contains("! 7 events of the agent were dropped"));
        told.policy.as_mut().unwrap().hooks[0].counters = Some(HookCounters::default());
        told.groups.clear();
        assert!(table(&told).contains("no events\n") && table(&told).ends_with("hit nobody\n"));
    }

    #[test]
    fn a_trial_has_a_time() {
        let minute = Some(Duration::from_secs(60));
        assert_eq!((time(true, minute).unwrap(), time(false, None).unwrap()), (minute, None));
        for (dry_run, given) in [(true, None), (true, Some(Duration::ZERO)), (false, minute)] {
            assert!(time(dry_run, given).is_err());
        }
    }
}

//! All policies and what may be done with them. Everything here happens on one thread, one after the other.

mod attach;
mod follow;
mod kept;
mod stored;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use saker_policy::model::Policy;
use saker_policy::plan::Choices;
use saker_policy::words::Mode as Asked;
use saker_policy::{Diagnostic, Severity};

use super::bits::Bits;
use super::loader::{Loader, Texts};
use super::store::Store;
use super::view::{HookState, HookView, Mode, SelectorView, State, View};
use super::workload_bits::WorkloadBits;
use super::{Key, MAX_POLICIES, Origin, PolicyError, STATIC, Shared, TRIAL, domain};
use attach::{Active, Failure};
use kept::Kept;

/// Time for which the engine keeps the texts of a policy that is detached: its last records are in the ring, and the
/// reader may be behind.
const GRACE: Duration = Duration::from_secs(30);
/// Reasons that are told of one policy; the rest is counted.
const MAX_REASONS: usize = 8;
/// Bytes of all of them.
const MAX_REASON: usize = 4096;

/// All policies.
pub(super) struct Book {
    loader: Result<Box<dyn Loader>, String>,
    texts: Box<dyn Texts>,
    shared: Arc<Shared>,
    /// What holds for all plans.
    choices: Choices,
    entries: BTreeMap<Key, Entry>,
    /// Files that hold no policy that could be kept under its own name.
    refused: BTreeMap<PathBuf, Refused>,
    bits: Bits,
    workloads: WorkloadBits,
    last_id: u32,
    /// Numbers of policies that are detached, since when.
    detached: VecDeque<(Instant, u32)>,
    /// Something went, whose name or place a file may wait for.
    freed: bool,
    /// What the last agent left in force.
    kept: Vec<Kept>,
    /// Where policies of calls are kept; none: they are not.
    store: Option<Store>,
}

struct Entry {
    id: u32,
    /// As a call gave it; empty: it is of a file.
    text: Arc<str>,
    policy: Policy,
    origin: Origin,
    content: Content,
    /// The mode that was asked for while it is there; none: what it says itself.
    mode: Option<Asked>,
    /// Why a newer version of its file is not in force.
    newer: String,
}

enum Content {
    Loaded(Active),
    Disabled,
    /// It is for other nodes.
    Skipped,
    Failed(Failure),
}

impl Content {
    fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

struct Refused {
    id: u32,
    reason: String,
    /// It waits for another file to give up a name.
    waits: bool,
}

/// Bytes that a name of a policy may have.
const MAX_NAME: usize = 253;

/// Why a policy cannot be made to act.
const NOTHING_TO_ENFORCE: &str = "it has no actions that could be enforced";

impl Book {
    pub(super) fn new(
        loader: Result<Box<dyn Loader>, String>,
        texts: Box<dyn Texts>,
        shared: Arc<Shared>,
        choices: Choices,
    ) -> Self {
        Self {
            loader,
            texts,
            shared,
            choices,
            entries: BTreeMap::new(),
            refused: BTreeMap::new(),
            bits: Bits::default(),
            workloads: WorkloadBits::default(),
            last_id: 0,
            detached: VecDeque::new(),
            freed: false,
            kept: Vec::new(),
            store: None,
        }
    }

    /// Loads a new policy, in this mode whatever its text says. In the place of one that could not be loaded, as if that
    /// were not there.
    pub(super) fn add(&mut self, text: &str, named: &str, mode: Option<Asked>) -> Result<Key, PolicyError> {
        let (key, mut policy) = self.called(text, named)?;
        if mode == Some(Asked::Enforce) && Mode::of(&policy) == Mode::MonitorOnly {
            return Err(PolicyError::Mode { key, reason: NOTHING_TO_ENFORCE.to_owned() });
        }
        if mode.is_some() {
            policy.options.mode = mode;
        }
        match self.entries.get(&key) {
            Some(entry) if entry.content.is_failed() => {}
            Some(_) => return Err(PolicyError::Exists(key)),
            None if self.is_full() => return Err(PolicyError::Full),
            None => {}
        }
        self.insert(&key, policy, Origin::Call)?;
        self.set_text(&key, text, mode);
        if let Err(reason) = self.save(&key) {
            self.remove(&key);
            self.publish();
            return Err(PolicyError::NotKept { key, reason });
        }
        Ok(key)
    }

    /// Loads a policy in the place of another, of which nothing changes if that fails; in this mode whatever its text and
    /// earlier calls say.
    pub(super) fn replace(
        &mut self,
        text: &str,
        named: &str,
        mode: Option<Asked>,
    ) -> Result<Key, PolicyError> {
        let (key, policy) = self.called(text, named)?;
        if mode == Some(Asked::Enforce) && Mode::of(&policy) == Mode::MonitorOnly {
            return Err(PolicyError::Mode { key, reason: NOTHING_TO_ENFORCE.to_owned() });
        }
        match self.entries.get(&key) {
            None => return Err(self.unknown(key)),
            Some(Entry { origin: Origin::File(path), .. }) => {
                return Err(PolicyError::Owned { key, path: path.clone() });
            }
            Some(_) => self.check_can_go(&key)?,
        }
        let outcome = self.exchange(&key, policy, mode);
        if outcome.is_ok() {
            let mode = self.entries.get(&key).and_then(|entry| entry.mode);
            self.set_text(&key, text, mode);
            self.save_or_note(&key);
        }
        self.publish();
        match outcome {
            Ok(()) => Ok(key),
            Err(failure) => Err(PolicyError::Refused { key, reason: failure.reason }),
        }
    }

    /// Loads a policy that only tells, under a name of its own; nothing is left of one that cannot be loaded.
    pub(super) fn try_out(&mut self, text: &str) -> Result<Key, PolicyError> {
        let mut policy = one_of(text)?;
        policy.options.mode = Some(Asked::Monitor);
        let number = self.next_id().ok_or(PolicyError::Full)?;
        let suffix = format!("-{TRIAL}-{number}");
        let name = &mut policy.name.value;
        let mut end = name.len().min(MAX_NAME - suffix.len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name.push_str(&suffix);
        let key = key_of(&policy, TRIAL);
        if self.is_full() {
            return Err(PolicyError::Full);
        }
        let mut outcome = self.insert(&key, policy, Origin::Call);
        if self.entries.get(&key).is_some_and(|entry| matches!(entry.content, Content::Skipped)) {
            let reason = "its nodeSelector is not for this node".to_owned();
            outcome = Err(PolicyError::Refused { key: key.clone(), reason });
        }
        if outcome.is_err() {
            self.remove(&key);
            self.publish();
        }
        outcome.map(|()| key)
    }

    /// Detaches and forgets.
    pub(super) fn delete(&mut self, key: &Key) -> Result<(), PolicyError> {
        self.check_can_go(key)?;
        // First on disk: what is gone must not come back.
        self.forget(key)?;
        if !self.remove(key) {
            return Err(self.unknown(key.clone()));
        }
        self.publish();
        Ok(())
    }

    /// A policy that somebody asks to be rid of must not go on acting when that was confirmed.
    fn check_can_go(&self, key: &Key) -> Result<(), PolicyError> {
        let Some(Entry { content: Content::Loaded(active), .. }) = self.entries.get(key) else {
            return Ok(());
        };
        let stays = |error| PolicyError::Stays { key: key.clone(), reason: format!("{error:#}") };
        active.can_go().map_err(stays)
    }

    /// Attaches or detaches. A mode is looked at first, so that a call with both changes all or nothing.
    pub(super) fn configure(
        &mut self,
        key: &Key,
        enable: Option<bool>,
        mode: Option<Asked>,
    ) -> Result<(), PolicyError> {
        let Some(entry) = self.entries.get(key) else { return Err(self.unknown(key.clone())) };
        if mode == Some(Asked::Enforce) && Mode::of(&entry.policy) == Mode::MonitorOnly {
            let reason = NOTHING_TO_ENFORCE.to_owned();
            return Err(PolicyError::Mode { key: key.clone(), reason });
        }
        if enable == Some(false) {
            self.check_can_go(key)?;
        }
        if let Some(mode) = mode {
            self.set_mode(key, mode)?;
        }
        let done = match enable {
            Some(true) => self.enable(key),
            Some(false) => {
                self.disable(key);
                Ok(())
            }
            None => Ok(()),
        };
        self.save_or_note(key);
        self.publish();
        done
    }

    /// Has the actions of a policy carried out or only told, from now on, without attaching anything anew.
    fn set_mode(&mut self, key: &Key, mode: Asked) -> Result<(), PolicyError> {
        let Some(entry) = self.entries.get_mut(key) else { return Ok(()) };
        if let Content::Loaded(active) = &entry.content {
            active.set_mode(mode).map_err(|error| PolicyError::Mode {
                key: key.clone(),
                reason: format!("the kernel cannot be told: {error:#}"),
            })?;
        }
        entry.mode = Some(mode);
        tracing::info!(policy = %key, mode = mode.name(), "mode changed");
        self.publish();
        Ok(())
    }

    fn enable(&mut self, key: &Key) -> Result<(), PolicyError> {
        let Some(entry) = self.entries.get(key) else { return Err(self.unknown(key.clone())) };
        if matches!(entry.content, Content::Loaded(_)) {
            return Ok(());
        }
        let (policy, origin) = (entry.policy.clone(), entry.origin.clone());
        self.insert(key, policy, origin)
    }

    fn disable(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Content::Loaded(active) = std::mem::replace(&mut entry.content, Content::Disabled) {
            self.retire(active);
        }
        self.outlived(key);
        tracing::info!(policy = %key, "disabled");
        self.publish();
    }

    /// The one policy of a call, and its key.
    fn called(&self, text: &str, named: &str) -> Result<(Key, Policy), PolicyError> {
        let domain = domain(named)?;
        if domain == STATIC {
            return Err(PolicyError::Domain(domain, "it is that of policies from files"));
        }
        if domain == TRIAL {
            return Err(PolicyError::Domain(domain, "it is that of policies on trial"));
        }
        let policy = one_of(text)?;
        Ok((key_of(&policy, &domain), policy))
    }

    fn unknown(&self, key: Key) -> PolicyError {
        let elsewhere = self.entries.keys().find(|other| {
            other.name == key.name && (other.namespace == key.namespace || other.domain == key.domain)
        });
        let hint = match elsewhere {
            Some(other) if other.namespace == key.namespace => {
                format!("; there is one in the domain {}", other.domain)
            }
            Some(other) if other.namespace.is_empty() => "; there is one without a namespace".into(),
            Some(other) => format!("; there is one in the namespace {}", other.namespace),
            None => String::new(),
        };
        PolicyError::Unknown { key, hint }
    }

    fn is_full(&self) -> bool {
        self.entries.len() + self.refused.len() >= MAX_POLICIES
    }

    /// `None`: all numbers are used up.
    fn next_id(&mut self) -> Option<u32> {
        self.last_id = self.last_id.checked_add(1)?;
        Some(self.last_id)
    }

    /// Loads a policy; what cannot be loaded is kept with its reason.
    fn insert(&mut self, key: &Key, policy: Policy, origin: Origin) -> Result<(), PolicyError> {
        let Some(id) =
            self.entries.get(key).map_or_else(|| self.last_id.checked_add(1), |entry| Some(entry.id))
        else {
            return Err(PolicyError::Full);
        };
        self.last_id = self.last_id.max(id);
        let view = View { state: State::Loading, ..unloaded(key, id, &policy, &origin) };
        self.shared.set_loading(Some(view));
        let mode = self.entries.get(key).and_then(|entry| entry.mode);
        let (content, told) = match self.attached(key, &policy, mode) {
            Ok(content) => (content, Ok(())),
            Err(failure) => {
                let reason = failure.reason.clone();
                (Content::Failed(failure), Err(PolicyError::Refused { key: key.clone(), reason }))
            }
        };
        let text = self.entries.get(key).map(|entry| Arc::clone(&entry.text)).unwrap_or_default();
        let entry = Entry { id, text, policy, origin, content, mode, newer: String::new() };
        self.entries.insert(key.clone(), entry);
        if told.is_ok() {
            self.outlived(key);
        }
        self.shared.set_loading(None);
        self.publish();
        told
    }

    /// Attaches a policy, unless it is for other nodes.
    fn attached(&mut self, key: &Key, policy: &Policy, asked: Option<Asked>) -> Result<Content, Failure> {
        if self.choices.are_of_node(policy) {
            return Ok(Content::Loaded(self.attach(key, policy, Mode::with(policy, asked))?));
        }
        tracing::info!(policy = %key, "skipped: its nodeSelector is not for this node");
        Ok(Content::Skipped)
    }

    /// Puts a policy in the place of the one of this key: attached, and only then is the old one detached. One that is
    /// disabled stays so. A mode counts from then on, also when it is enabled later. On failure nothing has changed.
    fn exchange(&mut self, key: &Key, policy: Policy, mode: Option<Asked>) -> Result<(), Failure> {
        let mode = mode.or_else(|| self.entries.get(key).and_then(|entry| entry.mode));
        let disabled = self.entries.get(key).is_some_and(|entry| matches!(entry.content, Content::Disabled));
        let content = if disabled {
            self.compile(&policy, &self.choices.clone())?;
            Content::Disabled
        } else {
            self.attached(key, &policy, mode)?
        };
        let Some(entry) = self.entries.get_mut(key) else { return Ok(()) };
        entry.policy = policy;
        entry.mode = mode;
        entry.newer.clear();
        if let Content::Loaded(old) = std::mem::replace(&mut entry.content, content) {
            self.retire(old);
        }
        self.outlived(key);
        tracing::info!(policy = %key, "replaced");
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.freed = true;
        if let Content::Loaded(active) = entry.content {
            self.retire(active);
        }
        self.outlived(key);
        tracing::info!(policy = %key, "deleted");
        true
    }

    /// Tells the engine of policies of which no record can come any more.
    pub(super) fn bury(&mut self) {
        while self.detached.front().is_some_and(|(since, _)| since.elapsed() >= GRACE) {
            if let Some((_, number)) = self.detached.pop_front() {
                self.texts.removed(number);
            }
        }
    }

    /// Tries again to take out of force what could not be, and says what is in force because of that.
    pub(super) fn clear(&mut self) -> Option<String> {
        self.loader.as_mut().ok()?.clear()
    }

    /// Lets go what can be made again.
    pub(super) fn rest(&mut self) {
        if let Ok(loader) = &mut self.loader {
            loader.rest();
        }
    }

    /// Reads the counters of all hooks.
    pub(super) fn measure(&mut self) {
        for (key, entry) in &mut self.entries {
            let Content::Loaded(active) = &mut entry.content else { continue };
            if let Err(error) = active.measure() {
                tracing::debug!(policy = %key, "its counters cannot be read: {error:#}");
            }
            for note in active.note_files() {
                tracing::warn!(policy = %key, "{note}");
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let mut views: Vec<View> = self.entries.iter().map(|(key, entry)| entry.view(key)).collect();
        for view in views.iter_mut().filter(|view| view.state == State::LoadError) {
            view.error.push_str(self.kept_note(&view.key));
        }
        views.extend(self.refused.iter().map(|(path, refused)| refused.view(path)));
        views.sort_by(|left, right| left.key.cmp(&right.key));
        self.shared.set_views(views);
    }
}

impl Entry {
    fn view(&self, key: &Key) -> View {
        let plain = unloaded(key, self.id, &self.policy, &self.origin);
        let plain = View { mode: Mode::with(&self.policy, self.mode), ..plain };
        let error = self.newer.clone();
        match &self.content {
            Content::Disabled => View { state: State::Disabled, error, ..plain },
            Content::Skipped => View { state: State::Skipped, error, ..plain },
            Content::Loaded(active) => {
                let partial = active.hooks.iter().any(|hook| hook.state == HookState::Partial);
                let state = if partial { State::PartiallyEnabled } else { State::Enabled };
                View { state, error, hooks: active.hooks.clone(), memory: active.memory, ..plain }
            }
            Content::Failed(failure) => {
                let told = |hook: HookView| {
                    let error = failure.of_hook(&hook.path);
                    HookView { error, ..hook }
                };
                let hooks = plain.hooks.into_iter().map(told).collect();
                View { state: State::LoadError, error: failure.reason.clone(), hooks, ..plain }
            }
        }
    }
}

impl Refused {
    fn view(&self, path: &Path) -> View {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        View {
            id: self.id,
            key: Key { domain: STATIC.into(), namespace: String::new(), name },
            origin: path.display().to_string(),
            state: State::LoadError,
            error: self.reason.clone(),
            mode: Mode::MonitorOnly,
            hooks: Vec::new(),
            memory: 0,
        }
    }
}

/// A policy of which nothing is attached.
fn unloaded(key: &Key, id: u32, policy: &Policy, origin: &Origin) -> View {
    let hook = |hook: &saker_policy::model::Hook| HookView {
        path: hook.path.clone(),
        function: String::new(),
        mechanism: String::new(),
        state: HookState::NotLoaded,
        error: String::new(),
        missing: Vec::new(),
        note: String::new(),
        counts: saker_probes::HookCounts::default(),
        selectors: SelectorView::of(policy, &hook.path),
        memory: 0,
    };
    View {
        id,
        key: key.clone(),
        origin: origin.to_string(),
        state: State::Disabled,
        error: String::new(),
        mode: Mode::of(policy),
        hooks: policy.hooks.iter().map(hook).collect(),
        memory: 0,
    }
}

fn key_of(policy: &Policy, domain: &str) -> Key {
    Key {
        domain: domain.to_owned(),
        namespace: policy.scope().unwrap_or_default().to_owned(),
        name: policy.name.value.clone(),
    }
}

/// The one policy of a text.
fn one_of(text: &str) -> Result<Policy, PolicyError> {
    let mut policies = of_text(text).map_err(PolicyError::Text)?;
    match (policies.pop(), policies.len()) {
        (Some(policy), 0) => Ok(policy),
        (Some(_), more) => {
            let count = more + 1;
            Err(PolicyError::Text(format!("the text holds {count} policies; send each by itself")))
        }
        (None, _) => Err(PolicyError::Text("there is no policy in the text".into())),
    }
}

/// The policies of a text, or everything that is wrong with it; one without any is wrong.
fn of_text(text: &str) -> Result<Vec<Policy>, String> {
    let checked = saker_policy::check(text);
    let errors: Vec<_> =
        checked.diagnostics.into_iter().filter(|found| found.severity == Severity::Error).collect();
    if errors.is_empty() { Ok(checked.policies) } else { Err(reasons(&errors)) }
}

/// Diagnostics as lines, without more than somebody would read.
fn reasons(diagnostics: &[Diagnostic]) -> String {
    let line = |found: &Diagnostic| {
        let place = if found.span.line > 0 { format!("{}: ", found.span) } else { String::new() };
        let path = if found.path.is_empty() { String::new() } else { format!("{}: ", found.path) };
        let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{place}{path}{}{hint}", found.message)
    };
    let mut lines: Vec<String> = diagnostics.iter().take(MAX_REASONS).map(line).collect();
    if let Some(more) = diagnostics.len().checked_sub(MAX_REASONS + 1) {
        lines.push(format!("and {} more", more + 1));
    }
    bounded(lines.join("\n"))
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_REASON {
        let mut end = MAX_REASON;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;

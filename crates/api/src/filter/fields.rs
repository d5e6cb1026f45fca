//! Which fields of an event a receiver gets.
//!
//! All filters of a list become one [`Mask`] for each kind of event, which works on the protobuf bytes of an event, and one
//! [`Names`], which works on its JSON line.

mod mask;
mod names;

use std::collections::BTreeMap;

use prost::Message;
use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::{FilterError, Place};
use crate::descriptors::Described;
use crate::event::{Event, EventKind};
use crate::saker_v1;
use crate::tetragon::{self, EventType, FieldFilterAction, GetEventsResponse};
use crate::view::EventView;
use mask::{Mask, Rule};
use names::Names;

/// Field filters of one request, and paths in one of them.
const MAX_FIELD_FILTERS: usize = 256;
const MAX_PATHS: usize = 4_096;

/// Compiled field filters, each of which works on what the former left.
///
/// They concern what stands inside an event; its time and node are always there. Fields that only Saker tells
/// are called as in the JSON line, e.g. `process.canonical_path`.
#[derive(Debug, Default)]
pub struct FieldFilters(BTreeMap<EventType, KindMask>);

/// What a kind of event keeps.
#[derive(Debug)]
struct KindMask {
    /// Of the message of the compatible service.
    compatible: Mask,
    /// Of our own.
    own: Mask,
    /// Of the JSON line; `None`: it has not all parts that are told apart.
    names: Option<Names>,
}

#[derive(Debug)]
struct FieldFilter {
    event_set: Vec<EventType>,
    inverted: bool,
    action: FieldFilterAction,
    paths: Paths,
}

/// Paths by their first part, and so on.
#[derive(Debug, Default)]
struct Paths {
    /// A path ends here: everything below belongs to it.
    whole: bool,
    below: BTreeMap<String, Paths>,
}

impl FieldFilters {
    /// Checks and compiles a list.
    ///
    /// # Errors
    /// [`FilterError`] for the first thing that cannot be honoured: a path that is in no event, an action or
    /// an event type that does not exist, too many of something.
    pub fn compile(filters: &[tetragon::FieldFilter]) -> Result<Self, FilterError> {
        let list = "field_filters";
        if filters.len() > MAX_FIELD_FILTERS {
            let (given, limit) = (filters.len(), MAX_FIELD_FILTERS);
            return Err(FilterError::TooMany { list, what: "field filters", given, limit });
        }
        let compile = |(index, filter)| FieldFilter::compile(Place { list, index }, filter);
        let filters: Vec<FieldFilter> = filters.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        let events = GetEventsResponse::descriptor();
        let mut kinds = BTreeMap::new();
        for field in events.fields().filter(is_event) {
            let Some(kind) = EventType::from_str_name(&field.name().to_uppercase()) else { continue };
            let concerned: Vec<&FieldFilter> =
                filters.iter().filter(|filter| filter.concerns(kind)).collect();
            if kind != EventType::RateLimitInfo && !concerned.is_empty() {
                kinds.extend(KindMask::new(&field, &concerned).map(|mask| (kind, mask)));
            }
        }
        Ok(Self(kinds))
    }

    /// Whether every event keeps all its fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an event may lose fields. A gap, which has none of a process, keeps all.
    #[must_use]
    pub fn concern(&self, event: &Event) -> bool {
        self.of(event).is_some()
    }

    fn of(&self, event: &Event) -> Option<&KindMask> {
        if self.is_empty() || matches!(event.kind, EventKind::Gap(_)) {
            return None;
        }
        self.0.get(&event.kind.event_type())
    }

    /// What remains of a compatible event.
    #[must_use]
    pub fn apply(&self, event: &GetEventsResponse) -> GetEventsResponse {
        match self.0.get(&EventView::from(event).event_type) {
            Some(mask) => remaining(event, &mask.compatible),
            None => event.clone(),
        }
    }

    /// What remains of an event in our form.
    #[must_use]
    pub fn apply_event(&self, event: &saker_v1::Event) -> saker_v1::Event {
        let kind = event.event.as_ref().map(|response| EventView::from(response).event_type);
        match kind.and_then(|kind| self.0.get(&kind)) {
            Some(mask) if event.gap.is_none() => remaining(event, &mask.own),
            _ => event.clone(),
        }
    }

    /// What remains of the bytes of an event in the compatible form.
    pub(crate) fn apply_bytes(&self, event: &Event, bytes: &[u8]) -> Option<Vec<u8>> {
        self.of(event).map(|mask| mask.compatible.pruned(bytes))
    }

    /// What remains of its bytes in our form.
    pub(crate) fn apply_own_bytes(&self, event: &Event, bytes: &[u8]) -> Option<Vec<u8>> {
        self.of(event).map(|mask| mask.own.pruned(bytes))
    }

    /// Leaves in its JSON line, which begins there and is the last, what remains of it. False: that cannot be done with the
    /// line, and it is as it was.
    pub(crate) fn apply_line(&self, event: &Event, lines: &mut Vec<u8>, begin: usize) -> bool {
        self.of(event).is_none_or(|mask| mask.names.as_ref().is_some_and(|names| names.prune(lines, begin)))
    }
}

/// A message without what it is not to keep.
fn remaining<M: Message + Default>(message: &M, mask: &Mask) -> M {
    M::decode(&*mask.pruned(&message.encode_to_vec())).unwrap_or_default()
}

impl KindMask {
    /// Of the events in this field of the envelope, by all these filters. `None`: the field is no message.
    fn new(kind: &FieldDescriptor, filters: &[&FieldFilter]) -> Option<Self> {
        let inner = message_of(kind)?;
        let whole = |message: &MessageDescriptor| {
            let masks = filters.iter().map(|filter| Mask::compile(message, &filter.paths, filter.action));
            masks.reduce(|one, other| one.both(&other)).unwrap_or_default()
        };
        // A part of our form that stands for what is called so in the compatible one.
        let part = |name: &str| {
            let extra = saker_v1::ProcessExtra::descriptor();
            let rules = filters
                .iter()
                .map(|filter| Rule::of(filter.paths.below.get(name), filter.action, || Some(extra.clone())));
            rules.reduce(Rule::both).unwrap_or_default()
        };
        let event = whole(&inner);
        let compatible = Mask::keeping([(kind.number(), Rule::Into(Box::new(event.clone())))]);
        let [exit, hook] = [saker_v1::ExitExtra::descriptor(), saker_v1::HookExtra::descriptor()];
        let (of_exit, of_hook) = (whole(&exit), whole(&hook));
        let parts = ["process", "parent", "ancestors"].map(|name| (name, part(name)));
        let own = saker_v1::Event::descriptor();
        let number = |name: &str| own.get_field_by_name(name).map_or(0, |field| field.number());
        let envelope = [
            (number("event"), Rule::Into(Box::new(compatible.clone()))),
            (number("exit"), Rule::Into(Box::new(of_exit.clone()))),
            (number("hook"), Rule::Into(Box::new(of_hook.clone()))),
        ];
        let beside = parts.iter().map(|(name, rule)| (number(name), rule.clone()));
        let extra = saker_v1::ProcessExtra::descriptor();
        let process = parts.iter().map(|(name, rule)| (*name, &extra, rule));
        let names = Names::new(&[(&inner, &event), (&exit, &of_exit), (&hook, &of_hook)], process.collect());
        Some(Self { own: Mask::keeping(envelope.into_iter().chain(beside)), compatible, names })
    }
}

impl FieldFilter {
    fn compile(place: Place, filter: &tetragon::FieldFilter) -> Result<Self, FilterError> {
        let refusal = |reason| FilterError::FieldFilter { place, reason };
        let event_type =
            |&value| EventType::try_from(value).map_err(|_| FilterError::EventType { place, value });
        let paths = filter.fields.as_ref().map_or([].as_slice(), |mask| mask.paths.as_slice());
        if paths.is_empty() {
            return Err(refusal("it names no fields"));
        }
        if paths.len() > MAX_PATHS {
            let (given, limit) = (paths.len(), MAX_PATHS);
            return Err(FilterError::TooMany { list: place.list, what: "paths", given, limit });
        }
        let mut tree = Paths::default();
        for path in paths {
            check_path(place, path)?;
            tree.insert(path);
        }
        Ok(Self {
            event_set: filter.event_set.iter().map(event_type).collect::<Result<_, _>>()?,
            inverted: filter.invert_event_set.unwrap_or_default(),
            action: FieldFilterAction::try_from(filter.action)
                .map_err(|_| refusal("its action is neither INCLUDE nor EXCLUDE"))?,
            paths: tree,
        })
    }

    fn concerns(&self, kind: EventType) -> bool {
        self.event_set.is_empty() || self.event_set.contains(&kind) != self.inverted
    }
}

impl Paths {
    fn insert(&mut self, path: &str) {
        let end = path.split('.').fold(self, |paths, part| paths.below.entry(part.to_owned()).or_default());
        end.whole = true;
    }
}

/// Whether a field of the envelope holds what happened.
fn is_event(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_some_and(|oneof| oneof.name() == "event")
}

/// Refuses a path that is in no kind of event.
fn check_path(place: Place, path: &str) -> Result<(), FilterError> {
    let events = GetEventsResponse::descriptor();
    let mut roots: Vec<MessageDescriptor> =
        events.fields().filter(is_event).filter_map(|field| message_of(&field)).collect();
    roots.push(saker_v1::ExitExtra::descriptor());
    roots.push(saker_v1::HookExtra::descriptor());
    if roots.iter().any(|root| resolves(root, path)) {
        return Ok(());
    }
    let extra = ["process.", "parent.", "ancestors."].iter().find_map(|prefix| path.strip_prefix(prefix));
    if extra.is_some_and(|path| resolves(&saker_v1::ProcessExtra::descriptor(), path)) {
        return Ok(());
    }
    // The first part that is wrong, by the event that follows the path furthest.
    let parts: Vec<&str> = path.split('.').collect();
    let followed = (0..parts.len())
        .take_while(|&length| roots.iter().any(|root| resolves(root, &parts[..=length].join("."))))
        .count();
    let part = parts.get(followed).copied().unwrap_or_default().to_owned();
    Err(FilterError::FieldPath { place, path: path.to_owned(), part })
}

fn resolves(message: &MessageDescriptor, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Some(field) = message.get_field_by_name(first) else { return false };
    rest.is_none_or(|rest| message_of(&field).is_some_and(|message| resolves(&message, rest)))
}

/// The message inside a field, or inside the elements of a list; a map has none.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    if field.is_map() { None } else { field.kind().as_message().cloned() }
}

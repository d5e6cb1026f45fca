//! Which fields of an event a receiver gets.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};

use super::{FilterError, Place};
use crate::descriptors::Described;
use crate::event::{Event, EventKind};
use crate::saker_v1;
use crate::tetragon::{self, EventType, FieldFilterAction, GetEventsResponse};
use crate::view::EventView;

/// Field filters of one request, and paths in one of them.
const MAX_FIELD_FILTERS: usize = 256;
const MAX_PATHS: usize = 4_096;

/// Compiled field filters, each of which works on what the former left.
///
/// They concern what stands inside an event; its time and node are always there. Fields that only Saker tells
/// are called as in the JSON line, e.g. `process.canonical_path`.
#[derive(Debug, Default)]
pub struct FieldFilters(Vec<FieldFilter>);

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
        filters.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether every event keeps all its fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an event may lose fields. A gap, which has none of a process, keeps all.
    #[must_use]
    pub fn concern(&self, event: &Event) -> bool {
        !self.is_empty()
            && !matches!(event.kind, EventKind::Gap(_))
            && self.0.iter().any(|filter| filter.concerns(event.kind.event_type()))
    }

    /// What remains of a compatible event.
    #[must_use]
    pub fn apply(&self, event: &GetEventsResponse) -> GetEventsResponse {
        let kind = EventView::from(event).event_type;
        if kind == EventType::RateLimitInfo || !self.0.iter().any(|filter| filter.concerns(kind)) {
            return event.clone();
        }
        let mut dynamic = event.to_dynamic();
        for filter in self.0.iter().filter(|filter| filter.concerns(kind)) {
            for (field, value) in dynamic.fields_mut() {
                if is_event(&field) {
                    filter.paths.prune_value(value, filter.action);
                }
            }
        }
        GetEventsResponse::from_dynamic(&dynamic).unwrap_or_default()
    }

    /// What remains of an event in our form.
    #[must_use]
    pub fn apply_event(&self, event: &saker_v1::Event) -> saker_v1::Event {
        let mut kept = event.clone();
        let Some(response) = &event.event else { return kept };
        if event.gap.is_some() {
            return kept;
        }
        let kind = EventView::from(response).event_type;
        kept.event = Some(self.apply(response));
        for filter in self.0.iter().filter(|filter| filter.concerns(kind)) {
            filter.prune_part("process", &mut kept.process);
            filter.prune_part("parent", &mut kept.parent);
            kept.ancestors = std::mem::take(&mut kept.ancestors)
                .into_iter()
                .filter_map(|ancestor| {
                    let mut ancestor = Some(ancestor);
                    filter.prune_part("ancestors", &mut ancestor);
                    ancestor
                })
                .collect();
            kept.exit = kept.exit.map(|exit| filter.paths.pruned(&exit, filter.action));
            kept.hook = kept.hook.map(|hook| filter.paths.pruned(&hook, filter.action));
        }
        kept
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

    /// Prunes what stands beside the compatible fields of `name`.
    fn prune_part(&self, name: &str, part: &mut Option<saker_v1::ProcessExtra>) {
        match (self.paths.below.get(name), self.action) {
            (None, FieldFilterAction::Include) => *part = None,
            (None, FieldFilterAction::Exclude) => {}
            (Some(paths), FieldFilterAction::Include) if paths.whole => {}
            (Some(paths), FieldFilterAction::Exclude) if paths.whole => *part = None,
            (Some(paths), action) => *part = part.take().map(|part| paths.pruned(&part, action)),
        }
    }
}

impl Paths {
    fn insert(&mut self, path: &str) {
        let end = path.split('.').fold(self, |paths, part| paths.below.entry(part.to_owned()).or_default());
        end.whole = true;
    }

    fn pruned<M: Described>(&self, message: &M, action: FieldFilterAction) -> M {
        let mut dynamic = message.to_dynamic();
        self.prune(&mut dynamic, action);
        M::from_dynamic(&dynamic).unwrap_or_default()
    }

    fn prune(&self, message: &mut DynamicMessage, action: FieldFilterAction) {
        let fields: Vec<FieldDescriptor> = message.fields().map(|(field, _)| field).collect();
        for field in fields {
            match (self.below.get(field.name()), action) {
                (None, FieldFilterAction::Include) => message.clear_field(&field),
                (None, FieldFilterAction::Exclude) => {}
                (Some(paths), FieldFilterAction::Include) if paths.whole => {}
                (Some(paths), FieldFilterAction::Exclude) if paths.whole => message.clear_field(&field),
                (Some(paths), action) => paths.prune_value(message.get_field_mut(&field), action),
            }
        }
    }

    fn prune_value(&self, value: &mut Value, action: FieldFilterAction) {
        match value {
            Value::Message(message) => self.prune(message, action),
            Value::List(list) => list.iter_mut().for_each(|value| self.prune_value(value, action)),
            // No path leads below a value without fields; see check_path.
            _ => {}
        }
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

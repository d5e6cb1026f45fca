//! Decides who receives an event, and which of its fields.
//!
//! A [`Subscription`] is what a client or a sink asked for, checked and compiled. Inside one filter the fields
//! are joined by AND and the values of a field by OR; the filters of a list are joined by OR. An event passes
//! when the allow list is empty or one of its filters matches, and no filter of the deny list matches. What
//! cannot be honoured is refused when it is asked for, never left out.
//!
//! Gaps are not events of a process: they tell how complete the stream is, so that filters leave them alone.
//! See [`Filters::passes`] and [`Filters::passes_compatible`].

mod cel;
mod compile;
mod error;
mod fields;
mod pid_set;
mod selector;
mod text;

use crate::event::{Event, EventKind};
use crate::passage::Aggregation;
use crate::saker_v1;
use crate::tetragon::{self, EventType, GetEventsResponse};
use crate::view::EventView;
use compile::Compiled;

pub(crate) use compile::regexes;
pub use error::{FilterError, Place};
pub use fields::FieldFilters;
pub use text::{parse_field_filters, parse_filters, parse_redaction_filters};

/// What this agent can filter by, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// `capabilities`: credentials are recorded (`--enable-process-cred`).
    pub credentials: bool,
    /// `pid_set`: for an exporter only with `--enable-pid-set-filter`; for clients always.
    pub pid_set: bool,
    /// Kinds of events that carry ancestors (`--enable-ancestors`).
    pub ancestors: Vec<EventType>,
}

impl Offered {
    /// Everything that an event may have: for events that are already there, in a file or a stream.
    #[must_use]
    pub fn everything() -> Self {
        let kinds = (0..=EventType::ProcessUsdt as i32).filter_map(|number| EventType::try_from(number).ok());
        Self { credentials: true, pid_set: true, ancestors: kinds.collect() }
    }
}

/// What a client or a sink asked for.
#[derive(Debug, Default)]
pub struct Subscription {
    /// Which events.
    pub filters: Filters,
    /// Which fields of them.
    pub fields: FieldFilters,
    /// How equal ones are folded; `None`: not at all.
    pub aggregation: Option<Aggregation>,
    /// How many a minute; `None`: all.
    pub rate: Option<u32>,
}

impl Subscription {
    /// Checks and compiles a request of the compatible service, which has no rate limit.
    ///
    /// # Errors
    /// [`FilterError`] for the first thing that cannot be honoured.
    pub fn compile(request: &tetragon::GetEventsRequest, offered: &Offered) -> Result<Self, FilterError> {
        Ok(Self {
            filters: Filters::compile(&request.allow_list, &request.deny_list, offered)?,
            fields: FieldFilters::compile(&request.field_filters)?,
            aggregation: request
                .aggregation_options
                .as_ref()
                .map(Aggregation::from_options)
                .transpose()
                .map_err(|reason| FilterError::Aggregation { reason })?,
            rate: None,
        })
    }
}

impl Subscription {
    /// Checks and compiles a request of our service.
    ///
    /// # Errors
    /// [`FilterError`] for the first thing that cannot be honoured.
    pub fn compile_own(request: saker_v1::GetEventsRequest, offered: &Offered) -> Result<Self, FilterError> {
        let saker_v1::GetEventsRequest {
            allow_list,
            deny_list,
            aggregation_options,
            field_filters,
            rate_limit,
        } = request;
        let compatible =
            tetragon::GetEventsRequest { allow_list, deny_list, aggregation_options, field_filters };
        Ok(Self { rate: rate_limit, ..Self::compile(&compatible, offered)? })
    }
}

impl From<tetragon::GetEventsRequest> for saker_v1::GetEventsRequest {
    fn from(request: tetragon::GetEventsRequest) -> Self {
        let tetragon::GetEventsRequest { allow_list, deny_list, aggregation_options, field_filters } =
            request;
        Self { allow_list, deny_list, aggregation_options, field_filters, rate_limit: None }
    }
}

/// Compiled allow and deny lists.
#[derive(Debug, Default)]
pub struct Filters {
    allow: Vec<Compiled>,
    deny: Vec<Compiled>,
}

impl Filters {
    /// Checks and compiles two lists.
    ///
    /// # Errors
    /// [`FilterError`] for the first thing that cannot be honoured.
    pub fn compile(
        allow: &[tetragon::Filter],
        deny: &[tetragon::Filter],
        offered: &Offered,
    ) -> Result<Self, FilterError> {
        Ok(Self {
            allow: compile::list("allow_list", allow, offered)?,
            deny: compile::list("deny_list", deny, offered)?,
        })
    }

    /// Whether every event passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether a receiver that knows gaps gets this event. A gap passes unless a filter of the deny list
    /// names `RATE_LIMIT_INFO` and matches.
    #[must_use]
    pub fn passes(&self, event: &Event) -> bool {
        if self.is_empty() {
            return true;
        }
        let view = EventView::from(event);
        match event.kind {
            EventKind::Gap(_) => !self.denies_gap(&view),
            _ => self.passes_view(&view),
        }
    }

    /// Whether a receiver of the compatible form gets this event. It gets a gap, told as `rate_limit_info`,
    /// only when a filter of its allow list names `RATE_LIMIT_INFO`.
    #[must_use]
    pub fn passes_compatible(&self, event: &Event) -> bool {
        match event.kind {
            EventKind::Gap(_) => {
                let view = EventView::from(event);
                self.allow.iter().any(|filter| filter.names_gaps() && filter.matches(&view))
                    && !self.denies_gap(&view)
            }
            _ => self.passes(event),
        }
    }

    /// Whether an event that came as a compatible message passes: for clients that read a file.
    #[must_use]
    pub fn passes_message(&self, event: &GetEventsResponse) -> bool {
        self.is_empty() || self.passes_view(&EventView::from(event))
    }

    /// Whether an event that came as our message passes; a gap as in [`Filters::passes`].
    #[must_use]
    pub fn passes_received(&self, event: &saker_v1::Event) -> bool {
        match &event.event {
            Some(message) if event.gap.is_some() => !self.denies_gap(&EventView::from(message)),
            Some(message) => self.passes_message(message),
            None => false,
        }
    }

    fn denies_gap(&self, view: &EventView<'_>) -> bool {
        self.deny.iter().any(|filter| filter.names_gaps() && filter.matches(view))
    }

    fn passes_view(&self, view: &EventView<'_>) -> bool {
        let allowed = self.allow.is_empty() || any(&self.allow, view);
        let denied = any(&self.deny, view);
        allowed && !denied
    }
}

/// Whether a filter of the list matches. Those that learn from events see all of them.
fn any(filters: &[Compiled], view: &EventView<'_>) -> bool {
    let mut found = false;
    for filter in filters {
        if !found || filter.learns() {
            found |= filter.matches(view);
        }
    }
    found
}

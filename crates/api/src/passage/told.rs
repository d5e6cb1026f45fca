//! What a receiver is told, and its forms.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::Form;
use crate::compact::Compact;
use crate::event::Event;
use crate::filter::FieldFilters;
use crate::json::{self, Writer};
use crate::tetragon::{AggregationInfo, GetEventsResponse, RateLimitInfo, get_events_response};
use crate::wire::EncodedEvent;
use crate::{proto, saker_v1};

/// What a receiver is told.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// An event.
    Event {
        /// The event, or the first of those that it stands for.
        event: &'a Event,
        /// How many it stands for.
        count: u64,
    },
    /// What the rate limit held back since this was told last.
    Limited {
        /// How many events.
        held: u64,
        /// The newest of them.
        newest: &'a Event,
    },
}

/// The same of what has waited.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as of Told")]
pub enum Ready {
    /// An event.
    Event { event: Arc<Event>, count: u64 },
    /// What the rate limit held back.
    Limited { held: u64, newest: Arc<Event> },
}

impl Ready {
    /// What is to be told.
    #[must_use]
    pub fn told(&self) -> Told<'_> {
        match self {
            Self::Event { event, count } => Told::Event { event, count: *count },
            Self::Limited { held, newest } => Told::Limited { held: *held, newest },
        }
    }
}

impl<'a> From<&'a Arc<Event>> for Told<'a> {
    fn from(event: &'a Arc<Event>) -> Self {
        Self::Event { event, count: 1 }
    }
}

impl Told<'_> {
    /// Whether it is an event and not a report.
    #[must_use]
    pub fn is_event(&self) -> bool {
        matches!(self, Self::Event { .. })
    }

    /// The event, or the newest of those that it is about.
    #[must_use]
    pub fn newest(&self) -> &Event {
        match self {
            Self::Event { event, .. } => event,
            Self::Limited { newest, .. } => newest,
        }
    }

    /// As our message, with the fields that the receiver is to get.
    #[must_use]
    pub fn message(&self, fields: &FieldFilters) -> saker_v1::Event {
        match *self {
            Self::Event { event, count } => {
                let mut message = fields.apply_event(&event.into());
                if let Some(response) = &mut message.event {
                    response.aggregation_info = info(count);
                }
                message
            }
            Self::Limited { held, newest } => {
                let response = limited(held, newest);
                saker_v1::Event { event: Some(response), ..saker_v1::Event::default() }
            }
        }
    }

    /// Appends the JSON line, its newline included.
    pub fn write_json(&self, writer: &mut Writer, fields: &FieldFilters, out: &mut Vec<u8>) {
        match *self {
            Self::Event { event, count } => {
                let begin = out.len();
                writer.write_event(event, out);
                if !fields.apply_line(event, out, begin) {
                    out.truncate(begin);
                    return self.write_message(fields, out);
                }
                if count > 1 {
                    json::add_count(count, out);
                }
            }
            Self::Limited { .. } => self.write_message(fields, out),
        }
    }

    fn write_message(&self, fields: &FieldFilters, out: &mut Vec<u8>) {
        out.extend_from_slice(json::message_line(&self.message(fields)).as_bytes());
        out.push(b'\n');
    }

    /// Appends the compact line, its newline included.
    pub fn write_compact(&self, compact: Compact, fields: &FieldFilters, out: &mut String) {
        match *self {
            Self::Event { event, count: 1 } if !fields.concern(event) => compact.write_event(event, out),
            _ => compact.write_message(&self.message(fields), out),
        }
    }

    /// The bytes that a gRPC client gets. `shared`: those of the whole event, which may be there already.
    #[must_use]
    pub fn encode(
        &self,
        form: Form,
        fields: &FieldFilters,
        shared: impl FnOnce(&Event) -> Bytes,
    ) -> EncodedEvent {
        let (event, count) = match *self {
            Self::Event { event, count } => (event, count),
            Self::Limited { held, newest } => {
                let response = limited(held, newest);
                return EncodedEvent(in_form(form, response).into());
            }
        };
        let whole = shared(event);
        let pruned = match form {
            Form::Compatible => fields.apply_bytes(event, &whole),
            Form::Own => fields.apply_own_bytes(event, &whole),
        };
        let whole = pruned.map_or(whole, Bytes::from);
        let Some(info) = info(count) else { return EncodedEvent(whole) };
        // Parts of one message that follow each other are one message.
        let addition = GetEventsResponse { aggregation_info: Some(info), ..GetEventsResponse::default() };
        EncodedEvent([whole.as_ref(), &in_form(form, addition)].concat().into())
    }
}

/// The encoder of a form.
#[must_use]
pub fn encoder(form: Form) -> fn(&Event) -> Bytes {
    match form {
        Form::Compatible => proto::encode_response,
        Form::Own => proto::encode_event,
    }
}

fn in_form(form: Form, response: GetEventsResponse) -> Vec<u8> {
    match form {
        Form::Compatible => response.encode_to_vec(),
        Form::Own => saker_v1::Event { event: Some(response), ..saker_v1::Event::default() }.encode_to_vec(),
    }
}

/// How many events one stands for, if it is more than itself.
fn info(count: u64) -> Option<AggregationInfo> {
    (count > 1).then_some(AggregationInfo { count })
}

/// What the rate limit held back, as a message.
fn limited(held: u64, newest: &Event) -> GetEventsResponse {
    let info = RateLimitInfo { number_of_dropped_process_events: held };
    GetEventsResponse {
        event: Some(get_events_response::Event::RateLimitInfo(info)),
        ..proto::envelope(newest)
    }
}

//! Events as protobuf messages: as types for those who look into them, as bytes for those who send them.
//!
//! The bytes of a process are made once and copied into each event; those of an event are made once for all
//! clients. Bytes and types say the same, which a test holds them to.

mod encode;
mod extra;
mod hook;
mod message;

use crate::event::Timestamp;

pub use encode::{encode_event, encode_response};
pub(crate) use message::envelope;

/// A time as a message has it; `None` when it is not known.
fn timestamp(time: Timestamp) -> Option<prost_types::Timestamp> {
    // The seconds of a 64-bit number of nanoseconds fit in 35 bits, the rest in 30.
    (time.0 != 0).then(|| prost_types::Timestamp {
        seconds: (time.0 / 1_000_000_000).cast_signed(),
        nanos: (time.0 % 1_000_000_000) as i32,
    })
}

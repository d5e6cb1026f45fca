//! Sends events whose bytes are made once for all clients.
//!
//! The server code of both services is generated with [`EncodedEvent`] as the item of its event streams and
//! with [`ServerCodec`] as its codec: an event's bytes are copied into each client's buffer, never encoded
//! again. All other messages are encoded as usual.

use std::marker::PhantomData;

use bytes::{BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// The protobuf bytes of an event, shared by all streams that send it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedEvent(pub Bytes);

/// What [`ServerCodec`] can send.
pub trait Outgoing: Send + 'static {
    /// Appends the protobuf bytes of this message to `buf`.
    ///
    /// # Errors
    /// [`Status`] with code `internal` when the message cannot be encoded.
    fn put(self, buf: &mut EncodeBuf<'_>) -> Result<(), Status>;
}

impl Outgoing for EncodedEvent {
    fn put(self, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(self.0.len());
        buf.put_slice(&self.0);
        Ok(())
    }
}

impl<M: Message + 'static> Outgoing for M {
    fn put(self, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.encode(buf).map_err(|error| Status::internal(format!("cannot encode the answer: {error}")))
    }
}

/// Codec of the servers: prost for requests and single answers, copied bytes for events.
#[derive(Debug)]
pub struct ServerCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ServerCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Outgoing, U: Message + Default + Send + 'static> Codec for ServerCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = OutgoingEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        OutgoingEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

/// Encoder of [`ServerCodec`].
#[derive(Debug)]
pub struct OutgoingEncoder<T>(PhantomData<T>);

impl<T: Outgoing> Encoder for OutgoingEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.put(buf)
    }
}

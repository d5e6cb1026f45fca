//! The events of one client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use saker_api::event::Event;
use saker_api::filter::Subscription;
use saker_api::proto;
use saker_api::wire::EncodedEvent;
use saker_export::{Form, Limits, Popped, Queue, Taken};
use tokio_stream::Stream;
use tonic::Status;

use super::{Place, STAGE};

/// Events that filters may leave out before the other clients get their turn.
const TURN: usize = 512;

/// A stream that filters and encodes when it is polled, and leaves when it is dropped.
pub struct EventStream {
    place: Place,
    queue: Arc<Queue>,
    waker: Arc<AtomicWaker>,
    subscription: Subscription,
    form: Form,
    taken: Option<(Taken, usize)>,
}

impl EventStream {
    pub(super) fn new(
        place: Place,
        subscription: Subscription,
        form: Form,
        limits: Limits,
        label: String,
    ) -> Self {
        let waker = Arc::new(AtomicWaker::new());
        let woken = Arc::clone(&waker);
        let queue = Queue::with_wake(STAGE, limits, Box::new(move || woken.wake())).labelled(label);
        let queue = Arc::new(queue);
        place.enter(&queue);
        Self { place, queue, waker, subscription, form, taken: None }
    }

    /// The next event that passes, or what hinders.
    fn next(&mut self) -> Next {
        for _ in 0..TURN {
            if self.taken.is_none() {
                match self.queue.try_pop() {
                    Popped::Taken(taken) => self.taken = Some((taken, 0)),
                    Popped::Timeout => return Next::Empty,
                    Popped::Closed => return Next::End,
                }
            }
            let Some((taken, at)) = &mut self.taken else { continue };
            let index = *at;
            *at += 1;
            let Some(event) = taken.events().get(index) else {
                self.taken = None;
                continue;
            };
            match encode(&self.subscription, self.form, taken, index, event) {
                Some(bytes) => {
                    self.queue.note_passed(event, bytes.0.len());
                    return Next::Event(bytes);
                }
                None => self.queue.note_filtered(event),
            }
        }
        Next::Turn
    }
}

enum Next {
    Event(EncodedEvent),
    Empty,
    Turn,
    End,
}

/// The bytes for this client; `None`: filters leave it out.
fn encode(
    subscription: &Subscription,
    form: Form,
    taken: &Taken,
    index: usize,
    event: &Event,
) -> Option<EncodedEvent> {
    let make = match form {
        Form::Compatible => proto::encode_response,
        Form::Own => proto::encode_event,
    };
    let passes = match form {
        Form::Compatible => subscription.filters.passes_compatible(event),
        Form::Own => subscription.filters.passes(event),
    };
    if !passes {
        return None;
    }
    let shared = match taken {
        Taken::Events(batch, range) => batch.encoded(range.start + index, form, make),
        Taken::Gap(gap) => make(gap),
    };
    Some(match form {
        Form::Compatible => subscription.fields.encode_response(event, &shared),
        Form::Own => subscription.fields.encode_event(event, &shared),
    })
}

impl Stream for EventStream {
    type Item = Result<EncodedEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Registered before the look: what comes between look and sleep wakes.
        this.waker.register(context.waker());
        match this.next() {
            Next::Event(bytes) => Poll::Ready(Some(Ok(bytes))),
            Next::End => Poll::Ready(None),
            Next::Empty => Poll::Pending,
            Next::Turn => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.place.leave(&self.queue);
    }
}

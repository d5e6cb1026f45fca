//! The events of one client.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use saker_api::filter::Subscription;
use saker_api::passage::{Audience, Form, Passage, Told, Verdict, encoder};
use saker_api::wire::EncodedEvent;
use saker_export::{Limits, Popped, Queue, Taken};
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
    passage: Passage,
    form: Form,
    taken: Option<(Taken, usize)>,
    /// Wakes when something that waits is due.
    timer: Option<(std::time::Instant, Pin<Box<tokio::time::Sleep>>)>,
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
        let passage = Passage::new(Arc::new(subscription), Audience::Client(form));
        let queue = Arc::new(queue.counting(passage.counts()));
        place.enter(&queue);
        Self { place, queue, waker, passage, form, taken: None, timer: None }
    }

    /// The next event that passes, or what hinders.
    fn next(&mut self) -> Next {
        let make = encoder(self.form);
        for _ in 0..TURN {
            let now = self.passage.clock();
            if let Some(ready) = self.passage.next(now) {
                let told = ready.told();
                let bytes = told.encode(self.form, &self.passage.subscription().fields, make);
                self.note(&told, &bytes);
                return Next::Event(bytes);
            }
            if self.taken.is_none() {
                match self.queue.try_pop() {
                    Popped::Taken(taken) => self.taken = Some((taken, 0)),
                    Popped::Timeout => return Next::Empty,
                    Popped::Closed if self.passage.is_finished() => return Next::End,
                    Popped::Closed => {
                        self.passage.finish();
                        continue;
                    }
                }
            }
            let Some((taken, at)) = &mut self.taken else { continue };
            let index = *at;
            *at += 1;
            let Some(event) = taken.events().get(index) else {
                self.taken = None;
                continue;
            };
            match self.passage.take(event, now) {
                Verdict::Tell => {
                    let shared = |event: &_| match &*taken {
                        Taken::Events(batch, range) => batch.encoded(range.start + index, self.form, make),
                        Taken::Gap(_) => make(event),
                    };
                    let told = Told::from(event);
                    let bytes = told.encode(self.form, &self.passage.subscription().fields, shared);
                    self.queue.note_passed(event, bytes.0.len());
                    return Next::Event(bytes);
                }
                Verdict::Filtered => self.queue.note_filtered(event),
                Verdict::Limited | Verdict::Kept => {}
            }
        }
        Next::Turn
    }

    /// Counts what has waited and is told now.
    fn note(&self, told: &Told<'_>, bytes: &EncodedEvent) {
        if told.is_event() {
            self.queue.note_passed(told.newest(), bytes.0.len());
        }
    }

    /// Has the stream polled again when something that waits is due.
    fn set_timer(&mut self, context: &mut Context<'_>) {
        let Some(due) = self.passage.due() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_none_or(|(at, _)| *at != due) {
            self.timer = Some((due, Box::pin(tokio::time::sleep_until(due.into()))));
        }
        if let Some((_, timer)) = &mut self.timer
            && timer.as_mut().poll(context).is_ready()
        {
            self.timer = None;
            context.waker().wake_by_ref();
        }
    }
}

enum Next {
    Event(EncodedEvent),
    Empty,
    Turn,
    End,
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
            Next::Empty => {
                this.set_timer(context);
                Poll::Pending
            }
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

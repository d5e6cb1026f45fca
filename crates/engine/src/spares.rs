//! Memory of events that everybody has done with, to be used again.
//!
//! Events are made by one thread and given up by others, which is what costs the C library's memory most.

use std::sync::Arc;

use saker_api::event::{Event, EventKind, Node, Timestamp};

/// Events that nobody else has.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Arc<Event>>);

impl Spares {
    /// Takes events; those that somebody has still are of no use, and found when their turn comes.
    pub fn add(&mut self, events: &mut Vec<Arc<Event>>) {
        if self.0.is_empty() {
            std::mem::swap(&mut self.0, events);
        } else {
            self.0.append(events);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// An event, in memory that is there if there is any.
    #[inline]
    pub fn event(&mut self, time: Timestamp, node: &Arc<Node>, kind: EventKind) -> Arc<Event> {
        if let Some(mut spare) = self.0.pop()
            && let Some(event) = Arc::get_mut(&mut spare)
        {
            event.time = time;
            event.kind = kind;
            // Mostly it is of the same agent.
            if !Arc::ptr_eq(&event.node, node) {
                event.node = Arc::clone(node);
            }
            return spare;
        }
        Arc::new(Event { time, node: Arc::clone(node), kind })
    }
}

#[cfg(test)]
mod tests {
    use saker_api::event::GapEvent;

    use super::*;

    #[test]
    fn memory_is_used_again_unless_somebody_has_it() {
        let gap = |lost| EventKind::Gap(GapEvent { lost, ..GapEvent::default() });
        let lost = |event: &Event| if let EventKind::Gap(gap) = &event.kind { gap.lost } else { 0 };
        let node = Arc::new(Node { name: "a".into(), ..Node::default() });
        let mut spares = Spares::default();
        let (held, free) =
            (spares.event(Timestamp(1), &node, gap(1)), spares.event(Timestamp(2), &node, gap(2)));
        let was = Arc::as_ptr(&free);
        let other = Arc::new(Node { name: "b".into(), ..Node::default() });
        spares.add(&mut vec![Arc::clone(&held)]);
        spares.add(&mut vec![free]);
        let again = spares.event(Timestamp(3), &other, gap(3));
        assert!(std::ptr::eq(was, Arc::as_ptr(&again)));
        assert_eq!((again.time, &*again.node.name, lost(&again)), (Timestamp(3), "b", 3));
        let new = spares.event(Timestamp(4), &node, gap(4));
        assert_eq!((held.time, lost(&held), lost(&new), spares.len()), (Timestamp(1), 1, 4, 0));
    }
}

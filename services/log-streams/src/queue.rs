//! Events that wait: bounded by their number and by their bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{LogStreamLimits, events::Event};

/// An event in a queue. Its bytes are free again once it is dropped.
pub(crate) struct Queued {
    pub event: Arc<Event>,
    _room: OwnedSemaphorePermit,
}

/// The end at which events come in.
pub(crate) struct Queue {
    sender: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// A queue with what it may hold, and its other end.
pub(crate) fn queue(limits: &LogStreamLimits) -> (Queue, mpsc::Receiver<Queued>) {
    let (sender, receiver) = mpsc::channel(limits.events_queued_max);
    let room = Arc::new(Semaphore::new(limits.events_queued_bytes_max.min(Semaphore::MAX_PERMITS)));
    (Queue { sender, room }, receiver)
}

impl Queue {
    /// Takes an event, unless too many or too large ones wait; whether it did.
    pub fn take(&self, event: &Arc<Event>) -> bool {
        let bytes = u32::try_from(event.bytes).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().try_acquire_many_owned(bytes) else { return false };
        self.sender.try_send(Queued { event: event.clone(), _room: room }).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_events_are_dropped_and_too_large_ones_too() {
        let event = Arc::new(Event::verification(1));
        let of = |events_queued_max, events_queued_bytes_max| {
            queue(&LogStreamLimits { events_queued_max, events_queued_bytes_max, ..LogStreamLimits::DEFAULT })
        };
        let (by_number, _receiver) = of(2, usize::MAX);
        assert_eq!([(); 3].map(|()| by_number.take(&event)), [true, true, false]);
        let (by_bytes, mut receiver) = of(100, 2 * event.bytes + 1);
        assert_eq!([(); 3].map(|()| by_bytes.take(&event)), [true, true, false]);
        let taken = receiver.try_recv().expect("one waits");
        assert!(!by_bytes.take(&event), "it is in memory while it is being sent");
        drop(taken);
        assert!(by_bytes.take(&event));
    }
}

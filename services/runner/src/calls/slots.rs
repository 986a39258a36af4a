//! The slots of one thread.

use std::sync::Arc;

use isolate::{EngineError, Image, Slot};

/// Identifies an image in this process; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ImageNumber(pub u64);

/// An image and its name.
#[derive(Clone, Debug)]
pub(crate) struct NumberedImage {
    pub number: ImageNumber,
    pub image: Arc<Image>,
}

/// Slots that are free; the least recently used one goes first. They stay on their thread.
///
/// A call takes a slot out and, when it ends, puts it back; it is reset after the caller has its answer, by
/// [`Slots::tidy`]. Nested calls take further slots of the same image.
pub(crate) struct Slots {
    /// Reset; the most recently used one is the last.
    clean: Vec<(ImageNumber, Slot)>,
    used: Vec<(ImageNumber, Slot)>,
    kept_max: usize,
}

impl Slots {
    /// At most `kept_max` slots are kept between calls.
    pub(crate) fn new(kept_max: usize) -> Slots {
        Slots { clean: Vec::new(), used: Vec::new(), kept_max }
    }

    pub(crate) fn take(&mut self, image: &NumberedImage) -> Result<Slot, EngineError> {
        let of_image = |(number, _): &(ImageNumber, Slot)| *number == image.number;
        if let Some(position) = self.clean.iter().rposition(of_image) {
            return Ok(self.clean.remove(position).1);
        }
        // The slot of a nested call that has ended can serve the next one.
        if let Some(position) = self.used.iter().position(of_image) {
            let (_, mut slot) = self.used.swap_remove(position);
            slot.reset()?;
            return Ok(slot);
        }
        Slot::new(&image.image)
    }

    pub(crate) fn put_back(&mut self, number: ImageNumber, slot: Slot) {
        self.used.push((number, slot));
    }

    /// Makes the used slots fit for the next calls, and lets go of those that are too many.
    pub(crate) fn tidy(&mut self) {
        // The slot that was put back last is the one of the outermost call, which every call needs.
        for (number, mut slot) in self.used.drain(..) {
            match slot.reset() {
                Ok(()) => self.clean.push((number, slot)),
                Err(error) => tracing::error!(%error, "an isolate could not be reset and is discarded"),
            }
        }
        let surplus = self.clean.len().saturating_sub(self.kept_max);
        self.clean.drain(..surplus);
    }
}

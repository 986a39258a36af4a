//! The slots of one thread.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use isolate::{EngineError, Image, Slot};

use super::ThreadPlace;
use crate::metrics::Metrics;

/// Identifies an image in this process; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ImageNumber(pub u64);

/// An image with its name. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct NumberedImage(Arc<Numbered>);

#[derive(Debug)]
pub(crate) struct Numbered {
    pub number: ImageNumber,
    pub image: Arc<Image>,
    /// Whether nobody will ask for it any more: then its slots are of no further use.
    is_replaced: AtomicBool,
    metrics: Arc<Metrics>,
}

impl NumberedImage {
    pub(crate) fn new(number: ImageNumber, image: Arc<Image>, metrics: Arc<Metrics>) -> NumberedImage {
        metrics.images.increment();
        NumberedImage(Arc::new(Numbered { number, image, is_replaced: AtomicBool::new(false), metrics }))
    }

    /// Whoever has slots of it lets go of them once they have run.
    pub(crate) fn replace(&self) {
        self.is_replaced.store(true, Ordering::Relaxed);
    }

    fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Relaxed)
    }
}

impl Deref for NumberedImage {
    type Target = Numbered;

    fn deref(&self) -> &Numbered {
        &self.0
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.metrics.images.decrement();
    }
}

/// Slots that are free; the least recently used one goes first. They stay on their thread.
///
/// A call takes a slot out and, when it ends, puts it back; it is reset after the caller has its answer, by
/// [`Slots::tidy`]. Nested calls take further slots of the same image.
pub(crate) struct Slots {
    /// Reset; the most recently used one is the last.
    clean: Vec<(NumberedImage, Slot)>,
    used: Vec<(NumberedImage, Slot)>,
    kept_max: usize,
    /// `None` before the thread runs.
    place: Option<ThreadPlace>,
}

impl Slots {
    /// At most `kept_max` slots are kept between calls.
    pub(crate) fn new(kept_max: usize) -> Slots {
        Slots { clean: Vec::new(), used: Vec::new(), kept_max, place: None }
    }

    /// The same on a thread.
    pub(super) fn on(self, place: ThreadPlace) -> Slots {
        Slots { place: Some(place), ..self }
    }

    /// The thread whose they are.
    pub(crate) fn place(&self) -> ThreadPlace {
        self.place.clone().expect("calls run on threads")
    }

    pub(crate) fn take(&mut self, image: &NumberedImage) -> Result<Slot, EngineError> {
        let of_image = |(of, _): &(NumberedImage, Slot)| of.number == image.number;
        if let Some(position) = self.clean.iter().rposition(of_image) {
            return Ok(self.clean.remove(position).1);
        }
        // The slot of a nested call that has ended can serve the next one.
        if let Some(position) = self.used.iter().position(of_image) {
            let (_, mut slot) = self.used.swap_remove(position);
            slot.reset()?;
            image.metrics.isolates_reset.increment();
            return Ok(slot);
        }
        image.metrics.isolates_started.increment();
        Slot::new(&image.image)
    }

    pub(crate) fn put_back(&mut self, image: &NumberedImage, slot: Slot) {
        self.used.push((image.clone(), slot));
    }

    /// Lets go of all of them.
    pub(crate) fn clear(&mut self) {
        self.clean.clear();
        self.used.clear();
    }

    /// Makes the used slots fit for the next calls, and lets go of those that are too many or whose image was replaced.
    pub(crate) fn tidy(&mut self) {
        self.used.retain(|(image, _)| !image.is_replaced());
        self.clean.retain(|(image, _)| !image.is_replaced());
        // The slot that was put back last is the one of the outermost call, which every call needs.
        for (image, mut slot) in self.used.drain(..) {
            match slot.reset() {
                Ok(()) => {
                    image.metrics.isolates_reset.increment();
                    self.clean.push((image, slot));
                }
                Err(error) => tracing::error!(%error, "an isolate could not be reset and is discarded"),
            }
        }
        let surplus = self.clean.len().saturating_sub(self.kept_max);
        self.clean.drain(..surplus);
    }
}

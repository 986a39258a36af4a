//! A slot: a place where calls of one image run, one after another.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::call::{Answer, Invocation, Observations, OperationId, Step, SyncHost};
use crate::error::EngineError;
use crate::image::Image;

/// A private mapping of an image with an engine instance in it. It stays on the thread that made it.
#[derive(Debug)]
pub struct Slot {
    _image: Arc<Image>,
    _thread_bound: PhantomData<*mut ()>,
}

impl Slot {
    /// Maps the image. Some 20 microseconds; the first call in a new slot is slower than later ones.
    pub fn new(image: &Arc<Image>) -> Result<Slot, EngineError> {
        Ok(Slot { _image: Arc::clone(image), _thread_bound: PhantomData })
    }

    /// Starts a call. Resets the slot first if that is due.
    pub fn start(
        &mut self,
        invocation: &Invocation<'_>,
        host: &mut dyn SyncHost,
    ) -> Result<Step, EngineError> {
        let _ = (invocation, host);
        Err(EngineError::WrongState("not built yet"))
    }

    /// Answers operations, in the given order, and runs the guest on.
    pub fn resume(
        &mut self,
        answers: Vec<(OperationId, Answer)>,
        host: &mut dyn SyncHost,
    ) -> Result<Step, EngineError> {
        let _ = (answers, host);
        Err(EngineError::WrongState("not built yet"))
    }

    /// What the call did so far; valid until the next reset.
    pub fn observations(&self) -> Observations {
        Observations::default()
    }

    /// Gives the slot the memory of its image back. A call that has not ended is dropped.
    pub fn reset(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

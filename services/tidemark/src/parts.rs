//! What has been started, so that it stops in order.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// What has been started, in that order.
#[derive(Default)]
pub struct Parts(Vec<Part>);

/// Each has so long to stop, however long the others took: the log, which stops last, to hand over its lead.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A service that runs.
struct Part {
    token: CancellationToken,
    /// Done when the service has ended, which it does once the token is cancelled.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// A place below what is started later: what is put there stops after that.
#[derive(Clone, Copy)]
pub struct Below(usize);

impl Parts {
    /// Adds a service.
    pub fn add(&mut self, token: CancellationToken, stopped: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Part { token, stopped: Box::pin(stopped) });
    }

    /// Starts a task that ends with the token that it is given.
    pub fn spawn<F>(&mut self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let top = self.below();
        self.spawn_at(top, task);
    }

    /// The same, to stop after what has been started above that place.
    pub fn spawn_at<F>(&mut self, Below(place): Below, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = CancellationToken::new();
        let task = tokio::spawn(task(token.clone()));
        let stopped = async move {
            if let Err(panic) = task.await {
                std::panic::resume_unwind(panic.into_panic());
            }
        };
        self.0.insert(place, Part { token, stopped: Box::pin(stopped) });
    }

    /// The place below what is started from now on.
    pub fn below(&self) -> Below {
        Below(self.0.len())
    }

    /// Adds what has been started elsewhere, above.
    pub fn append(&mut self, mut others: Parts) {
        self.0.append(&mut others.0);
    }

    /// Stops one after the other, the last one first. When `time` is over nobody is waited for much longer: says whether all
    /// have ended.
    pub async fn stop(self, time: Duration) -> bool {
        let mut overdue = pin!(tokio::time::sleep(time));
        let mut all_ended = true;
        for part in self.0.into_iter().rev() {
            part.token.cancel();
            let late = async {
                overdue.as_mut().await;
                tokio::time::sleep(AT_LEAST).await;
            };
            tokio::select! {
                () = part.stopped => {}
                () = late => all_ended = false,
            }
        }
        all_ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn what_was_started_last_stops_first_and_what_was_put_below_after_that() {
        let stopped = Arc::new(Mutex::new(Vec::new()));
        let part = |name: &'static str| {
            let stopped = stopped.clone();
            move |token: CancellationToken| async move {
                token.cancelled().await;
                stopped.lock().push(name);
            }
        };
        let mut parts = Parts::default();
        parts.spawn(part("first"));
        let below = parts.below();
        parts.spawn(part("second"));
        parts.spawn(part("third"));
        parts.spawn_at(below, part("below"));
        assert!(parts.stop(Duration::from_secs(60)).await);
        assert_eq!(*stopped.lock(), ["third", "second", "below", "first"]);
    }

    #[tokio::test]
    async fn who_does_not_end_keeps_nobody_from_stopping() {
        let mut parts = Parts::default();
        let stopped = Arc::new(Mutex::new(false));
        let shown = stopped.clone();
        parts.spawn(|token| async move {
            token.cancelled().await;
            // As the log does to hand over.
            tokio::time::sleep(AT_LEAST / 2).await;
            *shown.lock() = true;
        });
        parts.spawn(|_| std::future::pending());
        parts.spawn(|_| std::future::pending());
        assert!(!parts.stop(Duration::from_millis(20)).await);
        assert!(*stopped.lock(), "what could stop did");
    }
}

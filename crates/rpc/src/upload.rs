//! Bytes on their way to another process, which makes something of them.

use bytes::Bytes;
use contract::{Error, Result};
use futures::stream;
use proto::common::v1::Transfer;
use tokio::sync::{mpsc, oneshot};
use tonic::{Response, Status, Streaming};

use crate::{
    calls::within,
    errors,
    limits::RpcLimits,
    transfer::{Body, Content, Pumps, Received, Sent, answer_of, exchange},
};

/// One upload. Dropped before its end, it leaves nothing on the other side.
pub struct Upload {
    steps: mpsc::Sender<Step>,
    answered: oneshot::Receiver<Received>,
    limits: RpcLimits,
}

enum Step {
    Part(Bytes),
    End,
}

/// What is sent, until somebody has said that it is all.
fn body_of(begun: oneshot::Sender<()>, steps: mpsc::Receiver<Step>) -> Body {
    Box::pin(stream::unfold(Some((Some(begun), steps)), |state| async {
        let (begun, mut steps) = state?;
        // It is asked for what there is, so the other side has begun.
        if let Some(begun) = begun {
            let _ = begun.send(());
        }
        match steps.recv().await {
            Some(Step::Part(bytes)) => Some((Ok(bytes), Some((None, steps)))),
            Some(Step::End) => None,
            None => {
                let error = Error::bad_request("UploadCutOff", "an upload ended before its end");
                Some((Err(error), None))
            }
        }
    }))
}

impl Upload {
    /// Waits until the other side has begun, or says why it does not.
    pub async fn begin<F>(
        pumps: &Pumps,
        limits: &RpcLimits,
        open: impl FnOnce(Sent<Transfer>) -> F,
        head: Bytes,
    ) -> Result<Upload>
    where
        F: Future<Output = Result<Response<Streaming<Transfer>>, Status>>,
    {
        let (steps, sent) = mpsc::channel(1);
        let (begun, begins) = oneshot::channel();
        let content = Content { head, body: Some(body_of(begun, sent)) };
        let answered = exchange(pumps, limits, open, content).await?;
        let mut upload = Upload { steps, answered, limits: *limits };
        match within(limits, begins).await? {
            Ok(()) => Ok(upload),
            Err(_) => Err(upload.failed().await),
        }
    }

    pub async fn send(&mut self, bytes: Bytes) -> Result<()> {
        match self.steps.send(Step::Part(bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(errors::not_again(self.failed().await)),
        }
    }

    /// The head of the answer.
    pub async fn end(mut self) -> Result<Bytes> {
        if self.steps.send(Step::End).await.is_err() {
            return Err(errors::not_again(self.failed().await));
        }
        let limits = RpcLimits { call_ms_max: self.limits.upload_end_ms_max, ..self.limits };
        let answer = within(&limits, answer_of(self.answered)).await;
        Ok(answer.and_then(|answer| answer).map_err(errors::not_again)?.0)
    }

    /// Why nothing more is taken.
    async fn failed(&mut self) -> Error {
        match (&mut self.answered).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => errors::answer_not_understood("an upload was answered before its end"),
            Err(_) => errors::lost(),
        }
    }
}

//! One action, from its process to its outcome.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use contract::DeploymentRef;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    ActionHost, Answer, Body, CodeId, ConsoleLine, Failure, NodeLimits, NodeVersion, Operation,
    OperationError, Outcome, PackagesId,
    message::{CallNumber, FromNode, OperationFailed, OperationNumber, ToNode},
    process::{Message, Process, Sender},
};

/// An action to run.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose it is.
    pub deployment: DeploymentRef,
    /// The component's path; empty for the app itself.
    pub component: String,
    /// What its modules are.
    pub code: CodeId,
    /// What they import, as [`Executor::install`](crate::Executor::install) has named it.
    pub packages: Option<PackagesId>,
    /// In what they run.
    pub version: NodeVersion,
    /// What `process.env` holds.
    pub environment: Arc<BTreeMap<String, String>>,
    /// With extension: `images.js`.
    pub module: String,
    /// The export, `default` for a default export.
    pub name: String,
    /// JSON text of an array: the arguments after the context.
    pub arguments: Arc<str>,
    /// Given to the action, which echoes it in what it asks for.
    pub request_id: String,
    /// Who waits for it.
    pub standing: Standing,
}

/// Who waits for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A client, or a schedule: it can wait for a place.
    Outermost,
    /// Another action, which may have a place itself.
    Called,
}

/// How far a call came in a process.
pub(crate) enum Talk {
    /// It had no effect: it can be run in another process.
    NotBegun,
    Ended(Outcome),
}

/// A call under way.
struct Talking<'c> {
    number: CallNumber,
    call: &'c Call,
    host: Arc<dyn ActionHost>,
    sender: Sender,
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Where the bodies of operations go on.
    bodies: HashMap<OperationNumber, mpsc::Sender<Bytes>>,
    outcome: Option<Outcome>,
}

/// Runs a call in a process. If that takes too long, it is for the caller to drop this and the process.
pub(crate) async fn talk(
    process: &mut Process,
    call: &Call,
    host: &Arc<dyn ActionHost>,
    limits: &NodeLimits,
    begin_within: Duration,
) -> Talk {
    let number = process.next_call();
    let invoke = ToNode::Invoke {
        call: number,
        module: &call.module,
        name: &call.name,
        request_id: &call.request_id,
        result_bytes_max: limits.result_bytes_max,
    };
    let begun = async {
        process.sender().send(&invoke, call.arguments.as_bytes()).await;
        loop {
            match process.receive().await {
                Some(Message::Frame(FromNode::Began { call }, _)) if call == number => return true,
                // Of the call before, or of nobody.
                Some(_) => {}
                None => return false,
            }
        }
    };
    if !timeout(begin_within, begun).await.unwrap_or(false) {
        return Talk::NotBegun;
    }
    let mut talking = Talking {
        number,
        call,
        host: Arc::clone(host),
        sender: process.sender().clone(),
        under_way: FuturesUnordered::new(),
        bodies: HashMap::new(),
        outcome: None,
    };
    let mut lives = true;
    loop {
        if let Some(outcome) = talking.outcome.take_if(|_| talking.under_way.is_empty()) {
            return Talk::Ended(outcome);
        }
        tokio::select! {
            biased;
            message = process.receive(), if lives => match message {
                Some(message) => {
                    talking.take(message, limits);
                    // The program in the process refuses what is too many; some may just have been answered.
                    if talking.under_way.len() > 2 * limits.operations_max {
                        process.state.fail(Failure::Broken { reason: "too many operations".to_owned() });
                    }
                }
                None => {
                    lives = false;
                    talking.bodies.clear();
                    let failure = process.failure(limits).await;
                    talking.outcome.get_or_insert(Err(failure));
                }
            },
            Some(()) = talking.under_way.next(), if !talking.under_way.is_empty() => {}
        }
    }
}

/// What the program makes of a line at most, which cuts it: three bytes for each of JavaScript's characters, and one for each of
/// its parts.
fn line_bytes_max(limits: &NodeLimits) -> usize {
    4 * limits.log_line_chars_max + 1
}

impl Talking<'_> {
    fn take(&mut self, message: Message, limits: &NodeLimits) {
        let frame = match message {
            Message::Output(level, line, is_truncated) => {
                self.host.log(ConsoleLine { level: level.into(), messages: vec![line], is_truncated });
                return;
            }
            Message::Frame(frame, body) => (frame, body),
        };
        let outcome = match frame {
            (FromNode::Log { call, level, messages, is_truncated }, _) if call == self.number => {
                let bytes: usize = messages.iter().map(|message| message.len() + 1).sum();
                if bytes <= line_bytes_max(limits) {
                    self.host.log(ConsoleLine { level: level.into(), messages, is_truncated });
                    return;
                }
                Err(Failure::Broken { reason: format!("a line of {bytes} bytes") })
            }
            (FromNode::Operation { call, id, name, arguments, has_body }, _) if call == self.number => {
                self.begin(id, name, arguments, has_body);
                return;
            }
            (FromNode::Chunk { call, id, is_last }, body) if call == self.number => {
                if let Some(sender) = self.bodies.get(&id) {
                    // There is room for what was asked for; who sends more, or when nobody reads, loses it.
                    let _ = sender.try_send(body);
                    if is_last {
                        let _ = sender.try_send(Bytes::new());
                        self.bodies.remove(&id);
                    }
                }
                return;
            }
            (FromNode::Returned { call }, body) if call == self.number => {
                match String::from_utf8(body.into()) {
                    Ok(text) => Ok(text),
                    Err(error) => Err(Failure::Broken { reason: error.to_string() }),
                }
            }
            (FromNode::Threw { call, error }, _) if call == self.number => {
                Err(Failure::Threw(Box::new(error)))
            }
            (FromNode::Missing { call }, _) if call == self.number => {
                let (module, name) = (self.call.module.clone(), self.call.name.clone());
                Err(Failure::Missing { module, name })
            }
            (FromNode::TooLarge { call, bytes }, _) if call == self.number => {
                Err(Failure::ResultTooLarge { bytes, bytes_max: limits.result_bytes_max })
            }
            (FromNode::Uncaught { error }, _) => Err(Failure::ThrewElsewhere(Box::new(error))),
            // Of another call, which can't have any effect any more.
            _ => return,
        };
        // The first one counts: what comes after a result is not waited for.
        self.outcome.get_or_insert(outcome);
    }

    fn begin(&mut self, id: OperationNumber, name: String, arguments: String, has_body: bool) {
        let (sender, host) = (self.sender.clone(), Arc::clone(&self.host));
        if self.outcome.is_some() {
            let message = format!("ActionEnded: `{name}` was asked for after the action had ended.");
            let refused = OperationError { message, data: None };
            self.under_way.push(Box::pin(async move { reply(&sender, id, Err(refused)).await }));
            return;
        }
        let body = has_body.then(|| {
            // The end, and an empty part before it, come unasked.
            let (parts, receiver) = mpsc::channel(3);
            self.bodies.insert(id, parts);
            incoming_body(sender.clone(), id, receiver)
        });
        self.under_way.push(Box::pin(async move {
            let answer = host.answer(Operation { name, arguments, body }).await;
            reply(&sender, id, answer).await;
        }));
    }
}

/// What a process sends part by part: each is asked for when the one before was taken. An empty one is the end.
fn incoming_body(sender: Sender, id: OperationNumber, receiver: mpsc::Receiver<Bytes>) -> Body {
    let parts = futures::stream::unfold(Some((sender, receiver)), move |reading| async move {
        let (sender, mut receiver) = reading?;
        sender.send(&ToNode::More { id }, &[]).await;
        match receiver.recv().await {
            Some(part) if part.is_empty() => None,
            Some(part) => Some((Ok(part), Some((sender, receiver)))),
            None => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
        }
    });
    parts.boxed()
}

async fn reply(sender: &Sender, id: OperationNumber, answer: Result<Answer, OperationError>) {
    match answer {
        Err(OperationError { message, data }) => {
            let error = OperationFailed { message: &message, data: data.as_deref() };
            sender.send(&ToNode::Answer { id, error: Some(error), has_body: false }, &[]).await;
        }
        Ok(Answer { json, body }) => {
            let answer = ToNode::Answer { id, error: None, has_body: body.is_some() };
            sender.send(&answer, json.as_bytes()).await;
            let Some(mut body) = body else { return };
            while let Some(part) = body.next().await {
                match part {
                    Ok(part) => sender.send(&ToNode::Chunk { id, is_last: false, error: None }, &part).await,
                    Err(error) => {
                        let message = format!("The file could not be read: {error}");
                        let error = OperationFailed { message: &message, data: None };
                        sender.send(&ToNode::Chunk { id, is_last: true, error: Some(error) }, &[]).await;
                        return;
                    }
                }
            }
            sender.send(&ToNode::Chunk { id, is_last: true, error: None }, &[]).await;
        }
    }
}

//! Live queries over gRPC: a server over any [`Fanout`], and a client which is one.
//!
//! A session is a pair of streams. The client asks for a round when there is a place for it, and only then is one sent, so that no
//! round waits unread in a connection. Whoever goes ends the session on the other side: there as if its commands had ended, here with
//! an error after which it can begin anew on any instance.

use std::{pin::Pin, sync::Arc};

use async_trait::async_trait;
use contract::{
    Fanout, FanoutSession, QueryChange, QueryModification, Result, SessionCommand, SessionRound, SessionStart,
};
use futures::{
    Stream, StreamExt as _,
    future::{pending, ready},
    stream,
};
use prost::Message;
use proto::{
    common::v1::{Nothing, Piece},
    fanout::v1::{
        self as wire, fanout_client::FanoutClient, fanout_server, query_change::Change,
        query_modification::Modification, session_down::Down, session_up::Up,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    callers,
    calls::within,
    convert::{self, Decoded, Malformed, decoded, present},
    errors,
    limits::RpcLimits,
    pieces::{Arriving, pieces},
    transfer::{Pumps, Sent, sent_by},
    version::{self, Checked, Line},
};

/// Messages that come one after the other, in pieces.
struct Incoming {
    pieces: Streaming<Piece>,
    arriving: Arriving,
}

impl Incoming {
    fn new(pieces: Streaming<Piece>, limits: &RpcLimits) -> Incoming {
        Incoming { pieces, arriving: Arriving::new(limits) }
    }

    /// `None` at the end.
    async fn next<M: Message + Default>(&mut self) -> Option<Result<M>> {
        loop {
            let piece = match self.pieces.next().await? {
                Ok(piece) => piece,
                Err(status) => return Some(Err(errors::of_begun(status))),
            };
            return Some(match self.arriving.add(piece) {
                Ok(None) => continue,
                Ok(Some((_, Ok(content)))) => decoded(content).map_err(Malformed::answer),
                Ok(Some((_, Err(too_large)))) => Err(too_large.into()),
                Err(error) => Err(error),
            });
        }
    }
}

/// Each message in pieces of its own.
fn in_pieces<M: Message>(
    messages: impl Stream<Item = M> + Send + 'static,
    limits: RpcLimits,
) -> impl Stream<Item = Piece> + Send + 'static {
    messages.enumerate().flat_map(move |(number, message)| {
        let content = message.encode_to_vec();
        stream::iter(pieces(number as u64, content.into(), &limits))
    })
}

/// The gRPC service of live queries in this process.
pub struct FanoutServer {
    fanout: Arc<dyn Fanout>,
    limits: RpcLimits,
}

impl FanoutServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        fanout: Arc<dyn Fanout>,
        limits: RpcLimits,
    ) -> Checked<fanout_server::FanoutServer<FanoutServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = fanout_server::FanoutServer::new(FanoutServer { fanout, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }
}

#[tonic::async_trait]
impl fanout_server::Fanout for FanoutServer {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<Piece, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<Piece>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let limits = self.limits;
        let mut incoming = Incoming::new(request.into_inner(), &limits);
        let first = within(&limits, incoming.next::<wire::SessionUp>()).await;
        let first = match first.map_err(errors::to_status)? {
            Some(first) => first.map_err(errors::to_status)?,
            None => wire::SessionUp::default(),
        };
        let Some(Up::Start(start)) = first.up else {
            let malformed = Malformed::new("a session does not begin with its start");
            return Err(errors::to_status(malformed.request()));
        };
        let start = session_start(start).map_err(|malformed| errors::to_status(malformed.request()))?;
        let session = self.fanout.open(start).await.map_err(errors::to_status)?;
        let downs = sent_by(move |out| serve(session, incoming, out));
        Ok(Response::new(Box::pin(in_pieces(downs, limits).map(Ok))))
    }
}

/// Serves a session until it ends; dropped, the session ends.
async fn serve(session: FanoutSession, mut incoming: Incoming, out: mpsc::Sender<wire::SessionDown>) {
    let FanoutSession { commands, mut rounds } = session;
    let (more, mut wanted) = mpsc::channel(1);
    // Ends with what is wrong with what the client sends.
    let taking = async move {
        let commands = commands;
        while let Some(up) = incoming.next::<wire::SessionUp>().await {
            let up = match up {
                Ok(up) => present(up.up, "the command").map_err(Malformed::request),
                Err(error) => Err(error),
            };
            let command = match up {
                Ok(Up::More(_)) => {
                    let _ = more.try_send(());
                    continue;
                }
                Ok(Up::End(_)) => break,
                Ok(up) => command(up).map_err(Malformed::request),
                Err(error) => Err(error),
            };
            match command {
                Ok(command) => {
                    // Where the session has ended, its last round says why.
                    if commands.send(Box::new(command)).await.is_err() {
                        break;
                    }
                }
                Err(error) => return error,
            }
        }
        drop(commands);
        // Rounds that are still to come are not asked for.
        drop(more);
        pending().await
    };
    let giving = async {
        while let Some(round) = rounds.recv().await {
            let down = match *round {
                Ok(round) => match wanted.recv().await {
                    Some(()) => Down::Round(round_to_wire(round)),
                    // The client ends it.
                    None => continue,
                },
                Err(error) => return Down::Failed(errors::to_wire(error)),
            };
            if out.send(wire::SessionDown { down: Some(down) }).await.is_err() {
                break;
            }
        }
        Down::End(Nothing {})
    };
    let last = tokio::select! {
        last = giving => last,
        error = taking => Down::Failed(errors::to_wire(error)),
    };
    let _ = out.send(wire::SessionDown { down: Some(last) }).await;
}

/// Opens sessions over a channel. They end with it.
pub struct GrpcFanout {
    client: FanoutClient<Line>,
    pumps: Pumps,
    limits: RpcLimits,
}

impl GrpcFanout {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcFanout {
        let client = FanoutClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        GrpcFanout { client, pumps: Pumps::new(), limits }
    }
}

#[async_trait]
impl Fanout for GrpcFanout {
    async fn open(&self, start: SessionStart) -> Result<FanoutSession> {
        let limits = self.limits;
        let (commands, taken) = mpsc::channel::<Box<SessionCommand>>(limits.session_commands_max);
        let (give, rounds) = mpsc::channel(1);
        let (more, mores) = mpsc::channel(1);
        let commands_up = ReceiverStream::new(taken)
            .map(|command| command_to_wire(*command))
            .chain(stream::once(ready(Up::End(Nothing {}))));
        let mores_up = ReceiverStream::new(mores).map(|()| Up::More(Nothing {}));
        let ups = stream::once(ready(Up::Start(session_start_to_wire(start))))
            .chain(stream::select(mores_up, commands_up))
            .map(|up| wire::SessionUp { up: Some(up) });
        let (sent, guard) = Sent::until_dropped(in_pieces(ups, limits));
        let mut client = self.client.clone();
        let response = within(&limits, client.session(sent)).await?.map_err(errors::of_begun)?;
        let incoming = Incoming::new(response.into_inner(), &limits);
        self.pumps.spawn(async move {
            let _ends_the_commands = guard;
            take_rounds(incoming, more, give).await;
        });
        Ok(FanoutSession { commands, rounds })
    }
}

/// Asks for a round whenever there is a place for it, until the session ends or nobody takes its rounds.
async fn take_rounds(
    mut incoming: Incoming,
    more: mpsc::Sender<()>,
    give: mpsc::Sender<Box<Result<SessionRound>>>,
) {
    while let Ok(place) = give.reserve().await {
        // Where nobody hears it any more the session has ended, and why is the last thing that was sent.
        let _ = more.send(()).await;
        let down = tokio::select! {
            down = incoming.next::<wire::SessionDown>() => down,
            () = give.closed() => return,
        };
        let round = match down {
            Some(Ok(wire::SessionDown { down: Some(Down::End(_)) })) => return,
            Some(Ok(wire::SessionDown { down: Some(Down::Failed(error)) })) => Err(errors::from_wire(error)),
            Some(Ok(wire::SessionDown { down: Some(Down::Round(next)) })) => {
                round(next).map_err(Malformed::answer)
            }
            Some(Ok(wire::SessionDown { down: None })) => {
                Err(Malformed::new("a step of a session is not known").answer())
            }
            Some(Err(error)) => Err(error),
            None => Err(errors::lost()),
        };
        let ends = round.is_err();
        place.send(Box::new(round));
        if ends {
            return;
        }
    }
}

fn session_start_to_wire(start: SessionStart) -> wire::SessionStart {
    wire::SessionStart {
        deployment: Some(convert::deployment_to_wire(start.deployment)),
        not_before: start.not_before.as_nanoseconds(),
        identity: Some(callers::identity_to_wire(start.identity)),
    }
}

fn session_start(start: wire::SessionStart) -> Decoded<SessionStart> {
    Ok(SessionStart {
        deployment: convert::deployment(start.deployment)?,
        not_before: convert::timestamp(start.not_before)?,
        identity: callers::identity(start.identity)?,
    })
}

fn modification_to_wire(modification: QueryModification) -> wire::QueryModification {
    let modification = match modification {
        QueryModification::Add { query, component, path, arguments, journal } => {
            Modification::Add(wire::AddQuery {
                query,
                component,
                path,
                arguments: arguments.to_string(),
                journal: journal.map(|journal| journal.to_string()),
            })
        }
        QueryModification::Remove { query } => Modification::Remove(query),
    };
    wire::QueryModification { modification: Some(modification) }
}

fn modification(modification: wire::QueryModification) -> Decoded<QueryModification> {
    Ok(match present(modification.modification, "the modification")? {
        Modification::Add(wire::AddQuery { query, component, path, arguments, journal }) => {
            QueryModification::Add {
                query,
                component,
                path,
                arguments: arguments.into(),
                journal: journal.map(Into::into),
            }
        }
        Modification::Remove(query) => QueryModification::Remove { query },
    })
}

fn command_to_wire(command: SessionCommand) -> Up {
    match command {
        SessionCommand::ModifyQueries { version, modifications } => Up::ModifyQueries(wire::ModifyQueries {
            version,
            modifications: modifications.into_iter().map(modification_to_wire).collect(),
        }),
        SessionCommand::SetIdentity { version, identity } => {
            let identity = Some(callers::identity_to_wire(identity));
            Up::SetIdentity(wire::SetIdentity { version, identity })
        }
        SessionCommand::Wrote { timestamp } => Up::Wrote(timestamp.as_nanoseconds()),
        SessionCommand::Touch => Up::Touch(Nothing {}),
    }
}

fn command(up: Up) -> Decoded<SessionCommand> {
    Ok(match up {
        Up::ModifyQueries(wire::ModifyQueries { version, modifications }) => {
            let modifications = modifications.into_iter().map(modification).collect::<Decoded<_>>()?;
            SessionCommand::ModifyQueries { version, modifications }
        }
        Up::SetIdentity(wire::SetIdentity { version, identity }) => {
            SessionCommand::SetIdentity { version, identity: callers::identity(identity)? }
        }
        Up::Wrote(nanoseconds) => SessionCommand::Wrote { timestamp: convert::timestamp(nanoseconds)? },
        Up::Touch(_) => SessionCommand::Touch,
        Up::Start(_) | Up::More(_) | Up::End(_) => return Err(Malformed::new("a command is none")),
    })
}

fn change_to_wire(change: QueryChange) -> wire::QueryChange {
    let (query, change, log_lines, journal) = match change {
        QueryChange::Updated { query, value, log_lines, journal } => {
            (query, Change::Value(value.to_string()), log_lines.to_vec(), journal)
        }
        QueryChange::Failed { query, error, log_lines, journal } => {
            (query, Change::Failed(callers::function_error_to_wire(error)), log_lines.to_vec(), journal)
        }
        QueryChange::Removed { query } => (query, Change::Removed(Nothing {}), Vec::new(), None),
    };
    let journal = journal.map(|journal| journal.to_string());
    wire::QueryChange { query, change: Some(change), log_lines, journal }
}

fn change(change: wire::QueryChange) -> Decoded<QueryChange> {
    let wire::QueryChange { query, change, log_lines, journal } = change;
    let (log_lines, journal): (Arc<[String]>, Option<Arc<str>>) = (log_lines.into(), journal.map(Into::into));
    Ok(match present(change, "the change of a query")? {
        Change::Value(value) => QueryChange::Updated { query, value: value.into(), log_lines, journal },
        Change::Failed(error) => {
            QueryChange::Failed { query, error: callers::function_error(error), log_lines, journal }
        }
        Change::Removed(_) => QueryChange::Removed { query },
    })
}

fn round_to_wire(round: SessionRound) -> wire::SessionRound {
    wire::SessionRound {
        timestamp: round.timestamp.as_nanoseconds(),
        query_set_version: round.query_set_version,
        identity_version: round.identity_version,
        changes: round.changes.into_iter().map(change_to_wire).collect(),
    }
}

fn round(round: wire::SessionRound) -> Decoded<SessionRound> {
    Ok(SessionRound {
        timestamp: convert::timestamp(round.timestamp)?,
        query_set_version: round.query_set_version,
        identity_version: round.identity_version,
        changes: round.changes.into_iter().map(change).collect::<Decoded<_>>()?,
    })
}

//! Between the contract's types and the messages.

use std::sync::Arc;

use crate::limits::RpcLimits;
use bytes::Bytes;
use contract::{
    BackfillStep, Commit, CommitId, CommitNotice, CommitOutcome, Conflict, DeploymentId, DeploymentRef,
    Epoch, Error, GroupId, HoldId, IndexId, IndexUpdate, Interval, LeaderHint, Lookup, NodeId, Order,
    Position, Read, ReadAt, ReadResult, ReadSet, Result, Row, StreamEvent, TextCondition, TextFilter,
    Timestamp, TouchedKey, Version, Write,
};
use prost::Message;
use proto::{common::v1 as common, txlog::v1 as wire};

use crate::errors;

/// What is wrong with a message. What follows depends on who reads it: a request is refused before it has any effect,
/// while behind an answer that can't be read the effect may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

pub type Decoded<T> = Result<T, Malformed>;

impl Malformed {
    pub fn new(what: impl Into<String>) -> Malformed {
        Malformed(what.into())
    }

    /// For whoever reads a request.
    pub fn request(self) -> Error {
        Error::bad_request("MalformedMessage", format!("a message is malformed: {}", self.0))
    }

    /// For whoever reads an answer.
    pub fn answer(self) -> Error {
        errors::answer_not_understood(&self.0)
    }
}

/// A message's bytes.
pub fn decoded<M: Message + Default>(content: Bytes) -> Decoded<M> {
    M::decode(content).map_err(|error| Malformed::new(error.to_string()))
}

pub fn present<T>(value: Option<T>, what: &str) -> Decoded<T> {
    value.ok_or_else(|| Malformed::new(format!("{what} is missing")))
}

pub fn timestamp(nanoseconds: u64) -> Decoded<Timestamp> {
    Timestamp::new(nanoseconds).ok_or_else(|| Malformed::new("a timestamp is out of range"))
}

pub fn sixteen(bytes: &[u8], what: &str) -> Decoded<[u8; 16]> {
    bytes.try_into().map_err(|_| Malformed::new(format!("{what} does not have 16 bytes")))
}

pub fn index_id(bytes: &[u8]) -> Decoded<IndexId> {
    Ok(IndexId(sixteen(bytes, "an index id")?))
}

pub fn index_bytes(index: IndexId) -> Bytes {
    Bytes::copy_from_slice(&index.0)
}

pub fn commit_id(bytes: &[u8]) -> Decoded<CommitId> {
    Ok(CommitId(sixteen(bytes, "a commit id")?))
}

pub fn hold_id(bytes: &[u8]) -> Decoded<HoldId> {
    Ok(HoldId(sixteen(bytes, "the id of a hold")?))
}

pub fn deployment_to_wire(at: DeploymentRef) -> common::DeploymentRef {
    common::DeploymentRef { group: at.group.0, deployment: at.deployment.0 }
}

pub fn deployment(at: Option<common::DeploymentRef>) -> Decoded<DeploymentRef> {
    let at = present(at, "the deployment")?;
    Ok(DeploymentRef { group: GroupId(at.group), deployment: DeploymentId(at.deployment) })
}

pub fn epoch_to_wire(epoch: Epoch) -> common::Epoch {
    common::Epoch { term: epoch.term, reset: epoch.reset }
}

pub fn epoch(epoch: common::Epoch) -> Epoch {
    Epoch { term: epoch.term, reset: epoch.reset }
}

fn leader_to_wire(leader: &LeaderHint) -> common::LeaderHint {
    common::LeaderHint { node: leader.node.0, address: leader.address.clone(), zone: leader.zone.clone() }
}

fn leader(leader: common::LeaderHint) -> Arc<LeaderHint> {
    Arc::new(LeaderHint { node: NodeId(leader.node), address: leader.address, zone: leader.zone })
}

pub fn position_to_wire(position: Position) -> common::Position {
    common::Position {
        epoch: Some(epoch_to_wire(position.epoch)),
        ready: position.ready,
        published: position.published.as_nanoseconds(),
        leader: position.leader.as_deref().map(leader_to_wire),
    }
}

pub fn position(position: common::Position) -> Decoded<Position> {
    Ok(Position {
        epoch: epoch(present(position.epoch, "the epoch")?),
        ready: position.ready,
        published: timestamp(position.published)?,
        leader: position.leader.map(leader),
    })
}

pub fn read_at_to_wire(at: ReadAt) -> wire::ReadAt {
    wire::ReadAt { timestamp: at.timestamp.as_nanoseconds(), epoch: at.epoch.map(epoch_to_wire) }
}

pub fn read_at(at: Option<wire::ReadAt>) -> Decoded<ReadAt> {
    let at = present(at, "the moment")?;
    Ok(ReadAt { timestamp: timestamp(at.timestamp)?, epoch: at.epoch.map(epoch) })
}

fn interval_to_wire(interval: &Interval) -> wire::Interval {
    wire::Interval { start: interval.start.clone(), end: interval.end.clone() }
}

fn interval(interval: wire::Interval) -> Interval {
    Interval { start: interval.start, end: interval.end }
}

/// The interval with its bounds moved outward to at most `bytes_max`: what a transaction read, or a little more.
fn cut_outward(interval: &Interval, bytes_max: usize) -> Interval {
    let cut = |bound: &Bytes| bound.slice(..bound.len().min(bytes_max));
    let end = interval.end.as_ref().and_then(|end| {
        if end.len() <= bytes_max {
            return Some(end.clone());
        }
        // Behind everything that begins like it.
        let mut behind = cut(end).to_vec();
        while let Some(last) = behind.pop() {
            if last < u8::MAX {
                behind.push(last + 1);
                return Some(behind.into());
            }
        }
        None
    });
    Interval { start: cut(&interval.start), end }
}

pub fn read_set_to_wire(read_set: &ReadSet, limits: &RpcLimits) -> Vec<wire::IndexIntervals> {
    let bytes_max = limits.interval_key_bytes_max;
    read_set
        .indexes()
        .map(|(index, intervals)| wire::IndexIntervals {
            index: index_bytes(index),
            intervals: intervals
                .iter()
                .map(|interval| interval_to_wire(&cut_outward(interval, bytes_max)))
                .collect(),
            searches: Vec::new(),
        })
        .chain(read_set.searches().map(|(index, condition)| wire::IndexIntervals {
            index: index_bytes(index),
            intervals: Vec::new(),
            searches: vec![condition_to_wire(condition)],
        }))
        .collect()
}

pub fn condition_to_wire(condition: &TextCondition) -> common::TextCondition {
    common::TextCondition {
        terms: condition.terms.clone(),
        prefix: condition.prefix.clone(),
        filters: condition.filters.iter().map(filter_to_wire).collect(),
    }
}

pub fn condition(condition: common::TextCondition) -> Decoded<TextCondition> {
    Ok(TextCondition {
        terms: condition.terms,
        prefix: condition.prefix,
        filters: condition.filters.into_iter().map(filter).collect::<Decoded<_>>()?,
    })
}

pub fn filter_to_wire(filter: &TextFilter) -> common::IndexFilter {
    common::IndexFilter { field: filter.field.into(), value: Bytes::copy_from_slice(&filter.value) }
}

pub fn filter(filter: common::IndexFilter) -> Decoded<TextFilter> {
    let field = u8::try_from(filter.field).map_err(|_| Malformed::new("a filter's field is out of range"))?;
    Ok(TextFilter { field, value: sixteen(&filter.value, "a filter's value")? })
}

pub fn read_set(indexes: Vec<wire::IndexIntervals>) -> Decoded<ReadSet> {
    let mut read_set = ReadSet::new();
    for index in indexes {
        let id = index_id(&index.index)?;
        for read in index.intervals {
            read_set.add(id, interval(read));
        }
        for search in index.searches {
            read_set.add_search(id, condition(search)?);
        }
    }
    Ok(read_set)
}

fn write_to_wire(write: &Write) -> wire::Write {
    wire::Write {
        primary: index_bytes(write.primary),
        key: write.key.clone(),
        document: write.document.clone(),
        index_updates: write
            .index_updates
            .iter()
            .map(|update| wire::IndexUpdate {
                index: index_bytes(update.index),
                old: update.old.clone(),
                new: update.new.clone(),
            })
            .collect(),
    }
}

fn write(write: wire::Write) -> Decoded<Write> {
    let update = |update: wire::IndexUpdate| {
        Ok(IndexUpdate { index: index_id(&update.index)?, old: update.old, new: update.new })
    };
    Ok(Write {
        primary: index_id(&write.primary)?,
        key: write.key,
        document: write.document,
        index_updates: write.index_updates.into_iter().map(update).collect::<Decoded<_>>()?,
    })
}

pub fn commit_to_wire(commit: &Commit, limits: &RpcLimits) -> wire::CommitRequest {
    wire::CommitRequest {
        deployment: Some(deployment_to_wire(commit.deployment)),
        epoch: Some(epoch_to_wire(commit.epoch)),
        id: Bytes::copy_from_slice(&commit.id.0),
        begin: Some(read_at_to_wire(commit.begin)),
        read_set: read_set_to_wire(&commit.read_set, limits),
        writes: Some(wire::CommitWrites { writes: commit.writes.iter().map(write_to_wire).collect() }),
        run: commit.run,
    }
}

pub fn commit(request: wire::CommitRequest) -> Decoded<Commit> {
    Ok(Commit {
        deployment: deployment(request.deployment)?,
        epoch: epoch(present(request.epoch, "the epoch")?),
        id: commit_id(&request.id)?,
        run: request.run,
        begin: read_at(request.begin)?,
        read_set: read_set(request.read_set)?.into(),
        writes: request.writes.unwrap_or_default().writes.into_iter().map(write).collect::<Decoded<_>>()?,
    })
}

fn not_leader_to_wire(leader: Option<Arc<LeaderHint>>) -> wire::NotLeader {
    wire::NotLeader { leader: leader.as_deref().map(leader_to_wire) }
}

pub fn outcome_to_wire(outcome: Result<CommitOutcome>) -> wire::CommitReply {
    use wire::commit_reply::Outcome;
    let outcome = match outcome {
        Ok(CommitOutcome::Committed { timestamp }) => Outcome::Committed(timestamp.as_nanoseconds()),
        Ok(CommitOutcome::OtherRunCommitted { timestamp }) => {
            Outcome::OtherRunCommitted(timestamp.as_nanoseconds())
        }
        Ok(CommitOutcome::Conflict(conflict)) => Outcome::Conflict(wire::Conflict {
            write: conflict.write.map(|(index, key)| wire::TouchedKey { index: index_bytes(index), key }),
            run_again_at: Some(read_at_to_wire(conflict.run_again_at)),
        }),
        Ok(CommitOutcome::NotLeader(leader)) => Outcome::NotLeader(not_leader_to_wire(leader)),
        Ok(CommitOutcome::NotCommitted) => Outcome::NotCommitted(wire::Nothing {}),
        Ok(CommitOutcome::Unknown) => Outcome::Unknown(wire::Nothing {}),
        Err(error) => Outcome::Error(errors::to_wire(error)),
    };
    wire::CommitReply { outcome: Some(outcome) }
}

/// The outcome that is in an answer, or the error.
pub fn outcome(reply: wire::CommitReply) -> Decoded<Result<CommitOutcome>> {
    use wire::commit_reply::Outcome;
    Ok(Ok(match present(reply.outcome, "the outcome")? {
        Outcome::Committed(nanoseconds) => CommitOutcome::Committed { timestamp: timestamp(nanoseconds)? },
        Outcome::OtherRunCommitted(nanoseconds) => {
            CommitOutcome::OtherRunCommitted { timestamp: timestamp(nanoseconds)? }
        }
        Outcome::Conflict(conflict) => CommitOutcome::Conflict(Conflict {
            write: conflict
                .write
                .map(|write| Ok::<_, Malformed>((index_id(&write.index)?, write.key)))
                .transpose()?,
            run_again_at: read_at(conflict.run_again_at)?,
        }),
        Outcome::NotLeader(not) => CommitOutcome::NotLeader(not.leader.map(leader)),
        Outcome::NotCommitted(_) => CommitOutcome::NotCommitted,
        Outcome::Unknown(_) => CommitOutcome::Unknown,
        Outcome::Error(error) => return Ok(Err(errors::from_wire(error))),
    }))
}

pub fn read_to_wire(read: &Read) -> wire::Read {
    use wire::read::Kind;
    wire::Read {
        kind: Some(match read {
            Read::Point { index, key } => {
                Kind::Point(wire::PointRead { index: index_bytes(*index), key: key.clone() })
            }
            Read::Range { index, interval, order, rows_max, bytes_max } => Kind::Range(wire::RangeRead {
                index: index_bytes(*index),
                interval: Some(interval_to_wire(interval)),
                descending: *order == Order::Descending,
                rows_max: *rows_max as u64,
                bytes_max: *bytes_max as u64,
            }),
        }),
    }
}

fn read(read: wire::Read) -> Decoded<Read> {
    use wire::read::Kind;
    let most = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(match present(read.kind, "the kind of a read")? {
        Kind::Point(point) => Read::Point { index: index_id(&point.index)?, key: point.key },
        Kind::Range(range) => Read::Range {
            index: index_id(&range.index)?,
            interval: interval(present(range.interval, "the interval")?),
            order: if range.descending { Order::Descending } else { Order::Ascending },
            rows_max: most(range.rows_max),
            bytes_max: most(range.bytes_max),
        },
    })
}

pub fn read_request(request: wire::ReadRequest) -> Decoded<(DeploymentRef, ReadAt, Vec<Read>)> {
    let reads = request.reads.into_iter().map(read).collect::<Decoded<_>>()?;
    Ok((deployment(request.deployment)?, read_at(request.at)?, reads))
}

fn version_to_wire(version: Version) -> wire::Version {
    wire::Version { timestamp: version.timestamp.as_nanoseconds(), document: version.document }
}

fn version(version: wire::Version) -> Decoded<Version> {
    Ok(Version { timestamp: timestamp(version.timestamp)?, document: version.document })
}

pub fn results_to_wire(results: Result<Vec<ReadResult>>) -> wire::ReadReply {
    use wire::read_result::Kind;
    let result = |result: ReadResult| wire::ReadResult {
        kind: Some(match result {
            ReadResult::Point(version) => {
                Kind::Point(wire::PointResult { version: version.map(version_to_wire) })
            }
            ReadResult::Range { rows, more } => Kind::Range(wire::RangeResult {
                rows: rows
                    .into_iter()
                    .map(|row| wire::Row { key: row.key, version: Some(version_to_wire(row.version)) })
                    .collect(),
                more,
            }),
        }),
    };
    match results {
        Ok(results) => wire::ReadReply { results: results.into_iter().map(result).collect(), error: None },
        Err(error) => wire::ReadReply { results: Vec::new(), error: Some(errors::to_wire(error)) },
    }
}

/// The results that are in an answer, one of its kind for each of `reads`, or the error.
pub fn results(reply: wire::ReadReply, reads: &[Read]) -> Decoded<Result<Vec<ReadResult>>> {
    use wire::read_result::Kind;
    if let Some(error) = reply.error {
        return Ok(Err(errors::from_wire(error)));
    }
    if reply.results.len() != reads.len() {
        return Err(Malformed::new(format!("{} results of {} reads", reply.results.len(), reads.len())));
    }
    let row = |row: wire::Row| {
        Ok(Row { key: row.key, version: version(present(row.version, "the version of a row")?)? })
    };
    let result = |(result, read): (wire::ReadResult, &Read)| match (present(result.kind, "a result")?, read) {
        (Kind::Point(point), Read::Point { .. }) => {
            Ok(ReadResult::Point(point.version.map(version).transpose()?))
        }
        (Kind::Range(range), Read::Range { .. }) => Ok(ReadResult::Range {
            rows: range.rows.into_iter().map(row).collect::<Decoded<_>>()?,
            more: range.more,
        }),
        _ => Err(Malformed::new("a result is not of the kind of its read")),
    };
    Ok(Ok(reply.results.into_iter().zip(reads).map(result).collect::<Decoded<_>>()?))
}

pub fn event_to_wire(event: StreamEvent) -> wire::StreamEvent {
    use wire::stream_event::Kind;
    let kind = match event {
        StreamEvent::Commit(notice) => Kind::Commit(wire::CommitNotice {
            timestamp: notice.timestamp.as_nanoseconds(),
            keys: notice
                .keys
                .iter()
                .map(|touched| wire::TouchedKey {
                    index: index_bytes(touched.index),
                    key: touched.key.clone(),
                })
                .collect(),
        }),
        StreamEvent::Heartbeat { epoch, published } => Kind::Heartbeat(wire::Heartbeat {
            epoch: Some(epoch_to_wire(epoch)),
            published: published.as_nanoseconds(),
        }),
        StreamEvent::Lagged { from } => Kind::Lagged(wire::Lagged { from: from.as_nanoseconds() }),
    };
    wire::StreamEvent { kind: Some(kind) }
}

pub fn event(event: wire::StreamEvent) -> Decoded<StreamEvent> {
    use wire::stream_event::Kind;
    let touched = |touched: wire::TouchedKey| {
        Ok(TouchedKey { index: index_id(&touched.index)?, key: Bytes::copy_from_slice(&touched.key) })
    };
    Ok(match present(event.kind, "the kind of an event")? {
        Kind::Commit(notice) => StreamEvent::Commit(
            CommitNotice {
                timestamp: timestamp(notice.timestamp)?,
                keys: notice.keys.into_iter().map(touched).collect::<Decoded<_>>()?,
            }
            .into(),
        ),
        Kind::Heartbeat(heartbeat) => StreamEvent::Heartbeat {
            epoch: epoch(present(heartbeat.epoch, "the epoch")?),
            published: timestamp(heartbeat.published)?,
        },
        Kind::Lagged(lagged) => StreamEvent::Lagged { from: timestamp(lagged.from)? },
    })
}

pub fn backfill_step(request: wire::BackfillStepRequest) -> Decoded<BackfillStep> {
    Ok(BackfillStep {
        deployment: deployment(request.deployment)?,
        primary: index_id(&request.primary)?,
        index: index_id(&request.index)?,
        fields: request.fields,
        from: request.from,
    })
}

pub fn lookup_to_wire(lookup: Lookup) -> wire::LookupReply {
    use wire::lookup_reply::Kind;
    wire::LookupReply {
        kind: Some(match lookup {
            Lookup::Committed { timestamp, run } => {
                Kind::Committed(wire::Committed { timestamp: timestamp.as_nanoseconds(), run })
            }
            Lookup::Pending => Kind::Pending(wire::Nothing {}),
            Lookup::Absent { epoch } => Kind::Absent(epoch_to_wire(epoch)),
            Lookup::NotLeader(leader) => Kind::NotLeader(not_leader_to_wire(leader)),
        }),
    }
}

pub fn lookup(reply: wire::LookupReply) -> Decoded<Lookup> {
    use wire::lookup_reply::Kind;
    Ok(match present(reply.kind, "the answer")? {
        Kind::Committed(committed) => {
            Lookup::Committed { timestamp: timestamp(committed.timestamp)?, run: committed.run }
        }
        Kind::Pending(_) => Lookup::Pending,
        Kind::Absent(ended) => Lookup::Absent { epoch: epoch(ended) },
        Kind::NotLeader(not) => Lookup::NotLeader(not.leader.map(leader)),
    })
}

#[cfg(test)]
mod tests {
    use contract::{ErrorKind, Retry};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_that_is_not_understood_is_no_refusal() {
        let unknown_outcome = outcome(wire::CommitReply { outcome: None }).map(drop);
        let no_timestamp = wire::commit_reply::Outcome::Committed(u64::MAX);
        let no_timestamp = outcome(wire::CommitReply { outcome: Some(no_timestamp) }).map(drop);
        let no_message = decoded::<wire::CommitReply>(Bytes::from_static(b"\xff")).map(drop);
        let point = Read::Point { index: IndexId([1; 16]), key: Bytes::new() };
        let no_result = results(wire::ReadReply::default(), std::slice::from_ref(&point)).map(drop);
        let range = wire::read_result::Kind::Range(wire::RangeResult::default());
        let other_kind =
            wire::ReadReply { results: vec![wire::ReadResult { kind: Some(range) }], error: None };
        let other_kind = results(other_kind, &[point]).map(drop);
        for malformed in [unknown_outcome, no_timestamp, no_message, no_result, other_kind] {
            let error = malformed.expect_err("it can't be read").answer();
            assert_eq!((error.kind, error.retry), (ErrorKind::Internal, Retry::Never), "{error}");
            assert_eq!(error.code, "AnswerNotUnderstood");
        }
    }

    #[test]
    fn a_request_that_is_not_understood_is_refused() {
        let error = commit(wire::CommitRequest::default()).expect_err("nothing is in it").request();
        assert_eq!((error.kind, &*error.code), (ErrorKind::BadRequest, "MalformedMessage"));
    }

    fn bound() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 0xfe, 0xff]), 0..6).prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn an_interval_that_is_cut_outward_holds_what_it_held(
            start in bound(), end in prop::option::of(bound()), key in bound(), bytes_max in 1usize..4,
        ) {
            let whole = Interval { start, end };
            let cut = cut_outward(&whole, bytes_max);
            prop_assert!(cut.start.len() <= bytes_max);
            prop_assert!(cut.end.as_ref().is_none_or(|end| end.len() <= bytes_max));
            prop_assert!(!whole.contains(&key) || cut.contains(&key), "{:?} {:?}", whole, cut);
        }
    }
}

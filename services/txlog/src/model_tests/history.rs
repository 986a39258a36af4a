//! The judgement: every transaction alone, one after the other, on a plain map.

use std::collections::BTreeMap;

use contract::{Read, Timestamp};

use super::client::{Attempt, Documents, Given};
use crate::reads::RangeLimits;

/// What somebody has read somewhere, at a published moment.
pub struct Observation {
    pub at: Timestamp,
    pub read: Read,
    pub given: Given,
}

/// Each transaction alone, at its timestamp, on a plain map; and each reader at its moment. `history` has the attempt that
/// committed at each moment, `page` is what a range read stops at besides its own limits. What is there in the end.
pub fn replay(
    history: &BTreeMap<Timestamp, usize>,
    attempts: &[Attempt],
    observations: &[Observation],
    page: RangeLimits,
) -> Result<Documents, String> {
    let mut readers: Vec<(Timestamp, &Read, &Given)> =
        observations.iter().map(|it| (it.at, &it.read, &it.given)).collect();
    for attempt in attempts {
        if let Some(at) = attempt.held_at {
            readers.extend(attempt.reads.iter().map(|(read, given)| (at, read, given)));
        }
    }
    readers.sort_by_key(|(at, ..)| *at);
    let mut readers = readers.into_iter().peekable();
    let mut documents = Documents::new();
    for timestamp in history.keys().copied().chain([Timestamp::MAX]) {
        while let Some((at, read, given)) = readers.next_if(|(at, ..)| *at < timestamp) {
            saw(read, given, &documents, page).map_err(|wrong| format!("a reader at {at}: {wrong}"))?;
        }
        let Some(number) = history.get(&timestamp) else { continue };
        let attempt = &attempts[*number];
        if attempt.never {
            return Err(format!("attempt {number} is at {timestamp} though it was said never to be"));
        }
        for (read, given) in &attempt.reads {
            saw(read, given, &documents, page)
                .map_err(|wrong| format!("attempt {number} at {timestamp}: {wrong}"))?;
        }
        for (id, name) in &attempt.made {
            match name {
                Some(name) => documents.insert(id.clone(), (name.clone(), *number as u64)),
                None => documents.remove(id),
            };
        }
    }
    Ok(documents)
}

/// Whether a transaction saw these documents, as far as it looked.
fn saw(read: &Read, given: &Given, documents: &Documents, page: RangeLimits) -> Result<(), String> {
    let limited = match read {
        Read::Range { index, interval, order, rows_max, bytes_max } => Read::Range {
            index: *index,
            interval: interval.clone(),
            order: *order,
            rows_max: (*rows_max).min(page.rows_max),
            bytes_max: *bytes_max,
        },
        point => point.clone(),
    };
    let expected = Given::expected(&limited, documents);
    if given.holds_as(&expected) { Ok(()) } else { Err(format!("{read:?} gave {given:?}, not {expected:?}")) }
}

//! What has changed between two moments, as a page of it is put together.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use contract::{DeploymentRef, IndexId, ReadAt, Result, Timestamp, TransactionLog, Version};
use transaction::{Change, ReplacedTable, read_changes};

use crate::{DataSyncLimits, documents::documents_at};

/// A document as a change has left it.
#[derive(Debug)]
pub(crate) struct Changed {
    pub primary: IndexId,
    pub key: Bytes,
    /// The commit that wrote or deleted it.
    pub timestamp: Timestamp,
    /// `None` if it is deleted.
    pub version: Option<Version>,
}

/// Changes, without gaps.
#[derive(Debug)]
pub(crate) struct ChangedPage {
    pub documents: Vec<Changed>,
    /// Tables that have other documents since: what was known of them does not hold.
    pub replaced_tables: BTreeSet<ReplacedTable>,
    /// They are all that there is up to here.
    pub complete_to: Timestamp,
    /// Whether there is more up to the moment that was read at.
    pub more: bool,
}

/// The changes above `from` of the tables with these primary indexes. `at` is published.
pub(crate) async fn changes_above(
    log: &dyn TransactionLog,
    (deployment, at): (DeploymentRef, ReadAt),
    from: Timestamp,
    is_wanted: impl Fn(IndexId) -> bool,
    limits: &DataSyncLimits,
) -> Result<ChangedPage> {
    let mut page = ChangedPage {
        documents: Vec::new(),
        replaced_tables: BTreeSet::new(),
        complete_to: from,
        more: true,
    };
    let (mut commits, mut bytes) = (0, 0);
    while page.more && commits < limits.page_commits_max {
        let commits_max = limits.page_commits_max - commits;
        let read =
            read_changes(log, deployment, at, page.complete_to, (commits_max, limits.page_bytes_max)).await;
        let read = read.map_err(transaction::Error::of_the_system)?;
        commits += read.changes.len();
        let mut changes = read.changes.into_iter().peekable();
        while changes.peek().is_some() {
            let is_full = page.documents.len() >= limits.page_documents_max || bytes >= limits.page_bytes_max;
            if is_full {
                return Ok(page);
            }
            let mut some: Vec<Change> = Vec::new();
            let mut documents = 0;
            while let Some(mut change) = changes.next_if(|_| documents < DOCUMENTS_READ_MIN) {
                page.replaced_tables.extend(std::mem::take(&mut change.replaced_tables));
                documents += change.documents.iter().filter(|document| is_wanted(document.primary)).count();
                some.push(change);
            }
            page.complete_to = some.last().map_or(page.complete_to, |change| change.timestamp);
            let found = left_by(log, (deployment, at), some, &is_wanted).await?;
            bytes += found
                .iter()
                .filter_map(|document| document.version.as_ref())
                .map(|version| version.document.len())
                .sum::<usize>();
            page.documents.extend(found);
        }
        page.complete_to = read.complete_to;
        page.more = read.more;
    }
    Ok(page)
}

/// Documents of whole commits that are read before it is looked whether the page is full.
const DOCUMENTS_READ_MIN: usize = 32;

/// What these changes have left, without what later ones have changed again: that comes with those.
async fn left_by(
    log: &dyn TransactionLog,
    at: (DeploymentRef, ReadAt),
    changes: Vec<Change>,
    is_wanted: &impl Fn(IndexId) -> bool,
) -> Result<Vec<Changed>> {
    // Of several changes of a document the last one counts.
    let mut last: HashMap<(IndexId, Bytes), (Timestamp, bool)> = HashMap::new();
    for change in changes {
        for document in change.documents.into_iter().filter(|document| is_wanted(document.primary)) {
            last.insert((document.primary, document.key), (change.timestamp, document.deleted));
        }
    }
    let mut documents: Vec<_> = last.into_iter().collect();
    documents
        .sort_unstable_by(|(one, (one_at, _)), (other, (other_at, _))| (one_at, one).cmp(&(other_at, other)));
    let keys = documents.iter().map(|(key, _)| key.clone()).collect();
    let versions = documents_at(log, at, keys).await?;
    let left = documents.into_iter().zip(versions).filter_map(
        |(((primary, key), (timestamp, deleted)), version)| {
            let is_left = match &version {
                Some(version) => version.timestamp == timestamp,
                None => deleted,
            };
            is_left.then_some(Changed { primary, key, timestamp, version })
        },
    );
    Ok(left.collect())
}

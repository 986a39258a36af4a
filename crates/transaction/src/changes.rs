//! Which documents each commit has changed, noted by the commits themselves, for those who follow a deployment's data.
//!
//! While a deployment keeps its changes, whoever writes documents of the application adds a note to the commit, in an index
//! where the log orders the notes by their commits ([`IndexId::BY_COMMIT`]). A note names the documents and not what they were: who
//! follows reads them as they are now, and hears of later changes by later notes. Where a commit puts whole tables in the places of
//! others, or removes some, the note names these and not their documents.
//!
//! Every such write relies on the row that says so ([`crate::ChangeHistoryRow`]), so that from the commit on which inserts it no change
//! is without a note.

use bytes::Bytes;
use contract::{
    DeploymentRef, IndexId, Interval, Order, Read, ReadAt, ReadResult, Row, Timestamp, TransactionLog, Write,
};
use value::{ComponentId, TableName};

use crate::{
    ChangeHistoryRow, Error, HistoryStateRow, Result, Stored, SystemTable, Transaction,
    catalog_cache::unexpected_result,
};

/// The first byte of every note. Another one is refused by name.
const VERSION: u8 = 1;
/// Between the name of a replaced table and its component.
const BEHIND_NAME: char = '/';

/// What one commit has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The commit.
    pub timestamp: Timestamp,
    /// Each document once.
    pub documents: Vec<ChangedDocument>,
    /// Tables that have other documents since, all at once, or are gone.
    pub replaced_tables: Vec<ReplacedTable>,
}

/// A table that has other documents, all at once, or is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplacedTable {
    /// Whose it is, or was; `None` in notes of before this was written down.
    pub component: Option<ComponentId>,
    /// Its name.
    pub name: String,
}

/// A document that was written or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedDocument {
    /// Its table's primary index.
    pub primary: IndexId,
    /// Its key there.
    pub key: Bytes,
    /// Whether the commit deleted it.
    pub deleted: bool,
}

/// Some of a deployment's changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// In the order of the commits.
    pub changes: Vec<Change>,
    /// The changes up to here are all there.
    pub complete_to: Timestamp,
    /// Whether there are more up to the moment that was read at.
    pub more: bool,
    /// What the notes take in the store.
    pub bytes: usize,
}

/// The changes above `from`, as of `at`, which is published: those of at most `commits_max` commits, and about `bytes_max` bytes of
/// notes.
pub async fn read_changes(
    log: &dyn TransactionLog,
    deployment: DeploymentRef,
    at: ReadAt,
    from: Timestamp,
    (commits_max, bytes_max): (usize, usize),
) -> Result<Changes> {
    let interval = between(from, at.timestamp);
    let (rows, more) = rows(log, deployment, at, interval, (commits_max, bytes_max)).await?;
    let bytes = rows.iter().map(|row| row.version.document.len()).sum();
    let changes: Vec<Change> = rows.iter().map(decode).collect::<Result<_>>()?;
    let last = changes.last().map(|change| change.timestamp);
    let complete_to = if more { last.unwrap_or(from) } else { at.timestamp.max(from) };
    Ok(Changes { changes, complete_to, more, bytes })
}

impl Transaction {
    /// Notes the changes of documents from this commit on; whether that is new.
    pub async fn keep_changes(&mut self) -> Result<bool> {
        if !self.rows::<ChangeHistoryRow>("by_id", &[]).await?.is_empty() {
            return Ok(false);
        }
        self.insert_row(&ChangeHistoryRow).await?;
        Ok(true)
    }

    /// Notes no more changes from this commit on; whether any were. Those that were stay until they are forgotten.
    pub async fn end_changes(&mut self) -> Result<bool> {
        let rows = self.rows::<ChangeHistoryRow>("by_id", &[]).await?;
        for row in &rows {
            self.delete_row::<ChangeHistoryRow>(row.id).await?;
        }
        Ok(!rows.is_empty())
    }

    /// How far back the notes reach and who asked for them; `None` before anybody did.
    pub async fn history_state(&mut self) -> Result<Option<Stored<HistoryStateRow>>> {
        Ok(self.rows::<HistoryStateRow>("by_id", &[]).await?.into_iter().next())
    }

    /// The commit from which on changes are noted; `None` if they are not.
    pub async fn changes_kept_since(&self) -> Result<Option<Timestamp>> {
        let index = SystemTable::ChangeHistory.table().by_id.id;
        let (log, deployment) = (self.log().clone(), self.deployment());
        let (rows, _) = rows(&*log, deployment, self.begin_at(), (index, Interval::all()), (1, 1)).await?;
        Ok(rows.first().map(|row| row.version.timestamp))
    }

    /// Deletes the notes of changes up to a moment, the oldest first: at most `commits_max`. How many. That they are gone must be known
    /// before ([`HistoryStateRow::floor`]).
    pub async fn forget_changes(&mut self, up_to: Timestamp, commits_max: usize) -> Result<usize> {
        let (log, deployment) = (self.log().clone(), self.deployment());
        let interval = between(Timestamp::ZERO, up_to);
        let (rows, _) = rows(&*log, deployment, self.begin_at(), interval, (commits_max, usize::MAX)).await?;
        let count = rows.len();
        // Without reading them: whoever else deletes them does the same.
        self.forgotten.extend(rows.into_iter().map(|row| Write {
            primary: IndexId::BY_COMMIT,
            key: row.key,
            document: None,
            index_updates: Vec::new(),
        }));
        Ok(count)
    }
}

/// The notes of the commits above `from` and up to `to`.
fn between(from: Timestamp, to: Timestamp) -> (IndexId, Interval) {
    let behind = |timestamp: Timestamp| (timestamp.as_nanoseconds() + 1).to_be_bytes().to_vec().into();
    (IndexId::BY_COMMIT, Interval { start: behind(from), end: Some(behind(to)) })
}

async fn rows(
    log: &dyn TransactionLog,
    deployment: DeploymentRef,
    at: ReadAt,
    (index, interval): (IndexId, Interval),
    (rows_max, bytes_max): (usize, usize),
) -> Result<(Vec<Row>, bool)> {
    let read = Read::Range { index, interval, order: Order::Ascending, rows_max, bytes_max };
    match log.read(deployment, at, &[read]).await?.pop() {
        Some(ReadResult::Range { rows, more }) => Ok((rows, more)),
        _ => Err(unexpected_result()),
    }
}

/// The write that notes what a commit changes. In the place of a document's key a replaced table has its name and, behind a character
/// that no name has, its component, below the index of the notes, which no document is in.
pub(crate) fn note<'t>(
    documents: impl Iterator<Item = ChangedDocument>,
    replaced_tables: impl Iterator<Item = &'t (ComponentId, TableName)>,
) -> Write {
    let tables = replaced_tables.map(|(component, name)| ChangedDocument {
        primary: IndexId::BY_COMMIT,
        key: format!("{name}{BEHIND_NAME}{component}").into(),
        deleted: false,
    });
    let mut note = vec![VERSION];
    for document in documents.chain(tables) {
        note.push(document.deleted.into());
        note.extend_from_slice(&document.primary.0);
        let length = u32::try_from(document.key.len()).expect("the key of a document is short");
        note.extend_from_slice(&length.to_be_bytes());
        note.extend_from_slice(&document.key);
    }
    Write {
        primary: IndexId::BY_COMMIT,
        key: Bytes::new(),
        document: Some(note.into()),
        index_updates: Vec::new(),
    }
}

fn decode(row: &Row) -> Result<Change> {
    let damaged = || Error::stored(format!("the note of the changes at {}", row.version.timestamp));
    let Some((&VERSION, mut rest)) = row.version.document.split_first() else { return Err(damaged()) };
    let (mut documents, mut replaced_tables) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let parsed = || {
            let (deleted, rest) = rest.split_first()?;
            let (primary, rest) = rest.split_first_chunk::<16>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            let document = ChangedDocument {
                primary: IndexId(*primary),
                key: Bytes::copy_from_slice(key),
                deleted: *deleted != 0,
            };
            Some((document, rest))
        };
        let (document, behind) = parsed().ok_or_else(damaged)?;
        rest = behind;
        match document.primary {
            IndexId::BY_COMMIT => {
                let text = std::str::from_utf8(&document.key).map_err(|_| damaged())?;
                replaced_tables.push(match text.split_once(BEHIND_NAME) {
                    Some((name, component)) => ReplacedTable {
                        component: Some(component.parse().map_err(|_| damaged())?),
                        name: name.to_owned(),
                    },
                    None => ReplacedTable { component: None, name: text.to_owned() },
                });
            }
            _ => documents.push(document),
        }
    }
    Ok(Change { timestamp: row.version.timestamp, documents, replaced_tables })
}

#[cfg(test)]
mod tests {
    use contract::Version;
    use value::InternalId;

    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is_one() {
        let documents = [(1, "one", false), (2, "", true)].map(|(index, key, deleted)| ChangedDocument {
            primary: IndexId([index; 16]),
            key: Bytes::from_static(key.as_bytes()),
            deleted,
        });
        let row = |document: Bytes| Row {
            key: Bytes::new(),
            version: Version { timestamp: Timestamp::MAX, document },
        };
        let component = ComponentId::from(InternalId::from_bytes([7; 16]));
        let tables = [(ComponentId::ROOT, "one"), (component, "two")]
            .map(|(component, table)| (component, table.parse().expect("a name")));
        let note = note(documents.iter().cloned(), tables.iter()).document.expect("it is written");
        let change = decode(&row(note.clone())).expect("it is one");
        assert_eq!(change.documents, documents);
        let replaced = change.replaced_tables.iter().map(|table| (table.component, table.name.as_str()));
        assert!(replaced.eq([(Some(ComponentId::ROOT), "one"), (Some(component), "two")]));
        // As it was noted before components were.
        let mut older = vec![VERSION, 0];
        older.extend(IndexId::BY_COMMIT.0);
        older.extend([0, 0, 0, 3]);
        older.extend(b"one");
        let change = decode(&row(older.into())).expect("it is one");
        assert_eq!(change.replaced_tables, [ReplacedTable { component: None, name: "one".to_owned() }]);
        for length in [0, 2, note.len() - 1] {
            assert!(decode(&row(note.slice(..length))).is_err(), "{length} bytes");
        }
        assert!(decode(&row(Bytes::from_static(&[2]))).is_err(), "a newer format");
    }
}

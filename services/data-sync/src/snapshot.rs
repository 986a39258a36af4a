//! `list_snapshot`: all documents, by table and id.

use contract::{
    DeploymentRef, Error, ErrorKind, ReadAt, Result, SnapshotPage, SnapshotRequest, Timestamp, TransactionLog,
};
use serde::{Deserialize, Serialize};

use crate::{
    deltas::added_fields,
    documents::{ExportedTable, FoundDocuments, documents_behind, json_with, object_of, tables_of},
    history,
    selection::Selection,
    service::{Shared, format_of, invalid_cursor},
};

/// Where a snapshot goes on.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// Nanoseconds.
    snapshot: u64,
    component: String,
    table: String,
    /// Whose data the key is of.
    tablet: String,
    /// The last document's key, in hexadecimal digits; none before the first.
    after: Option<String>,
}

pub(crate) async fn page(
    shared: &Shared,
    deployment: DeploymentRef,
    request: SnapshotRequest,
) -> Result<SnapshotPage> {
    let format = format_of(request.format.as_deref())?;
    let selection = Selection::parse(request.selection.as_deref())?;
    let place = match &request.cursor {
        Some(cursor) => Some(read_cursor(shared, deployment, cursor)?),
        None => None,
    };
    if place.is_none() && request.snapshot.is_none() {
        history::keep(shared, deployment).await?;
    }
    let mut transaction = shared.transactions.snapshot(deployment).await?;
    let now = transaction.begin_at();
    let floor = history::floor_of(&mut transaction).await?;
    let snapshot = place.as_ref().map(|place| place.snapshot).or(request.snapshot);
    let snapshot = snapshot_of(snapshot, floor, now.timestamp)?;
    history::note(shared, deployment, &mut transaction).await?;
    let component = request.component.as_deref().unwrap_or_default();
    let is_wanted = |table: &ExportedTable| {
        request.table.as_ref().is_none_or(|wanted| table.name() == wanted && table.component == component)
    };
    let log = transaction.log().clone();
    let mut page = SnapshotPage { values: Vec::new(), cursor: None, timestamp: snapshot, has_more: false };
    let mut room = (shared.limits.page_documents_max, shared.limits.page_bytes_max);
    for table in tables_of(&transaction).into_iter().filter(is_wanted) {
        let Some(columns) = selection.columns(&table.component, table.name()) else { continue };
        let mut after = None;
        if let Some(place) = &place {
            let here = (table.component.as_str(), table.name());
            match here.cmp(&(&place.component, &place.table)) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal if table.tablet() != place.tablet => {
                    return Err(too_old("the table was replaced meanwhile"));
                }
                std::cmp::Ordering::Equal => after = key_of(place)?,
                std::cmp::Ordering::Greater => {}
            }
        }
        loop {
            let found = read(&*log, deployment, (snapshot, now), &table, after.as_deref(), room).await?;
            room.0 = room.0.saturating_sub(found.documents.len());
            room.1 = room.1.saturating_sub(found.bytes);
            for document in &found.documents {
                let fields = added_fields(&table, document.version.timestamp);
                let object = columns.filter(object_of(&document.version)?);
                page.values.push(json_with(object, format, &fields));
            }
            after = found.documents.last().map(|document| document.key.to_vec()).or(after);
            let is_full = room.0 == 0 || room.1 == 0;
            if is_full {
                let place = Place {
                    snapshot: snapshot.as_nanoseconds(),
                    component: table.component.clone(),
                    table: table.name().to_owned(),
                    tablet: table.tablet(),
                    after: after.map(hex::encode),
                };
                let plain = serde_json::to_vec(&place).expect("it has string keys");
                page.cursor = Some(shared.transactions.cursor_key.seal_export(deployment, &plain));
                page.has_more = true;
                return Ok(page);
            }
            if !found.more {
                break;
            }
        }
    }
    Ok(page)
}

fn read_cursor(shared: &Shared, deployment: DeploymentRef, cursor: &str) -> Result<Place> {
    let plain = shared.transactions.cursor_key.open_export(deployment, cursor).ok_or_else(invalid_cursor)?;
    serde_json::from_slice(&plain).map_err(|_| invalid_cursor())
}

fn key_of(place: &Place) -> Result<Option<Vec<u8>>> {
    let decode = |key: &String| hex::decode(key).map_err(|_| invalid_cursor());
    place.after.as_ref().map(decode).transpose()
}

/// The moment of a snapshot: the newest one, unless it was begun at another from which on all changes are noted.
fn snapshot_of(snapshot: Option<u64>, floor: Option<Timestamp>, published: Timestamp) -> Result<Timestamp> {
    let Some(snapshot) = snapshot else { return Ok(published) };
    let snapshot = Timestamp::new(snapshot).filter(|snapshot| *snapshot <= published);
    let snapshot = snapshot.ok_or_else(|| {
        Error::bad_request("InvalidSnapshot", "The snapshot is not a moment that this deployment has had.")
    })?;
    match floor {
        Some(floor) if snapshot >= floor => Ok(snapshot),
        _ => Err(too_old("what has changed since is not remembered any more")),
    }
}

fn too_old(why: &str) -> Error {
    Error::bad_request(
        "SnapshotTooOld",
        format!("The snapshot can't be read to its end: {why}. Begin a new one."),
    )
}

/// As of the snapshot; once that can't be read any more, as of now.
async fn read(
    log: &dyn TransactionLog,
    deployment: DeploymentRef,
    (snapshot, now): (Timestamp, ReadAt),
    table: &ExportedTable,
    after: Option<&[u8]>,
    room: (usize, usize),
) -> Result<FoundDocuments> {
    let then = ReadAt::published(snapshot);
    match documents_behind(log, (deployment, then), &table.table, after, room).await {
        Err(error) if error.kind == ErrorKind::OutOfRetention => {
            documents_behind(log, (deployment, now), &table.table, after, room).await
        }
        read => read,
    }
}

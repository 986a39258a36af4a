//! `document_deltas`: what has changed since a moment.

use std::collections::HashMap;

use contract::{DeltasRequest, DeploymentRef, Error, IndexId, Result, SnapshotPage, Timestamp};
use transaction::{ReplacedTable, component_id};
use value::{ComponentId, ComponentPath};

use crate::{
    documents::{ExportedTable, json_with, object_of, only_id, tables_of},
    history,
    page::changes_above,
    selection::{Columns, Selection},
    service::{Shared, format_of},
};

pub(crate) async fn page(
    shared: &Shared,
    deployment: DeploymentRef,
    request: DeltasRequest,
) -> Result<SnapshotPage> {
    let format = format_of(request.format.as_deref())?;
    let selection = Selection::parse(request.selection.as_deref())?;
    let Some(cursor) = request.cursor else {
        return Err(Error::bad_request(
            "DocumentDeltasCursorRequired",
            "Deltas need a cursor: that of the page before, or the snapshot's timestamp.",
        ));
    };
    let mut transaction = shared.transactions.snapshot(deployment).await?;
    let at = transaction.begin_at();
    let from = window(cursor, history::floor_of(&mut transaction).await?, at.timestamp)?;
    history::note(shared, deployment, &mut transaction).await?;
    let component = request.component.as_deref().unwrap_or_default();
    let by_primary: HashMap<IndexId, (ExportedTable, Columns)> = tables_of(&transaction)
        .into_iter()
        .filter(|table| {
            request.table.as_ref().is_none_or(|wanted| table.name() == wanted && table.component == component)
        })
        .filter_map(|table| {
            let columns = selection.columns(&table.component, table.name())?;
            Some((table.table.by_id.id, (table, columns)))
        })
        .collect();
    let log = transaction.log().clone();
    let is_wanted = |primary: IndexId| by_primary.contains_key(&primary);
    let changed = changes_above(&*log, (deployment, at), from, is_wanted, &shared.limits).await?;
    let asked_component = component.parse().ok().map(|path: ComponentPath| component_id(&path));
    let is_selected = |replaced: &ReplacedTable| {
        let mut paths = transaction.deployment_catalog().component_paths().into_iter();
        let path = paths.find(|(_, component)| Some(*component) == replaced.component);
        // Nobody knows of one whose component was not noted, or is gone.
        path.is_none_or(|(path, _)| selection.columns(path.as_str(), &replaced.name).is_some())
    };
    let is_asked_for = |replaced: &&ReplacedTable| {
        let is_of = |wanted: ComponentId| replaced.component.is_none_or(|component| component == wanted);
        match &request.table {
            Some(wanted) => *wanted == replaced.name && asked_component.is_none_or(is_of),
            None => is_selected(replaced),
        }
    };
    if let Some(replaced) = changed.replaced_tables.iter().find(is_asked_for) {
        let name = &replaced.name;
        return Err(not_in_window(cursor, &format!("the table `{name}` has been replaced as a whole since")));
    }
    let mut values = Vec::with_capacity(changed.documents.len());
    for document in changed.documents {
        let (table, columns) = &by_primary[&document.primary];
        let object = match &document.version {
            Some(version) => columns.filter(object_of(version)?),
            None => only_id(&document.key)?,
        };
        let mut fields = added_fields(table, document.timestamp);
        fields.push(("_deleted", document.version.is_none().to_string()));
        values.push(json_with(object, format, &fields));
    }
    Ok(SnapshotPage { values, cursor: None, timestamp: changed.complete_to, has_more: changed.more })
}

/// What every document is given besides its own fields.
pub(crate) fn added_fields(table: &ExportedTable, timestamp: Timestamp) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    vec![
        ("_component", quoted(&table.component)),
        ("_table", quoted(table.name())),
        ("_ts", timestamp.to_string()),
    ]
}

/// The moment of a cursor, if everything above it is noted.
pub(crate) fn window(cursor: u64, floor: Option<Timestamp>, published: Timestamp) -> Result<Timestamp> {
    let refused = |why: &str| not_in_window(cursor, why);
    let from = Timestamp::new(cursor).filter(|from| *from <= published);
    let from = from.ok_or_else(|| refused("that is after the newest commit"))?;
    match floor {
        Some(floor) if from >= floor => Ok(from),
        Some(_) => Err(refused("what has changed then is not remembered any more")),
        None => Err(refused("this deployment has not noted its changes since")),
    }
}

fn not_in_window(cursor: u64, why: &str) -> Error {
    let message = format!("Changes since {cursor} can't be read: {why}. Begin again with a snapshot.");
    Error::bad_request("InvalidWindowToReadDocuments", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_where_all_changes_are_noted() {
        let at = |nanoseconds| Timestamp::new(nanoseconds).expect("in range");
        assert_eq!(window(10, Some(at(10)), at(20)).expect("it is noted"), at(10));
        assert_eq!(window(20, Some(at(10)), at(20)).expect("nothing is newer"), at(20));
        for (cursor, floor) in [(9, Some(at(10))), (21, Some(at(10))), (u64::MAX, Some(at(10))), (15, None)] {
            let error = window(cursor, floor, at(20)).expect_err("it is not");
            assert_eq!(error.code, "InvalidWindowToReadDocuments", "{cursor}");
        }
    }
}

//! What an import would do: the whole upload is read and held against the deployment, and nothing is written.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use schema::DatabaseSchema;
use system_transaction::{Result as Transacted, Work};
use transaction::{
    ImportMode, ImportOrder, ImportRow, ImportState, ImportTable, ImportTableRow, SystemTable, Table,
    Transaction, document_id,
};
use value::{ComponentId, DocumentId, TableName, TableNumber, check_document};

use super::{
    contents::{ContentFile, Contents},
    ids::Ids,
    numbers::Numbers,
};
use crate::{
    components::{components_from, path_within},
    job::{Job, Result, Stop},
};

/// Documents are counted for people up to here.
const COUNTED_MAX: usize = 1_000;
/// Tables of which people are told.
pub(crate) const TABLES_SHOWN: usize = 100;
/// Ids that are looked for at once.
const LOOKED_FOR: usize = 500;

pub(crate) fn run(job: &Job, row: ImportRow) -> Result<()> {
    let Some(order) = row.order else { return Err(Stop::Refused("The import has no order.".to_owned())) };
    let mut contents = Contents::open(job, &order)?;
    let mut planning = Planning::begin(job, &order)?;
    let mut tables = planning.tables_of(&mut contents)?;
    planning.check_numbers(&mut tables)?;
    planning.check_documents(&mut contents, &mut tables)?;
    planning.look_again()?;
    // Ids behind the first document may have told more.
    planning.check_numbers(&mut tables)?;
    // Of files people are told first: what is said of tables may be cut short.
    let mut summary = planning.check_files(&mut contents)?;
    summary.extend(planning.others(&mut tables)?);
    let must_be_confirmed = summary.iter().any(|line| line.deleted > 0);
    let state = ImportState::WaitingForConfirmation { message: told(&summary), must_be_confirmed };
    let propose = Propose { job, state, tables };
    job.wait(job.shared.transactions.transact(job.deployment, &propose))??;
    Ok(())
}

/// What becomes of a table or of a component's files, for people.
struct Line {
    table: String,
    created: u64,
    deleted: usize,
}

struct Planning<'j> {
    job: &'j Job,
    order: &'j ImportOrder,
    transaction: Transaction,
    /// The components that the import is about, by their paths within that for which it is.
    components: Vec<(String, ComponentId)>,
}

impl<'j> Planning<'j> {
    fn begin(job: &'j Job, order: &'j ImportOrder) -> Result<Planning<'j>> {
        let mut transaction = job.wait(job.shared.transactions.snapshot(job.deployment))??;
        let found = components_from(&mut transaction, &order.component)
            .map_err(|error| Stop::Refused(error.message))?;
        let (root, _) = found.first().cloned().expect("the component that was asked for comes first");
        let components =
            found.iter().map(|(path, component)| (path_within(&root, path).to_owned(), *component));
        let components = components.collect();
        Ok(Planning { job, order, transaction, components })
    }

    /// Goes on at a newer moment: reading an upload may take longer than one can be read. The schema must be the one that its
    /// documents were held against when they take effect.
    fn look_again(&mut self) -> Result<()> {
        self.transaction = self.job.wait(self.job.shared.transactions.snapshot(self.job.deployment))??;
        Ok(())
    }

    fn component(&self, path: &str) -> Result<ComponentId> {
        let found = self.components.iter().find(|(known, _)| known == path);
        let missing = || {
            let shown: String = path.chars().take(100).collect();
            Stop::Refused(format!(
                "ComponentNotFound: the archive has data of the component `{shown}`, which is not there. Push code that mounts it first; it need not stay mounted."
            ))
        };
        found.map(|(_, component)| *component).ok_or_else(missing)
    }

    fn table(&mut self, component: ComponentId, name: &TableName) -> Option<Arc<Table>> {
        self.transaction.enter(component);
        self.transaction.table(name)
    }

    fn schema(&mut self, component: ComponentId) -> Result<Option<(DocumentId, Arc<DatabaseSchema>)>> {
        self.transaction.enter(component);
        match self.transaction.active_schema() {
            Some(stored) => Ok(Some((stored.id, stored.schema()?))),
            None => Ok(None),
        }
    }

    /// The tables of the upload, in its order, with the numbers that they will have.
    fn tables_of(&mut self, contents: &mut Contents) -> Result<Vec<ImportTable>> {
        let mut tables = Vec::with_capacity(contents.tables.len());
        for index in 0..contents.tables.len() {
            let content = &contents.tables[index];
            let (component, name) = (self.component(&content.component)?, content.name.clone());
            let said = content.number;
            let number = match said {
                Some(number) => Some(number),
                None => contents.first_number(index)?,
            };
            let known = self.table(component, &name);
            let schema = self.schema(component)?.map(|(id, _)| id);
            tables.push(ImportTable {
                component,
                name,
                number: number.or_else(|| known.map(|table| table.number)),
                tablet: None,
                schema,
                must_be_empty: self.order.mode == ImportMode::RequireEmpty,
                documents: 0,
                references: BTreeMap::new(),
            });
        }
        Ok(tables)
    }

    /// Holds the numbers of tables against each other and those that are there.
    fn check_numbers(&mut self, tables: &mut [ImportTable]) -> Result<()> {
        let mut seen: BTreeMap<(ComponentId, TableNumber), TableName> = BTreeMap::new();
        for table in tables.iter() {
            let Some(number) = table.number else { continue };
            if number < TableNumber::FIRST_USER {
                let message = format!("the ids of the table `{}` are those of a system table", table.name);
                return Err(Stop::Refused(format!("TableNumberConflict: {message}")));
            }
            if let Some(other) = seen.insert((table.component, number), table.name.clone()) {
                let message =
                    format!("the ids of the tables `{other}` and `{}` have the same number", table.name);
                return Err(Stop::Refused(format!("TableNumberConflict: {message}")));
            }
            let known = self.table(table.component, &table.name);
            if self.order.mode == ImportMode::Append
                && let Some(known) = known
                && known.number != number
            {
                return Err(Stop::Refused(format!(
                    "TableNumberConflict: the ids that are imported are not ids of the table `{}` that is there. Leave `_id` out, or use \
                     --replace.",
                    table.name
                )));
            }
        }
        Ok(())
    }

    /// Reads every document, and counts them.
    fn check_documents(&mut self, contents: &mut Contents, tables: &mut [ImportTable]) -> Result<()> {
        for index in 0..tables.len() {
            let (component, name) = (tables[index].component, tables[index].name.clone());
            let schema = self.schema(component)?.map(|(_, schema)| schema);
            let validated = schema.as_ref().filter(|schema| schema.schema_validation);
            let declared = validated.and_then(|schema| schema.tables.get(&name));
            let imported = tables.iter().filter(|table| table.component == component);
            let numbers = Numbers {
                imported: imported.map(|table| (table.name.clone(), table.number)).collect(),
                catalog: self.transaction.deployment_catalog().of(component).clone(),
                asked_for: RefCell::default(),
            };
            let is_appended = self.order.mode == ImportMode::Append;
            let appended_to = if is_appended { self.table(component, &name) } else { None };
            let limits = self.transaction_limits();
            let job = self.job;
            let mut ids = Ids::new(job.shared.limits.ids_held_max);
            let (mut number, mut documents, mut given) = (tables[index].number, 0, Vec::new());
            contents.each_document(index, 0, &mut |document, place| {
                job.check()?;
                documents += 1;
                check_document(&document, &limits).map_err(|error| place.refuse(format!("{}: {error}", error.code())))?;
                if let Some(id) = document_id(&document).map_err(|error| place.refuse(error))? {
                    let expected = *number.get_or_insert(id.table);
                    if id.table != expected {
                        return Err(place.refuse(format!(
                            "InvalidIdError: the number of the table in the id {id} is {}, and not {expected} as with the table's other ids",
                            id.table
                        )));
                    }
                    if let Some(table) = &appended_to {
                        given.push(id);
                        if given.len() == LOOKED_FOR {
                            none_exists(job, table, name.as_str(), &mut given)?;
                        }
                    }
                    if is_appended && !ids.is_new(id.internal_id) {
                        return Err(place.refuse(twice(id)));
                    }
                }
                if let Some(declared) = declared {
                    declared.check_document(&document, &numbers).map_err(|failure| {
                        let message = format!("the document does not match the schema of the table `{name}`: {failure}");
                        place.refuse(format!("SchemaEnforcementError: {message}"))
                    })?;
                }
                Ok(())
            })?;
            if let Some(table) = &appended_to {
                none_exists(job, table, name.as_str(), &mut given)?;
            }
            while ids.next_reading() {
                contents.each_document(index, 0, &mut |document, place| {
                    job.check()?;
                    match document_id(&document).map_err(|error| place.refuse(error))? {
                        Some(id) if !ids.is_new(id.internal_id) => Err(place.refuse(twice(id))),
                        _ => Ok(()),
                    }
                })?;
            }
            let references = numbers.asked_for.into_inner();
            tables[index] = ImportTable { number, documents, references, ..tables[index].clone() };
        }
        Ok(())
    }

    fn transaction_limits(&self) -> value::ValueLimits {
        self.job.shared.transactions.limits.value
    }

    /// What becomes of files: those of a component that has any in the upload, or says that it has none, are replaced with its tables.
    fn check_files(&mut self, contents: &mut Contents) -> Result<Vec<Line>> {
        let (mut replaced, replaced_max) = (0, self.job.shared.limits.replaced_files_max);
        let (mut count, mut lines, mut ids) = (0, Vec::new(), BTreeSet::new());
        for storage in 0..contents.storages.len() {
            let component = self.component(&contents.storages[storage].component)?;
            let files = contents.files(storage)?;
            let mut uuids = BTreeSet::new();
            for file in &files {
                let is_new = ids.insert(file.id) && file.uuid.clone().is_none_or(|uuid| uuids.insert(uuid));
                if !is_new {
                    return Err(Stop::Refused(format!(
                        "ImportConflict: the archive has two files {}",
                        file.id
                    )));
                }
            }
            if self.order.mode == ImportMode::Append {
                self.no_file_exists(component, &files)?;
            }
            count += files.len();
            let there = match self.order.mode {
                ImportMode::Append => 0,
                ImportMode::RequireEmpty => self.job.wait(self.transaction.files_up_to(component, 1))??,
                ImportMode::Replace | ImportMode::ReplaceAll => self
                    .job
                    .wait(self.transaction.files_up_to(component, replaced_max.saturating_add(1)))??,
            };
            replaced += there;
            if replaced > replaced_max {
                return Err(Stop::Refused(format!(
                    "More files would be replaced than one import can (archive.replaced_files_max is {replaced_max}). Delete files first, \
                     or leave `_storage` out of the archive."
                )));
            }
            if self.order.mode == ImportMode::RequireEmpty && there > 0 {
                return Err(not_empty("_storage"));
            }
            let table = self.shown(component, "_storage");
            lines.push(Line { table, created: files.len() as u64, deleted: there });
        }
        let files_max = self.job.shared.limits.files_max;
        if count > files_max {
            return Err(Stop::Refused(format!(
                "The archive has {count} files (an import brings at most {files_max})."
            )));
        }
        Ok(lines)
    }

    /// Of files that come to those that are there none may have the id or the address of one.
    fn no_file_exists(&self, component: ComponentId, files: &[ContentFile]) -> Result<()> {
        let Job { shared, deployment, .. } = self.job;
        for files in files.chunks(LOOKED_FOR) {
            let mut ids = files.iter().map(|file| file.id).collect();
            none_exists(self.job, SystemTable::FileStorage.table(), "_storage", &mut ids)?;
            let mut transaction = self.job.wait(shared.transactions.snapshot(*deployment))??;
            for uuid in files.iter().filter_map(|file| file.uuid.as_ref()) {
                if self.job.wait(transaction.file_by_uuid(component, uuid))??.is_some() {
                    let message = format!("there is another file with the address {uuid}");
                    return Err(Stop::Refused(format!("ImportConflict: {message}")));
                }
            }
        }
        Ok(())
    }

    /// What becomes of the tables that the upload does not have: those that are in the way of a number, or go. Returns what becomes
    /// of each table.
    fn others(&mut self, tables: &mut Vec<ImportTable>) -> Result<Vec<Line>> {
        let mode = self.order.mode;
        let mut lines = Vec::new();
        for ImportTable { component, name, documents, .. } in tables.iter() {
            let (component, created) = (*component, *documents);
            let known = self.table(component, name);
            let there = match &known {
                Some(table) if mode != ImportMode::Append => self.count(table)?,
                _ => 0,
            };
            if mode == ImportMode::RequireEmpty && there > 0 {
                return Err(not_empty(name.as_str()));
            }
            let table = self.shown(component, name.as_str());
            lines.push(Line { table, created, deleted: there });
        }
        if mode == ImportMode::Append {
            return Ok(lines);
        }
        for (_, component) in self.components.clone() {
            let imported = tables.iter().filter(|table| table.component == component);
            let imported: BTreeMap<TableName, Option<TableNumber>> =
                imported.map(|table| (table.name.clone(), table.number)).collect();
            let schema = self.schema(component)?;
            self.transaction.enter(component);
            for table in self.transaction.tables() {
                if imported.contains_key(&table.name) {
                    continue;
                }
                let is_in_the_way = imported.values().any(|number| *number == Some(table.number));
                let is_declared =
                    schema.as_ref().is_some_and(|(_, schema)| schema.tables.contains_key(&table.name));
                let there =
                    if is_in_the_way || mode == ImportMode::ReplaceAll { self.count(&table)? } else { 0 };
                let all_go = mode == ImportMode::ReplaceAll;
                if is_in_the_way && !all_go && there > 0 {
                    return Err(Stop::Refused(format!(
                        "TableNumberConflict: ids that are imported have the number of the table `{}`, which has documents and is not in \
                         the import. Use --replace-all, or delete its documents.",
                        table.name
                    )));
                }
                if all_go {
                    let shown = self.shown(component, table.name.as_str());
                    lines.push(Line { table: shown, created: 0, deleted: there });
                }
                if all_go && is_declared || is_in_the_way && !all_go {
                    tables.push(ImportTable {
                        component,
                        name: table.name.clone(),
                        number: (!is_in_the_way).then_some(table.number),
                        tablet: None,
                        schema: schema.as_ref().map(|(id, _)| *id),
                        must_be_empty: !all_go,
                        documents: 0,
                        references: BTreeMap::new(),
                    });
                }
            }
        }
        Ok(lines)
    }

    fn count(&mut self, table: &Arc<Table>) -> Result<usize> {
        Ok(self.job.wait(self.transaction.documents_up_to(table, COUNTED_MAX + 1))??)
    }

    fn shown(&self, component: ComponentId, table: &str) -> String {
        let path = self.components.iter().find(|(_, known)| *known == component).map_or("", |(path, _)| path);
        if path.is_empty() { table.to_owned() } else { format!("{path}/{table}") }
    }
}

/// Of documents that are appended none may be there.
fn none_exists(job: &Job, table: &Arc<Table>, name: &str, ids: &mut Vec<DocumentId>) -> Result<()> {
    // One of its own, since a transaction remembers all that it has read.
    let mut transaction = job.wait(job.shared.transactions.snapshot(job.deployment))??;
    if let Some(id) = job.wait(transaction.first_existing(table, ids))?? {
        let message = format!("the table `{name}` already has a document with the id {id}");
        return Err(Stop::Refused(format!("ImportConflict: {message}")));
    }
    ids.clear();
    Ok(())
}

fn twice(id: DocumentId) -> String {
    format!("ImportConflict: another document has the same id {id}")
}

pub(crate) fn not_empty(table: &str) -> Stop {
    Stop::Refused(format!(
        "TableNotEmpty: the table `{table}` already has documents. Use --append to add to them, --replace to replace them, or \
         --replace-all to replace everything."
    ))
}

fn told(lines: &[Line]) -> String {
    let mut text = "The import will change:\n".to_owned();
    let width = lines.iter().take(TABLES_SHOWN).map(|line| line.table.len()).max().unwrap_or(0);
    for Line { table, created, deleted } in lines.iter().take(TABLES_SHOWN) {
        let deleted = match *deleted {
            0 => String::new(),
            many if many > COUNTED_MAX => format!(", delete more than {COUNTED_MAX}"),
            some => format!(", delete {some}"),
        };
        text.push_str(&format!("  {table:width$}  create {created}{deleted}\n"));
    }
    if let Some(others) = lines.get(TABLES_SHOWN..).filter(|others| !others.is_empty()) {
        let replaced = match others.iter().filter(|line| line.deleted > 0).count() {
            0 => String::new(),
            some => format!(", and delete what {some} of them have"),
        };
        text.push_str(&format!("  and {} more tables{replaced}\n", others.len()));
    }
    text.push_str("It goes on in the background once it has begun, also if this program is interrupted.");
    text
}

struct Propose<'j> {
    job: &'j Job,
    state: ImportState,
    tables: Vec<ImportTable>,
}

#[async_trait]
impl Work for Propose<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let Some(row) = transaction.row::<ImportRow>(self.job.id).await? else { return Ok(()) };
        if row.state == ImportState::Uploaded && self.job.is_mine(row.claim) {
            let row = ImportRow { state: self.state.clone(), claim: None, attempts: 0, ..row };
            transaction.replace_row(self.job.id, &row).await?;
            let import = self.job.id.internal_id;
            for (place, table) in (0..).zip(&self.tables) {
                transaction.insert_row(&ImportTableRow { import, place, table: table.clone() }).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_goes_and_what_comes() {
        let line = |table: &str, created, deleted| Line { table: table.to_owned(), created, deleted };
        let lines = [line("messages", 3, 0), line("a", 0, 2), line("lots", 1, COUNTED_MAX + 1)];
        let text = told(&lines);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1..4],
            [
                "  messages  create 3",
                "  a         create 0, delete 2",
                "  lots      create 1, delete more than 1000",
            ]
        );
        let many = [(); TABLES_SHOWN + 2].map(|()| line("t", 1, 1));
        let shown = told(&many);
        assert!(shown.contains("\n  and 2 more tables, and delete what 2 of them have\n"), "{shown}");
    }
}

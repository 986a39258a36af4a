//! The one commit by which an import takes effect: the tables that were filled take the places of those that are there, and files
//! appear.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use system_transaction::{Result as Transacted, Work};
use transaction::{
    ImportMode, ImportOrder, ImportRow, ImportState, ImportTable, ImportedFile, IndexKind, SchemaFailure,
    SchemaRow, SchemaState, Table, TableState, Transaction,
};
use value::{ComponentId, FieldPath, TableName, TableNumber};

use super::{load::mine, numbers::each_reference, plan::not_empty};
use crate::{
    components::require_component,
    job::{Job, Result, Stop},
};

pub(crate) struct Swap<'j> {
    pub job: &'j Job,
    pub order: &'j ImportOrder,
    /// The components that the import is about.
    pub scope: Vec<ComponentId>,
    /// What it has filled.
    pub tables: Vec<ImportTable>,
    /// How many documents it has read.
    pub documents: u64,
    /// The components for which it has files, even if none.
    pub storages: Vec<ComponentId>,
    pub files: Vec<ImportedFile>,
}

pub(crate) fn run(swap: &Swap<'_>) -> Result<()> {
    let swapped = swap.job.wait(swap.job.shared.swaps.transact(swap.job.deployment, swap))??;
    swapped.ok_or(Stop::NotOurs)
}

fn refused(code: &'static str, message: impl Into<String>) -> transaction::Error {
    transaction::Error::user(code, message)
}

pub(crate) fn schema_changed() -> transaction::Error {
    refused(
        "ImportSchemaChanged",
        "the schema was changed by a push while the import was under way. Import again.",
    )
}

pub(crate) fn number_taken(table: &TableName) -> transaction::Error {
    refused("TableNumberConflict", format!("the number of the ids of the table `{table}` is another table's"))
}

#[async_trait]
impl Work for Swap<'_> {
    /// `None` if the import is another process's.
    type Output = Option<()>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Option<()>> {
        let Some(row) = mine(transaction, self.job).await? else { return Ok(None) };
        if self.order.mode != ImportMode::Append {
            let mut components: BTreeSet<ComponentId> =
                self.tables.iter().map(|table| table.component).collect();
            if self.order.mode == ImportMode::ReplaceAll {
                components.extend(&self.scope);
            }
            for component in components {
                transaction.enter(component);
                let filled = self.tables.iter().filter(|table| table.component == component).collect();
                self.swap_tables(transaction, filled).await?;
            }
            transaction.enter(ComponentId::ROOT);
        }
        self.show_files(transaction).await?;
        let at_ns = transaction.now_ms().saturating_mul(1_000_000);
        let documents = self.documents + self.files.len() as u64;
        let row = ImportRow { state: ImportState::Completed { documents, at_ns }, claim: None, ..row };
        transaction.replace_row(self.job.id, &row).await?;
        Ok(Some(()))
    }
}

impl Swap<'_> {
    /// In the component that was entered.
    async fn swap_tables(&self, transaction: &mut Transaction, filled: Vec<&ImportTable>) -> Transacted<()> {
        let replaces_all = self.order.mode == ImportMode::ReplaceAll;
        let active_schema = transaction.active_schema();
        let schema = active_schema.as_ref().map(|stored| stored.schema()).transpose()?;
        let active = transaction.tables();
        let (mut coming, mut going) = (Vec::new(), Vec::new());
        let mut numbers: BTreeMap<TableName, TableNumber> = BTreeMap::new();
        for table in &filled {
            if active_schema.as_ref().map(|stored| stored.id) != table.schema {
                return Err(schema_changed().into());
            }
            let hidden =
                table.tablet.and_then(|tablet| transaction.catalog().table_by_tablet(&tablet).cloned());
            let hidden = hidden.filter(|table| table.state == TableState::Hidden);
            let hidden =
                hidden.ok_or_else(|| refused("ImportConflict", "a table that was filled has gone"))?;
            let replaced = active.iter().find(|known| known.name == table.name);
            if let Some(replaced) = replaced {
                if table.must_be_empty && !transaction.is_empty(replaced).await? {
                    return Err(match not_empty(table.name.as_str()) {
                        Stop::Refused(message) => refused("ImportConflict", message),
                        _ => unreachable!("it is a refusal"),
                    }
                    .into());
                }
                going.push(replaced.clone());
            }
            if indexes_of(&hidden) != replaced.map(|table| indexes_of(table)).unwrap_or_default() {
                return Err(schema_changed().into());
            }
            numbers.insert(hidden.name.clone(), hidden.number);
            coming.push(hidden);
        }
        let others: Vec<_> =
            active.iter().filter(|table| !numbers.contains_key(&table.name)).cloned().collect();
        for other in others {
            let is_declared = schema.as_ref().is_some_and(|schema| schema.tables.contains_key(&other.name));
            if replaces_all && is_declared {
                // It was not there when the import began.
                return Err(schema_changed().into());
            }
            if replaces_all {
                going.push(other);
            } else if let Some(table) = coming.iter().find(|table| table.number == other.number) {
                return Err(number_taken(&table.name).into());
            }
        }
        // Documents that stay must not refer to tables by numbers that these no longer have.
        for table in active.iter().filter(|table| !going.iter().any(|gone| gone.tablet == table.tablet)) {
            let validated = schema.as_ref().filter(|schema| schema.schema_validation);
            let Some(declared) = validated.and_then(|schema| schema.tables.get(&table.name)) else {
                continue;
            };
            let mut changed = None;
            each_reference(&declared.document_type, &mut |name| {
                let before = going.iter().find(|gone| gone.name == *name).map(|gone| gone.number);
                if before.is_some() && before != numbers.get(name).copied() {
                    changed = Some(name.clone());
                }
            });
            if let Some(name) = changed
                && !transaction.is_empty(table).await?
            {
                let message = format!(
                    "the documents of `{}` have ids of the table `{name}`, which would no longer be ids of it. Import both, or use \
                     --replace-all",
                    table.name
                );
                return Err(refused("ImportForeignKey", message).into());
            }
        }
        // Nor must those that come: since they were read another import may have given a table other ids.
        for table in &filled {
            for (name, number) in &table.references {
                let other = active.iter().find(|other| other.name == *name);
                let stays = other.filter(|other| !going.iter().any(|gone| gone.tablet == other.tablet));
                let becomes = numbers.get(name).copied().or_else(|| stays.map(|other| other.number));
                if becomes != Some(*number) {
                    let message = format!(
                        "the documents for `{}` have ids of the table `{name}`, which would not be ids of it. Import again, or both tables",
                        table.name
                    );
                    return Err(refused("ImportForeignKey", message).into());
                }
            }
        }
        for table in &going {
            transaction.set_table_state(table, TableState::Deleting).await?;
        }
        for table in &coming {
            transaction.set_table_state(table, TableState::Active).await?;
        }
        self.give_up_coming_schema(transaction).await
    }

    /// A schema that a push has brought was held against documents that go.
    async fn give_up_coming_schema(&self, transaction: &mut Transaction) -> Transacted<()> {
        if let Some(coming) = transaction.coming_schema()
            && coming.schema()?.schema_validation
        {
            let message =
                "An import has replaced documents while the schema was being checked. Push again.".to_owned();
            let error = Some(SchemaFailure { message, table: None });
            let row = SchemaRow { state: SchemaState::Failed, error, ..coming.row.clone() };
            transaction.replace_row(coming.id, &row).await?;
        }
        Ok(())
    }

    async fn show_files(&self, transaction: &mut Transaction) -> Transacted<()> {
        for component in self.storages.iter().copied() {
            require_component(transaction, component)?;
            match self.order.mode {
                ImportMode::Replace | ImportMode::ReplaceAll => {
                    transaction.delete_files(component, usize::MAX).await?;
                }
                ImportMode::RequireEmpty if transaction.has_files(component).await? => {
                    return Err(refused(
                        "ImportConflict",
                        "a file was stored while the import was under way",
                    )
                    .into());
                }
                ImportMode::RequireEmpty | ImportMode::Append => {}
            }
        }
        for file in &self.files {
            transaction.keep_imported_file(file.clone()).await?;
        }
        Ok(())
    }
}

/// What must be the same of the table that comes and the one that goes: fields, kind, and whether it is staged, by name.
fn indexes_of(table: &Table) -> BTreeMap<&str, (&[FieldPath], &IndexKind, bool)> {
    let indexes = table.declared_in_use();
    indexes.map(|index| (index.name.as_str(), (&index.fields[..], &index.kind, index.staged))).collect()
}

//! An import, from its bytes to the commit by which it takes effect.

mod contents;
mod directory;
mod ids;
mod load;
mod numbers;
mod plan;
mod rows;
mod source;
mod swap;

use async_trait::async_trait;
use system_transaction::{Result as Transacted, Work};
use transaction::{ImportRow, ImportState, ImportTableRow, Stored, TableState, Transaction};
use value::{ComponentId, InternalId};

use crate::job::{Job, Result};

/// Does what an import waits for.
pub(crate) fn run(job: &Job, row: ImportRow) -> Result<()> {
    match row.state {
        ImportState::Uploaded => plan::run(job, row),
        ImportState::InProgress { .. } => load::run(job, row),
        ImportState::Completed { .. } | ImportState::Failed { .. } => clear(job),
        ImportState::Uploading | ImportState::WaitingForConfirmation { .. } => Ok(()),
    }
}

/// Has what an import has filled go, as long as nobody sees it.
pub(crate) async fn drop_hidden_tables(transaction: &mut Transaction, import: InternalId) -> Transacted<()> {
    for Stored { row: ImportTableRow { table, .. }, .. } in tables_of(transaction, import).await? {
        transaction.enter(table.component);
        let tablet = table.tablet.and_then(|tablet| transaction.catalog().table_by_tablet(&tablet).cloned());
        if let Some(table) = tablet
            && table.state == TableState::Hidden
        {
            transaction.set_table_state(&table, TableState::Deleting).await?;
        }
    }
    transaction.enter(ComponentId::ROOT);
    Ok(())
}

/// What an import fills, in the order in which it does.
async fn tables_of(
    transaction: &mut Transaction,
    import: InternalId,
) -> Transacted<Vec<Stored<ImportTableRow>>> {
    Ok(transaction.rows("by_import_and_place", &[import.to_string().into()]).await?)
}

/// Removes what is left of an import that is over: its upload, and the documents of tables that it has replaced or never shown.
fn clear(job: &Job) -> Result<()> {
    let (transactions, deployment) = (&job.shared.transactions, job.deployment);
    while job.wait(transactions.transact(deployment, &Discard(job)))?? > 0 {}
    while job.wait(transactions.transact(deployment, &ForgetTables(job)))?? > 0 {}
    let erase = Erase { rows_max: job.shared.limits.removed_max };
    while job.wait(transactions.transact(deployment, &erase))?? {}
    job.wait(transactions.transact(deployment, &Cleared(job)))??;
    Ok(())
}

struct Discard<'j>(&'j Job);

#[async_trait]
impl Work for Discard<'_> {
    type Output = usize;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<usize> {
        let rows_max = self.0.shared.limits.removed_max;
        Ok(transaction.discard_objects_of(self.0.id.internal_id, rows_max).await?)
    }
}

/// Deletes the rows about the tables that it has filled.
struct ForgetTables<'j>(&'j Job);

#[async_trait]
impl Work for ForgetTables<'_> {
    type Output = usize;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<usize> {
        let mut tables = tables_of(transaction, self.0.id.internal_id).await?;
        tables.truncate(self.0.shared.limits.removed_max);
        for table in &tables {
            transaction.delete_row::<ImportTableRow>(table.id).await?;
        }
        Ok(tables.len())
    }
}

/// Deletes documents of tables that were dropped.
pub(crate) struct Erase {
    pub rows_max: usize,
}

#[async_trait]
impl Work for Erase {
    /// Whether there may be more.
    type Output = bool;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<bool> {
        Ok(transaction.erase_dropped(self.rows_max).await?)
    }
}

struct Cleared<'j>(&'j Job);

#[async_trait]
impl Work for Cleared<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        if let Some(row) = transaction.row::<ImportRow>(self.0.id).await?
            && row.state.is_over()
        {
            let row = ImportRow { is_cleared: true, claim: None, ..row };
            transaction.replace_row(self.0.id, &row).await?;
        }
        Ok(())
    }
}

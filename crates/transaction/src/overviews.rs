//! What tools show of tables that can be large: bounded looks, each with exactly what it has seen in the read set.

use contract::{Interval, Order};
use value::{DocumentId, Object, Value};

use crate::{
    DueKind, DueRow, Limits, Result, Stored, SystemTable, Transaction,
    documents::GetRequest,
    scan::Scan,
    system_rows::stored_row,
    system_tables::{DUE_INDEX, IndexRow, SchemaRow},
};

/// As many documents as were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many there are, or as many as were to be counted.
    pub documents: usize,
    /// Whether there are no others.
    pub is_exact: bool,
}

/// A job that waits for its time.
#[derive(Clone, Debug, PartialEq)]
pub struct UpcomingJob {
    /// The document of `_scheduled_functions`.
    pub job: Object,
    /// When it is to run, at the earliest; milliseconds since the Unix epoch. Later than its scheduled time if it was put off.
    pub due_ms: f64,
}

impl Transaction {
    /// What the transaction is held to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts documents of a table, `documents_max` at most; none if there is no such table. The count holds until one that was
    /// counted goes or, where all were, another one comes. Not held to the limits on documents read.
    pub async fn count_up_to(&mut self, table: &str, documents_max: usize) -> Result<Count> {
        let Some(table) = self.table_to_read(table.parse()?)? else {
            return Ok(Count { documents: 0, is_exact: true });
        };
        let counted = self.documents_up_to(&table, documents_max.saturating_add(1)).await?;
        Ok(Count { documents: counted.min(documents_max), is_exact: counted <= documents_max })
    }

    /// The jobs of the running function's component that wait for their time, wherever they run, the next one first: `jobs_max` at most,
    /// and whether there may be more. Of the queue, which is that of all components, so many rows are looked at as the limits say
    /// (`transaction.queue_rows_max`).
    pub async fn upcoming_jobs(&mut self, jobs_max: usize) -> Result<(Vec<UpcomingJob>, bool)> {
        let table = SystemTable::DueRuns;
        let index = table.index(DUE_INDEX).id;
        let interval = Interval { start: Default::default(), end: Some(crate::held_from()) };
        let rows_max = self.limits.transaction.queue_rows_max;
        let mut scan = Scan::new(table.table(), index, interval, Order::Ascending, jobs_max, rows_max);
        let owner = self.component();
        let mut waiting = Vec::new();
        let mut has_more = false;
        for looked_at in 0.. {
            let Some((_, document)) = scan.next(self).await? else { break };
            let Stored { id, row } = stored_row::<DueRow>(&document)?;
            let is_asked_for = row.kind == DueKind::Job && row.owner == owner;
            if looked_at == rows_max || is_asked_for && waiting.len() == jobs_max {
                has_more = true;
                break;
            }
            if is_asked_for {
                let job = DocumentId::new(SystemTable::ScheduledJobs.number(), id.internal_id);
                waiting.push((job, row.due_ms));
            }
        }
        if let Some((index, interval)) = scan.consumed() {
            self.record_interval(index, interval);
        }
        let ids: Vec<String> = waiting.iter().map(|(job, _)| String::from(*job)).collect();
        let requests: Vec<GetRequest<'_>> =
            ids.iter().map(|id| GetRequest { id, table: None, is_system: true }).collect();
        let mut jobs = Vec::with_capacity(waiting.len());
        for (job, (_, due_ms)) in self.get_many(&requests).await.into_iter().zip(waiting) {
            if let Some(job) = job? {
                jobs.push(UpcomingJob { job: job.to_object()?, due_ms });
            }
        }
        Ok((jobs, has_more))
    }

    /// The component's schemas, whatever became of them.
    pub async fn schemas(&mut self) -> Result<Vec<Stored<SchemaRow>>> {
        let component = Value::from(self.component().to_string());
        self.rows("by_component_and_state", &[component]).await
    }

    /// The declared indexes of a table of the application, by name; none if there is no such table.
    pub async fn indexes_of(&mut self, table: &str) -> Result<Vec<Stored<IndexRow>>> {
        let Some(table) = self.table(&table.parse()?) else { return Ok(Vec::new()) };
        let tablet = table.tablet.to_string();
        let mut rows = self.rows::<IndexRow>("by_table_and_name", &[Value::from(tablet)]).await?;
        rows.retain(|index| !index.row.name.is_reserved());
        Ok(rows)
    }
}

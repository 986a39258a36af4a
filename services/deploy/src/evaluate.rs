//! `evaluate_schema`: what a push would do to the tables and indexes, and how large they are.

use contract::{
    DeploymentRef, IndexChangeKind, IndexEvaluation, Interval, Order, Push, Read, ReadAt, ReadResult, Result,
    SchemaEvaluation, TableCheck, TableEvaluation, document,
};
use transaction::Table;
use value::TableName;

use crate::{Handle, start::Evaluated, worker::tables_to_walk};

/// How large a table is, counted up to a limit.
#[derive(Clone, Copy, Default)]
struct TableSize {
    documents: u64,
    bytes: u64,
}

impl Handle {
    pub(crate) async fn sizes(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaEvaluation> {
        let evaluated = self.evaluate(deployment, push).await?;
        let moment = self.transactions().snapshot(deployment).await?.begin_at();
        let mut indexes = Vec::with_capacity(evaluated.change.indexes.len());
        for index in &evaluated.change.indexes {
            let size = self.size_of(deployment, moment, &evaluated, &index.table).await?;
            indexes.push(IndexEvaluation {
                index: index.declared(),
                change: index.kind,
                needs_backfill: index.kind == IndexChangeKind::Added && size.documents > 0,
                documents: size.documents,
            });
        }
        Ok(SchemaEvaluation {
            schema_validation: evaluated.schema.as_ref().is_some_and(|schema| schema.schema_validation),
            tables: self.tables(deployment, moment, &evaluated).await?,
            indexes,
        })
    }

    async fn tables(
        &self,
        deployment: DeploymentRef,
        moment: ReadAt,
        evaluated: &Evaluated,
    ) -> Result<Vec<TableEvaluation>> {
        let Some(schema) = &evaluated.schema else { return Ok(Vec::new()) };
        let walked = tables_to_walk(&evaluated.catalog, schema)?;
        let mut tables = Vec::with_capacity(schema.tables.len());
        for name in schema.tables.keys() {
            let check = match walked.iter().any(|table| table.name == *name) {
                _ if !schema.schema_validation => TableCheck::NotValidated,
                true => TableCheck::Walked,
                false => TableCheck::Proved,
            };
            let TableSize { documents, bytes } = self.size_of(deployment, moment, evaluated, name).await?;
            tables.push(TableEvaluation { table: name.to_string(), check, documents, bytes });
        }
        Ok(tables)
    }

    async fn size_of(
        &self,
        deployment: DeploymentRef,
        moment: ReadAt,
        evaluated: &Evaluated,
        table: &TableName,
    ) -> Result<TableSize> {
        match evaluated.catalog.table(table.as_str()) {
            Some(table) => self.count(deployment, moment, table).await,
            None => Ok(TableSize::default()),
        }
    }

    async fn count(&self, deployment: DeploymentRef, moment: ReadAt, table: &Table) -> Result<TableSize> {
        let limits = self.limits();
        let mut size = TableSize::default();
        let mut interval = Interval::all();
        while size.documents < limits.push.counted_documents_max as u64 {
            let read = Read::Range {
                index: table.by_id.id,
                interval: interval.clone(),
                order: Order::Ascending,
                rows_max: usize::MAX,
                bytes_max: usize::MAX,
            };
            let results = self.transactions().log.read(deployment, moment, &[read]).await?;
            let [ReadResult::Range { rows, more }] = &results[..] else { break };
            for row in rows {
                size.documents += 1;
                size.bytes += u64::from(document::decode(&row.version.document)?.1);
            }
            match rows.last() {
                Some(last) if *more => {
                    interval.start = Interval::point(&last.key).end.expect("a point has an end")
                }
                _ => break,
            }
            tokio::task::yield_now().await;
        }
        Ok(size)
    }
}

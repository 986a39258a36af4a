//! `evaluate_schema`: what a push would do to the tables and indexes, and how large they are.

use std::collections::BTreeMap;

use contract::{
    ComponentSchemaEvaluation, DeploymentRef, IndexChangeKind, IndexEvaluation, Interval, Order, Push, Read,
    ReadAt, ReadResult, Result, SchemaEvaluation, TableCheck, TableEvaluation, document,
};
use schema::DatabaseSchema;
use transaction::Table;
use value::TableName;

use crate::{Handle, definitions::APP, start::Compared, worker::tables_to_walk};

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
        let mut components = BTreeMap::new();
        for (path, compared) in &evaluated.components {
            let schema = evaluated.definitions[&compared.definition].schema.as_ref();
            let evaluation = self.sizes_of(deployment, moment, compared, schema).await?;
            components.insert(path.to_string(), evaluation);
        }
        let is_deployed =
            |path: &String| evaluated.deployed.instances().any(|(_, stored)| stored.row.definition == *path);
        let new = evaluated.definitions.keys().filter(|path| *path != APP && !is_deployed(path));
        Ok(SchemaEvaluation { components, new_definitions: new.cloned().collect() })
    }

    async fn sizes_of(
        &self,
        deployment: DeploymentRef,
        moment: ReadAt,
        compared: &Compared,
        schema: Option<&DatabaseSchema>,
    ) -> Result<ComponentSchemaEvaluation> {
        let mut indexes = Vec::with_capacity(compared.change.indexes.len());
        for index in &compared.change.indexes {
            let size = self.size_of(deployment, moment, compared, &index.table).await?;
            indexes.push(IndexEvaluation {
                index: index.declared(),
                change: index.kind,
                needs_backfill: index.kind == IndexChangeKind::Added && size.documents > 0,
                documents: size.documents,
            });
        }
        Ok(ComponentSchemaEvaluation {
            definition: compared.definition.clone(),
            schema_validation: schema.is_some_and(|schema| schema.schema_validation),
            tables: self.tables(deployment, moment, compared, schema).await?,
            indexes,
        })
    }

    async fn tables(
        &self,
        deployment: DeploymentRef,
        moment: ReadAt,
        compared: &Compared,
        schema: Option<&DatabaseSchema>,
    ) -> Result<Vec<TableEvaluation>> {
        let Some(schema) = schema else { return Ok(Vec::new()) };
        let walked = tables_to_walk(&compared.catalog, schema)?;
        let mut tables = Vec::with_capacity(schema.tables.len());
        for name in schema.tables.keys() {
            let check = match walked.iter().any(|table| table.name == *name) {
                _ if !schema.schema_validation => TableCheck::NotValidated,
                true => TableCheck::Walked,
                false => TableCheck::Proved,
            };
            let TableSize { documents, bytes } = self.size_of(deployment, moment, compared, name).await?;
            tables.push(TableEvaluation { table: name.to_string(), check, documents, bytes });
        }
        Ok(tables)
    }

    async fn size_of(
        &self,
        deployment: DeploymentRef,
        moment: ReadAt,
        compared: &Compared,
        table: &TableName,
    ) -> Result<TableSize> {
        match compared.catalog.table(table.as_str()) {
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

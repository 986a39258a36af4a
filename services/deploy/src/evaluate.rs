//! `evaluate_push` and `evaluate_schema`: what a push would change, without beginning it.

use contract::{DeploymentRef, Interval, Order, Read, ReadAt, ReadResult, Result, document};
use serde_json::{Value as Json, json};
use transaction::Table;
use value::TableName;

use crate::{
    Deploy, PushRequest,
    start::{Evaluated, schema_change},
    worker::tables_to_walk,
};

/// How large a table is, counted up to a limit.
#[derive(Clone, Copy, Default)]
struct TableSize {
    documents: u64,
    bytes: u64,
}

impl Deploy {
    /// The answer of `evaluate_push`.
    pub async fn evaluate_push(&self, deployment: DeploymentRef, request: PushRequest) -> Result<Json> {
        let evaluated = self.evaluate(deployment, request).await?;
        Ok(json!({"schemaChange": schema_change(&evaluated, None)}))
    }

    /// The answer of `evaluate_schema`.
    pub async fn evaluate_schema(&self, deployment: DeploymentRef, request: PushRequest) -> Result<Json> {
        let evaluated = self.evaluate(deployment, request).await?;
        let moment = self.snapshot(deployment).await?.begin_at();
        let mut indexes = Vec::with_capacity(evaluated.change.indexes.len());
        for index in &evaluated.change.indexes {
            let size = self.size_of(deployment, moment, &evaluated, &index.table).await?;
            let mut json = index.to_json();
            json["change"] = Json::from(index.kind_name());
            json["needsBackfill"] = Json::Bool(index.kind_name() == "added" && size.documents > 0);
            json["numDocs"] = Json::from(size.documents);
            indexes.push(json);
        }
        let evaluation = json!({
            "definitionPath": "",
            "schemaValidation": evaluated.schema.as_ref().is_some_and(|schema| schema.schema_validation),
            "tables": self.tables(deployment, moment, &evaluated).await?,
            "indexes": indexes,
        });
        Ok(json!({"componentSchemaEvaluations": {"": evaluation}, "newComponentDefinitions": []}))
    }

    async fn tables(
        &self,
        deployment: DeploymentRef,
        moment: ReadAt,
        evaluated: &Evaluated,
    ) -> Result<Vec<Json>> {
        let Some(schema) = &evaluated.schema else { return Ok(Vec::new()) };
        let walked = tables_to_walk(&evaluated.catalog, schema)?;
        let mut tables = Vec::with_capacity(schema.tables.len());
        for name in schema.tables.keys() {
            let outcome = match walked.iter().any(|table| table.name == *name) {
                _ if !schema.schema_validation => "notValidated",
                true => "mustWalk",
                false => "supersetOfEnforced",
            };
            let size = self.size_of(deployment, moment, evaluated, name).await?;
            tables.push(json!({
                "name": name.as_str(),
                "outcome": outcome,
                "numDocs": size.documents,
                "sizeBytes": size.bytes,
            }));
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
        let limits = &self.services().limits;
        let mut size = TableSize::default();
        let mut interval = Interval::all();
        while size.documents < limits.push.counted_documents_max as u64 {
            let read = Read::Range {
                index: table.by_id.id,
                interval: interval.clone(),
                order: Order::Ascending,
                rows_max: limits.log.read_page_documents_max,
                bytes_max: limits.log.read_page_bytes_max,
            };
            let results = self.services().log.read(deployment, moment, &[read]).await?;
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

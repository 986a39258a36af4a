//! `finish_push`: the one commit that makes the pushed code the served code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use auth::Providers;
use code::environment_hash;
use contract::{
    AuthDifference, CronDifference, DeploymentRef, Error, FinishPush, IndexChangeKind, IndexDifference,
    IndexId, PushDifference, Result, SchemaTexts,
};
use schema::DatabaseSchema;
use serde_json::Value as Json;
use system_transaction::Work;
use transaction::{
    AuthRow, CronJobRow, IndexRow, IndexState, ModuleRow, SchemaRow, SchemaState, Transaction, UdfConfigRow,
};
use value::{ComponentId, DocumentId, TableName};

use crate::{
    Handle, crons, prepared::Prepared, schema_change::SchemaChange, start::index_rows, wait::row_id,
    worker::schema_row,
};

impl Handle {
    pub(crate) async fn finish(
        &self,
        deployment: DeploymentRef,
        request: FinishPush,
    ) -> Result<PushDifference> {
        let prepared = Prepared::from_json(&request.prepared)?;
        let modules = prepared.module_rows()?;
        let analyses = modules.values().filter_map(|row| Some((row.path.clone(), row.analysis.clone()?)));
        let finish = Finish {
            crons: crons::declared(&analyses.collect())?,
            modules,
            schema: match &prepared.schema {
                Some(text) => Some(
                    DatabaseSchema::from_json(text, &self.limits().transaction.schema)
                        .map_err(|error| Error::bad_request(error.code(), error.to_string()))?,
                ),
                None => None,
            },
            auth_providers: prepared.auth_providers(&self.limits().auth)?,
            schema_id: row_id(request.schema.as_ref())?,
            prepared,
            dry_run: request.dry_run,
        };
        for module in finish.modules.values() {
            if !self.dependencies().blobs.has(module.source).await? {
                return Err(Error::bad_request(
                    "InvalidPush",
                    format!("The text of module `{}` was never pushed.", module.path),
                ));
            }
        }
        if let Some(lock) = finish.prepared.node_lock()?
            && !self.dependencies().blobs.has(lock).await?
        {
            return Err(Error::bad_request("InvalidPush", "The lock of the packages was never made."));
        }
        if request.dry_run {
            return Ok(finish.run(&mut self.transactions().snapshot(deployment).await?).await?);
        }
        Ok(self.transactions().transact(deployment, &finish).await?)
    }
}

struct Finish {
    prepared: Prepared,
    modules: BTreeMap<String, ModuleRow>,
    schema: Option<DatabaseSchema>,
    auth_providers: Providers,
    crons: Vec<CronJobRow>,
    schema_id: Option<DocumentId>,
    /// It does not look at what a push in earnest would have prepared, and is not committed.
    dry_run: bool,
}

/// A push must be repeated; the command line tool does that by itself.
fn race(what: &str) -> Error {
    Error::bad_request("RaceDetected", format!("{what} meanwhile; the push has to be repeated."))
}

#[async_trait]
impl Work for Finish {
    type Output = PushDifference;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<PushDifference> {
        let variables: BTreeMap<String, String> = transaction
            .environment_variables()
            .into_iter()
            .map(|variable| (variable.row.name, variable.row.value))
            .collect();
        if environment_hash(&variables) != self.prepared.environment_hash {
            return Err(race("The environment variables have changed").into());
        }
        let config = self.prepared.config_row()?;
        let old_config = transaction.udf_config();
        let old_hash = old_config.as_ref().map(|config| config.row.code_hash.as_str()).unwrap_or_default();
        if old_hash != self.prepared.base_code_hash && old_hash != config.code_hash {
            return Err(race("Another push has changed the code").into());
        }
        let schema = self.write_schema(transaction).await?;
        let indexes = self.write_indexes(transaction).await?;
        let modules = self.write_modules(transaction).await?;
        let auth_providers = write_auth_providers(transaction, &self.auth_providers).await?;
        let crons = transaction.change_crons(ComponentId::ROOT, self.crons.clone()).await?;
        let server_version = match &old_config {
            Some(old) if old.row.server_version == config.server_version => None,
            old => {
                let before = old.as_ref().map(|old| old.row.server_version.clone()).unwrap_or_default();
                Some((before, config.server_version.clone()))
            }
        };
        let is_first = old_config.is_none();
        match old_config {
            // The code is what it was: it keeps its import phase, so that nothing computed by it is invalidated.
            Some(old) if !modules.any && old.row.node == config.node => {
                let same = UdfConfigRow {
                    server_version: config.server_version,
                    functions_directory: config.functions_directory,
                    ..old.row
                };
                transaction.replace_row(old.id, &same).await?;
            }
            Some(old) => transaction.replace_row(old.id, &config).await?,
            None => {
                transaction.insert_row(&config).await?;
            }
        }
        Ok(PushDifference {
            is_first,
            modules_added: modules.added,
            modules_removed: modules.removed,
            server_version,
            indexes,
            schema,
            auth_providers,
            crons: CronDifference { added: crons.added, updated: crons.updated, deleted: crons.deleted },
        })
    }
}

impl Finish {
    /// Makes the prepared schema the enforced one.
    async fn write_schema(
        &self,
        transaction: &mut Transaction,
    ) -> system_transaction::Result<Option<SchemaTexts>> {
        let active = transaction.catalog().active_schema().cloned();
        let wanted = self.prepared.schema.as_deref();
        if let Some(id) = self.schema_id {
            let Some(mut row) = schema_row(transaction, id).await? else {
                return Err(race("Another push began").into());
            };
            match row.state {
                SchemaState::Active => return Ok(None),
                SchemaState::Failed => {
                    let reason = row.error.map(|error| error.message).unwrap_or_default();
                    return Err(Error::bad_request("SchemaValidationFailed", reason).into());
                }
                SchemaState::Pending => {
                    return Err(Error::bad_request(
                        "SchemaNotReady",
                        "The documents are still being checked against the schema.",
                    )
                    .into());
                }
                SchemaState::Validated => {}
            }
            if row.schema.as_ref() != wanted.unwrap_or_default() {
                return Err(
                    Error::bad_request("InvalidPush", "The push names another schema than its own.").into()
                );
            }
            row.state = SchemaState::Active;
            transaction.replace_row(id, &row).await?;
        } else if wanted.is_some() && !self.dry_run {
            return Err(Error::bad_request("InvalidPush", "The push names no schema, but brings one.").into());
        }
        let previous = active.as_ref().map(|active| active.row.schema.clone());
        if previous.as_deref() == wanted {
            return Ok(None);
        }
        if let Some(active) = active {
            transaction.delete_row::<SchemaRow>(active.id).await?;
        }
        Ok(Some(SchemaTexts { before: previous, now: wanted.map(Arc::from) }))
    }

    /// Enables what was filled, drops what is no longer declared, and makes the tables that were not there.
    async fn write_indexes(
        &self,
        transaction: &mut Transaction,
    ) -> system_transaction::Result<IndexDifference> {
        let before: BTreeSet<TableName> =
            transaction.catalog().tables().map(|table| table.name.clone()).collect();
        let change = SchemaChange::between(transaction.catalog(), self.schema.as_ref());
        for table in self.schema.iter().flat_map(|schema| schema.tables.keys()) {
            if !before.contains(table) {
                transaction.create_table(table.clone()).await?;
            }
        }
        let rows = index_rows(transaction).await?;
        for (_, index) in &change.abandoned {
            if let Some((id, _)) = rows.get(&index.id) {
                transaction.delete_row::<IndexRow>(*id).await?;
            }
        }
        for wanted in &change.indexes {
            let existing = wanted.existing.as_ref().and_then(|index| rows.get(&index.id));
            match (wanted.kind, existing) {
                (IndexChangeKind::Identical, _) => {}
                (IndexChangeKind::Dropped, Some((id, _))) => {
                    transaction.delete_row::<IndexRow>(*id).await?;
                }
                (_, Some((id, row))) => {
                    if row.state == IndexState::Backfilling && !wanted.staged && !self.dry_run {
                        return Err(race("An index is still being filled").into());
                    }
                    let state = match (wanted.staged, row.state) {
                        (false, _) => IndexState::Enabled,
                        (true, IndexState::Backfilling) => IndexState::Backfilling,
                        (true, _) => IndexState::Backfilled,
                    };
                    let row = IndexRow { state, staged: wanted.staged, ..row.clone() };
                    transaction.replace_row(*id, &row).await?;
                }
                (_, None) => {
                    if before.contains(&wanted.table) {
                        // It was made by a write since the push began, and nothing has filled the index.
                        if self.dry_run {
                            continue;
                        }
                        return Err(race("A table was created").into());
                    }
                    let Some(table) = transaction.catalog().table(wanted.table.as_str()) else { continue };
                    let row = IndexRow {
                        component: ComponentId::ROOT,
                        table: table.tablet,
                        id: IndexId(rand::random()),
                        name: wanted.name.clone(),
                        fields: wanted.fields.clone(),
                        kind: wanted.index_kind.clone(),
                        state: if wanted.staged { IndexState::Backfilled } else { IndexState::Enabled },
                        staged: wanted.staged,
                    };
                    transaction.insert_row(&row).await?;
                }
            }
        }
        Ok(change.difference())
    }

    async fn write_modules(&self, transaction: &mut Transaction) -> system_transaction::Result<ModuleDiff> {
        let mut diff = ModuleDiff::default();
        let mut old: BTreeMap<String, _> =
            transaction.modules().into_iter().map(|module| (module.row.path.clone(), module)).collect();
        for (path, module) in &self.modules {
            match old.remove(path) {
                Some(stored) if stored.row == *module => {}
                Some(stored) => {
                    diff.any = true;
                    transaction.replace_row(stored.id, module).await?;
                }
                None => {
                    diff.any = true;
                    diff.added.push(path.clone());
                    transaction.insert_row(module).await?;
                }
            }
        }
        for (path, stored) in old {
            diff.any = true;
            diff.removed.push(path);
            transaction.delete_row::<ModuleRow>(stored.id).await?;
        }
        Ok(diff)
    }
}

/// Makes `providers` those of the deployment.
pub(crate) async fn write_auth_providers(
    transaction: &mut Transaction,
    providers: &Providers,
) -> system_transaction::Result<AuthDifference> {
    let texts = |json: Json| json.as_array().into_iter().flatten().map(Json::to_string).collect();
    let old = transaction.auth();
    let before: BTreeSet<String> =
        match &old {
            Some(old) => texts(serde_json::from_str(&old.row.providers).map_err(|error| {
                Error::internal(format!("the stored auth providers are not JSON: {error}"))
            })?),
            None => BTreeSet::new(),
        };
    let json = providers.to_json();
    let row = AuthRow { providers: json.to_string().into() };
    match old {
        Some(old) if row == old.row => {}
        Some(old) if providers.is_empty() => transaction.delete_row::<AuthRow>(old.id).await?,
        Some(old) => transaction.replace_row(old.id, &row).await?,
        None if providers.is_empty() => {}
        None => {
            transaction.insert_row(&row).await?;
        }
    }
    let now: BTreeSet<String> = texts(json);
    Ok(AuthDifference {
        added: now.difference(&before).cloned().collect(),
        removed: before.difference(&now).cloned().collect(),
    })
}

#[derive(Default)]
struct ModuleDiff {
    added: Vec<String>,
    removed: Vec<String>,
    /// Something was added, removed or changed.
    any: bool,
}

//! `finish_push`: the one commit that makes the pushed code the served code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use auth::Providers;
use code::environment_hash;
use contract::{
    AuthDifference, ComponentChange, ComponentDifference, CronDifference, DeploymentRef, Error, FinishPush,
    IndexChangeKind, IndexDifference, IndexId, PushDifference, Result, SchemaTexts,
};
use serde_json::Value as Json;
use system_transaction::Work;
use transaction::{
    AuthRow, ComponentRow, CronJobRow, EnvironmentVariableRow, IndexRow, IndexState, ModuleRow, SchemaRow,
    SchemaState, Stored, Transaction, UdfConfigRow, component_id,
};
use value::{ComponentId, DocumentId, TableName};

use crate::{
    Handle, crons,
    definitions::{self, APP, Variables},
    prepared::{Prepared, ToDeploy},
    schema_change::SchemaChange,
    start::index_rows,
    wait::row_ids,
    worker::schema_row,
};

impl Handle {
    pub(crate) async fn finish(
        &self,
        deployment: DeploymentRef,
        request: FinishPush,
    ) -> Result<PushDifference> {
        let prepared = Prepared::from_json(&request.prepared)?;
        let definitions = prepared.definitions(&self.limits().transaction.schema)?;
        let instances = prepared.instances()?;
        let finish = Finish {
            code_hash: prepared.code_hash(&definitions, &instances),
            auth_providers: prepared.auth_providers(&self.limits().auth)?,
            crons: definitions.iter().map(crons_of).collect::<Result<_>>()?,
            definitions,
            instances,
            schemas: row_ids(&request.schemas)?,
            prepared,
            dry_run: request.dry_run,
        };
        for module in finish.definitions.values().flat_map(|definition| definition.modules.values()) {
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

/// The cron jobs of a definition, by its path.
fn crons_of((path, definition): (&String, &ToDeploy)) -> Result<(String, Vec<CronJobRow>)> {
    let analysis = |row: &ModuleRow| Some((row.path.clone(), row.analysis.clone()?));
    let analyses = definition.modules.values().filter_map(analysis).collect();
    Ok((path.clone(), crons::declared(&analyses)?))
}

struct Finish {
    prepared: Prepared,
    /// By their paths.
    definitions: BTreeMap<String, ToDeploy>,
    crons: BTreeMap<String, Vec<CronJobRow>>,
    /// Parents before their children.
    instances: Vec<ComponentRow>,
    auth_providers: Providers,
    code_hash: String,
    /// By the paths of the components.
    schemas: BTreeMap<String, DocumentId>,
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
        let variables = variables(transaction);
        if environment_hash(&variables) != self.prepared.environment_hash {
            return Err(race("The environment variables have changed").into());
        }
        let config = transaction.udf_config();
        let old_hash = config.as_ref().map(|config| config.row.code_hash.as_str()).unwrap_or_default();
        if old_hash != self.prepared.base_code_hash && old_hash != self.code_hash {
            return Err(race("Another push has changed the code").into());
        }
        let auth_providers = write_auth_providers(transaction, &self.auth_providers).await?;
        let rows = index_rows(transaction).await?;
        let change = if config.is_none() { ComponentChange::Created } else { ComponentChange::Modified };
        let app = self.write_component(transaction, APP, "", change, &rows).await?;
        let mut components = BTreeMap::from([(String::new(), app)]);
        let mut before: BTreeMap<ComponentId, Arc<Stored<ComponentRow>>> =
            transaction.instances().into_iter().collect();
        let variables = definitions::variables_of(&self.instances, &variables);
        for row in &self.instances {
            let id = component_id(&row.path);
            let (change, is_changed) = match before.remove(&id) {
                None => {
                    transaction.insert_instance(row).await?;
                    (ComponentChange::Created, true)
                }
                Some(stored) => {
                    let is_mounted = stored.row.is_mounted;
                    transaction.replace_row(stored.id, row).await?;
                    let change =
                        if is_mounted { ComponentChange::Modified } else { ComponentChange::Remounted };
                    (change, stored.row != *row)
                }
            };
            transaction.enter(id);
            let difference =
                self.write_component(transaction, &row.definition, row.path.as_str(), change, &rows).await?;
            let has_other_variables = write_variables(transaction, variables[&row.path].clone()).await?;
            transaction.enter(ComponentId::ROOT);
            if is_changed || has_other_variables || says_something(&difference) {
                components.insert(row.path.to_string(), difference);
            }
        }
        for (id, stored) in before.into_iter().filter(|(_, stored)| stored.row.is_mounted) {
            transaction
                .replace_row(stored.id, &ComponentRow { is_mounted: false, ..stored.row.clone() })
                .await?;
            transaction.enter(id);
            let difference = unmount(transaction).await?;
            transaction.enter(ComponentId::ROOT);
            components.insert(stored.row.path.to_string(), difference);
        }
        Ok(PushDifference { auth_providers, components })
    }
}

/// Whether anything has changed.
fn says_something(difference: &ComponentDifference) -> bool {
    let ComponentDifference {
        modules_added, modules_removed, server_version, indexes, schema, crons, ..
    } = difference;
    let lists = [&indexes.added, &indexes.removed, &indexes.enabled, &indexes.disabled];
    let names = [modules_added, modules_removed, &crons.added, &crons.updated, &crons.deleted];
    server_version.is_some()
        || schema.is_some()
        || lists.iter().any(|list| !list.is_empty())
        || names.iter().any(|list| !list.is_empty())
}

/// The environment variables of the component in which the transaction is.
fn variables(transaction: &mut Transaction) -> Variables {
    let variables = transaction.environment_variables().into_iter();
    variables.map(|variable| (variable.row.name, variable.row.value)).collect()
}

/// Makes these the environment variables of the component in which the transaction is; whether they were others.
pub(crate) async fn write_variables(
    transaction: &mut Transaction,
    mut variables: Variables,
) -> system_transaction::Result<bool> {
    let mut is_changed = false;
    for old in transaction.environment_variables() {
        match variables.remove(&old.row.name) {
            None => transaction.delete_row::<EnvironmentVariableRow>(old.id).await?,
            Some(value) if value == old.row.value => continue,
            Some(value) => {
                transaction.replace_row(old.id, &EnvironmentVariableRow { value, ..old.row }).await?;
            }
        }
        is_changed = true;
    }
    let component = transaction.component();
    for (name, value) in variables {
        transaction.insert_row(&EnvironmentVariableRow { component, name, value }).await?;
        is_changed = true;
    }
    Ok(is_changed)
}

/// Takes the code of the component in which the transaction is away. Its tables, files and jobs stay, and its schema with them.
async fn unmount(transaction: &mut Transaction) -> system_transaction::Result<ComponentDifference> {
    let mut modules_removed = Vec::new();
    for module in transaction.modules() {
        modules_removed.push(module.row.path.clone());
        transaction.delete_row::<ModuleRow>(module.id).await?;
    }
    if let Some(config) = transaction.udf_config() {
        transaction.delete_row::<UdfConfigRow>(config.id).await?;
    }
    write_variables(transaction, Variables::new()).await?;
    let crons = transaction.change_crons(transaction.component(), Vec::new()).await?;
    Ok(ComponentDifference {
        change: ComponentChange::Unmounted,
        modules_added: Vec::new(),
        modules_removed,
        server_version: None,
        indexes: IndexDifference::default(),
        schema: None,
        crons: CronDifference { added: crons.added, updated: crons.updated, deleted: crons.deleted },
    })
}

impl Finish {
    /// Deploys a definition to the component in which the transaction is.
    async fn write_component(
        &self,
        transaction: &mut Transaction,
        definition: &str,
        path: &str,
        change: ComponentChange,
        rows: &BTreeMap<IndexId, (DocumentId, IndexRow)>,
    ) -> system_transaction::Result<ComponentDifference> {
        let component = transaction.component();
        let of = &self.definitions[definition];
        let schema = self.write_schema(transaction, of, path, change).await?;
        let indexes = self.write_indexes(transaction, of, rows).await?;
        let modules = write_modules(transaction, of).await?;
        let mut crons = self.crons[definition].clone();
        crons.iter_mut().for_each(|cron| cron.component = component);
        let crons = transaction.change_crons(component, crons).await?;
        let config = self.prepared.config_row(component, of, &self.code_hash)?;
        let old = transaction.udf_config();
        let server_version = match &old {
            Some(old) if old.row.server_version == config.server_version => None,
            old => {
                let before = old.as_ref().map(|old| old.row.server_version.clone()).unwrap_or_default();
                Some((before, config.server_version.clone()))
            }
        };
        match old {
            // The code is what it was: it keeps its import phase, so that nothing computed by it is invalidated.
            Some(old) if !modules.any && old.row.node == config.node => {
                let UdfConfigRow { import_seed, import_time_ms, .. } = old.row;
                let same = UdfConfigRow { import_seed, import_time_ms, ..config };
                transaction.replace_row(old.id, &same).await?;
            }
            Some(old) => transaction.replace_row(old.id, &config).await?,
            None => {
                transaction.insert_row(&config).await?;
            }
        }
        Ok(ComponentDifference {
            change,
            modules_added: modules.added,
            modules_removed: modules.removed,
            server_version,
            indexes,
            schema,
            crons: CronDifference { added: crons.added, updated: crons.updated, deleted: crons.deleted },
        })
    }

    /// Makes the prepared schema the enforced one.
    async fn write_schema(
        &self,
        transaction: &mut Transaction,
        of: &ToDeploy,
        path: &str,
        change: ComponentChange,
    ) -> system_transaction::Result<Option<SchemaTexts>> {
        let active = transaction.catalog().active_schema().cloned();
        let wanted = of.schema_text.as_deref();
        // What is mounted for the first time has no documents that would have to be looked at.
        let is_new = change == ComponentChange::Created && !transaction.component().is_root();
        if let Some(&id) = self.schemas.get(path) {
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
            if row.schema.as_ref() != wanted.unwrap_or_default() || row.component != transaction.component() {
                return Err(
                    Error::bad_request("InvalidPush", "The push names another schema than its own.").into()
                );
            }
            row.state = SchemaState::Active;
            transaction.replace_row(id, &row).await?;
        } else if let (true, Some(text)) = (is_new, wanted) {
            let component = transaction.component();
            let row = SchemaRow { component, state: SchemaState::Active, schema: text.into(), error: None };
            transaction.insert_row(&row).await?;
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
        of: &ToDeploy,
        rows: &BTreeMap<IndexId, (DocumentId, IndexRow)>,
    ) -> system_transaction::Result<IndexDifference> {
        let component = transaction.component();
        let before: BTreeSet<TableName> =
            transaction.catalog().tables().map(|table| table.name.clone()).collect();
        let change = SchemaChange::between(transaction.catalog(), of.schema.as_ref());
        for table in of.schema.iter().flat_map(|schema| schema.tables.keys()) {
            if !before.contains(table) {
                transaction.create_table(table.clone()).await?;
            }
        }
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
                        component,
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
}

async fn write_modules(
    transaction: &mut Transaction,
    of: &ToDeploy,
) -> system_transaction::Result<ModuleDiff> {
    let component = transaction.component();
    let mut diff = ModuleDiff::default();
    let mut old: BTreeMap<String, _> =
        transaction.modules().into_iter().map(|module| (module.row.path.clone(), module)).collect();
    for (path, module) in &of.modules {
        let module = ModuleRow { component, ..module.clone() };
        match old.remove(path) {
            Some(stored) if stored.row == module => {}
            Some(stored) => {
                diff.any = true;
                transaction.replace_row(stored.id, &module).await?;
            }
            None => {
                diff.any = true;
                diff.added.push(path.clone());
                transaction.insert_row(&module).await?;
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

//! `start_push`: evaluates the bundles, and begins to prepare what the new schema needs.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use auth::Providers;
use bytes::Bytes;
use code::{AUTH_CONFIG_MODULE, environment_hash, module_hash};
use contract::{
    BlobDigest, DeploymentRef, Error, Evaluation, EvaluationRequest, IndexChangeKind, IndexId, ModuleSource,
    NodeEvaluation, Push, PushedModule, Result, SchemaDifference, SchemaId, StartedPush,
};
use schema::DatabaseSchema;
use system_transaction::Work;
use transaction::{
    Catalog, IndexRow, IndexState, ModuleEnvironment, ModuleRow, NodeConfig, SchemaRow, SchemaState,
    Transaction,
};
use value::{ComponentId, DocumentId, ModulePath};

use crate::{
    Handle, analysis, crons, imports,
    prepared::{Config, Prepared},
    refusal,
    schema_change::SchemaChange,
};

/// A push whose code has been evaluated; nothing is written yet but blobs.
pub(crate) struct Evaluated {
    /// With the analyses of all modules, those for Node.js included.
    pub evaluation: Evaluation,
    node: Option<NodeEvaluation>,
    node_config: NodeConfig,
    pub schema: Option<DatabaseSchema>,
    pub auth_providers: Providers,
    /// Compared with what was deployed when it was evaluated.
    pub change: SchemaChange,
    /// The state that it was compared with.
    pub catalog: Arc<Catalog>,
    modules: Vec<ModuleRow>,
    server_version: String,
    functions: String,
    base_code_hash: String,
    environment_hash: String,
}

/// A module with its text, on its way to be evaluated.
struct Bundle {
    path: String,
    environment: ModuleEnvironment,
    source: Arc<str>,
    source_map: Option<Arc<str>>,
    hash: [u8; 32],
}

impl Bundle {
    fn module(&self) -> ModuleSource {
        ModuleSource {
            path: self.path.clone(),
            source: self.source.clone(),
            source_map: self.source_map.clone(),
        }
    }
}

impl Evaluated {
    pub fn difference(&self, schema: Option<DocumentId>) -> SchemaDifference {
        SchemaDifference {
            schema: schema.map(|id| SchemaId(id.to_string())),
            indexes: self.change.difference(),
        }
    }

    /// What `finish_push` needs of it.
    fn prepared(&self) -> Prepared {
        let config = Config {
            server_version: &self.server_version,
            functions: &self.functions,
            import_phase: self.evaluation.import_phase,
            node: &self.node_config,
        };
        let schema = self.schema.as_ref().map(DatabaseSchema::to_json);
        Prepared::new(
            &self.modules,
            schema,
            self.auth_providers.to_json().to_string(),
            &config,
            self.base_code_hash.clone(),
            self.environment_hash.clone(),
        )
    }
}

impl Handle {
    pub(crate) async fn start(&self, deployment: DeploymentRef, push: Push) -> Result<StartedPush> {
        let writes = !push.dry_run && !push.for_codegen;
        let evaluated = self.evaluate(deployment, push).await?;
        let schema_id = if writes { self.prepare_schema(deployment, &evaluated).await? } else { None };
        if writes {
            self.keep_preparing(deployment, schema_id);
        }
        Ok(StartedPush {
            prepared: evaluated.prepared().to_json(),
            difference: evaluated.difference(schema_id),
            schema: evaluated.schema.as_ref().map(|schema| schema.to_json().into()),
            auth_providers: evaluated.auth_providers.to_json().to_string().into(),
            modules: evaluated.evaluation.modules,
            app_definition: evaluated.evaluation.app_definition,
            server_version: evaluated.server_version,
            node_packages_id: evaluated.node.and_then(|node| node.packages_id),
        })
    }

    /// Runs the code of a push, refuses what is not served, and compares the result with what is deployed.
    pub(crate) async fn evaluate(&self, deployment: DeploymentRef, push: Push) -> Result<Evaluated> {
        refusal::check_bundles(&push)?;
        let mut transaction = self.transactions().snapshot(deployment).await?;
        let bundles = self.bundles(&mut transaction, &push).await?;
        let environment: BTreeMap<String, String> = transaction
            .environment_variables()
            .into_iter()
            .map(|variable| (variable.row.name, variable.row.value))
            .collect();
        let modules_of = |environment: ModuleEnvironment| {
            let bundles = bundles.iter().filter(|bundle| bundle.environment == environment);
            bundles.map(Bundle::module).collect::<Vec<_>>()
        };
        let mut evaluation = self
            .dependencies()
            .runner
            .evaluate(EvaluationRequest {
                deployment,
                modules: modules_of(ModuleEnvironment::Isolate),
                schema: push.schema.as_ref().map(|pushed| pushed.module.clone()),
                app_definition: push.app_definition.as_ref().map(|pushed| pushed.module.clone()),
                environment_variables: environment.clone(),
                import_phase: None,
            })
            .await?;
        let node_modules = modules_of(ModuleEnvironment::Node);
        let node = self.evaluate_node(deployment, node_modules, &environment, &push).await?;
        if let Some(node) = &node {
            evaluation.modules.extend(node.modules.clone());
        }
        refusal::check_evaluation(&evaluation)?;
        crons::declared(&evaluation.modules)?;
        analysis::check_functions(&evaluation.modules, self.limits())?;
        analysis::check_declared_variables(&evaluation, &environment, self.limits())?;
        let auth_providers = analysis::auth_providers(&evaluation, &self.limits().auth)?;
        let schema = match &evaluation.schema {
            Some(text) => {
                Some(DatabaseSchema::from_json(text, &self.limits().transaction.schema).map_err(|error| {
                    Error::bad_request(error.code(), format!("`schema.js` (default export): {error}."))
                })?)
            }
            None => None,
        };
        let modules = self.store(bundles, &evaluation).await?;
        let node_config = self.node_config(node.as_ref(), push.node_version, push.node_packages).await?;
        let base_code_hash = transaction.udf_config().map(|config| config.row.code_hash).unwrap_or_default();
        let catalog = transaction.catalog().clone();
        Ok(Evaluated {
            change: SchemaChange::between(&catalog, schema.as_ref()),
            evaluation,
            node,
            node_config,
            schema,
            auth_providers,
            catalog,
            modules,
            server_version: push.server_version,
            functions: push.functions_folder,
            base_code_hash,
            environment_hash: environment_hash(&environment),
        })
    }

    /// All modules of the push with their text: those that came with it, and the deployed ones that it names.
    async fn bundles(&self, transaction: &mut Transaction, push: &Push) -> Result<Vec<Bundle>> {
        let limits = &self.limits().push;
        let count = push.changed_modules.len() + push.unchanged_modules.len();
        if count > limits.modules_max {
            let message = format!("{count} modules are too many (the maximum is {}).", limits.modules_max);
            return Err(Error::bad_request("ModulesTooLarge", message));
        }
        let mut bundles = Vec::with_capacity(count);
        for PushedModule { module, environment } in &push.changed_modules {
            check_module_path(&module.path)?;
            bundles.push(Bundle {
                path: module.path.clone(),
                environment: environment_of(&module.path, environment)?,
                source: module.source.clone(),
                source_map: module.source_map.clone(),
                hash: module_hash(&module.source, module.source_map.as_deref()),
            });
        }
        for named in &push.unchanged_modules {
            let deployed = transaction.module(&named.path).filter(|deployed| {
                hex::encode(deployed.row.hash) == named.sha256.to_ascii_lowercase()
                    && deployed.row.environment.name() == named.environment
            });
            let Some(deployed) = deployed else {
                let message = format!("`{}` was changed by another push meanwhile.", named.path);
                return Err(Error::bad_request("RaceDetected", message));
            };
            let source_map = match deployed.row.source_map {
                Some(digest) => Some(self.text_of(digest, &named.path).await?),
                None => None,
            };
            bundles.push(Bundle {
                path: named.path.clone(),
                environment: deployed.row.environment,
                source: self.text_of(deployed.row.source, &named.path).await?,
                source_map,
                hash: deployed.row.hash,
            });
        }
        bundles.sort_by(|one, two| one.path.cmp(&two.path));
        if let Some(pair) = bundles.windows(2).find(|pair| pair[0].path == pair[1].path) {
            let message = format!("The push brings `{}` twice.", pair[0].path);
            return Err(Error::bad_request("InvalidModules", message));
        }
        let bytes: usize = bundles
            .iter()
            .map(|bundle| bundle.source.len() + bundle.source_map.as_deref().map_or(0, str::len))
            .sum();
        if bytes > limits.modules_bytes_max {
            let message = format!(
                "The modules have {bytes} bytes in all (the maximum is {}).",
                limits.modules_bytes_max
            );
            return Err(Error::bad_request("ModulesTooLarge", message));
        }
        Ok(bundles)
    }

    pub(crate) async fn text_of(&self, digest: BlobDigest, path: &str) -> Result<Arc<str>> {
        let bytes = self.dependencies().blobs.get(digest).await?;
        let bytes =
            bytes.ok_or_else(|| Error::internal(format!("the text of module {path} is not stored")))?;
        let text = std::str::from_utf8(&bytes);
        text.map(Arc::from).map_err(|_| Error::internal(format!("the text of module {path} is not UTF-8")))
    }

    /// Stores the texts, and gives the rows that would serve them.
    async fn store(&self, bundles: Vec<Bundle>, evaluation: &Evaluation) -> Result<Vec<ModuleRow>> {
        let blobs = &self.dependencies().blobs;
        let paths: BTreeMap<String, ()> = bundles.iter().map(|bundle| (bundle.path.clone(), ())).collect();
        let mut rows = Vec::with_capacity(bundles.len());
        for bundle in bundles {
            let imports = imports::of(&bundle.path, &bundle.source, |path| {
                paths.get_key_value(path).map(|(known, ())| &**known)
            });
            let source_map = match &bundle.source_map {
                Some(text) => Some(blobs.put(Bytes::copy_from_slice(text.as_bytes())).await?),
                None => None,
            };
            rows.push(ModuleRow {
                component: ComponentId::ROOT,
                source: blobs.put(Bytes::copy_from_slice(bundle.source.as_bytes())).await?,
                source_map,
                environment: bundle.environment,
                hash: bundle.hash,
                analysis: evaluation.modules.get(&bundle.path).cloned(),
                imports,
                path: bundle.path,
            });
        }
        Ok(rows)
    }

    /// Writes the pending schema and the new indexes, in place of those of a push that never finished. Returns the
    /// schema's row, if there is anything to wait for in it.
    async fn prepare_schema(
        &self,
        deployment: DeploymentRef,
        evaluated: &Evaluated,
    ) -> Result<Option<DocumentId>> {
        Ok(self
            .transactions()
            .transact(deployment, &PrepareSchema { schema: evaluated.schema.clone() })
            .await?)
    }
}

/// Writes the pending schema and the new indexes, in place of those of a push that never finished.
struct PrepareSchema {
    schema: Option<DatabaseSchema>,
}

#[async_trait]
impl Work for PrepareSchema {
    /// The schema's row, if there is a schema.
    type Output = Option<DocumentId>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Option<DocumentId>> {
        for state in [SchemaState::Pending, SchemaState::Validated, SchemaState::Failed] {
            let rows = transaction
                .rows::<SchemaRow>(
                    "by_component_and_state",
                    &[ComponentId::ROOT.to_string().into(), state.name().into()],
                )
                .await;
            for old in rows? {
                transaction.delete_row::<SchemaRow>(old.id).await?;
            }
        }
        let change = SchemaChange::between(transaction.catalog(), self.schema.as_ref());
        let rows = index_rows(transaction).await?;
        for (_, index) in &change.abandoned {
            if let Some((id, _)) = rows.get(&index.id) {
                transaction.delete_row::<IndexRow>(*id).await?;
            }
        }
        for wanted in change.indexes.iter().filter(|index| index.kind == IndexChangeKind::Added) {
            match wanted.existing.as_ref().and_then(|index| rows.get(&index.id)) {
                Some((id, row)) if row.staged != wanted.staged => {
                    let row = IndexRow { staged: wanted.staged, ..row.clone() };
                    transaction.replace_row(*id, &row).await?;
                }
                Some(_) => {}
                None => {
                    // An index of a table that isn't there yet is made with the table, when the push finishes.
                    let Some(table) = transaction.catalog().table(wanted.table.as_str()) else { continue };
                    let row = IndexRow {
                        component: ComponentId::ROOT,
                        table: table.tablet,
                        id: IndexId(rand::random()),
                        name: wanted.name.clone(),
                        fields: wanted.fields.clone(),
                        kind: wanted.index_kind.clone(),
                        state: IndexState::Backfilling,
                        staged: wanted.staged,
                    };
                    transaction.insert_row(&row).await?;
                }
            }
        }
        let Some(text) = self.schema.as_ref().map(|schema| Arc::from(schema.to_json())) else {
            return Ok(None);
        };
        if let Some(active) = transaction.catalog().active_schema()
            && active.row.schema == text
        {
            return Ok(Some(active.id));
        }
        let row = SchemaRow {
            component: ComponentId::ROOT,
            state: SchemaState::Pending,
            schema: text,
            error: None,
        };
        Ok(Some(transaction.insert_row(&row).await?))
    }
}

/// The rows of all declared indexes, by the index they are of.
pub(crate) async fn index_rows(
    transaction: &mut Transaction,
) -> system_transaction::Result<BTreeMap<IndexId, (DocumentId, IndexRow)>> {
    let rows = transaction.rows::<IndexRow>("by_creation_time", &[]).await?;
    Ok(rows.into_iter().map(|stored| (stored.row.id, (stored.id, stored.row))).collect())
}

/// Modules that declare something can't be for Node.js: only actions can.
const DECLARATIONS: [&str; 5] = ["auth.config.js", "convex.config.js", "crons.js", "http.js", "schema.js"];

fn environment_of(path: &str, name: &str) -> Result<ModuleEnvironment> {
    let environment = ModuleEnvironment::from_name(name).ok_or_else(|| {
        Error::bad_request("InvalidModules", format!("`{path}` is for {name:?}, which is not known."))
    })?;
    if environment == ModuleEnvironment::Node && DECLARATIONS.contains(&path) {
        let message = format!(
            "`{path}` begins with \"use node\": only actions can be defined in Node.js. Remove the line."
        );
        return Err(Error::bad_request("InvalidModules", message));
    }
    Ok(environment)
}

/// A module's path comes from outside, and calls name modules by it.
fn check_module_path(path: &str) -> Result<()> {
    // The dash is left to the modules that bundles themselves import.
    // The one module whose name has a second full stop is not for calls.
    let is_callable = path.ends_with(".js") && !path.contains('-') && path.parse::<ModulePath>().is_ok();
    if is_callable || path == AUTH_CONFIG_MODULE {
        return Ok(());
    }
    let message = format!(
        "{path:?} can't be the path of a module: the names of files and folders have only letters, digits and `_`, folders \
         also `.`. Rename the file or the folder."
    );
    Err(Error::bad_request("InvalidModules", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_calls_could_not_name_are_refused() {
        for path in ["messages.js", "a/b_2.js", "v1.2/list.js", "_deps/QTGCRXLF.js", "auth.config.js"] {
            assert_eq!(check_module_path(path), Ok(()), "{path}");
        }
        for path in [
            "my-lib.js",
            "my-folder/list.js",
            "größe.js",
            "a b.js",
            "a.b.js",
            "$a.js",
            "a.ts",
            "a",
            "",
            ".js",
            "/a.js",
            "../a.js",
            "a//b.js",
            "a\\b.js",
            "sub/auth.config.js",
        ] {
            let error = check_module_path(path).expect_err(path);
            assert_eq!(error.code, "InvalidModules");
        }
    }

    #[test]
    fn only_modules_of_functions_are_for_node() {
        assert_eq!(environment_of("pictures.js", "node"), Ok(ModuleEnvironment::Node));
        assert_eq!(environment_of("sub/http.js", "node"), Ok(ModuleEnvironment::Node));
        for (path, environment) in [("http.js", "node"), ("crons.js", "node"), ("a.js", "deno")] {
            let error = environment_of(path, environment).expect_err(path);
            assert_eq!(error.code, "InvalidModules");
        }
    }
}

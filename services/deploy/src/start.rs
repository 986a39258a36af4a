//! `start_push`: evaluates the bundles, and begins to prepare what the new schemas need.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use auth::Providers;
use bytes::Bytes;
use code::{AUTH_CONFIG_MODULE, environment_hash, module_hash};
use contract::{
    BlobDigest, ComponentSchema, DeploymentRef, Error, Evaluation, EvaluationRequest, ImportPhase,
    IndexChangeKind, IndexId, ModuleSource, NodeEvaluation, Push, PushedComponent, PushedModule, Result,
    SchemaDifference, SchemaId, StartedDefinition, StartedPush,
};
use schema::DatabaseSchema;
use system_transaction::Work;
use transaction::{
    Catalog, ComponentRow, DeploymentCatalog, IndexRow, IndexState, ModuleEnvironment, ModuleRow, NodeConfig,
    SchemaRow, SchemaState, Transaction, component_id,
};
use value::{ComponentId, ComponentPath, DocumentId, ModulePath};

use crate::{
    Handle, analysis, crons,
    definitions::{self, APP, Exported, Variables, place},
    imports,
    prepared::{Definition, Prepared, Settings},
    schema_change::SchemaChange,
};

/// A push whose code has been evaluated; nothing is written yet but blobs.
pub(crate) struct Evaluated {
    /// By their paths; that of the app is empty.
    pub definitions: BTreeMap<String, EvaluatedDefinition>,
    /// Parents before their children.
    pub instances: Vec<ComponentRow>,
    /// Each component compared with what was deployed when it was evaluated, the app among them.
    pub components: BTreeMap<ComponentPath, Compared>,
    /// What was deployed then.
    pub deployed: Arc<DeploymentCatalog>,
    node: Option<NodeEvaluation>,
    node_config: NodeConfig,
    auth_providers: Providers,
    http_prefix: Option<String>,
    functions: String,
    base_code_hash: String,
    environment_hash: String,
}

/// A definition that was evaluated.
pub(crate) struct EvaluatedDefinition {
    /// The `export()` of its `convex.config.js`.
    exported: Option<Arc<str>>,
    /// The analyses of all its modules, those for Node.js included.
    analyses: BTreeMap<String, Arc<str>>,
    pub schema: Option<DatabaseSchema>,
    modules: Vec<ModuleRow>,
    import_phase: ImportPhase,
    server_version: String,
}

/// A component of a push, beside what is deployed of it.
pub(crate) struct Compared {
    /// The path of its definition.
    pub definition: String,
    pub id: ComponentId,
    pub change: SchemaChange,
    /// The state that it was compared with.
    pub catalog: Arc<Catalog>,
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
    fn of(definition: &str, pushed: &PushedModule) -> Result<Bundle> {
        let PushedModule { module, environment } = pushed;
        check_module_path(&module.path)?;
        let environment = environment_of(&module.path, environment)?;
        if environment == ModuleEnvironment::Node && definition != APP {
            let place = place(definition, &module.path);
            let message =
                format!("{place} begins with \"use node\": components have no modules for Node.js.");
            return Err(Error::bad_request("InvalidModules", message));
        }
        Ok(Bundle {
            path: module.path.clone(),
            environment,
            source: module.source.clone(),
            source_map: module.source_map.clone(),
            hash: module_hash(&module.source, module.source_map.as_deref()),
        })
    }

    fn module(&self) -> ModuleSource {
        ModuleSource {
            path: self.path.clone(),
            source: self.source.clone(),
            source_map: self.source_map.clone(),
        }
    }

    fn bytes(&self) -> usize {
        self.source.len() + self.source_map.as_deref().map_or(0, str::len)
    }
}

impl Evaluated {
    /// `schemas` are the rows that were written of the new schemas.
    pub fn difference(&self, schemas: &BTreeMap<ComponentPath, DocumentId>) -> SchemaDifference {
        let component = |(path, compared): (&ComponentPath, &Compared)| {
            let schema = schemas.get(path).map(|id| SchemaId(id.to_string()));
            (path.to_string(), ComponentSchema { schema, indexes: compared.change.difference() })
        };
        SchemaDifference { components: self.components.iter().map(component).collect() }
    }

    /// What `finish_push` needs of it.
    fn prepared(&self) -> Prepared {
        let definitions = self.definitions.iter().map(|(path, of)| {
            let definition = Definition {
                modules: &of.modules,
                schema: of.schema.as_ref().map(DatabaseSchema::to_json),
                server_version: &of.server_version,
                import_phase: of.import_phase,
            };
            (path.clone(), definition)
        });
        let settings = Settings {
            auth_providers: self.auth_providers.to_json().to_string(),
            functions: &self.functions,
            http_prefix: self.http_prefix.clone(),
            base_code_hash: self.base_code_hash.clone(),
            environment_hash: self.environment_hash.clone(),
            node: &self.node_config,
        };
        Prepared::new(definitions, &self.instances, settings)
    }
}

impl Handle {
    pub(crate) async fn start(&self, deployment: DeploymentRef, push: Push) -> Result<StartedPush> {
        let writes = !push.dry_run && !push.for_codegen;
        let evaluated = self.evaluate(deployment, push).await?;
        let schemas = match writes {
            true => self.prepare_schemas(deployment, &evaluated).await?,
            false => BTreeMap::new(),
        };
        if writes {
            self.keep_preparing(deployment, schemas.values().copied().collect());
        }
        let instance = |row: &ComponentRow| (row.path.to_string(), row.definition.clone());
        Ok(StartedPush {
            prepared: evaluated.prepared().to_json(),
            difference: evaluated.difference(&schemas),
            instances: evaluated.instances.iter().map(instance).collect(),
            auth_providers: evaluated.auth_providers.to_json().to_string().into(),
            node_packages_id: evaluated.node.and_then(|node| node.packages_id),
            definitions: evaluated
                .definitions
                .into_iter()
                .map(|(path, of)| {
                    let started = StartedDefinition {
                        definition: of.exported,
                        modules: of.analyses,
                        schema: of.schema.as_ref().map(|schema| schema.to_json().into()),
                        server_version: of.server_version,
                    };
                    (path, started)
                })
                .collect(),
        })
    }

    /// Runs the code of a push, refuses what is not served, and compares the result with what is deployed.
    pub(crate) async fn evaluate(&self, deployment: DeploymentRef, push: Push) -> Result<Evaluated> {
        let mut transaction = self.transactions().snapshot(deployment).await?;
        let environment: Variables = transaction
            .environment_variables()
            .into_iter()
            .map(|variable| (variable.row.name, variable.row.value))
            .collect();
        let app_bundles = self.app_bundles(&mut transaction, &push).await?;
        let components = definitions::in_order(push.components.clone())?;
        let component_bundles = components
            .iter()
            .map(|component| {
                let bundles = component.modules.iter().map(|pushed| Bundle::of(&component.path, pushed));
                checked(&component.path, bundles.collect::<Result<_>>()?, self.limits().push.modules_max)
            })
            .collect::<Result<Vec<_>>>()?;
        self.check_bytes(app_bundles.iter().chain(component_bundles.iter().flatten()))?;

        let mut exported: BTreeMap<String, Exported> = BTreeMap::new();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let mut declared = Vec::with_capacity(components.len());
        for component in &components {
            let path = &component.path;
            let evaluation = self.evaluate_definition(deployment, component, names.clone()).await?;
            let definition = Exported::read(path, evaluation.definition.as_deref())?;
            names.insert(path.clone(), definition.default_name(path));
            exported.insert(path.clone(), definition);
            declared.push(evaluation);
        }

        let modules_of = |environment: ModuleEnvironment| {
            let bundles = app_bundles.iter().filter(|bundle| bundle.environment == environment);
            bundles.map(Bundle::module).collect::<Vec<_>>()
        };
        let mut app = self
            .dependencies()
            .runner
            .evaluate(EvaluationRequest {
                deployment,
                component: String::new(),
                site_path: String::new(),
                modules: modules_of(ModuleEnvironment::Isolate),
                schema: push.schema.as_ref().map(|pushed| pushed.module.clone()),
                definition: push.app_definition.as_ref().map(|pushed| pushed.module.clone()),
                definitions: names,
                environment_variables: environment.clone(),
                import_phase: None,
            })
            .await?;
        let node_modules = modules_of(ModuleEnvironment::Node);
        let node = self.evaluate_node(deployment, node_modules, &environment, &push).await?;
        if let Some(node) = &node {
            app.modules.extend(node.modules.clone());
        }
        let auth_providers = analysis::auth_providers(&app, &self.limits().auth)?;
        exported.insert(APP.to_owned(), Exported::read(APP, app.definition.as_deref())?);

        let instances = definitions::instances(&exported, &self.limits().push)?;
        let variables = definitions::variables_of(&instances, &environment);
        if !push.for_codegen {
            definitions::check_variables(&exported, &instances, &variables, self.limits())?;
        }

        let deployed = Arc::clone(transaction.deployment_catalog());
        let mut definitions = BTreeMap::new();
        let server_version = push.server_version.clone();
        definitions.insert(APP.to_owned(), self.definition(APP, app_bundles, app, server_version).await?);
        for ((component, bundles), mut evaluation) in
            components.into_iter().zip(component_bundles).zip(declared)
        {
            let instance = instances.iter().find(|row| row.definition == component.path);
            if let Some(instance) = instance {
                let site_path = definitions::site_path(&instances, &instance.path);
                let variables = &variables[&instance.path];
                let of = self
                    .evaluate_modules(deployment, instance, &bundles, variables, site_path, &deployed)
                    .await?;
                (evaluation.modules, evaluation.import_phase) = of;
            }
            let PushedComponent { path, server_version, .. } = component;
            let definition = self.definition(&path, bundles, evaluation, server_version).await?;
            definitions.insert(path, definition);
        }
        let node_config = self.node_config(node.as_ref(), push.node_version, push.node_packages).await?;
        let base_code_hash = transaction.udf_config().map(|config| config.row.code_hash).unwrap_or_default();
        let http_prefix = exported[APP].http_prefix.as_deref();
        let http_prefix = http_prefix.map(|prefix| definitions::checked_prefix(APP, prefix)).transpose()?;
        let app = (ComponentPath::root(), APP);
        let of_components = instances.iter().map(|row| (row.path.clone(), row.definition.as_str()));
        let compare = |(path, definition): (ComponentPath, &str)| {
            let id = component_id(&path);
            let catalog = Arc::clone(deployed.of(id));
            let change = SchemaChange::between(&catalog, definitions[definition].schema.as_ref());
            (path, Compared { definition: definition.to_owned(), id, change, catalog })
        };
        Ok(Evaluated {
            components: [app].into_iter().chain(of_components).map(compare).collect(),
            definitions,
            instances,
            deployed,
            node,
            node_config,
            auth_providers,
            http_prefix,
            functions: push.functions_folder,
            base_code_hash,
            environment_hash: environment_hash(&environment),
        })
    }

    /// The definition of a component itself, and its schema. `names` are those of the definitions before it.
    async fn evaluate_definition(
        &self,
        deployment: DeploymentRef,
        component: &PushedComponent,
        names: BTreeMap<String, String>,
    ) -> Result<Evaluation> {
        let request = EvaluationRequest {
            deployment,
            component: String::new(),
            site_path: String::new(),
            modules: Vec::new(),
            schema: component.schema.as_ref().map(|pushed| pushed.module.clone()),
            definition: Some(component.definition.module.clone()),
            definitions: names,
            environment_variables: Variables::new(),
            import_phase: None,
        };
        let evaluated = self.dependencies().runner.evaluate(request).await;
        evaluated.map_err(|error| of_definition(&component.path, error))
    }

    /// What the modules of a definition show, as one of its instances sees them. What is deployed just so is not evaluated again.
    async fn evaluate_modules(
        &self,
        deployment: DeploymentRef,
        instance: &ComponentRow,
        bundles: &[Bundle],
        variables: &Variables,
        site_path: String,
        deployed: &DeploymentCatalog,
    ) -> Result<(BTreeMap<String, Arc<str>>, ImportPhase)> {
        let id = component_id(&instance.path);
        let catalog = deployed.of(id);
        let before: Variables = catalog
            .environment_variables()
            .map(|variable| (variable.row.name.clone(), variable.row.value.clone()))
            .collect();
        let is_same = catalog.modules().count() == bundles.len()
            && bundles.iter().all(|bundle| {
                catalog.module(&bundle.path).is_some_and(|module| module.row.hash == bundle.hash)
            });
        if let Some(config) = catalog.udf_config().filter(|_| is_same && before == *variables) {
            let analysis = |module: &Arc<transaction::Stored<ModuleRow>>| {
                Some((module.row.path.clone(), module.row.analysis.clone()?))
            };
            let phase = ImportPhase { seed: config.row.import_seed, time_ms: config.row.import_time_ms };
            return Ok((catalog.modules().filter_map(analysis).collect(), phase));
        }
        let request = EvaluationRequest {
            deployment,
            component: instance.path.to_string(),
            site_path,
            modules: bundles.iter().map(Bundle::module).collect(),
            schema: None,
            definition: None,
            definitions: BTreeMap::new(),
            environment_variables: variables.clone(),
            import_phase: None,
        };
        let evaluated = self.dependencies().runner.evaluate(request).await;
        let evaluation = evaluated.map_err(|error| of_definition(&instance.definition, error))?;
        Ok((evaluation.modules, evaluation.import_phase))
    }

    /// Checks what evaluating a definition has shown, and stores its texts.
    async fn definition(
        &self,
        path: &str,
        bundles: Vec<Bundle>,
        evaluation: Evaluation,
        server_version: String,
    ) -> Result<EvaluatedDefinition> {
        let named = |error| of_definition(path, error);
        crons::declared(&evaluation.modules).map_err(named)?;
        analysis::check_functions(&evaluation.modules, self.limits()).map_err(named)?;
        let schema = match &evaluation.schema {
            Some(text) => {
                Some(DatabaseSchema::from_json(text, &self.limits().transaction.schema).map_err(|error| {
                    let place = place(path, "schema.js");
                    Error::bad_request(error.code(), format!("{place} (default export): {error}."))
                })?)
            }
            None => None,
        };
        Ok(EvaluatedDefinition {
            modules: self.store(bundles, &evaluation).await?,
            exported: evaluation.definition,
            analyses: evaluation.modules,
            schema,
            import_phase: evaluation.import_phase,
            server_version,
        })
    }

    /// All modules of the app with their text: those that came with the push, and the deployed ones that it names.
    async fn app_bundles(&self, transaction: &mut Transaction, push: &Push) -> Result<Vec<Bundle>> {
        let mut bundles =
            push.changed_modules.iter().map(|pushed| Bundle::of(APP, pushed)).collect::<Result<Vec<_>>>()?;
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
        checked(APP, bundles, self.limits().push.modules_max)
    }

    fn check_bytes<'b>(&self, bundles: impl Iterator<Item = &'b Bundle>) -> Result<()> {
        let (bytes, bytes_max) =
            (bundles.map(Bundle::bytes).sum::<usize>(), self.limits().push.modules_bytes_max);
        if bytes > bytes_max {
            let message = format!("The modules have {bytes} bytes in all (the maximum is {bytes_max}).");
            return Err(Error::bad_request("ModulesTooLarge", message));
        }
        Ok(())
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

    /// Writes the pending schemas and the new indexes, in place of those of a push that never finished. The rows of the schemas
    /// come back: those of components that are there already.
    async fn prepare_schemas(
        &self,
        deployment: DeploymentRef,
        evaluated: &Evaluated,
    ) -> Result<BTreeMap<ComponentPath, DocumentId>> {
        let schema = |compared: &Compared| evaluated.definitions[&compared.definition].schema.clone();
        let components = evaluated.components.iter();
        let wanted = components.map(|(path, compared)| (path.clone(), (compared.id, schema(compared))));
        Ok(self.transactions().transact(deployment, &PrepareSchemas(wanted.collect())).await?)
    }
}

/// An error of a component's code, with its definition named.
fn of_definition(definition: &str, error: Error) -> Error {
    if definition == APP {
        return error;
    }
    Error { message: format!("The component at `{definition}`: {}", error.message), ..error }
}

/// The bundles of a definition, by path.
fn checked(definition: &str, mut bundles: Vec<Bundle>, modules_max: usize) -> Result<Vec<Bundle>> {
    if bundles.len() > modules_max {
        let message = format!("{} modules are too many (the maximum is {modules_max}).", bundles.len());
        return Err(of_definition(definition, Error::bad_request("ModulesTooLarge", message)));
    }
    bundles.sort_by(|one, two| one.path.cmp(&two.path));
    if let Some(pair) = bundles.windows(2).find(|pair| pair[0].path == pair[1].path) {
        let message = format!("The push brings {} twice.", place(definition, &pair[0].path));
        return Err(Error::bad_request("InvalidModules", message));
    }
    Ok(bundles)
}

/// Writes the pending schemas and the new indexes, in place of those of a push that never finished.
struct PrepareSchemas(BTreeMap<ComponentPath, (ComponentId, Option<DatabaseSchema>)>);

#[async_trait]
impl Work for PrepareSchemas {
    /// The rows of the schemas.
    type Output = BTreeMap<ComponentPath, DocumentId>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Self::Output> {
        let all = transaction.rows::<SchemaRow>("by_creation_time", &[]).await?;
        for old in all.into_iter().filter(|old| old.row.state != SchemaState::Active) {
            transaction.delete_row::<SchemaRow>(old.id).await?;
        }
        let rows = index_rows(transaction).await?;
        let mut schemas = BTreeMap::new();
        for (path, (id, schema)) in &self.0 {
            // What is mounted for the first time has no documents: its schema and its tables come with it.
            if !id.is_root() && transaction.deployment_catalog().instance(*id).is_none() {
                continue;
            }
            transaction.enter(*id);
            if let Some(row) = prepare(transaction, schema.as_ref(), &rows).await? {
                schemas.insert(path.clone(), row);
            }
        }
        Ok(schemas)
    }
}

/// Prepares the schema of the component in which the transaction is; its row, if there is a schema.
async fn prepare(
    transaction: &mut Transaction,
    schema: Option<&DatabaseSchema>,
    rows: &BTreeMap<IndexId, (DocumentId, IndexRow)>,
) -> system_transaction::Result<Option<DocumentId>> {
    let component = transaction.component();
    let change = SchemaChange::between(transaction.catalog(), schema);
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
                    component,
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
    let Some(text) = schema.map(|schema| Arc::from(schema.to_json())) else { return Ok(None) };
    if let Some(active) = transaction.catalog().active_schema()
        && active.row.schema == text
    {
        return Ok(Some(active.id));
    }
    let row = SchemaRow { component, state: SchemaState::Pending, schema: text, error: None };
    Ok(Some(transaction.insert_row(&row).await?))
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

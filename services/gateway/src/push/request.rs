//! The bodies of the push requests, as the command line tool sends them. What it has besides is ignored.

use std::{collections::BTreeMap, sync::Arc};

use contract::{
    FinishPush, ModuleHash, ModuleSource, NodePackage, Push, PushedComponent, PushedModule, SchemaId,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The body of `start_push`, `evaluate_push` and `evaluate_schema`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PushBody {
    #[serde(default)]
    dry_run: bool,
    functions: String,
    app_definition: AppDefinition,
    #[serde(default)]
    component_definitions: Vec<ComponentDefinition>,
    #[serde(default)]
    node_dependencies: Vec<NodeDependency>,
    #[serde(default)]
    node_version: Option<String>,
    #[serde(default)]
    for_codegen: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppDefinition {
    definition: Option<BundledModule>,
    schema: Option<BundledModule>,
    /// Before 1.31.7 the tool sent the text of every module, under this older name.
    #[serde(alias = "functions")]
    changed_modules: Vec<BundledModule>,
    #[serde(default)]
    unchanged_module_hashes: Vec<UnchangedModule>,
    #[serde(default)]
    udf_server_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundledModule {
    path: String,
    source: Arc<str>,
    source_map: Option<Arc<str>>,
    environment: String,
}

#[derive(Deserialize)]
struct UnchangedModule {
    path: String,
    environment: String,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ComponentDefinition {
    definition_path: String,
    definition: BundledModule,
    #[serde(default)]
    dependencies: Vec<String>,
    schema: Option<BundledModule>,
    functions: Vec<BundledModule>,
    #[serde(default)]
    udf_server_version: String,
}

#[derive(Deserialize)]
struct NodeDependency {
    name: String,
    version: String,
}

impl From<PushBody> for Push {
    fn from(body: PushBody) -> Push {
        let app = body.app_definition;
        Push {
            dry_run: body.dry_run,
            for_codegen: body.for_codegen,
            functions_folder: body.functions,
            server_version: app.udf_server_version,
            app_definition: app.definition.map(PushedModule::from),
            schema: app.schema.map(PushedModule::from),
            changed_modules: app.changed_modules.into_iter().map(PushedModule::from).collect(),
            unchanged_modules: app.unchanged_module_hashes.into_iter().map(ModuleHash::from).collect(),
            components: body.component_definitions.into_iter().map(PushedComponent::from).collect(),
            node_version: body.node_version,
            node_packages: body.node_dependencies.into_iter().map(NodePackage::from).collect(),
        }
    }
}

impl From<ComponentDefinition> for PushedComponent {
    fn from(component: ComponentDefinition) -> PushedComponent {
        PushedComponent {
            path: component.definition_path,
            definition: component.definition.into(),
            dependencies: component.dependencies,
            schema: component.schema.map(PushedModule::from),
            modules: component.functions.into_iter().map(PushedModule::from).collect(),
            server_version: component.udf_server_version,
        }
    }
}

impl From<NodeDependency> for NodePackage {
    fn from(NodeDependency { name, version }: NodeDependency) -> NodePackage {
        NodePackage { name, version }
    }
}

impl From<BundledModule> for PushedModule {
    fn from(module: BundledModule) -> PushedModule {
        let BundledModule { path, source, source_map, environment } = module;
        PushedModule { module: ModuleSource { path, source, source_map }, environment }
    }
}

impl From<UnchangedModule> for ModuleHash {
    fn from(module: UnchangedModule) -> ModuleHash {
        let UnchangedModule { path, environment, sha256 } = module;
        ModuleHash { path, environment, sha256 }
    }
}

/// The body of `wait_for_schema`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WaitBody {
    pub schema_change: SchemaChange,
    /// How long to wait; as long as a request may, if it is not said.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    #[serde(default)]
    pub dry_run: bool,
}

/// Part of the answer of `start_push`, which the tool sends back as it was.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaChange {
    /// By the paths of the components; null for one without a schema.
    schema_ids: BTreeMap<String, Option<String>>,
}

impl SchemaChange {
    pub fn schemas(self) -> BTreeMap<String, SchemaId> {
        let there = self.schema_ids.into_iter().filter_map(|(path, id)| Some((path, SchemaId(id?))));
        there.collect()
    }
}

/// The body of `finish_push`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FinishBody {
    start_push: StartedPush,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartedPush {
    component_definition_packages: Packages,
    schema_change: SchemaChange,
}

#[derive(Deserialize)]
struct Packages {
    #[serde(rename = "")]
    app: Box<RawValue>,
}

impl From<FinishBody> for FinishPush {
    fn from(body: FinishBody) -> FinishPush {
        FinishPush {
            dry_run: body.dry_run,
            prepared: body.start_push.component_definition_packages.app.get().into(),
            schemas: body.start_push.schema_change.schemas(),
        }
    }
}

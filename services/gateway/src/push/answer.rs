//! The answers of the push requests. The command line tool checks them field by field: what may be absent must not be
//! null, and what may be null must not be absent.

use std::{collections::BTreeMap, sync::Arc};

use contract::{
    DeclaredIndex, DeclaredIndexKind, DeployedCode, Error, IndexChangeKind, IndexDifference, PushDifference,
    Result, SchemaDifference, SchemaEvaluation, SchemaProgress, StartedPush, TableCheck,
};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::{Value as Json, json, value::RawValue};

/// Where the functions are in a project that says nothing.
const DEFAULT_FUNCTIONS: &str = "convex/";

/// A text that is JSON already.
struct JsonText(Arc<str>);

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Of `get_config_hashes`.
pub(super) fn config_hashes(code: &DeployedCode) -> Json {
    let modules = code
        .modules
        .iter()
        .map(|module| json!({"path": module.path, "environment": module.environment, "hash": module.sha256}));
    let mut answer = json!({
        "config": {"functions": code.functions_folder.as_deref().unwrap_or(DEFAULT_FUNCTIONS)},
        "moduleHashes": modules.collect::<Vec<_>>(),
        "nodeDependencies": code
            .node_packages
            .iter()
            .map(|package| json!({"name": package.name, "version": package.version}))
            .collect::<Vec<_>>(),
    });
    // Null would be refused.
    if let Some(version) = &code.node_version {
        answer["nodeVersion"] = Json::from(version.as_str());
    }
    if let Some(version) = &code.server_version {
        answer["udfServerVersion"] = Json::from(version.as_str());
    }
    answer
}

/// Of `evaluate_schema`.
pub(super) fn schema_evaluation(evaluation: &SchemaEvaluation) -> Json {
    let tables = evaluation.tables.iter().map(|table| {
        json!({
            "name": table.table,
            "outcome": match table.check {
                TableCheck::NotValidated => "notValidated",
                TableCheck::Proved => "supersetOfEnforced",
                TableCheck::Walked => "mustWalk",
            },
            "numDocs": table.documents,
            "sizeBytes": table.bytes,
        })
    });
    let indexes = evaluation.indexes.iter().map(|evaluated| {
        let mut index = index(&evaluated.index);
        index["change"] = Json::from(match evaluated.change {
            IndexChangeKind::Added => "added",
            IndexChangeKind::Identical => "identical",
            IndexChangeKind::Enabled => "enabled",
            IndexChangeKind::Disabled => "disabled",
            IndexChangeKind::Dropped => "dropped",
        });
        index["needsBackfill"] = Json::Bool(evaluated.needs_backfill);
        index["numDocs"] = Json::from(evaluated.documents);
        index
    });
    let app = json!({
        "definitionPath": "",
        "schemaValidation": evaluation.schema_validation,
        "tables": tables.collect::<Vec<_>>(),
        "indexes": indexes.collect::<Vec<_>>(),
    });
    json!({"componentSchemaEvaluations": {"": app}, "newComponentDefinitions": []})
}

/// Of `evaluate_push`.
pub(super) fn push_evaluation(difference: &SchemaDifference) -> Json {
    json!({"schemaChange": schema_change(difference)})
}

/// Of `start_push`: what the tool generates code from, and sends back to `finish_push`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Started {
    /// The variables' values stay here.
    environment_variables: BTreeMap<String, String>,
    external_deps_id: Option<String>,
    component_definition_packages: BTreeMap<&'static str, JsonText>,
    app_auth: JsonText,
    analysis: BTreeMap<&'static str, Analysis>,
    app: Json,
    schema_change: Json,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Analysis {
    definition: Json,
    schema: Option<JsonText>,
    functions: BTreeMap<String, JsonText>,
    udf_config: Json,
}

/// The only component that there is, so far: the app itself.
const APP: &str = "";

pub(super) fn started(started: StartedPush) -> Result<Started> {
    let app = json!({
        "definitionPath": APP,
        "componentPath": APP,
        "args": {},
        "childComponents": {},
        "httpRoutes": {"httpModuleRoutes": http_routes(&started)?, "mounts": []},
        "exports": {},
    });
    let analysis = Analysis {
        definition: definition(started.app_definition.as_deref())?,
        schema: started.schema.map(JsonText),
        functions: started.modules.into_iter().map(|(path, analysis)| (path, JsonText(analysis))).collect(),
        udf_config: json!({"serverVersion": started.server_version}),
    };
    Ok(Started {
        environment_variables: BTreeMap::new(),
        external_deps_id: started.node_packages_id,
        component_definition_packages: BTreeMap::from([(APP, JsonText(started.prepared))]),
        app_auth: JsonText(started.auth_providers),
        analysis: BTreeMap::from([(APP, analysis)]),
        app,
        schema_change: schema_change(&started.difference),
    })
}

/// The routes of HTTP actions: the analysis has more to say of each than the tree of components.
fn http_routes(started: &StartedPush) -> Result<Option<Vec<Json>>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Module {
        http_routes: Option<Vec<HttpRoute>>,
    }
    #[derive(Deserialize)]
    struct HttpRoute {
        route: Json,
    }
    let Some(analysis) = started.modules.get("http.js") else { return Ok(None) };
    let module: Module = serde_json::from_str(analysis)
        .map_err(|error| Error::internal(format!("the analysis of http.js can't be read: {error}")))?;
    Ok(module.http_routes.map(|routes| routes.into_iter().map(|route| route.route).collect()))
}

/// The app's definition. `exported` is what its `convex.config.js` exports.
fn definition(exported: Option<&str>) -> Result<Json> {
    let exported: Json = serde_json::from_str(exported.unwrap_or("{}"))
        .map_err(|error| Error::internal(format!("the app definition is not JSON: {error}")))?;
    let mut definition = json!({
        "path": APP,
        "definitionType": {"type": "app"},
        "childComponents": [],
        "httpMounts": {},
        "exports": {"type": "branch", "branch": []},
    });
    if let Some(prefix) = exported.get("httpPrefix").filter(|prefix| prefix.is_string()) {
        definition["definitionType"]["httpPrefix"] = prefix.clone();
    }
    if let Some(variables) = exported.get("envVars").filter(|variables| variables.is_array()) {
        definition["envVars"] = variables.clone();
    }
    Ok(definition)
}

fn schema_change(difference: &SchemaDifference) -> Json {
    json!({
        "allocatedComponentIds": {},
        "schemaIds": {"": difference.schema.as_ref().map(|schema| &schema.0)},
        "indexDiffs": {"": index_difference(&difference.indexes)},
    })
}

fn index_difference(difference: &IndexDifference) -> Json {
    let list = |indexes: &[DeclaredIndex]| indexes.iter().map(index).collect::<Vec<_>>();
    json!({
        "added_indexes": list(&difference.added),
        "removed_indexes": list(&difference.removed),
        "enabled_indexes": list(&difference.enabled),
        "disabled_indexes": list(&difference.disabled),
    })
}

fn index(index: &DeclaredIndex) -> Json {
    let name = format!("{}.{}", index.table, index.name);
    let over = index.fields.first();
    let mut json = match &index.kind {
        DeclaredIndexKind::Database => json!({"name": name, "type": "database", "fields": index.fields}),
        DeclaredIndexKind::Text { filter_fields } => {
            json!({"name": name, "type": "search", "searchField": over, "filterFields": filter_fields})
        }
        DeclaredIndexKind::Vector { dimensions, filter_fields } => json!({
            "name": name,
            "type": "vector",
            "dimensions": dimensions,
            "vectorField": over,
            "filterFields": filter_fields,
        }),
    };
    if index.staged {
        json["staged"] = Json::Bool(true);
    }
    json
}

/// Of `wait_for_schema`.
pub(super) fn schema_progress(progress: &SchemaProgress) -> Json {
    match progress {
        SchemaProgress::Preparing { documents_checked, indexes_filled, indexes_total } => json!({
            "type": "inProgress",
            "components": {
                "": {
                    "schemaValidationComplete": documents_checked,
                    "indexesComplete": indexes_filled,
                    "indexesTotal": indexes_total,
                }
            },
        }),
        SchemaProgress::Complete => json!({"type": "complete"}),
        SchemaProgress::Failed { message, table } => {
            json!({"type": "failed", "error": message, "componentPath": "", "tableName": table})
        }
        SchemaProgress::Overwritten => json!({"type": "raceDetected"}),
    }
}

/// Of `finish_push`.
pub(super) fn finished(difference: &PushDifference) -> Json {
    let versions = difference
        .server_version
        .as_ref()
        .map(|(before, now)| json!({"previous_version": before, "next_version": now}));
    let schema = difference.schema.as_ref().map(
        |texts| json!({"previous_schema": texts.before.as_deref(), "next_schema": texts.now.as_deref()}),
    );
    json!({
        // Strings that hold JSON.
        "authDiff": {"added": difference.auth_providers.added, "removed": difference.auth_providers.removed},
        "definitionDiffs": {"": {}},
        "componentDiffs": {
            "": {
                "diffType": {"type": if difference.is_first { "create" } else { "modify" }},
                "moduleDiff": {"added": difference.modules_added, "removed": difference.modules_removed},
                "udfConfigDiff": versions,
                "cronDiff": {
                    "added": difference.crons.added,
                    "updated": difference.crons.updated,
                    "deleted": difference.crons.deleted,
                },
                "indexDiff": index_difference(&difference.indexes),
                "schemaDiff": schema,
            }
        },
    })
}

//! The answers of the push requests. The command line tool checks them field by field: what may be absent must not be
//! null, and what may be null must not be absent.

use std::{collections::BTreeMap, sync::Arc};

use contract::{
    ComponentChange, ComponentDifference, ComponentSchemaEvaluation, DeclaredIndex, DeclaredIndexKind,
    DeployedCode, IndexChangeKind, IndexDifference, PushDifference, Result, SchemaDifference,
    SchemaEvaluation, SchemaProgress, StartedPush, TableCheck,
};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Value as Json, json, value::RawValue};

use super::definitions::{checked_component, definition};

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
    let components = evaluation.components.iter().map(|(path, of)| (path.clone(), component_schema(of)));
    json!({
        "componentSchemaEvaluations": components.collect::<serde_json::Map<_, _>>(),
        "newComponentDefinitions": evaluation.new_definitions,
    })
}

fn component_schema(evaluation: &ComponentSchemaEvaluation) -> Json {
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
    json!({
        "definitionPath": evaluation.definition,
        "schemaValidation": evaluation.schema_validation,
        "tables": tables.collect::<Vec<_>>(),
        "indexes": indexes.collect::<Vec<_>>(),
    })
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
    analysis: BTreeMap<String, Analysis>,
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

/// The path of the app's definition.
const APP: &str = "";

pub(super) fn started(started: StartedPush) -> Result<Started> {
    let app = checked_component(&started)?;
    let mut analysis = BTreeMap::new();
    for (path, of) in started.definitions {
        let functions = of.modules.iter().map(|(path, analysis)| (path.clone(), JsonText(analysis.clone())));
        let shown = Analysis {
            definition: definition(&path, &of)?,
            functions: functions.collect(),
            schema: of.schema.map(JsonText),
            udf_config: json!({"serverVersion": of.server_version}),
        };
        analysis.insert(path, shown);
    }
    Ok(Started {
        environment_variables: BTreeMap::new(),
        external_deps_id: started.node_packages_id,
        component_definition_packages: BTreeMap::from([(APP, JsonText(started.prepared))]),
        app_auth: JsonText(started.auth_providers),
        analysis,
        app,
        schema_change: schema_change(&started.difference),
    })
}

fn schema_change(difference: &SchemaDifference) -> Json {
    let components = difference.components.iter();
    let ids = components.clone().map(|(path, of)| (path, of.schema.as_ref().map(|schema| &schema.0)));
    let indexes = components.map(|(path, of)| (path, index_difference(&of.indexes)));
    json!({
        "allocatedComponentIds": {},
        "schemaIds": ids.collect::<BTreeMap<_, _>>(),
        "indexDiffs": indexes.collect::<BTreeMap<_, _>>(),
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
        SchemaProgress::Failed { component, message, table } => {
            json!({"type": "failed", "error": message, "componentPath": component, "tableName": table})
        }
        SchemaProgress::Overwritten => json!({"type": "raceDetected"}),
    }
}

/// Of `finish_push`.
pub(super) fn finished(difference: &PushDifference) -> Json {
    let components = difference.components.iter().map(|(path, of)| (path.clone(), component_difference(of)));
    json!({
        // Strings that hold JSON.
        "authDiff": {"added": difference.auth_providers.added, "removed": difference.auth_providers.removed},
        "definitionDiffs": {"": {}},
        "componentDiffs": components.collect::<serde_json::Map<_, _>>(),
    })
}

fn component_difference(difference: &ComponentDifference) -> Json {
    let versions = difference
        .server_version
        .as_ref()
        .map(|(before, now)| json!({"previous_version": before, "next_version": now}));
    let schema = difference.schema.as_ref().map(
        |texts| json!({"previous_schema": texts.before.as_deref(), "next_schema": texts.now.as_deref()}),
    );
    let change = match difference.change {
        ComponentChange::Created => "create",
        ComponentChange::Modified => "modify",
        ComponentChange::Unmounted => "unmount",
        ComponentChange::Remounted => "remount",
    };
    json!({
        "diffType": {"type": change},
        "moduleDiff": {"added": difference.modules_added, "removed": difference.modules_removed},
        "udfConfigDiff": versions,
        "cronDiff": {
            "added": difference.crons.added,
            "updated": difference.crons.updated,
            "deleted": difference.crons.deleted,
        },
        "indexDiff": index_difference(&difference.indexes),
        "schemaDiff": schema,
    })
}

//! Definitions of components and the tree of their instances, as the command line tool generates code from them.

use std::collections::BTreeMap;

use contract::{Error, Result, StartedDefinition, StartedPush};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// What is read of a module's analysis.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    #[serde(default)]
    functions: Vec<Function>,
    http_routes: Option<Vec<HttpRoute>>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    visibility: Option<Visibility>,
}

#[derive(Deserialize)]
struct Visibility {
    kind: String,
}

/// The analysis has more to say of each route than the tree.
#[derive(Deserialize)]
struct HttpRoute {
    route: Json,
}

fn module(path: &str, analysis: &str) -> Result<Module> {
    serde_json::from_str(analysis)
        .map_err(|error| Error::internal(format!("the analysis of {path} can't be read: {error}")))
}

fn exported(of: &StartedDefinition) -> Result<Json> {
    serde_json::from_str(of.definition.as_deref().unwrap_or("{}"))
        .map_err(|error| Error::internal(format!("a definition is not JSON: {error}")))
}

/// A definition. `path` is empty for the app's.
pub(super) fn definition(path: &str, of: &StartedDefinition) -> Result<Json> {
    let exported = exported(of)?;
    let field =
        |name: &str, or: Json| exported.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(or);
    let definition_type = match path.is_empty() {
        true => {
            let mut app = json!({"type": "app"});
            if let Some(prefix) = exported.get("httpPrefix").filter(|prefix| prefix.is_string()) {
                app["httpPrefix"] = prefix.clone();
            }
            app
        }
        false => json!({"type": "childComponent", "name": field("name", Json::from(path))}),
    };
    let mut definition = json!({
        "path": path,
        "definitionType": definition_type,
        "childComponents": field("childComponents", json!([])),
        "httpMounts": field("httpMounts", json!({})),
        "exports": if path.is_empty() { branch(Vec::new()) } else { exports(of)? },
    });
    if let Some(variables) = exported.get("envVars").filter(|variables| variables.is_array()) {
        definition["envVars"] = variables.clone();
    }
    Ok(definition)
}

fn branch(children: Vec<Json>) -> Json {
    json!({"type": "branch", "branch": children})
}

/// A folder, a module, or a function, by the segments of the path.
#[derive(Default)]
struct Exports {
    leaf: Option<String>,
    children: BTreeMap<String, Exports>,
}

impl Exports {
    fn to_json(&self) -> Json {
        match &self.leaf {
            Some(reference) => json!({"type": "leaf", "leaf": reference}),
            None => {
                branch(self.children.iter().map(|(name, child)| json!([name, child.to_json()])).collect())
            }
        }
    }
}

/// What a component shows to whoever mounts it: its public functions.
fn exports(of: &StartedDefinition) -> Result<Json> {
    let mut root = Exports::default();
    for (path, analysis) in &of.modules {
        let module = module(path, analysis)?;
        let stem = path.strip_suffix(".js").unwrap_or(path);
        let is_public = |function: &Function| {
            function.visibility.as_ref().is_some_and(|visibility| visibility.kind == "public")
        };
        for function in module.functions.iter().filter(|function| is_public(function)) {
            let segments = stem.split('/').chain([function.name.as_str()]);
            let place =
                segments.fold(&mut root, |at, segment| at.children.entry(segment.to_owned()).or_default());
            place.leaf = Some(format!("_reference/function/{stem}:{}", function.name));
        }
    }
    Ok(root.to_json())
}

/// The app with all that it mounts.
pub(super) fn checked_component(started: &StartedPush) -> Result<Json> {
    let mut app = instance(started, "", "")?;
    // By their paths, so that parents come before their children.
    for (path, definition) in &started.instances {
        let mut at = &mut app;
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            at = &mut at["childComponents"][parent];
        }
        at["childComponents"][name] = instance(started, path, definition)?;
    }
    Ok(app)
}

/// An instance without those within it.
fn instance(started: &StartedPush, path: &str, definition: &str) -> Result<Json> {
    let of = started.definitions.get(definition);
    let of = of.ok_or_else(|| Error::internal("an instance has no definition"))?;
    let routes = match of.modules.get("http.js") {
        Some(analysis) => module("http.js", analysis)?.http_routes,
        None => None,
    };
    let routes: Option<Vec<Json>> =
        routes.map(|routes| routes.into_iter().map(|route| route.route).collect());
    let exported = exported(of)?;
    let mounts: Vec<&String> =
        exported.get("httpMounts").and_then(Json::as_object).into_iter().flat_map(Map::keys).collect();
    Ok(json!({
        "definitionPath": definition,
        "componentPath": path,
        "args": {},
        "childComponents": {},
        "httpRoutes": {"httpModuleRoutes": routes, "mounts": mounts},
        "exports": {},
    }))
}

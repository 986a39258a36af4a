//! What `convex.config.js` says of an app or a component, and the tree of instances that follows from it.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Error, PushedComponent, Result};
use schema::{TableLookup, Validator};
use serde::Deserialize;
use transaction::{ComponentRow, VariableBinding};
use value::{ComponentPath, TableName, TableNumber, Value};

use crate::{Limits, PushLimits, variables::PLATFORM_VARIABLES};

/// The path of the app's definition, as pushes name it.
pub const APP: &str = "";

/// Environment variables by their names.
pub type Variables = BTreeMap<String, String>;

/// The `export()` of a definition, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// How a component calls itself.
    name: Option<String>,
    pub http_prefix: Option<String>,
    #[serde(default)]
    child_components: Vec<Child>,
    /// By the path that each is mounted at, a reference to a child.
    #[serde(default)]
    http_mounts: BTreeMap<String, String>,
    #[serde(default)]
    env_vars: Option<Vec<(String, Declared)>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Child {
    name: String,
    /// Of its definition.
    path: String,
    /// Absent or null in definitions that were made with older libraries.
    #[serde(default)]
    env: Option<Vec<(String, Binding)>>,
    /// What older libraries could give besides: always empty, or absent.
    #[serde(default)]
    args: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Binding {
    Value { value: String },
    EnvVar { name: String },
}

/// A variable that a definition declares.
#[derive(Clone, Debug, Deserialize)]
struct Declared {
    /// JSON within JSON.
    value: Option<String>,
    #[serde(default)]
    optional: bool,
}

/// How references name a child.
const CHILD_REFERENCE: &str = "_reference/childComponent/";

/// How people know a file of a definition.
pub fn place(definition: &str, file: &str) -> String {
    if definition.is_empty() { format!("`{file}`") } else { format!("`{definition}/{file}`") }
}

fn refused(definition: &str, reason: impl std::fmt::Display) -> Error {
    let place = place(definition, "convex.config.js");
    Error::bad_request("InvalidComponentDefinition", format!("{place} (default export): {reason}."))
}

impl Exported {
    /// `json` is the export of the definition at this path; `None` if there is none.
    pub fn read(definition: &str, json: Option<&str>) -> Result<Exported> {
        let Some(json) = json else { return Ok(Exported::default()) };
        serde_json::from_str(json).map_err(|error| refused(definition, format!("it can't be read: {error}")))
    }

    /// The name that instances have unless their parent gives them another one.
    pub fn default_name(&self, definition: &str) -> String {
        let last = || definition.rsplit('/').next().unwrap_or(definition).to_owned();
        self.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(last)
    }

    /// Checks the variables that the definition declares against those that an instance has. The names of those that are missing
    /// come back.
    fn check_variables(&self, definition: &str, variables: &Variables, limits: &Limits) -> Result<Vec<&str>> {
        let mut missing = Vec::new();
        for (name, declared) in self.env_vars.iter().flatten() {
            let refused = |code, reason: String| {
                let place = place(definition, "convex.config.js");
                let message =
                    format!("{place} (default export), the environment variable `{name}`: {reason}.");
                Err(Error::bad_request(code, message))
            };
            let parsed =
                declared.value.as_deref().map(|text| Validator::from_json(text, &limits.transaction.schema));
            let validator = match parsed {
                Some(Ok(validator)) => validator,
                Some(Err(error)) => return refused(error.code(), error.to_string()),
                None => Validator::String,
            };
            match variables.get(name) {
                // What it is set to may be a secret, and is not told.
                Some(value) if validator.check(&Value::from(value.as_str()), &NoTables).is_err() => {
                    return refused(
                        "InvalidEnvironmentVariable",
                        format!("it is set to another value than {validator} accepts"),
                    );
                }
                Some(_) => {}
                None if declared.optional || PLATFORM_VARIABLES.contains(&name.as_str()) => {}
                None => missing.push(name.as_str()),
            }
        }
        Ok(missing)
    }
}

/// The value of a variable is no document's id.
struct NoTables;

impl TableLookup for NoTables {
    fn number_of(&self, _: &TableName) -> Option<TableNumber> {
        None
    }
}

/// The definitions, each behind those that it imports.
pub fn in_order(mut components: Vec<PushedComponent>) -> Result<Vec<PushedComponent>> {
    let mut ordered: Vec<PushedComponent> = Vec::with_capacity(components.len());
    let mut paths: BTreeSet<String> = BTreeSet::new();
    let all: BTreeSet<String> = components.iter().map(|component| component.path.clone()).collect();
    if all.len() < components.len() || all.contains(APP) {
        return Err(Error::bad_request("InvalidPush", "The push brings a definition of a component twice."));
    }
    while !components.is_empty() {
        // What is not a part of the push shows when the definition is evaluated.
        let is_ready = |component: &PushedComponent| {
            component.dependencies.iter().all(|path| paths.contains(path) || !all.contains(path))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = components.into_iter().partition(is_ready);
        if ready.is_empty() {
            let names: Vec<_> = rest.iter().map(|component| format!("`{}`", component.path)).collect();
            let message = format!("These components mount each other in a circle: {}.", names.join(", "));
            return Err(Error::bad_request("InvalidComponentDefinition", message));
        }
        paths.extend(ready.iter().map(|component| component.path.clone()));
        ordered.extend(ready);
        components = rest;
    }
    Ok(ordered)
}

/// All instances, parents before their children, as they are to be mounted.
pub fn instances(definitions: &BTreeMap<String, Exported>, limits: &PushLimits) -> Result<Vec<ComponentRow>> {
    let mut rows = Vec::new();
    mount(definitions, APP, &ComponentPath::root(), 1, limits, &mut rows)?;
    Ok(rows)
}

fn mount(
    definitions: &BTreeMap<String, Exported>,
    definition: &str,
    at: &ComponentPath,
    depth: usize,
    limits: &PushLimits,
    rows: &mut Vec<ComponentRow>,
) -> Result<()> {
    let Some(exported) = definitions.get(definition) else { return Ok(()) };
    for child in &exported.child_components {
        let Child { name, path: of, env, args } = child;
        if args.as_ref().is_some_and(|args| !args.is_empty()) {
            let message =
                format!("it gives arguments to `{name}`: a component is given environment variables");
            return Err(refused(definition, message));
        }
        if !definitions.contains_key(of) || of == APP {
            return Err(refused(definition, format!("it mounts `{of}`, which is not a part of the push")));
        }
        let path = at
            .child(name)
            .map_err(|error| refused(definition, format!("a component can't be mounted: {error}")))?;
        if rows.iter().any(|row| row.path == path) {
            return Err(refused(definition, format!("it mounts two components as `{name}`")));
        }
        let reference = format!("{CHILD_REFERENCE}{name}");
        let mut prefixes =
            exported.http_mounts.iter().filter(|(_, to)| **to == reference).map(|(prefix, _)| prefix);
        let http_prefix = prefixes.next().map(|prefix| checked_prefix(definition, prefix)).transpose()?;
        if prefixes.next().is_some() {
            return Err(refused(definition, format!("it mounts the routes of `{name}` at two paths")));
        }
        let binding = |(name, binding): &(String, Binding)| {
            let binding = match binding {
                Binding::Value { value } => VariableBinding::Value(value.clone()),
                Binding::EnvVar { name } => VariableBinding::Parent(name.clone()),
            };
            (name.clone(), binding)
        };
        rows.push(ComponentRow {
            path: path.clone(),
            definition: of.clone(),
            is_mounted: true,
            variables: env.iter().flatten().map(binding).collect(),
            http_prefix,
        });
        if rows.len() > limits.components_max || depth > limits.component_depth_max {
            let message = format!(
                "The app mounts more than {} components, or one more than {} levels deep.",
                limits.components_max, limits.component_depth_max
            );
            return Err(Error::bad_request("TooManyComponents", message));
        }
        mount(definitions, of, &path, depth + 1, limits, rows)?;
    }
    Ok(())
}

/// A path with a slash at both ends.
pub fn checked_prefix(definition: &str, prefix: &str) -> Result<String> {
    let is_path = prefix.starts_with('/') && prefix.ends_with('/') && !prefix.contains("//");
    if !is_path || prefix.contains(['?', '#', '*']) {
        return Err(refused(definition, format!("`{prefix}` can't be the path of routes")));
    }
    Ok(prefix.to_owned())
}

/// The environment variables of each instance, where the app has these. `instances` has parents before their children.
pub fn variables_of(instances: &[ComponentRow], app: &Variables) -> BTreeMap<ComponentPath, Variables> {
    let mut all = BTreeMap::from([(ComponentPath::root(), app.clone())]);
    for row in instances {
        let parent = row.path.parent().and_then(|(parent, _)| all.get(&parent));
        let value = |binding: &VariableBinding| match binding {
            VariableBinding::Value(value) => Some(value.clone()),
            VariableBinding::Parent(name) => parent?.get(name).cloned(),
        };
        let variables =
            row.variables.iter().filter_map(|(name, binding)| Some((name.clone(), value(binding)?)));
        let variables = variables.collect();
        all.insert(row.path.clone(), variables);
    }
    all
}

/// Below which path of the site an instance will answer requests: `/local`; empty for one that answers none.
pub fn site_path(instances: &[ComponentRow], path: &ComponentPath) -> String {
    let mut site_path = String::new();
    let mut at = path.clone();
    while let Some((parent, _)) = at.parent() {
        let row = instances.iter().find(|row| row.path == at);
        let Some(prefix) = row.and_then(|row| row.http_prefix.as_deref()) else { return String::new() };
        site_path.insert_str(0, prefix.trim_end_matches('/'));
        at = parent;
    }
    site_path
}

/// Refuses variables that a definition does not take, and the lack of those that it needs.
pub fn check_variables(
    definitions: &BTreeMap<String, Exported>,
    instances: &[ComponentRow],
    variables: &BTreeMap<ComponentPath, Variables>,
    limits: &Limits,
) -> Result<()> {
    let app = (ComponentPath::root(), APP);
    let of_components = instances.iter().map(|row| (row.path.clone(), row.definition.as_str()));
    for (path, definition) in [app].into_iter().chain(of_components) {
        let (Some(exported), Some(variables)) = (definitions.get(definition), variables.get(&path)) else {
            continue;
        };
        let missing = exported.check_variables(definition, variables, limits)?;
        if missing.is_empty() {
            continue;
        }
        let of = if path.is_root() { String::new() } else { format!(" of the component `{path}`") };
        // The command line tool looks for what stands between the last two words and the full stop.
        return Err(Error::bad_request(
            "MissingEnvironmentVariables",
            format!(
                "Environment variables{of} that {} (default export) requires are not set: {}.",
                place(definition, "convex.config.js"),
                missing.join(", ")
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use contract::{ModuleSource, PushedModule};
    use serde_json::{Value as Json, json};

    use super::*;

    fn definitions(all: &[(&str, Json)]) -> BTreeMap<String, Exported> {
        let read = |(path, json): &(&str, Json)| {
            let exported = Exported::read(path, Some(&json.to_string())).expect("it can be read");
            ((*path).to_owned(), exported)
        };
        all.iter().map(read).collect()
    }

    fn mounted(all: &[(&str, Json)]) -> Result<Vec<String>> {
        let rows = instances(&definitions(all), &PushLimits::DEFAULT)?;
        let shown = |row: ComponentRow| {
            let prefix = row.http_prefix.map(|prefix| format!(" at {prefix}")).unwrap_or_default();
            format!("{} = {}{prefix}", row.path, row.definition)
        };
        Ok(rows.into_iter().map(shown).collect())
    }

    #[test]
    fn a_definition_is_mounted_under_several_names_with_all_that_it_mounts() {
        let app = json!({
            "childComponents": [{"name": "pool", "path": "p", "args": []}, {"name": "other", "path": "p", "env": null}],
            "httpMounts": {"/pool/": "_reference/childComponent/pool"},
        });
        let pool = json!({"name": "pool", "childComponents": [{"name": "worker", "path": "w", "env": []}]});
        let worker = json!({"name": "worker"});
        let all = [("", app), ("p", pool), ("w", worker)];
        assert_eq!(
            mounted(&all).expect("they can be mounted"),
            ["pool = p at /pool/", "pool/worker = w", "other = p", "other/worker = w"]
        );
    }

    #[test]
    fn an_instance_answers_below_all_prefixes_above_it() {
        let app = json!({
            "childComponents": [{"name": "a", "path": "p"}, {"name": "b", "path": "p"}],
            "httpMounts": {"/a/": "_reference/childComponent/a"},
        });
        let inner = json!({
            "childComponents": [{"name": "c", "path": "w"}],
            "httpMounts": {"/": "_reference/childComponent/c"},
        });
        let all = definitions(&[("", app), ("p", inner), ("w", json!({}))]);
        let rows = instances(&all, &PushLimits::DEFAULT).expect("they can be mounted");
        let at = |path: &str| site_path(&rows, &path.parse().unwrap());
        assert_eq!([at(""), at("a"), at("a/c"), at("b"), at("b/c")], ["", "/a", "/a", "", ""]);
    }

    #[test]
    fn what_can_not_be_mounted_is_refused_with_its_definition() {
        let child = |name: &str, path: &str| json!({"name": name, "path": path});
        let refusals = [
            (json!([child("a", "x")]), "which is not a part of the push"),
            (json!([child("a", "c"), child("a", "c")]), "two components as `a`"),
            (json!([child("a b", "c")]), "can't be mounted"),
            (json!([child("", "c")]), "can't be mounted"),
            (json!([child("a/b", "c")]), "can't be mounted"),
            (
                json!([{"name": "a", "path": "c", "args": [["x", {"type": "value", "value": "1"}]]}]),
                "gives arguments",
            ),
        ];
        for (children, reason) in refusals {
            let all = [("", json!({"childComponents": children})), ("c", json!({}))];
            let error = mounted(&all).expect_err(reason);
            assert_eq!(error.code, "InvalidComponentDefinition");
            assert!(
                error.message.contains(reason) && error.message.contains("`convex.config.js`"),
                "{error}"
            );
        }
        let endless = [
            ("", json!({"childComponents": [child("a", "c")]})),
            ("c", json!({"childComponents": [child("a", "c")]})),
        ];
        assert_eq!(mounted(&endless).expect_err("it has no end").code, "TooManyComponents");
    }

    #[test]
    fn definitions_come_behind_those_that_they_import() {
        let module = || PushedModule {
            module: ModuleSource { path: "convex.config.js".into(), source: "".into(), source_map: None },
            environment: "isolate".into(),
        };
        let pushed = |path: &str, dependencies: &[&str]| PushedComponent {
            path: path.into(),
            definition: module(),
            dependencies: dependencies.iter().map(|path| (*path).to_owned()).collect(),
            schema: None,
            modules: Vec::new(),
            server_version: "1.49.0".into(),
        };
        let ordered = in_order(vec![pushed("a", &["b", "c"]), pushed("b", &["c"]), pushed("c", &[])]);
        let paths: Vec<_> = ordered.expect("there is an order").into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["c", "b", "a"]);
        let circle = in_order(vec![pushed("a", &["b"]), pushed("b", &["a"])]).expect_err("there is none");
        assert_eq!(circle.code, "InvalidComponentDefinition");
        assert_eq!(
            in_order(vec![pushed("a", &[]), pushed("a", &[])]).expect_err("twice").code,
            "InvalidPush"
        );
    }

    #[test]
    fn variables_go_from_parent_to_child_and_must_be_what_the_child_declares() {
        let level = json!({"type": "union", "value": [
            {"type": "literal", "value": "DEBUG"}, {"type": "literal", "value": "WARN"},
        ]});
        let declared = |name: &str, optional: bool| json!([[name, {"type": "value", "value": level.to_string(), "optional": optional}]]);
        let bound = |binding: Json| json!([["LEVEL", binding]]);
        let check = |of_pool: Json, of_worker: Json, optional: bool, app: &[(&str, &str)]| {
            let all = definitions(&[
                ("", json!({"childComponents": [{"name": "pool", "path": "p", "env": of_pool}]})),
                ("p", json!({"childComponents": [{"name": "worker", "path": "w", "env": of_worker}]})),
                ("w", json!({"envVars": declared("LEVEL", optional)})),
            ]);
            let rows = instances(&all, &PushLimits::DEFAULT)?;
            let app = app.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let variables = variables_of(&rows, &app);
            check_variables(&all, &rows, &variables, &Limits::DEFAULT)?;
            Ok(variables[&"pool/worker".parse().unwrap()].clone())
        };
        let (literal, parent) = (
            |value: &str| json!({"type": "value", "value": value}),
            |name: &str| json!({"type": "envVar", "name": name}),
        );
        let warn = Variables::from([("LEVEL".to_owned(), "WARN".to_owned())]);
        let of_app = [("APP_LEVEL", "WARN")];
        assert_eq!(check(json!([]), bound(literal("WARN")), false, &[]), Ok(warn.clone()));
        assert_eq!(check(bound(parent("APP_LEVEL")), bound(parent("LEVEL")), false, &of_app), Ok(warn));
        assert_eq!(check(json!([]), json!([]), true, &of_app), Ok(Variables::new()));
        let code = |result: Result<Variables>| result.expect_err("it is refused").code.to_string();
        assert_eq!(code(check(json!([]), bound(literal("LOUD")), false, &[])), "InvalidEnvironmentVariable");
        // What the app has is not the component's unless it is given.
        assert_eq!(
            code(check(json!([]), json!([]), false, &[("LEVEL", "WARN")])),
            "MissingEnvironmentVariables"
        );
        assert_eq!(
            code(check(bound(parent("NONE")), bound(parent("LEVEL")), false, &[])),
            "MissingEnvironmentVariables"
        );
    }
}

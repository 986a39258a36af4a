//! What this version does not serve yet. A push that needs it is refused whole, with the file and the export named, so
//! that nobody finds out in production.

use contract::{Error, Evaluation, Push, PushedModule, Result};
use schema::DatabaseSchema;
use serde_json::Value as Json;

/// Refuses what can be seen without running the code.
pub fn check_bundles(push: &Push) -> Result<()> {
    if let Some(component) = push.components.first() {
        return Err(Error::bad_request(
            "ComponentsNotSupported",
            format!(
                "`convex.config.js` (default export) mounts the component `{}`: components are not supported by this \
                 version of Tidemark.",
                component
            ),
        ));
    }
    if let Some(pushed) = push.changed_modules.iter().find(|pushed| pushed.environment == "node") {
        return Err(node_module(pushed));
    }
    if let Some(module) = push.unchanged_modules.iter().find(|module| module.environment == "node") {
        return Err(Error::bad_request(
            "NodeActionsNotSupported",
            format!("`{}` begins with \"use node\": {NODE_SENTENCE}", module.path),
        ));
    }
    if let Some(package) = push.node_packages.first() {
        return Err(Error::bad_request(
            "NodeActionsNotSupported",
            format!("`convex.json` lists the external package `{package}`: {NODE_SENTENCE}"),
        ));
    }
    Ok(())
}

const NODE_SENTENCE: &str = "Node.js actions are not supported by this version of Tidemark.";

fn node_module(PushedModule { module, .. }: &PushedModule) -> Error {
    let exports = exported_names(&module.source);
    let named = match exports.len() {
        0 => String::new(),
        1 => format!(" (export `{}`)", exports[0]),
        _ => format!(
            " (exports {})",
            exports.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    Error::bad_request(
        "NodeActionsNotSupported",
        format!("`{}`{named} begins with \"use node\": {NODE_SENTENCE}", module.path),
    )
}

/// The names in the `export { a as b, c };` list with which the bundler ends a module. Only for messages.
fn exported_names(source: &str) -> Vec<String> {
    let Some((_, tail)) = source.rsplit_once("export {") else { return Vec::new() };
    let Some((list, _)) = tail.split_once('}') else { return Vec::new() };
    list.split(',')
        .map(|item| item.rsplit(" as ").next().unwrap_or(item).trim())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Refuses what shows only once the code was run.
pub fn check_evaluation(evaluation: &Evaluation) -> Result<()> {
    if let Some(definition) = &evaluation.app_definition {
        let definition: Json = serde_json::from_str(definition)
            .map_err(|error| Error::internal(format!("the app definition is not JSON: {error}")))?;
        if definition.get("childComponents").and_then(Json::as_array).is_some_and(|list| !list.is_empty()) {
            return Err(Error::bad_request(
                "ComponentsNotSupported",
                "`convex.config.js` (default export) mounts a component: components are not supported by this version \
                 of Tidemark.",
            ));
        }
    }
    Ok(())
}

/// Refuses index kinds that are not built yet.
pub fn check_schema(schema: &DatabaseSchema) -> Result<()> {
    for table in schema.tables.values() {
        if let Some(index) = table.search_indexes.keys().chain(table.staged_search_indexes.keys()).next() {
            return Err(Error::bad_request(
                "SearchIndexesNotSupported",
                format!(
                    "`schema.js` (default export) defines the search index `{}.{}`: search indexes are not supported \
                     by this version of Tidemark.",
                    table.name, index
                ),
            ));
        }
        if let Some(index) = table.vector_indexes.keys().chain(table.staged_vector_indexes.keys()).next() {
            return Err(Error::bad_request(
                "VectorIndexesNotSupported",
                format!(
                    "`schema.js` (default export) defines the vector index `{}.{}`: vector indexes are not supported \
                     by this version of Tidemark.",
                    table.name, index
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exports_of_a_bundle_are_named() {
        let source = "var p = 1;\nexport {\n  p as run,\n  other\n};\n//# sourceMappingURL=x.js.map\n";
        assert_eq!(exported_names(source), ["run", "other"]);
        assert!(exported_names("no exports here").is_empty());
    }
}

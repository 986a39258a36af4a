//! What this version does not serve yet. A push that needs it is refused whole, with the file and the export named, so
//! that nobody finds out in production.

use contract::{Error, Evaluation, Push, Result};
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
    Ok(())
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

//! What evaluating the code has shown, held to what everybody who reads it later can take: the calls, code generation,
//! `function-spec`. What can't be read ever after is refused here, with the file and the export named.

use std::{collections::BTreeMap, sync::Arc};

use crate::Limits;
use auth::{AuthLimits, Providers};
use code::AUTH_CONFIG_MODULE;
use contract::{Error, Evaluation, Result};
use schema::Validator;
use serde::Deserialize;
use serde_json::Value as Json;
use value::name::ExportName;

/// A module's analysis, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Module {
    functions: Vec<Function>,
    http_routes: Option<Vec<Json>>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    /// JSON within JSON; `null` for a function that says nothing.
    args: Option<String>,
    returns: Option<String>,
}

/// Refuses functions whose names or validators can't be read. `modules` are analyses by path. How many functions and routes
/// there are comes back.
pub fn check_functions(modules: &BTreeMap<String, Arc<str>>, limits: &Limits) -> Result<usize> {
    let mut count = 0;
    for (path, analysis) in modules {
        let module: Module = serde_json::from_str(analysis)
            .map_err(|error| Error::internal(format!("the analysis of {path} can't be read: {error}")))?;
        for function in &module.functions {
            check_function(path, function, limits)?;
        }
        count += module.functions.len() + module.http_routes.map_or(0, |routes| routes.len());
    }
    let count_max = limits.push.functions_max;
    if count > count_max {
        let message = format!(
            "The code has {count} functions and HTTP routes, more than the {count_max} that are allowed."
        );
        return Err(Error::bad_request("ModulesTooLarge", message));
    }
    Ok(count)
}

fn check_function(path: &str, function: &Function, limits: &Limits) -> Result<()> {
    let name = &function.name;
    name.parse::<ExportName>().map_err(|error| {
        Error::bad_request("InvalidModules", format!("`{path}` (export `{name}`) can't be called: {error}."))
    })?;
    for (text, what) in [(&function.args, "arguments"), (&function.returns, "result")] {
        let Some(text) = text.as_deref().filter(|text| *text != "null") else { continue };
        Validator::from_json(text, &limits.transaction.schema).map_err(|error| {
            let message = format!("`{path}` (export `{name}`), the validator of its {what}: {error}.");
            Error::bad_request(error.code(), message)
        })?;
    }
    Ok(())
}

/// Who the app trusts to say who its users are; nobody without an `auth.config`.
pub fn auth_providers(evaluation: &Evaluation, limits: &AuthLimits) -> Result<Providers> {
    let Some(providers) = &evaluation.auth_providers else { return Ok(Providers::default()) };
    let providers: Json = serde_json::from_str(providers)
        .map_err(|error| Error::internal(format!("the auth providers are not JSON: {error}")))?;
    Providers::from_json(&providers, limits).map_err(|error| {
        Error::bad_request(error.code(), format!("`{AUTH_CONFIG_MODULE}` (default export): {error}."))
    })
}

#[cfg(test)]
mod tests {
    use contract::ImportPhase;
    use serde_json::json;

    use super::*;

    fn evaluation(modules: &[(&str, Json)]) -> Evaluation {
        let modules = modules.iter().map(|(path, analysis)| (path.to_string(), analysis.to_string().into()));
        Evaluation {
            modules: modules.collect(),
            schema: None,
            definition: None,
            auth_providers: None,
            import_phase: ImportPhase { seed: 0, time_ms: 0 },
        }
    }

    fn function(name: &str, args: &str, returns: &str) -> Json {
        json!({"name": name, "args": args, "returns": returns, "udfType": "Query"})
    }

    fn checked(functions: &[Json]) -> Result<usize> {
        let module = json!({"functions": functions, "httpRoutes": null});
        check_functions(&evaluation(&[("notes.js", module)]).modules, &Limits::DEFAULT)
    }

    /// Objects in objects; each adds three levels of JSON.
    fn nested(levels: usize) -> String {
        let inner = r#"{"type":"object","value":{"a":{"optional":false,"fieldType":"#;
        format!("{}{{\"type\":\"null\"}}{}", inner.repeat(levels), "}}}".repeat(levels))
    }

    #[test]
    fn a_validator_that_nobody_could_read_is_refused_with_its_file_and_export() {
        let refusals = [
            (r#"{"type":"someday"}"#, "null", "arguments", "there is no validator \"someday\""),
            (
                "null",
                r#"{"type":"array","value":{"type":"someday"}}"#,
                "result",
                "there is no validator \"someday\"",
            ),
            (&nested(20), "null", "arguments", "nests more than 60 levels"),
            ("null", &nested(63), "result", "recursion limit"),
        ];
        for (args, returns, what, reason) in refusals {
            let error = checked(&[function("list", args, returns)]).expect_err(reason);
            assert_eq!(error.code, "InvalidValidator", "{error}");
            let named = format!("`notes.js` (export `list`), the validator of its {what}: ");
            assert!(error.message.starts_with(&named) && error.message.contains(reason), "{error}");
        }
        assert_eq!(checked(&[function("list", &nested(19), &nested(19))]), Ok(1));
        assert_eq!(checked(&[function("list", r#"{"type":"function"}"#, "null")]), Ok(1));
    }

    #[test]
    fn a_function_that_no_path_could_name_is_refused() {
        for name in ["größe", "a-b", ""] {
            let error = checked(&[function(name, "null", "null")]).expect_err(name);
            assert_eq!(error.code, "InvalidModules");
            assert!(
                error.message.starts_with(&format!("`notes.js` (export `{name}`) can't be called: ")),
                "{error}"
            );
        }
        assert_eq!(checked(&[function("default", "null", "null")]), Ok(1));
    }

    #[test]
    fn more_functions_than_one_list_can_show_are_refused() {
        let functions = vec![function("list", "null", "null"); Limits::DEFAULT.push.functions_max];
        assert_eq!(checked(&functions), Ok(Limits::DEFAULT.push.functions_max));
        let routes = json!({"functions": [], "httpRoutes": [{"route": {"path": "/", "method": "GET"}}]});
        let modules = [("http.js", routes), ("notes.js", json!({"functions": functions}))];
        let error =
            check_functions(&evaluation(&modules).modules, &Limits::DEFAULT).expect_err("one too many");
        assert_eq!(error.code, "ModulesTooLarge");
    }

    #[test]
    fn auth_providers_that_no_token_could_be_held_against_are_refused_with_their_place() {
        let read = |providers: Json| {
            let evaluation =
                Evaluation { auth_providers: Some(providers.to_string().into()), ..evaluation(&[]) };
            auth_providers(&evaluation, &AuthLimits::DEFAULT)
        };
        let oidc = json!({"domain": "x.example", "applicationID": "convex"});
        let providers = read(json!([oidc])).expect("it can be used");
        assert_eq!(providers.to_json(), json!([oidc]));
        for (provider, code, why) in [
            (
                json!({"domain": "x.example"}),
                "InvalidAuthConfig",
                "provider 2 can't be used: its `applicationID` is missing",
            ),
            (json!("x.example"), "InvalidAuthConfig", "must be an array of objects"),
            (
                json!({"domain": "\"https://x.example\"", "applicationID": "convex"}),
                "InvalidProviderDomainUrl",
                "the domain of provider 2",
            ),
        ] {
            let error = read(json!([oidc, provider])).expect_err(why);
            assert_eq!(error.code, code, "{error}");
            assert!(
                error.message.starts_with("`auth.config.js` (default export): ")
                    && error.message.contains(why),
                "{error}"
            );
        }
        assert_eq!(auth_providers(&evaluation(&[]), &AuthLimits::DEFAULT), Ok(Providers::default()));
    }
}

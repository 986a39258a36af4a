//! Evaluating code that is about to be pushed: what it declares, and the image that will serve it.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use code::{AUTH_CONFIG_MODULE, ImageRecipe, expand_seed};
use contract::{BlobDigest, Error, Evaluation, EvaluationRequest, ImportPhase, ModuleSource, Result};
use isolate::{
    Declaration, FunctionKind, Image, ImageSource, ImportError, JsError, ModuleAnalysis, UnsetVariables,
    Visibility,
};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use transaction::component_id;
use value::{ComponentId, ComponentPath};

use crate::{images::source_of, service::Handle, source_map::SourceMaps};

/// What one bundle declares by its default export.
struct Declared<'m> {
    module: &'m ModuleSource,
    /// What else it may import.
    imports: Vec<isolate::ModuleSource>,
    declaration: Declaration,
    unset_variables: UnsetVariables,
    /// The code of the error if it can't be evaluated.
    code: &'static str,
}

impl Handle {
    pub(crate) async fn evaluate_code(&self, request: EvaluationRequest) -> Result<Evaluation> {
        let component: ComponentPath = request
            .component
            .parse()
            .map_err(|error| Error::internal(format!("code of no component is evaluated: {error}")))?;
        let mut environment = request.environment_variables;
        let deployment = self.shared.deployment(request.deployment)?;
        environment.extend(deployment.platform_variables_below(&request.site_path));
        let (auth_config, functions): (Vec<&ModuleSource>, Vec<&ModuleSource>) =
            request.modules.iter().partition(|module| module.path == AUTH_CONFIG_MODULE);
        let import_phase = request.import_phase.unwrap_or_else(|| self.new_import_phase());
        let recipe = ImageRecipe {
            deployment: request.deployment,
            modules: functions
                .iter()
                .map(|module| {
                    (module.path.clone(), BlobDigest(Sha256::digest(module.source.as_bytes()).into()))
                })
                .collect(),
            environment,
            import_seed: import_phase.seed,
            import_time_ms: import_phase.time_ms,
        };
        let modules = match functions.is_empty() {
            true => BTreeMap::new(),
            false => self.evaluate_functions(component_id(&component), &recipe, &functions).await?,
        };
        let declare = async |module: Option<&ModuleSource>, declaration, unset_variables, code| match module {
            Some(module) => {
                let imports = match declaration {
                    Declaration::Definition => request.definitions.iter().map(stand_in).collect(),
                    Declaration::Schema | Declaration::AuthConfig => Vec::new(),
                };
                let declared = Declared { module, imports, declaration, unset_variables, code };
                self.evaluate_declaration(&recipe, declared).await.map(Some)
            }
            None => Ok(None),
        };
        let undefined = UnsetVariables::Undefined;
        let schema =
            declare(request.schema.as_ref(), Declaration::Schema, undefined, "InvalidSchema").await?;
        let definition = request.definition.as_ref();
        let definition =
            declare(definition, Declaration::Definition, undefined, "InvalidAppDefinition").await?;
        let auth_config = auth_config.first().copied();
        let auth_config =
            declare(auth_config, Declaration::AuthConfig, UnsetVariables::Fail, "InvalidAuthConfig").await?;
        Ok(Evaluation {
            modules,
            schema: schema.map(Arc::from),
            definition: definition.map(Arc::from),
            auth_providers: auth_config.map(|config| providers_of(&config)).transpose()?,
            import_phase,
        })
    }

    /// For code that has had none.
    pub(crate) fn new_import_phase(&self) -> ImportPhase {
        ImportPhase { seed: rand::random(), time_ms: self.shared.clock.now_ms() as u64 }
    }

    /// Evaluates the function modules together. Their image is kept: it will serve the code once it is pushed.
    async fn evaluate_functions(
        &self,
        component: ComponentId,
        recipe: &ImageRecipe,
        modules: &[&ModuleSource],
    ) -> Result<BTreeMap<String, Arc<str>>> {
        let sources = modules.iter().map(|module| (module.path.clone(), module.source.to_string())).collect();
        let limits = self.shared.options.limits.function.import();
        let image = self
            .shared
            .images
            .build(source_of(recipe, sources, limits, self.shared.options.native_values))
            .await?;
        let image = image.map_err(|error| refusal("InvalidModules", &error, modules))?;
        let analyzed = {
            let image = Arc::clone(&image);
            blocking(move || image.analyze()).await?
        };
        let analyzed = analyzed.map_err(|error| refusal("InvalidModules", &error, modules))?;
        self.shared.images.prepare((recipe.deployment, component), recipe.key(), image).await?;
        let maps = maps_of(modules);
        let mut analyses = BTreeMap::new();
        for module in analyzed {
            let is_mapped =
                modules.iter().any(|source| source.path == module.path && source.source_map.is_some());
            let analysis = analysis_json(&module, is_mapped, &maps)?;
            analyses.insert(module.path, Arc::from(analysis.to_string()));
        }
        Ok(analyses)
    }

    async fn evaluate_declaration(&self, recipe: &ImageRecipe, declared: Declared<'_>) -> Result<String> {
        let Declared { module, imports, declaration, unset_variables, code } = declared;
        let entry_point = isolate::ModuleSource {
            path: module.path.clone(),
            source: module.source.to_string(),
            is_entry_point: true,
        };
        let source = ImageSource {
            modules: imports.into_iter().chain([entry_point]).collect(),
            environment: recipe.environment.clone(),
            unset_variables,
            import_seed: expand_seed(recipe.import_seed),
            import_time_ms: recipe.import_time_ms,
            native_values: self.shared.options.native_values,
            limits: self.shared.options.limits.function.import(),
        };
        let image: Arc<Image> =
            self.shared.images.build(source).await?.map_err(|error| refusal(code, &error, &[module]))?;
        let path = module.path.clone();
        let text = blocking(move || image.declaration(&path, declaration)).await?;
        text.map_err(|error| refusal(code, &error, &[module]))
    }
}

/// What a definition imports in place of another component's: the bundler has left the import, under this name.
fn stand_in((path, name): (&String, &String)) -> isolate::ModuleSource {
    let definition = json!({ "componentDefinitionPath": path, "defaultName": name });
    isolate::ModuleSource {
        path: format!("_componentDeps/{}", BASE64.encode(path)),
        source: format!("export default {definition};"),
        is_entry_point: false,
    }
}

/// Waits for work that takes its time, on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal(format!("evaluating code: {error}")))
}

/// Why code can't be pushed, for whoever pushes it.
fn refusal(code: &'static str, error: &ImportError, modules: &[&ModuleSource]) -> Error {
    let explained = |module: &str, error: &JsError| {
        let maps = maps_of(modules);
        let stack = match maps.map_stack(&error.stack) {
            stack if stack.is_empty() => stack,
            stack => format!("\n{stack}"),
        };
        format!("{module}: {error}{stack}")
    };
    let message = match error {
        ImportError::Internal(message) => return Error::internal(message.clone()),
        ImportError::MissingEnvironmentVariable { variable, .. } => {
            // The command line tool looks for this code, and for the variable behind these two words.
            return Error::bad_request(
                "AuthConfigMissingEnvironmentVariable",
                format!(
                    "Environment variable {variable} is used in the auth config file but its value was not set"
                ),
            );
        }
        ImportError::Syntax { module, error }
        | ImportError::Unresolved { module, error }
        | ImportError::Threw { module, error } => explained(module, error),
        ImportError::Killed { .. } | ImportError::InvalidPath { .. } => error.to_string(),
    };
    Error::bad_request(code, format!("The code could not be loaded. {message}"))
}

pub(crate) fn maps_of(modules: &[&ModuleSource]) -> SourceMaps {
    let mut maps = SourceMaps::default();
    for module in modules {
        if let Some(map) = &module.source_map {
            maps.add(&module.path, map.as_bytes());
        }
    }
    maps
}

/// A module without a source map as the push protocol shows it.
pub(crate) fn analysis_of(module: &ModuleAnalysis) -> Result<String> {
    Ok(analysis_json(module, false, &SourceMaps::default())?.to_string())
}

/// A module as the push protocol shows it.
pub(crate) fn analysis_json(module: &ModuleAnalysis, is_mapped: bool, maps: &SourceMaps) -> Result<Json> {
    let functions: Vec<Json> = module
        .functions
        .iter()
        .map(|function| {
            let position =
                function.position.and_then(|(line, column)| maps.original(&module.path, line, column));
            json!({
                "name": function.name,
                "pos": position.map(|(path, line, column)| {
                    json!({"path": path, "start_lineno": line, "start_col": column})
                }),
                "udfType": match function.kind {
                    FunctionKind::Query => "Query",
                    FunctionKind::Mutation => "Mutation",
                    FunctionKind::Action => "Action",
                    FunctionKind::HttpAction => "HttpAction",
                },
                "visibility": {"kind": match function.visibility {
                    Visibility::Public => "public",
                    Visibility::Internal => "internal",
                }},
                "args": function.args,
                "returns": function.returns,
            })
        })
        .collect();
    let routes = module.http_routes.as_ref().map(|routes| {
        let route =
            |route: &isolate::HttpRoute| json!({"route": {"path": route.path, "method": route.method}});
        routes.iter().map(route).collect::<Vec<Json>>()
    });
    let crons = module.crons.as_deref().map(crons_json).transpose().map_err(|reason| {
        Error::bad_request(
            "InvalidModules",
            format!("{}: its cron jobs can't be read: {reason}", module.path),
        )
    })?;
    Ok(json!({
        "functions": functions,
        "httpRoutes": routes,
        "cronSpecs": crons,
        "sourceMapped": is_mapped,
    }))
}

/// Cron jobs come as an object by name, and are shown as pairs.
fn crons_json(text: &str) -> std::result::Result<Vec<Json>, serde_json::Error> {
    let crons: serde_json::Map<String, Json> = serde_json::from_str(text)?;
    Ok(crons.into_iter().map(|(name, cron)| json!([name, cron])).collect())
}

/// The `providers` of an auth config.
fn providers_of(config: &str) -> Result<Arc<str>> {
    let invalid =
        |reason: &str| Error::bad_request("InvalidAuthConfig", format!("{AUTH_CONFIG_MODULE}: {reason}"));
    let config: Json = serde_json::from_str(config).map_err(|error| invalid(&error.to_string()))?;
    match config.get("providers") {
        Some(providers @ Json::Array(_)) => Ok(providers.to_string().into()),
        _ => Err(invalid("its default export must be an object with an array named `providers`")),
    }
}

#[cfg(test)]
mod tests {
    use contract::ErrorKind;
    use isolate::{AnalyzedFunction, HttpRoute};

    use super::*;

    #[test]
    fn an_analysis_has_the_shape_of_the_push_protocol() {
        let module = ModuleAnalysis {
            path: "messages.js".to_owned(),
            functions: vec![AnalyzedFunction {
                name: "list".to_owned(),
                kind: FunctionKind::Query,
                visibility: Visibility::Public,
                args: r#"{"type":"any"}"#.to_owned(),
                returns: "null".to_owned(),
                position: None,
            }],
            http_routes: Some(vec![HttpRoute { path: "/p/*".to_owned(), method: "GET".to_owned() }]),
            crons: Some(r#"{"hourly":{"name":"messages:secret"}}"#.to_owned()),
        };
        assert_eq!(
            analysis_json(&module, true, &SourceMaps::default()).expect("it can be shown"),
            json!({
                "functions": [{
                    "name": "list", "pos": null, "udfType": "Query", "visibility": {"kind": "public"},
                    "args": r#"{"type":"any"}"#, "returns": "null",
                }],
                "httpRoutes": [{"route": {"path": "/p/*", "method": "GET"}}],
                "cronSpecs": [["hourly", {"name": "messages:secret"}]],
                "sourceMapped": true,
            })
        );
    }

    #[test]
    fn a_missing_variable_in_the_auth_config_is_told_as_the_command_line_tool_expects() {
        let error = ImportError::MissingEnvironmentVariable {
            module: AUTH_CONFIG_MODULE.to_owned(),
            variable: "AUTH_DOMAIN".to_owned(),
        };
        let error = refusal("InvalidAuthConfig", &error, &[]);
        assert_eq!(error.code, "AuthConfigMissingEnvironmentVariable");
        assert!(error.message.starts_with("Environment variable AUTH_DOMAIN is used"));
    }

    #[test]
    fn what_a_module_throws_is_told_with_its_place_in_the_source() {
        let module = ModuleSource {
            path: "a.js".to_owned(),
            source: "".into(),
            source_map: Some(
                r#"{"version":3,"sources":["../convex/a.ts"],"names":[],"mappings":"AAIE"}"#.into(),
            ),
        };
        let error = ImportError::Threw {
            module: "a.js".to_owned(),
            error: Box::new(JsError {
                name: "Error".to_owned(),
                message: "at import".to_owned(),
                stack: "    at <anonymous> (a.js:1:1)".to_owned(),
                code: None,
                convex_error_data: None,
            }),
        };
        let error = refusal("InvalidModules", &error, &[&module]);
        assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::BadRequest, "InvalidModules"));
        assert_eq!(
            error.message,
            "The code could not be loaded. a.js: Error: at import\n    at <anonymous> (../convex/a.ts:5:3)"
        );
    }

    #[test]
    fn an_auth_config_without_providers_is_refused() {
        assert_eq!(providers_of(r#"{"providers":[]}"#).as_deref(), Ok("[]"));
        assert_eq!(providers_of("{}").expect_err("no providers").code, "InvalidAuthConfig");
    }
}

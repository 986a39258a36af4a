//! The functions that modules export, as their analysis describes them, and how they are found.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

use contract::{Caller, Error, FunctionCall};
use lru::LruCache;
use parking_lot::Mutex;
use schema::SchemaLimits;
use schema::Validator;
use serde::Deserialize;
use transaction::{Catalog, ModuleEnvironment, ModuleRow, Stored, Transaction};
use value::FunctionPath;

/// A function that can be called.
#[derive(Debug)]
pub(crate) struct Function {
    pub path: FunctionPath,
    pub kind: isolate::FunctionKind,
    pub is_public: bool,
    /// Of the arguments object.
    pub arguments: Validator,
    /// Of the result; `None` accepts everything.
    pub returns: Option<Validator>,
}

impl Function {
    /// Whether it runs in Node.js, by the module that the catalog has.
    pub(crate) fn is_for_node(&self, catalog: &Catalog) -> bool {
        let module = catalog.module(&self.path.module.with_extension());
        module.is_some_and(|module| module.row.environment == ModuleEnvironment::Node)
    }
}

/// Which functions a caller may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllowedVisibility {
    /// Those that say that they are public: for clients without special rights.
    PublicOnly,
    /// Internal ones too: for functions, and for administrators.
    All,
}

impl AllowedVisibility {
    /// What is scheduled was so by a function, or by the code that was pushed: they may call internal ones, as actions may.
    pub(crate) fn of(call: &FunctionCall) -> AllowedVisibility {
        match call.caller {
            Caller::Scheduler | Caller::Cron | Caller::Action => AllowedVisibility::All,
            Caller::HttpApi | Caller::SyncWorker if call.identity.is_admin() => AllowedVisibility::All,
            // No function is looked up for a request: the router is.
            Caller::HttpApi | Caller::SyncWorker | Caller::HttpEndpoint => AllowedVisibility::PublicOnly,
        }
    }
}

/// The functions of one module, by export.
pub(crate) type ModuleFunctions = HashMap<String, Arc<Function>>;

/// A module's row, and what its analysis says.
type Known = (Arc<Stored<ModuleRow>>, Arc<ModuleFunctions>);

/// Keeps what was read from analyses; least recently used ones go first.
pub(crate) struct FunctionCache {
    /// By the row's address, which is its name as long as the row is held here.
    modules: Mutex<LruCache<usize, Known>>,
}

impl FunctionCache {
    pub(crate) fn new(capacity: usize) -> FunctionCache {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        FunctionCache { modules: Mutex::new(LruCache::new(capacity)) }
    }

    /// Finds a function of the transaction's component, whatever its kind. What was looked at is in the read set: the
    /// module with all that it imports. (What the module exports with other environment variables is in its row, too.)
    pub(crate) fn find(
        &self,
        transaction: &mut Transaction,
        path: &FunctionPath,
        allowed: AllowedVisibility,
    ) -> Result<Option<Arc<Function>>, Error> {
        let modules = transaction.module_with_imports(&path.module.with_extension());
        let Some(module) = modules.first() else { return Ok(None) };
        let functions = self.of(module)?;
        let function = functions.get(path.export.as_str()).cloned();
        Ok(function.filter(|function| function.is_public || allowed == AllowedVisibility::All))
    }

    /// The functions of a module.
    fn of(&self, module: &Arc<Stored<ModuleRow>>) -> Result<Arc<ModuleFunctions>, Error> {
        let address = Arc::as_ptr(module) as usize;
        if let Some((_, functions)) = self.modules.lock().get(&address) {
            return Ok(Arc::clone(functions));
        }
        let functions = match &module.row.analysis {
            Some(analysis) => parse(&module.row.path, analysis).map_err(|reason| {
                Error::internal(format!("the analysis of module {} can't be read: {reason}", module.row.path))
            })?,
            None => ModuleFunctions::new(),
        };
        let functions = Arc::new(functions);
        self.modules.lock().put(address, (Arc::clone(module), Arc::clone(&functions)));
        Ok(functions)
    }
}

#[derive(Deserialize)]
struct AnalysisJson {
    #[serde(default)]
    functions: Vec<FunctionJson>,
}

#[derive(Deserialize)]
struct FunctionJson {
    name: String,
    #[serde(rename = "udfType")]
    kind: KindJson,
    visibility: Option<VisibilityJson>,
    /// JSON within JSON.
    args: Option<String>,
    /// JSON within JSON.
    returns: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum KindJson {
    Query,
    Mutation,
    Action,
}

#[derive(Deserialize)]
struct VisibilityJson {
    kind: String,
}

/// The functions that a module's analysis tells of.
pub(crate) fn parse(module: &str, analysis: &str) -> Result<ModuleFunctions, String> {
    let analysis: AnalysisJson = serde_json::from_str(analysis).map_err(|error| error.to_string())?;
    let validator = |text: &str| {
        // It was held to the limits when it was pushed; they may have been lowered since.
        let limits = SchemaLimits {
            validator_nesting_max: usize::MAX,
            validator_nodes_max: usize::MAX,
            ..SchemaLimits::DEFAULT
        };
        Validator::from_json(text, &limits).map_err(|error| error.to_string())
    };
    let mut functions = ModuleFunctions::with_capacity(analysis.functions.len());
    for function in analysis.functions {
        let path = FunctionPath::new(
            module.parse().map_err(|error: value::ValueError| error.to_string())?,
            function.name.parse().map_err(|error: value::ValueError| error.to_string())?,
        );
        let kind = match function.kind {
            KindJson::Query => isolate::FunctionKind::Query,
            KindJson::Mutation => isolate::FunctionKind::Mutation,
            KindJson::Action => isolate::FunctionKind::Action,
        };
        let is_public = function.visibility.is_some_and(|visibility| visibility.kind == "public");
        let arguments = function.args.as_deref().map_or(Ok(Validator::Any), validator)?;
        let returns = match function.returns.as_deref() {
            None | Some("null") => None,
            Some(text) => Some(validator(text)?),
        };
        functions.insert(function.name, Arc::new(Function { path, kind, is_public, arguments, returns }));
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_analysis_names_functions_with_their_validators() {
        let analysis = r#"{"functions":[
            {"name":"list","udfType":"Query","visibility":{"kind":"public"},
             "args":"{\"type\":\"object\",\"value\":{}}","returns":"null","pos":null},
            {"name":"default","udfType":"Mutation","visibility":{"kind":"internal"},"args":null,
             "returns":"{\"type\":\"null\"}"},
            {"name":"old","udfType":"Action","visibility":null,"args":"{\"type\":\"any\"}","returns":null}
        ],"httpRoutes":null,"cronSpecs":null,"sourceMapped":null}"#;
        let functions = parse("dir/file.js", analysis).expect("it can be read");
        let list = &functions["list"];
        assert_eq!(list.path.to_string(), "dir/file:list");
        assert!(list.is_public && list.kind == isolate::FunctionKind::Query && list.returns.is_none());
        assert!(matches!(list.arguments, Validator::Object(_)));
        let default = &functions["default"];
        assert!(!default.is_public && default.returns == Some(Validator::Null));
        assert!(matches!(default.arguments, Validator::Any));
        // A function that does not say who may call it is not for everybody.
        assert!(!functions["old"].is_public);
    }

    #[test]
    fn an_analysis_that_can_not_be_read_says_why() {
        assert!(parse("a.js", r#"{"functions":[{"name":"f","udfType":"Robot"}]}"#).is_err());
        assert!(parse("a.js", r#"{"functions":[{"name":"f","udfType":"Query","args":"{}"}]}"#).is_err());
    }
}

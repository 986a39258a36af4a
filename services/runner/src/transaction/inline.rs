//! Queries whose code comes with the call.

use std::{collections::BTreeMap, sync::Arc};

use code::expand_seed;
use contract::{Error, Result};
use isolate::{FunctionKind, Image, ImageSource, ImportError, ModuleSource, UnsetVariables};
use transaction::Transaction;
use value::FunctionPath;

use super::run::{Execution, Run, component_at};
use crate::{
    calls::{self, Priority, Slots, Thrown, normalize_arguments},
    evaluate::{analysis_of, blocking},
    functions::{self, Function},
    service::Handle,
};

/// The one module that the query's can import.
const WRAPPERS: (&str, &str) = (
    "convex:/_system/repl/wrappers.js",
    "export { queryGeneric as query, internalQueryGeneric as internalQuery } from \"convex:/server/index.js\";",
);

include!(concat!(env!("OUT_DIR"), "/library.rs"));

impl Handle {
    /// Evaluates `source`, and runs the query that is its default export. What it calls is deployed.
    pub(super) async fn execute_inline(
        &self,
        run: &Run,
        priority: Priority,
        mut transaction: Transaction,
        source: &str,
    ) -> Result<Execution> {
        let (shared, call) = (&self.shared, run.call());
        let log = self.new_log();
        let Some(path) = run.path() else {
            return Ok(Execution::failed(transaction, log, Thrown::no_function(run.identifier())));
        };
        let Some(component) = component_at(&mut transaction, &call.component) else {
            let sentence = format!("There is no component `{}`.", call.component);
            return Ok(Execution::failed(transaction, log, Thrown::for_tools(sentence)));
        };
        transaction.enter(component);
        let variables = transaction.environment_variables().into_iter();
        let mut environment: BTreeMap<String, String> =
            variables.map(|variable| (variable.row.name, variable.row.value)).collect();
        let deployment = shared.deployment(call.deployment)?;
        let site_path = transaction.deployment_catalog().site_path(component);
        environment.extend(deployment.platform_variables_below(&site_path));
        let (image, function) = match self.load(path, source, environment).await? {
            Ok((image, function)) => (shared.images.for_one_call(image), Arc::new(function)),
            Err(thrown) => return Ok(Execution::failed(transaction, log, thrown)),
        };
        let catalogs = Arc::clone(transaction.deployment_catalog());
        let deployed = match shared.images.of_component(component, &catalogs, &deployment).await? {
            Some(Ok(deployed)) => deployed,
            // There is nothing that it could call.
            _ => image.clone(),
        };
        let now_ms = shared.now_at(transaction.begin_at()) / 1_000_000;
        let mut guest = run.on_thread(shared, transaction, deployed, now_ms, None);
        let arguments = normalize_arguments(&call.arguments).into_owned();
        let work = async move |slots: &mut Slots| {
            let outcome = calls::call(&mut guest.host, slots, &image, function, &arguments).await;
            (guest.host, outcome)
        };
        let (host, outcome) = self.threads.run(call.deployment, priority, work).await?;
        self.ran(host, outcome).await
    }

    async fn load(
        &self,
        path: &FunctionPath,
        source: &str,
        environment: BTreeMap<String, String>,
    ) -> Result<Result<(Arc<Image>, Function), Thrown>> {
        let shared = &self.shared;
        let module = path.module.with_extension();
        let entry_point =
            ModuleSource { path: module.clone(), source: source.to_owned(), is_entry_point: true };
        let library = LIBRARY.iter().chain([&WRAPPERS]).map(|(path, source)| ModuleSource {
            path: (*path).to_owned(),
            source: (*source).to_owned(),
            is_entry_point: false,
        });
        let import_phase = self.new_import_phase();
        let source = ImageSource {
            modules: library.chain([entry_point]).collect(),
            environment,
            unset_variables: UnsetVariables::Undefined,
            import_seed: expand_seed(import_phase.seed),
            import_time_ms: import_phase.time_ms,
            native_values: shared.options.native_values,
            limits: shared.options.limits.function.import(),
        };
        let not_loaded = |error| match error {
            ImportError::Internal(message) => Err(Error::internal(message)),
            error => Ok(Err(Thrown::new(format!("The query can't be loaded: {error}")))),
        };
        let image = match shared.images.build(source).await? {
            Ok(image) => image,
            Err(error) => return not_loaded(error),
        };
        let analyzed = {
            let image = Arc::clone(&image);
            blocking(move || image.analyze()).await?
        };
        let analyzed = match analyzed {
            Ok(analyzed) => analyzed,
            Err(error) => return not_loaded(error),
        };
        let analysis = analyzed.iter().find(|analyzed| analyzed.path == module);
        let mut exports = match analysis {
            Some(analysis) => functions::parse(&module, &analysis_of(analysis)?).map_err(|reason| {
                Error::internal(format!("the analysis of a query can't be read: {reason}"))
            })?,
            None => functions::ModuleFunctions::new(),
        };
        let default = exports.remove(path.export.as_str()).and_then(Arc::into_inner);
        let query = default.filter(|function| function.kind == FunctionKind::Query);
        Ok(query.map(|function| (image, function)).ok_or_else(|| {
            Thrown::new(format!(
                "`{module}` has no query as its default export: `export default query({{ handler }})`."
            ))
        }))
    }
}

//! Changes of environment variables.
//!
//! Code may look at them while it is imported, so an image is made of both. A change evaluates the deployed code anew before it
//! commits: the image that serves the next call is there when the change is. The import phase stays what it was, so that what
//! did not look at a changed variable is what it was, too.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use auth::Providers;
use code::{AUTH_CONFIG_MODULE, environment_hash};
use contract::{
    CLOUD_URL_VARIABLE, DeploymentRef, Error, Evaluation, EvaluationRequest, ImportPhase, ModuleSource,
    NodeEvaluation, Result, SITE_URL_VARIABLE, VariableChange,
};
use system_transaction::Work;
use transaction::{
    ComponentRow, CronJobRow, ModuleEnvironment, ModuleRow, Transaction, UdfConfigRow, component_id,
};
use value::ComponentId;

use crate::{
    Handle, PushLimits, analysis, crons,
    definitions::{Variables, variables_of},
    finish::{write_auth_providers, write_variables},
    prepared::hash_of_code,
};

/// The variables that every deployment has, whatever its own are.
pub(crate) const PLATFORM_VARIABLES: [&str; 2] = [CLOUD_URL_VARIABLE, SITE_URL_VARIABLE];

/// How often a change is tried that others have overtaken.
const ATTEMPTS: usize = 16;

impl Handle {
    pub(crate) async fn variables(&self, deployment: DeploymentRef) -> Result<Variables> {
        Ok(of(&mut self.transactions().snapshot(deployment).await?))
    }

    pub(crate) async fn update_variables(
        &self,
        deployment: DeploymentRef,
        changes: &[VariableChange],
    ) -> Result<()> {
        let limits = &self.limits().push;
        changes.iter().try_for_each(|change| check(change, limits))?;
        for attempt in 1.. {
            let mut transaction = self.transactions().snapshot(deployment).await?;
            let before = of(&mut transaction);
            let after = changed(before.clone(), changes);
            if after == before {
                return Ok(());
            }
            check_all(&after, limits)?;
            let update = self.prepare_update(deployment, &mut transaction, &before, &after).await?;
            match self.transactions().transact(deployment, &update).await.map_err(Error::from) {
                Err(error) if error.code == RACE && attempt < ATTEMPTS => {}
                result => return result,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Evaluates what is deployed with the variables as they will be.
    async fn prepare_update(
        &self,
        deployment: DeploymentRef,
        transaction: &mut Transaction,
        before: &Variables,
        after: &Variables,
    ) -> Result<Update> {
        let config = transaction.udf_config().map(|config| config.row);
        let mut update = Update {
            before_hash: environment_hash(before),
            code_hash: config.as_ref().map(|config| config.code_hash.clone()),
            after: after.clone(),
            auth_providers: None,
            evaluated: None,
            node_evaluation: None,
        };
        let Some(config) = config else { return Ok(update) };
        let (mut auth_config, mut functions, mut node) = (Vec::new(), Vec::new(), Vec::new());
        // Of the modules for Node.js: as they are, where they can't be loaded any more.
        let mut analyses = BTreeMap::new();
        for module in transaction.modules() {
            if module.row.environment == ModuleEnvironment::Node {
                analyses
                    .extend(module.row.analysis.clone().map(|analysis| (module.row.path.clone(), analysis)));
            }
            let source = self.text_of(module.row.source, &module.row.path).await?;
            let source_map = match module.row.source_map {
                Some(digest) => Some(self.text_of(digest, &module.row.path).await?),
                None => None,
            };
            let list = match module.row.environment {
                ModuleEnvironment::Node => &mut node,
                ModuleEnvironment::Isolate if module.row.path == AUTH_CONFIG_MODULE => &mut auth_config,
                ModuleEnvironment::Isolate => &mut functions,
            };
            list.push(ModuleSource { path: module.row.path.clone(), source, source_map });
        }
        let evaluate = |modules| {
            self.dependencies().runner.evaluate(EvaluationRequest {
                deployment,
                component: String::new(),
                site_path: String::new(),
                modules,
                schema: None,
                definition: None,
                definitions: BTreeMap::new(),
                environment_variables: after.clone(),
                import_phase: Some(ImportPhase { seed: config.import_seed, time_ms: config.import_time_ms }),
            })
        };
        if !auth_config.is_empty() {
            // By itself: whether users can sign in does not hang on the functions.
            let evaluation = evaluate(auth_config).await?;
            update.auth_providers = Some(analysis::auth_providers(&evaluation, &self.limits().auth)?);
        }
        if !node.is_empty() {
            let evaluated = self.evaluate_deployed_node(deployment, node, after, &config.node).await;
            // Actions that can't be loaded, or for which there is no Node.js now, say so when they are called.
            let checked = |evaluation: NodeEvaluation| {
                analysis::check_functions(&evaluation.modules, self.limits()).map(|_| evaluation)
            };
            update.node_evaluation = evaluated
                .and_then(checked)
                .inspect_err(|error| {
                    tracing::info!(code = &*error.code, "the modules for Node.js can't be loaded now");
                })
                .ok();
            analyses.extend(update.node_evaluation.iter().flat_map(|evaluation| evaluation.modules.clone()));
        }
        update.evaluated = match evaluate(functions).await {
            Ok(evaluation) => {
                analysis::check_functions(&evaluation.modules, self.limits())?;
                analyses.extend(evaluation.modules.clone());
                Some(Evaluated { crons: crons::declared(&analyses)?, evaluation })
            }
            // Functions that can't be loaded with these variables say so when they are called, and the next change may mend it.
            Err(error) if error.code == "InvalidModules" => {
                // What it threw may quote one of them.
                tracing::info!("the code can't be loaded with the changed environment variables");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(update)
    }
}

fn of(transaction: &mut Transaction) -> Variables {
    let variables = transaction.environment_variables().into_iter();
    variables.map(|variable| (variable.row.name, variable.row.value)).collect()
}

fn changed(mut variables: Variables, changes: &[VariableChange]) -> Variables {
    for VariableChange { name, value } in changes {
        match value {
            Some(value) => drop(variables.insert(name.clone(), value.clone())),
            None => drop(variables.remove(name)),
        }
    }
    variables
}

fn check(change: &VariableChange, limits: &PushLimits) -> Result<()> {
    let VariableChange { name, value } = change;
    let refused = |code, why: String| {
        Err(Error::bad_request(code, format!("The environment variable {name:?} {why}.")))
    };
    if name.len() > limits.variable_name_bytes_max {
        let why = format!("has a name of {} bytes, more than {}", name.len(), limits.variable_name_bytes_max);
        return Err(Error::bad_request("EnvVarNameInvalid", format!("An environment variable {why}.")));
    }
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.bytes().all(is_word) || name.bytes().next().is_none_or(|byte| byte.is_ascii_digit()) {
        let why = "can't be named so: a name has letters, digits and `_`, and does not begin with a digit";
        return refused("EnvVarNameInvalid", why.to_owned());
    }
    if PLATFORM_VARIABLES.contains(&name.as_str()) {
        return refused("EnvVarNameForbidden", "is the server's own, and can't be changed".to_owned());
    }
    match value {
        Some(value) if value.len() > limits.variable_value_bytes_max => {
            let (bytes, bytes_max) = (value.len(), limits.variable_value_bytes_max);
            refused("EnvVarValueTooLarge", format!("has a value of {bytes} bytes, more than {bytes_max}"))
        }
        _ => Ok(()),
    }
}

fn check_all(variables: &Variables, limits: &PushLimits) -> Result<()> {
    let refused = |sentence| Err(Error::bad_request("EnvVarLimitMet", sentence));
    if variables.len() > limits.variables_max {
        return refused(format!(
            "There would be {} environment variables, more than {}.",
            variables.len(),
            limits.variables_max
        ));
    }
    let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits.variables_bytes_max {
        return refused(format!(
            "The environment variables would have {bytes} bytes in all, more than {}.",
            limits.variables_bytes_max
        ));
    }
    Ok(())
}

/// Sets the variables, and what was evaluated with them.
struct Update {
    /// As they were when the code was evaluated.
    before_hash: String,
    /// The code that was evaluated.
    code_hash: Option<String>,
    after: Variables,
    /// `None` without an `auth.config`.
    auth_providers: Option<Providers>,
    /// `None` where the code can't be loaded.
    evaluated: Option<Evaluated>,
    /// `None` where that for Node.js can't be loaded, or there is none.
    node_evaluation: Option<NodeEvaluation>,
}

struct Evaluated {
    evaluation: Evaluation,
    /// What the code schedules may depend on the variables, too.
    crons: Vec<CronJobRow>,
}

/// Gives the mounted components what they have of the app's variables; which these are.
async fn write_variables_of_components(
    transaction: &mut Transaction,
    app: &Variables,
) -> system_transaction::Result<Vec<ComponentRow>> {
    // By their paths, so that parents come before their children.
    let instances = transaction.instances().into_iter().map(|(_, stored)| stored.row.clone());
    let instances: Vec<ComponentRow> = instances.filter(|row| row.is_mounted).collect();
    let variables = variables_of(&instances, app);
    for row in &instances {
        transaction.enter(component_id(&row.path));
        write_variables(transaction, variables[&row.path].clone()).await?;
    }
    transaction.enter(ComponentId::ROOT);
    Ok(instances)
}

const RACE: &str = "RaceDetected";

#[async_trait]
impl Work for Update {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let config = transaction.udf_config();
        let code_hash_now = config.as_ref().map(|config| &config.row.code_hash);
        if environment_hash(&of(transaction)) != self.before_hash || code_hash_now != self.code_hash.as_ref()
        {
            let message =
                "The code or the environment variables have changed meanwhile; send the change again.";
            return Err(Error::bad_request(RACE, message).into());
        }
        write_variables(transaction, self.after.clone()).await?;
        let instances = write_variables_of_components(transaction, &self.after).await?;
        if let Some(providers) = &self.auth_providers {
            write_auth_providers(transaction, providers).await?;
        }
        let Some(config) = config else { return Ok(()) };
        let modules = transaction.modules();
        let deployed = Arc::clone(transaction.deployment_catalog());
        let hashes = |component: ComponentId| {
            let modules = deployed.of(component).modules();
            modules.map(|module| (module.row.path.as_str(), &module.row.hash)).collect::<Vec<_>>()
        };
        let code_hash = hash_of_code(
            &environment_hash(&self.after),
            hashes(ComponentId::ROOT),
            instances.iter().map(|row| (row, hashes(component_id(&row.path)))),
        );
        let row = UdfConfigRow { code_hash, ..config.row };
        transaction.replace_row(config.id, &row).await?;
        for module in &modules {
            let analyses = match module.row.environment {
                ModuleEnvironment::Isolate => {
                    self.evaluated.as_ref().map(|evaluated| &evaluated.evaluation.modules)
                }
                ModuleEnvironment::Node => {
                    self.node_evaluation.as_ref().map(|evaluation| &evaluation.modules)
                }
            };
            let Some(analyses) = analyses else { continue };
            let analysis: Option<Arc<str>> = analyses.get(&module.row.path).cloned();
            if analysis != module.row.analysis {
                transaction.replace_row(module.id, &ModuleRow { analysis, ..module.row.clone() }).await?;
            }
        }
        if let Some(Evaluated { crons, .. }) = &self.evaluated {
            transaction.change_crons(ComponentId::ROOT, crons.clone()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> VariableChange {
        VariableChange { name: name.to_owned(), value: Some(value.to_owned()) }
    }

    fn refusal(change: &VariableChange) -> Option<String> {
        check(change, &PushLimits::DEFAULT).err().map(|error| error.code.into_owned())
    }

    #[test]
    fn names_and_values_are_held_to_their_rules() {
        for name in ["A", "_", "a1_B", &"x".repeat(256)] {
            assert_eq!(refusal(&set(name, "1\n2=3")), None, "{name}");
        }
        for name in ["", "1A", "A-B", "A B", "Ä", "A=B", &"x".repeat(257)] {
            assert_eq!(refusal(&set(name, "")).as_deref(), Some("EnvVarNameInvalid"), "{name}");
        }
        assert_eq!(refusal(&set("CONVEX_SITE_URL", "")).as_deref(), Some("EnvVarNameForbidden"));
        assert_eq!(refusal(&set("A", &"x".repeat(8 << 10))), None);
        assert_eq!(refusal(&set("A", &"x".repeat((8 << 10) + 1))).as_deref(), Some("EnvVarValueTooLarge"));
    }

    #[test]
    fn all_together_have_a_bound_in_number_and_in_bytes() {
        let many = |count: usize, bytes: usize| -> Variables {
            (0..count).map(|number| (format!("V{number:05}"), "x".repeat(bytes))).collect()
        };
        let code = |variables| check_all(&variables, &PushLimits::DEFAULT).err().map(|error| error.code);
        assert_eq!(code(many(1_000, 100)), None);
        assert_eq!(code(many(1_001, 100)), Some("EnvVarLimitMet".into()));
        assert_eq!(code(many(512, 1_018)), None, "1,024 bytes each");
        assert_eq!(code(many(512, 1_019)), Some("EnvVarLimitMet".into()));
    }

    #[test]
    fn the_last_change_of_a_variable_counts() {
        let before: Variables = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())].into();
        let gone = |name: &str| VariableChange { name: name.to_owned(), value: None };
        let after =
            changed(before, &[set("A", "3"), gone("B"), gone("C"), set("D", "4"), gone("D"), set("A", "5")]);
        assert_eq!(after, [("A".to_owned(), "5".to_owned())].into());
    }
}

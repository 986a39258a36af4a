//! What is due: the function of an entry of the queue. A mutation is run by the commit that takes the entry out; for an action see
//! [`crate::actions`].

use std::sync::Arc;

use async_trait::async_trait;
use contract::{
    Caller, DeploymentRef, DueCall, DueOutcome, DueRunner, Error, FunctionCall, Identity, ReadAt, Requester,
    Result, Timestamp,
};
use isolate::FunctionKind;
use tracing::Instrument;
use transaction::{DueKind, DueRun};
use value::{DocumentId, Value};

use super::mutation::Once;
use crate::{
    calls::Thrown,
    functions::AllowedVisibility,
    service::{Handle, span_of},
};

#[async_trait]
impl DueRunner for Handle {
    async fn run_due(&self, call: DueCall) -> Result<DueOutcome> {
        let _call = self.begin_call()?;
        let DueCall { deployment, entry, not_before, request_id } = call;
        let id = entry.parse().map_err(|_| Error::internal("an entry of the queue has no legal id"))?;
        let entry = self.entry(deployment, id, not_before).await?;
        let Some(Entry { run, component, kind, is_for_node }) = entry else {
            return Ok(DueOutcome::Gone);
        };
        let function = FunctionCall {
            deployment,
            component,
            path: run.function.to_string(),
            arguments: Value::Array(vec![Value::Object(run.arguments.clone())]).to_json().into(),
            identity: Identity::Anonymous,
            caller: match run.due.kind {
                DueKind::Job => Caller::Scheduler,
                DueKind::Cron => Caller::Cron,
            },
            requester: Requester::default(),
            request_id,
        };
        let span = span_of(&function);
        if kind == Some(FunctionKind::Action) {
            return self.begin_due_action(function, run, is_for_node).instrument(span).await;
        }
        let job = run.job_id();
        let ran = self.run_once(function, Once::Due(Arc::new(run)), job, not_before).instrument(span).await?;
        Ok(if ran.is_some() { DueOutcome::Ran } else { DueOutcome::Gone })
    }
}

/// What an entry says is to run.
struct Entry {
    run: DueRun,
    /// The path of its component, which may not be mounted any more; if it was deleted, its id, at which there is no component.
    component: String,
    /// `None` if there is no such function.
    kind: Option<FunctionKind>,
    /// Whether it runs in Node.js.
    is_for_node: bool,
}

impl Handle {
    /// `None` if it is gone, or somebody holds it.
    async fn entry(
        &self,
        deployment: DeploymentRef,
        id: DocumentId,
        not_before: Timestamp,
    ) -> Result<Option<Entry>> {
        let at = ReadAt::published(self.position_from(deployment.group, not_before).await?.published);
        let mut transaction = self.shared.begin(deployment, at, self.shared.now_at(at), None).await?;
        let run = transaction.due_run(id).await.map_err(transaction::Error::of_the_system)?;
        let Some(run) = run.filter(|run| run.due.holder.is_none()) else { return Ok(None) };
        if transaction.is_paused() {
            Thrown::paused(Caller::Scheduler)?;
        }
        let component = run.due.component;
        let path = transaction.deployment_catalog().component_path(component);
        let component = path.map_or_else(|| component.to_string(), |path| path.to_string());
        transaction.enter(run.due.component);
        let function = self.shared.functions.find(&mut transaction, &run.function, AllowedVisibility::All)?;
        let catalog = transaction.catalog();
        let is_for_node = function.as_ref().is_some_and(|function| function.is_for_node(catalog));
        Ok(Some(Entry { run, component, kind: function.map(|function| function.kind), is_for_node }))
    }
}

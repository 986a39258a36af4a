//! The service: how it starts and stops, and its contract.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use contract::{
    AuditEntry, AuditPage, CreatedLogStream, DeploymentRef, Deployments, Error, LogStreams, Result, Runner,
};
use deployment_tasks::for_each_deployment;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};
use system_transaction::SystemTransactions;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transaction::LogStreamState;
use value::DocumentId;

use crate::{
    LogStreamLimits, MetricsSnapshot, audit,
    configuration::{Configuration, Secrets, invalid},
    delivery::{Entered, Sender},
    deployment,
    events::{Event, Origin, Topic},
    metrics::Metrics,
    queue::{Queue, Queued, queue},
    rows::{self, Delete, Insert, LogStream, Replace, sealed},
    seal::Seal,
};

/// Random bytes of a secret that signs what a webhook gets.
const HMAC_SECRET_BYTES: usize = 32;

#[derive(Clone)]
pub struct Options {
    pub limits: LogStreamLimits,
    pub deployments: watch::Receiver<Arc<Deployments>>,
    /// Seals what opens receivers: the same in all processes of a cluster.
    pub seal_key: [u8; 32],
}

/// What the service works with.
#[derive(Clone)]
pub struct Dependencies {
    pub transactions: SystemTransactions,
    pub http: egress::Client,
    /// This process's own; what others run, their processes tell.
    pub runner: Option<Arc<dyn Runner>>,
}

pub struct Service {
    handle: Handle,
    shutdown: CancellationToken,
}

/// Makes and serves log streams; [`contract::LogStreams`] says what is promised. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub limits: LogStreamLimits,
    pub transactions: SystemTransactions,
    pub http: egress::Client,
    pub runner: Option<Arc<dyn Runner>>,
    pub deployments: watch::Receiver<Arc<Deployments>>,
    pub seal: Seal,
    pub metrics: Metrics,
    pub tasks: TaskTracker,
    locals: Mutex<HashMap<DeploymentRef, Arc<Local>>>,
    shutdown: CancellationToken,
}

/// What happens in this process for a deployment.
pub(crate) struct Local {
    /// Its streams were changed here.
    pub changed: Notify,
    queue: Queue,
    receiver: AsyncMutex<mpsc::Receiver<Queued>>,
}

impl Local {
    fn new(limits: &LogStreamLimits) -> Local {
        let (queue, receiver) = queue(limits);
        Local { changed: Notify::new(), queue, receiver: AsyncMutex::new(receiver) }
    }

    /// What was changed through this process.
    pub async fn next(&self) -> Arc<Event> {
        self.receiver.lock().await.recv().await.expect("the other end is here").event
    }
}

impl Shared {
    pub fn local(&self, deployment: DeploymentRef) -> Arc<Local> {
        let mut locals = self.locals.lock();
        locals.entry(deployment).or_insert_with(|| Arc::new(Local::new(&self.limits))).clone()
    }

    pub fn forget(&self, deployment: DeploymentRef) {
        self.locals.lock().remove(&deployment);
    }

    fn origin(&self, deployment: DeploymentRef) -> Result<Origin> {
        Ok(Origin::of(self.deployments.borrow().get(deployment)?))
    }
}

impl Service {
    /// Runs on the current runtime. What it does by itself ends with `shutdown`; what waits then is lost.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Dependencies { transactions, http, runner } = dependencies;
        let shared = Arc::new(Shared {
            limits: options.limits,
            transactions,
            http,
            runner,
            deployments: options.deployments.clone(),
            seal: Seal::new(&options.seal_key),
            metrics: Metrics::default(),
            tasks: TaskTracker::new(),
            locals: Mutex::default(),
            shutdown: shutdown.clone(),
        });
        let serving = shared.clone();
        let serve = for_each_deployment(options.deployments, shutdown.clone(), move |deployment, token| {
            deployment::run(serving.clone(), deployment.reference, token)
        });
        shared.tasks.spawn(serve);
        Service { handle: Handle { shared }, shutdown }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        self.shutdown.cancelled().await;
        self.handle.shared.tasks.close();
        self.handle.shared.tasks.wait().await;
    }
}

impl Handle {
    /// What has become of events.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.metrics.snapshot()
    }

    /// Sees whether the receiver of a stream takes anything, and enters it.
    fn verify(&self, deployment: DeploymentRef, stream: LogStream, now_ms: u64) {
        let shared = self.shared.clone();
        shared.local(deployment).changed.notify_one();
        let verifying = async move {
            let Ok(origin) = shared.origin(deployment) else { return };
            let LogStream { id, secrets, sealed, state } = stream;
            let wants = secrets.configuration.wants(Topic::Verification);
            let entered = Arc::new(Mutex::new(Entered { sealed, state }));
            let is_greeting = true;
            let sender =
                Sender { shared: shared.clone(), deployment, origin, id, secrets, entered, is_greeting };
            let events = [Arc::new(Event::verification(now_ms))];
            // One that collects exceptions can't be tried without one: it is told nothing.
            let events = if wants { &events[..] } else { &[] };
            shared.shutdown.run_until_cancelled(sender.tell(events)).await;
        };
        self.shared.tasks.spawn(verifying);
    }

    async fn now_ms(&self, deployment: DeploymentRef) -> Result<u64> {
        Ok(self.shared.transactions.snapshot(deployment).await?.now_ms())
    }

    fn object_of(&self, text: &str) -> Result<Map<String, Json>> {
        if text.len() > self.shared.limits.configuration_bytes_max {
            return Err(invalid("it is too large"));
        }
        match serde_json::from_str(text) {
            Ok(Json::Object(fields)) => Ok(fields),
            _ => Err(invalid("the body is not a JSON object")),
        }
    }
}

fn id_of(id: &str) -> Result<DocumentId> {
    id.parse().map_err(|_| rows::not_found())
}

fn new_hmac_secret() -> String {
    let random: [u8; HMAC_SECRET_BYTES] = rand::random();
    hex::encode(random)
}

/// As the API shows a stream.
fn shown(stream: &LogStream) -> String {
    let mut fields = stream.secrets.configuration.shown();
    fields.insert("id".to_owned(), json!(stream.id.to_string()));
    let status = match &stream.state {
        LogStreamState::Failed { reason } => json!({ "type": "failed", "reason": reason }),
        state => json!({ "type": state.name() }),
    };
    fields.insert("status".to_owned(), status);
    if let Some(secret) = &stream.secrets.hmac_secret {
        fields.insert("hmacSecret".to_owned(), json!(secret));
    }
    Json::Object(fields).to_string()
}

#[async_trait]
impl LogStreams for Handle {
    async fn create(&self, deployment: DeploymentRef, configuration: &str) -> Result<CreatedLogStream> {
        let configuration = Configuration::parse(Json::Object(self.object_of(configuration)?))?;
        let kind = configuration.kind();
        let hmac_secret = matches!(configuration, Configuration::Webhook { .. }).then(new_hmac_secret);
        let secrets = Secrets { configuration, hmac_secret: hmac_secret.clone() };
        let work = Insert { kind, sealed: sealed(&self.shared.seal, deployment, &secrets) };
        let now_ms = self.now_ms(deployment).await?;
        // Nothing fails behind this: who is told that a stream could not be made never learns its secret.
        let id = self.shared.transactions.transact(deployment, &work).await?;
        let stream = LogStream { id, secrets, sealed: work.sealed, state: LogStreamState::Pending };
        self.verify(deployment, stream, now_ms);
        Ok(CreatedLogStream { kind: kind.to_owned(), id: id.to_string(), hmac_secret })
    }

    async fn update(&self, deployment: DeploymentRef, id: &str, changes: &str) -> Result<String> {
        let (id, changes) = (id_of(id)?, self.object_of(changes)?);
        let change = move |secrets: Secrets| {
            let configuration = secrets.configuration.changed_by(changes.clone())?;
            Ok(Secrets { configuration, ..secrets })
        };
        let work = Replace { seal: &self.shared.seal, deployment, id, change };
        let now_ms = self.now_ms(deployment).await?;
        let stream = self.shared.transactions.transact(deployment, &work).await?;
        let kind = stream.secrets.configuration.kind().to_owned();
        self.verify(deployment, stream, now_ms);
        Ok(kind)
    }

    async fn delete(&self, deployment: DeploymentRef, id: &str) -> Result<String> {
        let kind = self.shared.transactions.transact(deployment, &Delete { id: id_of(id)? }).await?;
        self.shared.local(deployment).changed.notify_one();
        Ok(kind)
    }

    async fn list(&self, deployment: DeploymentRef) -> Result<Vec<String>> {
        let mut transaction = self.shared.transactions.snapshot(deployment).await?;
        let streams = rows::all(&self.shared.seal, deployment, &mut transaction).await?;
        Ok(streams.iter().map(shown).collect())
    }

    async fn get(&self, deployment: DeploymentRef, id: &str) -> Result<String> {
        let id = id_of(id)?;
        let mut transaction = self.shared.transactions.snapshot(deployment).await?;
        let streams = rows::all(&self.shared.seal, deployment, &mut transaction).await?;
        streams.iter().find(|stream| stream.id == id).map(shown).ok_or_else(rows::not_found)
    }

    async fn rotate_webhook_secret(&self, deployment: DeploymentRef, id: &str) -> Result<String> {
        let id = id_of(id)?;
        let secret = new_hmac_secret();
        let change = |secrets: Secrets| match &secrets.hmac_secret {
            Some(_) => Ok(Secrets { hmac_secret: Some(secret.clone()), ..secrets }),
            None => Err(Error::bad_request("InvalidLogStream", "Only webhooks have a secret that signs.")),
        };
        let work = Replace { seal: &self.shared.seal, deployment, id, change };
        let now_ms = self.now_ms(deployment).await?;
        let stream = self.shared.transactions.transact(deployment, &work).await?;
        self.verify(deployment, stream, now_ms);
        Ok(secret)
    }

    async fn audit(&self, deployment: DeploymentRef, entry: AuditEntry) -> Result<()> {
        let work = audit::Enter { entry: &entry, age_ms_max: self.shared.limits.audit_age_ms_max };
        let time_ms = self.shared.transactions.transact(deployment, &work).await?;
        let metadata: Json = serde_json::from_str(&entry.metadata).unwrap_or_default();
        let event = Arc::new(Event::audit(time_ms, &entry.action, &metadata));
        if !self.shared.local(deployment).queue.take(&event) {
            self.shared.metrics.events_dropped.add(1);
        }
        Ok(())
    }

    async fn audit_log(
        &self,
        deployment: DeploymentRef,
        from_ms: u64,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<AuditPage> {
        audit::page(&self.shared, deployment, (from_ms, cursor, limit)).await
    }
}

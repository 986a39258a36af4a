//! What is measured: a log, and search services on it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use contract::{
    Deployment, DeploymentId, DeploymentRef, GroupId, IndexId, Search as _, Sequencer, Timestamp,
    TransactionLog,
};
use search::{Dependencies, Options, SearchLimits, Service};
use system_transaction::{SystemTransactions, Work};
use tokio_util::sync::CancellationToken;
use transaction::{IndexKind, IndexRow, IndexState, Transaction};
use value::{ComponentId, DocumentId, Object, Value};

pub const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
pub const INDEX: IndexId = IndexId([1; 16]);

pub struct Stand {
    transactions: SystemTransactions,
    log: txlog::Service,
    token: CancellationToken,
}

/// Makes the table and its index.
struct Create {
    field: &'static str,
    kind: IndexKind,
}

#[async_trait]
impl Work for Create {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let table = transaction.create_table("things".parse().expect("legal")).await?;
        let row = IndexRow {
            component: ComponentId::ROOT,
            table: table.tablet,
            id: INDEX,
            name: "searched".parse().expect("legal"),
            fields: vec![self.field.parse().expect("a path")],
            kind: self.kind.clone(),
            state: IndexState::Enabled,
            staged: false,
        };
        transaction.insert_row(&row).await?;
        Ok(())
    }
}

/// Writes documents.
struct Insert(Vec<Object>);

#[async_trait]
impl Work for Insert {
    type Output = Vec<DocumentId>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Vec<DocumentId>> {
        let mut ids = Vec::with_capacity(self.0.len());
        for document in &self.0 {
            ids.push(transaction.insert("things", Value::Object(document.clone())).await?);
        }
        Ok(ids)
    }
}

/// What documents become: others, or nothing.
#[derive(Default)]
pub struct Changes {
    pub replaced: Vec<(DocumentId, Object)>,
    pub deleted: Vec<DocumentId>,
}

#[async_trait]
impl Work for Changes {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        for (id, document) in &self.replaced {
            transaction.replace(&String::from(*id), None, Value::Object(document.clone())).await?;
        }
        for id in &self.deleted {
            transaction.delete(&String::from(*id), None).await?;
        }
        Ok(())
    }
}

impl Stand {
    pub async fn start(folder: &Path, field: &'static str, kind: IndexKind) -> Result<Stand> {
        let token = CancellationToken::new();
        let options = txlog::Options::embedded(folder.join("log"));
        let log = txlog::Service::start(options, token.clone()).await?;
        let handle: Arc<dyn TransactionLog> = Arc::new(log.handle());
        let sequencer =
            sequencer::Service::start(sequencer::Dependencies { log: handle.clone() }, token.clone());
        let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer.handle());
        let limits = transaction::Limits::DEFAULT;
        let transactions = SystemTransactions::new(handle, sequencer, 1 << 20, &[7; 32], limits);
        transactions.transact(DEPLOYMENT, &Create { field, kind }).await?;
        Ok(Stand { transactions, log, token })
    }

    pub async fn insert(&self, documents: Vec<Object>) -> Result<Vec<DocumentId>> {
        Ok(self.transactions.transact(DEPLOYMENT, &Insert(documents)).await?)
    }

    pub async fn change(&self, changes: &Changes) -> Result<()> {
        Ok(self.transactions.transact(DEPLOYMENT, changes).await?)
    }

    pub fn published(&self) -> Result<Timestamp> {
        Ok(self.transactions.log.position(DEPLOYMENT.group)?.borrow().published)
    }

    pub fn search(&self, folder: std::path::PathBuf, limits: SearchLimits) -> (Service, CancellationToken) {
        let token = CancellationToken::new();
        let known = Deployment {
            reference: DEPLOYMENT,
            name: "bench".to_owned(),
            cloud_url: String::new(),
            site_url: String::new(),
        };
        let options = Options { limits, deployments: Deployment::fixed([known]), folder };
        let dependencies = Dependencies { transactions: self.transactions.clone() };
        (Service::start(options, dependencies, token.clone()), token)
    }

    pub async fn stop(self) {
        self.token.cancel();
        self.log.stopped().await;
    }
}

/// Until the index holds so many documents and its files are written; how long that took.
pub async fn until_filled(service: &Service, documents: u64) -> Result<Duration> {
    let began = Instant::now();
    let handle = service.handle();
    let mut written = (handle.metrics().files_written, Instant::now());
    loop {
        let state = handle.search_index(DEPLOYMENT, INDEX).await.context("ask how far the index is")?;
        let metrics = handle.metrics();
        if metrics.files_written != written.0 {
            written = (metrics.files_written, Instant::now());
        }
        let is_quiet = written.1.elapsed() > Duration::from_secs(20);
        if state.is_complete && state.documents == documents && is_quiet {
            return Ok(written.1 - began);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The time below which this share of all is, in milliseconds.
pub fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

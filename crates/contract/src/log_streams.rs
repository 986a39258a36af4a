//! The contract of what tells others what happens in a deployment.

use async_trait::async_trait;

use crate::{DeploymentRef, Result};

/// Log streams: where a deployment's owner wants to be told what runs and what is changed; and the log of those changes.
///
/// What happens is told at most a few times and not for certain: what waits goes with its process, a receiver that takes nothing
/// for long gets nothing of that time. Configurations are JSON texts as the deployment API has them; what opens a receiver is stored
/// sealed, and never shown.
#[async_trait]
pub trait LogStreams: Send + Sync + 'static {
    /// Makes a stream.
    ///
    /// Errors: `InvalidLogStream`; `LogStreamExists`, since a deployment has one of each type.
    async fn create(&self, deployment: DeploymentRef, configuration: &str) -> Result<CreatedLogStream>;

    /// Changes fields of a stream; `null` unsets one. Returns its type.
    ///
    /// Errors: `LogStreamNotFound`, `InvalidLogStream`.
    async fn update(&self, deployment: DeploymentRef, id: &str, changes: &str) -> Result<String>;

    /// Ends a stream. Returns its type. Errors: `LogStreamNotFound`.
    async fn delete(&self, deployment: DeploymentRef, id: &str) -> Result<String>;

    /// All of them, oldest first, as they are shown.
    async fn list(&self, deployment: DeploymentRef) -> Result<Vec<String>>;

    /// One, as it is shown. Errors: `LogStreamNotFound`.
    async fn get(&self, deployment: DeploymentRef, id: &str) -> Result<String>;

    /// Gives a webhook another secret to sign with, which comes back.
    ///
    /// Errors: `LogStreamNotFound`; `InvalidLogStream` if it is no webhook.
    async fn rotate_webhook_secret(&self, deployment: DeploymentRef, id: &str) -> Result<String>;

    /// Enters a change of the deployment, and tells it.
    async fn audit(&self, deployment: DeploymentRef, entry: AuditEntry) -> Result<()>;

    /// The entries from a time (milliseconds since the Unix epoch) on, oldest first: at most `limit`, behind `cursor`.
    ///
    /// Errors: `InvalidCursor`.
    async fn audit_log(
        &self,
        deployment: DeploymentRef,
        from_ms: u64,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<AuditPage>;
}

/// A stream that was made.
#[derive(Clone, PartialEq, Eq)]
pub struct CreatedLogStream {
    /// Its type.
    pub kind: String,
    /// By which it is named.
    pub id: String,
    /// Of a webhook: signs what it gets.
    pub hmac_secret: Option<String>,
}

/// A change of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// As the deployment API names it: `push_config`.
    pub action: String,
    /// JSON: who has changed it.
    pub actor: String,
    /// JSON: what was changed. No secrets.
    pub metadata: String,
    /// The address of the client, if it is known.
    pub client_address: Option<String>,
    /// What the client says it is.
    pub client_agent: Option<String>,
}

/// A part of the log of changes.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Each with its time, in milliseconds since the Unix epoch.
    pub entries: Vec<(u64, AuditEntry)>,
    /// `None` behind the last.
    pub cursor: Option<String>,
}

//! The rows of the tables about what is told of a deployment, and what was changed of it.

use value::{Object, Value, object};

use super::{
    SystemTable,
    rows::{Fields, SystemRow},
};

/// Where the owner of a deployment wants to be told what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStreamRow {
    /// Its type; a deployment has one of each.
    pub kind: String,
    /// What it is, sealed: it opens the receiver.
    pub sealed: Vec<u8>,
    /// Whether it works.
    pub state: LogStreamState,
}

/// Whether a log stream works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogStreamState {
    /// It is new, and nothing has come through yet.
    Pending,
    /// It was changed, and nothing has come through since.
    Restarting,
    /// What was sent last came through.
    Active,
    /// What was sent last did not.
    Failed {
        /// For people.
        reason: String,
    },
}

impl LogStreamState {
    /// As it is stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            LogStreamState::Pending => "pending",
            LogStreamState::Restarting => "restarting",
            LogStreamState::Active => "active",
            LogStreamState::Failed { .. } => "failed",
        }
    }
}

/// A change of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLogRow {
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// As the deployment API names it.
    pub action: String,
    /// JSON.
    pub actor: String,
    /// JSON.
    pub metadata: String,
    /// The client's address, if it is known.
    pub client_address: Option<String>,
    /// What the client says it is.
    pub client_agent: Option<String>,
}

impl SystemRow for LogStreamRow {
    const TABLE: SystemTable = SystemTable::LogStreams;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let sealed = match fields.get("sealed") {
            Some(Value::Bytes(sealed)) => sealed.to_vec(),
            _ => return Err("`sealed` is not bytes".to_owned()),
        };
        let fields = Fields(fields);
        let state = match fields.text("state")? {
            "pending" => LogStreamState::Pending,
            "restarting" => LogStreamState::Restarting,
            "active" => LogStreamState::Active,
            "failed" => LogStreamState::Failed { reason: fields.text("reason")?.to_owned() },
            _ => return Err("`state` is not known".to_owned()),
        };
        Ok(LogStreamRow { kind: fields.text("kind")?.to_owned(), sealed, state })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "kind" => self.kind.clone(),
            "sealed" => Value::Bytes(self.sealed.clone()),
            "state" => self.state.name(),
        };
        if let LogStreamState::Failed { reason } = &self.state {
            fields.insert("reason", reason.clone());
        }
        fields
    }
}

impl SystemRow for AuditLogRow {
    const TABLE: SystemTable = SystemTable::AuditLog;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(AuditLogRow {
            time_ms: fields.milliseconds("timeMs")?,
            action: fields.text("action")?.to_owned(),
            actor: fields.text("actor")?.to_owned(),
            metadata: fields.text("metadata")?.to_owned(),
            client_address: fields.optional_text("clientAddress")?.map(str::to_owned),
            client_agent: fields.optional_text("clientAgent")?.map(str::to_owned),
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "timeMs" => Value::Float64(self.time_ms as f64),
            "action" => self.action.clone(),
            "actor" => self.actor.clone(),
            "metadata" => self.metadata.clone(),
        };
        for (name, value) in [("clientAddress", &self.client_address), ("clientAgent", &self.client_agent)] {
            if let Some(value) = value {
                fields.insert(name, value.clone());
            }
        }
        fields
    }
}

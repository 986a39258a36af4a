//! What clients send.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{Error, Timestamp, normalize_arguments};

/// A message from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    Connect(Connect),
    ModifyQuerySet(ModifyQuerySet),
    Mutation(FunctionRequest),
    Action(FunctionRequest),
    Authenticate(Authenticate),
    /// What the client measured; nobody asked for it.
    Event,
}

/// Always the first message of a connection. There is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Of the npm client the same in every connection, of the others a new one each time.
    pub session_id: Uuid,
    /// The newest timestamp that the client has been shown: no Transition may be older.
    pub max_observed_timestamp: Option<Timestamp>,
    /// The client's clock, milliseconds since the Unix epoch; `None` where it did not tell (0 counts as not told).
    pub client_clock_ms: Option<i64>,
    /// For the log alone.
    pub connection_count: u32,
    /// For the log alone.
    pub last_close_reason: Option<String>,
}

/// Changes the set of live queries from one version to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModifyQuerySet {
    pub base_version: u32,
    pub new_version: u32,
    pub modifications: Vec<QuerySetModification>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuerySetModification {
    Add {
        query_id: u32,
        path: String,
        arguments: Arc<str>,
        /// What the query's last result brought, where the client kept it.
        journal: Option<Arc<str>>,
        /// Empty for the app itself.
        component: String,
    },
    Remove {
        query_id: u32,
    },
}

/// A call of a mutation or an action. Both count their requests together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRequest {
    pub request_id: u32,
    pub path: String,
    pub arguments: Arc<str>,
    /// Empty for the app itself.
    pub component: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticate {
    pub base_version: u32,
    pub token: Token,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    None,
    /// A JSON Web Token.
    User(String),
    Admin {
        key: String,
        /// A JSON object of identity attributes: whom to act as.
        acting_as: Option<String>,
    },
}

/// Tokens are secrets: their values stay out of logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Token::None => "None",
            Token::User(_) => "User(…)",
            Token::Admin { .. } => "Admin(…)",
        })
    }
}

impl ClientMessage {
    /// Reads one text frame. Fields that are not known are ignored.
    pub fn parse(text: &str) -> Result<ClientMessage, Error> {
        // In two steps, since serde's tagged enums would copy the arguments into a tree, where numbers lose their form.
        let Typed { kind } = serde_json::from_str(text)?;
        match kind.as_ref() {
            "Connect" => Ok(ClientMessage::Connect(serde_json::from_str::<WireConnect>(text)?.into())),
            "ModifyQuerySet" => {
                let wire: WireModifyQuerySet<'_> = serde_json::from_str(text)?;
                Ok(ClientMessage::ModifyQuerySet(ModifyQuerySet {
                    base_version: wire.base_version,
                    new_version: wire.new_version,
                    modifications: wire
                        .modifications
                        .into_iter()
                        .map(modification)
                        .collect::<Result<_, _>>()?,
                }))
            }
            "Mutation" => function_request(text).map(ClientMessage::Mutation),
            "Action" => function_request(text).map(ClientMessage::Action),
            "Authenticate" => authenticate(text).map(ClientMessage::Authenticate),
            "Event" => Ok(ClientMessage::Event),
            other => Err(Error::UnknownType(other.chars().take(40).collect())),
        }
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireConnect {
    session_id: Uuid,
    #[serde(default)]
    connection_count: u32,
    #[serde(default)]
    last_close_reason: Option<String>,
    #[serde(default)]
    max_observed_timestamp: Option<Timestamp>,
    #[serde(default)]
    client_ts: Option<f64>,
}

impl From<WireConnect> for Connect {
    fn from(wire: WireConnect) -> Connect {
        // Beyond these bounds it is no clock; the bounds also keep the difference to ours exact.
        let plausible = |milliseconds: &f64| (1.0..=9e15).contains(milliseconds);
        Connect {
            session_id: wire.session_id,
            max_observed_timestamp: wire.max_observed_timestamp,
            client_clock_ms: wire.client_ts.filter(plausible).map(|milliseconds| milliseconds as i64),
            connection_count: wire.connection_count,
            last_close_reason: wire.last_close_reason,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireModifyQuerySet<'a> {
    base_version: u32,
    new_version: u32,
    #[serde(borrow)]
    modifications: Vec<WireModification<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireModification<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    query_id: u32,
    #[serde(default)]
    udf_path: Option<String>,
    #[serde(default, borrow)]
    args: Option<&'a RawValue>,
    #[serde(default)]
    journal: Option<Arc<str>>,
    #[serde(default)]
    component_path: Option<String>,
}

fn modification(wire: WireModification<'_>) -> Result<QuerySetModification, Error> {
    use serde::de::Error as _;
    match wire.kind.as_ref() {
        "Add" => Ok(QuerySetModification::Add {
            query_id: wire.query_id,
            path: wire.udf_path.ok_or_else(|| serde_json::Error::missing_field("udfPath"))?,
            arguments: normalize_arguments(
                wire.args.ok_or_else(|| serde_json::Error::missing_field("args"))?,
            )?,
            journal: wire.journal,
            component: wire.component_path.unwrap_or_default(),
        }),
        "Remove" => Ok(QuerySetModification::Remove { query_id: wire.query_id }),
        other => Err(Error::UnknownType(other.chars().take(40).collect())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireFunctionRequest<'a> {
    request_id: u32,
    udf_path: String,
    #[serde(borrow)]
    args: &'a RawValue,
    #[serde(default)]
    component_path: Option<String>,
}

fn function_request(text: &str) -> Result<FunctionRequest, Error> {
    let wire: WireFunctionRequest<'_> = serde_json::from_str(text)?;
    Ok(FunctionRequest {
        request_id: wire.request_id,
        path: wire.udf_path,
        arguments: normalize_arguments(wire.args)?,
        component: wire.component_path.unwrap_or_default(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAuthenticate<'a> {
    base_version: u32,
    token_type: TokenType,
    #[serde(default)]
    value: Option<String>,
    // The Rust clients call it `acting_as`.
    #[serde(default, borrow, alias = "acting_as")]
    impersonating: Option<&'a RawValue>,
}

#[derive(Deserialize)]
enum TokenType {
    None,
    User,
    Admin,
}

fn authenticate(text: &str) -> Result<Authenticate, Error> {
    use serde::de::Error as _;
    let wire: WireAuthenticate<'_> = serde_json::from_str(text)?;
    let value = || wire.value.clone().ok_or_else(|| serde_json::Error::missing_field("value"));
    let token = match wire.token_type {
        TokenType::None => Token::None,
        TokenType::User => Token::User(value()?),
        TokenType::Admin => Token::Admin {
            key: value()?,
            acting_as: wire
                .impersonating
                .map(RawValue::get)
                .filter(|json| *json != "null")
                .map(str::to_owned),
        },
    };
    Ok(Authenticate { base_version: wire.base_version, token })
}

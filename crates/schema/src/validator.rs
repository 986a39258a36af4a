use std::collections::BTreeMap;

use crate::limits::SchemaLimits;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Value as Json, json};
use value::{FieldName, JsonFormat, TableName, Value};

use crate::{
    SchemaError,
    json::{Fault, Node},
};

/// Which values are accepted. `Display` writes it as application code does: `v.object({ … })`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validator {
    Any,
    Null,
    Float64,
    /// Accepts the placeholder of the commit timestamp too, which counts as an Int64.
    Int64,
    CommitTimestamp,
    Boolean,
    String,
    Bytes,
    /// A string, a boolean, a Float64 or an Int64.
    Literal(Value),
    /// A string that is an id of this table; whether the document exists is not asked.
    Id(TableName),
    /// A string that is the handle of a function; whether there is such a function, and what it takes, is not asked.
    Function(Box<FunctionSignature>),
    Array(Box<Validator>),
    /// An object with any fields whose names and values fit. Names are accepted as strings.
    Record {
        keys: Box<Validator>,
        values: Box<Validator>,
    },
    /// An object with these fields and no others.
    Object(BTreeMap<FieldName, FieldValidator>),
    /// Accepts what one of them accepts; with none, nothing.
    Union(Vec<Validator>),
}

/// A field of an object validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldValidator {
    pub validator: Validator,
    /// Whether the field may be missing.
    pub optional: bool,
}

/// What a function is expected to be, for code that is generated. Values are not held against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionSignature {
    pub kind: Option<FunctionKind>,
    pub arguments: Option<Validator>,
    pub returns: Option<Validator>,
}

/// As `fnType` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    Query,
    Mutation,
    Action,
}

impl FunctionKind {
    pub const ALL: [FunctionKind; 3] = [FunctionKind::Query, FunctionKind::Mutation, FunctionKind::Action];

    pub const fn name(self) -> &'static str {
        match self {
            FunctionKind::Query => "query",
            FunctionKind::Mutation => "mutation",
            FunctionKind::Action => "action",
        }
    }
}

impl FunctionSignature {
    fn to_serde_json(&self) -> Json {
        let mut json = json!({"type": "function"});
        if let Some(kind) = self.kind {
            json["fnType"] = Json::from(kind.name());
        }
        if let Some(arguments) = &self.arguments {
            json["args"] = arguments.to_serde_json();
        }
        if let Some(returns) = &self.returns {
            json["returns"] = returns.to_serde_json();
        }
        json
    }
}

impl Validator {
    /// Parses the JSON text that the client library exports.
    pub fn from_json(text: &str, limits: &SchemaLimits) -> Result<Self, SchemaError> {
        let json = serde_json::from_str(text).map_err(|error| SchemaError::InvalidValidator {
            path: ".".to_owned(),
            reason: format!("this is not JSON: {error}"),
        })?;
        Self::from_serde_json(&json, limits)
    }

    /// As [`Validator::from_json`], for JSON that was parsed already.
    pub fn from_serde_json(json: &Json, limits: &SchemaLimits) -> Result<Self, SchemaError> {
        Parser::new(limits)
            .validator(Node::root(json), 1)
            .map_err(|Fault { path, reason }| SchemaError::InvalidValidator { path, reason })
    }

    /// The canonical JSON: equal validators give equal text.
    pub fn to_json(&self) -> String {
        self.to_serde_json().to_string()
    }

    pub fn to_serde_json(&self) -> Json {
        match self {
            Validator::Any => json!({"type": "any"}),
            Validator::Null => json!({"type": "null"}),
            Validator::Float64 => json!({"type": "number"}),
            Validator::Int64 => json!({"type": "bigint"}),
            Validator::CommitTimestamp => json!({"type": "commitTs"}),
            Validator::Boolean => json!({"type": "boolean"}),
            Validator::String => json!({"type": "string"}),
            Validator::Bytes => json!({"type": "bytes"}),
            Validator::Literal(value) => json!({"type": "literal", "value": value.to_serde_json()}),
            Validator::Id(table) => json!({"type": "id", "tableName": table.as_str()}),
            Validator::Function(signature) => signature.to_serde_json(),
            Validator::Array(members) => json!({"type": "array", "value": members.to_serde_json()}),
            Validator::Record { keys, values } => json!({
                "type": "record",
                "keys": keys.to_serde_json(),
                "values": {"fieldType": values.to_serde_json(), "optional": false},
            }),
            Validator::Object(fields) => {
                let fields = fields.iter().map(|(name, field)| {
                    let json =
                        json!({"fieldType": field.validator.to_serde_json(), "optional": field.optional});
                    (name.as_str().to_owned(), json)
                });
                json!({"type": "object", "value": Json::Object(fields.collect())})
            }
            Validator::Union(members) => {
                let members: Vec<Json> = members.iter().map(Validator::to_serde_json).collect();
                json!({"type": "union", "value": members})
            }
        }
    }

    /// The tables whose ids the validator accepts, with repetitions. What a function takes is no matter of its handle.
    pub fn referenced_tables(&self) -> Vec<&TableName> {
        let mut tables = Vec::new();
        self.collect_tables(&mut tables);
        tables
    }

    fn collect_tables<'v>(&'v self, tables: &mut Vec<&'v TableName>) {
        match self {
            Validator::Id(table) => tables.push(table),
            Validator::Array(members) => members.collect_tables(tables),
            Validator::Record { keys, values } => {
                keys.collect_tables(tables);
                values.collect_tables(tables);
            }
            Validator::Object(fields) => {
                fields.values().for_each(|field| field.validator.collect_tables(tables))
            }
            Validator::Union(members) => members.iter().for_each(|member| member.collect_tables(tables)),
            _ => {}
        }
    }

    /// Whether a value that is accepted can have something at this path.
    pub(crate) fn can_have(&self, path: &[FieldName]) -> bool {
        let Some((name, rest)) = path.split_first() else { return true };
        match self {
            Validator::Any => true,
            Validator::Object(fields) => fields.get(name).is_some_and(|field| field.validator.can_have(rest)),
            Validator::Record { keys, values } => keys.can_be_name(name.as_str()) && values.can_have(rest),
            Validator::Union(members) => members.iter().any(|member| member.can_have(path)),
            _ => false,
        }
    }

    /// Whether a record's keys may include this name; any name may be an id here.
    fn can_be_name(&self, name: &str) -> bool {
        match self {
            Validator::String | Validator::Id(_) => true,
            Validator::Literal(literal) => literal.as_str() == Some(name),
            Validator::Union(members) => members.iter().any(|member| member.can_be_name(name)),
            _ => false,
        }
    }
}

/// Parses validators within limits that hold for all of them together.
pub(crate) struct Parser {
    nodes_left: usize,
    nesting_max: usize,
}

impl Parser {
    pub fn new(limits: &SchemaLimits) -> Self {
        Self { nodes_left: limits.validator_nodes_max, nesting_max: limits.validator_nesting_max }
    }

    /// `nesting` is the level of JSON on which the validator's own object stands: 1 for the outermost.
    pub fn validator(&mut self, node: Node<'_>, nesting: usize) -> Result<Validator, Fault> {
        if nesting > self.nesting_max {
            let reason = format!("its JSON nests more than {} levels deep", self.nesting_max);
            return Err(node.fault(reason));
        }
        self.nodes_left =
            self.nodes_left.checked_sub(1).ok_or_else(|| node.fault("there are too many validators"))?;
        let kind = node.field("type")?;
        Ok(match kind.string()? {
            "any" => Validator::Any,
            "null" => Validator::Null,
            "number" => Validator::Float64,
            "bigint" => Validator::Int64,
            "commitTs" => Validator::CommitTimestamp,
            "boolean" => Validator::Boolean,
            "string" => Validator::String,
            "bytes" => Validator::Bytes,
            "literal" => {
                let literal = node.field("value")?;
                match Value::from_serde_json(literal.json.clone(), JsonFormat::ConvexEncoded) {
                    Ok(
                        value @ (Value::String(_) | Value::Boolean(_) | Value::Float64(_) | Value::Int64(_)),
                    ) => Validator::Literal(value),
                    Ok(value) => {
                        let reason = format!("a literal can't be of the type {}", value.type_name());
                        return Err(literal.fault(reason));
                    }
                    Err(error) => return Err(literal.fault(error.to_string())),
                }
            }
            "id" => Validator::Id(node.field("tableName")?.text()?),
            "function" => Validator::Function(Box::new(self.signature(node, nesting)?)),
            "array" => Validator::Array(Box::new(self.validator(node.field("value")?, nesting + 1)?)),
            "record" => {
                let keys = node.field("keys")?;
                let key_validator = self.validator(keys, nesting + 1)?;
                if !is_key_validator(&key_validator) {
                    return Err(
                        keys.fault("keys of a record are strings, ids, literal strings or unions of these")
                    );
                }
                let values = self.field(node.field("values")?, nesting + 1)?;
                if values.optional {
                    return Err(node.fault("values of a record can't be optional"));
                }
                Validator::Record { keys: Box::new(key_validator), values: Box::new(values.validator) }
            }
            "object" => {
                let object = node.field("value")?;
                let mut fields = BTreeMap::new();
                for (name, field) in object.fields()? {
                    let name: FieldName =
                        name.parse().map_err(|error: value::ValueError| field.fault(error.to_string()))?;
                    fields.insert(name, self.field(field, nesting + 2)?);
                }
                if fields.len() > value::OBJECT_FIELDS_MAX {
                    return Err(object.fault(format!("it has more than {} fields", value::OBJECT_FIELDS_MAX)));
                }
                Validator::Object(fields)
            }
            "union" => {
                let union = node.field("value")?;
                if union.json.as_array().is_some_and(|members| members.len() > value::ARRAY_LENGTH_MAX) {
                    let reason = format!("it has more than {} members", value::ARRAY_LENGTH_MAX);
                    return Err(union.fault(reason));
                }
                let mut members = Vec::new();
                for member in union.members()? {
                    members.push(self.validator(member, nesting + 2)?);
                }
                Validator::Union(members)
            }
            unknown => return Err(kind.fault(format!("there is no validator {unknown:?}"))),
        })
    }

    fn signature(&mut self, node: Node<'_>, nesting: usize) -> Result<FunctionSignature, Fault> {
        let kind = match node.optional("fnType")? {
            Some(named) => {
                let name = named.string()?;
                let kind = FunctionKind::ALL.into_iter().find(|kind| kind.name() == name);
                Some(kind.ok_or_else(|| named.fault(format!("there is no function type {name:?}")))?)
            }
            None => None,
        };
        let mut part = |name| node.optional(name)?.map(|part| self.validator(part, nesting + 1)).transpose();
        Ok(FunctionSignature { kind, arguments: part("args")?, returns: part("returns")? })
    }

    /// `nesting` is the level of the object that holds the validator and whether it is optional.
    fn field(&mut self, node: Node<'_>, nesting: usize) -> Result<FieldValidator, Fault> {
        let validator = self.validator(node.field("fieldType")?, nesting + 1)?;
        let optional = node.optional("optional")?.map_or(Ok(false), |optional| optional.boolean())?;
        Ok(FieldValidator { validator, optional })
    }
}

fn is_key_validator(validator: &Validator) -> bool {
    match validator {
        Validator::String | Validator::Id(_) | Validator::Literal(Value::String(_)) => true,
        Validator::Union(members) => members.iter().all(is_key_validator),
        _ => false,
    }
}

impl Serialize for Validator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_serde_json().serialize(serializer)
    }
}

impl<'t> Deserialize<'t> for Validator {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        Self::from_serde_json(&json, &SchemaLimits::DEFAULT).map_err(D::Error::custom)
    }
}

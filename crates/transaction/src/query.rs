//! Queries as functions send them: a source and operators.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use value::{FieldPath, IndexName, TableName, Value};

use crate::limits::TransactionLimits;

use crate::{Error, Result, cursor::Fingerprint, expression::Expression};

/// A query: what is scanned in which order, and what happens to each document on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub(crate) source: Source,
    pub(crate) operators: Vec<Operator>,
    /// As the function sent it; what cursors are tied to.
    json: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    pub table: TableName,
    pub index: IndexName,
    pub range: Vec<RangeExpression>,
    pub order: contract::Order,
    /// What a text index is searched for; the best documents come first. Then there is no range.
    pub search: Option<Vec<SearchExpression>>,
}

/// One condition of a text search.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SearchExpression {
    /// The field of the index has any of the text's terms.
    Text { field: FieldPath, text: String },
    /// A field is this; `None` is undefined.
    Equal { field: FieldPath, value: Option<Value> },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operator {
    Filter(Expression),
    Limit(usize),
}

/// One condition on a field of the index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RangeExpression {
    pub comparison: RangeComparison,
    pub field: FieldPath,
    /// `None` is undefined.
    pub value: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum RangeComparison {
    Eq,
    Gt,
    Gte,
    Lt,
    Lte,
}

#[derive(Deserialize)]
struct QueryJson {
    source: SourceJson,
    #[serde(default)]
    operators: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum SourceJson {
    FullTableScan { table_name: String, order: Option<OrderJson> },
    IndexRange { index_name: String, range: Vec<RangeJson>, order: Option<OrderJson> },
    Search { index_name: String, filters: Vec<SearchJson> },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum SearchJson {
    Search { field_path: String, value: String },
    Eq { field_path: String, value: serde_json::Value },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OrderJson {
    Asc,
    Desc,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RangeJson {
    r#type: RangeComparison,
    field_path: String,
    value: serde_json::Value,
}

impl Query {
    /// Reads a query as the function library writes it: `{"source": …, "operators": […]}`.
    pub fn from_json(text: &str, limits: &TransactionLimits) -> Result<Query> {
        let json = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        Query::from_serde_json(json, limits)
    }

    /// As [`Query::from_json`], for a query within JSON that was parsed already.
    pub fn from_serde_json(json: serde_json::Value, limits: &TransactionLimits) -> Result<Query> {
        let QueryJson { source, operators } =
            QueryJson::deserialize(&json).map_err(|error| invalid(error.to_string()))?;
        let source = match source {
            SourceJson::FullTableScan { table_name, order } => Source {
                table: table_name.parse()?,
                index: IndexName::BY_CREATION_TIME.parse()?,
                range: Vec::new(),
                order: order_of(order),
                search: None,
            },
            SourceJson::IndexRange { index_name, range, order } => {
                let (table, index) = table_and_index(&index_name)?;
                let range = range.into_iter().map(RangeExpression::from_json).collect::<Result<_>>()?;
                Source { table, index, range, order: order_of(order), search: None }
            }
            SourceJson::Search { index_name, filters } => {
                let (table, index) = table_and_index(&index_name)?;
                let filters = filters.into_iter().map(SearchExpression::from_json).collect::<Result<_>>()?;
                Source { table, index, range: Vec::new(), order: order_of(None), search: Some(filters) }
            }
        };
        if operators.len() > limits.query_operators_max {
            return Err(Error::user(
                "TooManyQueryOperators",
                format!("a query has at most {} operators", limits.query_operators_max),
            ));
        }
        let mut nodes_left = limits.filter_nodes_max;
        let operators = operators
            .iter()
            .map(|operator| Operator::from_json(operator, limits, &mut nodes_left))
            .collect::<Result<_>>()?;
        Ok(Query { source, operators, json })
    }

    /// Every document of a table, in the order of creation. For callers within the system.
    pub fn full_table_scan(table: TableName, order: contract::Order) -> Query {
        let order_name = match order {
            contract::Order::Ascending => "asc",
            contract::Order::Descending => "desc",
        };
        let source = serde_json::json!({"type": "FullTableScan", "tableName": table, "order": order_name});
        let index = IndexName::BY_CREATION_TIME.parse().expect("a legal name");
        Query {
            source: Source { table, index, range: Vec::new(), order, search: None },
            operators: Vec::new(),
            json: serde_json::json!({"source": source, "operators": []}),
        }
    }

    /// What ties a cursor to this query. An index may be declared anew with other fields, so they are in it.
    pub(crate) fn fingerprint(&self, index_fields: &[FieldPath]) -> Fingerprint {
        let mut hash = Sha256::new();
        // Maps are sorted by key, so equal queries have equal text.
        hash.update(self.json.to_string().as_bytes());
        hash.update([0]);
        for field in index_fields {
            hash.update(field.to_string().as_bytes());
            hash.update([0]);
        }
        let hash: [u8; 32] = hash.finalize().into();
        Fingerprint(*hash.first_chunk().expect("16 of 32 bytes"))
    }
}

impl RangeExpression {
    fn from_json(json: RangeJson) -> Result<RangeExpression> {
        Ok(RangeExpression {
            comparison: json.r#type,
            field: json.field_path.parse()?,
            value: value_or_undefined(json.value)?,
        })
    }
}

impl SearchExpression {
    fn from_json(json: SearchJson) -> Result<SearchExpression> {
        Ok(match json {
            SearchJson::Search { field_path, value } => {
                SearchExpression::Text { field: field_path.parse()?, text: value }
            }
            SearchJson::Eq { field_path, value } => {
                SearchExpression::Equal { field: field_path.parse()?, value: value_or_undefined(value)? }
            }
        })
    }
}

/// The parts of an index's full name.
pub(crate) fn table_and_index(name: &str) -> Result<(TableName, IndexName)> {
    let Some((table, index)) = name.split_once('.') else {
        return Err(invalid(format!("{name:?} must be the table and the index, with a dot between")));
    };
    Ok((table.parse()?, index.parse()?))
}

impl Operator {
    fn from_json(
        json: &serde_json::Value,
        limits: &TransactionLimits,
        nodes_left: &mut usize,
    ) -> Result<Operator> {
        let wrong = || invalid("an operator must be a filter or a limit".to_owned());
        let fields = json.as_object().filter(|fields| fields.len() == 1).ok_or_else(wrong)?;
        if let Some(filter) = fields.get("filter") {
            return Expression::from_json(filter, limits.filter_nesting_max, nodes_left)
                .map(Operator::Filter);
        }
        let limit = fields.get("limit").and_then(serde_json::Value::as_f64).ok_or_else(wrong)?;
        if !(limit >= 0.0 && limit.fract() == 0.0) {
            return Err(invalid(format!("a limit must be a whole number of at least 0, not {limit}")));
        }
        Ok(Operator::Limit(limit as usize))
    }
}

fn order_of(order: Option<OrderJson>) -> contract::Order {
    match order {
        Some(OrderJson::Desc) => contract::Order::Descending,
        Some(OrderJson::Asc) | None => contract::Order::Ascending,
    }
}

/// A literal; `{"$undefined": null}` is undefined, `None`.
pub(crate) fn value_or_undefined(json: serde_json::Value) -> Result<Option<Value>> {
    if json.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key("$undefined")) {
        return Ok(None);
    }
    Ok(Some(Value::from_serde_json_with_placeholder(json)?))
}

pub(crate) fn invalid(message: String) -> Error {
    Error::user("InvalidQuery", message)
}

//! Vector searches, as actions ask for them.

use contract::{TextFilter, VectorSearch};
use relevance::filter_value;
use serde::Deserialize;
use value::{FieldPath, TableNumber, Value};

use crate::{
    Error, Result, Transaction,
    catalog::{Index, IndexState},
    fact::Fact,
    query::{invalid, table_and_index, value_or_undefined},
    search_fields::{IndexKind, normalized},
};

/// A vector search that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedVectorSearch {
    /// What to ask the search service for.
    pub search: VectorSearch,
    /// Whose documents it finds.
    pub table: TableNumber,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VectorSearchJson {
    index_name: String,
    limit: Option<f64>,
    vector: Vec<Option<f64>>,
    expressions: Option<serde_json::Value>,
}

/// Documents that a vector search finds if it does not say how many.
const LIMIT_DEFAULT: usize = 10;

impl Transaction {
    /// Checks a vector search as the function library writes it: `{"indexName": …, "vector": …, "limit": …, "expressions": …}`. `None` if
    /// there is no such table: it is an empty one.
    pub fn vector_search(&mut self, query: serde_json::Value) -> Result<Option<CheckedVectorSearch>> {
        let json = VectorSearchJson::deserialize(query).map_err(|error| invalid(error.to_string()))?;
        let (table_name, index_name) = table_and_index(&json.index_name)?;
        let matches_max = self.vector_limit(json.limit)?;
        let Some(table) = self.table_to_read(table_name)? else { return Ok(None) };
        self.facts.rely_on(Fact::Index(table.tablet, index_name.clone()));
        let shown = &json.index_name;
        let index = table.index(index_name.as_str()).cloned();
        let index =
            index.ok_or_else(|| Error::user("IndexNotFoundError", format!("there is no index `{shown}`")))?;
        let IndexKind::Vector { dimensions, filter_fields } = &index.kind else {
            return Err(Error::user("WrongIndexKind", format!("`{shown}` is no vector index")));
        };
        check_state(&index, shown)?;
        if json.vector.len() != *dimensions {
            let message = format!(
                "the vector index `{shown}` is of {dimensions} dimensions, and the vector to search for has {}",
                json.vector.len()
            );
            return Err(Error::user("VectorDimensionsMismatch", message));
        }
        let finite = |number: &Option<f64>| number.filter(|number| number.is_finite());
        let numbers: Option<Vec<f64>> = json.vector.iter().map(finite).collect();
        let numbers = numbers
            .ok_or_else(|| Error::user("InvalidVector", "a vector to search for has only finite numbers"))?;
        let mut any_of = Vec::new();
        if let Some(expression) = json.expressions.filter(|expression| !expression.is_null()) {
            add_conditions(&expression, filter_fields, shown, &mut any_of)?;
            let most = self.limits.transaction.vector_filters_max;
            if any_of.len() > most {
                let message = format!("a vector search's filter has at most {most} conditions");
                return Err(Error::user("TooManyVectorFilters", message));
            }
            if any_of.is_empty() {
                // None of no conditions holds.
                return Ok(None);
            }
        }
        let search = VectorSearch {
            deployment: self.deployment(),
            index: index.id,
            not_before: self.begin_at().timestamp,
            vector: normalized(&numbers),
            any_of,
            matches_max,
        };
        Ok(Some(CheckedVectorSearch { search, table: table.number }))
    }

    fn vector_limit(&self, limit: Option<f64>) -> Result<usize> {
        let most = self.limits.transaction.vector_matches_max;
        match limit {
            None => Ok(LIMIT_DEFAULT.min(most)),
            Some(limit) if limit > most as f64 => {
                let message = format!("a vector search finds at most {most} documents, not {limit}");
                Err(Error::user("VectorLimitTooLargeError", message))
            }
            Some(limit) if limit >= 1.0 && limit.fract() == 0.0 => Ok(limit as usize),
            Some(limit) => {
                let message =
                    format!("a vector search finds a whole number of documents of at least 1, not {limit}");
                Err(Error::user("InvalidVectorLimit", message))
            }
        }
    }
}

fn check_state(index: &Index, shown: &str) -> Result<()> {
    if index.staged {
        let message =
            format!("the index `{shown}` is staged: it can't be queried until it is declared without");
        return Err(Error::user("IndexStagedError", message));
    }
    if index.state != IndexState::Enabled {
        let message =
            format!("the index `{shown}` is still being built: it can be queried when the push is finished");
        return Err(Error::user("IndexBackfillingError", message));
    }
    Ok(())
}

/// An equality, or several of which one must hold.
fn add_conditions(
    expression: &serde_json::Value,
    filter_fields: &[FieldPath],
    shown: &str,
    any_of: &mut Vec<TextFilter>,
) -> Result<()> {
    let wrong = || invalid("the filter of a vector search is made of `eq` and `or`".to_owned());
    let fields = expression.as_object().filter(|fields| fields.len() == 1).ok_or_else(wrong)?;
    if let Some(operands) = fields.get("$or").and_then(serde_json::Value::as_array) {
        // Deeper ones were refused when the text was read.
        return operands.iter().try_for_each(|operand| add_conditions(operand, filter_fields, shown, any_of));
    }
    let operands = fields.get("$eq").and_then(serde_json::Value::as_array).ok_or_else(wrong)?;
    let [field, value] = &operands[..] else { return Err(wrong()) };
    let field = field.get("$field").and_then(serde_json::Value::as_str).ok_or_else(wrong)?;
    let field: FieldPath = field.parse()?;
    let value: Option<Value> = value_or_undefined(value.get("$literal").ok_or_else(wrong)?.clone())?;
    let position = filter_fields.iter().position(|known| *known == field).ok_or_else(|| {
        let message = format!("`{field}` is not a filter field of the vector index `{shown}`");
        Error::user("IncorrectVectorFilterField", message)
    })?;
    let field = u8::try_from(position).expect("an index has few filter fields");
    any_of.push(TextFilter { field, value: filter_value(value.as_ref()) });
    Ok(())
}

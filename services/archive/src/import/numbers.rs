//! Which number each table of a component will have once an import has taken effect.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use schema::{TableLookup, Validator};
use transaction::Catalog;
use value::{TableName, TableNumber};

/// The tables of one component.
pub(crate) struct Numbers {
    pub imported: BTreeMap<TableName, Option<TableNumber>>,
    pub catalog: Arc<Catalog>,
    /// Those that were asked for: ids were held against them.
    pub asked_for: RefCell<BTreeMap<TableName, TableNumber>>,
}

impl TableLookup for Numbers {
    fn number_of(&self, table: &TableName) -> Option<TableNumber> {
        let number = match self.imported.get(table) {
            Some(number) => *number,
            None => self.catalog.table(table.as_str()).map(|table| table.number),
        };
        // Those of system tables are the same for ever.
        if let Some(number) = number.filter(|number| *number >= TableNumber::FIRST_USER) {
            self.asked_for.borrow_mut().entry(table.clone()).or_insert(number);
        }
        number
    }

    fn name_of(&self, number: TableNumber) -> Option<TableName> {
        let imported = self.imported.iter().find(|(_, known)| **known == Some(number));
        let known = || self.catalog.table_by_number(number).map(|table| table.name.clone());
        imported.map(|(name, _)| name.clone()).or_else(known)
    }
}

/// Calls `each` with every table whose ids a validator asks for.
pub(crate) fn each_reference(validator: &Validator, each: &mut dyn FnMut(&TableName)) {
    match validator {
        Validator::Id(table) => each(table),
        Validator::Array(members) => each_reference(members, each),
        Validator::Record { keys, values } => {
            each_reference(keys, each);
            each_reference(values, each);
        }
        Validator::Object(fields) => {
            fields.values().for_each(|field| each_reference(&field.validator, each));
        }
        Validator::Union(members) => members.iter().for_each(|member| each_reference(member, each)),
        Validator::Any
        | Validator::Null
        | Validator::Float64
        | Validator::Int64
        | Validator::CommitTimestamp
        | Validator::Boolean
        | Validator::String
        | Validator::Bytes
        | Validator::Literal(_)
        | Validator::Function(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use schema::SchemaLimits;

    use super::*;

    #[test]
    fn references_are_found_at_any_depth() {
        let json = r#"{"type":"object","value":{
            "a":{"fieldType":{"type":"array","value":{"type":"id","tableName":"one"}},"optional":true},
            "b":{"fieldType":{"type":"union","value":[{"type":"null"},{"type":"record","keys":{"type":"id","tableName":"two"},
                "values":{"fieldType":{"type":"id","tableName":"three"},"optional":false}}]},"optional":false}}}"#;
        let validator = Validator::from_json(json, &SchemaLimits::DEFAULT).expect("a validator");
        let mut found = Vec::new();
        each_reference(&validator, &mut |table| found.push(table.to_string()));
        assert_eq!(found, ["one", "two", "three"]);
    }
}

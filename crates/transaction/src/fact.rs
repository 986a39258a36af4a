use std::collections::HashSet;

use contract::ReadSet;
use value::{IndexName, InternalId, TableName, TableNumber, Value};

use crate::{
    range::prefix_interval,
    system_tables::{SchemaState, SystemTable},
};

/// Something of the catalog that a transaction has relied on. Each stands for the rows that would change if it did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    /// Which table has this name, or that none has.
    TableName(TableName),
    /// Which table has this number, or that none has.
    TableNumber(TableNumber),
    /// Which tables there are.
    Tables,
    /// What this index of a tablet is, or that it isn't.
    Index(InternalId, IndexName),
    /// Which indexes a tablet has: every write relies on it.
    Indexes(InternalId),
    /// The schemas that writes are checked against.
    Schemas,
    /// A module's row, by path.
    Module(String),
    Modules,
    EnvironmentVariable(String),
    EnvironmentVariables,
    UdfConfig,
    Auth,
}

impl Fact {
    fn add_to(&self, read_set: &mut ReadSet) {
        let mut add = |table: SystemTable, index: &str, parts: &[Value]| {
            read_set.add(table.index(index).id, prefix_interval(parts));
        };
        let text = |text: &str| Value::String(text.to_owned());
        match self {
            Fact::TableName(name) => add(SystemTable::Tables, "by_name", &[text(name.as_str())]),
            Fact::TableNumber(number) => {
                add(SystemTable::Tables, "by_number", &[Value::Float64(number.get().into())]);
            }
            Fact::Tables => add(SystemTable::Tables, "by_id", &[]),
            Fact::Index(tablet, name) => {
                add(
                    SystemTable::Indexes,
                    "by_table_and_name",
                    &[text(&tablet.to_string()), text(name.as_str())],
                );
            }
            Fact::Indexes(tablet) => {
                add(SystemTable::Indexes, "by_table_and_name", &[text(&tablet.to_string())]);
            }
            Fact::Schemas => {
                for state in [SchemaState::Active, SchemaState::Pending, SchemaState::Validated] {
                    add(SystemTable::Schemas, "by_state", &[text(state.name())]);
                }
            }
            Fact::Module(path) => add(SystemTable::Modules, "by_path", &[text(path)]),
            Fact::Modules => add(SystemTable::Modules, "by_id", &[]),
            Fact::EnvironmentVariable(name) => {
                add(SystemTable::EnvironmentVariables, "by_name", &[text(name)]);
            }
            Fact::EnvironmentVariables => add(SystemTable::EnvironmentVariables, "by_id", &[]),
            Fact::UdfConfig => add(SystemTable::UdfConfig, "by_id", &[]),
            Fact::Auth => add(SystemTable::Auth, "by_id", &[]),
        }
    }
}

/// The facts that a transaction has relied on, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(HashSet<Fact>);

impl Facts {
    pub(crate) fn rely_on(&mut self, fact: Fact) {
        self.0.insert(fact);
    }

    pub(crate) fn add_to(&self, read_set: &mut ReadSet) {
        self.0.iter().for_each(|fact| fact.add_to(read_set));
    }
}

use std::collections::HashSet;

use contract::{IndexId, Interval, ReadSet};
use value::{ComponentId, DocumentId, IndexName, InternalId, TableName, TableNumber, Value};

use crate::{
    range::prefix_interval,
    system_tables::{SchemaState, SystemTable},
};

/// Something of the catalog that a transaction has relied on. Each stands for the rows that would change if it did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    /// Which table of the component has this name, or that none has.
    TableName(ComponentId, TableName),
    /// Which table of the component has this number, or that none has.
    TableNumber(ComponentId, TableNumber),
    /// Which tables the component has.
    Tables(ComponentId),
    /// What this index of a tablet is, or that it isn't.
    Index(InternalId, IndexName),
    /// Which indexes a tablet has: every write relies on it.
    Indexes(InternalId),
    /// The schemas that writes in the component are checked against.
    Schemas(ComponentId),
    /// A module's row, by path.
    Module(ComponentId, String),
    Modules(ComponentId),
    EnvironmentVariable(ComponentId, String),
    EnvironmentVariables(ComponentId),
    UdfConfig(ComponentId),
    /// Whether this instance of a component is there and mounted.
    Component(ComponentId),
    /// Which instances of components there are.
    Components,
    Auth,
    /// Whether the changes of documents are noted: every write of a document relies on it.
    ChangeHistory,
    /// Whether the deployment is paused: every call of a function relies on it.
    Pause,
}

impl Fact {
    /// Where the rows are that it stands for.
    pub(crate) fn ranges(&self) -> Vec<(IndexId, Interval)> {
        let mut ranges = Vec::with_capacity(1);
        let mut add = |table: SystemTable, index: &str, parts: &[Value]| {
            ranges.push((table.index(index).id, prefix_interval(parts)));
        };
        let text = |text: &str| Value::String(text.to_owned());
        let of = |component: &ComponentId| Value::String(component.to_string());
        let (name, number) = ("by_component_and_name", "by_component_and_number");
        let (path, state) = ("by_component_and_path", "by_component_and_state");
        match self {
            Fact::TableName(component, table) => {
                add(SystemTable::Tables, name, &[of(component), text(table.as_str())]);
            }
            Fact::TableNumber(component, table) => {
                add(SystemTable::Tables, number, &[of(component), Value::Float64(table.get().into())]);
            }
            Fact::Tables(component) => add(SystemTable::Tables, name, &[of(component)]),
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
            Fact::Schemas(component) => {
                for schema in [SchemaState::Active, SchemaState::Pending, SchemaState::Validated] {
                    add(SystemTable::Schemas, state, &[of(component), text(schema.name())]);
                }
            }
            Fact::Module(component, module) => {
                add(SystemTable::Modules, path, &[of(component), text(module)]);
            }
            Fact::Modules(component) => add(SystemTable::Modules, path, &[of(component)]),
            Fact::EnvironmentVariable(component, variable) => {
                add(SystemTable::EnvironmentVariables, name, &[of(component), text(variable)]);
            }
            Fact::EnvironmentVariables(component) => {
                add(SystemTable::EnvironmentVariables, name, &[of(component)]);
            }
            Fact::UdfConfig(component) => add(SystemTable::UdfConfig, "by_component", &[of(component)]),
            Fact::Component(component) => {
                let id =
                    component.internal_id().map(|id| DocumentId::new(SystemTable::Components.number(), id));
                add(SystemTable::Components, "by_id", &id.map(Value::from).into_iter().collect::<Vec<_>>());
            }
            Fact::Components => add(SystemTable::Components, "by_id", &[]),
            Fact::Auth => add(SystemTable::Auth, "by_id", &[]),
            Fact::ChangeHistory => add(SystemTable::ChangeHistory, "by_id", &[]),
            Fact::Pause => add(SystemTable::BackendState, "by_id", &[]),
        }
        ranges
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
        for (index, interval) in self.0.iter().flat_map(Fact::ranges) {
            read_set.add(index, interval);
        }
    }
}

//! Functions about components.

use transaction::Transaction;
use value::{Value, object};

/// All instances by their paths, those included that are not mounted any more. The app itself is none.
pub(crate) fn list(transaction: &mut Transaction) -> String {
    let instances = transaction.instances();
    let shown = instances.iter().map(|(id, stored)| {
        let row = &stored.row;
        let name = row.path.parent().map(|(_, name)| name.to_owned());
        Value::Object(object! {
            "id" => id.to_string(),
            "name" => name,
            "path" => row.path.as_str(),
            "definition" => row.definition.as_str(),
            "state" => if row.is_mounted { "active" } else { "unmounted" },
        })
    });
    Value::Array(shown.collect()).to_json()
}

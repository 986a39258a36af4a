//! What consoles show of the pushed code.

use transaction::Transaction;
use value::Value;

/// Below which path of the site the component's routes answer, with a slash at its end; null where they answer nowhere.
pub(super) fn http_prefix(transaction: &mut Transaction) -> String {
    let component = transaction.component();
    let prefix = if component.is_root() {
        let own = transaction.udf_config().and_then(|config| config.row.http_prefix);
        Some(own.unwrap_or_else(|| "/".to_owned()))
    } else {
        // Those above it have a part in the path.
        let instances = transaction.instances();
        let is_mounted = instances.iter().any(|(id, stored)| *id == component && stored.row.is_mounted);
        transaction.deployment_catalog().http_prefix(component).filter(|_| is_mounted)
    };
    Value::from(prefix).to_json()
}

/// The version of the function library with which the code was pushed; null before the first push.
pub(super) fn version(transaction: &mut Transaction) -> String {
    Value::from(transaction.udf_config().map(|config| config.row.server_version)).to_json()
}

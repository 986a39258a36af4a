//! What consoles show of the pushed code.

use transaction::Transaction;
use value::Value;

/// The version of the function library with which the code was pushed; null before the first push.
pub(super) fn version(transaction: &mut Transaction) -> String {
    Value::from(transaction.udf_config().map(|config| config.row.server_version)).to_json()
}

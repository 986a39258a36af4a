//! Whether a deployment runs functions.

use transaction::Transaction;
use value::{Value, object};

pub(crate) fn state(transaction: &mut Transaction) -> String {
    let state = if transaction.is_paused() { "paused" } else { "running" };
    Value::Object(object! { "state" => state }).to_json()
}

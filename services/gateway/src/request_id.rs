//! Names for requests.

use uuid::Uuid;

/// A random name of 16 hexadecimal digits, which error messages and the log show.
pub(crate) fn new_request_id() -> String {
    let mut name = Uuid::new_v4().simple().to_string();
    name.truncate(16);
    name
}

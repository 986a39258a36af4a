//! What the format of values fixes, and how large values and documents may be.
//!
//! What the format fixes is a constant: a stored document must stay readable whatever the configuration says.

use limits::{KIB, MIB, group};

/// How deep any value may nest: a scalar is 0, an array or object one more than its deepest member
/// (`TooNestedError`). Fixed: it bounds the recursion of everything that walks a value.
pub const VALUE_NESTING_MAX: usize = 64;
/// Members of one array (`ArrayTooLong`). Fixed by the data format, as applications know it.
pub const ARRAY_LENGTH_MAX: usize = 8192;
/// Fields of one object (`TooManyFieldsError`). Fixed by the data format, as applications know it.
pub const OBJECT_FIELDS_MAX: usize = 1024;
/// Characters of a field's name (`InvalidFieldName`). Fixed by the data format.
pub const FIELD_NAME_CHARS_MAX: usize = 1024;
/// Characters of an identifier: the names of tables, indexes, exports, components (`InvalidIdentifier`). Fixed.
pub const IDENTIFIER_CHARS_MAX: usize = 64;

const _: () = assert!(IDENTIFIER_CHARS_MAX <= FIELD_NAME_CHARS_MAX, "an identifier is a field name");
const _: () = assert!(VALUE_NESTING_MAX < 127, "the JSON parser itself stops at 128 levels");
const _: () = assert!(FIELD_NAME_CHARS_MAX <= KIB);

group! {
    value:
    /// Sizes of values and documents.
    pub struct ValueLimits {
        /// One document with its system fields (`ValueTooLargeError`). One read of an index must stay cheap.
        document_bytes_max: usize = MIB,
        /// How deep a document may nest, itself included (`InvalidDocumentError`).
        document_nesting_max: usize = 16,
        /// Any value at all (`ValueTooLargeError`): a ceiling above arguments, results and documents.
        value_bytes_max: usize = 32 * MIB,
    }
}

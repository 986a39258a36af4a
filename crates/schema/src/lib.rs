//! Schemas and validators: parsing, checking and comparing them.

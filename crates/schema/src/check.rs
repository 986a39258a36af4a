//! Checking values against validators.

use std::{borrow::Cow, fmt};

use value::{
    CREATION_TIME_FIELD, DocumentId, FieldName, FunctionHandle, ID_FIELD, Object, TableName, TableNumber,
    Value,
};

use crate::{
    FieldValidator, Validator,
    display::{Quoted, ShownObject, ShownValue, excerpt, is_plain_name},
};

/// The tables of the component in which a value is checked, by which ids are judged.
pub trait TableLookup {
    /// The number of a table; `None` if there is no such table, and so no id of it.
    fn number_of(&self, table: &TableName) -> Option<TableNumber>;

    /// The name of the table with a number, for error messages.
    fn name_of(&self, _number: TableNumber) -> Option<TableName> {
        None
    }
}

impl<F: Fn(&TableName) -> Option<TableNumber>> TableLookup for F {
    fn number_of(&self, table: &TableName) -> Option<TableNumber> {
        self(table)
    }
}

/// Why a value does not fit a validator. `Display` is the whole explanation: what is wrong, where, the value there and
/// the validator there, each cut if it is long. Callers put before it what was checked, such as
/// `ArgumentValidationError: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationFailure {
    reason: String,
    path: String,
    subject: &'static str,
    value: String,
    validator: String,
}

impl ValidationFailure {
    /// What is wrong, in one or two sentences.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Where in the value, as code: `.author.names[0]`; empty for the value itself.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ValidationFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n\n", self.reason)?;
        if !self.path.is_empty() {
            writeln!(formatter, "Path: {}", self.path)?;
        }
        write!(formatter, "{}: {}\nValidator: {}", self.subject, self.value, self.validator)
    }
}

impl std::error::Error for ValidationFailure {}

impl Validator {
    /// Whether the value fits, and if not why.
    pub fn check(&self, value: &Value, tables: &dyn TableLookup) -> Result<(), ValidationFailure> {
        Checker { tables }.value(self, value).map_err(|mismatch| mismatch.explain(tables))
    }

    /// As [`Validator::check`] for a document, whose system fields are accepted though the validator doesn't name them.
    pub fn check_document(
        &self,
        document: &Object,
        tables: &dyn TableLookup,
    ) -> Result<(), ValidationFailure> {
        Checker { tables }.document(self, document).map_err(|mismatch| mismatch.explain(tables))
    }
}

/// A step from a value to one of its members.
enum Step<'c> {
    Field(&'c str),
    Member(usize),
}

enum Reason<'c> {
    Mismatch,
    Missing(&'c FieldName),
    Extra(&'c str),
    Key(&'c str),
    NoId,
    NoHandle,
    OtherTable { wanted: &'c TableName, found: TableNumber },
}

enum Subject<'c> {
    Value(&'c Value),
    Object(&'c Object),
}

/// A failure that still borrows: unions try their members, and what fails there must cost nothing.
struct Mismatch<'c> {
    reason: Reason<'c>,
    subject: Subject<'c>,
    validator: &'c Validator,
    /// From the innermost step to the outermost.
    path: Vec<Step<'c>>,
}

impl<'c> Mismatch<'c> {
    fn new(reason: Reason<'c>, value: &'c Value, validator: &'c Validator) -> Self {
        Self { reason, subject: Subject::Value(value), validator, path: Vec::new() }
    }

    fn in_object(reason: Reason<'c>, object: &'c Object, validator: &'c Validator) -> Self {
        Self { reason, subject: Subject::Object(object), validator, path: Vec::new() }
    }

    fn below(mut self, step: Step<'c>) -> Self {
        self.path.push(step);
        self
    }

    fn explain(&self, tables: &dyn TableLookup) -> ValidationFailure {
        let reason: Cow<'static, str> = match self.reason {
            Reason::Mismatch => "Value does not match validator.".into(),
            Reason::Missing(name) => format!(
                "Object is missing the required field `{name}`. If objects without it are meant to be accepted, wrap \
                 the field's validator in `v.optional(...)`."
            )
            .into(),
            Reason::Extra(name) => {
                format!("Object contains the extra field `{name}`, which is not in the validator.").into()
            }
            Reason::Key(name) => {
                format!("Object contains the field `{name}`, which the validator of the record's keys refuses.").into()
            }
            Reason::NoId => "Value is not an ID.".into(),
            Reason::NoHandle => "Value is not a function handle.".into(),
            Reason::OtherTable { wanted, found } => match tables.name_of(found) {
                Some(found) => format!("Found an ID of the table `{found}` where one of the table `{wanted}` belongs."),
                None => format!("Found an ID of another table where one of the table `{wanted}` belongs."),
            }
            .into(),
        };
        let path = self.path.iter().rev().map(|step| match step {
            Step::Field(name) if is_plain_name(name) => format!(".{name}"),
            Step::Field(name) => format!("[{}]", Quoted(name)),
            Step::Member(position) => format!("[{position}]"),
        });
        let (subject, value) = match self.subject {
            Subject::Value(value) => ("Value", excerpt(&ShownValue(value))),
            Subject::Object(object) => ("Object", excerpt(&ShownObject(object))),
        };
        ValidationFailure {
            reason: reason.into_owned(),
            path: path.collect(),
            subject,
            value,
            validator: excerpt(self.validator),
        }
    }
}

struct Checker<'l> {
    tables: &'l dyn TableLookup,
}

impl Checker<'_> {
    fn value<'c>(&self, validator: &'c Validator, value: &'c Value) -> Result<(), Mismatch<'c>> {
        let fits = match (validator, value) {
            (Validator::Any, _) => true,
            (Validator::Null, Value::Null) => true,
            (Validator::Float64, Value::Float64(_)) => true,
            (Validator::Int64 | Validator::CommitTimestamp, Value::Int64(_) | Value::CommitTimestamp) => true,
            (Validator::Boolean, Value::Boolean(_)) => true,
            (Validator::String, Value::String(_)) => true,
            (Validator::Bytes, Value::Bytes(_)) => true,
            (Validator::Literal(literal), value) => is_literal(literal, value),
            (Validator::Id(table), Value::String(text)) => {
                return self.id(table, text).map_err(|reason| Mismatch::new(reason, value, validator));
            }
            (Validator::Function(_), Value::String(text)) if text.parse::<FunctionHandle>().is_err() => {
                return Err(Mismatch::new(Reason::NoHandle, value, validator));
            }
            (Validator::Function(_), Value::String(_)) => true,
            (Validator::Array(member_validator), Value::Array(members)) => {
                for (position, member) in members.iter().enumerate() {
                    self.value(member_validator, member)
                        .map_err(|mismatch| mismatch.below(Step::Member(position)))?;
                }
                true
            }
            (Validator::Record { keys, values }, Value::Object(object)) => {
                return self.record(validator, keys, values, object, |_| false);
            }
            (Validator::Object(fields), Value::Object(object)) => {
                return self.object(validator, fields, object, |_| false);
            }
            (Validator::Union(members), value) => {
                members.iter().any(|member| self.value(member, value).is_ok())
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(Mismatch::new(Reason::Mismatch, value, validator)) }
    }

    fn document<'c>(&self, validator: &'c Validator, document: &'c Object) -> Result<(), Mismatch<'c>> {
        match validator {
            Validator::Any => Ok(()),
            Validator::Object(fields) => self.object(validator, fields, document, is_system_field),
            Validator::Record { keys, values } => {
                self.record(validator, keys, values, document, is_system_field)
            }
            // The only member explains itself best.
            Validator::Union(members) if members.len() == 1 => self.document(&members[0], document),
            Validator::Union(members)
                if members.iter().any(|member| self.document(member, document).is_ok()) =>
            {
                Ok(())
            }
            _ => Err(Mismatch::in_object(Reason::Mismatch, document, validator)),
        }
    }

    /// Walks the object's fields and the validator's side by side; both are in the order of their names.
    fn object<'c>(
        &self,
        validator: &'c Validator,
        fields: &'c std::collections::BTreeMap<FieldName, FieldValidator>,
        object: &'c Object,
        is_implicit: fn(&str) -> bool,
    ) -> Result<(), Mismatch<'c>> {
        let mut wanted = fields.iter().peekable();
        for (name, value) in object {
            while let Some((missing, _)) = wanted.next_if(|(wanted, _)| wanted.as_str() < name.as_str()) {
                if !fields[missing].optional {
                    return Err(Mismatch::in_object(Reason::Missing(missing), object, validator));
                }
            }
            match wanted.next_if(|(wanted, _)| wanted.as_str() == name) {
                Some((_, field)) => self
                    .value(&field.validator, value)
                    .map_err(|mismatch| mismatch.below(Step::Field(name)))?,
                None if is_implicit(name) => {}
                None => return Err(Mismatch::in_object(Reason::Extra(name), object, validator)),
            }
        }
        match wanted.find(|(_, field)| !field.optional) {
            Some((missing, _)) => Err(Mismatch::in_object(Reason::Missing(missing), object, validator)),
            None => Ok(()),
        }
    }

    fn record<'c>(
        &self,
        validator: &'c Validator,
        keys: &'c Validator,
        values: &'c Validator,
        object: &'c Object,
        is_implicit: fn(&str) -> bool,
    ) -> Result<(), Mismatch<'c>> {
        for (name, value) in object {
            if is_implicit(name) {
                continue;
            }
            if !self.key(keys, name) {
                return Err(Mismatch::in_object(Reason::Key(name), object, validator));
            }
            self.value(values, value).map_err(|mismatch| mismatch.below(Step::Field(name)))?;
        }
        Ok(())
    }

    fn key(&self, validator: &Validator, name: &str) -> bool {
        match validator {
            Validator::String => true,
            Validator::Id(table) => self.id(table, name).is_ok(),
            Validator::Literal(literal) => literal.as_str() == Some(name),
            Validator::Union(members) => members.iter().any(|member| self.key(member, name)),
            _ => false,
        }
    }

    fn id<'c>(&self, wanted: &'c TableName, text: &str) -> Result<(), Reason<'c>> {
        let id: DocumentId = text.parse().map_err(|_| Reason::NoId)?;
        if self.tables.number_of(wanted) == Some(id.table) {
            Ok(())
        } else {
            Err(Reason::OtherTable { wanted, found: id.table })
        }
    }
}

/// As `===` has it: +0 and -0 are one number. (NaN is no literal that code could write.)
fn is_literal(literal: &Value, value: &Value) -> bool {
    match (literal, value) {
        (Value::Float64(left), Value::Float64(right)) => left == right,
        _ => literal == value,
    }
}

fn is_system_field(name: &str) -> bool {
    name == ID_FIELD || name == CREATION_TIME_FIELD
}

//! Values, as far as this program needs them.

use std::{collections::HashMap, fmt};

use anyhow::{Result, bail};

use crate::deployment::{FunctionResult, Value, function_result, value::Kind};

/// A function has thrown.
#[derive(Debug)]
pub struct FunctionFailed {
    pub message: String,
    /// What a ConvexError carries.
    pub data: Option<String>,
}

pub fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

pub fn object(fields: Vec<(&str, Value)>) -> HashMap<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A function's value: a text, or texts with commas between.
pub fn shown(result: FunctionResult) -> Result<String> {
    match result.result {
        Some(function_result::Result::Value(value)) => text_of(value),
        Some(function_result::Result::Error(error)) => {
            let data = error.data.map(text_of).transpose()?;
            Err(FunctionFailed { message: error.message, data }.into())
        }
        None => bail!("a result of a kind that is not known here"),
    }
}

fn text_of(value: Value) -> Result<String> {
    match value.kind {
        Some(Kind::StringValue(text)) => Ok(text),
        Some(Kind::ArrayValue(array)) => {
            let texts = array.values.into_iter().map(text_of).collect::<Result<Vec<_>>>()?;
            Ok(texts.join(", "))
        }
        other => bail!("no text: {other:?}"),
    }
}

impl fmt::Display for FunctionFailed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for FunctionFailed {}

//! Filter expressions.

use value::{FieldPath, Object, Value};

use crate::{
    Error, Result,
    query::{invalid, value_or_undefined},
};

/// A filter as functions write it with `q.eq(q.field("a"), 1)`, ready to be evaluated for one document after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    /// `None` is undefined.
    Literal(Option<Value>),
    Field(FieldPath),
    Compare(Comparison, Box<[Expression; 2]>),
    Compute(Arithmetic, Box<[Expression; 2]>),
    Negate(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A value on its way: a part of the document, of the expression, or computed. `None` is undefined.
enum Operand<'a> {
    Borrowed(Option<&'a Value>),
    Owned(Value),
}

impl Operand<'_> {
    fn get(&self) -> Option<&Value> {
        match self {
            Operand::Borrowed(value) => *value,
            Operand::Owned(value) => Some(value),
        }
    }

    fn type_name(&self) -> &'static str {
        self.get().map_or("undefined", Value::type_name)
    }
}

impl Expression {
    /// `nesting_left` bounds the depth, `nodes_left` the size over all filters of a query.
    pub(crate) fn from_json(
        json: &serde_json::Value,
        nesting_left: usize,
        nodes_left: &mut usize,
    ) -> Result<Expression> {
        let complex =
            || Error::user("FilterTooComplex", "the query's filters are too large or nest too deep");
        let nesting_left = nesting_left.checked_sub(1).ok_or_else(complex)?;
        *nodes_left = nodes_left.checked_sub(1).ok_or_else(complex)?;
        let single =
            json.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
        let Some((name, argument)) = single else {
            return Err(invalid("a filter expression must be an object with one key".to_owned()));
        };
        let mut nested = |json: &serde_json::Value| Expression::from_json(json, nesting_left, nodes_left);
        let mut pair = || match argument.as_array().map(Vec::as_slice) {
            Some([left, right]) => Ok(Box::new([nested(left)?, nested(right)?])),
            _ => Err(invalid(format!("{name} takes two expressions"))),
        };
        let compare = |comparison, pair: Box<_>| Ok(Expression::Compare(comparison, pair));
        let compute = |arithmetic, pair: Box<_>| Ok(Expression::Compute(arithmetic, pair));
        match name.as_str() {
            "$literal" => Ok(Expression::Literal(value_or_undefined(argument.clone())?)),
            "$field" => {
                let path =
                    argument.as_str().ok_or_else(|| invalid("$field takes a field path".to_owned()))?;
                Ok(Expression::Field(path.parse()?))
            }
            "$eq" => compare(Comparison::Equal, pair()?),
            "$neq" => compare(Comparison::NotEqual, pair()?),
            "$lt" => compare(Comparison::Less, pair()?),
            "$lte" => compare(Comparison::LessOrEqual, pair()?),
            "$gt" => compare(Comparison::Greater, pair()?),
            "$gte" => compare(Comparison::GreaterOrEqual, pair()?),
            "$add" => compute(Arithmetic::Add, pair()?),
            "$sub" => compute(Arithmetic::Subtract, pair()?),
            "$mul" => compute(Arithmetic::Multiply, pair()?),
            "$div" => compute(Arithmetic::Divide, pair()?),
            "$mod" => compute(Arithmetic::Remainder, pair()?),
            "$neg" => Ok(Expression::Negate(Box::new(nested(argument)?))),
            "$not" => Ok(Expression::Not(Box::new(nested(argument)?))),
            "$and" | "$or" => {
                let members = argument
                    .as_array()
                    .ok_or_else(|| invalid(format!("{name} takes an array of expressions")))?;
                let members = members.iter().map(nested).collect::<Result<_>>()?;
                Ok(if name == "$and" { Expression::And(members) } else { Expression::Or(members) })
            }
            _ => Err(invalid(format!("there is no filter operator {name:?}"))),
        }
    }

    /// Whether the document passes. The expression's value must be a boolean.
    pub(crate) fn accepts(&self, document: &Object) -> Result<bool> {
        self.evaluate(document)?.boolean("a filter")
    }

    fn evaluate<'a>(&'a self, document: &'a Object) -> Result<Operand<'a>> {
        match self {
            Expression::Literal(value) => Ok(Operand::Borrowed(value.as_ref())),
            Expression::Field(path) => Ok(Operand::Borrowed(path.lookup(document))),
            Expression::Compare(comparison, operands) => {
                let [left, right] = &**operands;
                let order = left.evaluate(document)?.get().cmp(&right.evaluate(document)?.get());
                Ok(Operand::Owned(Value::Boolean(match comparison {
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                })))
            }
            Expression::Compute(arithmetic, operands) => {
                let [left, right] = &**operands;
                arithmetic.compute(&left.evaluate(document)?, &right.evaluate(document)?).map(Operand::Owned)
            }
            Expression::Negate(operand) => {
                let operand = operand.evaluate(document)?;
                match operand.get() {
                    Some(Value::Float64(number)) => Ok(Operand::Owned(Value::Float64(-number))),
                    Some(Value::Int64(integer)) => match integer.checked_neg() {
                        Some(negated) => Ok(Operand::Owned(Value::Int64(negated))),
                        None => Err(overflow()),
                    },
                    _ => Err(mismatch(format!("`neg` takes a number, not {}", operand.type_name()))),
                }
            }
            Expression::And(members) => {
                for member in members {
                    if !member.evaluate(document)?.boolean("`and`")? {
                        return Ok(Operand::Owned(Value::Boolean(false)));
                    }
                }
                Ok(Operand::Owned(Value::Boolean(true)))
            }
            Expression::Or(members) => {
                for member in members {
                    if member.evaluate(document)?.boolean("`or`")? {
                        return Ok(Operand::Owned(Value::Boolean(true)));
                    }
                }
                Ok(Operand::Owned(Value::Boolean(false)))
            }
            Expression::Not(operand) => {
                let negated = !operand.evaluate(document)?.boolean("`not`")?;
                Ok(Operand::Owned(Value::Boolean(negated)))
            }
        }
    }
}

impl Operand<'_> {
    fn boolean(&self, of: &str) -> Result<bool> {
        match self.get() {
            Some(Value::Boolean(boolean)) => Ok(*boolean),
            _ => Err(mismatch(format!("{of} must be given a boolean, not {}", self.type_name()))),
        }
    }
}

impl Arithmetic {
    fn compute(self, left: &Operand<'_>, right: &Operand<'_>) -> Result<Value> {
        match (left.get(), right.get()) {
            (Some(Value::Float64(left)), Some(Value::Float64(right))) => Ok(Value::Float64(match self {
                Arithmetic::Add => left + right,
                Arithmetic::Subtract => left - right,
                Arithmetic::Multiply => left * right,
                Arithmetic::Divide => left / right,
                Arithmetic::Remainder => left % right,
            })),
            (Some(Value::Int64(left)), Some(Value::Int64(right))) => {
                let (left, right) = (*left, *right);
                let result = match self {
                    Arithmetic::Add => left.checked_add(right),
                    Arithmetic::Subtract => left.checked_sub(right),
                    Arithmetic::Multiply => left.checked_mul(right),
                    Arithmetic::Divide | Arithmetic::Remainder if right == 0 => {
                        return Err(Error::user(
                            "FilterDivisionByZero",
                            "a filter divided an integer by zero",
                        ));
                    }
                    Arithmetic::Divide => left.checked_div(right),
                    Arithmetic::Remainder => left.checked_rem(right),
                };
                result.map(Value::Int64).ok_or_else(overflow)
            }
            _ => Err(mismatch(format!(
                "arithmetic takes two numbers of the same type, not {} and {}",
                left.type_name(),
                right.type_name()
            ))),
        }
    }
}

fn mismatch(message: String) -> Error {
    Error::user("FilterTypeMismatch", message)
}

fn overflow() -> Error {
    Error::user("FilterOverflow", "a filter computed an integer that does not fit into 64 bits")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use value::object;

    use super::*;

    fn parse(json: serde_json::Value) -> Result<Expression> {
        Expression::from_json(&json, 64, &mut 4096)
    }

    /// Whether the filter passes a document with `a` = 1.5, `n` = 7n, `s` = "x" and `o` = {"b": true}.
    fn accepts(json: serde_json::Value) -> Result<bool> {
        let document = object! {"a" => 1.5, "n" => 7i64, "s" => "x", "o" => object! {"b" => true}};
        parse(json).and_then(|expression| expression.accepts(&document))
    }

    #[test]
    fn comparisons_follow_the_order_of_all_values() {
        for (filter, expected) in [
            (json!({"$eq": [{"$field": "a"}, {"$literal": 1.5}]}), true),
            (json!({"$eq": [{"$field": "n"}, {"$literal": 7}]}), false),
            (json!({"$lt": [{"$field": "n"}, {"$literal": -100}]}), true),
            (json!({"$gt": [{"$field": "s"}, {"$field": "a"}]}), true),
            (json!({"$eq": [{"$field": "missing"}, {"$literal": {"$undefined": null}}]}), true),
            (json!({"$lt": [{"$field": "missing"}, {"$literal": null}]}), true),
            (json!({"$neq": [{"$field": "o.b"}, {"$literal": true}]}), false),
            (json!({"$lte": [{"$field": "a"}, {"$field": "a"}]}), true),
            (json!({"$gte": [{"$field": "a"}, {"$literal": 2}]}), false),
            (json!({"$field": "o.b"}), true),
        ] {
            assert_eq!(accepts(filter.clone()).unwrap(), expected, "{filter}");
        }
    }

    #[test]
    fn logic_is_variadic_and_stops_early() {
        let broken = json!({"$not": {"$literal": 1}});
        for (filter, expected) in [
            (json!({"$and": []}), true),
            (json!({"$or": []}), false),
            (json!({"$and": [{"$literal": false}, broken]}), false),
            (json!({"$or": [{"$literal": true}, broken]}), true),
            (json!({"$not": {"$literal": false}}), true),
        ] {
            assert_eq!(accepts(filter.clone()).unwrap(), expected, "{filter}");
        }
    }

    #[test]
    fn arithmetic_needs_two_numbers_of_one_type() {
        let seven = json!({"$integer": "BwAAAAAAAAA="});
        for (filter, expected) in [
            (json!({"$eq": [{"$add": [{"$field": "a"}, {"$literal": 1}]}, {"$literal": 2.5}]}), true),
            (
                json!({"$eq": [{"$mul": [{"$field": "n"}, {"$literal": seven}]}, {"$literal": {"$integer": "MQAAAAAAAAA="}}]}),
                true,
            ),
            (json!({"$eq": [{"$mod": [{"$literal": -7}, {"$literal": 4}]}, {"$literal": -3}]}), true),
            (
                json!({"$eq": [{"$div": [{"$literal": 1}, {"$literal": 0}]}, {"$literal": {"$float": "AAAAAAAA8H8="}}]}),
                true,
            ),
            (json!({"$lt": [{"$neg": {"$field": "n"}}, {"$literal": {"$integer": "AAAAAAAAAAA="}}]}), true),
            (
                json!({"$eq": [{"$sub": [{"$field": "n"}, {"$field": "n"}]}, {"$literal": {"$integer": "AAAAAAAAAAA="}}]}),
                true,
            ),
        ] {
            assert_eq!(accepts(filter.clone()).unwrap(), expected, "{filter}");
        }
        let min = json!({"$literal": {"$integer": "AAAAAAAAAIA="}});
        let zero = json!({"$literal": {"$integer": "AAAAAAAAAAA="}});
        for (filter, code) in [
            (json!({"$add": [{"$field": "a"}, {"$field": "n"}]}), "FilterTypeMismatch"),
            (json!({"$add": [{"$field": "s"}, {"$field": "s"}]}), "FilterTypeMismatch"),
            (json!({"$neg": {"$field": "missing"}}), "FilterTypeMismatch"),
            (json!({"$neg": min}), "FilterOverflow"),
            (json!({"$add": [min, min]}), "FilterOverflow"),
            (json!({"$div": [min, {"$neg": {"$literal": {"$integer": "AQAAAAAAAAA="}}}]}), "FilterOverflow"),
            (json!({"$mod": [{"$field": "n"}, zero]}), "FilterDivisionByZero"),
            (json!({"$literal": 1}), "FilterTypeMismatch"),
            (json!({"$and": [{"$field": "s"}]}), "FilterTypeMismatch"),
        ] {
            assert_eq!(accepts(filter.clone()).unwrap_err().code(), code, "{filter}");
        }
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        for filter in [
            json!(true),
            json!({}),
            json!({"$eq": [{"$literal": 1}]}),
            json!({"$eq": [{"$literal": 1}, {"$literal": 1}], "$neq": []}),
            json!({"$and": {"$literal": true}}),
            json!({"$field": 1}),
            json!({"$like": []}),
        ] {
            assert_eq!(parse(filter.clone()).unwrap_err().code(), "InvalidQuery", "{filter}");
        }
        assert_eq!(parse(json!({"$field": "a..b"})).unwrap_err().code(), "InvalidFieldPath");
    }

    #[test]
    fn size_and_depth_are_limited() {
        let deep = |depth| (0..depth).fold(json!({"$literal": true}), |inner, _| json!({"$not": inner}));
        assert!(parse(deep(63)).is_ok());
        assert_eq!(parse(deep(64)).unwrap_err().code(), "FilterTooComplex");
        let wide = json!({"$and": vec![json!({"$literal": true}); 4096]});
        assert_eq!(parse(wide).unwrap_err().code(), "FilterTooComplex");
    }
}

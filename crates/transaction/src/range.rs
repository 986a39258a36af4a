//! From the conditions of a query on an index to an interval of keys.

use contract::Interval;
use value::{FieldPath, key};

use crate::{
    Error, Result,
    catalog::Index,
    query::{RangeComparison, RangeExpression},
};

/// The keys of `index` that satisfy all conditions: equalities on its first fields, then at most a lower and an upper
/// bound on the field after them.
pub(crate) fn interval_of(index: &Index, conditions: &[RangeExpression]) -> Result<Interval> {
    let fields = index.key_fields();
    let position = |field: &FieldPath| {
        fields.iter().position(|known| known == field).ok_or_else(|| {
            let fields = fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            let message =
                format!("`{field}` is not a field of the index `{}`, which has {fields}", index.name);
            Error::user("FieldNotInIndex", message)
        })
    };
    let mut equalities: Vec<Option<&RangeExpression>> = vec![None; fields.len()];
    let (mut lower, mut upper): (Option<&RangeExpression>, Option<&RangeExpression>) = (None, None);
    for condition in conditions {
        let slot = match condition.comparison {
            RangeComparison::Eq => &mut equalities[position(&condition.field)?],
            RangeComparison::Gt | RangeComparison::Gte => &mut lower,
            RangeComparison::Lt | RangeComparison::Lte => &mut upper,
        };
        if let Some(known) = slot.replace(condition) {
            return Err(if known.field == condition.field {
                Error::user(
                    "AlreadyDefinedBound",
                    format!("`{}` is bounded twice on the same side", known.field),
                )
            } else {
                bounds_on_multiple_fields(known, condition)
            });
        }
    }

    let equal_count = equalities.iter().take_while(|equality| equality.is_some()).count();
    if let Some(late) = equalities[equal_count..].iter().flatten().next() {
        return Err(out_of_order(index, &late.field, &fields[equal_count]));
    }
    if let (Some(lower), Some(upper)) = (lower, upper)
        && lower.field != upper.field
    {
        return Err(bounds_on_multiple_fields(lower, upper));
    }
    if let Some(bound) = lower.or(upper) {
        let position = position(&bound.field)?;
        if position < equal_count {
            let message = format!("`{}` has an equality and another bound", bound.field);
            return Err(Error::user("InvalidIndexRange", message));
        }
        if position > equal_count {
            return Err(out_of_order(index, &bound.field, &fields[equal_count]));
        }
    }

    let mut prefix = Vec::with_capacity(64);
    for equality in equalities.into_iter().flatten() {
        key::push(&mut prefix, equality.value.as_ref());
    }
    let with = |bound: &RangeExpression| {
        let mut key = prefix.clone();
        key::push(&mut key, bound.value.as_ref());
        key
    };
    let start = match lower {
        None => prefix.clone(),
        Some(bound) if bound.comparison == RangeComparison::Gte => with(bound),
        Some(bound) => key::prefix_end(&with(bound)),
    };
    let end = match upper {
        None => key::prefix_end(&prefix),
        Some(bound) if bound.comparison == RangeComparison::Lt => with(bound),
        Some(bound) => key::prefix_end(&with(bound)),
    };
    Ok(Interval { start: start.into(), end: Some(end.into()) })
}

/// The keys that begin with these values.
pub(crate) fn prefix_interval(parts: &[value::Value]) -> Interval {
    let mut prefix = Vec::with_capacity(64);
    for part in parts {
        key::push(&mut prefix, Some(part));
    }
    let end = key::prefix_end(&prefix);
    Interval { start: prefix.into(), end: Some(end.into()) }
}

fn out_of_order(index: &Index, field: &FieldPath, expected: &FieldPath) -> Error {
    let message = format!(
        "the index `{}` can't be bounded on `{field}` before `{expected}`: equalities come first, in the order of the \
         index's fields, then bounds on the field after them",
        index.name
    );
    Error::user("InvalidIndexRange", message)
}

fn bounds_on_multiple_fields(one: &RangeExpression, two: &RangeExpression) -> Error {
    let message = format!("`{}` and `{}` are both bounded; only one field may be", one.field, two.field);
    Error::user("BoundsOnMultipleFields", message)
}

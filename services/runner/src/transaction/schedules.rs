//! What functions ask of the scheduler.

use serde::Deserialize;
use serde_json::value::RawValue;
use transaction::{Cancellation, NewJob, Transaction};
use value::{DocumentId, Value};

use super::{
    host::TransactionHost,
    syscalls::{Attempt, caught, find, parse, target},
};
use crate::service::Shared;

/// Who schedules.
#[derive(Clone, Copy)]
pub(crate) struct Scheduling {
    /// What the function sees as the time; milliseconds since the Unix epoch.
    pub(crate) now_ms: f64,
    /// The job in whose name it runs, if that may be cancelled meanwhile.
    pub(crate) parent: Option<DocumentId>,
}

#[derive(Deserialize)]
struct ScheduleArguments<'a> {
    /// Seconds since the Unix epoch; null if the function gave no finite number.
    ts: Option<f64>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CancelArguments {
    id: String,
}

impl TransactionHost {
    pub(super) async fn schedule_operation(&mut self, name: &str, arguments: &str) -> Attempt {
        let by = Scheduling { now_ms: self.tree.now_ms as f64, parent: self.parent() };
        if name == "1.0/schedule" {
            return schedule(&self.shared, &mut self.transaction, by, name, arguments).await;
        }
        if cancel(&mut self.transaction, by, name, arguments).await? == Cancellation::Running {
            // As it is for the library up to 1.49; later versions are told by an error.
            let warning = "A scheduled function can't cancel itself while it runs: it goes on.".to_owned();
            self.tree.log.push_warning(warning);
        }
        Ok("null".to_owned())
    }
}

/// Schedules a function. Its kind and its arguments are looked at when it runs: its code may be another one then.
pub(crate) async fn schedule(
    shared: &Shared,
    transaction: &mut Transaction,
    by: Scheduling,
    operation: &str,
    arguments: &str,
) -> Attempt {
    let target = target(transaction, parse(operation, arguments)?)?;
    if find(shared, transaction, &target)?.is_none() {
        let message = format_args!("there is no function `{}` that could be scheduled", target.function);
        return Err(caught("InvalidScheduledFunction", message));
    }
    let ScheduleArguments { ts, args } = parse(operation, arguments)?;
    let seconds = ts.ok_or_else(|| {
        caught("InvalidScheduledFunctionDelay", "the time of a scheduled function is not a finite number")
    })?;
    let Value::Object(arguments) = Value::from_json(args.map_or("{}", RawValue::get))? else {
        return Err(caught("InvalidArgument", "the arguments of a scheduled function are an object"));
    };
    let job = NewJob {
        component: target.component,
        function: target.function,
        arguments,
        // The seconds are milliseconds divided by a thousand; whole ones come back whole.
        time_ms: (seconds * 1e6).round() / 1e3,
        now_ms: by.now_ms,
        parent: by.parent,
    };
    let id = transaction.schedule(job).await?;
    Ok(serde_json::Value::from(String::from(id)).to_string())
}

pub(crate) async fn cancel(
    transaction: &mut Transaction,
    by: Scheduling,
    operation: &str,
    arguments: &str,
) -> Attempt<Cancellation> {
    let CancelArguments { id } = parse(operation, arguments)?;
    Ok(transaction.cancel(&id, by.now_ms).await?)
}

//! Calls: a function of the deployment's code is stepped until it ends, whoever answers what it asks for.
//!
//! ```text
//!   call            checks the arguments, runs the function to its end, checks the result
//!     └ Guest       the function on its way: a state machine over an isolate's slot, without input or output
//!   Host            answers what guests ask for
//!     └ Tree        what a function and those that it calls share: time, randomness, console
//!   Threads         where guests run; a tree of calls stays on its thread
//! ```
//!
//! Between two steps a [`Guest`] is only memory. [`call`] answers its operations one after another, as a transaction
//! must; a host whose answers take long can hold many guests on one thread and go on with whichever has its answer.
//!
//! Nothing here knows what the operations mean: the host of a transaction is in [`crate::transaction`].

mod arguments;
mod failure;
mod guest;
mod host;
mod log_lines;
mod results;
mod slots;
mod threads;

use std::{future::Future, pin::Pin, sync::Arc};

pub(crate) use arguments::normalize as normalize_arguments;
pub(crate) use failure::{Stop, Thrown, split};
pub(crate) use guest::{Guest, Progress, engine_failed};
pub(crate) use host::{Ground, Host, Tree, TreeLimits};
pub(crate) use log_lines::LogLines;
pub(crate) use slots::{ImageNumber, NumberedImage, Slots};
pub(crate) use threads::{Priority, ThreadLimits, ThreadPlace, Threads};

use crate::{functions::Function, limits::FunctionLimits};
use ::transaction::Catalog;
use host::Tables;

/// What a function's end means to whoever called it: its result as convex JSON, what it threw, or the end of all its
/// callers too.
pub(crate) type Outcome = Result<Result<String, Thrown>, Stop>;

/// Runs a function with all checks. `arguments` is convex JSON: an array with the arguments object. Boxed, because
/// functions call each other through their host.
pub(crate) fn call<'c, H: Host>(
    host: &'c mut H,
    slots: &'c mut Slots,
    image: &'c NumberedImage,
    function: Arc<Function>,
    arguments: &'c str,
) -> Pin<Box<dyn Future<Output = Outcome> + 'c>> {
    Box::pin(async move {
        let limits = host.tree().limits.function;
        let tables = host.tables(&function);
        // The timestamp of the commit may be named between functions of a mutation, and by what it returns.
        let origin = if host.tree().depth() > 0 { Origin::Function } else { Origin::Outside };
        let arguments_bytes = match check_arguments(&function, arguments, origin, &tables, &limits) {
            Ok(bytes) => bytes,
            Err(thrown) => return Ok(Err(thrown)),
        };
        let text = match run(host, slots, image, Arc::clone(&function), arguments).await? {
            Ok(text) => text,
            Err(thrown) => return Ok(Err(thrown)),
        };
        let tables = host.tables(&function);
        let checked = check_result(&function, &text, &tables, arguments_bytes, host.tree());
        Ok(checked.map(|()| text))
    })
}

/// Where arguments come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Outside,
    /// A function within the same transaction.
    Function,
}

/// The size of the arguments as a value, if the function takes them.
pub(crate) fn check_arguments(
    function: &Function,
    arguments: &str,
    origin: Origin,
    tables: &Catalog,
    limits: &FunctionLimits,
) -> Result<usize, Thrown> {
    arguments::check(arguments, origin, &function.arguments, &Tables(tables), limits.arguments_bytes_max)
}

/// Whether the function may have this result. Warns of what is nearly too large.
pub(crate) fn check_result(
    function: &Function,
    text: &str,
    tables: &Catalog,
    arguments_bytes: usize,
    tree: &mut Tree,
) -> Result<(), Thrown> {
    let limits = tree.limits.function;
    tree.warn_of_size("FunctionArgumentsTooLarge", "arguments", arguments_bytes, limits.arguments_bytes_max);
    let bytes_max = limits.result_bytes_max;
    let bytes = results::check(text, function.returns.as_ref(), &Tables(tables), bytes_max)?;
    tree.warn_of_size("FunctionResultTooLarge", "result", bytes, bytes_max);
    Ok(())
}

/// Steps the guest until it ends, answering its operations one after another in the order of their issue.
async fn run<H: Host>(
    host: &mut H,
    slots: &mut Slots,
    image: &NumberedImage,
    function: Arc<Function>,
    arguments: &str,
) -> Outcome {
    let mut guest = Guest::new(slots.take(image).map_err(guest::engine_failed)?);
    host.tree().enter(&function);
    let outcome = answer_until_end(host, slots, &mut guest, &function, arguments).await;
    host.tree().leave(&function);
    slots.put_back(image, guest.into_slot());
    outcome
}

async fn answer_until_end<H: Host>(
    host: &mut H,
    slots: &mut Slots,
    guest: &mut Guest,
    function: &Function,
    arguments: &str,
) -> Outcome {
    let mut progress = guest.start(function, arguments, host)?;
    loop {
        match progress {
            Progress::Ended(result) => return Ok(result),
            Progress::Waits => {
                let operation = guest.take_operation()?;
                host.tree().others_wait = guest.has_operations();
                let answer = host.answer(slots, &operation).await?;
                progress = guest.resume(vec![(operation.id, answer)], host)?;
            }
        }
    }
}

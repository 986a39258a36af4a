//! Operations of an action that have a transaction to themselves: each takes effect at once, whatever becomes of the action.

use async_trait::async_trait;
use isolate::SyscallError;
use system_transaction::Work;
use transaction::Transaction;

use super::calls::Calls;
use crate::transaction::{Attempt, Failure, Scheduling, cancel, caught, file_operation, schedule};

impl Calls {
    /// What an operation comes to. Whatever that is, the action may go on.
    pub(super) async fn alone(&self, name: &str, arguments: &str) -> Attempt {
        let operation = Operation { calls: self, name, arguments };
        let transactions = &self.handle.shared.transactions;
        let answer = match name {
            "1.0/storageGenerateUploadUrl" | "1.0/storageGetMetadata" | "1.0/storageGetUrl" => {
                match transactions.snapshot(self.call.deployment).await {
                    Ok(mut transaction) => operation.run(&mut transaction).await,
                    Err(error) => Err(error.into()),
                }
            }
            _ => transactions.transact(self.call.deployment, &operation).await,
        };
        match answer.map_err(contract::Error::from) {
            Ok(answer) => answer.map_err(Failure::Caught),
            Err(error) => Err(caught(&error.code, error.message)),
        }
    }

    async fn perform(&self, transaction: &mut Transaction, name: &str, arguments: &str) -> Attempt {
        let shared = &self.handle.shared;
        let now_ms = shared.clock.now_ms();
        let by = Scheduling { now_ms, parent: self.descent.job };
        match name {
            "1.0/actions/schedule" => schedule(shared, transaction, by, name, arguments).await,
            "1.0/actions/cancel_job" => {
                cancel(transaction, by, name, arguments).await?;
                Ok("null".to_owned())
            }
            _ => file_operation(shared, transaction, now_ms as u64, name, arguments).await,
        }
    }
}

struct Operation<'c> {
    calls: &'c Calls,
    name: &'c str,
    arguments: &'c str,
}

#[async_trait]
impl Work for Operation<'_> {
    /// JSON text, or what the function can catch.
    type Output = Result<String, SyscallError>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Self::Output> {
        transaction.enter(self.calls.component);
        let error = match self.calls.perform(transaction, self.name, self.arguments).await {
            Ok(json) => return Ok(Ok(json)),
            Err(Failure::Caught(error)) => error,
            Err(Failure::Stop(stop)) => stop.into_answer()?.into(),
        };
        transaction.undo_writes();
        Ok(Err(error))
    }
}

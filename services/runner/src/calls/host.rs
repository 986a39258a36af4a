//! What stands behind guests.

use std::{sync::Arc, time::Duration};

use crate::{Clock, limits::FunctionLimits};
use ::transaction::TransactionLimits;
use contract::Observed;
use isolate::{Answer, AsyncOperation, Observations, SyncHost};
use rand::{Rng, SeedableRng, rngs::StdRng};
use schema::TableLookup;
use transaction::{Catalog, UsageWarning};
use value::{TableName, TableNumber};

use super::{LogLines, Slots, Stop};
use crate::functions::Function;

/// What guests run on, whoever answers what they wait for.
pub(crate) trait Ground: SyncHost {
    /// What all guests of this host share.
    fn tree(&mut self) -> &mut Tree;
}

/// Answers what guests ask for.
pub(crate) trait Host: Ground {
    /// The tables by which ids in the function's arguments and results are judged.
    fn tables(&mut self, function: &Function) -> Arc<Catalog>;

    /// Answers an operation while its guest waits; further guests run in `slots`.
    async fn answer(&mut self, slots: &mut Slots, operation: &AsyncOperation) -> Result<Answer, Stop>;
}

/// What the functions of a tree are held to.
#[derive(Clone, Copy)]
pub(crate) struct TreeLimits {
    pub(crate) function: FunctionLimits,
    pub(crate) transaction: TransactionLimits,
}

/// What a function and those that it calls share.
pub(crate) struct Tree {
    pub(crate) limits: TreeLimits,
    /// What the clock shows, in milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    pub(crate) observed: Observed,
    pub(crate) log: LogLines,
    /// Whether the function that waits for an answer has issued other operations since.
    pub(crate) others_wait: bool,
    /// What a synchronous call could not say to the function, because it ends everything.
    pub(crate) stop: Option<Stop>,
    random: StdRng,
    /// The function that runs and those that have called it, outermost first.
    functions: Vec<Arc<Function>>,
    user_time: Duration,
}

impl Tree {
    /// `now_ms` is the time that its functions see, `clock` that of their log lines. All randomness in the tree comes from
    /// `seed`.
    pub(crate) fn new(limits: TreeLimits, now_ms: u64, clock: Clock, seed: [u8; 32]) -> Tree {
        Tree {
            limits,
            now_ms,
            observed: Observed::default(),
            log: LogLines::new(limits.function.log_lines_max, clock),
            others_wait: false,
            stop: None,
            random: StdRng::from_seed(seed),
            functions: Vec::new(),
            user_time: Duration::ZERO,
        }
    }

    /// The function that runs.
    pub(crate) fn function(&self) -> &Arc<Function> {
        self.functions.last().expect("host calls come from a function that runs")
    }

    /// How many functions are on their way, each called by the one before.
    pub(crate) fn depth(&self) -> usize {
        self.functions.len()
    }

    pub(crate) fn new_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        seed
    }

    pub(crate) fn enter(&mut self, function: &Arc<Function>) {
        self.functions.push(Arc::clone(function));
    }

    pub(super) fn leave(&mut self, function: &Arc<Function>) {
        let left = self.functions.pop();
        assert!(
            left.is_some_and(|left| Arc::ptr_eq(&left, function)),
            "calls end in the reverse of their order"
        );
    }

    /// Processor time that the tree may still take.
    pub(super) fn user_time_left(&self) -> Duration {
        Duration::from_millis(self.limits.function.user_time_ms_max).saturating_sub(self.user_time)
    }

    /// Warns of arguments or a result that are nearly too large.
    pub(super) fn warn_of_size(&mut self, code: &'static str, what: &str, bytes: usize, bytes_max: usize) {
        let warning = UsageWarning::of(code, bytes, bytes_max, &self.limits.transaction, || {
            format!("{what}: {bytes} of at most {bytes_max} bytes")
        });
        if let Some(UsageWarning { code, message }) = warning {
            self.log.push_warning(format!("{code}: {message}"));
        }
    }

    /// Takes note of what a guest did since `counted`, the processor time that was noted of it before.
    pub(super) fn observe(&mut self, observations: Observations, counted: Duration) {
        self.observed.time |= observations.time;
        self.user_time += observations.user_time.saturating_sub(counted);
    }
}

/// The tables of a catalog, for validators of ids.
pub(super) struct Tables<'c>(pub(super) &'c Catalog);

impl TableLookup for Tables<'_> {
    fn number_of(&self, table: &TableName) -> Option<TableNumber> {
        self.0.table(table.as_str()).map(|table| table.number)
    }

    fn name_of(&self, number: TableNumber) -> Option<TableName> {
        self.0.table_by_number(number).map(|table| table.name.clone())
    }
}

//! What functions may use. Where the engine holds them to it, the default is the engine's.

use isolate::{CallLimits, EngineLimits, ImportLimits};
use limits::{MIB, group};

/// What the runner holds functions to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub function: FunctionLimits,
    pub action: ActionLimits,
    /// Of the transactions that functions run in. What a query reads ahead is given by
    /// [`FunctionLimits::prefetch_documents`].
    pub transaction: transaction::Limits,
    pub function_log: FunctionLogLimits,
    /// How long the log lets a read wait for a moment that is not applied yet.
    pub read_wait_ms_max: u64,
}

/// What is kept of each deployment's function log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionLogLimits {
    /// Entries that are kept.
    pub entries_max: usize,
    /// Bytes of the entries that are kept.
    pub bytes_max: usize,
}

group! {
    function:
    /// What one run of a function may use.
    pub struct FunctionLimits {
        /// Processor time of a query or mutation outside of host calls ("Function execution timed out"). Four times
        /// what V8 would be given: this engine is slower on loops, and legal functions must not die of it.
        user_time_ms_max: u64 = CallLimits::DEFAULT.user_time_ms_max,
        /// Wall time that a query or mutation may spend in host calls (`SystemTimeoutError`).
        system_time_ms_max: u64 = 15_000,
        /// Processor time for evaluating all modules of a push (`InvalidModules`).
        import_time_ms_max: u64 = ImportLimits::DEFAULT.user_time_ms_max,
        /// Arguments, counted as a value (`FunctionArgumentsTooLarge`).
        arguments_bytes_max: usize = 16 * MIB,
        /// Result, counted as a value (`FunctionResultTooLarge`). A call's heap holds bytes of this size and their base64.
        result_bytes_max: usize = 16 * MIB,
        /// JavaScript heap (`FunctionOutOfMemory`).
        heap_bytes_max: usize = CallLimits::DEFAULT.heap_bytes_max as usize,
        /// Host calls of one function that may be unanswered (`TooManyConcurrentOperations`).
        host_calls_in_flight_max: usize = 1_000,
        /// Documents that a query reads ahead of what it was asked for.
        prefetch_documents: usize = transaction::PREFETCH_DOCUMENTS,
        /// Lines of one run's log, the notice about dropped lines included.
        log_lines_max: usize = CallLimits::DEFAULT.log_lines_max,
        /// Characters of one log line; the rest is cut and marked.
        log_line_chars_max: usize = CallLimits::DEFAULT.log_line_chars_max,
        /// Threads that JavaScript runs on; 0: four for each core, and at least eight. More than cores, so that functions that
        /// compute for seconds don't hold up all others.
        threads: usize = 0,
        /// Percentage of the threads that calls of one deployment may occupy, so that its neighbours find one although it
        /// computes for seconds. At least one thread.
        deployment_threads_percent: usize = 75,
        /// Calls that run at the same time, those not counted that have run for long; 0: one more than there are cores.
        short_calls_max: usize = 0,
        /// A call that has run for so long leaves its place among the short ones to another.
        short_call_ms_max: u64 = 5,
        /// A call that has computed for so long goes on with a lower priority, so that it takes the processor from short ones only
        /// where they do not want it.
        long_call_ms: u64 = EngineLimits::DEFAULT.long_work_ms,
        /// By how much the niceness of its thread is raised then, up to 19. With 10 it gets a tenth of what a short call gets beside it.
        long_call_niceness: u8 = EngineLimits::DEFAULT.long_work_niceness,
        /// How long a mutation waits for its turns at keys that many want, counted from its beginning, before it goes on
        /// without; 0: there are no turns.
        turn_wait_ms_max: u64 = 1_000,
        /// How long a mutation keeps a turn. Then it goes to the next, and the mutation may lose.
        turn_held_ms_max: u64 = 200,
        /// Isolates that each thread keeps between calls; some 0.3 MB each.
        thread_slots_max: usize = 16,
        /// A thread that had nothing to run for so long lets its isolates go. Its next call makes one anew, in some
        /// 0.3 ms.
        thread_slots_idle_ms_max: u64 = 10_000,
        /// How long a query or mutation waits for a free isolate (`TooManyConcurrentRequests`).
        slot_wait_ms_max: u64 = 5_000,
        /// Calls that may wait for an isolate (`ExpiredInQueue`). Deployments take turns; when it is full, the newest call
        /// of the deployment with the most is refused.
        slot_queue_max: usize = 2_000,
        /// How long a result that depends on the time is reused: a second, a slow run, a second.
        observed_time_cache_ms_max: u64 = 17_000,
        /// Images of deployments that one runner keeps ready: of each the newest, and one that is being pushed; least
        /// recently used ones go first.
        images_bytes_max: usize = 1024 * MIB,
        /// Catalogs of deployments at different moments that are kept, counted by their rows; least recently used ones go
        /// first. Thousands of small deployments fit.
        catalogs_bytes_max: usize = 256 * MIB,
        /// Catalogs of which it is remembered which image serves them; some 300 bytes each.
        image_names_max: usize = 16_384,
        /// Modules whose analysis is remembered.
        module_analyses_max: usize = 4_096,
        /// Parsed source maps that are remembered.
        source_maps_max: usize = 64,
        /// Memory of an image while its modules are evaluated (`InvalidModules`). A dense bundle of 20 MB takes 100 MB.
        import_memory_bytes_max: usize = ImportLimits::DEFAULT.memory_bytes_max as usize,
        /// Processor time for compiling some 2 MiB of modules, or one larger module (`InvalidModules`). One of 20 MB in one
        /// piece takes some ten seconds: looking up scopes is quadratic.
        compile_time_ms_max: u64 = EngineLimits::DEFAULT.compile_time_ms_max,
        /// Memory for compiling (`InvalidModules`): the largest bundles stay below a gigabyte.
        compile_memory_bytes_max: usize = EngineLimits::DEFAULT.compile_memory_bytes_max as usize,
        /// Compiled modules that are kept, so that a push compiles only what changed.
        bytecode_bytes_max: usize = EngineLimits::DEFAULT.bytecode_bytes_max,
        /// Processor time for one look at what the modules of an image export (`InvalidModules`).
        analysis_time_ms_max: u64 = EngineLimits::DEFAULT.analysis_time_ms_max,
    }
}

group! {
    action:
    /// What actions may use, beside what holds for all functions.
    pub struct ActionLimits {
        /// Time of an action, waiting included ("Function execution timed out").
        time_ms_max: u64 = 1_800_000,
        /// Processor time of an action outside of what it waits for ("Function execution timed out"). Fifteen times what a query
        /// is given; a server that stops waits for no more than that.
        user_time_ms_max: u64 = 60_000,
        /// Actions that are under way at the same time, those that others call not counted; more of them wait. One that waits
        /// holds no thread, and some 0.3 MB beside the image of its code.
        running_max: usize = 4_096,
        /// Actions that other actions have called and that are under way at the same time (`TooManyConcurrentRequests`).
        called_max: usize = 4_096,
        /// Percentage of both that those of one deployment may have.
        deployment_percent: usize = 75,
        /// How long an action waits to begin (`TooManyConcurrentRequests`).
        wait_ms_max: u64 = 10_000,
        /// JavaScript heap of all actions together (`ActionsOutOfMemory`).
        heap_bytes_max: usize = 4_096 * MIB,
        /// Functions that an action has called and that have not ended; further calls wait for them.
        calls_in_flight_max: usize = 8,
        /// Body of a request that an HTTP action answers (413 `RequestTooLarge`).
        http_request_bytes_max: usize = 20 * MIB,
        /// Body of an HTTP action's response (`HttpResponseTooLarge`).
        http_response_bytes_max: usize = 20 * MIB,
        /// How many actions may call each other, the outermost one included (`MaximumCallDepthExceeded`).
        call_depth_max: usize = 16,
        /// Files whose bytes pass between actions and the store at the same time; further ones wait. Each takes some 1 MiB.
        files_in_flight_max: usize = 64,
        /// How long a server that stops lets actions go on before it cancels them.
        stop_wait_ms_max: u64 = 1_000,
        /// How often it is looked for actions that were due and that nobody runs, besides at the start. Where other processes have
        /// claimed some, as often as claims are renewed, if that is more often.
        orphan_sweep_ms: u64 = 60_000,
        /// How often a process that runs actions which were due says that it is there: one small commit for each deployment that has
        /// any.
        claim_renewal_ms: u64 = 10_000,
        /// A process that has not said so for this long runs nothing any more: its actions have failed. Each process that looks
        /// counts by itself, and only while the log can be read.
        claim_lease_ms: u64 = 60_000,
    }
}

impl FunctionLimits {
    /// What one call may use of its isolate.
    pub fn call(&self) -> CallLimits {
        CallLimits {
            user_time_ms_max: self.user_time_ms_max,
            heap_bytes_max: self.heap_bytes_max as u64,
            log_lines_max: self.log_lines_max,
            log_line_chars_max: self.log_line_chars_max,
        }
    }

    /// What the evaluation of a push's modules may use.
    pub fn import(&self) -> ImportLimits {
        ImportLimits {
            user_time_ms_max: self.import_time_ms_max,
            memory_bytes_max: self.import_memory_bytes_max as u64,
        }
    }

    /// What compiling and analysing may use.
    pub fn engine(&self) -> EngineLimits {
        EngineLimits {
            compile_time_ms_max: self.compile_time_ms_max,
            compile_memory_bytes_max: self.compile_memory_bytes_max as u64,
            bytecode_bytes_max: self.bytecode_bytes_max,
            analysis_time_ms_max: self.analysis_time_ms_max,
            long_work_ms: self.long_call_ms,
            long_work_niceness: self.long_call_niceness,
        }
    }
}

use crate::MIB;

/// The most that [`FunctionLimits::heap_bytes_max`] may be. Fixed: an isolate's memory is laid out for it.
pub const ISOLATE_HEAP_BYTES_MAX: usize = 512 * MIB;

group! {
    function:
    /// What one run of a function may use.
    pub struct FunctionLimits {
        /// Processor time of a query or mutation outside of host calls ("Function execution timed out"). Four times
        /// what V8 would be given: this engine is slower on loops, and legal functions must not die of it.
        user_time_ms_max: u64 = 4_000,
        /// Wall time that a query or mutation may spend in host calls (`SystemTimeoutError`).
        system_time_ms_max: u64 = 15_000,
        /// Processor time for evaluating all modules of a push (`InvalidModules`).
        import_time_ms_max: u64 = 10_000,
        /// Encoded arguments (`FunctionArgumentsTooLarge`).
        arguments_bytes_max: usize = 16 * MIB,
        /// Encoded result (`FunctionResultTooLarge`).
        result_bytes_max: usize = 16 * MIB,
        /// JavaScript heap (`FunctionOutOfMemory`).
        heap_bytes_max: usize = 64 * MIB,
        /// Host calls of one function that may be unanswered (`TooManyConcurrentOperations`).
        host_calls_in_flight_max: usize = 1_000,
        /// Documents that a query reads ahead of what it was asked for.
        prefetch_documents: usize = 100,
        /// Lines of one run's log, the notice about dropped lines included.
        log_lines_max: usize = 256,
        /// Characters of one log line; the rest is cut and marked.
        log_line_chars_max: usize = 32_768,
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
        /// Isolates that each thread keeps between calls; some 0.3 MB each.
        thread_slots_max: usize = 16,
        /// How long a query or mutation waits for a free isolate (`TooManyConcurrentRequests`).
        slot_wait_ms_max: u64 = 5_000,
        /// Calls that may wait for an isolate (`ExpiredInQueue`). Deployments take turns; when it is full, the newest call
        /// of the deployment with the most is refused.
        slot_queue_max: usize = 2_000,
        /// How long a result that depends on the time is reused: a second, a slow run, a second.
        observed_time_cache_ms_max: u64 = 17_000,
        /// Images of deployments that one runner keeps ready; least recently used ones go first.
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
        import_memory_bytes_max: usize = 512 * MIB,
        /// Processor time for compiling some 2 MiB of modules, or one larger module (`InvalidModules`). One of 20 MB in one
        /// piece takes some ten seconds: looking up scopes is quadratic.
        compile_time_ms_max: u64 = 60_000,
        /// Memory for compiling (`InvalidModules`): the largest bundles stay below a gigabyte.
        compile_memory_bytes_max: usize = 1_536 * MIB,
        /// Compiled modules that are kept, so that a push compiles only what changed.
        bytecode_bytes_max: usize = 64 * MIB,
        /// Processor time for one look at what the modules of an image export (`InvalidModules`).
        analysis_time_ms_max: u64 = 4_000,
    }
}

//! What Node.js actions may use.

use limits::{KIB, MIB, group};

group! {
    node:
    /// Node.js actions, their processes and packages.
    pub struct NodeLimits {
        /// Calls that run at the same time, each in a process of its own, of some 60 MiB (`TooManyConcurrentRequests`).
        processes_max: usize = 64,
        /// Of these, percent that one of several deployments can have.
        deployment_percent: usize = 75,
        /// The same for actions that other actions have called. They don't wait for a place: who has one waits for them.
        called_max: usize = 64,
        /// How long a call waits for a place.
        wait_ms_max: u64 = 10_000,
        /// How long an action may run.
        action_ms_max: u64 = 10 * 60 * 1_000,
        /// Memory of a process and of those that it has started, together (`FunctionOutOfMemory`).
        memory_bytes_max: usize = 512 * MIB,
        /// A process that has more than this after a call is not used again: it may leak.
        rest_memory_bytes_max: usize = 256 * MIB,
        /// Processes that an action may start (`NodeProcessesLimit`).
        children_max: usize = 32,
        /// How often memory and processes are looked at.
        watch_ms: u64 = 100,
        /// How long a process is kept that nobody has needed.
        idle_ms_max: u64 = 5 * 60 * 1_000,
        /// How long a process may take until it is ready for its first call.
        start_ms_max: u64 = 30_000,
        /// How long a process may take to come to rest after a call, and to begin one when it is woken. One whose event loop
        /// does not turn is replaced.
        rest_ms_max: u64 = 1_000,
        /// Encoded arguments (`FunctionArgumentsTooLarge`).
        arguments_bytes_max: usize = 5 * MIB,
        /// Encoded result (`FunctionResultTooLarge`).
        result_bytes_max: usize = 16 * MIB,
        /// One message between the server and a process; it has to hold arguments and results.
        frame_bytes_max: usize = 24 * MIB,
        /// Operations of one action that are not answered yet (`TooManyConcurrentOperations`).
        operations_max: usize = 1_000,
        /// Lines that an action may write to the console, the notice about the others included.
        log_lines_max: usize = 256,
        /// Characters of one such line.
        log_line_chars_max: usize = 32_768,
        /// Frames of a stack.
        stack_frames_max: usize = 32,
        /// Codes whose modules are kept in folders.
        code_folders_max: usize = 256,
        /// How long the modules of a push may take to be evaluated.
        analysis_ms_max: u64 = 30_000,
        /// How long npm may take to find out versions, and as long again to install them (`NodePackagesTooSlow`). A push is a
        /// request, which has to end in time.
        install_ms_max: u64 = 2 * 60 * 1_000,
        /// What the packages of one push may take on the disk (`NodePackagesTooLarge`).
        packages_bytes_max: usize = 230 * MIB,
        /// Packages of a push.
        packages_max: usize = 256,
        /// What is kept of npm's own messages, for errors.
        npm_output_bytes_max: usize = 16 * KIB,
    }
}

const _: () = {
    let limits = NodeLimits::DEFAULT;
    assert!(limits.frame_bytes_max > limits.result_bytes_max + MIB, "a result fits into a frame");
    assert!(limits.frame_bytes_max > limits.arguments_bytes_max + MIB, "arguments fit into a frame");
    assert!(limits.rest_memory_bytes_max < limits.memory_bytes_max, "who rests has room for a call");
};

//! This process and others: signals, panics, limits of the system.

use std::{fs, io::IsTerminal as _};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The log goes to stderr. `TIDEMARK_LOG` chooses what is in it, as in `info` or `warn,gateway=debug`.
pub fn set_up_log() {
    // openraft warns of what is ordinary whenever a leader is elected; its errors, and what txlog makes of them, remain.
    const QUIET: &str =
        "warn,openraft=error,tidemark=info,gateway=info,deploy=info,runner=info,fanout=info,txlog=info";
    let filter = EnvFilter::try_from_env("TIDEMARK_LOG").unwrap_or_else(|_| EnvFilter::new(QUIET));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// A panic is a defect after which nobody knows what still holds: the process ends at once, as if it were killed, and what
/// was acknowledged is in the log.
pub fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        crate::screen::print_error(
            "tidemark: this is a defect of Tidemark; it ends here, nothing acknowledged is lost",
        );
        std::process::abort();
    }));
}

/// Open files are raised to what the system allows; says so if those are fewer than `files_min`.
pub fn raise_open_files_limit(files_min: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is without limit.
    let wanted = maximum.unwrap_or(u64::MAX).min(1 << 20);
    if current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        if let Err(error) = raised {
            tracing::debug!("raising the limit of open files: {error}");
        }
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if current < files_min {
        tracing::warn!("this process may open {current} files, {files_min} are wanted: see `ulimit -n`");
    }
}

/// A process for people: its number and, where it can be seen, its name.
pub fn describe(process: u32) -> String {
    match fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!("process {process} ({})", name.trim()),
        Err(_) => format!("process {process}"),
    }
}

/// The wish that this process ends: Ctrl-C, or what service managers send.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub fn new() -> std::io::Result<StopSignals> {
        Ok(StopSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

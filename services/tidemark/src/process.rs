//! This process and others: signals, panics, limits of the system.

use std::{
    env::{self, VarError},
    fs,
    io::{IsTerminal as _, Write as _},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    refusal::Refusal,
    traces::{self, TraceOptions, Traces},
};

/// The log goes to stderr. `TIDEMARK_LOG` chooses what is in it, as in `info` or `warn,gateway=debug`. Traces go where
/// `traced` says, if it says so, from the current runtime.
///
/// # Errors
/// It says nothing that can be understood.
pub fn set_up_log(traced: Option<TraceOptions>) -> Result<Option<Traces>, Refusal> {
    let chosen = match env::var("TIDEMARK_LOG") {
        Ok(chosen) if !chosen.is_empty() => filter(&chosen)?,
        Ok(_) | Err(VarError::NotPresent) => filter(SERVICES)?,
        Err(error) => return Err(not_understood(&error)),
    };
    let is_terminal = std::io::stderr().is_terminal();
    let Some(options) = traced else {
        // A filter for all costs less than one for each of several layers.
        tracing_subscriber::fmt()
            .with_env_filter(chosen)
            .with_writer(std::io::stderr)
            .with_ansi(is_terminal)
            .init();
        return Ok(None);
    };
    let (traces, layer) = traces::start(options)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    tracing_subscriber::registry().with(lines.with_filter(chosen)).with(layer).init();
    Ok(Some(traces))
}

const SERVICES: &str = "warn,tidemark=info,gateway=info,deploy=info,runner=info,fanout=info,scheduler=info,search=info,txlog=info,nodejs=info,mtls=info";

/// openraft warns of what is ordinary whenever a leader is elected: of it only errors are logged, unless `chosen` names it.
fn filter(chosen: &str) -> Result<EnvFilter, Refusal> {
    EnvFilter::builder().parse(format!("openraft=error,{chosen}")).map_err(|error| not_understood(&error))
}

fn not_understood(error: &dyn std::error::Error) -> Refusal {
    Refusal::Configuration(format!(
        "TIDEMARK_LOG must be a level, or parts with levels, as in warn,gateway=debug: {error}"
    ))
}

/// Ends the process with this exit code, and without what libraries would tidy up: where a start has failed, or a stop was cut short, the
/// store's threads still use what is the store's, and would abort.
pub fn end(code: i32) -> ! {
    let _ = std::io::stdout().flush();
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raft_library_logs_its_errors_unless_it_is_named() {
        for (chosen, expected) in [
            ("info", "openraft=error,info"),
            (SERVICES, "openraft=error"),
            ("debug,openraft=info", "openraft=info,debug"),
        ] {
            let shown = filter(chosen).expect(chosen).to_string();
            for directive in expected.split(',') {
                assert!(shown.split(',').any(|other| other == directive), "{chosen}: {shown}");
            }
        }
    }

    #[test]
    fn what_can_not_be_understood_is_refused() {
        for wrong in ["gateway=loud", "=", "a=b=c"] {
            let refused = filter(wrong).expect_err(wrong).to_string();
            assert!(refused.contains("TIDEMARK_LOG"), "{wrong}: {refused}");
        }
    }
}

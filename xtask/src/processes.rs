//! Child processes that never outlive their owner: stopped in reverse order when the owner is dropped, and by the
//! kernel when the owner dies without a chance to do so.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const POLL: Duration = Duration::from_millis(50);
/// How long a process may take to stop after it was asked to, before it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(8);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether somebody asked this process to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The running children of this process.
#[derive(Default)]
pub struct Processes {
    running: Vec<(&'static str, Child)>,
}

impl Processes {
    /// From here on Ctrl-C and SIGTERM only set a flag, so that the children can be stopped in order.
    pub fn new() -> Self {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
            unsafe { libc::signal(signal, on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        }
        Self::default()
    }

    /// Starts a process that runs until it is stopped.
    pub fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let child = bound_to_this_process(command).spawn().with_context(|| format!("start {name}"))?;
        self.running.push((name, child));
        Ok(())
    }

    /// Runs a process to its end, all it prints going to `log`. An error holds what it printed.
    pub fn run(&mut self, name: &'static str, command: &mut Command, log: &Path) -> Result<()> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        command.stdout(output.try_clone()?).stderr(output);
        let mut child = bound_to_this_process(command).spawn().with_context(|| format!("start {name}"))?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if let Err(reason) = self.wait_a_moment() {
                stop(&mut child, STOP_TIME_MAX)?;
                return Err(reason);
            }
        };
        if !status.success() {
            bail!("{name} failed ({status}):\n{}", std::fs::read_to_string(log).unwrap_or_default());
        }
        Ok(())
    }

    /// Waits a moment. An error if a started process has ended by itself, or if somebody asked to stop.
    pub fn wait_a_moment(&mut self) -> Result<()> {
        std::thread::sleep(POLL);
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended by itself ({status})");
            }
        }
        if interrupted() {
            bail!("interrupted");
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        while let Some((name, mut child)) = self.running.pop() {
            if let Err(error) = stop(&mut child, STOP_TIME_MAX) {
                eprintln!("could not stop {name}: {error}");
            }
        }
    }
}

/// In a process group of its own, so that Ctrl-C in the terminal reaches only the owner, which then stops its children
/// one after the other; and killed by the kernel when the owner is gone.
fn bound_to_this_process(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).process_group(0);
    // SAFETY: prctl is safe to call between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    }
}

/// Asks the child to stop, and kills it when it hasn't within `patience`.
fn stop(child: &mut Child, patience: Duration) -> Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let group = -i32::try_from(child.id()).context("a process id beyond the system's")?;
    let deadline = Instant::now() + patience;
    // SAFETY: signals the child's own group; the child is not reaped yet, so its id can't be another's.
    unsafe { libc::kill(group, libc::SIGTERM) };
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(POLL);
    }
    // SAFETY: as above.
    unsafe { libc::kill(group, libc::SIGKILL) };
    Ok(child.wait()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_process_is_stopped_with_its_owner() {
        let mut processes = Processes::default();
        processes.start("sleep", Command::new("sleep").arg("60")).expect("sleep starts");
        let id = processes.running[0].1.id();
        drop(processes);
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "process {id} still runs");
    }

    #[test]
    fn a_process_that_ignores_the_request_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; while :; do sleep 0.1; done"]);
        let mut child = bound_to_this_process(&mut command).spawn().expect("sh starts");
        std::thread::sleep(Duration::from_millis(200));
        let status = stop(&mut child, Duration::from_millis(300)).expect("it can be killed");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_failed_process_says_what_it_printed() {
        let log = std::env::temp_dir().join(format!("tidemark-xtask-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no bread today; exit 3"]);
        let error = Processes::default().run("baker", &mut command, &log).expect_err("it exits with 3");
        std::fs::remove_file(&log).expect("the log is there");
        assert!(error.to_string().contains("no bread today"), "{error}");
    }
}

//! How a process is started, and what it gets of this one: nothing but its pipes.

use std::{
    ffi::OsStr,
    io::{self, PipeReader, PipeWriter},
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    path::Path,
    process::Stdio,
    sync::mpsc,
    thread,
};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

use crate::family::MARK;

/// Where the program finds its pipes; see `program/frames.mjs`.
const INPUT: RawFd = 3;
const OUTPUT: RawFd = 4;

/// The kernel ends a child with the *thread* that started it: this one lives as long as the executor.
pub(crate) struct Spawner {
    jobs: mpsc::Sender<(Command, oneshot::Sender<io::Result<Child>>)>,
}

impl Spawner {
    pub(crate) fn start() -> io::Result<Spawner> {
        let (jobs, receiver) = mpsc::channel::<(Command, oneshot::Sender<io::Result<Child>>)>();
        let runtime = Handle::current();
        thread::Builder::new().name("nodejs-spawn".to_owned()).spawn(move || {
            let _runtime = runtime.enter();
            for (mut command, reply) in receiver {
                // Nobody may be waiting any more: the child is dropped then, and killed.
                let _ = reply.send(command.spawn());
            }
        })?;
        Ok(Spawner { jobs })
    }

    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (sender, child) = oneshot::channel();
        self.jobs.send((command, sender)).expect("the thread lives as long as its sender");
        child.await.expect("every job is answered")
    }
}

/// The command of a process, with a home of its own.
pub(crate) fn command(program: &Path, path: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env(MARK, home)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Lets the command lead a session that ends with this process, and gives it two pipes.
pub(crate) fn isolate(command: &mut Command, pipes: Option<(PipeReader, PipeWriter)>) {
    let parent = std::process::id() as i32;
    let pipes = pipes.map(|(input, output)| (OwnedFd::from(input), OwnedFd::from(output)));
    let set_up = move || {
        // SAFETY: between fork and exec, only functions that are safe there are called: system calls without memory.
        unsafe {
            check(libc::setsid())?;
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            // Whatever it starts stays its descendant, also if what is between them ends.
            check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1))?;
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            libc::umask(0o077);
            let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            check(libc::setrlimit(libc::RLIMIT_CORE, &no_core))?;
            if let Some((input, output)) = &pipes {
                let input = check(libc::fcntl(input.as_raw_fd(), libc::F_DUPFD, OUTPUT + 1))?;
                let output = check(libc::fcntl(output.as_raw_fd(), libc::F_DUPFD, OUTPUT + 1))?;
                check(libc::dup2(input, INPUT))?;
                check(libc::dup2(output, OUTPUT))?;
            }
            let first = if pipes.is_some() { OUTPUT + 1 } else { INPUT };
            check(libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) as i32)?;
        }
        Ok(())
    };
    // SAFETY: see above.
    unsafe { command.pre_exec(set_up) };
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Arguments of Node.js for a program that may have so much memory.
pub(crate) fn arguments(main: &Path, memory_bytes_max: usize) -> [std::ffi::OsString; 4] {
    // The rest is for what is outside of the heap.
    let heap_mib = (memory_bytes_max >> 20) * 3 / 4;
    [
        format!("--max-old-space-size={heap_mib}").into(),
        "--enable-source-maps".into(),
        "--disable-warning=ExperimentalWarning".into(),
        OsStr::new(main).to_owned(),
    ]
}

//! What a runner holds: it runs actions, analyses modules and installs packages.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use contract::{DeploymentRef, Error, ErrorKind, ModuleSource, Retry};
use fair_queue::{Place, Places, Shares, share_of};
use tokio::{net::unix::pipe, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ActionHost, Call, CodeId, Failure, NodeLimits, NodeVersion, Options, Outcome, PackagesId, Standing,
    call::{Talk, talk},
    code::CodeFolders,
    family,
    message::{FromNode, ToNode},
    options::Programs,
    packages::Packages,
    pool::Pool,
    process::{Key, Message, Parts, Process, Processes},
    program,
    spawn::{self, Spawner},
};

/// Runs Node.js. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub options: Options,
    pub programs: Programs,
    pub spawner: Spawner,
    pub packages: Packages,
    code: CodeFolders,
    pool: Pool,
    processes: Arc<Processes>,
    outermost: Places,
    called: Places,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    homes: AtomicU64,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    started: AtomicU64,
    replaced: AtomicU64,
    refused: AtomicU64,
}

/// What operators want to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Actions that have begun so far.
    pub calls: u64,
    /// Processes that were started so far.
    pub started: u64,
    /// Processes so far that were ended because of what they had done: limits, crashes, memory that was not given back.
    pub replaced: u64,
    /// Actions so far that found no place.
    pub refused: u64,
    /// Processes that there are now.
    pub processes: usize,
    /// Of these, those that sleep.
    pub sleeping: usize,
}

/// What a process is started for.
pub(crate) struct Purpose {
    pub deployment: DeploymentRef,
    pub component: String,
    pub version: NodeVersion,
    pub environment: Arc<BTreeMap<String, String>>,
    pub code: CodeId,
    pub packages: Option<PackagesId>,
}

impl Executor {
    /// Starts an executor, which ends when `shutdown` is cancelled. Of its places each deployment has what `shares` say. Fails if its folder can't be used. Without a Node.js that it
    /// can use it starts, and refuses what needs one (`NodeNotFound`).
    pub async fn start(
        options: Options,
        shares: Shares,
        shutdown: CancellationToken,
    ) -> io::Result<Executor> {
        let limits = options.limits;
        let folder = std::path::absolute(&options.folder)?;
        let options = Options { folder: folder.clone(), ..options };
        tokio::task::spawn_blocking(move || {
            family::end_left_behind(&folder.join("homes"));
            for name in ["homes", "code", "program"] {
                match std::fs::remove_dir_all(folder.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::create_dir_all(folder.join("homes"))?;
            program::write_to(&folder.join("program"))
        })
        .await
        .expect("a panic ends the process")?;
        let places =
            |count| Places::shared(count, share_of(count, limits.deployment_percent), shares.clone());
        let programs = program::find(&options).await;
        let shared = Arc::new(Shared {
            programs,
            spawner: Spawner::start()?,
            packages: Packages::new(options.folder.join("packages")),
            code: CodeFolders::new(options.folder.join("code"), limits.code_folders_max),
            pool: Pool::default(),
            processes: Arc::default(),
            outermost: places(limits.processes_max),
            called: places(limits.called_max),
            shutdown,
            tasks: TaskTracker::new(),
            homes: AtomicU64::new(0),
            counts: Counts::default(),
            options,
        });
        shared.tasks.spawn(watch(Arc::clone(&shared)));
        Ok(Executor { shared })
    }

    /// Waits until the executor has ended, and every process with it.
    pub async fn stopped(&self) {
        self.shared.shutdown.cancelled().await;
        self.shared.pool.clear();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Which versions of Node.js there are.
    pub fn versions(&self) -> Vec<NodeVersion> {
        let mut versions: Vec<_> = self.shared.programs.keys().copied().collect();
        versions.sort_unstable();
        versions
    }

    /// The version that runs an app which asks for `asked`, or takes any.
    pub fn version(&self, asked: Option<&str>) -> Result<NodeVersion, Error> {
        let version = match asked {
            None => self.versions().first().copied().unwrap_or(NodeVersion::V22),
            Some(text) => NodeVersion::parse(text).ok_or_else(|| {
                let message =
                    format!("`node.nodeVersion` of convex.json is {text:?}; there are \"22\" and \"24\".");
                Error::bad_request("InvalidNodeVersion", message)
            })?,
        };
        self.shared.program(version).map(|_| version)
    }

    /// Some figures.
    pub fn metrics(&self) -> Metrics {
        let Counts { calls, started, replaced, refused } = &self.shared.counts;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Metrics {
            calls: load(calls),
            started: load(started),
            replaced: load(replaced),
            refused: load(refused),
            processes: self.shared.processes.count(),
            sleeping: self.shared.pool.count(),
        }
    }

    /// How much of its limits is used.
    pub fn limits_used(&self) -> [limits::Use; 2] {
        let places = |limit, places: &Places| {
            let (used, max) = places.load();
            limits::Use::of(limit, used, max)
        };
        [places("node.processes_max", &self.shared.outermost), places("node.called_max", &self.shared.called)]
    }

    /// Waits for a place for an action that no other one calls, and that is to run later.
    pub async fn reserve(&self, deployment: DeploymentRef) -> Result<Place, Error> {
        self.admit_counted(deployment, Standing::Outermost).await
    }

    /// Runs an action to its end, at most once, in the place that was reserved for it or else in one for which it waits. It ends if
    /// this future is dropped. An error after it has begun (`ActionCancelled`) leaves open what it has done.
    pub async fn run(
        &self,
        call: &Call,
        host: Arc<dyn ActionHost>,
        reserved: Option<Place>,
    ) -> Result<Outcome, Error> {
        let limits = &self.shared.options.limits;
        let (bytes, bytes_max) = (call.arguments.len(), limits.arguments_bytes_max);
        if bytes > bytes_max {
            return Ok(Err(Failure::ArgumentsTooLarge { bytes, bytes_max }));
        }
        let place = match reserved {
            Some(place) => place,
            None => self.admit_counted(call.deployment, call.standing).await?,
        };
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Err(cancelled()),
            outcome = self.run_in_place(call, &host, place) => outcome,
        }
    }

    async fn run_in_place(
        &self,
        call: &Call,
        host: &Arc<dyn ActionHost>,
        place: Place,
    ) -> Result<Outcome, Error> {
        let shared = &self.shared;
        let limits = &shared.options.limits;
        let purpose = Purpose {
            deployment: call.deployment,
            component: call.component.clone(),
            version: call.version,
            environment: Arc::clone(&call.environment),
            code: call.code,
            packages: call.packages.clone(),
        };
        let key = shared.key(&purpose);
        let rest = Duration::from_millis(limits.rest_ms_max);
        let action = Duration::from_millis(limits.action_ms_max);
        let start = Duration::from_millis(limits.start_ms_max);
        // One that has slept may have been ended meanwhile, or may not come to itself any more.
        while let Some(mut process) = shared.pool.take(&key) {
            process.state.set_busy(true);
            process.wake();
            match timeout(action, talk(&mut process, call, host, limits, rest)).await {
                Ok(Talk::NotBegun) => shared.count_replaced(),
                Ok(Talk::Ended(outcome)) => return Ok(shared.over(process, outcome, place)),
                Err(_) => return Ok(shared.too_slow(process)),
            }
        }
        shared.code_folder(&purpose, host.modules()).await?;
        let mut process = shared.start(key).await?;
        match timeout(action, talk(&mut process, call, host, limits, start)).await {
            Ok(Talk::NotBegun) => {
                process.state.fail(Failure::ProcessEnded { how: "did not begin".to_owned() });
                Err(not_started(process.failure(limits).await.to_string()))
            }
            Ok(Talk::Ended(outcome)) => Ok(shared.over(process, outcome, place)),
            Err(_) => Ok(shared.too_slow(process)),
        }
    }

    async fn admit_counted(&self, deployment: DeploymentRef, standing: Standing) -> Result<Place, Error> {
        self.admit(deployment, standing).await.inspect_err(|_| {
            self.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    pub(crate) async fn admit(&self, deployment: DeploymentRef, standing: Standing) -> Result<Place, Error> {
        let wait = Duration::from_millis(self.shared.options.limits.wait_ms_max);
        let place = match standing {
            Standing::Outermost => timeout(wait, self.shared.outermost.take(deployment, 1)).await.ok(),
            Standing::Called => self.shared.called.try_take(deployment, 1),
        };
        place.ok_or_else(|| {
            Error::new(
                ErrorKind::TooManyRequests,
                "TooManyConcurrentRequests",
                "Too many Node.js actions are under way. Try again later.",
            )
        })
    }

    pub(crate) async fn until_shutdown<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Err(cancelled()),
            done = work => Ok(done),
        }
    }
}

impl Shared {
    pub(crate) fn key(&self, purpose: &Purpose) -> Key {
        Key {
            deployment: purpose.deployment,
            component: purpose.component.clone(),
            version: purpose.version,
            code: self.code.path(purpose.deployment, purpose.code, purpose.packages.as_ref()),
            environment: Arc::clone(&purpose.environment),
        }
    }

    /// Makes sure that the modules are in their folder.
    pub(crate) async fn code_folder(
        self: &Arc<Self>,
        purpose: &Purpose,
        modules: impl Future<Output = Result<Vec<ModuleSource>, Error>>,
    ) -> Result<(), Error> {
        let folder = self.code.path(purpose.deployment, purpose.code, purpose.packages.as_ref());
        if self.code.has(&folder) {
            return Ok(());
        }
        let packages = match &purpose.packages {
            Some(id) => Some(self.packages.installed(id).ok_or_else(|| {
                Error::internal(format!("the packages {id} of Node.js actions are not installed"))
            })?),
            None => None,
        };
        let modules = modules.await?;
        let spared: Vec<PathBuf> = self.processes.all().iter().map(|state| state.code.clone()).collect();
        let shared = Arc::clone(self);
        let write = move || shared.code.write(&folder, &modules, packages.as_deref(), &spared);
        tokio::task::spawn_blocking(write).await.expect("a panic ends the process")
    }

    /// Starts a process.
    pub(crate) async fn start(self: &Arc<Self>, key: Key) -> Result<Process, Error> {
        let limits = &self.options.limits;
        let program = self.program(key.version)?;
        while self.processes.count() >= limits.processes_max + limits.called_max && self.pool.end_oldest() {}
        let number = self.homes.fetch_add(1, Ordering::Relaxed);
        let home = self.options.folder.join("homes").join(number.to_string());
        let main = self.options.folder.join("program/main.mjs");
        let failed = |error: io::Error| not_started(error.to_string());
        std::fs::create_dir(&home).map_err(failed)?;
        let mut command = spawn::command(program, &self.options.path, &home);
        command.args(spawn::arguments(&main, limits.memory_bytes_max));
        let (input, to_node) = io::pipe().map_err(failed)?;
        let (from_node, output) = io::pipe().map_err(failed)?;
        spawn::isolate(&mut command, Some((input, output)));
        let child = self.spawner.spawn(command).await.map_err(|error| {
            let _ = std::fs::remove_dir(&home);
            failed(error)
        })?;
        let parts = Parts {
            child,
            input: pipe::Sender::from_owned_fd(to_node.into()).map_err(failed)?,
            output: pipe::Receiver::from_owned_fd(from_node.into()).map_err(failed)?,
            home,
        };
        let folder =
            key.code.to_str().ok_or_else(|| Error::internal("the folder's path is no Unicode"))?.to_owned();
        let environment = Arc::clone(&key.environment);
        let (process, kept) = Process::new(key, parts, &self.processes, *limits, &self.shutdown);
        self.tasks.spawn(kept);
        self.counts.started.fetch_add(1, Ordering::Relaxed);
        process.state.set_busy(true);
        let start = ToNode::Start {
            folder: &folder,
            environment: &environment,
            log_lines_max: limits.log_lines_max,
            log_line_chars_max: limits.log_line_chars_max,
            stack_frames_max: limits.stack_frames_max,
            operations_max: limits.operations_max,
            frame_bytes_max: limits.frame_bytes_max,
        };
        process.sender().send(&start, &[]).await;
        Ok(process)
    }

    pub(crate) fn program(&self, version: NodeVersion) -> Result<&PathBuf, Error> {
        self.programs.get(&version).ok_or_else(|| {
            let number = version.number();
            let message = format!(
                "Node.js {number} is needed for \"use node\" and was not found on this server: put it on the PATH, or name \
                 it in the configuration."
            );
            Error::bad_request("NodeNotFound", message)
        })
    }

    /// Lets go of a process whose call has ended. Its place is free when it has come to rest.
    fn over(self: &Arc<Self>, process: Process, outcome: Outcome, place: Place) -> Outcome {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let is_well = matches!(
            outcome,
            Ok(_) | Err(Failure::Threw(_) | Failure::Missing { .. } | Failure::ResultTooLarge { .. })
        );
        if !is_well {
            self.count_replaced();
            return outcome;
        }
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            match rest(process, &shared.options.limits).await {
                Some(process) if !shared.shutdown.is_cancelled() => shared.pool.put(process),
                _ => shared.count_replaced(),
            }
            drop(place);
        });
        outcome
    }

    fn too_slow(&self, process: Process) -> Outcome {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        self.count_replaced();
        let limit_ms = self.options.limits.action_ms_max;
        process.state.fail(Failure::TimedOut { limit_ms });
        Err(Failure::TimedOut { limit_ms })
    }

    fn count_replaced(&self) {
        self.counts.replaced.fetch_add(1, Ordering::Relaxed);
    }
}

/// Puts a process to sleep, if it can be used again: its event loop turns, and it has not kept too much memory.
async fn rest(mut process: Process, limits: &NodeLimits) -> Option<Process> {
    let resting = async {
        process.sender().send(&ToNode::Rest {}, &[]).await;
        loop {
            match process.receive().await {
                Some(Message::Frame(FromNode::Resting {}, _)) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    };
    if !timeout(Duration::from_millis(limits.rest_ms_max), resting).await.unwrap_or(false) {
        return None;
    }
    process.stop();
    let pid = process.state.pid;
    let look = move || {
        family::end_children(pid);
        family::of(pid, &family::everybody()).iter().map(|member| member.resident_bytes()).sum::<usize>()
    };
    let bytes = tokio::task::spawn_blocking(look).await.expect("a panic ends the process");
    process.state.set_busy(false);
    (bytes <= limits.rest_memory_bytes_max).then_some(process)
}

/// Ends processes that take more than they may, and those that nobody needs.
async fn watch(shared: Arc<Shared>) {
    let limits = shared.options.limits;
    let mut ticks = tokio::time::interval(Duration::from_millis(limits.watch_ms));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        shared.pool.tick(limits.idle_ms_max / limits.watch_ms);
        let mut busy = shared.processes.all();
        busy.retain(|state| state.is_busy());
        if busy.is_empty() {
            continue;
        }
        let look = move || {
            let everybody = family::everybody();
            for state in busy {
                let members = family::of(state.pid, &everybody);
                let bytes: usize = members.iter().map(family::Member::resident_bytes).sum();
                let children =
                    members.iter().filter(|member| member.pid != state.pid && !member.has_ended).count();
                if bytes > limits.memory_bytes_max {
                    state.fail(Failure::OutOfMemory { limit_bytes: limits.memory_bytes_max });
                } else if children > limits.children_max {
                    state.fail(Failure::TooManyProcesses { limit: limits.children_max });
                } else if members.iter().any(|member| member.pid == state.pid && member.has_ended) {
                    // Its pipes may be held open by what it has started.
                    state.end();
                }
            }
        };
        tokio::task::spawn_blocking(look).await.expect("a panic ends the process");
    }
}

fn cancelled() -> Error {
    let message = "The server ends, and the action with it. What it has done so far is done.";
    // It may have had effects, so it must not be sent again.
    Error { retry: Retry::Never, ..Error::new(ErrorKind::Overloaded, "ActionCancelled", message) }
}

pub(crate) fn not_started(reason: String) -> Error {
    Error::internal(format!("start Node.js: {reason}"))
}

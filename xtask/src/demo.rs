//! `make demo`: Tidemark with the chat example on it, pushed by the official CLI, its page served by Vite, and a bot
//! that writes, until Ctrl-C. Everything it makes is in one temporary folder that goes with it.

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
const SECONDS_BETWEEN_MESSAGES: &str = "3";

pub fn run(root: &Path) -> Result<()> {
    let folder = TemporaryFolder::new()?;
    let result = show(root, &folder.path);
    if interrupted() {
        println!("\nStopped. Nothing is left behind.");
        return Ok(());
    }
    result
}

fn show(root: &Path, folder: &Path) -> Result<()> {
    let mut processes = Processes::new();
    let chat = root.join("examples/chat");
    let started = Instant::now();

    println!("Starting Tidemark …");
    let backend = start_tidemark(&mut processes, folder)?;

    println!("Pushing examples/chat with the official CLI …");
    let mut push = Command::new(chat.join("node_modules/.bin/convex"));
    push.arg("deploy").current_dir(&chat).env("CI", "1").envs(backend.variables());
    processes.run("convex deploy", &mut push, &folder.join("push.log"))?;

    println!("Building its page …");
    let vite = chat.join("node_modules/.bin/vite");
    let page = folder.join("page");
    let mut build = Command::new(&vite);
    build
        .args(["build", "--emptyOutDir", "--outDir"])
        .arg(&page)
        .current_dir(&chat)
        .env("VITE_CONVEX_URL", &backend.url);
    processes.run("vite build", &mut build, &folder.join("build.log"))?;

    let page_port = free_port(PAGE_PORT)?;
    let log = File::create(folder.join("page.log"))?;
    let mut serve = Command::new(&vite);
    serve
        .args([
            "preview",
            "--strictPort",
            "--host",
            "127.0.0.1",
            "--port",
            &page_port.to_string(),
            "--outDir",
        ])
        .arg(&page);
    serve.current_dir(&chat).stdout(log.try_clone()?).stderr(log);
    processes.start("vite preview", &mut serve)?;
    let deadline = Instant::now() + START_TIME_MAX;
    while TcpStream::connect(("127.0.0.1", page_port)).is_err() {
        processes.wait_a_moment()?;
        ensure!(Instant::now() < deadline, "the page is not served after {} s", START_TIME_MAX.as_secs());
    }

    println!();
    println!("  The chat     http://127.0.0.1:{page_port}/   (open it in two windows)");
    println!("  Tidemark     {}   (its log and data: {})", backend.url, folder.display());
    println!("  Ready after  {:.1} s. Ctrl-C stops everything.", started.elapsed().as_secs_f32());
    println!();
    let mut bot = Command::new("node");
    bot.args(["bot.mjs", SECONDS_BETWEEN_MESSAGES]).current_dir(&chat).env("CONVEX_URL", &backend.url);
    processes.start("the bot", &mut bot)?;
    loop {
        processes.wait_a_moment()?;
    }
}

/// Where a Tidemark serves, and the key to administer it.
struct Backend {
    url: String,
    admin_key: String,
}

impl Backend {
    /// What the official CLI reads.
    fn variables(&self) -> [(&'static str, &str); 2] {
        [("CONVEX_SELF_HOSTED_URL", &self.url), ("CONVEX_SELF_HOSTED_ADMIN_KEY", &self.admin_key)]
    }

    fn parse(text: &str) -> Result<Self> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches(['"', '\'']).to_string())
                .with_context(|| format!("{name} is not in the env file"))
        };
        Ok(Self { url: value("CONVEX_SELF_HOSTED_URL")?, admin_key: value("CONVEX_SELF_HOSTED_ADMIN_KEY")? })
    }
}

fn start_tidemark(processes: &mut Processes, folder: &Path) -> Result<Backend> {
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

struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tidemark-demo-{}", std::process::id()));
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

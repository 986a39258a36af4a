//! Installs what building and testing need and this machine does not have: Debian packages, and the packages of the
//! isolate's platform, the runner, the console, the examples and the tests from npm and PyPI, as lock files name them. Does nothing, quickly,
//! where nothing is missing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::demo::Example;

/// What is set up for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Building, and an example.
    Demo(Example),
    /// The tests as well.
    Everything,
    /// What `make cluster-tools` needs beyond everything: programs that build images and run containers.
    ClusterTools,
}

/// Debian's packages, what each is for, and a file or program that shows it is there however it was installed.
const PACKAGES: [(&str, &str, Proof); 5] = [
    ("g++", "links RocksDB", Proof::Program("g++")),
    ("clang-19", "compiles RocksDB and the JavaScript engine", Proof::Program("clang++-19")),
    ("lld-19", "links the JavaScript engine", Proof::Program("wasm-ld-19")),
    ("libclang-rt-19-dev-wasm32", "links the JavaScript engine", Proof::Package),
    ("libclang-19-dev", "reads RocksDB's headers", Proof::Package),
];
const TEST_PACKAGES: [(&str, &str, Proof); 4] = [
    ("chromium", "shows the chat page to the tests", Proof::Program("chromium")),
    ("iproute2", "gives each node of a cluster under faults a network of its own", Proof::Program("ip")),
    ("iptables", "cuts such nodes off", Proof::Program("iptables")),
    (
        "python3-venv",
        "runs the official Python client and a server that speaks S3 in the tests",
        Proof::Program("python3"),
    ),
];
/// podman 4.3 and runc run containers where there is neither systemd nor another cgroup than the first version's.
const CONTAINER_PACKAGES: [(&str, &str, Proof); 9] = [
    ("buildah", "builds the image", Proof::Program("buildah")),
    ("podman", "runs containers and pods", Proof::Program("podman")),
    ("runc", "runs containers for podman", Proof::Program("runc")),
    ("catatonit", "holds a pod's containers together", Proof::Package),
    ("containernetworking-plugins", "connects containers", Proof::Package),
    ("golang-github-containernetworking-plugin-dnsname", "gives containers names", Proof::Package),
    ("dnsmasq-base", "resolves these names", Proof::Package),
    ("iptables", "connects containers", Proof::Package),
    ("mmdebstrap", "makes the image that ours stands on", Proof::Program("mmdebstrap")),
];

enum Proof {
    Program(&'static str),
    Package,
}

/// A Debian package that is unpacked, not installed: its server would start with the machine, and pages come along that nobody opens.
const PROMETHEUS: &str = "prometheus";
/// Where its programs are for the tests of metrics, alarms and dashboards.
const PROMETHEUS_FOLDER: &str = "tests/end-to-end/.prometheus";
const PROMETHEUS_PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// Folders with a `requirements.txt`; what it names is installed in their `.venv`.
const TEST_PYTHON_FOLDERS: [&str; 5] = [
    "examples/grpc/python",
    "tests/end-to-end/airbyte",
    "tests/end-to-end/clients",
    "tests/end-to-end/s3",
    "tests/helm",
];

/// Folders with a `package-lock.json`.
const NODE_FOLDERS: [&str; 4] = ["crates/console", "crates/intl", "crates/isolate", "services/runner"];
const TEST_NODE_FOLDERS: [&str; 5] = [
    Example::Chat.folder(),
    Example::Studio.folder(),
    "examples/grpc/node",
    "tests/end-to-end",
    "tests/end-to-end/components-app",
];

const NODE_MAJOR_MIN: u32 = 20;

pub fn run(root: &Path, purpose: Purpose) -> Result<()> {
    let (for_tests, needed) = match purpose {
        Purpose::Demo(example) => (false, vec![example.folder()]),
        Purpose::Everything => (true, TEST_NODE_FOLDERS.to_vec()),
        Purpose::ClusterTools => return install_debian_packages(CONTAINER_PACKAGES.iter()),
    };
    install_debian_packages(PACKAGES.iter().chain(TEST_PACKAGES.iter().filter(|_| for_tests)))?;
    ensure_node()?;
    for folder in NODE_FOLDERS.into_iter().chain(needed) {
        install_node_packages(&root.join(folder), folder)?;
    }
    for folder in TEST_PYTHON_FOLDERS.iter().filter(|_| for_tests) {
        install_python_packages(&root.join(folder), folder)?;
    }
    if for_tests { unpack_prometheus(&root.join(PROMETHEUS_FOLDER)) } else { Ok(()) }
}

fn install_debian_packages<'p>(
    packages: impl Iterator<Item = &'p (&'static str, &'static str, Proof)>,
) -> Result<()> {
    let missing: Vec<_> = packages.filter(|(name, _, proof)| !is_there(name, proof)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for (name, purpose, _) in &missing {
        eprintln!("setup: {name} is missing ({purpose})");
    }
    let names: Vec<&str> = missing.iter().map(|(name, ..)| *name).collect();
    let by_hand = format!("install them with: apt-get install {}", names.join(" "));
    ensure_apt()?;
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(&names);
    // The package lists of a new machine are often missing or old.
    if !(apt_as_root(&["update", "-q"], &by_hand)? && apt_as_root(&install, &by_hand)?) {
        bail!("apt-get could not install them; {by_hand}");
    }
    Ok(())
}

fn ensure_apt() -> Result<()> {
    ensure!(
        has_program("apt-get"),
        "this is no Debian system, so setup can't install packages; the list above names what is needed"
    );
    Ok(())
}

/// Whether apt-get did it. An error, with what a person can do `by_hand`, where there are no rights for it.
fn apt_as_root(arguments: &[&str], by_hand: &str) -> Result<bool> {
    // SAFETY: geteuid only reads the process's own id.
    let is_root = unsafe { libc::geteuid() } == 0;
    let quietly_root = is_root || succeeds(Command::new("sudo").args(["-n", "true"]));
    ensure!(quietly_root, "neither root nor sudo without a password; {by_hand}");
    let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root {
        command.arg("apt-get");
    }
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Ok(succeeds(&mut command))
}

/// apt holds what it downloads against the signed lists of packages, as if it installed it.
fn unpack_prometheus(folder: &Path) -> Result<()> {
    if PROMETHEUS_PROGRAMS.iter().all(|program| folder.join(program).is_file()) {
        return Ok(());
    }
    eprintln!("setup: {PROMETHEUS} is missing (checks metrics, alarms and dashboards in the tests)");
    ensure_apt()?;
    let fresh = folder.with_extension("fresh");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("remove {}", fresh.display()))?;
    }
    fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
    let download = || {
        // As root, it would warn that its own user can't write here.
        let words = ["download", "-q", "-o", "APT::Sandbox::User=root", PROMETHEUS];
        let quiet = Stdio::null;
        succeeds(Command::new("apt-get").args(words).current_dir(&fresh).stdin(quiet()).stdout(quiet()))
    };
    let by_hand = format!("put its programs into {}", folder.display());
    if !(download() || apt_as_root(&["update", "-q"], &by_hand)? && download()) {
        bail!("apt-get could not download it; {by_hand}");
    }
    let downloaded = fs::read_dir(&fresh)?.next().context("apt-get has downloaded nothing")??.path();
    ensure!(
        succeeds(Command::new("dpkg-deb").arg("--extract").arg(&downloaded).arg(&fresh)),
        "dpkg-deb can't unpack {}",
        downloaded.display()
    );
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for program in PROMETHEUS_PROGRAMS {
        let unpacked = fresh.join("usr/bin").join(program);
        fs::rename(&unpacked, folder.join(program))
            .with_context(|| format!("find {program} in {PROMETHEUS}"))?;
    }
    fs::remove_dir_all(&fresh).with_context(|| format!("remove {}", fresh.display()))
}

fn is_there(package: &str, proof: &Proof) -> bool {
    match proof {
        Proof::Program(program) => has_program(program),
        Proof::Package => {
            let query = Command::new("dpkg-query")
                .args(["-W", "-f", "${Status}", package])
                .stderr(Stdio::null())
                .output();
            query.is_ok_and(|output| output.stdout == b"install ok installed")
        }
    }
}

fn has_program(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

fn ensure_node() -> Result<()> {
    let needed = format!("Node.js {NODE_MAJOR_MIN} or newer, with npm, is needed for the official tools");
    let output = Command::new("node").arg("--version").output().context(needed.clone())?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_string();
    let major = version.trim_start_matches('v').split('.').next().and_then(|part| part.parse::<u32>().ok());
    ensure!(major.is_some_and(|major| major >= NODE_MAJOR_MIN), "{needed}; this is {version}");
    ensure!(has_program("npm"), "{needed}; npm is missing");
    Ok(())
}

fn install_node_packages(folder: &Path, name: &str) -> Result<()> {
    if is_newer(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
        return Ok(());
    }
    eprintln!("setup: npm packages of {name}");
    // `--ignore-scripts`: none of the packages needs its own, they bring what is prebuilt as packages of their own.
    let mut install = Command::new("npm");
    install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    ensure!(succeeds(&mut install), "`npm ci` failed in {name}");
    Ok(())
}

fn install_python_packages(folder: &Path, name: &str) -> Result<()> {
    let (wanted, installed) = (folder.join("requirements.txt"), folder.join(".venv/installed"));
    if is_newer(&installed, &wanted) {
        return Ok(());
    }
    eprintln!("setup: Python packages of {name}");
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear", ".venv"]).current_dir(folder);
    ensure!(succeeds(&mut make), "`python3 -m venv` failed in {name}: Debian's package python3-venv has it");
    let mut install = Command::new(folder.join(".venv/bin/python"));
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        // What the file names and nothing else, and no code of a package runs to install it.
        .args(["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", "requirements.txt"])
        .current_dir(folder)
        .stdin(Stdio::null());
    ensure!(succeeds(&mut install), "`pip install` failed in {name}");
    fs::write(&installed, "").with_context(|| format!("write {}", installed.display()))
}

fn is_newer(path: &Path, than: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let installed = changed(path);
    installed.is_some() && installed >= changed(than)
}

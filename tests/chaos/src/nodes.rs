//! The nodes: their configurations and certificates, their processes, and what the operator's tool says of them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::Ipv4Addr,
    os::unix::{
        fs::OpenOptionsExt as _, fs::PermissionsExt as _, process::CommandExt as _,
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rand::{RngExt as _, rngs::StdRng};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpStream, time::sleep};

use crate::{
    Options,
    findings::{Promise, fail},
    network::{self, SLOTS, ZONES, address_of, namespace_of, zone_of},
    world::{INTERNAL_PORT, Place, World},
};

const NAME: &str = "chaos";
const START_TIME_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);
const ASK_TIME_MAX: Duration = Duration::from_secs(30);
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
const DISK_BYTES: u64 = 2 << 30;
/// A log and a store that begin new files every few seconds and keep little: so a run of minutes has flushes, purges and states that
/// are sent as a day has them, and a disk that is full is noticed soon, for little is reserved on it.
const LIMITS: &str = "[limits.store]
log_write_buffer_bytes_max = 262_144
unflushed_ms_max = 4_000
log_entries_kept = 200
log_bytes_kept_max = 524_288
";
/// The sync that fails, counted from when it is wanted.
const SYNCS_MAX: u64 = 12;

pub struct Node {
    pub number: u64,
    pub slot: usize,
    /// Its configuration, its log, and what faults need.
    folder: PathBuf,
    data: PathBuf,
    child: Option<Child>,
}

pub struct Cluster {
    world: Arc<World>,
    pub program: PathBuf,
    folder: PathBuf,
    authority: Authority,
    preload: String,
    pub nodes: Vec<Node>,
    last_number: u64,
    random: StdRng,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    pub groups: Vec<Group>,
    pub deployments: Vec<Deployment>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    pub group: u32,
    pub leader: Option<u64>,
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub node: u64,
    pub voter: bool,
    pub entries_behind: Option<u64>,
    pub silent_ms: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Deployment {
    pub group: u32,
}

impl Status {
    /// Who leads the group of the app's data.
    pub fn leader(&self) -> Option<u64> {
        let group = self.deployments.first()?.group;
        self.groups.iter().find(|it| it.group == group)?.leader
    }

    /// What of it keeps it from being settled: all have heard of a leader, and none is far behind.
    pub fn unsettled(&self) -> Option<String> {
        for group in &self.groups {
            let Some(leader) = group.leader else {
                return Some(format!("group {} has no leader", group.group));
            };
            for member in group.members.iter().filter(|member| member.node != leader) {
                let behind = member.entries_behind.unwrap_or(u64::MAX);
                let silent_ms = member.silent_ms.unwrap_or(u64::MAX);
                if behind > 500 || silent_ms > 2_000 || !member.voter {
                    let Member { node, voter, entries_behind, silent_ms } = member;
                    return Some(format!(
                        "node {node} of group {}: behind by {entries_behind:?}, silent for {silent_ms:?} ms, votes: {voter}",
                        group.group
                    ));
                }
            }
        }
        None
    }
}

impl Cluster {
    /// Makes folders, certificates and the libraries that are preloaded; starts nothing.
    pub async fn prepare(options: &Options, world: Arc<World>, folder: &Path) -> Result<Cluster> {
        let program = std::path::absolute(&options.tidemark)?;
        ensure!(program.exists(), "there is no program {}", program.display());
        let authority = Authority::new()?;
        fs::write(folder.join("ca.pem"), &authority.pem)?;
        let mut secret = [0; 32];
        rand::fill(&mut secret[..]);
        private(&folder.join("secret"), &secret)?;
        network::mount_disk(&folder.join("disk"), &folder.join(ZONES[2]), DISK_BYTES)
            .context("make the last zone's disk")?;
        let faults = options.root.join("tests/end-to-end/faults/fail-sync.c");
        let clock = options.root.join("tests/chaos/preload/clock.c");
        let mut libraries = Vec::new();
        for source in [faults, clock] {
            let library =
                folder.join(source.file_stem().context("a source has a name")?).with_extension("so");
            let output = Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .arg(&library)
                .arg(&source)
                .output()?;
            ensure!(
                output.status.success(),
                "cc {}: {}",
                source.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            libraries.push(library.display().to_string());
        }
        let mut cluster = Cluster {
            program,
            folder: folder.to_owned(),
            authority,
            preload: libraries.join(":"),
            nodes: Vec::new(),
            last_number: 0,
            random: rand::make_rng(),
            world,
        };
        for slot in 0..ZONES.len() {
            cluster.add(slot)?;
        }
        cluster.tell_places();
        Ok(cluster)
    }

    /// A node under a new number, which is not started.
    fn add(&mut self, slot: usize) -> Result<u64> {
        self.last_number += 1;
        let number = self.last_number;
        let name = format!("node-{number}");
        let (folder, data) = (self.folder.join(&name), self.folder.join(zone_of(slot)).join(&name));
        fs::create_dir_all(&folder)?;
        fs::create_dir_all(self.folder.join(zone_of(slot)))?;
        fs::write(folder.join("clock"), [0; 8])?;
        self.nodes.push(Node { number, slot, folder: folder.clone(), data: data.clone(), child: None });
        let (certificate, key) = self.authority.sign("all", number)?;
        fs::write(folder.join("certificate.pem"), certificate)?;
        private(&folder.join("key.pem"), key.as_bytes())?;
        let at = |name: &str| json!(folder.join(name)).to_string();
        let shared = |name: &str| json!(self.folder.join(name)).to_string();
        let blobs = json!(format!("file://{}", self.folder.join("blobs").display()));
        let text = [
            format!("data_dir = {}\nblobs_url = {blobs}", json!(data)),
            format!("host = {}\n", json!(address_of(slot).to_string())),
            format!("[node]\nid = {number}\nzone = {}\n", json!(zone_of(slot))),
            format!("[cluster]\nname = {}\npeers = {}", json!(NAME), json!(self.peers())),
            format!("secret_file = {}\n", shared("secret")),
            format!(
                "[tls]\nca = {}\ncertificate = {}\nkey = {}\n",
                shared("ca.pem"),
                at("certificate.pem"),
                at("key.pem")
            ),
            LIMITS.to_owned(),
        ];
        fs::write(folder.join("tidemark.toml"), text.join("\n"))?;
        Ok(number)
    }

    /// The first three are known before there are others.
    fn peers(&self) -> Vec<String> {
        let first = (0..ZONES.len()).map(address_of);
        let known: Vec<Ipv4Addr> =
            if self.nodes.len() <= ZONES.len() && self.last_number <= ZONES.len() as u64 {
                first.collect()
            } else {
                self.nodes.iter().map(|node| address_of(node.slot)).collect()
            };
        known.iter().map(|address| format!("{address}:{INTERNAL_PORT}")).collect()
    }

    /// Clients call all of these from now on.
    pub fn tell_places(&self) {
        let place = |node: &Node| Place { node: node.number, address: address_of(node.slot) };
        self.world.set_places(self.nodes.iter().map(place).collect());
    }

    pub fn node(&self, number: u64) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .with_context(|| format!("there is no node {number}"))
    }

    pub fn node_mut(&mut self, number: u64) -> Result<&mut Node> {
        self.nodes
            .iter_mut()
            .find(|node| node.number == number)
            .with_context(|| format!("there is no node {number}"))
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.number).collect()
    }

    pub fn slot(&self, number: u64) -> Result<usize> {
        Ok(self.node(number)?.slot)
    }

    pub async fn start_all(&mut self) -> Result<()> {
        for number in self.numbers() {
            self.start(number)?;
        }
        let deadline = Instant::now() + START_TIME_MAX;
        for number in self.numbers() {
            let env_file = self.node(number)?.data.join("env");
            while !env_file.exists() {
                ensure!(
                    Instant::now() < deadline,
                    "node {number} does not serve after {START_TIME_MAX:?}; see its log"
                );
                if let Some(status) = self.node_mut(number)?.ended()? {
                    bail!("node {number} has ended at its start: {status}; see its log");
                }
                sleep(LOOK).await;
            }
            let text = fs::read_to_string(&env_file)?;
            let line = text.lines().find_map(|line| line.strip_prefix("CONVEX_SELF_HOSTED_ADMIN_KEY="));
            let key = line.context("the file env has the admin key")?.trim_matches(['\'', '"']).to_owned();
            let known = self.world.admin_key.get_or_init(|| key.clone());
            ensure!(*known == key, "node {number} has an admin key of its own");
        }
        Ok(())
    }

    /// Starts the process; it need not serve yet.
    pub fn start(&mut self, number: u64) -> Result<()> {
        let program = self.program.clone();
        self.start_as(number, &program)
    }

    /// The caller is on the thread that lives as long as the run: the process ends with it.
    pub fn start_as(&mut self, number: u64, program: &Path) -> Result<()> {
        let sync = self.random.random_range(1..=SYNCS_MAX);
        let preload = self.preload.clone();
        let node = self.node_mut(number)?;
        let log = OpenOptions::new().create(true).append(true).open(node.folder.join("log"))?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace_of(node.slot)]).arg(program).arg("serve");
        command.arg("--config").arg(node.folder.join("tidemark.toml"));
        command.env("LD_PRELOAD", preload).env("CHAOS_CLOCK", node.folder.join("clock"));
        command.env("FAIL_SYNC_ARMED", node.armed()).env("FAIL_SYNC_NUMBER", sync.to_string());
        command.env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // SAFETY: prctl is allowed between fork and exec, and takes no pointer here.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        node.child = Some(command.spawn().context("start a node")?);
        Ok(())
    }

    /// Waits until the node takes connections of others.
    pub async fn wait_until_up(&mut self, number: u64) -> Result<()> {
        let address = address_of(self.slot(number)?);
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            let connect = TcpStream::connect((address, INTERNAL_PORT));
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(500), connect).await {
                return Ok(());
            }
            if let Some(status) = self.node_mut(number)?.ended()? {
                fail(
                    &self.world,
                    Promise::Processes,
                    format!("node {number} has ended at its start: {}", told(status)),
                );
                sleep(Duration::from_secs(1)).await;
                self.start(number)?;
            }
            ensure!(Instant::now() < deadline, "node {number} takes no connections after {START_TIME_MAX:?}");
            sleep(LOOK).await;
        }
    }

    pub fn signal(&self, number: u64, signal: i32) -> Result<()> {
        let child =
            self.node(number)?.child.as_ref().with_context(|| format!("node {number} does not run"))?;
        // SAFETY: a call without pointers; the process has not been waited for, so the number is still its own.
        unsafe { libc::kill(child.id() as i32, signal) };
        Ok(())
    }

    pub fn kill(&mut self, number: u64) -> Result<()> {
        let node = self.node_mut(number)?;
        if let Some(child) = &mut node.child {
            child.kill()?;
            child.wait()?;
        }
        node.child = None;
        Ok(())
    }

    /// Asks a node to stop, and waits until it has.
    pub async fn stop(&mut self, number: u64) -> Result<()> {
        if self.node(number)?.child.is_none() {
            return Ok(());
        }
        self.signal(number, libc::SIGTERM)?;
        let deadline = Instant::now() + STOP_TIME_MAX;
        loop {
            if let Some(status) = self.node_mut(number)?.ended()? {
                if !status.success() {
                    fail(
                        &self.world,
                        Promise::Processes,
                        format!("node {number} stopped with {}", told(status)),
                    );
                }
                return Ok(());
            }
            if Instant::now() > deadline {
                fail(
                    &self.world,
                    Promise::Processes,
                    format!("node {number} does not stop in {STOP_TIME_MAX:?}"),
                );
                return self.kill(number);
            }
            sleep(LOOK).await;
        }
    }

    pub async fn stop_all(&mut self) {
        for number in self.numbers() {
            if let Err(error) = self.stop(number).await {
                fail(&self.world, Promise::Processes, format!("node {number} can't be stopped: {error:#}"));
            }
        }
    }

    /// Starts what has ended although nothing was to end it.
    pub async fn look_after(&mut self) -> Result<()> {
        for number in self.numbers() {
            self.world.findings.checked(Promise::Processes, 1);
            let node = self.node_mut(number)?;
            if node.child.is_some()
                && let Some(status) = node.ended()?
            {
                fail(
                    &self.world,
                    Promise::Processes,
                    format!("node {number} has ended by itself: {}", told(status)),
                );
                self.start(number)?;
                self.wait_until_up(number).await?;
            }
        }
        Ok(())
    }

    pub fn set_clock(&self, number: u64, nanoseconds: i64) -> Result<()> {
        // In place: it is mapped.
        let mut file = OpenOptions::new().write(true).open(self.node(number)?.folder.join("clock"))?;
        Ok(file.write_all(&nanoseconds.to_le_bytes())?)
    }

    /// A node in the same zone that takes another's place: started, and no member.
    pub async fn start_spare(&mut self, of: u64) -> Result<u64> {
        let slot = (self.slot(of)? + ZONES.len()) % SLOTS;
        let number = self.add(slot)?;
        self.start(number)?;
        self.wait_until_up(number).await?;
        Ok(number)
    }

    /// Ends a node that is no member any more, and wipes its disk.
    pub fn forget(&mut self, number: u64) -> Result<()> {
        self.kill(number)?;
        let _ = fs::remove_dir_all(&self.node(number)?.data);
        self.nodes.retain(|node| node.number != number);
        self.tell_places();
        Ok(())
    }

    /// Wipes a node's disk; it does not run.
    pub fn wipe(&self, number: u64) -> Result<()> {
        fs::remove_dir_all(&self.node(number)?.data).context("wipe a node's disk")
    }

    pub fn ballast(&self) -> PathBuf {
        self.folder.join(ZONES[2]).join("ballast")
    }

    pub fn logs(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut logs = Vec::new();
        for number in 1..=self.last_number {
            let path = self.folder.join(format!("node-{number}")).join("log");
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            logs.push((path, text));
        }
        Ok(logs)
    }

    /// `tidemark cluster …`, asked of a node.
    pub async fn operate(&self, asked: u64, words: &[String], time_max: Duration) -> Result<String> {
        let node = self.node(asked)?;
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("cluster").args(words).arg("--config").arg(node.folder.join("tidemark.toml"));
        command.arg("--address").arg(format!("{}:{INTERNAL_PORT}", address_of(node.slot)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(time_max, command.output())
            .await
            .with_context(|| format!("no answer to {words:?} in {time_max:?}"))??;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What the first of these nodes says that answers.
    pub async fn status(&self, of: &[u64]) -> Result<Status> {
        let mut last = None;
        for number in of {
            match self.operate(*number, &["status".to_owned(), "--json".to_owned()], ASK_TIME_MAX).await {
                Ok(text) => return Ok(serde_json::from_str(&text)?),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("nobody is asked")?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Node {
    pub fn armed(&self) -> PathBuf {
        self.folder.join("armed")
    }

    /// What it has failed to sync.
    pub fn failed_to_sync(&self) -> Option<PathBuf> {
        fs::read_to_string(self.folder.join("armed.failed")).ok().map(PathBuf::from)
    }

    /// Whether this is of its log and store, and not a file that a client has sent.
    pub fn is_data(&self, path: &Path) -> bool {
        path.starts_with(&self.data)
    }

    pub fn disarm(&self) {
        let _ = fs::remove_file(self.armed());
        let _ = fs::remove_file(self.folder.join("armed.failed"));
    }

    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// How it has ended, once: afterwards it does not run.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }
}

pub fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "nothing told".to_owned(),
    }
}

fn private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(File::set_permissions(&file, fs::Permissions::from_mode(0o600))?)
}

/// Who signs the certificates of this run's cluster.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Result<Authority> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "chaos");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        set_validity(&mut parameters);
        let key = KeyPair::generate()?;
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(parameters, key), pem })
    }

    /// A process's certificate and key.
    fn sign(&self, roles: &str, node: u64) -> Result<(String, String)> {
        let mut parameters = CertificateParams::default();
        parameters
            .subject_alt_names
            .push(SanType::URI(format!("tidemark://{NAME}/{roles}/{node}").try_into()?));
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        set_validity(&mut parameters);
        let key = KeyPair::generate()?;
        Ok((parameters.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

fn set_validity(parameters: &mut CertificateParams) {
    let now = time::OffsetDateTime::now_utc();
    parameters.not_before = now - time::Duration::days(2);
    parameters.not_after = now + time::Duration::days(30);
}

//! `make cluster`: three zones as processes on this machine, with certificates, a secret and blobs that they share, until
//! Ctrl-C. Everything it makes is in one temporary folder that goes with it.
//!
//! `xtask cluster prepare FOLDER` makes what such processes need and starts none: tests do that themselves.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;

use crate::demo::{Backend, TemporaryFolder, tidemark_binary};
use crate::processes::{Processes, interrupted};

const START_TIME_MAX: Duration = Duration::from_secs(120);
const NAME: &str = "local";
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
const GATEWAY: &str = "gateway";
/// The first port of the first zone, as people know it; its others follow, and those of the other zones are ten and twenty above them,
/// where these are free.
const FIRST_PORT: u16 = 3210;
/// Among these is the first port of a cluster that is only prepared: such ones run side by side. They are below those that the system
/// gives to whoever connects, which would take a node's while it is down, and above 10080, which `fetch` refuses in every browser.
const FIRST_PORTS_PREPARED: Range<u16> = 10_100..30_000;
const PORTS_APART: u16 = 10;
const DAYS: i64 = 365;

pub fn run(root: &Path, prepared: Option<PathBuf>) -> Result<()> {
    if let Some(folder) = prepared {
        let folder = std::path::absolute(folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let Range { start, end } = FIRST_PORTS_PREPARED;
        let [one, other, ..] = secret_bytes()?;
        prepare(&folder, start + u16::from_be_bytes([one, other]) % (end - start))?;
        return Ok(());
    }
    let folder = TemporaryFolder::new("cluster")?;
    let result = show(root, &folder.path);
    if interrupted() {
        println!("\nStopped. Nothing is left behind.");
        return Ok(());
    }
    result
}

fn show(root: &Path, folder: &Path) -> Result<()> {
    let mut processes = Processes::new();
    let started = Instant::now();
    println!("Making certificates, a secret and a configuration for each of {} zones …", ZONES.len());
    let nodes = prepare(folder, FIRST_PORT)?;
    let program = tidemark_binary()?;
    for node in &nodes {
        println!("Starting {} …", node.zone);
        processes.start(node.zone, &mut node.command(&program)?)?;
    }
    println!("Waiting until they have elected a leader …");
    let mut backends = Vec::new();
    for node in &nodes {
        backends.push(wait_until_served(&mut processes, node)?);
    }
    println!();
    for (node, backend) in nodes.iter().zip(&backends) {
        println!("  {}      {}   (its log: {})", node.zone, backend.url, node.log().display());
    }
    println!("  Admin key   {}", backends[0].admin_key);
    println!();
    println!(
        "  An app works with any of them. Put these two lines into its .env.local, then run `npx convex dev`:"
    );
    println!();
    println!("    CONVEX_SELF_HOSTED_URL='{}'", backends[0].url);
    println!("    CONVEX_SELF_HOSTED_ADMIN_KEY='{}'", backends[0].admin_key);
    println!();
    println!("  Who leads, and how far the others are:");
    println!();
    let shown = program.strip_prefix(root).unwrap_or(&program);
    println!("    {} cluster status --config {}", shown.display(), nodes[0].config.display());
    println!();
    println!("  Ready after {:.1} s. Ctrl-C stops everything.", started.elapsed().as_secs_f32());
    println!();
    loop {
        processes.wait_a_moment()?;
    }
}

/// A process that is to run.
struct Node {
    zone: &'static str,
    folder: PathBuf,
    config: PathBuf,
}

impl Node {
    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn command(&self, program: &Path) -> Result<Command> {
        let log = File::create(self.log())?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&self.config);
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

fn wait_until_served(processes: &mut Processes, node: &Node) -> Result<Backend> {
    let env_file = node.folder.join("data/env");
    let printed = || fs::read_to_string(node.log()).unwrap_or_default();
    let deadline = Instant::now() + START_TIME_MAX;
    while !env_file.exists() {
        processes.wait_a_moment().with_context(printed)?;
        let late =
            || format!("{} does not serve after {} s:\n{}", node.zone, START_TIME_MAX.as_secs(), printed());
        ensure!(Instant::now() < deadline, late());
    }
    Backend::parse(&fs::read_to_string(&env_file)?)
}

/// What all processes of the cluster have in common.
struct Shared {
    authority: Authority,
    ca: PathBuf,
    secret: PathBuf,
    blobs: PathBuf,
    peers: Vec<String>,
}

/// Makes the folders, certificates, ports and configurations, and `cluster.json`, which names them: of a node in each zone, and of
/// a gateway without a replica of its own, which nobody starts but a test.
fn prepare(folder: &Path, first_port: u16) -> Result<Vec<Node>> {
    let (secret, ca) = (folder.join("secret"), folder.join("ca.pem"));
    private(&secret, &secret_bytes()?)?;
    let authority = Authority::new()?;
    fs::write(&ca, &authority.pem)?;
    let ports = free_ports(first_port)?;
    let internal = |ports: &[u16; 5]| format!("127.0.0.1:{}", ports[3]);
    let peers = ports.iter().take(ZONES.len()).map(internal).collect();
    let shared = Shared { authority, ca, secret, blobs: folder.join("blobs"), peers };
    let mut nodes = Vec::new();
    let mut listed = Vec::new();
    for (index, name) in ZONES.into_iter().chain([GATEWAY]).enumerate() {
        let number = index as u64 + 1;
        let node =
            Node { zone: name, folder: folder.join(name), config: folder.join(name).join("tidemark.toml") };
        let [api, site, grpc, internal, metrics] = ports[index];
        let (roles, zone) = if name == GATEWAY { ("gateway", ZONES[0]) } else { ("all", name) };
        shared.configure(&node, (number, roles, zone), ports[index])?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        listed.push(json!({
            "node": number, "zone": zone, "roles": roles, "config": node.config, "data": node.folder.join("data"),
            "url": url(api), "siteUrl": url(site), "grpcUrl": url(grpc), "metricsUrl": format!("{}/metrics", url(metrics)),
            "internal": format!("127.0.0.1:{internal}"),
        }));
        nodes.push(node);
    }
    let gateway = listed.pop();
    nodes.truncate(ZONES.len());
    let all = json!({ "name": NAME, "nodes": listed, "gateway": gateway });
    fs::write(folder.join("cluster.json"), format!("{all:#}\n"))?;
    Ok(nodes)
}

impl Shared {
    fn configure(
        &self,
        node: &Node,
        (number, roles, zone): (u64, &str, &str),
        ports: [u16; 5],
    ) -> Result<()> {
        let own = &node.folder;
        fs::create_dir_all(own)?;
        let (certificate, key) = (own.join("certificate.pem"), own.join("key.pem"));
        let (signed, its_key) = self.authority.sign(number, roles)?;
        fs::write(&certificate, signed)?;
        private(&key, its_key.as_bytes())?;
        let [api, site, grpc, internal, metrics] = ports;
        // JSON's strings and lists are TOML's as well.
        let text = [
            format!("data_dir = {}", json!(own.join("data"))),
            format!("roles = {}", json!([roles])),
            format!("blobs_url = {}", json!(format!("file://{}", self.blobs.display()))),
            format!("port = {api}\nsite_port = {site}\ngrpc_port = {grpc}"),
            format!("internal_port = {internal}\nmetrics_port = {metrics}"),
            format!("\n[node]\nid = {number}\nzone = {}", json!(zone)),
            format!("\n[cluster]\nname = {}\npeers = {}", json!(NAME), json!(self.peers)),
            format!("secret_file = {}", json!(self.secret)),
            format!("\n[tls]\nca = {}\ncertificate = {}", json!(self.ca), json!(certificate)),
            format!("key = {}\n", json!(key)),
        ];
        fs::write(&node.config, text.join("\n")).with_context(|| format!("write {}", node.config.display()))
    }
}

/// Per process a free port for each purpose; all are held until all are known.
fn free_ports(first: u16) -> Result<Vec<[u16; 5]>> {
    let mut held = Vec::new();
    let mut ports = Vec::new();
    for zone in 0..=ZONES.len() as u16 {
        let mut of_zone = [0; 5];
        for (port, wanted) in of_zone.iter_mut().zip(first + zone * PORTS_APART..) {
            let listener = TcpListener::bind(("127.0.0.1", wanted))
                .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
                .context("find a free port")?;
            *port = listener.local_addr()?.port();
            held.push(listener);
        }
        ports.push(of_zone);
    }
    Ok(ports)
}

fn secret_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes).context("read randomness")?;
    Ok(bytes)
}

/// Nobody else may read it.
fn private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes).with_context(|| format!("write {}", path.display()))
}

/// Who signs the certificates of the cluster. Its key is kept nowhere.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Result<Authority> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "tidemark local cluster");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        valid_from_now(&mut parameters);
        let key = KeyPair::generate()?;
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(parameters, key), pem })
    }

    /// A certificate of a process, and its key.
    fn sign(&self, node: u64, roles: &str) -> Result<(String, String)> {
        let mut parameters = CertificateParams::default();
        let name = format!("tidemark://{NAME}/{roles}/{node}");
        parameters.subject_alt_names.push(SanType::URI(name.try_into()?));
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        valid_from_now(&mut parameters);
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn valid_from_now(parameters: &mut CertificateParams) {
    let now = time::OffsetDateTime::now_utc();
    parameters.not_before = now - time::Duration::days(1);
    parameters.not_after = now + time::Duration::days(DAYS);
}

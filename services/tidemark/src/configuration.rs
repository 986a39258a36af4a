//! What the program is told: flags over `TIDEMARK_*` variables over a file over defaults.

mod cluster;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use directory::{HostRule, UrlPatterns};
use mtls::{EdgeFiles, Role, Roles};
use serde::Deserialize;

use crate::{
    deployment::DeploymentArguments, limits::Limits, node::host_name, operator::ClusterArguments,
    refusal::Refusal, traces::TraceOptions,
};
pub use cluster::{Cluster, NodeNumber, Peer, ServeArguments, host_and_port};
use cluster::{FileCluster, FileServe, FileTls};

/// A Convex-compatible backend: TypeScript queries and mutations over a document database, live in every client.
#[derive(Debug, clap::Parser)]
#[command(name = "tidemark", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run everything in one process, for developing an app on this machine.
    Dev(Box<DevArguments>),
    /// Run one node of a cluster, or some of its services.
    Serve(Box<ServeArguments>),
    /// Ask how a cluster does, and change who is in it.
    Cluster(ClusterArguments),
    /// Create, list and delete deployments, and their keys.
    Deployment(DeploymentArguments),
}

#[derive(Debug, Default, clap::Args)]
pub struct DevArguments {
    /// Where the data is kept [default: ./.tidemark].
    #[arg(long, env = "TIDEMARK_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address to listen on [default: 127.0.0.1].
    #[arg(long, env = "TIDEMARK_HOST", value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// The port of the API; 0 picks a free one [default: 3210].
    #[arg(long, env = "TIDEMARK_PORT")]
    pub port: Option<u16>,
    /// The port of HTTP actions; 0 picks a free one [default: 3211].
    #[arg(long, env = "TIDEMARK_SITE_PORT", value_name = "PORT")]
    pub site_port: Option<u16>,
    /// The port of the gRPC API, for app servers; 0 picks a free one [default: none is opened].
    #[arg(long, env = "TIDEMARK_GRPC_PORT", value_name = "PORT")]
    pub grpc_port: Option<u16>,
    /// The port of /metrics, /livez and /readyz, for those who operate it; 0 picks a free one [default: none is opened].
    #[arg(long, env = "TIDEMARK_METRICS_PORT", value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// The address by which clients reach the API, where it is not the one listened on.
    #[arg(long, env = "TIDEMARK_CLOUD_URL", value_name = "URL")]
    pub cloud_url: Option<String>,
    /// The address by which clients reach HTTP actions, where it is not the one listened on.
    #[arg(long, env = "TIDEMARK_SITE_URL", value_name = "URL")]
    pub site_url: Option<String>,
    /// The addresses of further deployments, with {name} where the name goes: in the host name, or at the end behind /d/
    /// [default: the address of the API and /d/{name}].
    #[arg(long, env = "TIDEMARK_DEPLOYMENT_URL", value_name = "PATTERN")]
    pub deployment_url: Option<String>,
    /// The same for their HTTP actions [default: the address of HTTP actions and /d/{name}].
    #[arg(long, env = "TIDEMARK_DEPLOYMENT_SITE_URL", value_name = "PATTERN")]
    pub deployment_site_url: Option<String>,
    /// Host names that deployments may choose for themselves where there are several, separated by commas: `*`, names, `*.` and a
    /// domain [default: none].
    #[arg(long, env = "TIDEMARK_DEPLOYMENT_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
    pub deployment_hosts: Option<Vec<HostRule>>,
    /// A bucket of an S3-compatible store for files and code, in place of the data folder: `s3://bucket/prefix`. Credentials,
    /// region and endpoint are read from the `AWS_…` variables.
    #[arg(long, env = "TIDEMARK_BLOBS_URL", value_name = "URL")]
    pub blobs_url: Option<String>,
    /// Tell clients of errors only a request id, and keep functions' log lines from them: for production.
    #[arg(long, env = "TIDEMARK_REDACT_LOGS_TO_CLIENT", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub redact_logs_to_client: Option<bool>,
    /// Let plain values pass the function library's conversion natively. Results are the same without, lists slower.
    #[arg(long, env = "TIDEMARK_NATIVE_VALUES", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub native_values: Option<bool>,
    /// Where requests of the server may go, separated by commas: `*`, names, `*.` and a domain, addresses, ranges
    /// [default: everywhere].
    #[arg(long, env = "TIDEMARK_EGRESS_ALLOW", value_name = "HOSTS", value_delimiter = ',')]
    pub egress_allow: Option<Vec<egress::Rule>>,
    /// Where they may not go, whatever is allowed.
    #[arg(long, env = "TIDEMARK_EGRESS_DENY", value_name = "HOSTS", value_delimiter = ',')]
    pub egress_deny: Option<Vec<egress::Rule>>,
    /// Keep them from this machine and from private networks, but for ranges that are allowed.
    #[arg(long, env = "TIDEMARK_EGRESS_DENY_PRIVATE", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub egress_deny_private: Option<bool>,
    /// Programs that run Node.js actions, separated by commas, as paths or names: of each version the first counts
    /// [default: node].
    #[arg(long, env = "TIDEMARK_NODE", value_name = "PROGRAMS", value_delimiter = ',')]
    pub node: Option<Vec<PathBuf>>,
    /// The registry of the packages that Node.js actions import [default: npm's own].
    #[arg(long, env = "TIDEMARK_NODE_REGISTRY", value_name = "URL")]
    pub node_registry: Option<String>,
    /// The certificate that clients see, in PEM; with it all is served by TLS [default: none].
    #[arg(long, env = "TIDEMARK_EDGE_TLS_CERTIFICATE", value_name = "FILE")]
    pub edge_tls_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "TIDEMARK_EDGE_TLS_KEY", value_name = "FILE")]
    pub edge_tls_key: Option<PathBuf>,
    /// A collector that takes traces by OTLP over gRPC: `http://127.0.0.1:4317` [default: nothing is traced].
    #[arg(long, env = "TIDEMARK_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Of the requests whose callers don't decide it, how many are traced: from 0 to 1 [default: 0.01].
    #[arg(long, env = "TIDEMARK_TRACE_SAMPLE_RATIO", value_name = "RATIO")]
    pub trace_sample_ratio: Option<f64>,
    /// A TOML file with settings and limits.
    #[arg(long, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What the file may say: the same names, and the limits.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    host: Option<IpAddr>,
    port: Option<u16>,
    site_port: Option<u16>,
    grpc_port: Option<u16>,
    metrics_port: Option<u16>,
    cloud_url: Option<String>,
    site_url: Option<String>,
    deployment_url: Option<String>,
    deployment_site_url: Option<String>,
    deployment_hosts: Option<Vec<HostRule>>,
    blobs_url: Option<String>,
    redact_logs_to_client: Option<bool>,
    native_values: Option<bool>,
    egress: FileEgress,
    edge_tls: FileEdgeTls,
    node: FileNode,
    telemetry: FileTelemetry,
    limits: Limits,
    // For `serve` alone.
    roles: Option<Vec<String>>,
    internal_port: Option<u16>,
    cluster: FileCluster,
    tls: FileTls,
}

/// The table `[telemetry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileTelemetry {
    otlp_endpoint: Option<String>,
    sample_ratio: Option<f64>,
    fetches: Option<bool>,
}

/// The table `[node]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileNode {
    programs: Option<Vec<PathBuf>>,
    path: Option<String>,
    npm: Option<PathBuf>,
    registry: Option<String>,
    npm_settings: Option<PathBuf>,
    install_scripts: Option<bool>,
    // For `serve` alone.
    id: Option<u64>,
    id_from_hostname: Option<bool>,
    zone: Option<String>,
    address: Option<String>,
}

/// The table `[edge_tls]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileEdgeTls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// The table `[egress]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileEgress {
    allow: Option<Vec<egress::Rule>>,
    deny: Option<Vec<egress::Rule>>,
    deny_private: Option<bool>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    pub data_folder: PathBuf,
    pub host: IpAddr,
    pub port: u16,
    pub site_port: u16,
    /// `None`: gRPC is not served.
    pub grpc_port: Option<u16>,
    /// `None`: metrics are not served.
    pub metrics_port: Option<u16>,
    /// `None`: made of the address that is listened on.
    pub cloud_url: Option<String>,
    pub site_url: Option<String>,
    /// Patterns; `None`: made of the addresses of the API and of HTTP actions.
    pub deployment_url: Option<String>,
    pub deployment_site_url: Option<String>,
    /// Host names that deployments may choose for themselves.
    pub deployment_hosts: Vec<HostRule>,
    /// `None`: files and code are kept in the data folder.
    pub blobs_url: Option<String>,
    pub redact_logs_to_client: bool,
    pub native_values: bool,
    pub egress: egress::Policy,
    pub node: nodejs::Options,
    /// `None`: clients are served in plain text.
    pub edge_tls: Option<EdgeFiles>,
    /// `None`: this is `dev`, a cluster of its own.
    pub cluster: Option<Cluster>,
    /// `None`: nothing is traced.
    pub telemetry: Option<TraceOptions>,
    /// Whether requests of actions to other servers carry the trace that they belong to.
    pub trace_fetches: bool,
    pub limits: Limits,
}

const DATA_FOLDER: &str = ".tidemark";
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PORT: u16 = 3210;
const SITE_PORT: u16 = 3211;
const SAMPLE_RATIO: f64 = 0.01;

/// Of `tidemark dev`: reads the file, if one is named, and puts the settings together. (Variables have become arguments
/// already.)
pub fn load(arguments: DevArguments) -> Result<Configuration, Refusal> {
    let mut file = read(&arguments)?;
    if take_serve(&mut file) != FileServe::default() {
        return Err(Refusal::Configuration(
            "roles, internal_port, [cluster], [tls] and what [node] says of the node are for `tidemark serve`".into(),
        ));
    }
    combine(arguments, file)
}

/// The same of `tidemark serve`.
pub fn load_serve(mut arguments: ServeArguments) -> Result<Configuration, Refusal> {
    let mut common = std::mem::take(&mut arguments.common);
    let mut file = read(&common)?;
    let cluster = cluster::combine(arguments, take_serve(&mut file))?;
    common.metrics_port = common.metrics_port.or(file.metrics_port).or(Some(cluster::METRICS_PORT));
    common.grpc_port = common.grpc_port.or(file.grpc_port).or(Some(cluster::GRPC_PORT));
    let mut configuration = combine(common, file)?;
    if let Some(traced) = &mut configuration.telemetry {
        traced.attributes.extend([
            ("cloud.availability_zone", cluster.zone.clone()),
            ("host.name", host_name()),
            ("tidemark.roles", cluster.roles.to_string()),
        ]);
    }
    if let Some(sentence) = configuration.limits.broken_relation_between_processes() {
        return Err(Refusal::Configuration(sentence.to_owned()));
    }
    if !cluster.peers.is_empty() && cluster.secret_file.is_none() {
        let sentence = "cluster.secret_file is missing: what one node signs, the others must verify";
        return Err(Refusal::Configuration(sentence.into()));
    }
    if !cluster.peers.is_empty() && configuration.blobs_url.is_none() {
        let sentence = "blobs_url is missing: the nodes of a cluster share files and code";
        return Err(Refusal::Configuration(sentence.into()));
    }
    let sees_addresses = cluster.roles.has(Role::Runner) && !cluster.roles.has(Role::Gateway);
    if sees_addresses && (configuration.cloud_url.is_none() || configuration.site_url.is_none()) {
        let sentence =
            "cloud_url and site_url are missing: functions see them, and this process has no gateway";
        return Err(Refusal::Configuration(sentence.into()));
    }
    if cluster.peers.is_empty() && cluster.roles != Roles::ALL {
        let sentence = "cluster.peers is missing: others do what this process does not";
        return Err(Refusal::Configuration(sentence.into()));
    }
    let ports = configuration.ports().into_iter().chain([("internal_port", Some(cluster.internal_port))]);
    refuse_same(&ports.collect::<Vec<_>>())?;
    Ok(Configuration { cluster: Some(cluster), ..configuration })
}

/// What an operator needs to know of a configuration.
pub struct Asked {
    pub cluster: Cluster,
    pub limits: Limits,
}

/// What `serve` would take from the environment.
#[derive(Debug, clap::Parser)]
struct Environment {
    #[command(flatten)]
    serve: ServeArguments,
}

/// Of variables over the file, both of which may be those of a node or say only where the nodes are and how they are called.
pub fn load_for_operator(config: Option<PathBuf>) -> Result<Asked, Refusal> {
    // There are no words but the program's name: what is wrong is a variable.
    let environment = <Environment as clap::Parser>::try_parse_from(["tidemark"])
        .map_err(|error| Refusal::Configuration(error.to_string()))?;
    operator_asks(environment.serve, config)
}

fn operator_asks(serve: ServeArguments, config: Option<PathBuf>) -> Result<Asked, Refusal> {
    let mut file = read(&DevArguments { config, ..DevArguments::default() })?;
    let limits = &file.limits;
    if let Some(sentence) = limits.broken_relation().or(limits.broken_relation_between_processes()) {
        return Err(Refusal::Configuration(sentence.to_owned()));
    }
    let cluster = cluster::combine(serve, take_serve(&mut file))?;
    Ok(Asked { cluster, limits: file.limits })
}

fn read(arguments: &DevArguments) -> Result<File, Refusal> {
    match &arguments.config {
        Some(path) => {
            let unusable = |reason: String| Refusal::Configuration(format!("{}: {reason}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
            toml::from_str(&text).map_err(|error| unusable(error.to_string()))
        }
        None => Ok(File::default()),
    }
}

/// Moves out of the file what is for `serve` alone.
fn take_serve(file: &mut File) -> FileServe {
    let node = cluster::FileNode {
        id: file.node.id.take(),
        id_from_hostname: file.node.id_from_hostname.take(),
        zone: file.node.zone.take(),
        address: file.node.address.take(),
    };
    FileServe {
        roles: file.roles.take(),
        internal_port: file.internal_port.take(),
        node,
        cluster: std::mem::take(&mut file.cluster),
        tls: std::mem::take(&mut file.tls),
    }
}

fn combine(arguments: DevArguments, file: File) -> Result<Configuration, Refusal> {
    if let Some(sentence) = file.limits.broken_relation() {
        return Err(Refusal::Configuration(sentence.to_owned()));
    }
    let port = arguments.port.or(file.port).unwrap_or(PORT);
    let site_port = arguments.site_port.or(file.site_port).unwrap_or(SITE_PORT);
    let grpc_port = arguments.grpc_port.or(file.grpc_port);
    let metrics_port = arguments.metrics_port.or(file.metrics_port);
    let data_folder = arguments.data_dir.or(file.data_dir).unwrap_or_else(|| DATA_FOLDER.into());
    let default = nodejs::Options::new(data_folder.join("node"));
    let node = nodejs::Options {
        programs: arguments.node.or(file.node.programs).unwrap_or(default.programs),
        path: file.node.path.unwrap_or(default.path),
        npm: file.node.npm.unwrap_or(default.npm),
        registry: url("node.registry", arguments.node_registry.or(file.node.registry))?,
        npm_settings: file.node.npm_settings,
        install_scripts: file.node.install_scripts.unwrap_or(default.install_scripts),
        limits: file.limits.node,
        folder: default.folder,
    };
    let certificate = arguments.edge_tls_certificate.or(file.edge_tls.certificate);
    let edge_tls = match (certificate, arguments.edge_tls_key.or(file.edge_tls.key)) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(EdgeFiles { certificate, key }),
        _ => {
            let sentence = "[edge_tls] must have both certificate and key, or none";
            return Err(Refusal::Configuration(sentence.to_owned()));
        }
    };
    let endpoint = arguments.otlp_endpoint.or(file.telemetry.otlp_endpoint);
    let sample_ratio = arguments.trace_sample_ratio.or(file.telemetry.sample_ratio).unwrap_or(SAMPLE_RATIO);
    let configuration = Configuration {
        telemetry: telemetry_options(endpoint, sample_ratio, &file.limits)?,
        trace_fetches: file.telemetry.fetches.unwrap_or(false),
        data_folder,
        host: arguments.host.or(file.host).unwrap_or(HOST),
        port,
        site_port,
        grpc_port,
        metrics_port,
        cloud_url: url("cloud_url", arguments.cloud_url.or(file.cloud_url))?,
        site_url: url("site_url", arguments.site_url.or(file.site_url))?,
        deployment_url: pattern("deployment_url", arguments.deployment_url.or(file.deployment_url))?,
        deployment_site_url: pattern(
            "deployment_site_url",
            arguments.deployment_site_url.or(file.deployment_site_url),
        )?,
        deployment_hosts: arguments.deployment_hosts.or(file.deployment_hosts).unwrap_or_default(),
        blobs_url: blobs_url(arguments.blobs_url.or(file.blobs_url))?,
        redact_logs_to_client: arguments
            .redact_logs_to_client
            .or(file.redact_logs_to_client)
            .unwrap_or(false),
        native_values: arguments.native_values.or(file.native_values).unwrap_or(true),
        egress: egress::Policy {
            allow: arguments.egress_allow.or(file.egress.allow).unwrap_or_default(),
            deny: arguments.egress_deny.or(file.egress.deny).unwrap_or_default(),
            deny_private: arguments.egress_deny_private.or(file.egress.deny_private).unwrap_or(false),
        },
        node,
        edge_tls,
        cluster: None,
        limits: file.limits,
    };
    refuse_same(&configuration.ports())?;
    Ok(configuration)
}

impl Configuration {
    /// The ports by their settings.
    fn ports(&self) -> [(&'static str, Option<u16>); 4] {
        [
            ("port", Some(self.port)),
            ("site_port", Some(self.site_port)),
            ("grpc_port", self.grpc_port),
            ("metrics_port", self.metrics_port),
        ]
    }

    /// The addresses of deployments that have none of their own, where those of the default one are these.
    pub fn deployment_urls(&self, cloud_url: &str, site_url: &str) -> UrlPatterns {
        let below = UrlPatterns::below(cloud_url, site_url);
        UrlPatterns {
            cloud: self.deployment_url.clone().unwrap_or(below.cloud),
            site: self.deployment_site_url.clone().unwrap_or(below.site),
        }
    }
}

fn refuse_same(ports: &[(&str, Option<u16>)]) -> Result<(), Refusal> {
    for (index, (name, number)) in ports.iter().enumerate() {
        let same =
            ports[..index].iter().find(|(_, other)| number.is_some_and(|it| it != 0) && other == number);
        if let (Some((other, _)), Some(number)) = (same, number) {
            return Err(Refusal::Configuration(format!("{other} and {name} are both {number}")));
        }
    }
    Ok(())
}

fn telemetry_options(
    endpoint: Option<String>,
    sample_ratio: f64,
    limits: &Limits,
) -> Result<Option<TraceOptions>, Refusal> {
    if !(0.0..=1.0).contains(&sample_ratio) {
        return Err(Refusal::Configuration("telemetry.sample_ratio must be from 0 to 1".to_owned()));
    }
    let Some(endpoint) = url("telemetry.otlp_endpoint", endpoint)? else { return Ok(None) };
    if !endpoint.starts_with("http://") {
        let message = "telemetry.otlp_endpoint must begin with http://: a collector on this machine or in this network, \
                       which may send the traces on by https";
        return Err(Refusal::Configuration(message.to_owned()));
    }
    let attributes = vec![("service.version", env!("CARGO_PKG_VERSION").to_owned())];
    Ok(Some(TraceOptions { endpoint, sample_ratio, attributes, limits: limits.telemetry }))
}

/// A pattern of URLs, one for each deployment.
fn pattern(name: &str, pattern: Option<String>) -> Result<Option<String>, Refusal> {
    let pattern = url(name, pattern)?;
    if let Some(pattern) = &pattern {
        let both = UrlPatterns { cloud: pattern.clone(), site: pattern.clone() };
        if let Some(problem) = both.problem() {
            return Err(Refusal::Configuration(format!("{name}: {problem}")));
        }
    }
    Ok(pattern)
}

/// A folder is named in full, since which one a relative name means depends on where the program was started.
fn blobs_url(url: Option<String>) -> Result<Option<String>, Refusal> {
    let is_relative = |url: &String| url.strip_prefix("file://").is_some_and(|path| !path.starts_with('/'));
    if let Some(url) = url.as_ref().filter(|url| is_relative(url)) {
        return Err(Refusal::Configuration(format!(
            "blobs_url is {url}: behind file:// it must name a folder in full, as in file:///folder"
        )));
    }
    Ok(url)
}

/// Without the slash at its end: clients append paths.
fn url(name: &str, url: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(url) = url else { return Ok(None) };
    let url = url.trim_end_matches('/');
    let allowed = |character: char| character.is_ascii_graphic() && !"'\"\\`$".contains(character);
    if !(url.starts_with("http://") || url.starts_with("https://")) || !url.chars().all(allowed) {
        return Err(Refusal::Configuration(format!(
            "{name} must be a URL that begins with http:// or https://"
        )));
    }
    Ok(Some(url.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        toml::from_str(text).expect("valid")
    }

    fn dev(words: &[&str]) -> DevArguments {
        match <Arguments as clap::Parser>::try_parse_from(words).expect("valid").command {
            Command::Dev(arguments) => *arguments,
            _ => panic!("the words are those of dev"),
        }
    }

    #[test]
    fn defaults_are_the_ports_that_the_tools_expect() {
        let configuration = combine(DevArguments::default(), File::default()).expect("valid");
        assert_eq!((configuration.port, configuration.site_port), (3210, 3211));
        assert_eq!(configuration.host, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(configuration.data_folder, PathBuf::from(".tidemark"));
    }

    #[test]
    fn where_requests_may_go_is_everywhere_unless_something_is_said() {
        let open = combine(DevArguments::default(), File::default()).expect("valid").egress;
        assert_eq!(open, egress::Policy::default());
        let rules = |list: &[&str]| list.iter().map(|rule| rule.parse().expect(rule)).collect::<Vec<_>>();
        let arguments = DevArguments { egress_deny: Some(rules(&["x.example"])), ..DevArguments::default() };
        let file = file("[egress]\nallow = [\"*\", \"10.0.0.0/8\"]\ndeny = [\"*\"]\ndeny_private = true\n");
        let policy = combine(arguments, file).expect("valid").egress;
        let (allow, deny) = (rules(&["*", "10.0.0.0/8"]), rules(&["x.example"]));
        assert_eq!(policy, egress::Policy { allow, deny, deny_private: true });
        let error = toml::from_str::<File>("[egress]\nallow = [\"https://x\"]\n").expect_err("no rule");
        assert!(error.to_string().contains("`https://x` names no hosts"), "{error}");
        let text = "deployment_hosts = [\"*.shop.example\", \"a.example\"]";
        let hosts = combine(DevArguments::default(), toml::from_str(text).expect("valid")).expect("valid");
        assert_eq!(
            hosts.deployment_hosts,
            ["*.shop.example", "a.example"].map(|rule| rule.parse().expect(rule))
        );
        let error = toml::from_str::<File>("deployment_hosts = [\"https://x\"]").expect_err("no rule");
        assert!(error.to_string().contains("`https://x` names no hosts"), "{error}");
        let words = ["tidemark", "dev", "--egress-allow", "*.x.example,192.0.2.1", "--egress-deny-private"];
        let arguments = dev(words.as_slice());
        assert_eq!(arguments.egress_allow, Some(rules(&["*.x.example", "192.0.2.1"])));
        assert_eq!(arguments.egress_deny_private, Some(true));
    }

    #[test]
    fn what_runs_node_actions_is_node_on_the_path_unless_something_is_said() {
        let node = combine(DevArguments::default(), File::default()).expect("valid").node;
        assert_eq!((node.programs, node.folder), (vec!["node".into()], ".tidemark/node".into()));
        let words = ["tidemark", "dev", "--node", "/opt/node22/bin/node,node24"];
        let arguments = dev(words.as_slice());
        let file = file(
            "[node]\nprograms = []\nregistry = \"http://127.0.0.1:4873/\"\ninstall_scripts = true\n[limits.node]\nprocesses_max = 3\n",
        );
        let node = combine(arguments, file).expect("valid").node;
        assert_eq!(node.programs, ["/opt/node22/bin/node", "node24"].map(PathBuf::from));
        assert_eq!(node.registry.as_deref(), Some("http://127.0.0.1:4873"));
        assert!(node.install_scripts);
        assert_eq!(node.limits.processes_max, 3);
    }

    #[test]
    fn arguments_go_over_the_file_and_the_file_over_defaults() {
        let arguments = DevArguments { port: Some(1), ..DevArguments::default() };
        let file = file(
            "port = 2\nsite_port = 3\nredact_logs_to_client = true\n[limits.gateway]\nrequest_ms_max = 290000\n",
        );
        let configuration = combine(arguments, file).expect("valid");
        assert_eq!((configuration.port, configuration.site_port), (1, 3));
        assert!(configuration.redact_logs_to_client);
        assert!(configuration.native_values, "unless the configuration says otherwise");
        let arguments = DevArguments::default();
        let file = toml::from_str("native_values = false").expect("valid");
        assert!(!combine(arguments, file).expect("valid").native_values);
        let arguments = DevArguments { redact_logs_to_client: Some(false), ..DevArguments::default() };
        let file = toml::from_str("redact_logs_to_client = true").expect("valid");
        assert!(!combine(arguments, file).expect("valid").redact_logs_to_client);
        assert_eq!(configuration.limits.gateway.request_ms_max, 290_000);
        assert_eq!(configuration.limits.sync, Limits::DEFAULT.sync);
    }

    #[test]
    fn nothing_is_traced_unless_somebody_collects_it() {
        let silent =
            combine(DevArguments::default(), file("[telemetry]\nsample_ratio = 1\n")).expect("valid");
        assert_eq!((silent.telemetry, silent.trace_fetches), (None, false));
        let collected = file("[telemetry]\notlp_endpoint = \"http://127.0.0.1:4317/\"\nfetches = true\n");
        let arguments = DevArguments { trace_sample_ratio: Some(0.5), ..DevArguments::default() };
        let configuration = combine(arguments, collected).expect("valid");
        let options = configuration.telemetry.expect("it is traced");
        assert_eq!((&*options.endpoint, options.sample_ratio), ("http://127.0.0.1:4317", 0.5));
        assert!(configuration.trace_fetches);
    }

    #[test]
    fn what_contradicts_itself_or_is_not_known_is_refused_by_name() {
        let refused =
            |text: &str| combine(DevArguments::default(), file(text)).expect_err("refused").to_string();
        assert!(refused("port = 5\nsite_port = 5").contains("port and site_port are both 5"));
        assert!(refused("metrics_port = 3211").contains("site_port and metrics_port are both 3211"));
        assert!(refused("grpc_port = 3210").contains("port and grpc_port are both 3210"));
        assert!(refused("[limits.sync]\nheartbeat_ms = 40000").contains("sync.heartbeat_ms"));
        assert!(refused("cloud_url = \"example.com\"").contains("cloud_url"));
        assert!(refused("[telemetry]\nsample_ratio = 1.1").contains("telemetry.sample_ratio"));
        assert!(refused("[telemetry]\nsample_ratio = nan").contains("telemetry.sample_ratio"));
        let encrypted = "[telemetry]\notlp_endpoint = \"https://example.com\"";
        assert!(refused(encrypted).contains("telemetry.otlp_endpoint must begin with http://"));
        assert!(refused("deployment_url = \"https://example.com\"").contains("deployment_url"));
        assert!(refused("blobs_url = \"file://shared/blobs\"").contains("file://shared/blobs"));
        assert!(combine(DevArguments::default(), file("blobs_url = \"file:///shared\"")).is_ok());
        let unknown = toml::from_str::<File>("prot = 5").expect_err("misspelt").to_string();
        assert!(unknown.contains("prot"), "{unknown}");
    }

    #[test]
    fn what_is_of_a_cluster_is_for_serve_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tidemark.toml");
        let loaded = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let common = DevArguments { config: Some(path.clone()), ..DevArguments::default() };
            let serve = ServeArguments {
                common: DevArguments { config: Some(path.clone()), ..DevArguments::default() },
                ..ServeArguments::default()
            };
            (load(common), load_serve(serve))
        };
        for text in [
            "[cluster]\nvoters = 1",
            "[node]\nid = 1",
            "roles = [\"all\"]",
            "internal_port = 1",
            "[tls]\nca = \"ca\"\ncertificate = \"c\"\nkey = \"k\"",
        ] {
            let (dev, serve) = loaded(text);
            assert!(dev.expect_err("refused").to_string().contains("`tidemark serve`"), "{text}");
            assert!(serve.expect(text).cluster.is_some());
        }
        for missing in ["secret_file = \"s\"", "voters = 1"] {
            let (_, serve) = loaded(&format!("[cluster]\npeers = [\"dns:a:1\"]\n{missing}"));
            assert!(serve.expect_err("refused").to_string().contains(" is missing: "));
        }
        let (dev, serve) = loaded("port = 1\nmetrics_port = 9\ngrpc_port = 8\n[node]\nprograms = []");
        let (dev, serve) = (dev.expect("valid"), serve.expect("valid"));
        assert_eq!((dev.metrics_port, serve.metrics_port), (Some(9), Some(9)));
        assert_eq!(Configuration { cluster: None, ..serve }, dev);
        let (dev, serve) = loaded("");
        assert_eq!(
            (dev.expect("valid").metrics_port, serve.expect("valid").metrics_port),
            (None, Some(3214))
        );
        let (_, serve) = loaded("internal_port = 3211");
        assert!(
            serve.expect_err("refused").to_string().contains("site_port and internal_port are both 3211")
        );
        let (dev, _) = loaded("[edge_tls]\nkey = \"k\"");
        assert!(dev.expect_err("refused").to_string().contains("[edge_tls]"));
    }

    #[test]
    fn operators_ask_where_flags_of_serve_or_the_file_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tidemark.toml");
        std::fs::write(&path, "internal_port = 1\n[cluster]\nname = \"filed\"\n").expect("written");
        let words =
            ["tidemark", "serve", "--cluster-name", "named", "--cluster-peers", "a:7", "--cluster-voters=1"];
        let arguments = <Arguments as clap::Parser>::try_parse_from(words).expect("valid");
        let Command::Serve(serve) = arguments.command else { panic!("the words are those of serve") };
        let asked = operator_asks(*serve, Some(path)).expect("valid").cluster;
        assert_eq!((asked.name.as_str(), asked.internal_port, asked.peers.len()), ("named", 1, 1));
    }

    #[test]
    fn urls_lose_the_slash_at_their_end() {
        let url = url("cloud_url", Some("https://example.com/".to_owned())).expect("valid");
        assert_eq!(url.as_deref(), Some("https://example.com"));
    }
}

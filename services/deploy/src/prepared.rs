//! What `start_push` leaves for `finish_push`. It travels through the command line tool, which sends back what it was
//! given, so that no node has to remember a push.

use std::{collections::BTreeMap, sync::Arc};

use auth::{AuthLimits, Providers};
use code::{Sha256Digest, code_hash};
use contract::{BlobDigest, Error, ImportPhase, Result};
use serde::{Deserialize, Serialize};
use transaction::{ModuleEnvironment, ModuleRow, NodeConfig, UdfConfigRow};
use value::ComponentId;

/// The format of [`Prepared`]; another one is refused.
const FORMAT_VERSION: u32 = 3;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prepared {
    format_version: u32,
    pub modules: Vec<PreparedModule>,
    /// The canonical JSON of the schema; `None` without one.
    pub schema: Option<String>,
    /// A JSON array.
    pub auth_providers: String,
    pub server_version: String,
    pub functions: String,
    /// Hexadecimal, because JavaScript's numbers are too small for it.
    import_seed: String,
    pub import_time_ms: u64,
    /// The deployed code that the push was compared with.
    pub base_code_hash: String,
    /// Of the environment variables that the code was evaluated with.
    pub environment_hash: String,
    node_version: Option<String>,
    node_packages: Vec<String>,
    node_lock: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedModule {
    pub path: String,
    pub environment: String,
    source: String,
    source_map: Option<String>,
    pub hash: String,
    analysis: Option<String>,
    imports: Vec<String>,
}

pub struct Config<'a> {
    pub server_version: &'a str,
    pub functions: &'a str,
    pub import_phase: ImportPhase,
    pub node: &'a NodeConfig,
}

impl Prepared {
    pub fn new(
        modules: &[ModuleRow],
        schema: Option<String>,
        auth_providers: String,
        config: &Config<'_>,
        base_code_hash: String,
        environment_hash: String,
    ) -> Prepared {
        Prepared {
            format_version: FORMAT_VERSION,
            modules: modules.iter().map(PreparedModule::from_row).collect(),
            schema,
            auth_providers,
            server_version: config.server_version.to_owned(),
            functions: config.functions.to_owned(),
            import_seed: format!("{:016x}", config.import_phase.seed),
            import_time_ms: config.import_phase.time_ms,
            base_code_hash,
            environment_hash,
            node_version: config.node.version.clone(),
            node_packages: config.node.packages.clone(),
            node_lock: config.node.lock.map(|digest| hex::encode(digest.0)),
        }
    }

    pub fn to_json(&self) -> Arc<str> {
        serde_json::to_string(self).expect("texts and numbers are JSON").into()
    }

    pub fn from_json(json: &str) -> Result<Prepared> {
        let prepared: Prepared = serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
        if prepared.format_version != FORMAT_VERSION {
            return Err(invalid(format!("format {} is not known", prepared.format_version)));
        }
        Ok(prepared)
    }

    /// Held to the limits once more: it came from outside.
    pub fn auth_providers(&self, limits: &AuthLimits) -> Result<Providers> {
        let json = serde_json::from_str(&self.auth_providers).map_err(|error| invalid(error.to_string()))?;
        Providers::from_json(&json, limits).map_err(|error| invalid(error.to_string()))
    }

    pub fn module_rows(&self) -> Result<BTreeMap<String, ModuleRow>> {
        let mut rows = BTreeMap::new();
        for module in &self.modules {
            if rows.insert(module.path.clone(), module.to_row()?).is_some() {
                return Err(invalid(format!("module {} is there twice", module.path)));
            }
        }
        Ok(rows)
    }

    pub fn config_row(&self) -> Result<UdfConfigRow> {
        let import_seed = u64::from_str_radix(&self.import_seed, 16)
            .map_err(|_| invalid("the import seed is not a number"))?;
        let hashes =
            self.modules.iter().map(|module| Ok((module.path.as_str(), module.digest(&module.hash)?)));
        let hashes = hashes.collect::<Result<BTreeMap<_, _>>>()?;
        let modules = hashes.iter().map(|(path, hash)| (*path, hash));
        let code_hash = code_hash(modules, import_seed, self.import_time_ms, &self.environment_hash);
        Ok(UdfConfigRow {
            component: ComponentId::ROOT,
            server_version: self.server_version.clone(),
            import_seed,
            import_time_ms: self.import_time_ms,
            functions_directory: self.functions.clone(),
            code_hash,
            node: NodeConfig {
                version: self.node_version.clone(),
                packages: self.node_packages.clone(),
                lock: self.node_lock()?,
            },
        })
    }

    /// What the packages of modules for Node.js stand for.
    pub fn node_lock(&self) -> Result<Option<BlobDigest>> {
        let read = |text: &String| digest(text, "the lock of packages");
        Ok(self.node_lock.as_ref().map(read).transpose()?.map(BlobDigest))
    }
}

impl PreparedModule {
    fn from_row(row: &ModuleRow) -> PreparedModule {
        PreparedModule {
            path: row.path.clone(),
            environment: row.environment.name().to_owned(),
            source: hex::encode(row.source.0),
            source_map: row.source_map.map(|digest| hex::encode(digest.0)),
            hash: hex::encode(row.hash),
            analysis: row.analysis.as_deref().map(str::to_owned),
            imports: row.imports.clone(),
        }
    }

    fn to_row(&self) -> Result<ModuleRow> {
        let digest = |text: &str| self.digest(text);
        Ok(ModuleRow {
            component: ComponentId::ROOT,
            path: self.path.clone(),
            environment: ModuleEnvironment::from_name(&self.environment)
                .ok_or_else(|| invalid(format!("module {}: unknown environment", self.path)))?,
            source: BlobDigest(digest(&self.source)?),
            source_map: self.source_map.as_deref().map(digest).transpose()?.map(BlobDigest),
            hash: digest(&self.hash)?,
            analysis: self.analysis.as_deref().map(Into::into),
            imports: self.imports.clone(),
        })
    }

    fn digest(&self, text: &str) -> Result<Sha256Digest> {
        digest(text, &format!("module {}", self.path))
    }
}

fn digest(text: &str, of: &str) -> Result<Sha256Digest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| invalid(format!("{of}: `{text}` is not a digest")))?;
    Ok(bytes)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::bad_request("InvalidPush", format!("This is not what start_push answered: {}", message.into()))
}

//! What `start_push` leaves for `finish_push`. It travels through the command line tool, which sends back what it was
//! given, so that no node has to remember a push.

use std::{collections::BTreeMap, sync::Arc};

use auth::{AuthLimits, Providers};
use code::{CodeHash, Sha256Digest};
use contract::{BlobDigest, Error, ImportPhase, Result};
use schema::{DatabaseSchema, SchemaLimits};
use serde::{Deserialize, Serialize};
use transaction::{ComponentRow, ModuleEnvironment, ModuleRow, NodeConfig, UdfConfigRow, VariableBinding};
use value::ComponentId;

use crate::definitions::APP;

/// The format of [`Prepared`]; another one is refused.
const FORMAT_VERSION: u32 = 4;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prepared {
    format_version: u32,
    /// By their paths; that of the app is empty.
    definitions: BTreeMap<String, PreparedDefinition>,
    /// Parents before their children.
    instances: Vec<PreparedInstance>,
    /// A JSON array.
    auth_providers: String,
    functions: String,
    http_prefix: Option<String>,
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
struct PreparedDefinition {
    modules: Vec<PreparedModule>,
    /// The canonical JSON of the schema; `None` without one.
    schema: Option<String>,
    server_version: String,
    /// Hexadecimal, because JavaScript's numbers are too small for it.
    import_seed: String,
    import_time_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreparedInstance {
    path: String,
    definition: String,
    variables: Vec<(String, VariableBinding)>,
    http_prefix: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreparedModule {
    path: String,
    environment: String,
    source: String,
    source_map: Option<String>,
    hash: String,
    analysis: Option<String>,
    imports: Vec<String>,
}

/// A definition as its instances are to have it.
pub struct ToDeploy {
    /// Without the component that they are of.
    pub modules: BTreeMap<String, ModuleRow>,
    pub schema: Option<DatabaseSchema>,
    pub schema_text: Option<String>,
    server_version: String,
    import_phase: ImportPhase,
}

/// A definition on its way to [`Prepared`].
pub struct Definition<'a> {
    pub modules: &'a [ModuleRow],
    pub schema: Option<String>,
    pub server_version: &'a str,
    pub import_phase: ImportPhase,
}

/// What is the app's as a whole.
pub struct Settings<'a> {
    pub auth_providers: String,
    pub functions: &'a str,
    pub http_prefix: Option<String>,
    pub base_code_hash: String,
    pub environment_hash: String,
    pub node: &'a NodeConfig,
}

impl Prepared {
    pub fn new<'a>(
        definitions: impl IntoIterator<Item = (String, Definition<'a>)>,
        instances: &[ComponentRow],
        settings: Settings<'_>,
    ) -> Prepared {
        let definition = |definition: Definition<'_>| PreparedDefinition {
            modules: definition.modules.iter().map(PreparedModule::from_row).collect(),
            schema: definition.schema,
            server_version: definition.server_version.to_owned(),
            import_seed: format!("{:016x}", definition.import_phase.seed),
            import_time_ms: definition.import_phase.time_ms,
        };
        let instance = |row: &ComponentRow| PreparedInstance {
            path: row.path.to_string(),
            definition: row.definition.clone(),
            variables: row.variables.clone(),
            http_prefix: row.http_prefix.clone(),
        };
        Prepared {
            format_version: FORMAT_VERSION,
            definitions: definitions.into_iter().map(|(path, one)| (path, definition(one))).collect(),
            instances: instances.iter().map(instance).collect(),
            auth_providers: settings.auth_providers,
            functions: settings.functions.to_owned(),
            http_prefix: settings.http_prefix,
            base_code_hash: settings.base_code_hash,
            environment_hash: settings.environment_hash,
            node_version: settings.node.version.clone(),
            node_packages: settings.node.packages.clone(),
            node_lock: settings.node.lock.map(|digest| hex::encode(digest.0)),
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

    /// The definitions by their paths; that of the app is among them.
    pub fn definitions(&self, limits: &SchemaLimits) -> Result<BTreeMap<String, ToDeploy>> {
        let read = |(path, definition): (&String, &PreparedDefinition)| {
            Ok((path.clone(), definition.to_deploy(limits)?))
        };
        let definitions: BTreeMap<_, _> = self.definitions.iter().map(read).collect::<Result<_>>()?;
        let is_there = |path: &str| definitions.contains_key(path);
        if !is_there(APP) || !self.instances.iter().all(|instance| is_there(&instance.definition)) {
            return Err(invalid("a definition is missing"));
        }
        Ok(definitions)
    }

    /// The instances to mount, parents before their children.
    pub fn instances(&self) -> Result<Vec<ComponentRow>> {
        let mut rows: Vec<ComponentRow> = Vec::with_capacity(self.instances.len());
        for instance in &self.instances {
            let row = ComponentRow {
                path: instance.path.parse().map_err(|error| invalid(format!("{error}")))?,
                definition: instance.definition.clone(),
                is_mounted: true,
                variables: instance.variables.clone(),
                http_prefix: instance.http_prefix.clone(),
            };
            let is_there = |path| rows.iter().any(|row| row.path == path);
            match row.path.parent() {
                Some((parent, _)) if parent.is_root() || is_there(parent.clone()) => {}
                _ => return Err(invalid(format!("the component `{}` has no parent", row.path))),
            }
            if is_there(row.path.clone()) {
                return Err(invalid(format!("the component `{}` is there twice", row.path)));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Names all the code of the push.
    pub fn code_hash(&self, definitions: &BTreeMap<String, ToDeploy>, instances: &[ComponentRow]) -> String {
        let hashes = |definition: &str| {
            let modules = definitions.get(definition).into_iter().flat_map(|definition| &definition.modules);
            modules.map(|(path, row)| (path.as_str(), &row.hash)).collect::<Vec<_>>()
        };
        hash_of_code(
            &self.environment_hash,
            hashes(APP),
            instances.iter().map(|row| (row, hashes(&row.definition))),
        )
    }

    /// What the code of a component needs besides its modules.
    pub fn config_row(&self, component: ComponentId, of: &ToDeploy, code_hash: &str) -> Result<UdfConfigRow> {
        let is_app = component.is_root();
        let node = NodeConfig {
            version: self.node_version.clone(),
            packages: self.node_packages.clone(),
            lock: self.node_lock()?,
        };
        Ok(UdfConfigRow {
            component,
            server_version: of.server_version.clone(),
            import_seed: of.import_phase.seed,
            import_time_ms: of.import_phase.time_ms,
            functions_directory: self.functions.clone(),
            code_hash: if is_app { code_hash.to_owned() } else { String::new() },
            node: if is_app { node } else { NodeConfig::default() },
            http_prefix: self.http_prefix.clone().filter(|_| is_app),
        })
    }

    /// What the packages of modules for Node.js stand for.
    pub fn node_lock(&self) -> Result<Option<BlobDigest>> {
        let read = |text: &String| digest(text, "the lock of packages");
        Ok(self.node_lock.as_ref().map(read).transpose()?.map(BlobDigest))
    }
}

/// Names all the code of an app; `instances` are those that are mounted, with the modules of each by path.
pub fn hash_of_code<'a>(
    environment_hash: &str,
    app: Vec<(&'a str, &'a Sha256Digest)>,
    instances: impl IntoIterator<Item = (&'a ComponentRow, Vec<(&'a str, &'a Sha256Digest)>)>,
) -> String {
    let mut hash = CodeHash::new(environment_hash);
    hash.add("", APP, "", app);
    let mut instances: Vec<_> = instances.into_iter().collect();
    instances.sort_by(|(one, _), (two, _)| one.path.cmp(&two.path));
    for (row, modules) in instances {
        let settings = (&row.variables, &row.http_prefix);
        let settings = serde_json::to_string(&settings).expect("texts are JSON");
        hash.add(row.path.as_str(), &row.definition, &settings, modules);
    }
    hash.finish()
}

impl PreparedDefinition {
    fn to_deploy(&self, limits: &SchemaLimits) -> Result<ToDeploy> {
        let mut modules = BTreeMap::new();
        for module in &self.modules {
            if modules.insert(module.path.clone(), module.to_row()?).is_some() {
                return Err(invalid(format!("module {} is there twice", module.path)));
            }
        }
        let schema = self.schema.as_deref().map(|text| DatabaseSchema::from_json(text, limits)).transpose();
        let seed = u64::from_str_radix(&self.import_seed, 16);
        Ok(ToDeploy {
            modules,
            schema: schema.map_err(|error| Error::bad_request(error.code(), error.to_string()))?,
            schema_text: self.schema.clone(),
            server_version: self.server_version.clone(),
            import_phase: ImportPhase {
                seed: seed.map_err(|_| invalid("the import seed is not a number"))?,
                time_ms: self.import_time_ms,
            },
        })
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

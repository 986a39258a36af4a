//! What the evaluated modules export.

use serde::{Deserialize, Serialize};

use crate::call::FunctionKind;

/// What one entry point exports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleAnalysis {
    /// The path of the module.
    pub path: String,
    /// The registered functions among its exports, in the order of their names.
    pub functions: Vec<AnalyzedFunction>,
    /// The routes, if its default export is an HTTP router.
    pub http_routes: Option<Vec<HttpRoute>>,
    /// JSON text of its cron jobs, if its default export is a crons object.
    pub crons: Option<String>,
}

/// A registered function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalyzedFunction {
    /// The name of the export.
    pub name: String,
    /// How it is called.
    pub kind: FunctionKind,
    /// Who may call it.
    pub visibility: Visibility,
    /// JSON text of the validator of its arguments.
    pub args: String,
    /// JSON text of the validator of its result, `null` if there is none.
    pub returns: String,
    /// Line (from 1) and column (from 1) of its handler in the bundled module, where the engine knows them.
    pub position: Option<(u32, u32)>,
}

/// Who may call a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Clients and other functions.
    Public,
    /// Other functions only.
    Internal,
}

/// A route of an HTTP router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRoute {
    /// An exact path, or a prefix followed by `*`.
    pub path: String,
    /// Such as `GET`.
    pub method: String,
}

/// What a module of a special kind declares by its default export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declaration {
    /// `schema.js`: JSON text of the schema.
    Schema,
    /// `convex.config.js`: JSON text of the app's or component's definition.
    Definition,
    /// `auth.config.js`: JSON text of the object with the providers.
    AuthConfig,
}

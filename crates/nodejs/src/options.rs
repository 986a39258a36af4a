//! What an executor is started with.

use std::{collections::HashMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::NodeLimits;

/// The major versions of Node.js that apps can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeVersion {
    /// 22, which is what an app gets that does not ask.
    #[serde(rename = "22")]
    V22,
    /// 24.
    #[serde(rename = "24")]
    V24,
}

impl NodeVersion {
    /// As `convex.json` says it: `22` or `24`.
    pub fn parse(text: &str) -> Option<NodeVersion> {
        match text {
            "22" => Some(NodeVersion::V22),
            "24" => Some(NodeVersion::V24),
            _ => None,
        }
    }

    pub(crate) fn of_major(major: u32) -> Option<NodeVersion> {
        NodeVersion::parse(&major.to_string())
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            NodeVersion::V22 => 22,
            NodeVersion::V24 => 24,
        }
    }
}

/// Where an executor works, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A folder of its own, for code, packages and what functions write. All in it can be made again; it is emptied at the
    /// start but for the packages.
    pub folder: PathBuf,
    /// Programs to be tried in this order, by path or as found on `PATH`. What version each is is asked at the start.
    pub programs: Vec<PathBuf>,
    /// What functions see as `PATH`.
    pub path: String,
    /// npm's `npm-cli.js` or a program `npm`.
    pub npm: PathBuf,
    /// From where packages come; npm's own default if it is `None`.
    pub registry: Option<String>,
    /// A file with npm's settings, such as tokens of a private registry.
    pub npm_settings: Option<PathBuf>,
    /// Whether packages may run programs while they are installed.
    pub install_scripts: bool,
    /// What is held to.
    pub limits: NodeLimits,
}

impl Options {
    /// Node.js and npm from `PATH`, and npm's registry.
    pub fn new(folder: PathBuf) -> Options {
        Options {
            folder,
            programs: vec![PathBuf::from("node")],
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            npm: PathBuf::from("npm"),
            registry: None,
            npm_settings: None,
            install_scripts: false,
            limits: NodeLimits::DEFAULT,
        }
    }
}

/// What was found of [`Options::programs`].
pub(crate) type Programs = HashMap<NodeVersion, PathBuf>;

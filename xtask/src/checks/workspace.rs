//! The crates of the workspace and all that they depend on, as cargo tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::output_of;

/// The kinds of crates, by the top folder they stand in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Layer {
    /// `proto` and `crates/*`: libraries, one noun each.
    Library,
    /// `services/*` but the binary.
    Service,
    /// `services/tidemark`, which puts the services together.
    Binary,
    /// `bench/*`, `tests/*`, `xtask`: nothing depends on them.
    Tool,
}

impl Layer {
    pub fn of(folder: &Path) -> Result<Layer> {
        let mut parts = folder.iter().filter_map(|part| part.to_str());
        Ok(match (parts.next(), parts.next()) {
            (Some("crates"), Some(_)) | (Some("proto"), None) => Layer::Library,
            (Some("services"), Some("tidemark")) => Layer::Binary,
            (Some("services"), Some(_)) => Layer::Service,
            (Some("bench" | "tests"), Some(_)) | (Some("xtask"), None) => Layer::Tool,
            _ => bail!("{} is in no folder for crates", folder.display()),
        })
    }
}

/// A crate of the workspace.
pub struct Member {
    pub name: String,
    /// Relative to the root.
    pub folder: PathBuf,
    pub layer: Layer,
    pub licence: Option<String>,
    /// Names of workspace crates it depends on, those only its tests need left out.
    pub dependencies: Vec<String>,
    pub features: Vec<String>,
}

pub struct Workspace {
    pub members: Vec<Member>,
    /// Per crate that is built, the crates it depends on itself, those only its tests need left out. By name: where a
    /// crate is there in two versions, it has the dependencies of both.
    pub graph: BTreeMap<String, BTreeSet<String>>,
}

impl Workspace {
    pub fn read(root: &Path) -> Result<Workspace> {
        let arguments =
            ["metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"];
        let output = output_of(root, "cargo", &arguments)?;
        let metadata: Value = serde_json::from_str(&output).context("read cargo's metadata")?;
        let packages = metadata["packages"].as_array().context("cargo's metadata names no packages")?;
        // The packages of the workspace are those that come from no source.
        let own = packages.iter().filter(|package| package["source"].is_null());
        let members = own.map(|package| member(root, package)).collect::<Result<_>>()?;
        Ok(Workspace { members, graph: graph(packages, &metadata["resolve"]["nodes"])? })
    }

    /// Everything that `name` depends on, directly or by others.
    pub fn closure(&self, name: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = vec![name];
        while let Some(next) = open.pop() {
            for dependency in self.graph.get(next).into_iter().flatten() {
                if found.insert(dependency.as_str()) {
                    open.push(dependency);
                }
            }
        }
        found
    }
}

fn member(root: &Path, package: &Value) -> Result<Member> {
    let name = package["name"].as_str().context("a package without a name")?.to_string();
    let manifest = Path::new(package["manifest_path"].as_str().context("a package without a manifest")?);
    let folder = manifest.parent().context("a manifest in no folder")?;
    let folder = folder.strip_prefix(root).unwrap_or(folder).to_path_buf();
    let layer = Layer::of(&folder)?;
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let dependencies = dependencies
        .filter(|dependency| dependency["path"].is_string() && dependency["kind"] != "dev")
        .filter_map(|dependency| dependency["name"].as_str().map(str::to_string))
        .collect();
    let licence = package["license"].as_str().map(str::to_string);
    let features =
        package["features"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    Ok(Member { name, folder, layer, licence, dependencies, features })
}

fn graph(packages: &[Value], nodes: &Value) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let names: BTreeMap<&str, &str> = packages
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let name_of = |id: &Value| id.as_str().and_then(|id| names.get(id)).map(|name| name.to_string());
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in nodes.as_array().context("cargo's metadata has no graph")? {
        let name = name_of(&node["id"]).context("a package of the graph without a name")?;
        let dependencies = node["deps"].as_array().into_iter().flatten();
        let kept = dependencies.filter(|dependency| {
            let mut kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
            kinds.any(|kind| kind["kind"] != "dev")
        });
        graph.entry(name).or_default().extend(kept.filter_map(|dependency| name_of(&dependency["pkg"])));
    }
    Ok(graph)
}

#[cfg(test)]
pub mod planted {
    use super::*;

    /// A crate that is in order.
    pub fn member(folder: &str, dependencies: &[&str]) -> Member {
        let folder = PathBuf::from(folder);
        Member {
            name: folder.file_name().expect("named").to_str().expect("text").to_string(),
            layer: Layer::of(&folder).expect("a folder for crates"),
            folder,
            licence: Some(super::super::naming::LICENCE.to_string()),
            features: Vec::new(),
            dependencies: dependencies.iter().map(|name| name.to_string()).collect(),
        }
    }

    /// The crates at these folders, and a graph of names.
    pub fn workspace(folders: &[&str], graph: &[(&str, &[&str])]) -> Workspace {
        let members = folders.iter().map(|folder| member(folder, &[])).collect();
        let graph = graph
            .iter()
            .map(|(name, below)| (name.to_string(), below.iter().map(|name| name.to_string()).collect()))
            .collect();
        Workspace { members, graph }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_tests_need_is_not_in_the_graph() {
        let packages = ["a", "b", "c"].map(|name| json!({ "id": format!("path#{name}"), "name": name }));
        let nodes = json!([{ "id": "path#a", "deps": [
            { "pkg": "path#b", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] },
            { "pkg": "path#c", "dep_kinds": [{ "kind": "dev" }] },
        ]}]);
        let graph = graph(&packages, &nodes).expect("a graph");
        assert_eq!(graph["a"], BTreeSet::from(["b".to_string()]));
    }

    #[test]
    fn a_closure_goes_through_circles_and_ends() {
        let workspace = planted::workspace(&[], &[("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
        assert_eq!(workspace.closure("a"), BTreeSet::from(["a", "b", "c"]));
    }
}

//! What must hold of the repository and no compiler looks at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The kinds of crates, by the top folder they stand in.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Layer {
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
    fn may_depend_on(self, other: Layer) -> bool {
        match self {
            Layer::Library | Layer::Service => other == Layer::Library,
            Layer::Binary => matches!(other, Layer::Library | Layer::Service),
            Layer::Tool => other != Layer::Binary,
        }
    }
}

/// Libraries at the bottom, and the only crates of the workspace that they may depend on.
const FOUNDATIONS: [(&str, &[&str]); 3] = [("limits", &[]), ("proto", &[]), ("value", &["limits"])];

const LICENCE: &str = "Apache-2.0";

/// Suites for tests. No crate depends on them but for its own tests.
const SUITES: [&str; 1] = ["conformance"];

/// A switch that makes a server break what it promises, and the files that may name it. It is a `--cfg` of the compiler
/// and no cargo feature, so that no manifest turns it on.
const SWITCHES: [(&str, &[&str]); 1] = [(
    concat!("validation", "_off"),
    &[
        "Cargo.toml",
        "docs/decisions/0009-histories-of-appends.md",
        "services/txlog/src/service.rs",
        "services/txlog/src/validator.rs",
    ],
)];

/// Crates that must not get in by the features of some dependency: a second provider of cryptography beside the
/// chosen one makes TLS fail when it is first used.
const FORBIDDEN_CRATES: [&str; 1] = ["aws-lc-sys"];

struct Member {
    name: String,
    folder: PathBuf,
    layer: Layer,
    licence: Option<String>,
    /// Names of workspace crates it depends on, those only its tests need left out.
    dependencies: Vec<String>,
    features: Vec<String>,
}

/// Runs every check and reports all that is wrong, not only the first.
pub fn run(root: &Path) -> Result<()> {
    let members = members(root)?;
    let mut problems = Vec::new();
    problems.extend(crate_problems(&members));
    problems.extend(dependency_problems(&members));
    problems.extend(product_problems(&members));
    problems.extend(forbidden_crate_problems(root)?);
    problems.extend(tracked_file_problems(root)?);
    for problem in &problems {
        eprintln!("check: {problem}");
    }
    ensure!(problems.is_empty(), "{} problem(s) in the repository", problems.len());
    Ok(())
}

fn members(root: &Path) -> Result<Vec<Member>> {
    let output = output_of(root, "cargo", &["metadata", "--no-deps", "--format-version", "1"])?;
    let metadata: Value = serde_json::from_str(&output).context("read cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("cargo's metadata names no packages")?;
    packages.iter().map(|package| member(root, package)).collect()
}

fn member(root: &Path, package: &Value) -> Result<Member> {
    let name = package["name"].as_str().context("a package without a name")?.to_string();
    let manifest = Path::new(package["manifest_path"].as_str().context("a package without a manifest")?);
    let folder = manifest.parent().context("a manifest in no folder")?;
    let folder = folder.strip_prefix(root).unwrap_or(folder).to_path_buf();
    let layer = layer_of(&folder)?;
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

fn layer_of(folder: &Path) -> Result<Layer> {
    let mut parts = folder.iter().filter_map(|part| part.to_str());
    Ok(match (parts.next(), parts.next()) {
        (Some("crates"), Some(_)) | (Some("proto"), None) => Layer::Library,
        (Some("services"), Some("tidemark")) => Layer::Binary,
        (Some("services"), Some(_)) => Layer::Service,
        (Some("bench" | "tests"), Some(_)) | (Some("xtask"), None) => Layer::Tool,
        _ => bail!("{} is in no folder for crates", folder.display()),
    })
}

fn crate_problems(members: &[Member]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in members {
        let folder = member.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // The benchmark of a crate stands in bench/ under that crate's name, which two crates can't have.
        let is_benchmark_of = member.folder.starts_with("bench") && member.name == format!("{folder}-bench");
        if member.name != folder && !is_benchmark_of {
            problems.push(format!("crate {} stands in the folder {}", member.name, member.folder.display()));
        }
        if member.licence.as_deref() != Some(LICENCE) {
            problems.push(format!("crate {} does not say license = \"{LICENCE}\"", member.name));
        }
    }
    problems
}

/// Dependencies point one way: the binary → services → libraries → foundations. What only tests need is free.
fn dependency_problems(members: &[Member]) -> Vec<String> {
    let layers: BTreeMap<&str, Layer> =
        members.iter().map(|member| (member.name.as_str(), member.layer)).collect();
    let mut problems = Vec::new();
    for member in members {
        let foundation = FOUNDATIONS.iter().find(|(name, _)| *name == member.name);
        for dependency in &member.dependencies {
            let allowed = match foundation {
                Some((_, below)) => below.contains(&dependency.as_str()),
                None => {
                    layers.get(dependency.as_str()).is_some_and(|layer| member.layer.may_depend_on(*layer))
                }
            };
            if !allowed {
                problems.push(format!("crate {} must not depend on {dependency}", member.name));
            }
        }
    }
    problems
}

/// What is built is the product: it holds no suites, and no feature that one manifest turns on for all others.
fn product_problems(members: &[Member]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in members {
        for suite in SUITES.iter().filter(|suite| member.dependencies.iter().any(|name| name == *suite)) {
            problems.push(format!("crate {} must depend on {suite} for its tests only", member.name));
        }
        for feature in &member.features {
            problems.push(format!("crate {} must not have the feature {feature}", member.name));
        }
    }
    problems
}

/// Asks for the tree that is built, not the lock file: the lock file also holds what no feature turns on.
fn forbidden_crate_problems(root: &Path) -> Result<Vec<String>> {
    let tree = output_of(root, "cargo", &["tree", "--workspace", "--prefix", "none", "--format", "{p}"])?;
    let built = |name: &str| tree.lines().any(|line| line.split_whitespace().next() == Some(name));
    Ok(FORBIDDEN_CRATES
        .iter()
        .filter(|name| built(name))
        .map(|name| format!("{name} is in the dependency tree: see `cargo tree -i {name}`"))
        .collect())
}

/// Tracked files name no host that packages were fetched from and no folder of somebody's machine.
fn tracked_file_problems(root: &Path) -> Result<Vec<String>> {
    // Written in two halves, so that this file does not find itself.
    let registries = [
        concat!("registry.", "npmjs"),
        concat!("registry.", "yarnpkg"),
        concat!("static.", "crates.io"),
        concat!("pypi.", "org"),
    ];
    let folders =
        [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let mut problems = Vec::new();
    for path in output_of(root, "git", &["ls-files", "-z"])?.split_terminator('\0') {
        // A file deleted and not yet committed, or a binary one, has no lines to look at.
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            for (switch, files) in SWITCHES {
                if line.contains(switch) && !files.contains(&path) {
                    problems.push(format!("{path}:{number} names the switch {switch}"));
                }
            }
            if registries.iter().any(|host| line.contains(host)) {
                problems.push(format!("{path}:{number} names a package registry's host"));
            }
            if folders.iter().any(|folder| names_folder(line, folder)) {
                problems.push(format!("{path}:{number} names a folder of one machine"));
            }
        }
        if path.ends_with("package-lock.json") && text.contains("\"resolved\": \"http") {
            problems.push(format!(
                "{path} says where packages were fetched from (omit-lockfile-registry-resolved)"
            ));
        }
    }
    Ok(problems)
}

/// Whether the line has the folder as the beginning of an absolute path (not as a part of a longer one or of a URL).
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || "._-}$/".contains(character))
    })
}

fn output_of(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let command = || format!("run {program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).current_dir(root).output().with_context(command)?;
    if !output.status.success() {
        bail!("{}: {}", command(), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(folder: &str, dependencies: &[&str]) -> Member {
        let folder = PathBuf::from(folder);
        Member {
            name: folder.file_name().expect("named").to_str().expect("text").to_string(),
            layer: layer_of(&folder).expect("a folder for crates"),
            folder,
            licence: Some(LICENCE.to_string()),
            features: Vec::new(),
            dependencies: dependencies.iter().map(|name| name.to_string()).collect(),
        }
    }

    #[test]
    fn services_may_use_libraries_and_the_binary_may_use_services() {
        let members = [
            member("crates/value", &[]),
            member("crates/schema", &["value"]),
            member("services/txlog", &["schema"]),
            member("services/tidemark", &["txlog", "schema"]),
        ];
        assert_eq!(dependency_problems(&members), Vec::<String>::new());
    }

    #[test]
    fn a_service_must_not_use_another_service() {
        let members = [member("services/txlog", &[]), member("services/runner", &["txlog"])];
        assert_eq!(dependency_problems(&members), ["crate runner must not depend on txlog"]);
    }

    #[test]
    fn a_library_must_not_use_a_service_nor_a_foundation_what_stands_on_it() {
        let members = [
            member("services/txlog", &[]),
            member("crates/schema", &["txlog"]),
            member("crates/value", &["schema"]),
        ];
        assert_eq!(
            dependency_problems(&members),
            ["crate schema must not depend on txlog", "crate value must not depend on schema"]
        );
    }

    #[test]
    fn suites_and_features_are_not_for_the_product() {
        let mut switchable = member("services/txlog", &["conformance"]);
        switchable.features = vec!["fast".to_string()];
        assert_eq!(
            product_problems(&[member("crates/conformance", &["contract"]), switchable]),
            [
                "crate txlog must depend on conformance for its tests only",
                "crate txlog must not have the feature fast"
            ]
        );
    }

    #[test]
    fn a_crate_is_named_like_its_folder_and_licensed() {
        let mut stray = member("crates/schema", &[]);
        stray.name = "schemas".to_string();
        stray.licence = None;
        assert_eq!(crate_problems(&[stray]).len(), 2);
    }

    #[test]
    fn only_the_beginning_of_an_absolute_path_is_a_folder_of_a_machine() {
        let folder = concat!("/ho", "me/");
        assert!(names_folder(&format!("data in {folder}ada"), folder));
        assert!(!names_folder(&format!("see https://example.com{folder}"), folder));
        assert!(!names_folder(&format!("${{prefix}}{folder}"), folder));
    }
}

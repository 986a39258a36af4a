//! Finds the engine's C sources, which the crate `rquickjs-sys` brings along.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folders of the crate that brings QuickJS-NG.
pub struct Sources {
    /// QuickJS-NG.
    pub quickjs: PathBuf,
    /// Headers of a C library for WebAssembly.
    pub libc_include: PathBuf,
    /// That library, compiled.
    pub libc_archive: PathBuf,
    /// What the C library expects of an operating system, for a module that has none.
    pub shim: PathBuf,
}

impl Sources {
    /// Asks cargo where the crate lies. Cargo downloads only what is compiled, and this crate never is; so the first
    /// question is for what is there already, the second downloads it.
    pub fn find() -> Result<Sources, String> {
        let root = package_root(&["--offline"]).or_else(|_| package_root(&[]))?;
        let sources = Sources {
            quickjs: root.join("quickjs"),
            libc_include: root.join("vendor/wasi-libc/include"),
            libc_archive: root.join("vendor/wasi-libc/lib/libc.a"),
            shim: root.join("wasm-shim/shim.c"),
        };
        for path in [&sources.quickjs, &sources.libc_include, &sources.libc_archive, &sources.shim] {
            if !path.exists() {
                return Err(format!("the crate rquickjs-sys has no {}", path.display()));
            }
        }
        Ok(sources)
    }
}

fn package_root(extra: &[&str]) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").map_err(|_| "cargo did not set CARGO_MANIFEST_DIR")?)
            .join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(manifest)
        .args(extra)
        .output()
        .map_err(|error| format!("running cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "rquickjs-sys")
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent().map(Path::to_path_buf))
        .ok_or_else(|| "cargo metadata does not know the package rquickjs-sys".to_string())
}

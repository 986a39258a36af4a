//! Takes the function library that npm has installed (package.json), for queries that come without one.

use std::{
    error::Error,
    fmt::Write as _,
    path::{Path, PathBuf},
};

const PACKAGE: &str = "node_modules/convex";
/// What its server entry point imports, directly or not.
const PARTS: [&str; 4] = ["index.js", "common", "server", "values"];

fn main() -> Result<(), Box<dyn Error>> {
    let version = |manifest: &Path, of: &[&str]| -> Result<String, Box<dyn Error>> {
        println!("cargo::rerun-if-changed={}", manifest.display());
        let text = std::fs::read_to_string(manifest).map_err(|error| {
            format!(
                "{}: {error}; `make setup` installs it, or `npm ci` in services/runner",
                manifest.display()
            )
        })?;
        let manifest: serde_json::Value = serde_json::from_str(&text)?;
        let version = of.iter().try_fold(&manifest, |value, key| value.get(key));
        Ok(version.and_then(serde_json::Value::as_str).ok_or("a package without a version")?.to_owned())
    };
    let wanted = version(Path::new("package.json"), &["dependencies", "convex"])?;
    let installed = version(&Path::new(PACKAGE).join("package.json"), &["version"])?;
    if wanted != installed {
        return Err(format!(
            "npm's convex {installed} is installed, but package.json names {wanted}; `make setup` changes that"
        )
        .into());
    }
    let root = Path::new(PACKAGE).join("dist/esm");
    let mut files = Vec::new();
    for part in PARTS {
        find(&root.join(part), &mut files)?;
    }
    files.sort();
    let mut code = String::from("/// The function library's modules.\nconst LIBRARY: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.strip_prefix(&root)?.to_str().ok_or("a file whose name is no text")?;
        // A path of its own for each checkout, since several may share what is built.
        writeln!(
            code,
            "    (\"convex:/{name}\", include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/\", {file:?}))),"
        )?;
    }
    code.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("library.rs"), code)?;
    Ok(())
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            find(&entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "js") {
        files.push(path.to_owned());
    }
    Ok(())
}

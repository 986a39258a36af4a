//! Takes the JavaScript that npm has installed for the platform (package.json).

use std::path::Path;

const FOLDER: &str = "node_modules/web-streams-polyfill";

/// The streams of the web platform, as one module without imports.
pub fn web_streams() -> Result<String, String> {
    let read = |path: &Path| {
        println!("cargo::rerun-if-changed={}", path.display());
        std::fs::read_to_string(path)
    };
    let version = |text: &str, of: &[&str]| {
        let manifest: serde_json::Value = serde_json::from_str(text).ok()?;
        of.iter()
            .try_fold(&manifest, |value, key| value.get(key))
            .and_then(|value| Some(value.as_str()?.to_owned()))
    };
    let missing =
        "web-streams-polyfill is not installed; `make setup` installs it, or `npm ci` in crates/isolate";
    let wanted = read(Path::new("package.json")).map_err(|error| format!("reading package.json: {error}"))?;
    let installed = read(&Path::new(FOLDER).join("package.json")).map_err(|_| missing)?;
    let wanted = version(&wanted, &["dependencies", "web-streams-polyfill"]);
    let installed = version(&installed, &["version"]);
    if wanted.is_none() || wanted != installed {
        let text = |version: Option<String>| version.unwrap_or_else(|| "no version".into());
        return Err(format!(
            "web-streams-polyfill {} is installed, but package.json names {}; `make setup` changes that",
            text(installed),
            text(wanted)
        ));
    }
    read(&Path::new(FOLDER).join("dist/ponyfill.mjs")).map_err(|_| missing.to_string())
}

//! Bundles the page by esbuild, which npm has installed with all that the page imports (package.json).

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["web", "package-lock.json", "tsconfig.json"] {
        println!("cargo::rerun-if-changed={path}");
    }
    installed_as_locked()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let assets = out.join("assets");
    if assets.exists() {
        fs::remove_dir_all(&assets)?;
    }
    let bundle = Command::new(esbuild()?)
        .args(["web/main.tsx", "--bundle", "--minify", "--format=esm", "--target=es2022", "--jsx=automatic"])
        .args([
            "--define:process.env.NODE_ENV=\"production\"",
            "--legal-comments=linked",
            "--log-level=warning",
        ])
        .args(["--loader:.woff2=file", "--asset-names=[name]"])
        .arg(format!("--outdir={}", assets.display()))
        .output()?;
    if !bundle.status.success() {
        return Err(format!("esbuild: {}", String::from_utf8_lossy(&bundle.stderr)).into());
    }
    for name in ["index.html", "icon.svg"] {
        fs::copy(Path::new("web").join(name), assets.join(name))?;
    }
    // The fonts' licence asks to go with them.
    for font in ["inter", "jetbrains-mono"] {
        let licence = format!("node_modules/@fontsource-variable/{font}/LICENSE");
        fs::copy(licence, assets.join(format!("{font}.LICENSE.txt")))?;
    }
    let mut files =
        fs::read_dir(&assets)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    let mut code = String::from("/// All files.\npub const ASSETS: &[Asset] = &[\n");
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).ok_or("a file whose name is no text")?;
        let content_type =
            content_type(&file).ok_or_else(|| format!("{name}: of which media type is it?"))?;
        writeln!(
            code,
            "    Asset {{ name: {name:?}, content_type: {content_type:?}, bytes: include_bytes!({file:?}) }},"
        )?;
    }
    code.push_str("];\n");
    fs::write(out.join("assets.rs"), code)?;
    Ok(())
}

fn content_type(file: &Path) -> Option<&'static str> {
    Some(match file.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

/// The program itself, one for each platform: it runs without Node.js.
fn esbuild() -> Result<PathBuf, Box<dyn Error>> {
    let platforms = fs::read_dir("node_modules/@esbuild")?;
    let programs = platforms.map(|platform| Ok(platform?.path().join("bin/esbuild")));
    let mut programs = programs.collect::<Result<Vec<PathBuf>, std::io::Error>>()?;
    programs.retain(|program| program.is_file());
    Ok(programs.pop().ok_or("npm has installed no esbuild for this platform")?)
}

/// Every package is there in the version that the lock file names.
fn installed_as_locked() -> Result<(), Box<dyn Error>> {
    let versions = |path: &str| -> Result<Vec<(String, serde_json::Value)>, Box<dyn Error>> {
        let text = fs::read_to_string(path).map_err(|error| {
            format!("{path}: {error}; `make setup` installs it, or `npm ci` in crates/console")
        })?;
        let lock: serde_json::Value = serde_json::from_str(&text)?;
        let packages = lock["packages"].as_object().ok_or("a lock file without packages")?;
        // What is for other platforms only is in the lock file alone.
        let needed = packages.iter().filter(|(path, of)| !path.is_empty() && of["optional"] != true);
        Ok(needed.map(|(path, of)| (path.clone(), of["version"].clone())).collect())
    };
    let installed = versions("node_modules/.package-lock.json")?;
    match versions("package-lock.json")?.into_iter().find(|package| !installed.contains(package)) {
        None => Ok(()),
        Some((path, version)) => {
            Err(format!("{path} is not installed as {version}; `make setup` changes that").into())
        }
    }
}

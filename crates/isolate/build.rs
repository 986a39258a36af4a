//! Compiles the JavaScript engine to WebAssembly, and that to machine code. Adds the JavaScript that npm brings.

#[path = "build/configuration.rs"]
mod configuration;
#[path = "build/edits.rs"]
mod edits;
#[path = "build/module.rs"]
mod module;
#[path = "build/native.rs"]
mod native;
#[path = "build/packages.rs"]
mod packages;
#[path = "build/sources.rs"]
mod sources;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::path::{Path, PathBuf};

fn main() {
    for path in ["Cargo.toml", "build.rs", "build", "guest"] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(error) = run() {
        // `cargo::error` shows the text without the noise of a panic, and fails the build.
        println!("cargo::error={}", error.replace('\n', " "));
        std::process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let web_streams = packages::web_streams()?;
    let sources = sources::Sources::find()?;
    println!("cargo::rerun-if-changed={}", sources.quickjs.display());
    let linked = toolchain::build(&sources, Path::new("guest"), &out)?;
    let separated = module::separate(&linked)?;
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(out.join(name), bytes).map_err(|error| format!("writing {name}: {error}"))
    };
    write("web-streams.js", web_streams.as_bytes())?;
    let target = std::env::var("TARGET").map_err(|_| "cargo sets TARGET")?;
    write("engine-code.cwasm", &native::compile(&separated.code, &target)?)?;
    write("engine-code.wasm", &separated.code)?;
    write("engine-data.bin", &encode_data(&separated.data))
}

/// One segment after another: address, length (both 32 bits, little-endian), bytes.
fn encode_data(segments: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (address, bytes) in segments {
        encoded.extend_from_slice(&address.to_le_bytes());
        encoded.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        encoded.extend_from_slice(bytes);
    }
    encoded
}

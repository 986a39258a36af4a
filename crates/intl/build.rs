//! Makes one table of what CLDR says in every locale (build/), from the packages that npm has installed (package.json).

#[path = "build/locales.rs"]
mod locales;
#[path = "build/packages.rs"]
mod packages;
#[path = "build/supplement.rs"]
mod supplement;
#[path = "build/table.rs"]
mod table;

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");
    if let Err(message) = run() {
        println!("cargo::error={message}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let packages = packages::Packages::find()?;
    let mut table = table::Table::default();
    locales::add(&packages, &mut table)?;
    supplement::add(&packages, &mut table)?;
    std::fs::write(out.join("cldr.bin"), table.bytes()?).map_err(|error| format!("writing cldr.bin: {error}"))
}

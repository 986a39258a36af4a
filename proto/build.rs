//! Compiles the .proto files without protoc.

use std::path::PathBuf;

const FILES: [&str; 5] = [
    "tidemark/common/v1/common.proto",
    "tidemark/sequencer/v1/sequencer.proto",
    "tidemark/txlog/v1/entry.proto",
    "tidemark/txlog/v1/log.proto",
    "tidemark/txlog/v1/raft.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let descriptors = protox::compile(FILES, [&root])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    Ok(())
}

//! Compiles the .proto files without protoc.

use std::{fs, path::PathBuf};

use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use protox::prost::Message as _;

const FILES: [&str; 14] = [
    "tidemark/admin/v1/admin.proto",
    "tidemark/blob/v1/blob.proto",
    "tidemark/common/v1/common.proto",
    "tidemark/deploy/v1/deploy.proto",
    DEPLOYMENT,
    "tidemark/fanout/v1/fanout.proto",
    "tidemark/files/v1/files.proto",
    "tidemark/runner/v1/runner.proto",
    "tidemark/scheduler/v1/scheduler.proto",
    "tidemark/search/v1/search.proto",
    "tidemark/sequencer/v1/sequencer.proto",
    "tidemark/txlog/v1/entry.proto",
    "tidemark/txlog/v1/log.proto",
    "tidemark/txlog/v1/raft.proto",
];

/// The public API, whose description is also served to callers who ask for it.
const DEPLOYMENT: &str = "tidemark/deployment/v1/deployment.proto";
const VALUE: &str = ".tidemark.deployment.v1.Value";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let public = protox::compile([DEPLOYMENT], [&root])?;
    fs::write(out.join("deployment.bin"), public.encode_to_vec())?;
    let mut descriptors = protox::compile(FILES, [&root])?;
    keep_values_encoded(&mut descriptors);
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    Ok(())
}

/// Has requests and answers hold their values as bytes, which is the same on the wire. Whoever serves them reads the bytes
/// with limits that have codes, however deep they nest; generated code would stop after a hundred messages within each other.
fn keep_values_encoded(descriptors: &mut FileDescriptorSet) {
    const PARTS_OF_VALUES: [&str; 3] = ["Value", "Array", "Object"];
    let files = descriptors.file.iter_mut().filter(|file| file.name() == DEPLOYMENT);
    let messages = files.flat_map(|file| &mut file.message_type);
    messages.filter(|message| !PARTS_OF_VALUES.contains(&message.name())).for_each(keep_encoded);
}

fn keep_encoded(message: &mut DescriptorProto) {
    for field in message.field.iter_mut().filter(|field| field.type_name() == VALUE) {
        field.set_type(Type::Bytes);
        field.type_name = None;
    }
    message.nested_type.iter_mut().for_each(keep_encoded);
}

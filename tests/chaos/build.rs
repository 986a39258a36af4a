//! Makes the client's code from the messages of the public gRPC API, without protoc.

const ROOT: &str = "../../proto";
const DEPLOYMENT: &str = "tidemark/deployment/v1/deployment.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={ROOT}/{DEPLOYMENT}");
    let descriptors = protox::compile([DEPLOYMENT], [ROOT])?;
    Ok(tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?)
}

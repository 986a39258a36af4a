//! What the benchmarks share: servers to measure and their peers, callers that send HTTP requests as fast as they are answered, and the
//! report of them.

mod callers;
mod cluster;
mod draw;
pub mod peers;
pub mod processes;
mod report;
mod server;

pub use callers::{Answer, Callers, run};
pub use cluster::Cluster;
pub use draw::{Draw, Uniform, Zipf};
pub use report::{Report, Spread, ratio};
pub use server::{Memory, Mutations, Server};

/// A client of HTTP. It asks local servers by plain HTTP, and yet the library makes none without somebody's cryptography, since the
/// workspace has it without its own.
pub fn client() -> reqwest::Client {
    // It is installed once for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[cfg(test)]
mod tests {
    #[test]
    fn clients_can_be_made() {
        super::client();
        super::client();
    }
}

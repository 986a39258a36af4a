//! The real program, for the length of a test.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A program of its own per test, on a folder of its own.
pub struct Server {
    pub process: Child,
    pub folder: tempfile::TempDir,
    pub address: String,
    pub admin_key: String,
}

impl Server {
    pub fn start(configuration: &str) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration_file = folder.path().join("tidemark.toml");
        fs::write(&configuration_file, configuration).expect("writes");
        let data = folder.path().join("data");
        let process = Command::new(env!("CARGO_BIN_EXE_tidemark"))
            .args(["dev", "--port", "0", "--site-port", "0", "--config"])
            .arg(&configuration_file)
            .arg("--data-dir")
            .arg(&data)
            .stdout(Stdio::null())
            .spawn()
            .expect("starts");
        let mut server = Server { process, folder, address: String::new(), admin_key: String::new() };
        let started = Instant::now();
        let env = loop {
            match fs::read_to_string(data.join("env")) {
                Ok(text) => break text,
                Err(_) => {
                    assert!(started.elapsed() < PATIENCE, "it does not serve");
                    assert!(server.process.try_wait().expect("is a child").is_none(), "it ended");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        };
        let value = |name: &str| {
            let line = env.lines().find_map(|line| line.strip_prefix(name)).expect("is in the file env");
            line.trim_start_matches('=').trim_matches('\'').to_owned()
        };
        let url = value("CONVEX_SELF_HOSTED_URL");
        server.address = url.split_once("://").expect("has a scheme").1.to_owned();
        server.admin_key = value("CONVEX_SELF_HOSTED_ADMIN_KEY");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = &self.folder;
    }
}

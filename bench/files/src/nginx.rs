//! The peer: nginx as Debian installs it, with one worker for each processor, on a folder of its own.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use harness::processes;
use tokio::process::{Child, Command};

use crate::client::Address;

pub struct Nginx {
    process: Child,
    port: u16,
}

impl Nginx {
    /// Starts it; `None` if it is not installed.
    pub async fn start(folder: &Path) -> Result<Option<Nginx>> {
        std::fs::create_dir_all(folder.join("files"))?;
        std::fs::create_dir_all(folder.join("body"))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = folder.join("nginx.conf");
        let at = folder.canonicalize()?;
        let at = at.display();
        // As in Debian's file, but for where things are. Workers run as whoever starts them, so that they may read the folder.
        let user =
            if processes::run(Command::new("id").arg("-u")).await?.trim() == "0" { "user root;" } else { "" };
        let text = format!(
            "{user}
            daemon off;
            worker_processes auto;
            pid {at}/pid;
            error_log {at}/errors;
            events {{ worker_connections 768; }}
            http {{
                sendfile on;
                tcp_nopush on;
                access_log off;
                client_body_temp_path {at}/body;
                client_max_body_size 0;
                server {{
                    listen 127.0.0.1:{port};
                    root {at}/files;
                    location / {{ dav_methods PUT; }}
                }}
            }}"
        );
        std::fs::write(&configuration, text)?;
        let started = Command::new("nginx")
            .arg("-c")
            .arg(configuration.canonicalize()?)
            .args(["-e", &format!("{at}/errors")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("start nginx"),
        };
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(Some(Nginx { process, port }));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let errors = std::fs::read_to_string(folder.join("errors")).unwrap_or_default();
        anyhow::bail!("nginx does not serve: {errors}")
    }

    pub fn address(&self, name: &str) -> Address {
        Address { host: ([127, 0, 0, 1], self.port).into(), path: format!("/{name}") }
    }

    pub async fn stop(self) -> Result<()> {
        processes::stop(self.process, "TERM").await
    }
}

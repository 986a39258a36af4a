//! Processes that end with the benchmark.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// Runs a command to its end; its output is shown only if it fails.
pub async fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks a process to stop by the given signal and waits for it.
pub async fn stop(mut child: Child, signal: &str) -> Result<()> {
    if let Some(id) = child.id() {
        run(Command::new("kill").args([format!("-{signal}"), id.to_string()])).await?;
        child.wait().await?;
    }
    Ok(())
}

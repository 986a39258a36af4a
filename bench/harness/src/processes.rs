//! Processes that end with the benchmark.

use std::{process::Stdio, time::Duration};

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

/// How many processes wanted a processor, on average of the last minute, as Linux says it.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// In which Linux tells processor times to programs.
const MILLISECONDS_PER_TICK: u64 = 10;

/// Processor time that this program itself has taken so far, in the kernel too, and none of what it has started.
pub fn own_cpu_time() -> Result<Duration> {
    let ticks: u64 = times(&std::fs::read_to_string("/proc/self/stat")?)[10..12].iter().sum();
    Ok(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
}

/// What stands in `stat` behind the name, which may hold anything: state, parent, and from the 11th on the four times, those of
/// children that have ended last. What is no number counts as 0.
fn times(stat: &str) -> Vec<u64> {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(1);
    fields.map(|field| field.parse().unwrap_or(0)).collect()
}

/// Processor time that a process and its children have taken so far, in the kernel too.
pub fn cpu_time(id: u32) -> Result<Duration> {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(number) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended since.
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else { continue };
        let fields = times(&stat);
        match fields[..] {
            [_, ..] if number == id => ticks += fields[10..14].iter().sum::<u64>(),
            [parent, ..] if parent == u64::from(id) => ticks += fields[10] + fields[11],
            _ => {}
        }
    }
    Ok(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
}

//! Three zones as real processes, each in a network namespace of its own; clients of all kinds that call them; and faults, chosen by
//! a seed. At the end it is judged whether all that was promised held.
//!
//! What it does and checks is told in docs/chaos.md.

mod app;
mod clients;
mod conductor;
mod faults;
mod findings;
mod grpc;
mod judge;
mod load;
mod network;
mod nodes;
mod relay;
mod world;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use clap::Parser;

use faults::Kind;
use findings::say;
use nodes::Cluster;
use world::World;

/// Told by a test from a failure: here the run is not possible.
const IMPOSSIBLE: u8 = 77;
const INTERRUPTED: u8 = 130;

#[derive(Debug, Parser)]
#[command(about = "Runs three zones under load and faults, and checks what was promised.")]
pub struct Options {
    /// The program that is tested.
    #[arg(long, value_name = "PROGRAM")]
    tidemark: PathBuf,
    /// The folder of the repository, where the packages of the end-to-end tests are installed.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    root: PathBuf,
    /// Repeats a run's choices [default: a random one].
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults go on. Starting, settling and judging come on top.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// One short fault of each of a few kinds, for the tests.
    #[arg(long)]
    short: bool,
    /// Only these kinds of faults, with commas between.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Another version of the program, which takes its turn on one of the nodes.
    #[arg(long, value_name = "PROGRAM")]
    older: Option<PathBuf>,
    /// Keep the folder of logs and histories in any case.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Before there is any other thread: a namespace is a thread's.
    if let Err(error) = network::enter() {
        eprintln!(
            "chaos: it needs root, network namespaces and iptables, which are not to be had here: {error:#}"
        );
        return ExitCode::from(IMPOSSIBLE);
    }
    let seed = options.seed.unwrap_or_else(rand::random::<u64>);
    let folder = std::env::temp_dir().join(format!("tidemark-chaos-{seed}-{}", std::process::id()));
    let ran = begin(&options, seed, &folder);
    let kept = options.keep || !matches!(ran, Ok(Ending::AllHeld));
    if !kept || matches!(ran, Ok(Ending::Interrupted)) {
        // The disk of a zone is mounted in it, until this process ends.
        network::unmount(&folder);
        let _ = fs::remove_dir_all(&folder);
    } else {
        println!("Logs and histories: {}", folder.display());
    }
    match ran {
        Ok(Ending::AllHeld) => ExitCode::SUCCESS,
        Ok(Ending::Broken) => {
            println!("{}", how_to_repeat(&options, seed));
            ExitCode::FAILURE
        }
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            println!("chaos: {error:#}\n{}", how_to_repeat(&options, seed));
            ExitCode::FAILURE
        }
    }
}

enum Ending {
    AllHeld,
    Broken,
    Interrupted,
}

fn how_to_repeat(options: &Options, seed: u64) -> String {
    let faults: Vec<String> = options.faults.iter().map(|kind| kind.name()).collect();
    let only = if faults.is_empty() { String::new() } else { format!(" FAULTS={}", faults.join(",")) };
    format!("To repeat: make chaos SEED={seed} MINUTES={}{only}", options.minutes)
}

fn begin(options: &Options, seed: u64, folder: &Path) -> Result<Ending> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = Arc::new(World::new(seed, folder)?);
        tokio::select! {
            ended = run(options, &world, folder) => ended,
            _ = tokio::signal::ctrl_c() => {
                println!("\nStopped. Nothing is left behind.");
                Ok(Ending::Interrupted)
            }
        }
    })
}

async fn run(options: &Options, world: &Arc<World>, folder: &Path) -> Result<Ending> {
    println!("SEED={}", world.seed);
    say(world, format_args!("the namespaces are there; starting three zones"));
    let mut cluster = Cluster::prepare(options, world.clone(), folder).await?;
    cluster.start_all().await?;
    say(world, format_args!("all nodes serve; pushing the app"));
    app::push(options, world, folder).await?;
    let load = load::begin(world);
    say(world, format_args!("the load has begun"));
    let summary = conductor::run(options, world, &mut cluster).await?;
    say(world, format_args!("the faults are over; waiting until all is settled"));
    load.end(world).await;
    judge::settle(world, &mut cluster).await?;
    judge::judge(world, &mut cluster).await?;
    cluster.stop_all().await;
    judge::read_logs(world, &cluster)?;
    summary.print(world);
    let held = world.findings.print();
    Ok(if held { Ending::AllHeld } else { Ending::Broken })
}

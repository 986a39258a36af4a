//! What the server takes in memory under a mixed load of calls, while its app is deployed again and again with other code.
//!
//! Several builds can be measured in one run; they take turns. Each turn is a server of its own, from its start to the
//! end of its load. The samples are printed as they are taken, and written to a file of comma separated values and to a
//! plot if wished; besides, what the server's own metrics say of its memory.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod load;
mod plot;
mod sample;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::Server;

use crate::{
    load::Load,
    sample::{Sample, slope},
};

/// Measures memory.
#[derive(Parser)]
struct Arguments {
    /// How long each server is under load.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// From one deploy to the next.
    #[arg(long, default_value_t = 20)]
    deploy_seconds: u64,
    /// From one look at the memory to the next.
    #[arg(long, default_value_t = 10)]
    sample_seconds: u64,
    /// The end of the load, of which the slope is taken.
    #[arg(long, default_value_t = 300)]
    slope_seconds: u64,
    /// How long nobody calls afterwards, before the memory is looked at once more.
    #[arg(long, default_value_t = 60)]
    rest_seconds: u64,
    /// Callers, each with one call under way.
    #[arg(long, default_value_t = 6)]
    callers: usize,
    /// Kilobytes of code in the app, all of it other code at each deploy.
    #[arg(long, default_value_t = 1_000)]
    code_kilobytes: usize,
    #[arg(long, default_value_t = 1)]
    turns: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A server to measure, again for each; by default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app.
    #[arg(long, default_value = "bench/memory/app")]
    app: PathBuf,
    /// Where the samples are written, as comma separated values.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Where a plot of the resident memory is written, as SVG.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// One server's turn.
struct Turn {
    name: String,
    samples: Vec<Sample>,
    rested: Sample,
    answered: u64,
    failed: u64,
    deploys: u64,
    cpu: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binaries = Server::binaries(&arguments.tidemark)?;
    let app = App::copy(&arguments.app, arguments.code_kilobytes).await?;
    println!(
        "{} callers for {} s, a deploy of {} kB each {} s, seed {}; megabytes (of 1,000,000 bytes)",
        arguments.callers,
        arguments.seconds,
        arguments.code_kilobytes,
        arguments.deploy_seconds,
        arguments.seed
    );
    let mut turns = Vec::new();
    for turn in 0..arguments.turns.max(1) {
        for (number, binary) in binaries.iter().enumerate() {
            let name = format!("build {}, turn {}", number + 1, turn + 1);
            println!("\n{name}: {}", binary.display());
            let measured = measure(&arguments, &app, binary, name, turn as u64).await?;
            report(&arguments, &measured);
            turns.push(measured);
        }
    }
    println!();
    for turn in &turns {
        println!("{}", summary(&arguments, turn));
    }
    if let Some(path) = &arguments.csv {
        std::fs::write(path, csv(&turns)).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &arguments.svg {
        let lines: Vec<_> = turns.iter().map(|turn| (turn.name.as_str(), turn.samples.as_slice())).collect();
        std::fs::write(path, plot::svg(&lines)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

async fn measure(arguments: &Arguments, app: &App, binary: &Path, name: String, turn: u64) -> Result<Turn> {
    let data = tempfile::tempdir()?;
    let server = Server::start(binary, data.path()).await?;
    let mut deploys = 0;
    app.deploy(&server, deploys).await?;
    println!("{:>8}  {}", "seconds", Sample::TITLES);
    let begin = Instant::now();
    let seconds = Duration::from_secs;
    let cpu_before = server.cpu_time()?;
    let load = Load::start(&server, arguments.callers, arguments.seed + turn);
    let deploying = async {
        loop {
            deploys += 1;
            let next = begin + seconds(arguments.deploy_seconds) * deploys as u32;
            if next >= begin + seconds(arguments.seconds) {
                return Ok::<_, anyhow::Error>(());
            }
            tokio::time::sleep_until(next.into()).await;
            app.deploy(&server, deploys).await?;
        }
    };
    let mut samples = Vec::new();
    let mut sizes = Vec::new();
    let sampling = async {
        let every = arguments.sample_seconds.max(1);
        for at in (0..=arguments.seconds).step_by(every as usize) {
            tokio::time::sleep_until((begin + seconds(at)).into()).await;
            let now = server.sizes().await?;
            let sample = Sample::take(&server, begin.elapsed(), &now)?;
            println!("{:>8.0}  {sample}", sample.at.as_secs_f64());
            samples.push(sample);
            if at + arguments.slope_seconds >= arguments.seconds {
                sizes.push(now);
            }
        }
        Ok(())
    };
    tokio::try_join!(deploying, sampling)?;
    let cpu = server.cpu_time()? - cpu_before;
    print_sizes(&sizes);
    let (answered, failed) = load.stop().await?;
    tokio::time::sleep(seconds(arguments.rest_seconds)).await;
    let rested = Sample::take(&server, begin.elapsed(), &server.sizes().await?)?;
    println!("{:>8.0}  {rested}  after {} s of rest", rested.at.as_secs_f64(), arguments.rest_seconds);
    server.stop().await?;
    ensure!(answered > 0, "calls are answered");
    Ok(Turn { name, samples, rested, answered, failed, deploys, cpu })
}

/// Means of the first and of the last third: what the store gathers and flushes comes and goes within a minute.
fn print_sizes(sizes: &[BTreeMap<String, f64>]) {
    let third = sizes.len().div_ceil(3);
    let Some(names) = sizes.last().filter(|names| !names.is_empty()) else { return };
    println!("what it says that it takes, in the first and the last third of the slope's time, MB:");
    for name in names.keys() {
        let mean = |part: &[BTreeMap<String, f64>]| {
            part.iter().filter_map(|sizes| sizes.get(name)).sum::<f64>() / part.len() as f64 / 1e6
        };
        let (first, last) = (mean(&sizes[..third]), mean(&sizes[sizes.len() - third..]));
        println!("  {first:>8.1}  {last:>8.1}  {name}");
    }
}

fn report(arguments: &Arguments, turn: &Turn) {
    println!("{}", summary(arguments, turn));
}

fn summary(arguments: &Arguments, turn: &Turn) -> String {
    let peak = turn.samples.iter().map(|sample| sample.resident).max().unwrap_or(0);
    let last = turn.samples.last().map_or(0, |sample| sample.resident);
    let time = Duration::from_secs(arguments.slope_seconds);
    let resident = slope(&turn.samples, time, |sample| sample.resident);
    let kept = slope(&turn.samples, time, Sample::kept);
    format!(
        "{}: peak {:.0} MB, at the end {:.0} MB, after the rest {:.0} MB, slope of the last {} s {resident} \
         (without what is gathered {kept}); {} calls, {} failed, {} deploys, {:.0} s of processor time",
        turn.name,
        peak as f64 / 1e6,
        last as f64 / 1e6,
        turn.rested.resident as f64 / 1e6,
        arguments.slope_seconds,
        turn.answered,
        turn.failed,
        turn.deploys,
        turn.cpu.as_secs_f64(),
    )
}

fn csv(turns: &[Turn]) -> String {
    let mut text = String::from("turn,seconds,resident,anonymous,shared,images,gathered\n");
    for turn in turns {
        for sample in turn.samples.iter().chain([&turn.rested]) {
            let Sample { at, resident, anonymous, shared, images, gathered } = sample;
            writeln!(
                text,
                "\"{}\",{:.0},{resident},{anonymous},{shared},{images},{gathered}",
                turn.name,
                at.as_secs_f64()
            )
            .expect("a text takes what is written");
        }
    }
    text
}

/// A copy of the app, in which the code can be changed.
struct App {
    folder: tempfile::TempDir,
    code_bytes: usize,
}

impl App {
    async fn copy(from: &Path, code_kilobytes: usize) -> Result<App> {
        let folder = tempfile::tempdir()?;
        copy_folder(from, folder.path()).with_context(|| format!("copy {}", from.display()))?;
        Server::install(folder.path()).await?;
        Ok(App { folder, code_bytes: code_kilobytes * 1_000 })
    }

    /// Deploys it with code that was never deployed before.
    async fn deploy(&self, server: &Server, number: u64) -> Result<()> {
        let ballast = ballast(number, self.code_bytes);
        std::fs::write(self.folder.path().join("convex/ballast.ts"), ballast)?;
        server.deploy(self.folder.path()).await
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() == "node_modules" {
            continue;
        }
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}

/// A module with so many bytes of functions, each of which names the deploy.
fn ballast(deploy: u64, bytes: usize) -> String {
    let mut text = String::from("export const parts: ((number: number) => string)[] = [\n");
    let mut number = 0;
    while text.len() < bytes {
        writeln!(
            text,
            "  (number) => {{ const name = \"deploy {deploy}, part {number}\"; let sum = {number}; \
             for (const letter of name) sum = (sum * 31 + letter.charCodeAt(0) + number) % 65521; \
             return sum > {deploy} ? `${{name}}: ${{sum}}` : name.toUpperCase() + \" has little\"; }},"
        )
        .expect("a text takes what is written");
        number += 1;
    }
    text + "];\n"
}

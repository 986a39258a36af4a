//! What must hold of the repository and no compiler looks at: one file per check. A check returns all that is wrong,
//! one sentence each, so that one run shows everything.

mod absence;
mod clocks;
mod decisions;
mod files;
mod forbidden_crates;
mod layers;
mod links;
mod naming;
mod product;
mod source;
mod switches;
mod traces;
mod workspace;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use files::Files;
use workspace::Workspace;

/// Runs every check and reports all that is wrong, not only the first.
pub fn run(root: &Path) -> Result<()> {
    let workspace = Workspace::read(root)?;
    let files = Files::read(root)?;
    let mut problems = Vec::new();
    problems.extend(naming::problems(&workspace.members));
    problems.extend(layers::problems(&workspace.members));
    problems.extend(product::problems(&workspace.members));
    problems.extend(absence::problems(&workspace, &files));
    problems.extend(forbidden_crates::problems(root)?);
    problems.extend(switches::problems(&files));
    problems.extend(traces::problems(&files));
    problems.extend(clocks::problems(&files));
    problems.extend(links::problems(&files));
    problems.extend(decisions::problems(&files));
    for problem in &problems {
        eprintln!("check: {problem}");
    }
    ensure!(problems.is_empty(), "{} problem(s) in the repository", problems.len());
    Ok(())
}

fn output_of(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let command = || format!("run {program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).current_dir(root).output().with_context(command)?;
    if !output.status.success() {
        bail!("{}: {}", command(), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(command)
}

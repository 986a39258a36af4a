//! The JavaScript that runs in each process, and the programs that run it.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{
    NodeVersion,
    options::{Options, Programs},
};

const FILES: &[(&str, &str)] = &[
    ("analysis.mjs", include_str!("program/analysis.mjs")),
    ("calls.mjs", include_str!("program/calls.mjs")),
    ("console.mjs", include_str!("program/console.mjs")),
    ("environment.mjs", include_str!("program/environment.mjs")),
    ("frames.mjs", include_str!("program/frames.mjs")),
    ("main.mjs", include_str!("program/main.mjs")),
    ("modules.mjs", include_str!("program/modules.mjs")),
    ("stacks.mjs", include_str!("program/stacks.mjs")),
    ("syscalls.mjs", include_str!("program/syscalls.mjs")),
];

/// Puts the files of the program into a folder.
pub(crate) fn write_to(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    FILES.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text))
}

/// The programs that are there and of a version that apps can ask for; the first of each.
pub(crate) async fn find(options: &Options) -> Programs {
    let mut found = Programs::new();
    for program in &options.programs {
        let Some(path) = locate(program) else { continue };
        match version_of(&path).await {
            Some(version) => {
                found.entry(version).or_insert(path);
            }
            None => {
                tracing::info!(program = %path.display(), "this is not Node.js 22 or 24, so it runs no actions");
            }
        }
    }
    found
}

async fn version_of(path: &Path) -> Option<NodeVersion> {
    let output = Command::new(path).arg("--version").env_clear().output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    NodeVersion::of_major(text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()?)
}

/// Where a program is that is named by a path, or by a name that is on `PATH`.
pub(crate) fn locate(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(|path| path.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

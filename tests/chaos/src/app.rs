//! The app that the load calls, pushed by the official command line tool.

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{Options, world::World};

const PUSH_TIME_MAX: Duration = Duration::from_secs(240);

pub async fn push(options: &Options, world: &World, folder: &Path) -> Result<()> {
    let root = std::path::absolute(&options.root)?;
    let modules = root.join("tests/end-to-end/node_modules");
    let tool = modules.join("convex/bin/main.js");
    ensure!(tool.exists(), "the packages of the end-to-end tests are missing: make setup");
    let project = folder.join("app");
    fs::create_dir_all(project.join("convex"))?;
    for entry in fs::read_dir(root.join("tests/chaos/app/convex"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), project.join("convex").join(entry.file_name()))?;
        }
    }
    symlink(&modules, project.join("node_modules"))?;
    let manifest =
        json!({ "name": "chaos", "private": true, "type": "module", "dependencies": { "convex": "*" } });
    fs::write(project.join("package.json"), manifest.to_string())?;
    let place = *world.places().first().context("there is a node")?;
    let mut command = tokio::process::Command::new("node");
    command.arg(tool).args(["deploy", "--typecheck", "disable"]).current_dir(&project);
    command.env("CI", "1").env("HOME", &project);
    command.env_remove("CONVEX_DEPLOYMENT").env_remove("CONVEX_DEPLOY_KEY");
    command.env("CONVEX_SELF_HOSTED_URL", place.api());
    command.env("CONVEX_SELF_HOSTED_ADMIN_KEY", world.admin_key.get().context("nodes serve")?);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PUSH_TIME_MAX, command.output())
        .await
        .context("the push has not ended in time")??;
    ensure!(
        output.status.success(),
        "the push failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

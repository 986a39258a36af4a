//! A task for each deployment that is served, from when it comes until it goes.
//!
//! Sweeps, queues and whatever else looks after one deployment is a task of its own. [`for_each_deployment`] begins and ends
//! them as the directory says, so that no service need be started again when a deployment is created or deleted.
//!
//! This crate knows nothing of what the tasks do.

#![warn(missing_docs)]

use std::{collections::HashMap, sync::Arc};

use contract::{Deployment, DeploymentRef, Deployments};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Runs a task for each deployment. Its token is cancelled when the deployment goes, and with `shutdown`; a task that ends
/// before is not begun again. Returns after `shutdown`, when all tasks have ended.
pub async fn for_each_deployment<T>(
    mut deployments: watch::Receiver<Arc<Deployments>>,
    shutdown: CancellationToken,
    task: impl Fn(Arc<Deployment>, CancellationToken) -> T,
) where
    T: Future<Output = ()> + Send + 'static,
{
    let mut tokens: HashMap<DeploymentRef, CancellationToken> = HashMap::new();
    let mut tasks = JoinSet::new();
    while !shutdown.is_cancelled() {
        let served = deployments.borrow_and_update().clone();
        tokens.retain(|reference, token| {
            let is_served = served.get(*reference).is_ok();
            if !is_served {
                token.cancel();
            }
            is_served
        });
        for entry in served.iter() {
            tokens.entry(entry.reference()).or_insert_with(|| {
                let token = shutdown.child_token();
                tasks.spawn(task(entry.deployment.clone(), token.clone()));
                token
            });
        }
        drop(served);
        wait_for_change(&mut deployments, &shutdown, &mut tasks).await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a panic ends the process");
    }
}

/// Meanwhile what ends is let go.
async fn wait_for_change(
    deployments: &mut watch::Receiver<Arc<Deployments>>,
    shutdown: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    loop {
        tokio::select! {
            changed = deployments.changed() => {
                if changed.is_err() {
                    // Nobody will say more.
                    shutdown.cancelled().await;
                }
                return;
            }
            () = shutdown.cancelled() => return,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => ended.expect("a panic ends the process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, DirectoryEntry, GroupId};
    use tokio::sync::mpsc;

    use super::*;

    fn of(numbers: &[u32]) -> Arc<Deployments> {
        let entries = numbers.iter().map(|number| {
            let reference = DeploymentRef { group: GroupId(1), deployment: DeploymentId(*number) };
            let name = format!("d{number}");
            let deployment =
                Deployment { reference, name, cloud_url: String::new(), site_url: String::new() };
            Arc::new(DirectoryEntry::of(deployment))
        });
        Arc::new(Deployments::new("d1", entries, Vec::new()))
    }

    #[tokio::test]
    async fn a_task_comes_with_its_deployment_and_goes_with_it() {
        let (served, receiver) = watch::channel(of(&[1, 2]));
        let (told, mut heard) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let tasks = for_each_deployment(receiver, shutdown.clone(), move |deployment, token| {
            let told = told.clone();
            async move {
                let number = deployment.reference.deployment.0;
                let _ = told.send((number, "begins"));
                token.cancelled().await;
                let _ = told.send((number, "ends"));
            }
        });
        let tasks = tokio::spawn(tasks);
        let mut hear = async |count: usize| {
            let mut events = Vec::new();
            for _ in 0..count {
                events.push(heard.recv().await.expect("a task says so"));
            }
            events.sort_unstable();
            events
        };
        assert_eq!(hear(2).await, [(1, "begins"), (2, "begins")]);
        served.send_replace(of(&[1, 3]));
        assert_eq!(hear(2).await, [(2, "ends"), (3, "begins")]);
        // What stays is not begun again, also when nobody will say more.
        served.send_replace(of(&[1, 3]));
        drop(served);
        shutdown.cancel();
        assert_eq!(hear(2).await, [(1, "ends"), (3, "ends")]);
        tasks.await.expect("it ends");
    }
}

//! How much of what deployments share one may have.

use std::sync::Arc;

use contract::{DeploymentRef, Deployments, Share};
use tokio::sync::watch;

use crate::share_of;

/// What the directory says of each deployment's share, at any time; without one, all are alike. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shares(Option<watch::Receiver<Arc<Deployments>>>);

impl Shares {
    /// Those of these deployments, as they change.
    pub fn of(deployments: watch::Receiver<Arc<Deployments>>) -> Shares {
        Shares(Some(deployments))
    }

    /// How often a deployment is served in turn; at least once.
    pub(crate) fn weight(&self, deployment: DeploymentRef) -> u32 {
        self.share(deployment).weight.clamp(1, Share::WEIGHT_MAX)
    }

    /// The most of so many places that a deployment may hold whoever else is there; `None` if that is not said.
    pub fn most_of(&self, deployment: DeploymentRef, places: usize) -> Option<usize> {
        let percent = self.share(deployment).percent_max?;
        Some(share_of(places, percent as usize))
    }

    fn share(&self, deployment: DeploymentRef) -> Share {
        let Some(deployments) = &self.0 else { return Share::USUAL };
        deployments.borrow().get(deployment).map_or(Share::USUAL, |entry| entry.share)
    }
}

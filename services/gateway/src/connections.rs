//! Connections that speak HTTP, by the deployment that they are used for.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use contract::DeploymentRef;
use fair_queue::{Place, Places};

/// Which of the connections to one port are used for which deployment. How many there are in all is known when they are
/// accepted; whom they are for with their first request.
#[derive(Clone)]
pub(crate) struct Connections {
    places: Places,
}

/// One of them. It counts for the deployment of its first request, as long as it lives.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    places: Places,
    place: Arc<OnceLock<Option<Place>>>,
}

impl Connections {
    pub(crate) fn new(places: Places) -> Connections {
        Connections { places }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    pub(crate) fn accepted(&self, peer: IpAddr) -> Connection {
        Connection { peer, places: self.places.clone(), place: Arc::default() }
    }
}

impl Connection {
    /// Whether it may be used; not if the deployment had as many as it may have when the first request came.
    pub(crate) fn admit(&self, deployment: DeploymentRef) -> bool {
        self.place.get_or_init(|| self.places.try_take(deployment, 1)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use contract::{DeploymentId, GroupId};

    use super::*;

    #[test]
    fn a_deployment_that_has_its_share_of_connections_leaves_the_others_to_its_neighbour() {
        let [one, two] =
            [1, 2].map(|number| DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) });
        let connections = Connections::new(Places::new(4, 3));
        let accepted = || connections.accepted(Ipv4Addr::LOCALHOST.into());
        // There are shares once there are two.
        assert!(accepted().admit(two));
        let held: Vec<Connection> = (0..3).map(|_| accepted()).collect();
        assert!(held.iter().all(|connection| connection.admit(one)));
        let fourth = accepted();
        assert!(!fourth.admit(one) && held[0].admit(one), "each counts once");
        assert!(accepted().admit(two));
        drop(held);
        assert!(!fourth.admit(one), "it was told to go");
        assert!(accepted().admit(one));
    }
}

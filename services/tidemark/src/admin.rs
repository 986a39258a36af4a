//! What operators ask of this node over the network.

use std::{sync::Arc, time::UNIX_EPOCH};

use contract::{Deployments, DirectoryEntry, Error, GroupId, NodeId};
use mtls::{AllowRoles, Credentials, Role, Roles};
use proto::admin::v1::{
    AddNodeReply, AddNodeRequest, Deployment, Group, Member, RemoveNodeReply, RemoveNodeRequest, StatusReply,
    StatusRequest, TransferLeaderReply, TransferLeaderRequest, admin_server,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use txlog::{GroupStatus, ReplicaStatus};

use crate::configuration::host_and_port;

/// Who may change the cluster. Everybody in it may ask how it does.
const MAY_CHANGE: AllowRoles = AllowRoles::of(Roles::of(&[Role::Operator, Role::Txlog]));
const ZONE_BYTES_MAX: usize = 100;

/// The service of this node.
pub struct Admin {
    pub cluster: String,
    pub node: NodeId,
    /// `None`: this process has no replica of it.
    pub log: Option<txlog::Handle>,
    /// As the directory knows them; none until this process does.
    pub deployments: watch::Receiver<Arc<Deployments>>,
    pub roles: Roles,
    pub address: String,
    pub zone: String,
    /// `None`: others are called without.
    pub credentials: Option<Arc<Credentials>>,
}

impl Admin {
    fn groups(&self) -> contract::Result<Vec<Group>> {
        let Some(log) = &self.log else { return Ok(Vec::new()) };
        log.groups().into_iter().map(|group| Ok(group_of(log.status(group)?))).collect()
    }

    /// What others may call it for. Until it knows which deployments there are, it could serve none of them.
    fn roles_taken(&self, deployments: &Deployments) -> Roles {
        match deployments.default_entry() {
            Some(_) => self.roles,
            None if self.roles.has(Role::Txlog) => Roles::of(&[Role::Txlog]),
            None => Roles::of(&[]),
        }
    }

    /// The log, for what changes it.
    fn log(&self) -> Result<&txlog::Handle, Status> {
        let missing = || Error::bad_request("NoReplica", "this process keeps no replica of the log");
        self.log.as_ref().ok_or_else(|| rpc::to_status(missing()))
    }
}

fn group_of(status: GroupStatus) -> Group {
    let member = |replica: ReplicaStatus| Member {
        node: replica.node.0,
        address: replica.address,
        zone: replica.zone,
        voter: replica.voter,
        entries_behind: replica.entries_behind,
        silent_ms: replica.silent_ms,
    };
    Group {
        group: status.group.0,
        term: status.term,
        leader: status.leader.map(|leader| leader.node.0),
        last_index: Some(status.last_index),
        applied_index: Some(status.applied_index),
        published: status.published.as_nanoseconds(),
        members: status.replicas.into_iter().map(member).collect(),
    }
}

/// A node's number as it crosses.
fn number(node: u64) -> Result<NodeId, Status> {
    match node {
        0 => Err(invalid("a node's number is at least 1")),
        node => Ok(NodeId(node)),
    }
}

fn invalid(why: impl Into<String>) -> Status {
    rpc::to_status(Error::bad_request("InvalidNode", why))
}

#[tonic::async_trait]
impl admin_server::Admin for Admin {
    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let expires = self.credentials.as_ref().map(|credentials| {
            let since = credentials.expires_at().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
        let deployments = self.deployments.borrow().clone();
        let deployment = |entry: &Arc<DirectoryEntry>| Deployment {
            name: entry.deployment.name.clone(),
            deployment: entry.reference().deployment.0,
            group: entry.reference().group.0,
        };
        Ok(Response::new(StatusReply {
            cluster: self.cluster.clone(),
            node: self.node.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            groups: self.groups().map_err(rpc::to_status)?,
            deployments: deployments.iter().map(deployment).collect(),
            certificate_expires: expires,
            roles: self.roles_taken(&deployments).to_string(),
            address: self.address.clone(),
            zone: self.zone.clone(),
        }))
    }

    async fn add_node(&self, request: Request<AddNodeRequest>) -> Result<Response<AddNodeReply>, Status> {
        MAY_CHANGE.check(request.extensions())?;
        let AddNodeRequest { group, node, address, zone, instead_of } = request.into_inner();
        if zone.len() > ZONE_BYTES_MAX || zone.chars().any(char::is_control) {
            return Err(invalid(format!("a zone's name has at most {ZONE_BYTES_MAX} bytes")));
        }
        host_and_port("address", &address).map_err(|refusal| invalid(refusal.to_string()))?;
        let instead_of = instead_of.map(number).transpose()?;
        let added = self
            .log()?
            .add_node(GroupId(group), number(node)?, (address.as_str(), zone.as_str()), instead_of)
            .await;
        added.map_err(rpc::to_status)?;
        tracing::info!(group, node, address, "a node was added");
        Ok(Response::new(AddNodeReply {}))
    }

    async fn remove_node(
        &self,
        request: Request<RemoveNodeRequest>,
    ) -> Result<Response<RemoveNodeReply>, Status> {
        MAY_CHANGE.check(request.extensions())?;
        let RemoveNodeRequest { group, node } = request.into_inner();
        let removed = self.log()?.remove_node(GroupId(group), number(node)?).await.map_err(rpc::to_status)?;
        if removed {
            tracing::info!(group, node, "a node was removed");
        }
        Ok(Response::new(RemoveNodeReply {}))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderReply>, Status> {
        MAY_CHANGE.check(request.extensions())?;
        let TransferLeaderRequest { group, to } = request.into_inner();
        let to = to.map(number).transpose()?;
        let leader = self.log()?.transfer_leader(GroupId(group), to).await.map_err(rpc::to_status)?;
        Ok(Response::new(TransferLeaderReply { leader: leader.0 }))
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, DeploymentRef};

    use super::*;

    #[tokio::test]
    async fn a_process_is_called_for_its_services_once_it_knows_which_deployments_there_are() {
        let told = watch::Sender::new(Arc::<Deployments>::default());
        let admin = |roles| Admin {
            cluster: "test".into(),
            node: NodeId(1),
            log: None,
            deployments: told.subscribe(),
            roles,
            address: "host:1".into(),
            zone: String::new(),
            credentials: None,
        };
        let status = async |admin: &Admin| {
            let answer = admin_server::Admin::status(admin, Request::new(StatusRequest {})).await;
            answer.expect("it answers").into_inner()
        };
        let both = admin(Roles::of(&[Role::Txlog, Role::Runner]));
        assert_eq!(status(&both).await.roles, "txlog", "without it nobody might lead the directory's group");
        assert_eq!(status(&admin(Roles::of(&[Role::Runner]))).await.roles, "");
        let reference = DeploymentRef { group: GroupId(1), deployment: DeploymentId(7) };
        let (cloud_url, site_url) = (String::new(), String::new());
        let dev = contract::Deployment { reference, name: "dev".into(), cloud_url, site_url };
        told.send_replace(contract::Deployment::fixed([dev]).borrow().clone());
        let known = status(&both).await;
        assert_eq!(known.roles, both.roles.to_string());
        let deployments: Vec<_> =
            known.deployments.iter().map(|it| (it.name.as_str(), it.group, it.deployment)).collect();
        assert_eq!(deployments, [("dev", 1, 7)]);
    }
}

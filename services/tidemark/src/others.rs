//! The services of other processes, for one that does not have them itself.

use std::sync::Arc;

use contract::{Deploy, DueRunner, Fanout, Files, Runner, Schedules, Search};
use mtls::Role;
use rpc::{
    GrpcBlobs, GrpcDeploy, GrpcDueRunner, GrpcFanout, GrpcFiles, GrpcRunner, GrpcSchedules, GrpcSearch,
};
use tonic::transport::Channel;

use crate::{node::Calls, pools::Pools};

/// Calls whoever has a role.
pub struct Others {
    pub pools: Pools,
    pub zone: String,
    pub calls: Calls,
}

impl Others {
    fn channel(&self, role: Role) -> Channel {
        self.pools.channel(role, self.zone.clone(), &self.calls)
    }

    /// Blobs and objects.
    pub fn blobs(&self) -> Arc<GrpcBlobs> {
        Arc::new(GrpcBlobs::new(self.channel(Role::Blob), self.calls.rpc))
    }

    pub fn files(&self) -> Arc<dyn Files> {
        Arc::new(GrpcFiles::new(self.channel(Role::Blob), self.calls.rpc))
    }

    pub fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(GrpcRunner::new(self.channel(Role::Runner), self.calls.rpc))
    }

    pub fn due_runner(&self) -> Arc<dyn DueRunner> {
        Arc::new(GrpcDueRunner::new(self.channel(Role::Runner), self.calls.rpc))
    }

    pub fn fanout(&self) -> Arc<dyn Fanout> {
        Arc::new(GrpcFanout::new(self.channel(Role::Fanout), self.calls.rpc))
    }

    pub fn schedules(&self) -> Arc<dyn Schedules> {
        Arc::new(GrpcSchedules::new(self.channel(Role::Scheduler), self.calls.rpc))
    }

    pub fn search(&self) -> Arc<dyn Search> {
        Arc::new(GrpcSearch::new(self.channel(Role::Search), self.calls.rpc))
    }

    pub fn deploy(&self) -> Arc<dyn Deploy> {
        Arc::new(GrpcDeploy::new(self.channel(Role::Deploy), self.calls.rpc))
    }
}

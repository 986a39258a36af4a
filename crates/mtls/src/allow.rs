//! Which processes may call a service.

use contract::{Error, ErrorKind};
use tonic::{Extensions, Request, Status, service::Interceptor};

use crate::{connection::Peer, identity::Roles};

/// Stands in front of a service: whoever calls it must have one of these roles. (Without certificates everybody on this
/// machine has them all.) Wrap the service by `InterceptedService::new(service, AllowRoles::of(…))`.
#[derive(Clone, Copy, Debug)]
pub struct AllowRoles(Roles);

impl AllowRoles {
    /// These may call.
    pub const fn of(roles: Roles) -> AllowRoles {
        AllowRoles(roles)
    }

    /// Whether a request with these extensions may pass, for a service of which some methods are for fewer roles.
    ///
    /// # Errors
    /// `RoleForbidden`.
    pub fn check(self, extensions: &Extensions) -> Result<(), Status> {
        let refused = |who: &str| {
            let message = format!("{who} must not call this, which is for {}", self.0);
            Err(rpc::to_status(Error::new(ErrorKind::Forbidden, "RoleForbidden", message)))
        };
        match extensions.get::<Peer>() {
            Some(Peer { identity: None, .. }) => Ok(()),
            Some(Peer { identity: Some(identity), .. }) if identity.roles.meets(self.0) => Ok(()),
            Some(Peer { identity: Some(identity), .. }) => refused(&identity.to_string()),
            // It came by a connection of somebody else's.
            None => refused("who is not known"),
        }
    }
}

impl Interceptor for AllowRoles {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.check(request.extensions())?;
        Ok(request)
    }
}

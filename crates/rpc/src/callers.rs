//! Who calls, and what functions throw, between the contract's types and the messages.

use std::net::IpAddr;

use bytes::Bytes;
use contract::{AuthToken, FunctionError, Identity, ObjectName, Requester, UserIdentity};
use proto::common::v1 as wire;

use crate::{
    convert::{self, Decoded, Malformed, present},
    errors,
};

fn user_to_wire(user: UserIdentity) -> wire::UserIdentity {
    wire::UserIdentity { attributes: user.attributes }
}

fn user(user: wire::UserIdentity) -> UserIdentity {
    UserIdentity { attributes: user.attributes }
}

pub fn identity_to_wire(identity: Identity) -> wire::Identity {
    use wire::identity::Kind;
    let kind = match identity {
        Identity::Anonymous => Kind::Anonymous(wire::Nothing {}),
        Identity::Unverified(error) => Kind::Unverified(errors::to_wire(*error)),
        Identity::User(user) => Kind::User(user_to_wire(user)),
        Identity::Admin { key_name, acting_as } => {
            Kind::Admin(wire::Admin { key_name, acting_as: acting_as.map(user_to_wire) })
        }
    };
    wire::Identity { kind: Some(kind) }
}

pub fn identity(identity: Option<wire::Identity>) -> Decoded<Identity> {
    use wire::identity::Kind;
    Ok(match present(identity.and_then(|identity| identity.kind), "the identity")? {
        Kind::Anonymous(_) => Identity::Anonymous,
        Kind::Unverified(error) => Identity::Unverified(Box::new(errors::from_wire(error))),
        Kind::User(known) => Identity::User(user(known)),
        Kind::Admin(admin) => {
            Identity::Admin { key_name: admin.key_name, acting_as: admin.acting_as.map(user) }
        }
    })
}

pub fn requester_to_wire(requester: Requester) -> wire::Requester {
    wire::Requester {
        ip: requester.ip.map(|ip| ip.to_string()),
        user_agent: requester.user_agent.map(|text| text.to_string()),
        token: requester.token.map(|token| token.0.to_string()),
    }
}

pub fn requester(requester: Option<wire::Requester>) -> Decoded<Requester> {
    let requester = present(requester, "the requester")?;
    let ip = |ip: String| ip.parse::<IpAddr>().map_err(|_| Malformed::new("an address is none"));
    Ok(Requester {
        ip: requester.ip.map(ip).transpose()?,
        user_agent: requester.user_agent.map(Into::into),
        token: requester.token.map(|token| AuthToken(token.into())),
    })
}

pub fn function_error_to_wire(error: FunctionError) -> wire::FunctionError {
    wire::FunctionError { message: error.message, data: error.data.map(|data| data.to_string()) }
}

pub fn function_error(error: wire::FunctionError) -> FunctionError {
    FunctionError { message: error.message, data: error.data.map(Into::into) }
}

pub fn object_name_to_wire(name: ObjectName) -> wire::ObjectName {
    wire::ObjectName {
        deployment: Some(convert::deployment_to_wire(name.deployment)),
        component: name.component.map(|component| Bytes::copy_from_slice(&component)),
        id: Bytes::copy_from_slice(&name.id),
    }
}

pub fn object_name(name: Option<wire::ObjectName>) -> Decoded<ObjectName> {
    let name = present(name, "the name of an object")?;
    let component = name.component.map(|component| convert::sixteen(&component, "a component's id"));
    Ok(ObjectName {
        deployment: convert::deployment(name.deployment)?,
        component: component.transpose()?,
        id: convert::sixteen(&name.id, "an object's id")?,
    })
}

pub fn sha256(bytes: &[u8]) -> Decoded<[u8; 32]> {
    bytes.try_into().map_err(|_| Malformed::new("a digest does not have 32 bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contract::Error;

    use super::*;

    #[test]
    fn everybody_crosses_as_who_they_are() {
        let user = UserIdentity { attributes: BTreeMap::from([("subject".into(), "\"é\"".into())]) };
        let unverified = Error::bad_request("InvalidAuthHeader", "no");
        for known in [
            Identity::Anonymous,
            Identity::Unverified(Box::new(unverified)),
            Identity::User(user.clone()),
            Identity::Admin { key_name: "key".into(), acting_as: None },
            Identity::Admin { key_name: "key".into(), acting_as: Some(user) },
        ] {
            assert_eq!(identity(Some(identity_to_wire(known.clone()))), Ok(known));
        }
        assert!(identity(None).is_err() && identity(Some(wire::Identity::default())).is_err());
        let known = Requester {
            ip: Some("2001:db8::1".parse().unwrap()),
            user_agent: Some("agent".into()),
            token: Some(AuthToken("token".into())),
        };
        for known in [known, Requester::default()] {
            assert_eq!(requester(Some(requester_to_wire(known.clone()))), Ok(known));
        }
        let no_address = wire::Requester { ip: Some("here".into()), ..Default::default() };
        assert!(requester(Some(no_address)).is_err());
    }
}

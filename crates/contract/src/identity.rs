//! Who calls.

use std::collections::BTreeMap;

use crate::Error;

/// Who a request comes from, after authentication.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Identity {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// Somebody whose credentials don't hold. HTTP actions run all the same, since the app may know better what stands in the
    /// header; whoever asks who it is gets the error.
    Unverified(Box<Error>),
    /// A user of the app, known by a token.
    User(UserIdentity),
    /// The holder of an admin key, acting as a user if it asked for that.
    Admin {
        /// Names the key, for logs; not the key itself.
        key_name: String,
        /// The user whom functions see.
        acting_as: Option<UserIdentity>,
    },
}

/// In whose name something ran, without saying who that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// Nobody in particular.
    Anonymous,
    /// A user of the app.
    User,
    /// The holder of an admin key, also one that acts as a user.
    Admin,
}

impl IdentityKind {
    /// As the function log names it.
    pub fn name(self) -> &'static str {
        match self {
            IdentityKind::Anonymous => "unknown",
            IdentityKind::User => "user",
            IdentityKind::Admin => "instance_admin",
        }
    }
}

impl Identity {
    /// What kind of identity it is.
    pub fn kind(&self) -> IdentityKind {
        match self {
            Identity::Anonymous | Identity::Unverified(_) => IdentityKind::Anonymous,
            Identity::User(_) => IdentityKind::User,
            Identity::Admin { .. } => IdentityKind::Admin,
        }
    }

    /// Whether an admin key was shown, also one that acts as a user.
    pub fn is_admin(&self) -> bool {
        matches!(self, Identity::Admin { .. })
    }

    /// What `ctx.auth.getUserIdentity()` shows.
    pub fn user(&self) -> Option<&UserIdentity> {
        match self {
            Identity::Anonymous | Identity::Unverified(_) => None,
            Identity::User(user) => Some(user),
            Identity::Admin { acting_as, .. } => acting_as.as_ref(),
        }
    }
}

/// A user's attributes as functions see them: `tokenIdentifier`, `subject` and `issuer` are always there. Values are
/// JSON texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserIdentity {
    /// By name, as JSON texts.
    pub attributes: BTreeMap<String, String>,
}

//! Who calls.

use std::collections::BTreeMap;

/// Who a request comes from, after authentication.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Identity {
    /// Nobody in particular.
    #[default]
    Anonymous,
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

impl Identity {
    /// Whether an admin key was shown, also one that acts as a user.
    pub fn is_admin(&self) -> bool {
        matches!(self, Identity::Admin { .. })
    }

    /// What `ctx.auth.getUserIdentity()` shows.
    pub fn user(&self) -> Option<&UserIdentity> {
        match self {
            Identity::Anonymous => None,
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

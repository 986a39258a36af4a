//! What makes two calls of a query the same.

use std::{fmt::Write, sync::Arc};

use contract::{Identity, QueryModification, SessionCommand, Timestamp};
use sha2::{Digest, Sha256};
use value::{FunctionPath, Value};

/// A function and its arguments in canonical spelling.
#[derive(Debug)]
pub(crate) struct Call {
    pub key: CallKey,
    pub component: String,
    pub path: String,
    pub arguments: Arc<str>,
}

/// Equal for equal calls: a digest of component, path and arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallKey([u8; 32]);

impl Call {
    /// What can't be read is kept as it is: the runner refuses it, with the right words.
    pub fn new(component: String, path: &str, arguments: &Arc<str>) -> Call {
        let path = path.parse::<FunctionPath>().map_or_else(|_| path.to_owned(), |path| path.to_string());
        let arguments = match Value::from_json(arguments) {
            Ok(Value::Array(list)) if list.is_empty() => Arc::from("[{}]"),
            Ok(value) => Arc::from(value.to_json()),
            Err(_) => arguments.clone(),
        };
        let mut digest = Sha256::new();
        for part in [component.as_bytes(), path.as_bytes(), arguments.as_bytes()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Call { key: CallKey(digest.finalize().into()), component, path, arguments }
    }

    /// Roughly what this takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Call>() + self.component.len() + self.path.len() + self.arguments.len()
    }
}

/// In whose name a session's queries run.
#[derive(Debug)]
pub(crate) struct Asker {
    pub identity: Identity,
    pub key: IdentityKey,
    pub visibility: Visibility,
}

/// What `ctx.auth` shows of an identity; a digest. Of what changes with every token it shows nothing, unless the provider is one of
/// custom tokens: then functions can tell two tokens of a user apart, and so does this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct IdentityKey(Option<[u8; 32]>);

/// Which functions can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Visibility {
    Public,
    /// Internal and system functions, too.
    All,
}

impl Asker {
    pub fn new(identity: Identity) -> Asker {
        let key = IdentityKey(identity.user().map(|user| {
            let mut text = String::new();
            for (name, json) in &user.attributes {
                // Lengths keep one attribute from looking like two.
                write!(text, "{}:{name}{}:{json}", name.len(), json.len())
                    .expect("a String takes everything");
            }
            Sha256::digest(text).into()
        }));
        let visibility = if identity.is_admin() { Visibility::All } else { Visibility::Public };
        Asker { identity, key, visibility }
    }
}

/// The key of a cached result, a *copy*. Results with equal keys can stand for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CopyKey {
    pub call: CallKey,
    pub visibility: Visibility,
    pub journal: Option<Arc<str>>,
    /// `None` for results of runs that did not look at the identity: they are anybody's.
    pub identity: Option<IdentityKey>,
}

/// What a run is asked, whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Question {
    pub call: CallKey,
    pub visibility: Visibility,
    pub journal: Option<Arc<str>>,
    pub at: Timestamp,
}

impl Question {
    /// Under which key the answer can be found: with the identity only if the run looked at it.
    pub fn copy_key(&self, identity: Option<IdentityKey>) -> CopyKey {
        CopyKey { call: self.call, visibility: self.visibility, journal: self.journal.clone(), identity }
    }
}

/// A [`SessionCommand`] whose costly part, making arguments canonical, is done.
#[derive(Debug)]
pub(crate) enum Command {
    ModifyQueries { version: u32, modifications: Vec<Modification> },
    SetIdentity { version: u32, asker: Arc<Asker> },
    Wrote { timestamp: Timestamp },
    Touch,
}

#[derive(Debug)]
pub(crate) enum Modification {
    Add { query: u32, call: Arc<Call>, journal: Option<Arc<str>> },
    Remove { query: u32 },
}

impl From<SessionCommand> for Command {
    fn from(command: SessionCommand) -> Command {
        match command {
            SessionCommand::ModifyQueries { version, modifications } => Command::ModifyQueries {
                version,
                modifications: modifications.into_iter().map(Modification::from).collect(),
            },
            SessionCommand::SetIdentity { version, identity } => {
                Command::SetIdentity { version, asker: Arc::new(Asker::new(identity)) }
            }
            SessionCommand::Wrote { timestamp } => Command::Wrote { timestamp },
            SessionCommand::Touch => Command::Touch,
        }
    }
}

impl From<QueryModification> for Modification {
    fn from(modification: QueryModification) -> Modification {
        match modification {
            QueryModification::Add { query, component, path, arguments, journal } => {
                Modification::Add { query, call: Arc::new(Call::new(component, &path, &arguments)), journal }
            }
            QueryModification::Remove { query } => Modification::Remove { query },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contract::UserIdentity;

    use super::*;

    fn call(path: &str, arguments: &str) -> Call {
        Call::new(String::new(), path, &arguments.into())
    }

    #[test]
    fn spellings_of_one_call_are_the_same_call() {
        let canonical = call("messages:list", r#"[{"a":1,"b":2}]"#);
        assert_eq!(call("messages.js:list", r#"[ {"b": 2.0, "a": 1} ]"#).key, canonical.key);
        assert_eq!(call("messages", "[]").key, call("messages.js:default", "[{}]").key);
        assert_ne!(call("messages:list", r#"[{"a":1,"b":3}]"#).key, canonical.key);
        assert_ne!(call("messages:other", r#"[{"a":1,"b":2}]"#).key, canonical.key);
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_it_is() {
        let broken = call("../x:y:z", "[{");
        assert_eq!((&*broken.path, &*broken.arguments), ("../x:y:z", "[{"));
    }

    #[test]
    fn an_identity_is_known_by_all_its_attributes() {
        let user = |attributes: &[(&str, &str)]| {
            let attributes: BTreeMap<String, String> =
                attributes.iter().map(|(name, json)| (name.to_string(), json.to_string())).collect();
            Asker::new(Identity::User(UserIdentity { attributes })).key
        };
        let ann = user(&[("subject", "\"ann\"")]);
        assert_eq!(ann, user(&[("subject", "\"ann\"")]));
        // What functions see of a token may decide what they show.
        for claim in ["iat", "exp", "nbf", "jti"] {
            assert_ne!(
                user(&[("subject", "\"ann\""), (claim, "1")]),
                user(&[("subject", "\"ann\""), (claim, "2")])
            );
        }
        assert_ne!(ann, user(&[("subject", "\"bob\"")]));
        assert_ne!(ann, user(&[("subject", "\"ann\""), ("role", "1")]));
        assert_ne!(ann, Asker::new(Identity::Anonymous).key);
    }
}

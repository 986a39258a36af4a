//! Which versions of the messages the two sides of a connection speak.
//!
//! A client says with each call from which version to which it speaks them. A server that speaks none of these refuses the call by
//! name, before it has any effect. With mixed versions both sides then use the newest that both know.

use contract::Error;
use tonic::{
    Request, Status, metadata::MetadataValue, service::interceptor::InterceptedService, transport::Channel,
};

use crate::{errors, resending::Resending, traces};

/// Metadata of every call: `1-1`, the oldest and the newest version.
const HEADER: &str = "tidemark-versions";
/// What this program speaks.
const OWN: Versions = Versions { oldest: 1, newest: 1 };

type Hook = fn(Request<()>) -> Result<Request<()>, Status>;

/// A channel whose calls say which versions this side speaks, and which trace they belong to. (What a stream of many calls says of that
/// is no matter: each of them says it.)
pub type Line = InterceptedService<Resending<Channel>, Hook>;

/// A service that refuses calls of versions which it does not speak.
pub type Checked<S> = InterceptedService<S, Hook>;

pub fn line(channel: Channel) -> Line {
    InterceptedService::new(Resending::new(channel), say as Hook)
}

pub fn checked<S>(service: S) -> Checked<S> {
    InterceptedService::new(service, check as Hook)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Versions {
    oldest: u32,
    newest: u32,
}

impl Versions {
    fn parse(text: &str) -> Option<Versions> {
        let (oldest, newest) = text.split_once('-')?;
        let versions = Versions { oldest: oldest.parse().ok()?, newest: newest.parse().ok()? };
        (versions.oldest <= versions.newest).then_some(versions)
    }

    fn text(self) -> String {
        format!("{}-{}", self.oldest, self.newest)
    }

    fn has_one_of(self, other: Versions) -> bool {
        self.oldest <= other.newest && other.oldest <= self.newest
    }
}

fn say(mut request: Request<()>) -> Result<Request<()>, Status> {
    let own = MetadataValue::try_from(OWN.text()).expect("digits are ASCII");
    request.metadata_mut().insert(HEADER, own);
    traces::inject(&mut request);
    Ok(request)
}

fn check(request: Request<()>) -> Result<Request<()>, Status> {
    let said = request.metadata().get(HEADER).and_then(|said| said.to_str().ok());
    match said.and_then(Versions::parse) {
        Some(versions) if versions.has_one_of(OWN) => Ok(request),
        _ => {
            let message = format!(
                "this node speaks the versions {} of the messages between nodes, and the caller {}",
                OWN.text(),
                said.unwrap_or("does not say which")
            );
            Err(errors::to_status(Error::bad_request("VersionNotSupported", message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(said: Option<&'static str>) -> Option<Error> {
        let mut request = Request::new(());
        if let Some(said) = said {
            request.metadata_mut().insert(HEADER, MetadataValue::from_static(said));
        }
        check(request).err().map(errors::from_status)
    }

    #[test]
    fn what_both_speak_is_taken_and_everything_else_refused_by_name() {
        assert_eq!(say(Request::new(())).and_then(check).map(drop).map_err(errors::from_status), Ok(()));
        for said in ["1-1", "0-1", "1-9"] {
            assert_eq!(answer_to(Some(said)), None, "{said}");
        }
        for said in [None, Some("2-3"), Some("0-0"), Some("3-1"), Some("1"), Some("a-b"), Some("")] {
            let error = answer_to(said).expect("it is refused");
            assert_eq!(error.code, "VersionNotSupported", "{said:?}");
            assert_eq!(error.retry, contract::Retry::Never);
        }
    }
}

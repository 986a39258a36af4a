//! Which client speaks, and in which version.

use crate::Error;

/// A client's name and version, as the header `Convex-Client` (`npm-1.48.0`, `python-0.8.1`) or the path of its socket
/// (`/api/1.48.0/sync`, always the npm package) tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientVersion {
    pub client: Client,
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    /// What follows a hyphen: `alpha.1`.
    pub prerelease: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    Npm,
    /// The command line tool of the npm package.
    NpmCli,
    Rust,
    Python,
    Other(String),
}

impl ClientVersion {
    /// Reads the header's form: name, hyphen, version.
    pub fn from_header(text: &str) -> Result<ClientVersion, Error> {
        let unreadable = || Error::ClientVersion(text.to_owned());
        // The version begins at the first hyphen that a digit follows; names hold hyphens themselves (`npm-cli`).
        let split = text
            .match_indices('-')
            .map(|(position, _)| position)
            .find(|position| text[position + 1..].starts_with(|next: char| next.is_ascii_digit()))
            .ok_or_else(unreadable)?;
        let client = match &text[..split] {
            "npm" => Client::Npm,
            "npm-cli" => Client::NpmCli,
            "rust" => Client::Rust,
            "python" => Client::Python,
            "" => return Err(unreadable()),
            other => Client::Other(other.to_owned()),
        };
        ClientVersion::with_version(client, &text[split + 1..]).ok_or_else(unreadable)
    }

    /// Reads the version in the path of an npm client's socket.
    pub fn from_socket_path(version: &str) -> Result<ClientVersion, Error> {
        ClientVersion::with_version(Client::Npm, version)
            .ok_or_else(|| Error::ClientVersion(version.to_owned()))
    }

    fn with_version(client: Client, text: &str) -> Option<ClientVersion> {
        let (core, prerelease) = match text.split_once('-') {
            Some((core, prerelease)) if !prerelease.is_empty() => (core, Some(prerelease.to_owned())),
            Some(_) => return None,
            None => (text, None),
        };
        let mut numbers = core.split('.').map(|part| {
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten()
        });
        let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
        if numbers.next().is_some() {
            return None;
        }
        Some(ClientVersion { client, major, minor, patch, prerelease })
    }

    /// Whether the client can put a Transition together from chunks; others take a chunk for an error.
    pub fn takes_transition_chunks(&self) -> bool {
        self.client == Client::Npm && (self.major, self.minor) >= (1, 28)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_clients_are_read() {
        for (header, client) in [
            ("npm-1.48.0", Client::Npm),
            ("npm-cli-1.48.0", Client::NpmCli),
            ("python-0.8.1", Client::Python),
            ("rust-0.10.4", Client::Rust),
            ("swift-convexmobile-0.5.0", Client::Other("swift-convexmobile".to_owned())),
            ("npm-1.48.0-alpha.1", Client::Npm),
        ] {
            assert_eq!(
                ClientVersion::from_header(header).map(|version| version.client).ok(),
                Some(client),
                "{header}"
            );
        }
        let alpha = ClientVersion::from_header("npm-1.48.0-alpha.1").expect("valid");
        assert_eq!((alpha.major, alpha.minor, alpha.patch), (1, 48, 0));
        assert_eq!(alpha.prerelease.as_deref(), Some("alpha.1"));
    }

    #[test]
    fn malformed_versions_are_refused() {
        for header in [
            "",
            "npm",
            "npm-",
            "-1.2.3",
            "npm-1.2",
            "npm-1.2.3.4",
            "npm-1.x.3",
            "npm-1.2.3-",
            "npm-99999999999999999999.0.0",
            "1.48.0",
        ] {
            assert!(ClientVersion::from_header(header).is_err(), "{header}");
        }
    }

    #[test]
    fn chunks_are_for_npm_clients_since_1_28_alone() {
        for (version, takes) in [
            ("1.27.9", false),
            ("1.28.0", true),
            ("1.48.0-alpha.1", true),
            ("2.0.0", true),
            ("0.99.0", false),
        ] {
            assert_eq!(
                ClientVersion::from_socket_path(version).expect("valid").takes_transition_chunks(),
                takes,
                "{version}"
            );
        }
        assert!(!ClientVersion::from_header("python-1.48.0").expect("valid").takes_transition_chunks());
    }
}

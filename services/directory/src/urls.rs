//! Where deployments are reached.

use std::str::FromStr;

use contract::{Error, Result};
use serde::Deserialize;
use url::{Host, Url};

use crate::names::is_name;

/// In a pattern, the deployment's name.
const NAME: &str = "{name}";

/// The addresses of deployments that have none of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPatterns {
    /// The API's, with `{name}` where the name of the deployment goes: in its host name, or in its path as `/d/{name}`.
    pub cloud: String,
    /// That of HTTP actions.
    pub site: String,
}

impl UrlPatterns {
    /// Below the addresses of the default deployment.
    pub fn below(cloud_url: &str, site_url: &str) -> UrlPatterns {
        let below = |url: &str| format!("{}/d/{NAME}", url.trim_end_matches('/'));
        UrlPatterns { cloud: below(cloud_url), site: below(site_url) }
    }

    /// A sentence on what is wrong, if something is.
    pub fn problem(&self) -> Option<String> {
        let is_usable = |pattern: &str| {
            let url = Url::parse(&pattern.replace(NAME, "a")).ok();
            let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else { return false };
            let Some(at) = pattern.find(NAME) else { return false };
            // In the path it must stand where requests are looked at; anywhere else it makes another host of each.
            match pattern[at..].strip_prefix(NAME) {
                Some("") => pattern[..at].ends_with("/d/") && url.path() == "/d/a",
                Some(_) => url.path() == "/" && pattern.matches(NAME).count() == 1,
                None => false,
            }
        };
        let wrong = [&self.cloud, &self.site].into_iter().find(|pattern| !is_usable(pattern))?;
        Some(format!(
            "{wrong} is no pattern of URLs: it must have {NAME} in its host name, or be an address and /d/{NAME}"
        ))
    }

    pub(crate) fn cloud_url(&self, name: &str) -> String {
        self.cloud.replace(NAME, name)
    }

    pub(crate) fn site_url(&self, name: &str) -> String {
        self.site.replace(NAME, name)
    }

    /// The name of the deployment that has this host name by a pattern, whether there is such a deployment or not.
    pub(crate) fn name_at<'h>(&self, host: &'h str) -> Option<&'h str> {
        [&self.cloud, &self.site].into_iter().find_map(|pattern| name_by(pattern, host))
    }
}

/// The name of the deployment that a pattern gives this host name.
pub(crate) fn name_by<'h>(pattern: &str, host: &'h str) -> Option<&'h str> {
    // What stands around the name is what two hosts have in common. Where the name is in the path, they are one.
    let [one, other] = ["a", "b"].map(|name| host_of(&pattern.replace(NAME, name)));
    let (one, other) = (one?, other?);
    let at = one.bytes().zip(other.bytes()).position(|(one, other)| one != other)?;
    let name = host.strip_prefix(&one[..at])?.strip_suffix(&one[at + 1..])?;
    is_name(name).then_some(name)
}

/// Host names that deployments may choose for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum HostRule {
    /// `*`
    Everything,
    /// `shop.example.com`
    Host(String),
    /// `*.example.com`: all below it, and not itself.
    Below(String),
}

impl HostRule {
    /// Whether it names a host, in lower case.
    pub(crate) fn names(&self, host: &str) -> bool {
        match self {
            HostRule::Everything => true,
            HostRule::Host(name) => host == name,
            HostRule::Below(domain) => {
                host.strip_suffix(domain).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
        }
    }
}

impl FromStr for HostRule {
    /// A sentence.
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<HostRule, String> {
        let host = |text: &str| match Host::parse(text) {
            Ok(Host::Domain(name)) if !name.contains('*') && name.len() <= HOST_BYTES_MAX => Ok(name),
            _ => Err(format!("`{text}` names no hosts: it must be `*`, a name, or `*.` and a domain")),
        };
        match text.strip_prefix("*.") {
            _ if text == "*" => Ok(HostRule::Everything),
            Some(domain) => host(domain).map(HostRule::Below),
            None => host(text).map(HostRule::Host),
        }
    }
}

impl TryFrom<String> for HostRule {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<HostRule, String> {
        text.parse()
    }
}

/// So long is a host name at most, by RFC 1035.
const HOST_BYTES_MAX: usize = 253;

/// The host name of a URL, in lower case.
pub(crate) fn host_of(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.host_str()?.to_ascii_lowercase())
}

/// Whether a URL's host has a name of its own. A request to this machine, or to an address of it, says nothing but the port.
pub(crate) fn has_host_name(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.domain().is_some_and(|name| name != "localhost"))
}

/// A deployment's own address as it is kept, without a slash at its end. It must have a host name and nothing behind it.
///
/// Errors: `InvalidDeploymentUrl`.
pub(crate) fn own_url(text: &str) -> Result<String> {
    let allowed = |character: char| character.is_ascii_graphic() && !"'\"\\`$".contains(character);
    let trimmed = text.trim_end_matches('/');
    let url = Url::parse(trimmed).ok().filter(|_| trimmed.chars().all(allowed));
    let is_usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.domain().is_some_and(|host| host.len() <= HOST_BYTES_MAX && !host.ends_with('.'))
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    if !url.as_ref().is_some_and(is_usable) {
        let message =
            "The address of a deployment is http:// or https:// and a host name, and nothing behind it.";
        return Err(Error::bad_request("InvalidDeploymentUrl", message));
    }
    Ok(trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_makes_a_host_or_a_path_of_each_deployment() {
        let pattern = |cloud: &str| UrlPatterns { cloud: cloud.into(), site: "http://x/d/{name}".into() };
        for usable in
            ["https://{name}.example.com", "http://{name}-api.localhost:3210", "http://1.2.3.4:3210/d/{name}"]
        {
            assert_eq!(pattern(usable).problem(), None, "{usable}");
        }
        for wrong in [
            "https://example.com",
            "{name}",
            "https://x/{name}",
            "https://x/a/d/{name}",
            "ftp://{name}.x",
            "https://{name}.x/path",
            "https://{name}.{name}.x",
            "https://x/d/{name}/",
        ] {
            assert!(pattern(wrong).problem().is_some_and(|problem| problem.contains(wrong)), "{wrong}");
        }
        let below = UrlPatterns::below("http://127.0.0.1:3210", "http://127.0.0.1:3211/");
        assert_eq!(below.problem(), None);
        assert_eq!(below.cloud_url("shop"), "http://127.0.0.1:3210/d/shop");
        assert_eq!(below.site_url("shop"), "http://127.0.0.1:3211/d/shop");
    }

    #[test]
    fn a_pattern_tells_whose_a_host_name_is_and_rules_which_may_be_chosen() {
        let patterns = |cloud: &str, site: &str| UrlPatterns { cloud: cloud.into(), site: site.into() };
        let hosts = patterns("https://{name}.API.example", "https://{name}-site.example:3211");
        assert_eq!(hosts.name_at("victim.api.example"), Some("victim"));
        assert_eq!(hosts.name_at("victim-site.example"), Some("victim"));
        for other in ["api.example", "a.b.api.example", ".api.example", "api.example.org", "-.api.example"] {
            assert_eq!(hosts.name_at(other), None, "{other}");
        }
        let paths = UrlPatterns::below("http://127.0.0.1:3210", "http://site.example:3211");
        assert_eq!(paths.name_at("site.example"), None);
        for (rule, named, others) in [
            ("*", vec!["a", "a.b"], vec![]),
            ("Shop.example", vec!["shop.example"], vec!["a.shop.example", "example", "nshop.example"]),
            (
                "*.shop.example",
                vec!["a.shop.example", "a.b.shop.example"],
                vec!["shop.example", "ashop.example"],
            ),
        ] {
            let rule: HostRule = rule.parse().expect("a rule");
            assert!(named.iter().all(|host| rule.names(host)), "{rule:?}");
            assert!(!others.iter().any(|host| rule.names(host)), "{rule:?}");
        }
        for wrong in ["", "*.*", "a*b", "10.0.0.1", "https://shop.example"] {
            assert!(wrong.parse::<HostRule>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_of_ones_own_is_a_host_name() {
        assert_eq!(own_url("https://Shop.example/").expect("usable"), "https://Shop.example");
        assert_eq!(host_of("https://Shop.example:8443").as_deref(), Some("shop.example"));
        for wrong in [
            "",
            "shop.example",
            "ftp://shop.example",
            "https://shop.example/path",
            "https://shop.example/?q",
            "https://user@shop.example",
            "https://127.0.0.1",
            "https://[::1]",
            "https://a'b.example",
            "https://shop.example.",
            &format!("https://{}com", "a.".repeat(126)),
        ] {
            assert_eq!(own_url(wrong).expect_err(wrong).code, "InvalidDeploymentUrl", "{wrong}");
        }
    }
}

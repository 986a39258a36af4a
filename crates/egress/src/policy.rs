//! Where requests may go.
//!
//! ```text
//!   deny             what it names is refused, whatever else is said
//!   deny_private     addresses of private ranges are refused, but for those of a range in `allow`
//!   allow            empty: everything else is let through; else what it names, and nothing more
//! ```

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::Deserialize;

use crate::{error::Denied, private::is_private};

/// Where requests may go. By default everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is let through; everything, if it is empty.
    pub allow: Vec<Rule>,
    /// What is not, whatever `allow` says.
    pub deny: Vec<Rule>,
    /// Refuse addresses of this machine and of private networks, unless a range in `allow` has them. A name in `allow` is
    /// not enough: whoever owns it decides what it stands for.
    pub deny_private: bool,
}

/// Names hosts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Rule {
    /// `*`
    Everything,
    /// `api.example.com`
    Host(String),
    /// `*.example.com`: all below it, and not itself.
    Below(String),
    /// `10.0.0.0/8`, `192.0.2.1`: addresses, also those that a name stands for.
    Range(IpNet),
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no hosts: it must be `*`, a name, `*.` and a domain, an address, or a range such as 10.0.0.0/8"
)]
pub struct PolicyError(String);

impl Policy {
    /// Before a name is resolved: asking for it is a message already.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), Denied> {
        if self.deny.iter().any(|rule| rule.names(name)) {
            return Err(DENY);
        }
        let may_be_allowed = |rule: &Rule| rule.names(name) || matches!(rule, Rule::Range(_));
        if self.allow.is_empty() || self.allow.iter().any(may_be_allowed) { Ok(()) } else { Err(ALLOW) }
    }

    /// Before an address is connected to. `name` is what stood for it, if it is not the address itself.
    pub(crate) fn check_address(&self, name: Option<&str>, address: IpAddr) -> Result<(), Denied> {
        let matches = |rule: &Rule| rule.has(address) || name.is_some_and(|name| rule.names(name));
        if self.deny.iter().any(matches) {
            return Err(DENY);
        }
        if self.deny_private
            && is_private(address)
            && !self.allow.iter().any(|rule| rule.is_range_of(address))
        {
            return Err(DENY_PRIVATE);
        }
        if self.allow.is_empty() || self.allow.iter().any(matches) { Ok(()) } else { Err(ALLOW) }
    }
}

const ALLOW: Denied = Denied { setting: "egress.allow" };
const DENY: Denied = Denied { setting: "egress.deny" };
const DENY_PRIVATE: Denied = Denied { setting: "egress.deny_private" };

impl Rule {
    fn names(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            Rule::Everything => true,
            Rule::Host(host) => name.eq_ignore_ascii_case(host),
            Rule::Below(domain) => {
                let below = name.len().checked_sub(domain.len() + 1);
                below.is_some_and(|dot| {
                    dot > 0 && name.as_bytes()[dot] == b'.' && name[dot + 1..].eq_ignore_ascii_case(domain)
                })
            }
            Rule::Range(_) => false,
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        matches!(self, Rule::Everything) || self.is_range_of(address)
    }

    fn is_range_of(&self, address: IpAddr) -> bool {
        matches!(self, Rule::Range(range) if range.contains(&address.to_canonical()))
    }
}

impl FromStr for Rule {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Rule, PolicyError> {
        let wrong = || PolicyError(text.to_owned());
        let host = |text: &str| match url::Host::parse(text) {
            Ok(url::Host::Domain(name)) if !name.contains('*') => Ok(name),
            _ => Err(wrong()),
        };
        if text == "*" {
            return Ok(Rule::Everything);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Rule::Range(address.to_canonical().into()));
        }
        if let Ok(range) = text.parse::<IpNet>() {
            return Ok(Rule::Range(range));
        }
        match text.strip_prefix("*.") {
            Some(domain) => host(domain).map(Rule::Below),
            None => host(text).map(Rule::Host),
        }
    }
}

impl TryFrom<String> for Rule {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Rule, PolicyError> {
        text.parse()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Everything => formatter.write_str("*"),
            Rule::Host(host) => formatter.write_str(host),
            Rule::Below(domain) => write!(formatter, "*.{domain}"),
            Rule::Range(range) => range.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &str, deny: &str, deny_private: bool) -> Policy {
        let rules = |text: &str| text.split_whitespace().map(|rule| rule.parse().expect(rule)).collect();
        Policy { allow: rules(allow), deny: rules(deny), deny_private }
    }

    #[test]
    fn the_table_of_decisions() {
        let cases = [
            ("", "", false, "x.example", "10.0.0.1", None),
            ("", "x.example", false, "X.example.", "1.1.1.1", Some("egress.deny")),
            ("", "x.example", false, "y.x.example", "1.1.1.1", None),
            ("", "*.x.example", false, "y.x.example", "1.1.1.1", Some("egress.deny")),
            ("", "*.x.example", false, "x.example", "1.1.1.1", None),
            ("", "*.x.example", false, "yx.example", "1.1.1.1", None),
            ("", "1.1.0.0/16", false, "x.example", "1.1.1.1", Some("egress.deny")),
            ("", "1.1.0.0/16", false, "x.example", "::ffff:1.1.1.1", Some("egress.deny")),
            ("", "*", false, "x.example", "1.1.1.1", Some("egress.deny")),
            ("x.example", "", false, "x.example", "1.1.1.1", None),
            ("x.example", "", false, "y.example", "1.1.1.1", Some("egress.allow")),
            ("1.1.1.1", "", false, "y.example", "1.1.1.1", None),
            ("1.1.1.1", "", false, "y.example", "1.1.1.2", Some("egress.allow")),
            ("x.example", "1.1.1.1", false, "x.example", "1.1.1.1", Some("egress.deny")),
            ("", "", true, "x.example", "10.0.0.1", Some("egress.deny_private")),
            ("", "", true, "x.example", "1.1.1.1", None),
            ("*", "", true, "x.example", "10.0.0.1", Some("egress.deny_private")),
            ("x.example", "", true, "x.example", "10.0.0.1", Some("egress.deny_private")),
            ("* 10.0.0.0/8", "", true, "x.example", "10.0.0.1", None),
            ("* 10.0.0.0/8", "", true, "x.example", "127.0.0.1", Some("egress.deny_private")),
            ("* 10.0.0.0/8", "10.0.0.1", true, "x.example", "10.0.0.1", Some("egress.deny")),
        ];
        for (allow, deny, deny_private, name, address, expected) in cases {
            let policy = policy(allow, deny, deny_private);
            let decided = policy.check_address(Some(name), address.parse().expect(address));
            let found = decided.err().map(|denied| denied.setting);
            assert_eq!(found, expected, "allow {allow}, deny {deny}, {deny_private}: {name} at {address}");
            // Whatever is refused by name is refused with every address.
            if let Err(denied) = policy.check_name(name) {
                assert_eq!(Some(denied.setting), found, "{name}");
            }
        }
    }

    #[test]
    fn names_that_no_rule_can_let_through_are_not_resolved() {
        assert!(policy("x.example", "", false).check_name("y.example").is_err());
        assert!(policy("", "y.example", false).check_name("y.example").is_err());
        assert!(policy("10.0.0.0/8", "", false).check_name("y.example").is_ok());
    }

    #[test]
    fn rules_are_read_and_shown() {
        for text in ["*", "x.example", "*.x.example", "10.0.0.0/8", "fd00::/8", "localhost"] {
            assert_eq!(text.parse::<Rule>().expect(text).to_string(), text);
        }
        assert_eq!("192.0.2.1".parse::<Rule>().expect("an address").to_string(), "192.0.2.1/32");
        assert_eq!("Bücher.example".parse(), Ok(Rule::Host("xn--bcher-kva.example".to_owned())));
        for text in [
            "",
            "*.",
            "*x.example",
            "x.*",
            "a b",
            "https://x.example",
            "x.example:443",
            "10.0.0.0/33",
            "10.1",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}

//! Who has sent a request, as functions may ask.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header::USER_AGENT};
use contract::Requester;
use egress::is_private;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// What the head of a request says of its sender, whose connection comes from `peer`.
pub(crate) fn requester_of(peer: Option<IpAddr>, headers: &HeaderMap) -> Requester {
    let agent = headers.get(USER_AGENT).map(|value| value.as_bytes());
    Requester {
        ip: peer.map(|peer| client_address(peer.to_canonical(), headers)),
        user_agent: agent.map(|bytes| bytes.iter().copied().map(char::from).collect::<String>().into()),
        token: None,
    }
}

/// The client's address. A proxy appends that of whoever it serves, and what stands before that is not its own word. So the list
/// is read from its end, as long as what has written it is private and so may be a proxy of the operator's.
fn client_address(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let lists: Vec<_> =
        headers.get_all(X_FORWARDED_FOR).iter().map(|list| list.to_str().unwrap_or("")).collect();
    let mut client = peer;
    for element in lists.iter().flat_map(|list| list.split(',')).rev() {
        if !is_private(client) {
            break;
        }
        let Some(before) = address_of(element.trim()) else { break };
        client = before;
    }
    client
}

/// Some proxies write the port as well, and brackets around addresses of IPv6.
fn address_of(element: &str) -> Option<IpAddr> {
    let with_port = || element.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || element.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = element.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lists: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(list).expect("a value"));
        }
        let requester = requester_of(Some(peer.parse().expect("an address")), &headers);
        requester.ip.expect("the peer is known").to_string()
    }

    #[test]
    fn what_is_forwarded_counts_from_a_proxy_of_ones_own_alone() {
        for (peer, lists, seen) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("::ffff:127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["8.8.4.4"], "8.8.4.4"),
            ("10.1.2.3", &["8.8.4.4"], "8.8.4.4"),
            ("fd00::1", &["2600::7"], "2600::7"),
            // Anybody can write the header.
            ("9.9.9.9", &["8.8.4.4"], "9.9.9.9"),
            ("127.0.0.1", &["1.1.1.1, 8.8.4.4"], "8.8.4.4"),
            ("127.0.0.1", &["1.1.1.1", "8.8.4.4"], "8.8.4.4"),
            // Proxies in a row.
            ("127.0.0.1", &["1.1.1.1, 8.8.4.4,10.0.0.7"], "8.8.4.4"),
            ("127.0.0.1", &["192.168.0.9, 10.0.0.7"], "192.168.0.9"),
            ("127.0.0.1", &["8.8.4.4:5151"], "8.8.4.4"),
            ("127.0.0.1", &["[2600::7]:443"], "2600::7"),
            ("127.0.0.1", &["[2600::7]"], "2600::7"),
            ("127.0.0.1", &["8.8.4.4, unknown"], "127.0.0.1"),
            ("127.0.0.1", &[""], "127.0.0.1"),
        ] {
            assert_eq!(client(peer, lists), seen, "{peer} {lists:?}");
        }
    }

    #[test]
    fn a_user_agent_is_text_whatever_its_bytes_are() {
        let agent = HeaderValue::from_bytes(b"gr\xfcn/1").expect("a value");
        let requester = requester_of(None, &HeaderMap::from_iter([(USER_AGENT, agent)]));
        assert_eq!(requester.user_agent.as_deref(), Some("gr\u{fc}n/1"));
        assert_eq!(requester_of(None, &HeaderMap::new()), Requester::default());
    }
}

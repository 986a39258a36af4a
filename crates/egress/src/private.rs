//! Which addresses are nobody's on the internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is of this machine, of a private network, or of no single server: what the registries of IANA call not
/// globally reachable (RFC 6890), and multicast. Addresses of IPv6 that stand for one of IPv4 are judged by that.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => is_private_v4(address),
            None => is_private_v6(address),
        },
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    match first {
        0 | 10 | 127 => true,
        100 => (64..128).contains(&second),
        169 => second == 254,
        172 => (16..32).contains(&second),
        192 => second == 168 || (second == 0 && (third == 0 || third == 2)),
        198 => second == 18 || second == 19 || (second == 51 && third == 100),
        203 => second == 0 && third == 113,
        // Multicast, and what is reserved.
        224.. => true,
        _ => false,
    }
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, fourth, ..] = address.segments();
    match first {
        // Unspecified, loopback, and what else begins with zeros.
        0 => true,
        // Local use of address translation (RFC 8215).
        0x64 => second == 0xff9b && third == 1,
        // Discarded (RFC 6666).
        0x100 => second == 0 && third == 0 && fourth == 0,
        // Teredo and other protocols, and documentation.
        0x2001 => second < 0x200 || second == 0xdb8,
        0x3fff => second < 0x1000,
        // Unique local, link local, site local, multicast.
        0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00.. => true,
        _ => false,
    }
}

/// The address of IPv4 that one of IPv6 leads to: mapped, by translation (RFC 6052), or by 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nobodys_on_the_internet_is_private() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.8.9.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001:db8::1",
            "2002:a00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_private(address.parse().expect(address)), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "192.169.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(!is_private(address.parse().expect(address)), "{address}");
        }
    }
}

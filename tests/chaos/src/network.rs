//! A network of its own: a namespace that nobody else sees, in it a bridge, and on the bridge a namespace for each place where a node
//! can be. Mounts are private, too. All of it is gone when the last process in it has ended, however that came.

use std::{
    ffi::CString,
    fs, io,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
    ptr,
};

use anyhow::{Context as _, Result, bail, ensure};

/// Two places in each of three zones: a node that is replaced comes back at the other one.
pub const SLOTS: usize = 6;
pub const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
/// Where clients are.
pub const HUB: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const PREFIX: u8 = 16;

pub fn zone_of(slot: usize) -> &'static str {
    ZONES[slot % ZONES.len()]
}

pub fn address_of(slot: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, slot as u8 + 1)
}

/// As whom a slow link speaks to others in the name of this place.
pub fn alias_of(slot: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, slot as u8 + 1)
}

pub fn namespace_of(slot: usize) -> String {
    format!("place-{slot}")
}

/// Moves this process, which has one thread, into the network.
pub fn enter() -> Result<()> {
    // SAFETY: geteuid and unshare take no pointers; mount gets strings that live as long as the calls.
    unsafe {
        ensure!(libc::geteuid() == 0, "this is not run as root");
        if libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) != 0 {
            return Err(io::Error::last_os_error()).context("unshare");
        }
        let (root, run) = (CString::new("/")?, CString::new("/run")?);
        let tmpfs = CString::new("tmpfs")?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        if libc::mount(ptr::null(), root.as_ptr(), ptr::null(), private, ptr::null()) != 0 {
            return Err(io::Error::last_os_error()).context("make mounts private");
        }
        // Names of namespaces and the lock of iptables are kept here.
        if libc::mount(tmpfs.as_ptr(), run.as_ptr(), tmpfs.as_ptr(), 0, ptr::null()) != 0 {
            return Err(io::Error::last_os_error()).context("mount a file system at /run");
        }
    }
    fs::create_dir("/run/netns").context("create /run/netns")?;
    ip("link set lo up")?;
    ip("link add hub type bridge")?;
    ip(&format!("address add {HUB}/{PREFIX} dev hub"))?;
    ip("link set hub up")?;
    for slot in 0..SLOTS {
        let name = namespace_of(slot);
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add link-{slot} type veth peer name eth0 netns {name}"))?;
        ip(&format!("link set link-{slot} master hub up"))?;
        ip(&format!("-netns {name} link set lo up"))?;
        ip(&format!("-netns {name} address add {}/{PREFIX} dev eth0", address_of(slot)))?;
        ip(&format!("-netns {name} link set eth0 up"))?;
        ip(&format!("address add {}/{PREFIX} dev hub", alias_of(slot)))?;
    }
    // Each kind of rule that faults need.
    for words in [
        "-A OUTPUT -d 10.77.9.9 -j DROP",
        "-A OUTPUT -p tcp -d 10.77.9.9 -j REJECT --reject-with tcp-reset",
        "-A INPUT -s 10.77.9.9 -m statistic --mode random --probability 0.5 -j DROP",
        "-t nat -A OUTPUT -p tcp -d 10.77.9.9 -j DNAT --to-destination 10.77.0.254:9",
    ] {
        run(&format!("ip netns exec {} iptables -w {words}", namespace_of(0)))?;
        run(&format!("ip netns exec {} iptables -w {}", namespace_of(0), words.replace("-A ", "-D ")))?;
    }
    Ok(())
}

fn ip(words: &str) -> Result<()> {
    run(&format!("ip {words}"))
}

/// A command whose words have no spaces.
pub fn run(command: &str) -> Result<()> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A rule in the namespace of a place, without the word that adds or deletes it.
#[derive(Debug, Clone)]
pub struct Rule {
    pub slot: usize,
    pub table: &'static str,
    pub chain: &'static str,
    pub words: String,
}

impl Rule {
    pub async fn add(&self) -> Result<()> {
        self.change("-A").await
    }

    pub async fn delete(&self) -> Result<()> {
        self.change("-D").await
    }

    async fn change(&self, verb: &str) -> Result<()> {
        let Rule { slot, table, chain, words } = self;
        let command =
            format!("ip netns exec {} iptables -w -t {table} {verb} {chain} {words}", namespace_of(*slot));
        tokio::task::spawn_blocking(move || run(&command)).await?
    }
}

/// Nothing of what `from` sends gets to `to`, nor to what speaks in its name.
pub fn cut(from: usize, to: usize) -> [Rule; 2] {
    [address_of(to), alias_of(to)].map(|address| Rule {
        slot: from,
        table: "filter",
        chain: "OUTPUT",
        words: format!("-d {address} -j DROP"),
    })
}

/// Nothing goes between the place and any other place.
pub fn cut_off(slot: usize) -> [Rule; 2] {
    let others = (0..SLOTS).filter(|other| *other != slot);
    let addresses: Vec<String> =
        others.flat_map(|other| [address_of(other).to_string(), alias_of(other).to_string()]).collect();
    let addresses = addresses.join(",");
    [("OUTPUT", "-d"), ("INPUT", "-s")].map(|(chain, end)| Rule {
        slot,
        table: "filter",
        chain,
        words: format!("{end} {addresses} -j DROP"),
    })
}

/// Nothing goes between the place and clients.
pub fn cut_from_clients(slot: usize) -> [Rule; 2] {
    [("OUTPUT", "-d"), ("INPUT", "-s")].map(|(chain, end)| Rule {
        slot,
        table: "filter",
        chain,
        words: format!("{end} {HUB} -j DROP"),
    })
}

/// So much of what comes in is lost.
pub fn lose(slot: usize, share: f64) -> Rule {
    let words = format!("-s 10.77.0.0/{PREFIX} -m statistic --mode random --probability {share:.3} -j DROP");
    Rule { slot, table: "filter", chain: "INPUT", words }
}

/// Connections of `from` to `to` end, and new ones go by way of a port of the hub.
pub fn detour(from: usize, to: usize, port: u16) -> [Rule; 2] {
    let (direct, by_way) = (address_of(to), alias_of(to));
    [
        Rule {
            slot: from,
            table: "nat",
            chain: "OUTPUT",
            words: format!("-p tcp -d {direct} --dport 3213 -j DNAT --to-destination {by_way}:{port}"),
        },
        Rule {
            slot: from,
            table: "filter",
            chain: "OUTPUT",
            words: format!("-p tcp -d {direct} -j REJECT --reject-with tcp-reset"),
        },
    ]
}

/// Makes a disk of its own and mounts it.
pub fn mount_disk(image: &Path, at: &Path, bytes: u64) -> Result<()> {
    fs::File::create(image)?.set_len(bytes)?;
    fs::create_dir_all(at)?;
    run(&format!("mkfs.ext4 -q -F -m 0 {}", image.display()))?;
    run(&format!("mount -o loop {} {}", image.display(), at.display()))
}

/// Nothing but the last zone's disk is mounted in a run's folder.
pub fn unmount(folder: &Path) {
    let _ = run(&format!("umount -l {}", folder.join(ZONES[2]).display()));
}

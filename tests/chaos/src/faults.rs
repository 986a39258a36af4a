//! The faults: how each begins, and how it ends.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use rand::{RngExt as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    findings::{Promise, fail, say},
    network::{self, Rule, ZONES, address_of, alias_of, zone_of},
    nodes::{Cluster, told},
    relay::SlowLink,
    world::{INTERNAL_PORT, World},
};

/// How a program ends whose disk has failed.
const DISK_FAILED: i32 = 70;
const END_TIME_MAX: Duration = Duration::from_secs(10);
const NOTICE_TIME_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);
const CHANGE_TIME_MAX: Duration = Duration::from_secs(60);
const CHANGE_ATTEMPTS_MAX: u32 = 5;
/// When no fault goes on. Some of the nodes that are asked may themselves be gone, or new and know nobody.
const LAST_CHANGE_ATTEMPTS_MAX: u32 = 30;
const CHANGE_PAUSE: Duration = Duration::from_secs(1);
/// One way, and up to twice as much.
const DELAY_MS: std::ops::Range<u64> = 5..150;
const COMES_BACK: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// kill -9 of the node that leads.
    KillLeader,
    KillFollower,
    KillMajority,
    KillAll,
    /// SIGSTOP for longer than an election takes, then SIGCONT.
    PauseLeader,
    PauseFollower,
    /// The leader hears nobody and nobody hears it; now and then clients neither.
    CutLeader,
    CutFollower,
    /// Packets of one direction are lost.
    OneWay,
    /// Two don't reach each other, and the third reaches both.
    Bridge,
    /// Cut off and back again, several times a second to once in two.
    Flapping,
    /// Some of what comes in is lost.
    Loss,
    /// Links between nodes are slow.
    Delay,
    /// A node's clock steps, and later back.
    Clock,
    /// One fdatasync of a node fails.
    FailSync,
    /// The last zone's disk is full.
    DiskFull,
    /// A node is killed, its disk wiped, and another one under a new number takes its place.
    Replace,
    /// The same for a node that runs and is cut off.
    ReplaceCutOff,
    /// A planned stop of the leader.
    Stop,
    /// Another version of the program takes its turn on one node.
    Older,
}

impl Kind {
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A fault that goes on.
pub struct Active {
    pub what: String,
    undo: Undo,
}

impl Active {
    /// When it ends among those of its round: nodes that are started again must be reached, and a node that could not be replaced
    /// under the other faults is when they are over.
    pub fn turn(&self) -> u8 {
        match self.undo {
            Undo::Continue(_)
            | Undo::Rules(_)
            | Undo::Flapping { .. }
            | Undo::SlowLinks(..)
            | Undo::Clock(_) => 0,
            Undo::Restart(_) | Undo::FailSync(_) | Undo::DiskFull(_) | Undo::Older(_) => 1,
            Undo::Replace { .. } => 2,
        }
    }
}

enum Undo {
    /// `rules` cut the old one off.
    Replace {
        gone: u64,
        next: u64,
        is_done: bool,
        rules: Vec<Rule>,
    },
    Restart(Vec<u64>),
    Continue(u64),
    Rules(Vec<Rule>),
    Flapping {
        over: Arc<AtomicBool>,
        task: JoinHandle<Result<()>>,
    },
    SlowLinks(Vec<Rule>, Vec<SlowLink>),
    Clock(u64),
    FailSync(u64),
    DiskFull(u64),
    Older(u64),
}

/// What the faults of one round have in common.
pub struct Round<'a> {
    pub world: &'a Arc<World>,
    pub cluster: &'a mut Cluster,
    pub random: &'a mut ChaCha8Rng,
    pub leader: u64,
    /// Nodes whose process or disk a fault of this round has.
    pub busy: BTreeSet<u64>,
    pub older: Option<&'a Path>,
    /// No other fault goes on.
    pub alone: bool,
}

impl Round<'_> {
    fn free(&self) -> Vec<u64> {
        self.cluster.numbers().into_iter().filter(|number| !self.busy.contains(number)).collect()
    }

    fn take(&mut self, number: u64) -> Option<u64> {
        self.busy.insert(number).then_some(number)
    }

    fn take_leader(&mut self) -> Option<u64> {
        self.take(self.leader)
    }

    fn take_some(&mut self, but: Option<u64>) -> Option<u64> {
        let free: Vec<u64> = self.free().into_iter().filter(|number| Some(*number) != but).collect();
        let number = *free.choose(self.random)?;
        self.take(number)
    }

    /// None if the nodes that it needs are not free.
    pub async fn begin(&mut self, kind: Kind) -> Result<Option<Active>> {
        let begun = match kind {
            Kind::KillLeader => self.take_leader().map(|node| vec![node]),
            Kind::KillFollower => self.take_some(Some(self.leader)).map(|node| vec![node]),
            Kind::KillMajority => match (self.take_some(None), self.take_some(None)) {
                (Some(one), Some(other)) => Some(vec![one, other]),
                (one, _) => {
                    one.inspect(|one| {
                        self.busy.remove(one);
                    });
                    None
                }
            },
            Kind::KillAll if self.busy.is_empty() => {
                self.busy.extend(self.cluster.numbers());
                Some(self.cluster.numbers())
            }
            Kind::KillAll => None,
            other => return self.begin_other(other).await,
        };
        let Some(killed) = begun else { return Ok(None) };
        for node in &killed {
            self.cluster.kill(*node)?;
        }
        Ok(Some(Active { what: format!("killed {killed:?}"), undo: Undo::Restart(killed) }))
    }

    async fn begin_other(&mut self, kind: Kind) -> Result<Option<Active>> {
        match kind {
            Kind::PauseLeader | Kind::PauseFollower => {
                let taken = if kind == Kind::PauseLeader {
                    self.take_leader()
                } else {
                    self.take_some(Some(self.leader))
                };
                let Some(node) = taken else { return Ok(None) };
                self.cluster.signal(node, libc::SIGSTOP)?;
                Ok(Some(Active { what: format!("node {node} stands still"), undo: Undo::Continue(node) }))
            }
            Kind::CutLeader | Kind::CutFollower => {
                let followers: Vec<u64> =
                    self.cluster.numbers().into_iter().filter(|number| *number != self.leader).collect();
                let node = match kind {
                    Kind::CutLeader => self.leader,
                    _ => *followers.choose(self.random).context("there are followers")?,
                };
                let mut rules = self.cut_off(node)?;
                let clients = self.random.random_bool(0.4);
                if clients {
                    rules.extend(network::cut_from_clients(self.cluster.slot(node)?));
                }
                let from = if clients { "all others and clients" } else { "all other nodes" };
                self.rules(format!("node {node} cut off from {from}"), rules).await
            }
            Kind::OneWay => self.one_way().await,
            Kind::Bridge => {
                let mut nodes = self.cluster.numbers();
                let middle = nodes.swap_remove(self.random.random_range(0..nodes.len()));
                let [one, other] = nodes[..] else { return Ok(None) };
                let (a, b) = (self.cluster.slot(one)?, self.cluster.slot(other)?);
                let rules = [network::cut(a, b), network::cut(b, a)].concat();
                self.rules(format!("only node {middle} reaches both {one} and {other}"), rules).await
            }
            Kind::Flapping => self.flap().map(Some),
            Kind::Loss => {
                let share = self.random.random_range(0.05..0.35);
                let count = self.random.random_range(1..=3);
                let slots: Vec<usize> = self.cluster.nodes.iter().map(|node| node.slot).take(count).collect();
                let rules = slots.iter().map(|slot| network::lose(*slot, share)).collect();
                self.rules(format!("{:.0} % of what comes in is lost at {count} nodes", share * 100.0), rules)
                    .await
            }
            Kind::Delay => self.delay().await.map(Some),
            Kind::Clock => {
                let node = *self.cluster.numbers().choose(self.random).context("there are nodes")?;
                let size: f64 = 10_f64.powf(self.random.random_range(-1.0..1.3));
                let seconds = if self.random.random_bool(0.5) { size } else { -size };
                self.cluster.set_clock(node, (seconds * 1e9) as i64)?;
                Ok(Some(Active {
                    what: format!("the clock of node {node} steps by {seconds:.2} s"),
                    undo: Undo::Clock(node),
                }))
            }
            Kind::FailSync => {
                let Some(node) = self.take_some(None) else { return Ok(None) };
                File::create(self.cluster.node(node)?.armed())?;
                Ok(Some(Active { what: format!("a sync of node {node} fails"), undo: Undo::FailSync(node) }))
            }
            Kind::DiskFull => self.fill_disk().await,
            Kind::Replace => {
                let Some(gone) = self.take_some(None) else { return Ok(None) };
                self.cluster.kill(gone)?;
                self.cluster.wipe(gone)?;
                self.begin_replacing(gone, Vec::new(), "lost its disk").await.map(Some)
            }
            Kind::ReplaceCutOff => {
                let Some(gone) = self.take_some(None) else { return Ok(None) };
                let rules = self.cut_off(gone)?;
                for rule in &rules {
                    rule.add().await?;
                }
                self.begin_replacing(gone, rules, "is cut off").await.map(Some)
            }
            Kind::Stop => {
                let Some(node) = self.take_leader() else { return Ok(None) };
                self.cluster.stop(node).await?;
                Ok(Some(Active { what: format!("node {node} was stopped"), undo: Undo::Restart(vec![node]) }))
            }
            Kind::Older => {
                let (Some(older), Some(node)) = (self.older, self.take_some(None)) else { return Ok(None) };
                self.cluster.stop(node).await?;
                self.cluster.start_as(node, older)?;
                self.cluster.wait_until_up(node).await?;
                Ok(Some(Active {
                    what: format!("node {node} runs the other version"),
                    undo: Undo::Older(node),
                }))
            }
            Kind::KillLeader | Kind::KillFollower | Kind::KillMajority | Kind::KillAll => Ok(None),
        }
    }

    async fn rules(&self, what: String, rules: Vec<Rule>) -> Result<Option<Active>> {
        for rule in &rules {
            rule.add().await?;
        }
        Ok(Some(Active { what, undo: Undo::Rules(rules) }))
    }

    fn cut_off(&self, node: u64) -> Result<Vec<Rule>> {
        Ok(network::cut_off(self.cluster.slot(node)?).to_vec())
    }

    async fn one_way(&mut self) -> Result<Option<Active>> {
        let leader = self.cluster.slot(self.leader)?;
        let others: Vec<u64> =
            self.cluster.numbers().into_iter().filter(|number| *number != self.leader).collect();
        let slots: Vec<usize> =
            others.iter().map(|number| self.cluster.slot(*number)).collect::<Result<_>>()?;
        let (what, rules) = match self.random.random_range(0..3) {
            0 => {
                let rules = slots.iter().flat_map(|slot| network::cut(leader, *slot)).collect();
                (format!("nobody hears node {}, the leader", self.leader), rules)
            }
            1 => {
                let rules = slots.iter().flat_map(|slot| network::cut(*slot, leader)).collect();
                (format!("node {}, the leader, hears nobody", self.leader), rules)
            }
            _ => {
                let position = self.random.random_range(0..slots.len());
                let what =
                    format!("node {} does not hear node {}, the leader", others[position], self.leader);
                (what, network::cut(leader, slots[position]).to_vec())
            }
        };
        self.rules(what, rules).await
    }

    fn flap(&mut self) -> Result<Active> {
        let node = *self.cluster.numbers().choose(self.random).context("there are nodes")?;
        let rules = self.cut_off(node)?;
        let over = Arc::new(AtomicBool::new(false));
        let mut random = ChaCha8Rng::seed_from_u64(self.random.random());
        let is_over = over.clone();
        let task = tokio::spawn(async move {
            while !is_over.load(Relaxed) {
                for rule in &rules {
                    rule.add().await?;
                }
                sleep(Duration::from_millis(random.random_range(200..2_000))).await;
                for rule in &rules {
                    rule.delete().await?;
                }
                sleep(Duration::from_millis(random.random_range(100..1_200))).await;
            }
            Ok(())
        });
        Ok(Active {
            what: format!("node {node} is cut off and back again and again"),
            undo: Undo::Flapping { over, task },
        })
    }

    async fn delay(&mut self) -> Result<Active> {
        let delay = Duration::from_millis(self.random.random_range(DELAY_MS));
        let slots: Vec<usize> = self.cluster.nodes.iter().map(|node| node.slot).collect();
        let only = self.random.random_bool(0.5).then(|| slots[self.random.random_range(0..slots.len())]);
        let (mut rules, mut links) = (Vec::new(), Vec::new());
        for from in &slots {
            for to in slots.iter().filter(|to| *to != from) {
                if only.is_none_or(|only| only == *from || only == *to) {
                    let link = SlowLink::open(alias_of(*from), alias_of(*to), address_of(*to), delay).await?;
                    rules.extend(network::detour(*from, *to, link.port));
                    links.push(link);
                }
            }
        }
        for rule in &rules {
            rule.add().await?;
        }
        let what = format!("{} links are late by {delay:?} and up to twice as much", links.len());
        Ok(Active { what, undo: Undo::SlowLinks(rules, links) })
    }

    /// Waits until the node has noticed: what it has reserved on the disk lasts for a while.
    async fn fill_disk(&mut self) -> Result<Option<Active>> {
        let free = self.free();
        let in_zone = |number: &&u64| self.cluster.slot(**number).is_ok_and(|slot| zone_of(slot) == ZONES[2]);
        let Some(node) = free.iter().find(in_zone).copied() else { return Ok(None) };
        self.busy.insert(node);
        fill(self.cluster.ballast()).await?;
        let filled = tokio::time::Instant::now();
        let mut ended = None;
        while ended.is_none() && filled.elapsed() < NOTICE_TIME_MAX {
            sleep(LOOK).await;
            // Files that the node deletes make room.
            fill(self.cluster.ballast()).await?;
            ended = self.cluster.node_mut(node)?.ended()?;
        }
        let noticed = match ended {
            Some(status) => {
                self.expect_disk_failed(node, status);
                format!("and after {:.1?} it has ended", filled.elapsed())
            }
            None => {
                // Under other faults it may have nothing to write.
                if self.alone {
                    let text =
                        format!("the disk of node {node} is full, and it goes on for {NOTICE_TIME_MAX:?}");
                    fail(self.world, Promise::Processes, text);
                }
                "and it has not noticed".to_owned()
            }
        };
        let what = format!("the disk of node {node} is full, {noticed}");
        Ok(Some(Active { what, undo: Undo::DiskFull(node) }))
    }

    /// Starts a new node, and tries to put it in the place of one that is dead or cut off.
    async fn begin_replacing(&mut self, gone: u64, rules: Vec<Rule>, why: &str) -> Result<Active> {
        let next = self.cluster.start_spare(gone).await?;
        self.busy.insert(next);
        let is_done = match self.change_members(gone, next, CHANGE_ATTEMPTS_MAX).await {
            Ok(()) => true,
            // Alone it must be possible; under several faults it may not.
            Err(error) => {
                say(self.world, format_args!("  not yet replaced: {error:#}"));
                false
            }
        };
        let what = format!("node {gone} {why}, {next} takes its place");
        Ok(Active { what, undo: Undo::Replace { gone, next, is_done, rules } })
    }

    /// The operator's two commands, each tried again for a while.
    async fn change_members(&mut self, gone: u64, next: u64, attempts_max: u32) -> Result<()> {
        let slot = self.cluster.slot(next)?;
        let at = format!("{}:{INTERNAL_PORT}", address_of(slot));
        let (gone_text, next_text) = (gone.to_string(), next.to_string());
        let add = ["add-node", &next_text, "--at", &at, "--zone", zone_of(slot), "--instead-of", &gone_text];
        let others: Vec<u64> =
            self.cluster.numbers().into_iter().filter(|it| ![gone, next].contains(it)).collect();
        for words in [&add[..], &["remove-node", &gone_text]] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            for attempt in 1.. {
                let asked = others[attempt as usize % others.len()];
                match self.cluster.operate(asked, &words, CHANGE_TIME_MAX).await {
                    Ok(_) => break,
                    Err(error) if attempt == attempts_max => return Err(error),
                    Err(error) => say(self.world, format_args!("  {} is tried again: {error:#}", words[0])),
                }
                sleep(CHANGE_PAUSE).await;
            }
        }
        self.cluster.tell_places();
        Ok(())
    }

    /// Ends a fault; afterwards nothing of it is left, and processes that it ended run again.
    pub async fn end(&mut self, active: Active) -> Result<()> {
        match active.undo {
            Undo::Replace { gone, next, is_done, rules } => {
                // One that was cut off comes back: it is no member any more, and does not know.
                delete(&rules).await?;
                sleep(if rules.is_empty() { Duration::ZERO } else { COMES_BACK }).await;
                if !is_done {
                    self.change_members(gone, next, LAST_CHANGE_ATTEMPTS_MAX)
                        .await
                        .context("no fault goes on, and still")?;
                }
                self.cluster.forget(gone)?;
            }
            Undo::Restart(nodes) => {
                for node in &nodes {
                    self.cluster.start(*node)?;
                }
                for node in nodes {
                    self.cluster.wait_until_up(node).await?;
                }
            }
            Undo::Continue(node) => self.cluster.signal(node, libc::SIGCONT)?,
            Undo::Rules(rules) => delete(&rules).await?,
            Undo::Flapping { over, task } => {
                over.store(true, Relaxed);
                task.await??;
            }
            Undo::SlowLinks(rules, links) => {
                delete(&rules).await?;
                drop(links);
            }
            Undo::Clock(node) => self.cluster.set_clock(node, 0)?,
            Undo::FailSync(node) => self.end_failed_sync(node).await?,
            Undo::DiskFull(node) => {
                fs::remove_file(self.cluster.ballast())?;
                if let Some(status) = self.cluster.node_mut(node)?.ended()? {
                    self.expect_disk_failed(node, status);
                }
                if !self.cluster.node(node)?.runs() {
                    self.cluster.start(node)?;
                    self.cluster.wait_until_up(node).await?;
                }
            }
            Undo::Older(node) => {
                self.cluster.stop(node).await?;
                self.cluster.start(node)?;
                self.cluster.wait_until_up(node).await?;
            }
        }
        Ok(())
    }

    /// One whose log or store has failed must have ended. One that could not make a client's file durable takes no other until it is
    /// started anew.
    async fn end_failed_sync(&mut self, node: u64) -> Result<()> {
        let failed = self.cluster.node(node)?.failed_to_sync();
        let must_end =
            failed.as_ref().is_some_and(|path| self.cluster.node(node).is_ok_and(|it| it.is_data(path)));
        let deadline = tokio::time::Instant::now() + END_TIME_MAX;
        let mut ended = self.cluster.node_mut(node)?.ended()?;
        while must_end && ended.is_none() && tokio::time::Instant::now() < deadline {
            sleep(LOOK).await;
            ended = self.cluster.node_mut(node)?.ended()?;
        }
        match (ended, failed) {
            (Some(status), _) => self.expect_disk_failed(node, status),
            (None, Some(path)) if must_end => {
                let text = format!(
                    "node {node} goes on {END_TIME_MAX:?} after a sync of {} has failed",
                    path.display()
                );
                fail(self.world, Promise::Processes, text);
                self.cluster.kill(node)?;
            }
            (None, Some(_)) => {
                say(self.world, format_args!("  it was that of a file of a client, and node {node} went on"));
                self.cluster.stop(node).await?;
            }
            (None, None) => say(self.world, format_args!("  node {node} has synced too seldom for that")),
        }
        self.cluster.node(node)?.disarm();
        if !self.cluster.node(node)?.runs() {
            self.cluster.start(node)?;
            self.cluster.wait_until_up(node).await?;
        }
        Ok(())
    }

    fn expect_disk_failed(&self, node: u64, status: std::process::ExitStatus) {
        self.world.findings.checked(Promise::Processes, 1);
        if status.code() != Some(DISK_FAILED) {
            let text = format!("the disk of node {node} failed, and it ended with {}", told(status));
            fail(self.world, Promise::Processes, text);
        }
    }
}

async fn delete(rules: &[Rule]) -> Result<()> {
    for rule in rules {
        rule.delete().await?;
    }
    Ok(())
}

/// Takes all that is free on a file's disk.
async fn fill(ballast: PathBuf) -> Result<()> {
    let filling = move || {
        let file = OpenOptions::new().create(true).append(true).open(&ballast)?;
        let path =
            CString::new(ballast.parent().context("it is in a folder")?.as_os_str().as_encoded_bytes())?;
        // SAFETY: the structure is plain numbers, and the path lives as long as the call.
        let free = unsafe {
            let mut numbers: libc::statvfs = std::mem::zeroed();
            if libc::statvfs(path.as_ptr(), &mut numbers) != 0 {
                return Err(io::Error::last_os_error()).context("statvfs");
            }
            (numbers.f_bavail * numbers.f_bsize) as i64
        };
        let (mut length, mut piece) = (file.metadata()?.len() as i64, free);
        while piece >= 4_096 {
            // SAFETY: a call without pointers.
            match unsafe { libc::fallocate(file.as_raw_fd(), 0, length, piece) } {
                0 => length += piece,
                _ => piece /= 2,
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(filling).await?
}

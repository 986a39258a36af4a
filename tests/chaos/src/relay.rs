//! Connections that are passed on: for clients that connect to any node, and for links that are slow.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::world::{API_PORT, INTERNAL_PORT, World};

const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Twice what an official client is silent for.
const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(70);
const READ_BYTES: usize = 16 << 10;
/// Pieces that are under way on a slow link.
const PIECES_MAX: usize = 1_024;

/// Where a client connects, and when it was last heard of there.
pub struct Door {
    pub url: String,
    /// In microseconds of the run.
    heard: AtomicU64,
    /// When it was heard again after it had stood still, in microseconds of the run; 0 if it never has.
    woke: AtomicU64,
}

impl Door {
    /// Whether the client neither sends anything nor connects anew, or did not at some time in the last `time`: it may come back after
    /// minutes. One that is alive answers pings, gives up a connection in which nothing comes, and makes another one, each within half a
    /// minute.
    pub fn stood_still(&self, world: &World, time: Duration) -> bool {
        let (now, woke) = (world.micros(), self.woke.load(Relaxed));
        let since = |then: u64| Duration::from_micros(now.saturating_sub(then));
        since(self.heard.load(Relaxed)) > CLIENT_SILENCE_MAX || (woke > 0 && since(woke) < time)
    }

    fn hear(&self, world: &World) {
        let now = world.micros();
        let before = self.heard.swap(now, Relaxed);
        if Duration::from_micros(now.saturating_sub(before)) > CLIENT_SILENCE_MAX {
            self.woke.store(now, Relaxed);
        }
    }
}

/// A door for one client, behind which each connection is passed on to some member that takes it, as a load balancer does. Listens until
/// the run ends.
pub async fn to_any_member(world: Arc<World>) -> Result<Arc<Door>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen for clients")?;
    let url = format!("http://{}", listener.local_addr()?);
    let door = Arc::new(Door { url, heard: AtomicU64::new(world.micros()), woke: AtomicU64::new(0) });
    let of_client = door.clone();
    tokio::spawn(async move {
        while let Ok((mut client, from)) = listener.accept().await {
            let mut places = world.places();
            let first = rand::rng().random_range(0..places.len());
            places.rotate_left(first);
            let (world, door) = (world.clone(), of_client.clone());
            tokio::spawn(async move {
                door.hear(&world);
                for place in places {
                    let connect = TcpStream::connect((place.address, API_PORT));
                    if let Ok(Ok(mut member)) = timeout(CONNECT_TIME_MAX, connect).await {
                        let began = world.seconds();
                        let _ = pass_on(&mut client, &mut member, || door.hear(&world)).await;
                        let (port, node, ended) = (from.port(), place.node, world.seconds());
                        world.note(&format!(
                            "the relay's connection {port} to node {node} was there from {began:.2} to {ended:.2}"
                        ));
                        break;
                    }
                }
            });
        }
    });
    Ok(door)
}

/// Until one of both ends it. A member that does not answer the first message is given up, as load balancers do: the kernel takes
/// connections of a process that stands still, or does not serve yet, and the official client waits for ever.
async fn pass_on(client: &mut TcpStream, member: &mut TcpStream, heard: impl Fn()) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let length = client.read(&mut buffer).await?;
    member.write_all(&buffer[..length]).await?;
    timeout(ANSWER_TIME_MAX, member.peek(&mut [0])).await??;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_member, mut to_member) = member.split();
    let sending = async {
        while let length @ 1.. = from_client.read(&mut buffer).await? {
            heard();
            to_member.write_all(&buffer[..length]).await?;
        }
        Ok::<(), io::Error>(())
    };
    tokio::select! {
        sent = sending => sent,
        received = copy(&mut from_member, &mut to_client) => received.map(|_| ()),
    }
}

/// A slow way from one place to another, for as long as it lives.
pub struct SlowLink {
    pub port: u16,
    _tasks: JoinSet<()>,
}

impl SlowLink {
    /// What comes to a port at the other's alias goes on to the other, in the name of the first, each piece late by `delay` and up to as
    /// much again.
    pub async fn open(
        own_alias: Ipv4Addr,
        other_alias: Ipv4Addr,
        other: Ipv4Addr,
        delay: Duration,
    ) -> Result<SlowLink> {
        let listener = TcpListener::bind((other_alias, 0)).await.context("listen for a slow link")?;
        let port = listener.local_addr()?.port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Dropped with this task, and the connections with it.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((near, _)) = accepted else { continue };
                        connections.spawn(async move {
                            if let Ok(far) = connect_as(own_alias, other).await {
                                pass(near, far, delay).await;
                            }
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(SlowLink { port, _tasks: tasks })
    }
}

async fn connect_as(own: Ipv4Addr, other: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((own, 0).into())?;
    socket.connect((other, INTERNAL_PORT).into()).await
}

async fn pass(near: TcpStream, far: TcpStream, delay: Duration) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    // One end that is gone ends both.
    tokio::select! {
        () = pass_late(near_read, far_write, delay) => {}
        () = pass_late(far_read, near_write, delay) => {}
    }
}

async fn pass_late(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let mut random = SmallRng::from_rng(&mut rand::rng());
    let read = async {
        let mut last = Instant::now();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
            last = last.max(Instant::now() + delay + delay.mul_f64(random.random_range(0.0..1.0)));
            if sender.send((last, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = read => {}, () = write => {} }
}

//! What all parts of a run share.

use std::{
    fs::File,
    io::Write as _,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::findings::Findings;

pub const API_PORT: u16 = 3210;
pub const GRPC_PORT: u16 = 3212;
pub const INTERNAL_PORT: u16 = 3213;

/// Where a member of the cluster is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub node: u64,
    pub address: Ipv4Addr,
}

impl Place {
    pub fn api(&self) -> String {
        format!("http://{}:{API_PORT}", self.address)
    }

    pub fn grpc(&self) -> String {
        format!("http://{}:{GRPC_PORT}", self.address)
    }
}

pub struct World {
    pub seed: u64,
    began: Instant,
    notes: Mutex<File>,
    places: RwLock<Vec<Place>>,
    pub admin_key: OnceLock<String>,
    pub findings: Findings,
    over: AtomicBool,
    ids: AtomicU64,
    pub lists: Sink<checker::Transaction>,
    pub registers: Sink<crate::load::registers::Transaction>,
    /// When commits of probers were acknowledged, in microseconds of the run.
    pub beats: Mutex<Vec<u64>>,
    /// Names of plans that were acknowledged.
    pub plans: Mutex<Vec<String>>,
    /// Names and seeds of files that were acknowledged.
    pub files: Mutex<Vec<(String, u64)>>,
    /// Per owner, to what it was told that it had counted, and how often it was told nothing since.
    pub counted: Mutex<Vec<(String, u64, u64)>>,
    pub operations: AtomicU64,
}

impl World {
    pub fn new(seed: u64, folder: &Path) -> Result<World> {
        Ok(World {
            seed,
            began: Instant::now(),
            notes: Mutex::new(
                File::create(folder.join("run.log")).context("create a file in the run's folder")?,
            ),
            places: RwLock::default(),
            admin_key: OnceLock::new(),
            findings: Findings::default(),
            over: AtomicBool::new(false),
            ids: AtomicU64::new(0),
            lists: Sink::new(&folder.join("lists.jsonl"))?,
            registers: Sink::new(&folder.join("registers.jsonl"))?,
            beats: Mutex::default(),
            plans: Mutex::default(),
            files: Mutex::default(),
            counted: Mutex::default(),
            operations: AtomicU64::new(0),
        })
    }

    /// Since the beginning, by the clock of the whole history.
    pub fn micros(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn note(&self, line: &str) {
        let mut notes = self.notes.lock().expect("nobody panics with it");
        let _ = writeln!(notes, "{line}");
    }

    /// Random choices of one part of the run.
    pub fn random(&self, part: &str, number: u64) -> ChaCha8Rng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&number.to_le_bytes());
        for (place, byte) in seed[16..].iter_mut().zip(part.bytes()) {
            *place = byte;
        }
        ChaCha8Rng::from_seed(seed)
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    pub fn ids(&self) -> u64 {
        self.ids.load(Relaxed)
    }

    pub fn places(&self) -> Vec<Place> {
        self.places.read().expect("nobody panics with it").clone()
    }

    pub fn set_places(&self, places: Vec<Place>) {
        *self.places.write().expect("nobody panics with it") = places;
    }

    /// Any member.
    pub fn some_place(&self, random: &mut ChaCha8Rng) -> Place {
        let places = self.places();
        places[random.random_range(0..places.len())]
    }

    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub fn did_operation(&self) {
        self.operations.fetch_add(1, Relaxed);
    }
}

/// A history, in memory for the judges and in a file for people.
pub struct Sink<T> {
    all: Mutex<(Vec<T>, File)>,
}

impl<T: Serialize + Clone> Sink<T> {
    fn new(path: &Path) -> Result<Sink<T>> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Sink { all: Mutex::new((Vec::new(), file)) })
    }

    pub fn add(&self, one: T) {
        let mut line = serde_json::to_vec(&one).expect("it has no keys but names");
        line.push(b'\n');
        let mut all = self.all.lock().expect("nobody panics with it");
        let _ = all.1.write_all(&line);
        all.0.push(one);
    }

    pub fn all(&self) -> Vec<T> {
        self.all.lock().expect("nobody panics with it").0.clone()
    }
}

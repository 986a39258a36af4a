#!/usr/bin/env bash
# crate base2histogram 0.2.3 (which openraft 0.10.0-alpha.37 measures itself with): the first histogram of a process allocates tables of 27 MB, which stay.
#
# The guess: a histogram takes what its documentation says, 252 counters or 2,016 bytes, and a table for the resolution that was asked for.
# What happens: whoever makes the first one, with the default resolution too, makes the tables of all sixteen resolutions. Each has twice
# as many buckets as the one before. The second histogram takes two kilobytes.
# What follows: a process with an otherwise unused Raft node is 27 MB larger; whoever looks for a leak finds this first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"

[dependencies]
base2histogram = "=0.2.3"
TOML
mkdir src
cat > src/main.rs <<'RS'
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use base2histogram::Histogram;

/// The system's allocator, which knows how much is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What stays allocated for a histogram with ten values in it.
fn kept() -> usize {
    let before = IN_USE.load(Ordering::Relaxed);
    let mut histogram: Histogram = Histogram::new();
    (0..10).for_each(|value| histogram.record(value));
    let kept = IN_USE.load(Ordering::Relaxed) - before;
    assert_eq!(histogram.total(), 10);
    kept
}

fn main() {
    let (first, second) = (kept(), kept());
    println!("the first histogram keeps {first} bytes, the second {second}");
    assert!((25_000_000..30_000_000).contains(&first));
    assert!(second < 5_000);
}
RS
CARGO_TARGET_DIR="$folder/target" cargo run --quiet
echo "as found"

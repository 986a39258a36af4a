//! Tells a torn end of the log's write-ahead log from damage in the middle of it.
//!
//! RocksDB takes a record whose length is damaged, in the last 32 KiB of a file, for one that was not written to its end: it
//! ends there in silence, and what was acknowledged behind is gone. But every batch is durable before the next one is written.
//! So if the beginning of another record lies behind the place where reading ends, the file was damaged later; and all
//! files but the last must be whole.
//!
//! The format: blocks of 32 KiB; in them records of checksum u32, length u16, type u8 and content, whole or as first, middle and
//! last parts; what is left of a block is too short for a record. The content of a batch begins with its sequence number.

use std::{fs, io, path::Path};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 4 + 2 + 1;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
/// How far the sequence number of another batch can be from the last that was read: those of a batch are one for each row.
const SEQUENCES_MAX: u64 = 1 << 32;

/// Fails with the place of the damage, if there is some. A folder without files is as good as a whole one.
pub fn check(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    if folder.exists() {
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "log") && path.metadata()?.len() > 0 {
                files.push(path);
            }
        }
    }
    // Their names are numbers of six digits.
    files.sort();
    let last = files.len().saturating_sub(1);
    for (number, path) in files.iter().enumerate() {
        let content = fs::read(path)?;
        let Some((torn_at, sequence)) = end(&content) else { continue };
        if number < last {
            return Err(damaged(path, torn_at, "and newer files follow"));
        }
        if begins_behind(&content, torn_at, sequence) {
            return Err(damaged(path, torn_at, "and what was written later is there"));
        }
    }
    Ok(())
}

fn damaged(path: &Path, at: usize, why: &str) -> io::Error {
    let text = format!("corruption in {} at byte {at}: it can't be read on, {why}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Where reading ends before the file does, and the sequence number of the last batch that began before; `None` if it does
/// not.
fn end(content: &[u8]) -> Option<(usize, u64)> {
    let (mut at, mut sequence) = (0, 0);
    while at < content.len() {
        let left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEADER_BYTES {
            at += left;
            continue;
        }
        let Some(record) = record(content, at) else { return Some((at, sequence)) };
        sequence = record.sequence().unwrap_or(sequence);
        at += HEADER_BYTES + record.content.len();
    }
    None
}

/// Whether a batch that is newer than `sequence` begins behind a place.
fn begins_behind(content: &[u8], at: usize, sequence: u64) -> bool {
    let newer = sequence.saturating_add(1)..sequence.saturating_add(SEQUENCES_MAX);
    (at + 1..content.len())
        .filter_map(|at| record(content, at)?.sequence())
        .any(|sequence| newer.contains(&sequence))
}

struct Record<'c> {
    kind: u8,
    content: &'c [u8],
}

impl Record<'_> {
    /// Of the batch that begins with it.
    fn sequence(&self) -> Option<u64> {
        let first = self.content.first_chunk::<8>().filter(|_| matches!(self.kind, FULL | FIRST))?;
        Some(u64::from_le_bytes(*first))
    }
}

/// The record at a place, if there is a whole one.
fn record(content: &[u8], at: usize) -> Option<Record<'_>> {
    let (header, rest) = content.get(at..)?.split_first_chunk::<HEADER_BYTES>()?;
    let [a, b, c, d, low, high, kind] = *header;
    let length = usize::from(u16::from_le_bytes([low, high]));
    let in_block = at % BLOCK_BYTES + HEADER_BYTES + length <= BLOCK_BYTES;
    if !(FULL..=LAST).contains(&kind) || !in_block {
        return None;
    }
    let content = rest.get(..length)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&[kind]), content);
    // A checksum of what has checksums in it: RocksDB hides them from each other.
    let masked = checksum.rotate_right(15).wrapping_add(0xa282_ead8);
    (masked == u32::from_le_bytes([a, b, c, d])).then_some(Record { kind, content })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rocksdb::{DB, Options, WriteOptions};

    use super::*;

    /// A write-ahead log as RocksDB makes it: small and large batches. Where the last of them begins, at the latest.
    fn written(folder: &Path) -> PathBuf {
        let mut options = Options::default();
        options.create_if_missing(true);
        let database = DB::open(&options, folder).unwrap();
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        for number in 0..60u32 {
            let bytes = if number % 10 == 9 { 40_000 } else { 100 };
            let value: Vec<u8> = (0..bytes).map(|at| (at as u32 * 31 + number) as u8).collect();
            database.put_opt(number.to_be_bytes(), value, &durable).unwrap();
        }
        // As after a kill: nothing is flushed.
        std::mem::forget(database);
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "log")).unwrap()
    }

    #[test]
    fn a_log_is_whole_however_it_is_torn_and_damaged_wherever_it_is_not_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let content = fs::read(&path).unwrap();
        check(folder.path()).unwrap();
        let check_with = |changed: &[u8]| {
            fs::write(&path, changed).unwrap();
            check(folder.path())
        };
        for torn_at in [1, 6, 7, 100, 5_000, BLOCK_BYTES, BLOCK_BYTES + 3, content.len() - 1] {
            check_with(&content[..torn_at]).unwrap();
        }
        // What a crash of the machine leaves of the last batch: some of its pages, in no order.
        let last_batch = content.len() - 40_000;
        for lost in [last_batch, last_batch + 5_000, last_batch + 30_000] {
            let mut torn = content.clone();
            torn[lost..lost + 4_096].fill(0);
            check_with(&torn).unwrap();
        }
        for at in (0..last_batch - 1_000).step_by(997) {
            for bytes in [1, 64] {
                let mut damaged = content.clone();
                damaged[at..at + bytes].iter_mut().for_each(|byte| *byte ^= 0xff);
                let error = check_with(&damaged).expect_err("what follows would be lost").to_string();
                assert!(error.contains("corruption"), "at {at}: {error}");
            }
        }
        // Of an older file the end is needed, too.
        fs::write(folder.path().join("999999.log"), &content[..200]).unwrap();
        assert!(check_with(&content[..content.len() - 1]).is_err());
        check_with(&content).unwrap();
    }
}

//! The list of an archive's files, looked at before all of it is in memory.
//!
//! An archive ends with a record that says where this list is and how many files it has. What reads archives believes it, takes some
//! hundred bytes of memory for each file, and looks for another such record further up where a list is not to its liking. So the one
//! that counts is found here, by the same rules, its list is held against limits, and of what stands before it nothing is shown until
//! the archive is open.

use std::io::{self, Read, Seek, SeekFrom};

use super::contents::not_readable;
use crate::{
    ArchiveLimits,
    job::{Result, Stop},
};

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
/// Says where the larger record is, right before the end.
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
/// The end of archives that are too large for the other one.
const LARGE_END: &[u8] = b"PK\x06\x06";
const LARGE_END_BYTES: usize = 56;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;

/// What the end of an archive tells.
#[derive(Debug, PartialEq)]
pub(crate) struct Directory {
    /// Where the list of files begins.
    pub start: u64,
    /// Bytes of all files, unpacked.
    pub unpacked: u64,
}

/// The archive's list of files: at most `entries_max` of them in `directory_bytes_max` bytes, and not too much to be unpacked.
pub(crate) fn check(
    archive: &mut (impl Read + Seek),
    size: u64,
    limits: &ArchiveLimits,
) -> Result<Directory> {
    let tail_start = size.saturating_sub((END_BYTES + COMMENT_BYTES_MAX + LOCATOR_BYTES) as u64);
    let tail = bytes_at(archive, tail_start, (size - tail_start) as usize)?;
    let is_end = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(END) && END_BYTES + number(record, 20, 2) as usize <= record.len()
    };
    let places = tail.len().checked_sub(END_BYTES).map(|last| 0..=last);
    let at = places.and_then(|mut places| places.rfind(is_end)).ok_or_else(|| damaged("it has no end"))?;
    let record = &tail[at..];
    let (mut entries, mut bytes) = (number(record, 8, 2).max(number(record, 10, 2)), number(record, 12, 4));
    let (mut start, mut end) = (number(record, 16, 4), tail_start + at as u64);
    let locator = at.checked_sub(LOCATOR_BYTES).map(|at| &tail[at..]);
    let locator = locator.filter(|locator| locator.starts_with(LOCATOR));
    let is_large = number(record, 10, 2) == u64::from(u16::MAX) || start == u64::from(u32::MAX);
    if let Some(locator) = locator.filter(|_| is_large) {
        end = number(locator, 8, 8);
        let record = bytes_at(archive, end, LARGE_END_BYTES)?;
        if !record.starts_with(LARGE_END) {
            return Err(damaged("its end is not where it is said to be"));
        }
        entries = number(&record, 24, 8).max(number(&record, 32, 8));
        (bytes, start) = (number(&record, 40, 8), number(&record, 48, 8));
    }
    if entries > limits.entries_max as u64 {
        return Err(Stop::Refused(format!(
            "The archive has {entries} files (archive.entries_max is {}).",
            limits.entries_max
        )));
    }
    if bytes > limits.directory_bytes_max as u64 {
        return Err(Stop::Refused(format!(
            "The list of the archive's files has {bytes} bytes (archive.directory_bytes_max is {}).",
            limits.directory_bytes_max
        )));
    }
    // Places count from where the archive begins, which is not always the first byte.
    let place = end.checked_sub(bytes).filter(|place| *place >= start);
    let place = place.ok_or_else(|| damaged("the list of its files is not where it is said to be"))?;
    let list = bytes_at(archive, place, bytes as usize)?;
    let (mut rest, mut unpacked) = (&list[..], 0_u64);
    for _ in 0..entries {
        let entry = Entry::first_of(rest);
        let entry = entry.ok_or_else(|| damaged("the list of its files is shorter than it is said to be"))?;
        unpacked = unpacked.saturating_add(entry.unpacked);
        rest = entry.rest;
    }
    let unpacked_max = size.saturating_mul(limits.unpacked_factor_max).max(limits.unpacked_bytes_min);
    if unpacked > unpacked_max {
        return Err(Stop::Refused(format!(
            "Unpacked, the archive's files have {unpacked} bytes, which is more than {} times its own (archive.unpacked_factor_max) and \
             more than {} (archive.unpacked_bytes_min).",
            limits.unpacked_factor_max, limits.unpacked_bytes_min
        )));
    }
    // Nothing in the list may pass for another large end.
    let mut places = list.windows(LOCATOR_BYTES + END.len());
    if places.any(|place| place.starts_with(LOCATOR) && place.ends_with(END)) {
        return Err(damaged("it has several ends"));
    }
    Ok(Directory { start: place, unpacked })
}

struct Entry<'l> {
    unpacked: u64,
    rest: &'l [u8],
}

impl Entry<'_> {
    /// `None` if there is none.
    fn first_of(list: &[u8]) -> Option<Entry<'_>> {
        let head = list.get(..ENTRY_BYTES).filter(|head| head.starts_with(ENTRY))?;
        let [name, more, comment] = [28, 30, 32].map(|at| number(head, at, 2) as usize);
        let (_, behind_name) = list[ENTRY_BYTES..].split_at_checked(name)?;
        let (mut more, behind) = behind_name.split_at_checked(more)?;
        let rest = behind.get(comment..)?;
        let mut unpacked = number(head, 24, 4);
        // What four bytes don't hold stands in a field of its own, as its first number.
        while unpacked == u64::from(u32::MAX) && more.len() >= 4 {
            let (kind, length) = (number(more, 0, 2), number(more, 2, 2) as usize);
            let field = more.get(4..4 + length)?;
            if kind == 1 && length >= 8 {
                unpacked = number(field, 0, 8);
                break;
            }
            more = &more[4 + length..];
        }
        Some(Entry { unpacked, rest })
    }
}

fn damaged(what: &str) -> Stop {
    not_readable(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()))
}

fn bytes_at(archive: &mut (impl Read + Seek), place: u64, count: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    archive.seek(SeekFrom::Start(place)).map_err(not_readable)?;
    archive.read_exact(&mut bytes).map_err(not_readable)?;
    Ok(bytes)
}

/// A number of some bytes, the least first.
fn number(record: &[u8], at: usize, count: usize) -> u64 {
    record[at..at + count].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    const LIMITS: ArchiveLimits =
        ArchiveLimits { entries_max: 3, directory_bytes_max: 1_000, ..ArchiveLimits::DEFAULT };

    fn archive(names: &[&str], comment: &str) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).expect("a file");
            zip.write_all(b"{}").expect("it is written");
        }
        zip.set_comment(comment);
        zip.finish().expect("an archive").into_inner()
    }

    fn checked(bytes: &[u8]) -> Result<u64, String> {
        let checked = check(&mut Cursor::new(bytes), bytes.len() as u64, &LIMITS);
        checked.map(|directory| directory.start).map_err(|stop| format!("{stop:?}"))
    }

    /// With the numbers of a large one.
    fn large(list: &[u8], entries: u64, bytes: u64) -> Vec<u8> {
        let mut archive = list.to_vec();
        let end = archive.len() as u64;
        archive.extend(LARGE_END);
        archive.extend(44_u64.to_le_bytes());
        archive.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        archive.extend([entries, entries, bytes, end.saturating_sub(bytes)].map(u64::to_le_bytes).concat());
        archive.extend(LOCATOR);
        archive.extend([0; 4]);
        archive.extend(end.to_le_bytes());
        archive.extend([1, 0, 0, 0]);
        archive.extend(END);
        archive.extend([0, 0, 0, 0]);
        archive.extend([0xff; 12]);
        archive.extend([0, 0]);
        archive
    }

    #[test]
    fn a_list_is_found_as_what_reads_it_finds_it() {
        for comment in ["", "PK\x05\x06 is no end"] {
            let archive = archive(&["a", "b"], comment);
            let opened = zip::ZipArchive::new(Cursor::new(&archive)).expect("an archive");
            assert_eq!(checked(&archive), Ok(opened.central_directory_start()));
            let list = &archive[opened.central_directory_start() as usize..];
            let bytes = 2 * (ENTRY_BYTES + 1);
            let large = large(&archive[..archive.len() - list.len() + bytes], 2, bytes as u64);
            let opened = zip::ZipArchive::new(Cursor::new(&large)).expect("an archive");
            assert_eq!((checked(&large), opened.len()), (Ok(opened.central_directory_start()), 2));
        }
        assert_eq!(checked(&archive(&[], "")), Ok(0));
    }

    #[test]
    fn what_is_unpacked_is_told_by_the_list() {
        for is_large in [false, true] {
            let mut zip = ZipWriter::new_stream(Vec::new());
            for count in [0, 5, 70_000] {
                let options = SimpleFileOptions::default().large_file(is_large);
                zip.start_file(format!("f{count}"), options).expect("a file");
                zip.write_all(&vec![b'\n'; count]).expect("it is written");
            }
            let archive = zip.finish().expect("an archive").into_inner();
            let size = archive.len() as u64;
            let limits = ArchiveLimits { unpacked_bytes_min: 70_005, unpacked_factor_max: 1, ..LIMITS };
            let directory = check(&mut Cursor::new(&archive), size, &limits).expect("it is not too much");
            assert_eq!(directory.unpacked, 70_005);
            let limits = ArchiveLimits { unpacked_bytes_min: 70_004, ..limits };
            let error = check(&mut Cursor::new(&archive), size, &limits).expect_err("it is too much");
            assert!(format!("{error:?}").contains("archive.unpacked_factor_max"), "{error:?}");
            let limits = ArchiveLimits { unpacked_factor_max: 70_005, ..limits };
            check(&mut Cursor::new(&archive), size, &limits).expect("it is not too much");
        }
        let large = [&[0xff; 4][..], &[7, 0, 1, 0, 9], &[1, 0, 8, 0], &(1_u64 << 40).to_le_bytes()].concat();
        let mut entry = vec![0; ENTRY_BYTES];
        entry[..4].copy_from_slice(ENTRY);
        entry[24..28].copy_from_slice(&large[..4]);
        entry[30] = large.len() as u8 - 4;
        entry.extend(&large[4..]);
        let entry = Entry::first_of(&entry).expect("it is whole");
        assert_eq!((entry.unpacked, entry.rest), (1 << 40, &[][..]));
    }

    #[test]
    fn what_would_take_too_much_memory_is_refused_by_what_the_end_says() {
        let refused = |bytes: &[u8], what: &str| {
            let error = checked(bytes).expect_err(what);
            assert!(error.contains(what), "{error}");
        };
        refused(&archive(&["a", "b", "c", "d"], ""), "archive.entries_max");
        refused(&archive(&[&"a".repeat(600), &"b".repeat(600)], ""), "archive.directory_bytes_max");
        refused(&large(b"", 1 << 40, 46), "archive.entries_max");
        refused(&large(b"", 1, 1 << 40), "archive.directory_bytes_max");
        refused(&large(b"", 1, 46), "not where");
        refused(&large(&[0; 46], 1, 46), "shorter");
        refused(b"PK\x05\x06", "no end");
        // A list with a second end in it.
        let mut decoy = archive(&["a"], "");
        let list = decoy.split_off(decoy.len() - END_BYTES - ENTRY_BYTES - 1);
        let mut list = list[..ENTRY_BYTES + 1].to_vec();
        list[30] = 24;
        list.extend(LOCATOR);
        list.extend([0; 16]);
        list.extend(END);
        let bytes = list.len() as u64;
        refused(&large(&[decoy, list].concat(), 1, bytes), "several ends");
    }
}

//! Which pages of a private mapping were written, by the kernel's own books.
//!
//! A page of a private file mapping that was ever written is anonymous; any other is provably the file's. So the list
//! of anonymous pages is the list of pages that may differ from the image, whoever wrote them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::memory::PAGE_BYTES;

/// Appends the ranges of page numbers, counted from `start`, that are anonymous.
pub fn anonymous_pages(start: *const u8, length: usize, found: &mut Vec<Range<usize>>) -> io::Result<()> {
    static SCAN_IS_MISSING: AtomicBool = AtomicBool::new(false);
    if !SCAN_IS_MISSING.load(Ordering::Relaxed) {
        match scan(start as u64, length as u64, found) {
            // The request is as of Linux 6.7.
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {
                SCAN_IS_MISSING.store(true, Ordering::Relaxed);
            }
            result => return result,
        }
    }
    read_table(start as usize, length, found)
}

/// The page faults that this thread took so far. While the number stands still, no page can have become anonymous.
pub fn thread_page_faults() -> i64 {
    // SAFETY: the call fills the structure that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage
    };
    usage.ru_minflt + usage.ru_majflt
}

fn page_map() -> io::Result<&'static File> {
    static FILE: OnceLock<File> = OnceLock::new();
    if let Some(file) = FILE.get() {
        return Ok(file);
    }
    let file = File::open("/proc/self/pagemap")?;
    Ok(FILE.get_or_init(|| file))
}

/// The argument of `PAGEMAP_SCAN` (linux/fs.h, `struct pm_scan_arg`).
#[repr(C)]
#[derive(Default)]
struct ScanRequest {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    region_count: u64,
    pages_max: u64,
    categories_inverted: u64,
    categories_all: u64,
    categories_any: u64,
    categories_returned: u64,
}

/// A run of pages that matched (`struct page_region`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`
const PAGEMAP_SCAN: libc::Ioctl = 0xC060_6610_u32 as libc::Ioctl;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_ZERO: u64 = 1 << 5;

fn scan(start: u64, length: u64, found: &mut Vec<Range<usize>>) -> io::Result<()> {
    let file = page_map()?;
    let end = start + length;
    let mut regions = [Region::default(); 256];
    let mut at = start;
    while at < end {
        let mut request = ScanRequest {
            size: size_of::<ScanRequest>() as u64,
            start: at,
            end,
            regions: regions.as_mut_ptr() as u64,
            region_count: regions.len() as u64,
            // Neither the file's page nor the shared page of zeros, and present or swapped out.
            categories_inverted: PAGE_IS_FILE | PAGE_IS_ZERO,
            categories_all: PAGE_IS_FILE | PAGE_IS_ZERO,
            categories_any: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            ..ScanRequest::default()
        };
        // SAFETY: the request points to `regions` and says how many there are.
        let count = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &mut request) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        let page = |address: u64| (address - start) as usize / PAGE_BYTES;
        found.extend(regions[..count as usize].iter().map(|region| page(region.start)..page(region.end)));
        at = request.walk_end;
    }
    Ok(())
}

/// The same from the table of 64-bit entries, for older kernels.
fn read_table(start: usize, length: usize, found: &mut Vec<Range<usize>>) -> io::Result<()> {
    const IS_PRESENT: u64 = 1 << 63;
    const IS_SWAPPED: u64 = 1 << 62;
    const IS_FILE_OR_SHARED: u64 = 1 << 61;
    let mut entries = vec![0; length / PAGE_BYTES * 8];
    page_map()?.read_exact_at(&mut entries, (start / PAGE_BYTES * 8) as u64)?;
    for (page, entry) in entries.chunks_exact(8).enumerate() {
        let entry = u64::from_le_bytes(entry.try_into().expect("chunks of 8 bytes"));
        // A swapped page counts as written, as does the shared page of zeros: restoring them costs time only.
        if entry & IS_SWAPPED != 0 || (entry & IS_PRESENT != 0 && entry & IS_FILE_OR_SHARED == 0) {
            match found.last_mut() {
                Some(last) if last.end == page => last.end = page + 1,
                _ => found.push(page..page + 1),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Reservation;

    #[test]
    fn both_sources_name_the_pages_that_were_written() {
        let memory = Reservation::new().expect("address space");
        memory.open(0, 64 * PAGE_BYTES).expect("memory");
        for page in [3, 4, 40] {
            // SAFETY: open above.
            unsafe { memory.at(page * PAGE_BYTES).write_volatile(1) };
        }
        let (mut scanned, mut read) = (Vec::new(), Vec::new());
        read_table(memory.at(0) as usize, 64 * PAGE_BYTES, &mut read).expect("pagemap");
        assert_eq!(read, [3..5, 40..41]);
        match scan(memory.at(0) as u64, 64 * PAGE_BYTES as u64, &mut scanned) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {}
            result => {
                result.expect("pagemap");
                assert_eq!(scanned, read);
            }
        }
    }

    #[test]
    fn a_page_that_becomes_anonymous_counts_as_a_fault() {
        let memory = Reservation::new().expect("address space");
        memory.open(0, PAGE_BYTES).expect("memory");
        let before = thread_page_faults();
        // SAFETY: open above.
        unsafe { memory.at(0).write_volatile(1) };
        assert!(thread_page_faults() > before);
    }
}

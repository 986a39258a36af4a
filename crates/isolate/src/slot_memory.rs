//! The memory of a slot: a private mapping of its image, given back to the image after each call.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::ThreadId;

use crate::image::{Image, Layout};
use crate::memory::{PAGE_BYTES, PreparedMemory, Reservation};
use crate::pages::{anonymous_pages, thread_page_faults};

/// The most pages that a slot keeps to itself. Beyond, it gives all back, and its next call is a slow one.
const OWN_PAGES_MAX: usize = 2048;

/// A private mapping of an image: file pages until they are written.
#[derive(Debug)]
pub struct SlotMemory {
    reservation: Arc<Reservation>,
    layout: Layout,
    /// The pages that were ever written and so may differ from the image, by number.
    written: Vec<Range<usize>>,
    /// The thread's page faults when `written` was read; `None` if it must be read again.
    faults_seen: Option<i64>,
    /// Whose faults are counted: the thread that has run the guest since `written` was read.
    thread: ThreadId,
}

impl SlotMemory {
    pub fn new(image: &Image) -> io::Result<SlotMemory> {
        let layout = image.layout();
        let reservation = Reservation::new()?;
        reservation.open(0, layout.stack_end)?;
        reservation.map_file(image.file(), layout.stack_end, layout.image_end - layout.stack_end)?;
        reservation.open(layout.image_end, layout.spare_end - layout.image_end)?;
        let (written, thread) = (Vec::new(), std::thread::current().id());
        Ok(SlotMemory { reservation: Arc::new(reservation), layout, written, faults_seen: None, thread })
    }

    /// From now on this thread writes.
    pub fn enter_thread(&mut self) {
        let thread = std::thread::current().id();
        if thread != self.thread {
            self.thread = thread;
            self.faults_seen = None;
        }
    }

    /// For a new instance; it may grow by `growth_bytes_max`.
    pub fn prepare(&self, growth_bytes_max: usize) -> PreparedMemory {
        PreparedMemory {
            reservation: Arc::clone(&self.reservation),
            bytes: self.layout.spare_end,
            bytes_max: self.layout.spare_end + growth_bytes_max,
        }
    }

    /// Drops what lies beyond the spare memory. No instance may be using it.
    pub fn drop_growth(&self) -> io::Result<()> {
        self.reservation.close_from(self.layout.spare_end)
    }

    /// Copies the image back over all pages that were written.
    ///
    /// The list of them can only have grown if this thread, the only one to write since it was read, took a page fault.
    /// Otherwise the one from last time still holds: reading it again is what costs most.
    pub fn restore(&mut self, image: &Image) -> io::Result<()> {
        // SAFETY: no guest is running.
        unsafe { self.reservation.poll_page() }.fill(0);
        if self.faults_seen != Some(thread_page_faults()) {
            self.list_written()?;
            self.faults_seen = Some(thread_page_faults());
        }
        if self.written.iter().map(Range::len).sum::<usize>() > OWN_PAGES_MAX {
            self.reservation.forget(0, self.layout.spare_end)?;
            self.written.clear();
            self.faults_seen = None;
            return Ok(());
        }
        for pages in &self.written {
            for part in self.layout.parts(pages.start * PAGE_BYTES..pages.end * PAGE_BYTES) {
                // SAFETY: within the slot's accessible memory, and no guest is running.
                let target = unsafe { self.bytes_mut(part.bytes) };
                match part.source {
                    Source::Zero => target.fill(0),
                    Source::Image(offset) => target.copy_from_slice(image.bytes(offset, target.len())),
                }
            }
        }
        Ok(())
    }

    /// Whether all pages that the kernel knows to be written equal the image's. The others are the image's.
    pub fn equals_image(&mut self, image: &Image) -> io::Result<bool> {
        self.list_written()?;
        self.faults_seen = None;
        let pages = self.written.clone();
        Ok(pages.into_iter().all(|pages| self.range_equals_image(image, pages)))
    }

    /// Whether every byte equals the image's, whatever the kernel says.
    #[cfg(test)]
    pub fn wholly_equals_image(&mut self, image: &Image) -> bool {
        self.faults_seen = None;
        self.range_equals_image(image, 0..self.layout.spare_end / PAGE_BYTES)
    }

    fn range_equals_image(&mut self, image: &Image, pages: Range<usize>) -> bool {
        // SAFETY: as in `restore`.
        if unsafe { self.reservation.poll_page() }.iter().any(|byte| *byte != 0) {
            return false;
        }
        self.layout.parts(pages.start * PAGE_BYTES..pages.end * PAGE_BYTES).all(|part| {
            // SAFETY: as in `restore`.
            let actual = unsafe { self.bytes_mut(part.bytes) };
            match part.source {
                Source::Zero => actual.iter().all(|byte| *byte == 0),
                Source::Image(offset) => actual == image.bytes(offset, actual.len()),
            }
        })
    }

    fn list_written(&mut self) -> io::Result<()> {
        self.written.clear();
        anonymous_pages(self.reservation.at(0), self.layout.spare_end, &mut self.written)
    }

    /// # Safety
    /// `range` must be accessible, and nothing else may use it meanwhile.
    #[expect(clippy::mut_from_ref, reason = "the memory is shared with the guest, which is not running")]
    unsafe fn bytes_mut(&self, range: Range<usize>) -> &mut [u8] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.reservation.at(range.start), range.len()) }
    }
}

/// A part of a slot's memory, with what the image has there.
struct Part {
    bytes: Range<usize>,
    source: Source,
}

enum Source {
    Zero,
    Image(usize),
}

impl Layout {
    /// Divides a range where the image's file begins and ends.
    fn parts(self, bytes: Range<usize>) -> impl Iterator<Item = Part> {
        let within = move |from: usize, to: usize| bytes.start.max(from)..bytes.end.min(to);
        let stack = within(0, self.stack_end);
        let file = within(self.stack_end, self.image_end);
        let spare = within(self.image_end, self.spare_end);
        let offset = file.start;
        [
            Part { bytes: stack, source: Source::Zero },
            Part { bytes: file, source: Source::Image(offset) },
            Part { bytes: spare, source: Source::Zero },
        ]
        .into_iter()
        .filter(|part| part.bytes.start < part.bytes.end)
    }
}

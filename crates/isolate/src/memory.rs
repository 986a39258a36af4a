//! Linear memories: address ranges of our own, so that a slot's can be a private mapping of an image.

use std::cell::RefCell;
use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap,
};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use crate::configuration::POLL_ADDRESS;

/// The kernel's pages, which are what is copied, restored and compared.
pub const PAGE_BYTES: usize = 4096;

/// WebAssembly's pages, in which memories grow.
pub const WASM_PAGE_BYTES: usize = 65_536;

/// What a 32-bit address can reach, so that compiled code needs no bounds checks.
const ADDRESSABLE_BYTES: usize = 4 << 30;

/// Where the page lies that guest code writes to in order to learn whether it shall stop. Memories end before it.
const POLL_PAGE: usize = POLL_ADDRESS as usize;
const _: () =
    assert!(POLL_PAGE.is_multiple_of(WASM_PAGE_BYTES) && POLL_PAGE + PAGE_BYTES <= ADDRESSABLE_BYTES);

/// Accesses with a constant offset may reach this far beyond; compiled code relies on it being inaccessible.
pub const GUARD_BYTES: usize = 64 << 20;

/// An address range for one linear memory, inaccessible but for what was mapped into it, and the page of the polls.
#[derive(Debug)]
pub struct Reservation {
    base: NonNull<u8>,
}

// SAFETY: it is an address range; who accesses what in it is the business of its users.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    const BYTES: usize = ADDRESSABLE_BYTES + GUARD_BYTES;

    pub fn new() -> io::Result<Reservation> {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                Self::BYTES,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let reservation = Reservation { base: NonNull::new(base.cast()).expect("mmap returns no null") };
        reservation.refuse_huge_pages(0, Self::BYTES)?;
        reservation.let_run()?;
        Ok(reservation)
    }

    /// The address of `offset`.
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= Self::BYTES);
        // SAFETY: within the range.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Makes bytes accessible that were not: they read as zero.
    pub fn open(&self, offset: usize, length: usize) -> io::Result<()> {
        assert!(offset + length <= POLL_PAGE);
        // SAFETY: within our range.
        unsafe { mprotect(self.at(offset).cast(), length, MprotectFlags::READ | MprotectFlags::WRITE)? };
        Ok(())
    }

    /// Drops the contents from `offset` on, and makes the rest inaccessible again, as it was at the begin.
    pub fn close_from(&self, offset: usize) -> io::Result<()> {
        let length = Self::BYTES - offset;
        // SAFETY: replaces a part of our own range; no instance is using it.
        unsafe {
            mmap_anonymous(
                self.at(offset).cast(),
                length,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
            )?
        };
        self.refuse_huge_pages(offset, length)?;
        self.let_run()
    }

    /// Lets a guest in this memory run from poll to poll.
    pub fn let_run(&self) -> io::Result<()> {
        self.protect_poll_page(MprotectFlags::READ | MprotectFlags::WRITE)
    }

    /// Makes the next poll of the guest in this memory a trap. Until [`Reservation::let_run`] it can't run.
    ///
    /// The page stays readable so that the kernel goes on treating it apart from its inaccessible neighbours, which
    /// makes both directions a change that needs no memory.
    pub fn stop(&self) -> io::Result<()> {
        self.protect_poll_page(MprotectFlags::READ)
    }

    fn protect_poll_page(&self, protection: MprotectFlags) -> io::Result<()> {
        // SAFETY: within our range; nobody but guest code uses the page, and its faults are traps.
        unsafe { mprotect(self.at(POLL_PAGE).cast(), PAGE_BYTES, protection)? };
        Ok(())
    }

    /// The page of the polls: zeros, unless a guest's engine was made to write elsewhere than its compiler meant.
    ///
    /// # Safety
    /// No guest may be running in this memory.
    #[expect(clippy::mut_from_ref, reason = "the memory is shared with the guest, which is not running")]
    pub unsafe fn poll_page(&self) -> &mut [u8] {
        // SAFETY: within our range, and writable unless a guest is stopped.
        unsafe { std::slice::from_raw_parts_mut(self.at(POLL_PAGE), PAGE_BYTES) }
    }

    /// Maps `length` bytes of a file at the same offset, privately: what is written stays in this range.
    pub fn map_file(&self, file: BorrowedFd<'_>, offset: usize, length: usize) -> io::Result<()> {
        assert!(offset + length <= POLL_PAGE);
        // SAFETY: replaces a part of our own range, which nobody uses yet.
        unsafe {
            mmap(
                self.at(offset).cast::<c_void>(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
                file,
                offset as u64,
            )?
        };
        self.refuse_huge_pages(offset, length)
    }

    /// Gives the pages back that were written: file mappings show the file again, the rest reads as zero.
    pub fn forget(&self, offset: usize, length: usize) -> io::Result<()> {
        assert!(offset + length <= ADDRESSABLE_BYTES);
        // SAFETY: private memory of ours, whose contents are no longer wanted.
        unsafe { madvise(self.at(offset).cast(), length, Advice::LinuxDontNeed)? };
        Ok(())
    }

    /// A huge page would make one written byte a written 2 MiB.
    fn refuse_huge_pages(&self, offset: usize, length: usize) -> io::Result<()> {
        // SAFETY: advice about our own range.
        match unsafe { madvise(self.at(offset).cast(), length, Advice::LinuxNoHugepage) } {
            // A kernel without huge pages does not know the advice.
            Err(rustix::io::Errno::INVAL) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and instances hold it by `Arc`.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), Self::BYTES) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The memory that the next instance on this thread gets.
#[derive(Clone, Debug)]
pub struct PreparedMemory {
    pub reservation: Arc<Reservation>,
    /// How much is accessible already.
    pub bytes: usize,
    /// How far it may grow.
    pub bytes_max: usize,
}

thread_local! {
    static PREPARED: RefCell<Option<PreparedMemory>> = const { RefCell::new(None) };
}

/// Runs `instantiate` so that the memory it creates is `memory`. (wasmtime asks its memory creator without saying
/// for whom.)
pub fn with_memory<T>(memory: PreparedMemory, instantiate: impl FnOnce() -> T) -> T {
    PREPARED.set(Some(memory));
    let result = instantiate();
    PREPARED.set(None);
    result
}

/// Gives instances the memory that was prepared for them.
pub struct PreparedMemories;

// SAFETY: the memory it returns has a whole reservation: addresses and guard are inaccessible beyond its size, but for
// the page of the polls, which is the reservation's own, too; and it never moves.
unsafe impl MemoryCreator for PreparedMemories {
    fn new_memory(
        &self,
        _type: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved_bytes: Option<usize>,
        guard_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let prepared = PREPARED.take().ok_or("no memory was prepared for the instance")?;
        if prepared.bytes < minimum
            || reserved_bytes.is_some_and(|bytes| bytes > ADDRESSABLE_BYTES)
            || guard_bytes > GUARD_BYTES
        {
            return Err("the prepared memory is too small".into());
        }
        Ok(Box::new(Growing { memory: prepared }))
    }
}

struct Growing {
    memory: PreparedMemory,
}

// SAFETY: `as_ptr` stays valid and accessible for `byte_size` bytes for as long as the reservation lives.
unsafe impl LinearMemory for Growing {
    fn byte_size(&self) -> usize {
        self.memory.bytes
    }

    fn byte_capacity(&self) -> usize {
        ADDRESSABLE_BYTES
    }

    fn grow_to(&mut self, new_bytes: usize) -> wasmtime::Result<()> {
        if new_bytes > self.memory.bytes_max.min(POLL_PAGE) {
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        self.memory.reservation.open(self.memory.bytes, new_bytes - self.memory.bytes)?;
        self.memory.bytes = new_bytes;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.memory.reservation.at(0)
    }
}

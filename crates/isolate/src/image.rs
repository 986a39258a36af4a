//! An image: the memory of evaluated modules, from which calls start.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::analysis::{Declaration, ModuleAnalysis};
use crate::call::{ConsoleLine, SyncHost, SyscallError};
use crate::engine::{Shared, on_guest_thread};
use crate::error::{EngineError, ImportError};
use crate::guest::Guest;
use crate::memory::PAGE_BYTES;
use crate::slot::Slot;
use crate::source::VariablesRead;

/// The memory of an engine that has evaluated the modules of one deployment. Immutable; slots map it privately.
pub struct Image {
    shared: Arc<Shared>,
    file: OwnedFd,
    /// The file, mapped to be read.
    view: NonNull<u8>,
    layout: Layout,
    import_time_ms: u64,
    variables_read: VariablesRead,
}

// SAFETY: the file is sealed, so nobody writes to the view.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

/// How a slot's memory is divided, in bytes from its start.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Below: the stack. Of zeros in the image, and of the slot's own memory.
    pub stack_end: usize,
    /// Between `stack_end` and here: the file.
    pub image_end: usize,
    /// Between `image_end` and here: where calls allocate. Of zeros, and of the slot's own memory.
    pub spare_end: usize,
}

impl Image {
    /// Keeps the memory of a sealed guest, of which `image_end` bytes are used.
    pub fn new(
        shared: Arc<Shared>,
        guest: &mut Guest,
        image_end: usize,
        import_time_ms: u64,
        variables_read: VariablesRead,
    ) -> Result<Image, EngineError> {
        let layout = Layout { stack_end: guest.stack_pointer(), image_end, spare_end: guest.memory_bytes() };
        // The linker puts the stack first; its size is a multiple of a page.
        assert!(layout.stack_end.is_multiple_of(PAGE_BYTES) && layout.stack_end < image_end);
        assert!(image_end.is_multiple_of(PAGE_BYTES) && image_end < layout.spare_end);
        let system = |source: io::Error| EngineError::System { action: "keeping an image", source };
        let file = write_sealed(guest.memory(), layout).map_err(system)?;
        // SAFETY: a fresh read-only mapping of a file that can't shrink.
        let view = unsafe {
            mmap(std::ptr::null_mut(), image_end, ProtFlags::READ, MapFlags::SHARED, &file, 0)
                .map_err(|error| system(error.into()))?
        };
        let view = NonNull::new(view.cast()).expect("mmap returns no null");
        Ok(Image { shared, file, view, layout, import_time_ms, variables_read })
    }

    /// What the entry points export. Blocks while the guest runs, on a thread of its own.
    pub fn analyze(self: &Arc<Self>) -> Result<Vec<ModuleAnalysis>, ImportError> {
        let text = self.ask(|slot| slot.examine("guest_analyze", None))?;
        serde_json::from_str(&text)
            .map_err(|error| ImportError::Internal(format!("the platform's analysis: {error}")))
    }

    /// JSON text of what `module` declares. Blocks while the guest runs, on a thread of its own.
    pub fn declaration(
        self: &Arc<Self>,
        module: &str,
        declaration: Declaration,
    ) -> Result<String, ImportError> {
        let kind = match declaration {
            Declaration::Schema => 0,
            Declaration::Definition => 1,
            Declaration::AuthConfig => 2,
        };
        self.ask(|slot| slot.examine("guest_declaration", Some((kind, module))))
    }

    fn ask(
        self: &Arc<Self>,
        question: impl FnOnce(&mut Slot) -> Result<String, ImportError> + Send,
    ) -> Result<String, ImportError> {
        on_guest_thread(|| {
            let mut slot = Slot::new(self).map_err(|error| ImportError::Internal(error.to_string()))?;
            question(&mut slot)
        })
    }

    /// The bytes of memory that the image takes.
    pub fn resident_bytes(&self) -> u64 {
        // Of 512 bytes, whatever the block size (stat(2)).
        fstat(&self.file).map(|stat| stat.st_blocks as u64 * 512).unwrap_or(0)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The clock of the modules' evaluation.
    pub fn import_time_ms(&self) -> u64 {
        self.import_time_ms
    }

    /// The environment variables that the modules have read while they were evaluated: all that they do may depend on them.
    pub fn variables_read(&self) -> &VariablesRead {
        &self.variables_read
    }

    /// The image's bytes from `offset` on, within the file.
    pub fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.layout.image_end);
        // SAFETY: within the view, which nobody writes to.
        unsafe { std::slice::from_raw_parts(self.view.as_ptr().add(offset), length) }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: the view is ours; slots hold the image.
        let unmapped = unsafe { munmap(self.view.as_ptr().cast(), self.layout.image_end) };
        debug_assert!(unmapped.is_ok());
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Image").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Writes the pages that are not zero to a file without a name, and lets nobody change it any more.
fn write_sealed(memory: &[u8], layout: Layout) -> io::Result<OwnedFd> {
    let file = memfd_create(c"isolate-image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, layout.image_end as u64)?;
    let mut page = layout.stack_end;
    while page < layout.image_end {
        let is_zero = |page: usize| memory[page..page + PAGE_BYTES].iter().all(|byte| *byte == 0);
        if is_zero(page) {
            page += PAGE_BYTES;
            continue;
        }
        let start = page;
        while page < layout.image_end && !is_zero(page) {
            page += PAGE_BYTES;
        }
        let mut rest = &memory[start..page];
        while !rest.is_empty() {
            let written = rustix::io::pwrite(&file, rest, (page - rest.len()) as u64)?;
            rest = &rest[written..];
        }
    }
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}

/// The host of a guest that is only asked what it is.
pub struct NoHost;

impl SyncHost for NoHost {
    fn syscall(&mut self, operation: &str, _arguments: &str) -> Result<String, SyscallError> {
        Err(SyscallError::new(format!("{operation} is not available while modules are analyzed")))
    }

    fn log(&mut self, _line: ConsoleLine) {}
}

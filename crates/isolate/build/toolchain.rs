//! Compiles C to one WebAssembly module with clang and lld.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::edits;
use crate::sources::Sources;

/// The C stack, at the start of linear memory. JavaScript is stopped a megabyte earlier (guest.c), so that the
/// engine's own frames have room.
const STACK_BYTES: usize = 8 << 20;

const QUICKJS_FILES: &[&str] = &["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];
const GUEST_FILES: &[&str] = &["guest.c", "allocator.c", "text.c"];

/// The tools and the one library which come from the system.
struct Toolchain {
    clang: &'static str,
    linker: &'static str,
    builtins: PathBuf,
}

impl Toolchain {
    fn find() -> Result<Toolchain, String> {
        let toolchain = Toolchain {
            clang: "clang-19",
            linker: "wasm-ld-19",
            builtins: "/usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a".into(),
        };
        let runs =
            |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
        let missing: Vec<&str> = [
            (runs(toolchain.clang), "clang-19"),
            (runs(toolchain.linker), "lld-19"),
            (toolchain.builtins.exists(), "libclang-rt-19-dev-wasm32"),
        ]
        .into_iter()
        .filter_map(|(is_there, package)| (!is_there).then_some(package))
        .collect();
        if missing.is_empty() {
            return Ok(toolchain);
        }
        Err(format!(
            "building the JavaScript engine needs packages that are not installed; on Debian: apt-get install {}",
            missing.join(" ")
        ))
    }
}

/// Compiles the engine and the guest, and returns the bytes of the module.
pub fn build(sources: &Sources, guest: &Path, out: &Path) -> Result<Vec<u8>, String> {
    let toolchain = Toolchain::find()?;
    let edited = out.join("quickjs");
    copy_edited(&sources.quickjs, &edited)?;

    let files: Vec<PathBuf> = QUICKJS_FILES
        .iter()
        .map(|file| edited.join(file))
        .chain(GUEST_FILES.iter().map(|file| guest.join(file)))
        .chain([sources.shim.clone()])
        .collect();
    let mut compilations = Vec::new();
    let mut objects = Vec::new();
    for file in &files {
        let object = out.join(file.file_stem().expect("a C file has a name")).with_extension("o");
        let child = Command::new(toolchain.clang)
            .args(["--target=wasm32-unknown-unknown", "-O2", "-DNDEBUG", "-D_GNU_SOURCE", "-w"])
            // The engine takes the simplest path through its platform differences for Emscripten, and the C library
            // has no floating-point environment.
            .args(["-DEMSCRIPTEN=1", "-DFE_DOWNWARD=0", "-DFE_UPWARD=0"])
            // Where a variable's life ends by a jump out of the interpreter's loop, the compiler would note the jump's
            // destination in a flag, and test it after every instruction of every function.
            .args(["-Xclang", "-disable-lifetime-markers"])
            .args(["-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint", "-mmutable-globals"])
            .arg("-isystem")
            .arg(&sources.libc_include)
            .arg("-I")
            .arg(&edited)
            .arg("-c")
            .arg(file)
            .arg("-o")
            .arg(&object)
            .spawn()
            .map_err(|error| format!("running {}: {error}", toolchain.clang))?;
        compilations.push((file, child));
        objects.push(object);
    }
    for (file, mut child) in compilations {
        let status = child.wait().map_err(|error| format!("waiting for {}: {error}", toolchain.clang))?;
        if !status.success() {
            return Err(format!("compiling {} failed ({status})", file.display()));
        }
    }

    let module = out.join("engine.wasm");
    let linked = Command::new(toolchain.linker)
        .args(["--no-entry", "--gc-sections", "-O2", "--stack-first", "-z"])
        .arg(format!("stack-size={STACK_BYTES}"))
        .args(["--export=__wasm_call_ctors", "--export=__stack_pointer", "--export-memory"])
        .args(&objects)
        .arg(&sources.libc_archive)
        .arg(&toolchain.builtins)
        .arg("-o")
        .arg(&module)
        .status()
        .map_err(|error| format!("running {}: {error}", toolchain.linker))?;
    if !linked.success() {
        return Err(format!("linking the engine failed ({linked})"));
    }
    std::fs::read(&module).map_err(|error| format!("reading {}: {error}", module.display()))
}

/// Copies what the engine's C files include, with the edits made.
fn copy_edited(from: &Path, to: &Path) -> Result<(), String> {
    let context = |error: std::io::Error| format!("copying {}: {error}", from.display());
    std::fs::create_dir_all(to).map_err(context)?;
    for entry in std::fs::read_dir(from).map_err(context)? {
        let path = entry.map_err(context)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !name.ends_with(".h") && !QUICKJS_FILES.contains(&name) {
            continue;
        }
        let mut text = edits::apply(name, std::fs::read_to_string(&path).map_err(context)?)?;
        if name == "quickjs.c" {
            text.push_str(edits::JSON);
            text.push_str(edits::VALUES);
            text.push_str(edits::HASHING);
            text.push_str(edits::BASE64);
            text.push_str(edits::STACKS);
            text.push_str(edits::TEXTS);
            text.push_str(edits::ADDITIONS);
        }
        std::fs::write(to.join(name), text).map_err(context)?;
    }
    Ok(())
}

#!/usr/bin/env bash
# crates object_store 0.14.2: renaming an object to the name that it has deletes it in the memory store; on the local disk, copying it so leaves a second file.
#
# The guess: `rename(a, a)` does nothing, as rename(2) of POSIX and `mv` don't (or refuse it): "move an object from one path to another in the same object store".
# What happens: where a store has no rename of its own it is "a copy and then delete source", and what is deleted is what was just copied. A file is safe; but
# `copy(a, a)` makes a link beside it, "a#0", and moves that over the file: since both are one file, POSIX leaves both. Listings leave the second name out, and no
# path reaches it, since "#" is escaped in paths.
# What follows: compare the two names first, wherever the new one is computed (normalized, moved into a folder where it is).
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
object_store = { version = "=0.14.2", default-features = false, features = ["fs"] }
tokio = { version = "=1.54.1", features = ["rt", "macros"] }
TOML
mkdir src files
cat > src/main.rs <<'RS'
use object_store::{local::LocalFileSystem, memory::InMemory, path::Path, ObjectStore, ObjectStoreExt};

/// Whether an object is still there after it was renamed, and after it was copied, to itself.
async fn survives(store: &dyn ObjectStore) -> (bool, bool) {
    let (renamed, copied) = (Path::from("renamed"), Path::from("copied"));
    for name in [&renamed, &copied] {
        store.put(name, "contents".into()).await.expect("a new object");
    }
    store.rename(&renamed, &renamed).await.expect("a rename that is said to have succeeded");
    store.copy(&copied, &copied).await.expect("a copy");
    (store.head(&renamed).await.is_ok(), store.head(&copied).await.is_ok())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let local = LocalFileSystem::new_with_prefix("files").expect("a folder");
    let (on_disk, in_memory) = (survives(&local).await, survives(&InMemory::new()).await);
    let mut files: Vec<_> = std::fs::read_dir("files").unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    println!("still there after (rename, copy): on disk {on_disk:?}, in memory {in_memory:?}; files {files:?}");
    assert_eq!(on_disk, (true, true));
    assert_eq!(in_memory, (false, true));
    assert_eq!(files.len(), 3);
    assert!(files[1].starts_with("copied#"), "the second name");
}
RS
CARGO_TARGET_DIR="$folder/target" cargo run --quiet
echo "as found"

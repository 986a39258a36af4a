//! From places in bundles to places in the files that people wrote.

use std::{borrow::Cow, collections::HashMap, num::NonZeroUsize, sync::Arc};

use contract::{BlobDigest, BlobStore};
use lru::LruCache;
use parking_lot::Mutex;
use sourcemap::SourceMap;
use transaction::Catalog;

/// How many frames of a stack are shown.
const FRAMES_MAX: usize = 32;

/// Part of the path of every source of the package through which functions are registered and called.
const FUNCTION_LIBRARY: &str = "node_modules/convex/";

/// The source maps of some modules, by module path.
#[derive(Default)]
pub struct SourceMaps {
    maps: HashMap<String, Arc<SourceMap>>,
}

/// Parsed source maps; least recently used ones go first. Maps that can't be read are remembered as such.
pub struct SourceMapCache {
    maps: Mutex<LruCache<BlobDigest, Option<Arc<SourceMap>>>>,
}

impl SourceMapCache {
    pub fn new(capacity: usize) -> SourceMapCache {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        SourceMapCache { maps: Mutex::new(LruCache::new(capacity)) }
    }

    /// The maps that the stacks in these texts need, of a component with this catalog. Those that can't be had are left out: for people, an error without its
    /// place is better than none.
    pub async fn for_people<'t>(
        &self,
        texts: impl IntoIterator<Item = &'t str>,
        catalog: &Catalog,
        blobs: &dyn BlobStore,
    ) -> SourceMaps {
        self.maps_of(texts, catalog, blobs).await.0
    }

    /// The maps that the stacks in a text need which a function will read: all that there are, so that the function sees
    /// the same whenever it runs. Fails if one can't be had.
    pub async fn for_functions(
        &self,
        text: &str,
        catalog: &Catalog,
        blobs: &dyn BlobStore,
    ) -> contract::Result<SourceMaps> {
        match self.maps_of([text], catalog, blobs).await {
            (maps, None) => Ok(maps),
            (_, Some(error)) => Err(error),
        }
    }

    /// The maps, and why one of them could not be had.
    async fn maps_of<'t>(
        &self,
        texts: impl IntoIterator<Item = &'t str>,
        catalog: &Catalog,
        blobs: &dyn BlobStore,
    ) -> (SourceMaps, Option<contract::Error>) {
        let mut maps = SourceMaps::default();
        let mut failed = None;
        for module in modules_of(texts) {
            let Some(digest) = catalog.module(module).and_then(|module| module.row.source_map) else {
                continue;
            };
            let known = self.maps.lock().get(&digest).cloned();
            let map = match known {
                Some(map) => map,
                None => {
                    let text = match blobs.get(digest).await {
                        Ok(Some(text)) => text,
                        Ok(None) => {
                            failed = Some(contract::Error::internal("a source map is not among the blobs"));
                            continue;
                        }
                        Err(error) => {
                            failed = Some(error);
                            continue;
                        }
                    };
                    let parsed =
                        tokio::task::spawn_blocking(move || SourceMap::from_slice(&text).ok().map(Arc::new));
                    let map = parsed.await.expect("a panic ends the process");
                    self.maps.lock().put(digest, map.clone());
                    map
                }
            };
            if let Some(map) = map {
                maps.maps.insert(module.to_owned(), map);
            }
        }
        (maps, failed)
    }
}

impl SourceMaps {
    /// Adds a module's map. A map that can't be read is left out: stacks then show the bundle.
    pub fn add(&mut self, module: &str, text: &[u8]) {
        if let Ok(map) = SourceMap::from_slice(text) {
            self.maps.insert(module.to_owned(), Arc::new(map));
        }
    }

    /// The stack in terms of the original files: the application's frames, those of the function library that called it
    /// left out. Frames that no map knows are kept as they are.
    pub fn map_stack(&self, stack: &str) -> String {
        let frames =
            stack.lines().filter(|line| !line.trim().is_empty()).filter_map(|line| self.map_line(line));
        frames.take(FRAMES_MAX).collect::<Vec<_>>().join("\n")
    }

    /// A text with the stacks in it in terms of the original files; `None` if it has none.
    pub fn map_text(&self, text: &str) -> Option<String> {
        if self.maps.is_empty() || !text.lines().any(|line| Frame::parse(line).is_some()) {
            return None;
        }
        Some(text.lines().filter_map(|line| self.map_line(line)).collect::<Vec<_>>().join("\n"))
    }

    /// `None` for a frame that is not shown.
    fn map_line<'l>(&self, line: &'l str) -> Option<Cow<'l, str>> {
        let Some(frame) = Frame::parse(line) else { return Some(line.into()) };
        match self.map_frame(&frame) {
            Some(mapped) if mapped.contains(FUNCTION_LIBRARY) => None,
            Some(mapped) => Some(mapped.into()),
            None => Some(line.into()),
        }
    }

    /// Where a place in a bundle came from: file, line and column, both from 1.
    pub fn original(&self, module: &str, line: u32, column: u32) -> Option<(String, u32, u32)> {
        let map = self.maps.get(module)?;
        let token = map.lookup_token(line.checked_sub(1)?, column.checked_sub(1)?)?;
        let file = join(module, token.get_source()?);
        Some((file, token.get_src_line() + 1, token.get_src_col() + 1))
    }

    fn map_frame(&self, frame: &Frame<'_>) -> Option<String> {
        let (file, line, column) = self.original(frame.module, frame.line, frame.column)?;
        Some(match frame.function {
            Some(function) => format!("    at {function} ({file}:{line}:{column})"),
            None if frame.is_async => format!("    at async {file}:{line}:{column}"),
            None => format!("    at {file}:{line}:{column}"),
        })
    }
}

/// The modules that the stacks in texts name, each once.
fn modules_of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<&'t str> {
    let mut modules = Vec::new();
    for frame in texts.into_iter().flat_map(str::lines).filter_map(Frame::parse) {
        if !modules.contains(&frame.module) {
            modules.push(frame.module);
        }
    }
    modules
}

/// `at function (module:line:column)`, `at module:line:column` or `at async module:line:column`. A function that was waited for
/// has the `async` in its name.
struct Frame<'a> {
    function: Option<&'a str>,
    is_async: bool,
    module: &'a str,
    line: u32,
    column: u32,
}

impl<'a> Frame<'a> {
    fn parse(line: &'a str) -> Option<Frame<'a>> {
        let frame = line.trim().strip_prefix("at ")?;
        let named = frame.strip_suffix(')').and_then(|frame| frame.rsplit_once(" ("));
        let (function, is_async, place) = match (named, frame.strip_prefix("async ")) {
            (Some((function, place)), _) => (Some(function), false, place),
            (None, Some(place)) => (None, true, place),
            (None, None) => (None, false, frame),
        };
        let (place, column) = place.rsplit_once(':')?;
        let (module, line) = place.rsplit_once(':')?;
        Some(Frame { function, is_async, module, line: line.parse().ok()?, column: column.parse().ok()? })
    }
}

/// A source path is relative to the module that its map belongs to.
fn join(module: &str, source: &str) -> String {
    if source.starts_with('/') || source.contains("://") {
        return source.to_owned();
    }
    let folder = module.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut segments: Vec<&str> = Vec::new();
    for segment in folder.split('/').chain(source.split('/')) {
        match segment {
            "" | "." => {}
            ".." if segments.last().is_some_and(|last| *last != "..") => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first line of the bundle, from column 4 on, is line 5, column 2 (from 0) of the second source.
    fn map(sources: &str) -> String {
        format!(r#"{{"version":3,"sources":{sources},"names":[],"mappings":"AAAA,ICKE"}}"#)
    }

    #[test]
    fn frames_name_the_file_that_was_written() {
        let mut maps = SourceMaps::default();
        maps.add("messages.js", map(r#"["../convex/other.ts","../convex/messages.ts"]"#).as_bytes());
        let stack = "    at handler (messages.js:1:9)\n    at messages.js:1:1\n    at async messages.js:1:9\n    at async inner (messages.js:1:9)\n    at native\n    at x (unknown.js:3:4)\n";
        assert_eq!(
            maps.map_stack(stack),
            "    at handler (../convex/messages.ts:6:3)\n    at ../convex/other.ts:1:1\n    at async ../convex/messages.ts:6:3\n    at async inner (../convex/messages.ts:6:3)\n    at native\n    at x (unknown.js:3:4)"
        );
    }

    #[test]
    fn the_function_librarys_frames_are_not_shown() {
        let mut maps = SourceMaps::default();
        let sources =
            r#"["../node_modules/convex/src/server/impl/registration_impl.ts","../convex/messages.ts"]"#;
        maps.add("messages.js", map(sources).as_bytes());
        let stack = "    at handler (messages.js:1:9)\n    at async invokeQuery (messages.js:1:1)\n    at async messages.js:1:1";
        assert_eq!(maps.map_stack(stack), "    at handler (../convex/messages.ts:6:3)");
    }

    #[test]
    fn stacks_within_texts_are_mapped_and_the_rest_stays() {
        let mut maps = SourceMaps::default();
        maps.add("messages.js", map(r#"["../convex/other.ts","../convex/messages.ts"]"#).as_bytes());
        let text = "Error: no\n    at handler (messages.js:1:9)\nat noon (sharp)";
        let mapped = maps.map_text(text).expect("there is a stack");
        assert_eq!(mapped, "Error: no\n    at handler (../convex/messages.ts:6:3)\nat noon (sharp)");
        assert_eq!(maps.map_text("meet at noon"), None);
    }

    #[test]
    fn sources_are_relative_to_their_module() {
        assert_eq!(join("sub/dir.js", "../../convex/sub/dir.ts"), "../convex/sub/dir.ts");
        assert_eq!(join("a.js", "../convex/a.ts"), "../convex/a.ts");
        assert_eq!(join("_deps/X.js", "../../../node_modules/x/y.ts"), "../../node_modules/x/y.ts");
    }

    #[test]
    fn a_broken_map_or_a_wild_place_leaves_the_frame() {
        let mut maps = SourceMaps::default();
        maps.add("a.js", b"{");
        maps.add("b.js", map(r#"["../convex/b.ts","../convex/c.ts"]"#).as_bytes());
        for frame in
            ["    at f (a.js:1:1)", "    at f (b.js:0:0)", "    at f (b.js:99999999999:1)", "at (", "x:y:z"]
        {
            assert_eq!(maps.map_stack(frame), frame);
        }
    }

    #[test]
    fn a_stack_names_its_modules() {
        let stack = "    at f (a.js:1:1)\n    at async b.js:1:2\n    at g (a.js:9:9)\n    at native";
        assert_eq!(modules_of([stack, "x\n    at h (c.js:1:1)"]), ["a.js", "b.js", "c.js"]);
    }

    #[test]
    fn an_endless_stack_is_cut() {
        let stack = "    at f (a.js:1:1)\n".repeat(10_000);
        assert_eq!(SourceMaps::default().map_stack(&stack).lines().count(), FRAMES_MAX);
    }
}

//! Something that is made of files, and made again when they change.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// What the files hold, in the order in which they were named.
pub struct Contents {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Contents {
    /// Of one of the files, its path and what it holds.
    pub fn file(&self, index: usize) -> (&Path, &[u8]) {
        let (path, bytes) = &self.files[index];
        (path, bytes)
    }

    fn same_as(&self, other: &Contents) -> bool {
        self.files.iter().map(|(_, bytes)| bytes).eq(other.files.iter().map(|(_, bytes)| bytes))
    }
}

type Make<T> = Box<dyn Fn(&Contents, Option<&T>) -> Result<T, Error> + Send + Sync>;

/// The files, and what was last made of them.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    file_bytes_max: usize,
    make: Make<T>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    contents: Contents,
    /// How often they were refused since they changed. Files that are changed one after the other don't go together for a
    /// moment: of that nobody needs to hear.
    refusals: u32,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files. `make` is given what was made of them before, from the second time on.
    pub fn load(
        paths: Vec<PathBuf>,
        file_bytes_max: usize,
        make: impl Fn(&Contents, Option<&T>) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Watched<T>, Error> {
        let contents = read(&paths, file_bytes_max)?;
        let current = ArcSwap::from_pointee(make(&contents, None)?);
        let seen = Mutex::new(Seen { contents, refusals: 0 });
        Ok(Watched { paths, file_bytes_max, make: Box::new(make), current, seen })
    }

    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Looks at the files every so often, until the token.
    pub async fn follow(self: Arc<Self>, every: Duration, shutdown: CancellationToken) {
        let looking = async {
            loop {
                tokio::time::sleep(every).await;
                let watched = self.clone();
                // A disk, or what stands for one, may take its time.
                let _ = tokio::task::spawn_blocking(move || watched.look()).await;
            }
        };
        shutdown.run_until_cancelled(looking).await;
    }

    /// Makes it again if a file has changed. What can't be used leaves everything as it is.
    pub fn look(&self) {
        let contents = match read(&self.paths, self.file_bytes_max) {
            Ok(contents) => contents,
            Err(error) => return self.refuse(None, &error),
        };
        let is_known = {
            let seen = self.seen.lock();
            seen.refusals == 0 && contents.same_as(&seen.contents)
        };
        if is_known {
            return;
        }
        match (self.make)(&contents, Some(&self.current())) {
            Ok(made) => {
                self.current.store(Arc::new(made));
                *self.seen.lock() = Seen { contents, refusals: 0 };
                tracing::info!(files = ?self.paths, "changed certificates are in use");
            }
            Err(error) => self.refuse(Some(contents), &error),
        }
    }

    /// Says so the second time that the same is seen.
    fn refuse(&self, contents: Option<Contents>, error: &Error) {
        let mut seen = self.seen.lock();
        let again = contents.as_ref().is_none_or(|contents| contents.same_as(&seen.contents));
        seen.refusals = if again { seen.refusals.saturating_add(1) } else { 1 };
        if seen.refusals == 2 {
            tracing::warn!(%error, "changed certificates can't be used; those from before are");
        }
        if let Some(contents) = contents {
            seen.contents = contents;
        }
    }
}

fn read(paths: &[PathBuf], bytes_max: usize) -> Result<Contents, Error> {
    let files = paths.iter().map(|path| Ok((path.clone(), read_one(path, bytes_max)?)));
    Ok(Contents { files: files.collect::<Result<_, Error>>()? })
}

fn read_one(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let unusable = |reason: String| Error::File { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| unusable(error.to_string()))?;
    let mut bytes = Vec::new();
    let limit = bytes_max as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
    if bytes.len() > bytes_max {
        return Err(unusable(format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn number(contents: &Contents, _: Option<&u32>) -> Result<u32, Error> {
        let (path, bytes) = contents.file(0);
        let parsed = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| Error::File { path: path.to_owned(), reason: "no number".into() })
    }

    #[test]
    fn what_changes_is_made_again_and_what_is_wrong_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("number");
        fs::write(&path, "1").expect("written");
        let watched = Watched::load(vec![path.clone()], 4, number).expect("loads");
        for (text, expected) in [("2", 2), ("x", 2), ("x", 2), ("12345", 2), ("2", 2), ("3", 3)] {
            fs::write(&path, text).expect("written");
            watched.look();
            assert_eq!(*watched.current(), expected, "{text}");
        }
        fs::remove_file(&path).expect("removed");
        watched.look();
        assert_eq!(*watched.current(), 3);
        fs::write(&path, "4").expect("written");
        watched.look();
        assert_eq!(*watched.current(), 4);
    }

    #[test]
    fn what_can_not_be_read_at_the_start_is_refused_by_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nothing");
        let error = Watched::load(vec![path], 4, number).map(|_| ()).expect_err("refused").to_string();
        assert!(error.contains("TlsFileUnusable") && error.contains("nothing"), "{error}");
    }
}

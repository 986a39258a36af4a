//! Where an index lies on the disk: a folder for each part, and a list of them.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use contract::Timestamp;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::error::{Result, damaged};

/// The folder of one index.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// What an index was when it was saved. What was in memory is not in it.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// Each part and its dead documents.
    pub parts: Vec<(u64, RoaringBitmap)>,
    /// Up to which moment the parts hold everything, and nothing newer; `None` if that has to be found out.
    pub complete_at: Option<Timestamp>,
}

const VERSION: u32 = 1;
const LIST: &str = "parts.json";

#[derive(Serialize, Deserialize)]
struct List {
    version: u32,
    #[serde(rename = "completeAt")]
    complete_at: Option<u64>,
    parts: Vec<ListedPart>,
}

#[derive(Serialize, Deserialize)]
struct ListedPart {
    number: u64,
    /// A roaring bitmap in its portable format, in hexadecimal.
    dead: String,
}

impl Folder {
    pub fn new(path: PathBuf) -> io::Result<Folder> {
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of a part.
    pub fn part(&self, number: u64) -> PathBuf {
        self.0.join(format!("part-{number:08}"))
    }

    /// What was saved last; the folders of other parts are removed.
    pub fn saved(&self) -> Result<Saved> {
        let saved = match fs::read(self.0.join(LIST)) {
            Ok(bytes) => Saved::read(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(error) => return Err(error.into()),
        };
        let kept: Vec<PathBuf> = saved.parts.iter().map(|(number, _)| self.part(*number)).collect();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.is_dir() && !kept.contains(&path) {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(saved)
    }

    /// Saves the list of parts, in place of the one before.
    pub fn save(&self, saved: &Saved) -> Result<()> {
        let new = self.0.join("parts.json.new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&saved.write()?)?;
        file.sync_all()?;
        fs::rename(new, self.0.join(LIST))?;
        fs::File::open(&self.0)?.sync_all()?;
        Ok(())
    }

    /// Removes the folder of a part, if it is there.
    pub fn remove_part(&self, number: u64) {
        if let Err(error) = fs::remove_dir_all(self.part(number))
            && error.kind() != io::ErrorKind::NotFound
        {
            // It goes when the index is opened next.
            tracing::debug!(%error, "the files of a part of a search index can't be removed now");
        }
    }

    /// Removes everything that is in it.
    pub fn clear(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.0)?;
        fs::create_dir_all(&self.0)
    }
}

impl Saved {
    fn read(bytes: &[u8]) -> Result<Saved> {
        let list: List = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if list.version != VERSION {
            return Err(damaged(format!("version {} of a search index is not known", list.version)));
        }
        let part = |part: ListedPart| {
            let bytes = hex::decode(&part.dead).map_err(|error| damaged(error.to_string()))?;
            Ok((part.number, RoaringBitmap::deserialize_from(&bytes[..])?))
        };
        Ok(Saved {
            parts: list.parts.into_iter().map(part).collect::<Result<_>>()?,
            complete_at: list.complete_at.and_then(Timestamp::new),
        })
    }

    fn write(&self) -> Result<Vec<u8>> {
        let part = |(number, dead): &(u64, RoaringBitmap)| {
            let mut bytes = Vec::new();
            dead.serialize_into(&mut bytes)?;
            Ok(ListedPart { number: *number, dead: hex::encode(bytes) })
        };
        let list = List {
            version: VERSION,
            complete_at: self.complete_at.map(Timestamp::as_nanoseconds),
            parts: self.parts.iter().map(part).collect::<Result<_>>()?,
        };
        serde_json::to_vec(&list).map_err(|error| damaged(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_and_other_parts_go() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(temporary.path().join("index")).expect("it is made");
        assert!(folder.saved().expect("nothing yet").parts.is_empty());
        for number in [3, 4] {
            fs::create_dir(folder.part(number)).expect("it is made");
        }
        let parts = vec![(4, RoaringBitmap::from_iter([1, 70_000]))];
        folder.save(&Saved { parts: parts.clone(), complete_at: Timestamp::new(7) }).expect("it is saved");
        let saved = folder.saved().expect("it is read");
        assert_eq!((saved.parts, saved.complete_at), (parts, Timestamp::new(7)));
        assert!(!folder.part(3).exists() && folder.part(4).exists());
        fs::write(folder.path().join(LIST), r#"{"version": 2, "completeAt": null, "parts": []}"#)
            .expect("it is written");
        assert!(folder.saved().expect_err("a newer one").to_string().contains("version 2"));
    }
}

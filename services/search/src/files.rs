//! Where an index lies on the disk: a folder for each part, and a list of them.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
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
    pub parts: Vec<SavedPart>,
    /// Up to which moment the parts hold everything, and nothing newer; `None` if that has to be found out.
    pub complete_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SavedPart {
    pub number: u64,
    /// Its dead documents.
    pub dead: RoaringBitmap,
    pub checksums: Checksums,
}

/// The CRC-32C of each file of a part, by its name.
pub(crate) type Checksums = Arc<BTreeMap<String, u32>>;

const VERSION: u32 = 2;
const LIST: &str = "parts.json";

#[derive(Serialize, Deserialize)]
struct List {
    version: u32,
    /// CRC-32C of the list as it is written with a 0 in this place.
    crc32c: u32,
    #[serde(rename = "completeAt")]
    complete_at: Option<u64>,
    parts: Vec<ListedPart>,
}

#[derive(Serialize, Deserialize)]
struct ListedPart {
    number: u64,
    /// A roaring bitmap in its portable format, in hexadecimal.
    dead: String,
    crc32c: BTreeMap<String, u32>,
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
        let kept: Vec<PathBuf> = saved.parts.iter().map(|part| self.part(part.number)).collect();
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

    /// The checksums of a part that was written.
    pub fn checksums(&self, number: u64) -> Result<Checksums> {
        let mut checksums = BTreeMap::new();
        for entry in fs::read_dir(self.part(number))? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| damaged("a file's name is not UTF-8"))?;
            // Those are tantivy's locks and lists of files, which it makes anew.
            if !name.starts_with('.') {
                checksums.insert(name, checksum(&entry.path())?);
            }
        }
        Ok(Arc::new(checksums))
    }

    /// Fails if a file of a part is not as it was written.
    pub fn check(&self, part: &SavedPart) -> Result<()> {
        for (name, expected) in &*part.checksums {
            if checksum(&self.part(part.number).join(name))? != *expected {
                return Err(damaged(format!("{name} of part {} is not as it was written", part.number)));
            }
        }
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

/// Of a file, read from its beginning to its end.
fn checksum(path: &Path) -> io::Result<u32> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 18];
    let mut checksum = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(checksum);
        }
        checksum = crc32c::crc32c_append(checksum, &buffer[..count]);
    }
}

impl Saved {
    fn read(bytes: &[u8]) -> Result<Saved> {
        let mut list: List = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if list.version != VERSION {
            return Err(damaged(format!("version {} of a search index is not known", list.version)));
        }
        let expected = std::mem::take(&mut list.crc32c);
        if list.checksum()? != expected {
            return Err(damaged("the list of parts is not as it was written"));
        }
        let part = |part: ListedPart| {
            let bytes = hex::decode(&part.dead).map_err(|error| damaged(error.to_string()))?;
            let dead = RoaringBitmap::deserialize_from(&bytes[..])?;
            Ok(SavedPart { number: part.number, dead, checksums: Arc::new(part.crc32c) })
        };
        Ok(Saved {
            parts: list.parts.into_iter().map(part).collect::<Result<_>>()?,
            complete_at: list.complete_at.and_then(Timestamp::new),
        })
    }

    fn write(&self) -> Result<Vec<u8>> {
        let part = |part: &SavedPart| {
            let mut bytes = Vec::new();
            part.dead.serialize_into(&mut bytes)?;
            let dead = hex::encode(bytes);
            Ok(ListedPart { number: part.number, dead, crc32c: (*part.checksums).clone() })
        };
        let mut list = List {
            version: VERSION,
            crc32c: 0,
            complete_at: self.complete_at.map(Timestamp::as_nanoseconds),
            parts: self.parts.iter().map(part).collect::<Result<_>>()?,
        };
        list.crc32c = list.checksum()?;
        list.bytes()
    }
}

impl List {
    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| damaged(error.to_string()))
    }

    /// While it has a 0 in its place.
    fn checksum(&self) -> Result<u32> {
        Ok(crc32c::crc32c(&self.bytes()?))
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
        fs::write(folder.part(4).join("file"), "content").expect("it is written");
        let checksums = folder.checksums(4).expect("they are computed");
        let parts = vec![SavedPart { number: 4, dead: RoaringBitmap::from_iter([1, 70_000]), checksums }];
        folder.save(&Saved { parts: parts.clone(), complete_at: Timestamp::new(7) }).expect("it is saved");
        let saved = folder.saved().expect("it is read");
        assert_eq!((&saved.parts, saved.complete_at), (&parts, Timestamp::new(7)));
        folder.check(&saved.parts[0]).expect("it is as it was");
        fs::write(folder.part(4).join("file"), "contend").expect("it is written");
        folder.check(&saved.parts[0]).expect_err("it is not");
        let list = fs::read_to_string(folder.path().join(LIST)).expect("it is read");
        fs::write(folder.path().join(LIST), list.replace(r#""completeAt":7"#, r#""completeAt":8"#))
            .expect("it is written");
        folder.saved().expect_err("nobody has written that");
        assert!(!folder.part(3).exists() && folder.part(4).exists());
        fs::write(
            folder.path().join(LIST),
            r#"{"version": 3, "crc32c": 0, "completeAt": null, "parts": []}"#,
        )
        .expect("it is written");
        assert!(folder.saved().expect_err("a newer one").to_string().contains("version 3"));
    }
}

//! One index, and how far it has been filled.

use std::{collections::BTreeMap, ops::Bound, path::PathBuf};

use contract::{IndexId, InternalDocumentId, Timestamp};
use parking_lot::Mutex;
use relevance::DocumentTerms;
use transaction::{Index, IndexKind, Table, filter_values, text_of, vector_of};
use value::{CREATION_TIME_FIELD, FieldPath, Object, TableNumber, Value};

use crate::{
    error::Result,
    files::Folder,
    limits::SearchLimits,
    text::{self, TextDocument, TextIndex},
    vectors::{self, VectorDocument, VectorIndex},
};

/// What an index is, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub index: IndexId,
    /// The primary index of its table.
    pub primary: IndexId,
    pub table: TableNumber,
    pub fields: Vec<FieldPath>,
    pub kind: IndexKind,
}

impl Definition {
    /// `None` if it is an index of documents in an order.
    pub fn of(table: &Table, index: &Index) -> Option<Definition> {
        (index.kind != IndexKind::Ordered).then(|| Definition {
            index: index.id,
            primary: table.by_id.id,
            table: table.number,
            fields: index.fields.clone(),
            kind: index.kind.clone(),
        })
    }
}

/// How far an index is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Documents up to this id are as they were at the moment that was heard of last; those behind it are still to be read.
    Reading { after: Option<InternalDocumentId> },
    /// It holds every document.
    Complete,
}

pub(crate) struct KeptIndex {
    pub definition: Definition,
    pub contents: Contents,
    /// Until which moment it was complete when it was opened, if that is known.
    pub complete_at: Option<Timestamp>,
    progress: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    progress: Progress,
    /// Somebody works on its files.
    is_busy: bool,
    /// Its files can't be used.
    is_broken: bool,
    /// It is not wanted any more. Whoever is at its files last removes them.
    is_gone: bool,
}

pub(crate) enum Contents {
    Text(TextIndex),
    Vectors(VectorIndex),
}

/// A document as a commit left it, or that it is gone.
#[derive(Clone)]
pub(crate) struct Change {
    pub at: Timestamp,
    pub id: InternalDocumentId,
    /// Its fields, and the commit that wrote it.
    pub document: Option<(std::sync::Arc<Object>, Timestamp)>,
}

/// Work on an index's files.
enum Job {
    Text(text::Job),
    Vectors(vectors::Job),
}

impl KeptIndex {
    /// Opens the index in a folder; what is there and can't be used is removed.
    pub fn open(definition: Definition, path: PathBuf, limits: &SearchLimits) -> Result<KeptIndex> {
        let folder = Folder::new(path)?;
        let (contents, complete_at) = match Contents::open(&definition, folder.clone(), limits) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%error, index = ?definition.index, "a search index is made anew");
                folder.clear()?;
                Contents::open(&definition, folder, limits)?
            }
        };
        let progress = Progress::Reading { after: None };
        let state = State { progress, is_busy: false, is_broken: false, is_gone: false };
        Ok(KeptIndex { definition, contents, complete_at, progress: Mutex::new(state) })
    }

    pub fn progress(&self) -> Progress {
        self.progress.lock().progress
    }

    /// Whether it holds every document, and can be searched.
    pub fn is_complete(&self) -> bool {
        let state = *self.progress.lock();
        state.progress == Progress::Complete && !state.is_broken
    }

    pub fn set_progress(&self, progress: Progress) {
        self.progress.lock().progress = progress;
    }

    pub fn is_broken(&self) -> bool {
        self.progress.lock().is_broken
    }

    /// Whether its files can't be used, and nobody is at them: then there is no work on it any more.
    pub fn is_to_be_remade(&self) -> bool {
        let state = self.progress.lock();
        state.is_broken && !state.is_busy
    }

    pub fn broken(&self) {
        self.progress.lock().is_broken = true;
    }

    pub fn documents(&self) -> u64 {
        match &self.contents {
            Contents::Text(index) => index.documents(),
            Contents::Vectors(index) => index.documents(),
        }
    }

    /// Bytes of what is in memory and of no file yet.
    pub fn memory_bytes(&self) -> usize {
        match &self.contents {
            Contents::Text(index) => index.memory_bytes(),
            Contents::Vectors(index) => index.memory_bytes(),
        }
    }

    /// Bytes of the part that is changed.
    pub fn open_bytes(&self) -> usize {
        match &self.contents {
            Contents::Text(index) => index.open_bytes(),
            Contents::Vectors(index) => index.open_bytes(),
        }
    }

    /// Bytes that what is in files takes in memory. Of a text index that is little: its files are mapped.
    pub fn file_memory_bytes(&self) -> usize {
        match &self.contents {
            Contents::Text(_) => 0,
            Contents::Vectors(index) => index.file_memory_bytes(),
        }
    }

    /// Takes changes that commits have made, as far as their documents have been read. A broken one takes none: it is made anew.
    pub fn hear(&self, changes: &[Change]) -> Result<()> {
        if self.is_broken() {
            return Ok(());
        }
        match self.progress() {
            Progress::Complete => self.change(changes.iter()),
            Progress::Reading { after: None } => Ok(()),
            Progress::Reading { after: Some(after) } => {
                self.change(changes.iter().filter(|change| change.id <= after))
            }
        }
    }

    /// The bytes of the open part from which on it is written.
    pub fn open_bytes_max(&self, limits: &SearchLimits) -> usize {
        match &self.contents {
            Contents::Text(_) => limits.text_memory_bytes_max,
            Contents::Vectors(_) => limits.vectors_plain_bytes_max,
        }
    }

    pub fn change<'c>(&self, changes: impl Iterator<Item = &'c Change>) -> Result<()> {
        let fields = &self.definition.fields;
        match (&self.contents, &self.definition.kind) {
            (Contents::Text(index), IndexKind::Text { filter_fields }) => {
                index.change(changes.map(|change| {
                    let document = change.document.as_ref();
                    let text = document.and_then(|(object, from)| {
                        text_document(change.id, object, *from, fields, filter_fields)
                    });
                    (change.at, change.id, text)
                }))
            }
            (Contents::Vectors(index), IndexKind::Vector { dimensions, filter_fields }) => {
                index.change(changes.map(|change| {
                    let vector = change.document.as_ref().and_then(|(object, from)| {
                        Some(VectorDocument {
                            id: change.id,
                            from: *from,
                            filters: filter_values(object, filter_fields),
                            vector: vector_of(object, fields, *dimensions)?,
                        })
                    });
                    (change.id, vector)
                }));
                Ok(())
            }
            _ => unreachable!("an index has the contents of its kind"),
        }
    }

    /// The documents in a range of ids that are in it, and the commit that wrote each.
    pub fn documents_between(
        &self,
        bounds: (Bound<InternalDocumentId>, Bound<InternalDocumentId>),
    ) -> Result<BTreeMap<InternalDocumentId, Timestamp>> {
        match &self.contents {
            Contents::Text(index) => index.documents_between(bounds),
            Contents::Vectors(index) => Ok(index.documents_between(bounds)),
        }
    }

    /// Moments before `floor` are not asked for any more.
    pub fn forget_before(&self, floor: Timestamp) {
        if let Contents::Text(index) = &self.contents {
            index.forget_before(floor);
        }
    }

    /// Whether there is work on its files and nobody at it: whoever is told so has it done by [`KeptIndex::work`]. Waits for no search.
    /// With `open_bytes_max` of 0 the open part is written whatever its size.
    pub fn begin_work(&self, open_bytes_max: usize) -> bool {
        let has_job = match &self.contents {
            Contents::Text(index) => index.has_job(open_bytes_max),
            Contents::Vectors(index) => index.has_job(open_bytes_max),
        };
        let mut state = self.progress.lock();
        let begins = has_job && !state.is_busy && !state.is_broken && !state.is_gone;
        state.is_busy |= begins;
        begins
    }

    /// Does the work that was begun; blocks. It can't fail for an index that was removed meanwhile.
    pub fn work(&self, open_bytes_max: usize) -> Result<()> {
        let is_gone = self.progress.lock().is_gone;
        let job = if is_gone { None } else { self.next_job(open_bytes_max) };
        self.end_work(job.map_or(Ok(()), |job| self.do_job(job)))
    }

    fn end_work(&self, result: Result<()>) -> Result<()> {
        {
            let mut state = self.progress.lock();
            state.is_busy = false;
            if !state.is_gone {
                state.is_broken = state.is_broken || result.is_err();
                return result;
            }
        }
        self.remove_files();
        Ok(())
    }

    fn next_job(&self, open_bytes_max: usize) -> Option<Job> {
        match &self.contents {
            Contents::Text(index) => index.next_job(open_bytes_max).map(Job::Text),
            Contents::Vectors(index) => index.next_job(open_bytes_max).map(Job::Vectors),
        }
    }

    fn do_job(&self, job: Job) -> Result<()> {
        match (&self.contents, job) {
            (Contents::Text(index), Job::Text(job)) => index.work(job).and_then(|done| index.finish(done)),
            (Contents::Vectors(index), Job::Vectors(job)) => {
                index.work(job).and_then(|done| index.finish(done))
            }
            _ => unreachable!("the work is the index's own"),
        }
    }

    /// Puts everything into files. `heard` is the moment that it is of, if it is complete. Of one that is broken nobody knows what it lacks.
    pub fn close(&self, heard: Option<Timestamp>) -> Result<()> {
        let complete_at = heard.filter(|_| self.is_complete());
        match &self.contents {
            Contents::Text(index) => index.close(complete_at),
            Contents::Vectors(index) => index.close(complete_at),
        }
    }

    /// Nobody wants it any more. Removes its files, once nobody is at them.
    pub fn remove(&self) {
        let is_busy = {
            let mut state = self.progress.lock();
            state.is_gone = true;
            state.is_busy
        };
        if !is_busy {
            self.remove_files();
        }
    }

    fn remove_files(&self) {
        let folder = match &self.contents {
            Contents::Text(index) => index.folder(),
            Contents::Vectors(index) => index.folder(),
        };
        if let Err(error) = std::fs::remove_dir_all(folder.path()) {
            // They go when the service starts next.
            tracing::debug!(%error, "the files of a search index can't be removed now");
        }
    }
}

impl Contents {
    fn open(
        definition: &Definition,
        folder: Folder,
        limits: &SearchLimits,
    ) -> Result<(Contents, Option<Timestamp>)> {
        match &definition.kind {
            IndexKind::Text { .. } => {
                let (index, complete_at) = TextIndex::open(folder, limits.prefix_terms_visited_max)?;
                Ok((Contents::Text(index), complete_at))
            }
            IndexKind::Vector { dimensions, filter_fields } => {
                let (index, complete_at) =
                    VectorIndex::open(folder, *dimensions, filter_fields.len(), *limits)?;
                Ok((Contents::Vectors(index), complete_at))
            }
            IndexKind::Ordered => unreachable!("only text and vector indexes have a definition"),
        }
    }
}

fn text_document(
    id: InternalDocumentId,
    object: &Object,
    from: Timestamp,
    fields: &[FieldPath],
    filter_fields: &[FieldPath],
) -> Option<TextDocument> {
    let terms = DocumentTerms::of(text_of(object, fields)?).counts.into_iter().collect();
    let creation_time = object.get(CREATION_TIME_FIELD).and_then(Value::as_f64).unwrap_or_default();
    Some(TextDocument {
        id,
        creation_time_bits: creation_time.to_bits(),
        from,
        filters: filter_values(object, filter_fields),
        terms,
    })
}

#[cfg(test)]
mod tests {
    use value::object;

    use super::*;

    fn definition(kind: IndexKind) -> Definition {
        Definition {
            index: IndexId([1; 16]),
            primary: IndexId([2; 16]),
            table: TableNumber::new(10_001).expect("in range"),
            fields: vec!["field".parse().expect("a path")],
            kind,
        }
    }

    fn written(kind: &IndexKind, id: u8) -> Change {
        let object = match kind {
            IndexKind::Text { .. } => object! {"field" => "word"},
            _ => object! {"field" => Value::Array(vec![Value::Float64(1.0); 2])},
        };
        let at = Timestamp::new(3).expect("in range");
        Change { at, id: [id; 16], document: Some((std::sync::Arc::new(object), at)) }
    }

    #[test]
    fn an_index_of_whose_files_one_is_damaged_is_made_anew() {
        let at = Timestamp::new(7);
        let limits = SearchLimits { vectors_plain_bytes_max: 1, ..SearchLimits::DEFAULT };
        for kind in [
            IndexKind::Text { filter_fields: Vec::new() },
            IndexKind::Vector { dimensions: 2, filter_fields: Vec::new() },
        ] {
            let temporary = tempfile::tempdir().expect("a folder");
            let path = temporary.path().join("index");
            let open = || KeptIndex::open(definition(kind.clone()), path.clone(), &limits).expect("it opens");
            let make = || {
                let index = open();
                index.change([written(&kind, 1), written(&kind, 2)].iter()).expect("it is changed");
                index.set_progress(Progress::Complete);
                assert!(index.begin_work(0), "there is something to write");
                index.work(0).expect("it is written");
                index.close(at).expect("it is closed");
            };
            // tantivy's names are other ones each time.
            let files = || {
                let parts = [0, 1].map(|number| path.join(format!("part-{number:08}")));
                let part = parts.into_iter().find(|part| part.exists()).expect("there is one");
                let entries = std::fs::read_dir(part).expect("it is there").flatten();
                let names = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
                let mut files: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
                files.push(path.join("parts.json"));
                files.sort();
                files
            };
            make();
            let count = files().len();
            assert!(count >= 4, "{count} files");
            for number in 0..count {
                std::fs::remove_dir_all(&path).expect("it is removed");
                make();
                assert_eq!((open().complete_at, open().documents()), (at, 2), "{kind:?}");
                let file = files().swap_remove(number);
                let mut bytes = std::fs::read(&file).expect("it is read");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&file, bytes).expect("it is written");
                let index = open();
                assert_eq!((index.complete_at, index.documents()), (None, 0), "{}", file.display());
            }
        }
    }

    #[test]
    fn an_index_that_breaks_is_made_anew_once_nobody_is_at_its_files() {
        let temporary = tempfile::tempdir().expect("a folder");
        let kind = IndexKind::Text { filter_fields: Vec::new() };
        let path = temporary.path().join("index");
        let index =
            KeptIndex::open(definition(kind.clone()), path, &SearchLimits::DEFAULT).expect("it opens");
        index.change([written(&kind, 1)].iter()).expect("it is changed");
        assert!(index.begin_work(0) && !index.is_to_be_remade());
        index.broken();
        assert!(!index.is_to_be_remade(), "somebody is at its files");
        index.work(0).expect("it is written");
        assert!(index.is_to_be_remade());
        index.change([written(&kind, 2)].iter()).expect("it is changed");
        assert!(!index.begin_work(0), "there is no more work on it");
    }

    #[test]
    fn an_index_that_is_removed_while_somebody_is_at_its_files_leaves_none() {
        for kind in [
            IndexKind::Text { filter_fields: Vec::new() },
            IndexKind::Vector { dimensions: 2, filter_fields: Vec::new() },
        ] {
            let temporary = tempfile::tempdir().expect("a folder");
            let path = temporary.path().join("index");
            let make = || {
                let index = KeptIndex::open(definition(kind.clone()), path.clone(), &SearchLimits::DEFAULT);
                let index = index.expect("it opens");
                index.change([written(&kind, 1)].iter()).expect("it is changed");
                index
            };
            let index = make();
            index.remove();
            assert!(!path.exists() && !index.begin_work(0), "nobody is at it");

            let index = make();
            assert!(index.begin_work(0));
            index.remove();
            assert!(path.exists(), "somebody is to be at it");
            index.work(0).expect("there is nothing to do");
            assert!(!path.exists() && !index.begin_work(0), "{kind:?}");

            let index = make();
            assert!(index.begin_work(0));
            let job = index.next_job(0).expect("there is something to write");
            index.remove();
            index.end_work(index.do_job(job)).expect("its files are there still");
            assert!(!path.exists() && !index.begin_work(0), "{kind:?}");
        }
    }

    #[test]
    fn an_index_is_saved_as_complete_only_if_its_files_hold_everything() {
        let at = Timestamp::new(7);
        let limits =
            SearchLimits { vectors_plain_bytes_max: 1, text_memory_bytes_max: 1, ..SearchLimits::DEFAULT };
        for kind in [
            IndexKind::Text { filter_fields: Vec::new() },
            IndexKind::Vector { dimensions: 2, filter_fields: Vec::new() },
        ] {
            let temporary = tempfile::tempdir().expect("a folder");
            let open = || {
                let path = temporary.path().join("index");
                KeptIndex::open(definition(kind.clone()), path, &limits).expect("it opens")
            };
            let write = |index: &KeptIndex, id: u8| {
                index.change([written(&kind, id)].iter()).expect("it is changed");
                index.set_progress(Progress::Complete);
            };
            let index = open();
            write(&index, 1);
            index.close(at).expect("it is closed");
            let index = open();
            assert_eq!((index.complete_at, index.documents()), (at, 1), "{kind:?}");

            write(&index, 2);
            index.broken();
            index.close(at).expect("it is closed");
            assert_eq!(open().complete_at, None, "{kind:?}");

            // As work leaves it that has failed: what it was to write is in memory still.
            let index = open();
            write(&index, 3);
            assert!(index.next_job(1).is_some(), "there is something to write");
            index.close(at).expect("it is closed");
            let opened = open();
            assert!(opened.complete_at.is_none() || opened.documents() == 3, "{kind:?}");
        }
    }
}

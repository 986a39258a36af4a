//! What the log lies on: pairs of keys and values, in the order of the keys.

use std::{io, ops::ControlFlow};

use rocksdb::{DB, Range, ReadOptions, WriteBatch, WriteOptions, properties::CUR_SIZE_ALL_MEM_TABLES};

/// Sees a key and its value, and says whether to go on.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> io::Result<ControlFlow<()>> + 'v;

/// What is written, as it is read. Nothing is seen here before it is durable.
pub trait LogDisk: Send + Sync {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Visits the pairs from `from` on and before `to`, in order.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()>;

    /// The last pair from `from` on and before `to`.
    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>>;

    /// About how many bytes of its files are from `from` on and before `to`.
    fn file_bytes(&self, from: &[u8], to: &[u8]) -> u64;

    /// Memory of what is in no file yet.
    fn memory_bytes(&self) -> u64;
}

/// One of the changes that are written at once.
#[derive(Clone, Debug)]
pub enum LogChange {
    Put(Vec<u8>, Vec<u8>),
    /// From the first key on and before the second one.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// Makes all of the changes durable, or none. What a failure leaves is not known.
pub fn write(database: &DB, changes: Vec<LogChange>) -> Result<(), rocksdb::Error> {
    let mut batch = WriteBatch::default();
    for change in changes {
        match change {
            LogChange::Put(key, value) => batch.put(key, value),
            LogChange::DeleteRange(from, to) => batch.delete_range(from, to),
        }
    }
    let mut options = WriteOptions::default();
    options.set_sync(true);
    database.write_opt(batch, &options)
}

impl LogDisk for DB {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        DB::get(self, key).map_err(io::Error::other)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let mut iterator = self.raw_iterator_opt(options);
        iterator.seek(from);
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)?.is_break() {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(io::Error::other)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mut iterator = self.raw_iterator_opt(options);
        iterator.seek_to_last();
        let last = iterator.item().map(|(key, value)| (key.to_vec(), value.to_vec()));
        iterator.status().map_err(io::Error::other)?;
        Ok(last)
    }

    fn file_bytes(&self, from: &[u8], to: &[u8]) -> u64 {
        self.get_approximate_sizes(&[Range::new(from, to)]).into_iter().sum()
    }

    fn memory_bytes(&self) -> u64 {
        self.property_int_value(CUR_SIZE_ALL_MEM_TABLES).ok().flatten().unwrap_or_default()
    }
}

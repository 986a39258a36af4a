//! A part in files: posting lists of tantivy, which is not asked for anything else.

use std::{fs, ops::Bound, path::Path, sync::Arc};

use contract::{FilterValue, InternalDocumentId, TextFilter, Timestamp};
use tantivy::{
    BitSet, DocSet, Index, IndexBuilder, IndexSettings, SegmentReader, SingleSegmentIndexWriter, TERMINATED,
    TantivyDocument,
    columnar::ColumnValues,
    directory::{MmapDirectory, OwnedBytes},
    fastfield::{AliveBitSet, write_alive_bitset},
    fieldnorm::FieldNormReader,
    index::InvertedIndexReader,
    indexer::merge_filtered_segments,
    postings::Postings,
    schema::{
        BytesOptions, Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
    },
    store::Compressor,
    termdict::TermStreamer,
    tokenizer::{PreTokenizedString, Token},
};

use super::{TextDocument, memory::MemoryPart};
use crate::error::{Result, damaged};

/// Documents that were closed. Their numbers are those that they had in memory.
pub(crate) struct DiskPart {
    index: Index,
    documents: u32,
    text: Arc<InvertedIndexReader>,
    ids: Arc<InvertedIndexReader>,
    filters: Arc<InvertedIndexReader>,
    norms: FieldNormReader,
    creation_times: Arc<dyn ColumnValues<u64>>,
    from: Arc<dyn ColumnValues<u64>>,
    lengths: Arc<dyn ColumnValues<u64>>,
    ids_high: Arc<dyn ColumnValues<u64>>,
    ids_low: Arc<dyn ColumnValues<u64>>,
}

impl std::fmt::Debug for DiskPart {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DiskPart").field("documents", &self.documents).finish_non_exhaustive()
    }
}

/// The fields of a part. What only the columns hold has no posting lists, and nothing is stored.
struct Fields {
    schema: Schema,
    text: Field,
    id: Field,
    filter: Field,
    creation_time: Field,
    from: Field,
    length: Field,
    id_high: Field,
    id_low: Field,
}

const CREATION_TIME: &str = "creation_time";
const FROM: &str = "from";
const LENGTH: &str = "length";
const ID_HIGH: &str = "id_high";
const ID_LOW: &str = "id_low";

impl Fields {
    fn new() -> Fields {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::WithFreqs)
            .set_fieldnorms(true);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let id = schema.add_bytes_field("id", BytesOptions::default().set_indexed());
        let filter = schema.add_bytes_field("filter", BytesOptions::default().set_indexed());
        let column = || NumericOptions::default().set_fast();
        let creation_time = schema.add_u64_field(CREATION_TIME, column());
        let from = schema.add_u64_field(FROM, column());
        let length = schema.add_u64_field(LENGTH, column());
        let id_high = schema.add_u64_field(ID_HIGH, column());
        let id_low = schema.add_u64_field(ID_LOW, column());
        Fields { schema: schema.build(), text, id, filter, creation_time, from, length, id_high, id_low }
    }

    fn document(&self, document: &TextDocument) -> TantivyDocument {
        let mut fields = TantivyDocument::default();
        let mut tokens = Vec::with_capacity(document.length() as usize);
        for (term, count) in &document.terms {
            for _ in 0..*count {
                tokens.push(Token { text: term.clone(), ..Token::default() });
            }
        }
        fields.add_pre_tokenized_text(self.text, PreTokenizedString { text: String::new(), tokens });
        fields.add_bytes(self.id, &document.id);
        for (field, value) in document.filters.iter().enumerate() {
            fields.add_bytes(self.filter, &filter_term(field as u8, value));
        }
        let number = u128::from_be_bytes(document.id);
        fields.add_u64(self.creation_time, document.creation_time_bits);
        fields.add_u64(self.from, document.from.as_nanoseconds());
        fields.add_u64(self.length, document.length().into());
        fields.add_u64(self.id_high, (number >> 64) as u64);
        fields.add_u64(self.id_low, number as u64);
        fields
    }
}

fn filter_term(field: u8, value: &FilterValue) -> [u8; 17] {
    let mut term = [0; 17];
    term[0] = field;
    term[1..].copy_from_slice(value);
    term
}

fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::None,
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// Has everything in the folder written to the disk.
fn sync(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::File::open(entry?.path())?.sync_all()?;
    }
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// tantivy closes a part by itself at no size below.
const WRITER_BYTES: usize = 256 << 20;

impl DiskPart {
    /// Writes what is in memory into an empty folder.
    pub fn write(part: &MemoryPart, folder: &Path) -> Result<DiskPart> {
        fs::create_dir_all(folder)?;
        let fields = Fields::new();
        let directory = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        let builder = IndexBuilder::new().schema(fields.schema.clone()).settings(settings());
        let mut writer: SingleSegmentIndexWriter =
            builder.single_segment_index_writer(directory, WRITER_BYTES)?;
        let names = part.names();
        for number in 0..part.len() {
            let document = TextDocument {
                id: part.id(number),
                creation_time_bits: part.creation_time_bits(number),
                from: part.from(number),
                filters: part.filters(number).to_vec(),
                terms: part.terms(number, &names),
            };
            writer.add_document(fields.document(&document))?;
        }
        let index = writer.finalize()?;
        sync(folder)?;
        DiskPart::read(index)
    }

    /// Writes the documents of several parts, one part after the other, into an empty folder, without those that are left out.
    pub fn merge(parts: &[(Arc<DiskPart>, Vec<u32>)], folder: &Path) -> Result<DiskPart> {
        fs::create_dir_all(folder)?;
        let mut segments = Vec::new();
        let mut kept = Vec::new();
        for (part, left_out) in parts {
            segments.extend(part.index.searchable_segments()?);
            let mut alive = BitSet::with_max_value_and_full(part.documents);
            left_out.iter().for_each(|document| alive.remove(*document));
            let mut bytes = Vec::new();
            write_alive_bitset(&alive, &mut bytes)?;
            kept.push(Some(AliveBitSet::open(OwnedBytes::new(bytes))));
        }
        let directory = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        let index = merge_filtered_segments(&segments, settings(), kept, directory)?;
        sync(folder)?;
        DiskPart::read(index)
    }

    pub fn open(folder: &Path) -> Result<DiskPart> {
        let directory = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        DiskPart::read(Index::open(directory)?)
    }

    fn read(index: Index) -> Result<DiskPart> {
        let fields = Fields::new();
        if index.schema() != fields.schema {
            return Err(damaged("a part has other fields"));
        }
        let [segment] = &index.searchable_segments()?[..] else {
            return Err(damaged("a part is not one segment"));
        };
        let reader = SegmentReader::open(segment)?;
        let column = |name: &str| reader.fast_fields().column_first_or_default::<u64>(name);
        Ok(DiskPart {
            documents: reader.max_doc(),
            text: reader.inverted_index(fields.text)?,
            ids: reader.inverted_index(fields.id)?,
            filters: reader.inverted_index(fields.filter)?,
            norms: reader.get_fieldnorms_reader(fields.text)?,
            creation_times: column(CREATION_TIME)?,
            from: column(FROM)?,
            lengths: column(LENGTH)?,
            ids_high: column(ID_HIGH)?,
            ids_low: column(ID_LOW)?,
            index,
        })
    }

    pub fn len(&self) -> u32 {
        self.documents
    }

    pub fn from(&self, document: u32) -> Timestamp {
        Timestamp::new(self.from.get_val(document)).unwrap_or(Timestamp::MAX)
    }

    /// The newest commit that has written one of them.
    pub fn newest_from(&self) -> Timestamp {
        Timestamp::new(self.from.max_value()).unwrap_or(Timestamp::MAX)
    }

    pub fn length(&self, document: u32) -> u32 {
        self.lengths.get_val(document) as u32
    }

    pub fn creation_time_bits(&self, document: u32) -> u64 {
        self.creation_times.get_val(document)
    }

    pub fn id(&self, document: u32) -> InternalDocumentId {
        let high = u128::from(self.ids_high.get_val(document));
        (high << 64 | u128::from(self.ids_low.get_val(document))).to_be_bytes()
    }

    /// The documents with this id: its versions.
    pub fn versions(&self, id: &InternalDocumentId) -> Result<Vec<u32>> {
        let mut versions = Vec::new();
        if let Some(info) = self.ids.terms().get(id)? {
            let mut postings = self.ids.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
            while postings.doc() != TERMINATED {
                versions.push(postings.doc());
                postings.advance();
            }
        }
        Ok(versions)
    }

    /// The ids in the range, in order.
    pub fn ids_between(
        &self,
        bounds: (Bound<InternalDocumentId>, Bound<InternalDocumentId>),
    ) -> Result<Vec<InternalDocumentId>> {
        let mut range = self.ids.terms().range();
        range = match bounds.0 {
            Bound::Included(from) => range.ge(from),
            Bound::Excluded(from) => range.gt(from),
            Bound::Unbounded => range,
        };
        range = match bounds.1 {
            Bound::Included(to) => range.le(to),
            Bound::Excluded(to) => range.lt(to),
            Bound::Unbounded => range,
        };
        let mut stream = range.into_stream()?;
        let mut ids = Vec::new();
        while stream.advance() {
            ids.push(stream.key().try_into().map_err(|_| damaged("an id does not have 16 bytes"))?);
        }
        Ok(ids)
    }

    /// The number of documents with a term, dead ones included.
    pub fn document_count(&self, term: &str) -> Result<u64> {
        Ok(self.text.terms().get(term)?.map_or(0, |info| info.doc_freq.into()))
    }

    /// Sees each document with a term, how often it has it, and its norm.
    pub fn for_each_posting(&self, term: &str, mut see: impl FnMut(u32, u32, u8)) -> Result<()> {
        let Some(info) = self.text.terms().get(term)? else { return Ok(()) };
        let mut postings = self.text.read_postings_from_terminfo(&info, IndexRecordOption::WithFreqs)?;
        let mut document = postings.doc();
        while document != TERMINATED {
            see(document, postings.term_freq(), self.norms.fieldnorm_id(document));
            document = postings.advance();
        }
        Ok(())
    }

    /// Which documents pass all of the filters, as bits by their numbers.
    pub fn passing(&self, filters: &[TextFilter]) -> Result<Vec<u64>> {
        let words = (self.documents as usize).div_ceil(64);
        let mut passing = vec![u64::MAX; words];
        for filter in filters {
            let mut with_value = vec![0_u64; words];
            if let Some(info) = self.filters.terms().get(filter_term(filter.field, &filter.value))? {
                let mut postings =
                    self.filters.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
                while postings.doc() != TERMINATED {
                    let document = postings.doc() as usize;
                    with_value[document / 64] |= 1 << (document % 64);
                    postings.advance();
                }
            }
            passing.iter_mut().zip(with_value).for_each(|(passing, with_value)| *passing &= with_value);
        }
        Ok(passing)
    }

    /// The terms that begin with a prefix.
    pub fn terms_from<'p>(&'p self, prefix: &'p str) -> Result<DiskTerms<'p>> {
        let stream = self.text.terms().range().ge(prefix).into_stream()?;
        let mut terms = DiskTerms { text: &self.text, prefix, stream, is_over: false };
        terms.advance();
        Ok(terms)
    }
}

/// The terms of a part that begin with a prefix, in order.
pub(crate) struct DiskTerms<'p> {
    text: &'p InvertedIndexReader,
    prefix: &'p str,
    stream: TermStreamer<'p>,
    is_over: bool,
}

impl DiskTerms<'_> {
    pub fn current(&self) -> Option<&[u8]> {
        (!self.is_over).then(|| self.stream.key())
    }

    pub fn advance(&mut self) {
        self.is_over = !(self.stream.advance() && self.stream.key().starts_with(self.prefix.as_bytes()));
    }

    /// Whether one of the documents with the current term is wanted; of those that have no bit in `passing` none is.
    pub fn any(&self, passing: Option<&[u64]>, mut is_wanted: impl FnMut(u32) -> bool) -> Result<bool> {
        let mut postings =
            self.text.read_postings_from_terminfo(self.stream.value(), IndexRecordOption::Basic)?;
        let mut document = postings.doc();
        while document != TERMINATED {
            let next = match passing {
                None => Some(document),
                Some(bits) => next_bit(bits, document),
            };
            match next {
                None => return Ok(false),
                Some(next) if next > document => document = postings.seek(next),
                Some(_) if is_wanted(document) => return Ok(true),
                Some(_) => document = postings.advance(),
            }
        }
        Ok(false)
    }
}

/// The first bit that is set, from one on.
fn next_bit(bits: &[u64], from: u32) -> Option<u32> {
    let first = from as usize / 64;
    let mut word = bits.get(first)? & (u64::MAX << (from % 64));
    for number in first.. {
        if word != 0 {
            return Some(number as u32 * 64 + word.trailing_zeros());
        }
        word = *bits.get(number + 1)?;
    }
    None
}

//! A part of a vector index: vectors, the documents that they are of, and for many of them a graph.

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use contract::{FilterValue, InternalDocumentId, TextFilter, Timestamp};
use memmap2::Mmap;
use numkong::Dot as _;
use roaring::RoaringBitmap;
use usearch::{Index as Graph, IndexOptions, MetricKind, ScalarKind};

use super::VectorDocument;
use crate::{
    error::{Result, damaged, graph},
    limits::SearchLimits,
};

const VERSION: u8 = 1;
const DOCUMENTS: &str = "documents";
const VECTORS: &str = "vectors";
const GRAPH: &str = "graph";
/// What a document takes in memory besides its vector and its filter values: its id, its commit, and its place by its id.
const DOCUMENT_BYTES: usize = 64;
/// The same once it is in a file.
const FILE_DOCUMENT_BYTES: usize = size_of::<InternalDocumentId>() + size_of::<Timestamp>();
/// Neighbours that a vector has in the graph, and how far they are looked for when it is added.
const CONNECTIVITY: usize = 16;
const EXPANSION_ADD: usize = 128;

/// Documents and their vectors, by numbers in their order.
pub(super) struct VectorPart {
    dimensions: usize,
    filter_count: usize,
    ids: Vec<InternalDocumentId>,
    from: Vec<Timestamp>,
    /// Those of a document behind each other.
    filters: Vec<FilterValue>,
    vectors: Vectors,
    graph: Option<Graph>,
}

enum Vectors {
    Memory(Vec<f32>),
    /// Numbers in the order of the machine's bytes, which writes and reads them.
    File(Mmap),
}

impl std::fmt::Debug for VectorPart {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("VectorPart").field("documents", &self.ids.len()).finish_non_exhaustive()
    }
}

/// A document that was found: better ones are larger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub score: f32,
    pub id: InternalDocumentId,
}

impl VectorPart {
    /// An empty one, in memory.
    pub fn new(dimensions: usize, filter_count: usize) -> VectorPart {
        VectorPart {
            dimensions,
            filter_count,
            ids: Vec::new(),
            from: Vec::new(),
            filters: Vec::new(),
            vectors: Vectors::Memory(Vec::new()),
            graph: None,
        }
    }

    /// Adds a document to a part in memory.
    pub fn add(&mut self, document: VectorDocument) {
        assert_eq!(
            document.vector.len(),
            self.dimensions,
            "only vectors of the index's dimensions are in it"
        );
        assert_eq!(document.filters.len(), self.filter_count, "a document has a value for each filter");
        let Vectors::Memory(vectors) = &mut self.vectors else { unreachable!("files are not added to") };
        vectors.extend_from_slice(&document.vector);
        self.ids.push(document.id);
        self.from.push(document.from);
        self.filters.extend_from_slice(&document.filters);
    }

    pub fn len(&self) -> u32 {
        self.ids.len() as u32
    }

    fn vector_bytes(&self) -> usize {
        self.ids.len() * self.dimensions * size_of::<f32>()
    }

    /// Roughly what it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        let filters = size_of_val(&self.filters[..]);
        match &self.vectors {
            Vectors::Memory(_) => self.vector_bytes() + filters + self.ids.len() * DOCUMENT_BYTES,
            Vectors::File(_) => {
                let graph = self.graph.as_ref().map_or(0, Graph::memory_usage);
                graph + filters + self.ids.len() * FILE_DOCUMENT_BYTES
            }
        }
    }

    /// Whether it has so many vectors that it should have a graph, and has none.
    pub fn lacks_graph(&self, plain_bytes_max: usize) -> bool {
        self.graph.is_none() && self.vector_bytes() > plain_bytes_max
    }

    pub fn is_in_memory(&self) -> bool {
        matches!(self.vectors, Vectors::Memory(_))
    }

    pub fn id(&self, number: u32) -> InternalDocumentId {
        self.ids[number as usize]
    }

    pub fn from(&self, number: u32) -> Timestamp {
        self.from[number as usize]
    }

    /// The ids, which are in order in a file.
    pub fn ids(&self) -> &[InternalDocumentId] {
        &self.ids
    }

    fn filters_of(&self, number: usize) -> &[FilterValue] {
        &self.filters[number * self.filter_count..(number + 1) * self.filter_count]
    }

    fn vector(&self, number: u32) -> &[f32] {
        let numbers = match &self.vectors {
            Vectors::Memory(numbers) => numbers,
            Vectors::File(file) => numbers_of(file),
        };
        &numbers[number as usize * self.dimensions..(number as usize + 1) * self.dimensions]
    }

    /// Writes documents into a folder, in the order of their ids, and makes a graph of them if they are many. `sources` are parts and the
    /// numbers in them.
    pub fn write(
        sources: &[(&VectorPart, Vec<u32>)],
        limits: &SearchLimits,
        folder: &Path,
    ) -> Result<VectorPart> {
        let (first, _) = sources.first().expect("a part is made of something");
        let (dimensions, filter_count) = (first.dimensions, first.filter_count);
        let mut order: Vec<(&VectorPart, u32)> = sources
            .iter()
            .flat_map(|(part, numbers)| numbers.iter().map(move |number| (*part, *number)))
            .collect();
        order.sort_unstable_by_key(|(part, number)| part.id(*number));
        fs::create_dir_all(folder)?;
        write_file(&folder.join(DOCUMENTS), |file| {
            file.write_all(&[VERSION])?;
            for length in [dimensions, filter_count, order.len()] {
                file.write_all(&(length as u64).to_le_bytes())?;
            }
            for (part, number) in &order {
                file.write_all(&part.id(*number))?;
                file.write_all(&part.from(*number).as_nanoseconds().to_le_bytes())?;
                for value in part.filters_of(*number as usize) {
                    file.write_all(value)?;
                }
            }
            Ok(())
        })?;
        write_file(&folder.join(VECTORS), |file| {
            for (part, number) in &order {
                file.write_all(bytes_of(part.vector(*number)))?;
            }
            Ok(())
        })?;
        let bytes = order.len() * dimensions * size_of::<f32>();
        if bytes > limits.vectors_plain_bytes_max {
            let made = new_graph(dimensions)?;
            made.reserve_capacity_and_threads(order.len(), 1).map_err(graph)?;
            for (key, (part, number)) in order.iter().enumerate() {
                made.add(key as u64, part.vector(*number)).map_err(graph)?;
            }
            let path = folder.join(GRAPH);
            made.save(path_text(&path)?).map_err(graph)?;
            fs::File::open(&path)?.sync_all()?;
        }
        fs::File::open(folder)?.sync_all()?;
        VectorPart::open(folder, dimensions, filter_count, limits)
    }

    /// Reads a part that was written.
    pub fn open(
        folder: &Path,
        dimensions: usize,
        filter_count: usize,
        limits: &SearchLimits,
    ) -> Result<VectorPart> {
        let bytes = fs::read(folder.join(DOCUMENTS))?;
        let mut rest = &bytes[..];
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(damaged(format!("version {version} of a part of vectors is not known")));
        }
        let mut length = || Ok::<_, crate::error::Error>(u64::from_le_bytes(take(&mut rest)?) as usize);
        let (known_dimensions, known_filters, count) = (length()?, length()?, length()?);
        if (known_dimensions, known_filters) != (dimensions, filter_count) {
            return Err(damaged("a part of vectors is of another index"));
        }
        let (mut ids, mut from, mut filters) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            ids.push(take(&mut rest)?);
            from.push(Timestamp::new(u64::from_le_bytes(take(&mut rest)?)).unwrap_or_default());
            for _ in 0..filter_count {
                filters.push(take(&mut rest)?);
            }
        }
        let file = fs::File::open(folder.join(VECTORS))?;
        // SAFETY: the file is in the service's own folder; nobody changes it once it is written, and when it is removed the mapping stays.
        let vectors = unsafe { Mmap::map(&file)? };
        if vectors.len() != count * dimensions * size_of::<f32>() {
            return Err(damaged("a part of vectors is cut off"));
        }
        let path = folder.join(GRAPH);
        let graph = match path.exists() {
            false => None,
            true => {
                let read = new_graph(dimensions)?;
                read.load(path_text(&path)?).map_err(graph)?;
                // A search beyond the threads that it was told of fails.
                read.reserve_capacity_and_threads(count, limits.searches_max).map_err(graph)?;
                read.change_expansion_search(limits.vectors_expansion);
                Some(read)
            }
        };
        let vectors = Vectors::File(vectors);
        Ok(VectorPart { dimensions, filter_count, ids, from, filters, vectors, graph })
    }

    /// The documents that pass any of the filters; `None` is all.
    fn passing(&self, any_of: &[TextFilter]) -> Option<RoaringBitmap> {
        if any_of.is_empty() {
            return None;
        }
        let passes = |number: &u32| {
            let values = self.filters_of(*number as usize);
            any_of.iter().any(|filter| values.get(usize::from(filter.field)) == Some(&filter.value))
        };
        RoaringBitmap::from_sorted_iter((0..self.len()).filter(passes)).ok()
    }

    /// Documents near to `vector`, not dead, that pass any of the filters: the `count` nearest are among them. Sees each once.
    pub fn search(
        &self,
        vector: &[f32],
        any_of: &[TextFilter],
        dead: &RoaringBitmap,
        count: usize,
        limits: &SearchLimits,
        see: &mut impl FnMut(Found),
    ) -> Result<()> {
        let passing = self.passing(any_of);
        let passing_count = passing.as_ref().map_or(u64::from(self.len()), RoaringBitmap::len);
        let passing_bytes = passing_count as usize * self.dimensions * size_of::<f32>();
        let most_pass = passing_count * 100
            >= u64::from(self.len()) * limits.vectors_graph_percent_min as u64
            && passing_bytes > limits.vectors_plain_bytes_max;
        let mut found = |number: u32| {
            see(Found { score: product(vector, self.vector(number)), id: self.id(number) });
        };
        if let (Some(graph_of), true) = (&self.graph, most_pass) {
            let candidates = count.saturating_mul(4).max(limits.vectors_candidates_min);
            let is_wanted = |key: u64| match u32::try_from(key) {
                Ok(number) => {
                    number < self.len()
                        && !dead.contains(number)
                        && passing.as_ref().is_none_or(|passing| passing.contains(number))
                }
                Err(_) => false,
            };
            let matches = match dead.is_empty() && passing.is_none() {
                true => graph_of.search(vector, candidates),
                false => graph_of.filtered_search(vector, candidates, is_wanted),
            };
            matches
                .map_err(graph)?
                .keys
                .into_iter()
                .filter(|key| is_wanted(*key))
                .for_each(|key| found(key as u32));
            return Ok(());
        }
        match passing {
            Some(passing) => passing.iter().filter(|number| !dead.contains(*number)).for_each(found),
            None if dead.is_empty() => (0..self.len()).for_each(found),
            None => (0..self.len()).filter(|number| !dead.contains(*number)).for_each(found),
        }
        Ok(())
    }
}

/// The sum of the products of their numbers.
pub(super) fn product(one: &[f32], other: &[f32]) -> f32 {
    f32::dot(one, other).expect("vectors of one index have the same dimensions") as f32
}

fn new_graph(dimensions: usize) -> Result<Graph> {
    let options = IndexOptions {
        dimensions,
        metric: MetricKind::Cos,
        quantization: ScalarKind::BF16,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION_ADD,
        expansion_search: 0,
        multi: false,
    };
    Graph::new(&options).map_err(graph)
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| damaged("the data folder's name is not UTF-8"))
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk().ok_or_else(|| damaged("a list of documents is cut off"))?;
    *rest = after;
    Ok(*bytes)
}

fn bytes_of(numbers: &[f32]) -> &[u8] {
    // SAFETY: any number is four bytes, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

fn numbers_of(bytes: &[u8]) -> &[f32] {
    // SAFETY: any four bytes are a number.
    let (before, numbers, _) = unsafe { bytes.align_to::<f32>() };
    assert!(before.is_empty(), "a mapping begins at a page");
    numbers
}

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn a_product_is_the_sum_of_the_products_for_every_number_of_dimensions() {
        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let dimensions = (2..=70).chain([127, 128, 129, 255, 768, 1_536, 1_537, 3_072, 4_095, 4_096]);
        for dimensions in dimensions {
            let one = vector(&mut random, dimensions);
            let other = vector(&mut random, dimensions);
            let expected: f64 =
                one.iter().zip(&other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
            let lengths: f64 =
                one.iter().zip(&other).map(|(one, other)| f64::from((one * other).abs())).sum();
            let found = product(&one, &other);
            assert!(
                (f64::from(found) - expected).abs() <= 1e-6 * lengths.max(1.0),
                "{dimensions}: {found} {expected}"
            );
        }
    }

    fn vector(random: &mut impl Rng, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| random.random_range(-1.0..1.0)).collect()
    }
}

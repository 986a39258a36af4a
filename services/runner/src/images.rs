//! The images of deployed code: built once, kept while there is room, used for as long as a call needs them.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::limits::FunctionLimits;
use code::{ImageKey, ImageRecipe, expand_seed, is_shared_chunk};
use contract::{BlobStore, DeploymentRef, Error};
use isolate::{Engine, Image, ImageSource, ImportError, ImportLimits, ModuleSource, UnsetVariables};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use transaction::Catalog;
use value::ComponentId;

use crate::{
    calls::{ImageNumber, NumberedImage},
    metrics::Metrics,
};

/// What the engine needs to evaluate what a recipe names.
pub(crate) fn source_of(
    recipe: &ImageRecipe,
    sources: Vec<(String, String)>,
    limits: ImportLimits,
) -> ImageSource {
    let modules = sources
        .into_iter()
        .map(|(path, source)| ModuleSource { is_entry_point: !is_shared_chunk(&path), path, source })
        .collect();
    ImageSource {
        modules,
        environment: recipe.environment.clone(),
        unset_variables: UnsetVariables::Undefined,
        import_seed: expand_seed(recipe.import_seed),
        import_time_ms: recipe.import_time_ms,
        limits,
    }
}

/// Why there is no image: the code can't be evaluated any more, which its calls are told.
type Broken = Arc<ImportError>;
pub(crate) type Built = Result<NumberedImage, Broken>;

/// What code that can't be evaluated counts, so that it does not stay for ever.
const BROKEN_BYTES: u64 = 1 << 20;

/// The images of all deployments of this process.
pub(crate) struct Images {
    engine: Engine,
    blobs: Arc<dyn BlobStore>,
    metrics: Arc<Metrics>,
    next_number: AtomicU64,
    import_limits: ImportLimits,
    kept: Mutex<Kept>,
}

struct Kept {
    /// Filled by whoever asks first; the others wait for it.
    images: LruCache<ImageKey, Arc<OnceCell<Built>>>,
    bytes: u64,
    bytes_max: u64,
    sizes: HashMap<ImageKey, u64>,
    /// The image of a catalog, by the catalog's address. It names the catalog as long as the weak reference keeps it from
    /// being given to another; the catalog itself may go.
    by_catalog: LruCache<usize, (Weak<Catalog>, ImageKey)>,
}

impl Images {
    pub(crate) fn new(
        engine: Engine,
        blobs: Arc<dyn BlobStore>,
        metrics: Arc<Metrics>,
        limits: &FunctionLimits,
    ) -> Images {
        let catalogs = NonZeroUsize::new(limits.image_names_max).unwrap_or(NonZeroUsize::MIN);
        Images {
            engine,
            blobs,
            metrics,
            next_number: AtomicU64::new(0),
            import_limits: limits.import(),
            kept: Mutex::new(Kept {
                images: LruCache::unbounded(),
                bytes: 0,
                bytes_max: limits.images_bytes_max as u64,
                sizes: HashMap::new(),
                by_catalog: LruCache::new(catalogs),
            }),
        }
    }

    /// The image of a catalog's code. `None` if there is no code.
    pub(crate) async fn of_catalog(
        &self,
        deployment: DeploymentRef,
        component: ComponentId,
        catalog: &Arc<Catalog>,
        platform: &BTreeMap<String, String>,
    ) -> Result<Option<Built>, Error> {
        let address = Arc::as_ptr(catalog) as usize;
        let ready = {
            let mut kept = self.kept.lock();
            let key = kept.by_catalog.get(&address).map(|(_, key)| *key);
            key.and_then(|key| kept.images.get(&key)).and_then(|cell| cell.get().cloned())
        };
        if let Some(built) = ready {
            return Ok(Some(built));
        }
        let Some(recipe) = ImageRecipe::of(deployment, component, catalog, platform) else { return Ok(None) };
        let key = recipe.key();
        self.kept.lock().by_catalog.put(address, (Arc::downgrade(catalog), key));
        let build = || async {
            let sources = self.fetch_sources(&recipe).await?;
            self.build(source_of(&recipe, sources, self.import_limits)).await
        };
        self.get(key, build).await.map(Some)
    }

    /// An image that was built already, under the key that a later call will ask for.
    pub(crate) async fn keep(&self, key: ImageKey, image: Arc<Image>) -> Result<(), Error> {
        self.get(key, || async { Ok(Ok(image)) }).await.map(|_| ())
    }

    async fn get<B>(&self, key: ImageKey, build: impl FnOnce() -> B) -> Result<Built, Error>
    where
        B: Future<Output = Result<Result<Arc<Image>, ImportError>, Error>>,
    {
        let cell = Arc::clone(self.kept.lock().images.get_or_insert(key, Arc::default));
        let built = cell
            .get_or_try_init(|| async {
                let built = match build().await? {
                    Ok(image) => {
                        self.metrics.images_built.increment();
                        let number = ImageNumber(self.next_number.fetch_add(1, Ordering::Relaxed));
                        Ok(NumberedImage { number, image })
                    }
                    // The host's trouble may be over at the next call; the code's won't.
                    Err(ImportError::Internal(message)) => return Err(Error::internal(message)),
                    Err(error) => Err(Arc::new(error)),
                };
                let bytes = built.as_ref().map_or(BROKEN_BYTES, |built| built.image.resident_bytes());
                self.kept.lock().add(key, bytes);
                Ok(built)
            })
            .await;
        if built.is_err() {
            let mut kept = self.kept.lock();
            if kept.images.peek(&key).is_some_and(|kept| Arc::ptr_eq(kept, &cell) && !kept.initialized()) {
                kept.images.pop(&key);
            }
        }
        built.cloned()
    }

    /// Evaluates code on a thread of its own.
    pub(crate) async fn build(&self, source: ImageSource) -> Result<Result<Arc<Image>, ImportError>, Error> {
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || engine.build_image(source))
            .await
            .map_err(|error| Error::internal(format!("building an image: {error}")))
    }

    async fn fetch_sources(&self, recipe: &ImageRecipe) -> Result<Vec<(String, String)>, Error> {
        let mut sources = Vec::with_capacity(recipe.modules.len());
        for (path, digest) in &recipe.modules {
            let bytes = self.blobs.get(*digest).await?;
            let bytes =
                bytes.ok_or_else(|| Error::internal(format!("the source of module {path} is missing")))?;
            let source = String::from_utf8(bytes.into())
                .map_err(|_| Error::internal(format!("the source of module {path} is not UTF-8")))?;
            sources.push((path.clone(), source));
        }
        Ok(sources)
    }
}

impl Kept {
    /// Counts an image that is in the map, and lets the least recently used ones go; those that run keep theirs.
    fn add(&mut self, key: ImageKey, bytes: u64) {
        if self.sizes.insert(key, bytes).is_none() {
            self.bytes += bytes;
        }
        while self.bytes > self.bytes_max && self.images.len() > 1 {
            let Some((oldest, _)) = self.images.pop_lru() else { break };
            if let Some(bytes) = self.sizes.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
    }
}

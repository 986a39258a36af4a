//! The images of deployed code: built once, kept until newer code replaces them, used for as long as a call needs them.
//!
//! Of each component one image is kept: that of the newest moment that was asked for, and beside it that of code which
//! a push has evaluated and not deployed yet. Instances of one definition that see the same environment share theirs.
//! What was replaced is known as long as a call holds it; who asks for an older moment after that has it built again.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::limits::FunctionLimits;
use code::{ImageKey, ImageRecipe, expand_seed, is_shared_chunk};
use contract::{BlobStore, Deployment, DeploymentRef, Error, Timestamp};
use isolate::{Engine, Image, ImageSource, ImportError, ImportLimits, ModuleSource, UnsetVariables};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use transaction::{Catalog, DeploymentCatalog};
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
    native_values: bool,
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
        native_values,
        limits,
    }
}

/// Why there is no image: the code can't be evaluated any more, which its calls are told.
type Broken = Arc<ImportError>;
pub(crate) type Built = Result<NumberedImage, Broken>;

/// What code that can't be evaluated counts, so that it does not stay for ever.
const BROKEN_BYTES: u64 = 1 << 20;

/// Whose code it is.
type Place = (DeploymentRef, ComponentId);

/// The images of all deployments of this process.
pub(crate) struct Images {
    engine: Engine,
    blobs: Arc<dyn BlobStore>,
    metrics: Arc<Metrics>,
    next_number: AtomicU64,
    import_limits: ImportLimits,
    native_values: bool,
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
    /// The newest image of each place, with the newest version of the deployment's catalog that has it.
    newest: HashMap<Place, (Timestamp, ImageKey)>,
    /// What was evaluated last for each place, until it is deployed.
    prepared: HashMap<Place, ImageKey>,
    /// Those that are not kept any more, as long as somebody else holds them.
    replaced: HashMap<ImageKey, Weak<Image>>,
}

impl Images {
    pub(crate) fn new(
        engine: Engine,
        blobs: Arc<dyn BlobStore>,
        metrics: Arc<Metrics>,
        limits: &FunctionLimits,
        native_values: bool,
    ) -> Images {
        let catalogs = NonZeroUsize::new(limits.image_names_max).unwrap_or(NonZeroUsize::MIN);
        Images {
            engine,
            blobs,
            metrics,
            next_number: AtomicU64::new(0),
            import_limits: limits.import(),
            native_values,
            kept: Mutex::new(Kept {
                images: LruCache::unbounded(),
                bytes: 0,
                bytes_max: limits.images_bytes_max as u64,
                sizes: HashMap::new(),
                by_catalog: LruCache::new(catalogs),
                newest: HashMap::new(),
                prepared: HashMap::new(),
                replaced: HashMap::new(),
            }),
        }
    }

    /// What the images take that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.lock().bytes
    }

    /// The image of a component's code. `None` if there is no code.
    pub(crate) async fn of_component(
        &self,
        component: ComponentId,
        catalogs: &DeploymentCatalog,
        known_as: &Deployment,
    ) -> Result<Option<Built>, Error> {
        let (deployment, version) = (known_as.reference, catalogs.version());
        let catalog = catalogs.of(component);
        if let Some(built) = self.ready(catalog) {
            return Ok(Some(built));
        }
        let address = Arc::as_ptr(catalog) as usize;
        let platform = known_as.platform_variables_below(&catalogs.site_path(component));
        let Some(recipe) = ImageRecipe::of(deployment, catalog, &platform) else {
            return Ok(None);
        };
        let key = recipe.key();
        {
            let mut kept = self.kept.lock();
            kept.by_catalog.put(address, (Arc::downgrade(catalog), key));
            kept.serve((deployment, component), version, key);
        }
        let build = || async {
            let held = self.kept.lock().replaced.get(&key).and_then(Weak::upgrade);
            if let Some(image) = held {
                return Ok(Ok(image));
            }
            let sources = self.fetch_sources(&recipe).await?;
            let built =
                self.build(source_of(&recipe, sources, self.import_limits, self.native_values)).await?;
            self.metrics.images_built.increment();
            Ok(built)
        };
        self.get(key, build).await.map(Some)
    }

    /// The image of a catalog's code, if it was built already.
    pub(crate) fn ready(&self, catalog: &Arc<Catalog>) -> Option<Built> {
        let address = Arc::as_ptr(catalog) as usize;
        let mut kept = self.kept.lock();
        let key = kept.by_catalog.get(&address).map(|(_, key)| *key);
        key.and_then(|key| kept.images.get(&key)).and_then(|cell| cell.get().cloned())
    }

    /// An image that a push has built already, under the key that calls will ask for once it is deployed.
    pub(crate) async fn prepare(&self, place: Place, key: ImageKey, image: Arc<Image>) -> Result<(), Error> {
        self.kept.lock().prepare(place, key);
        self.metrics.images_built.increment();
        self.get(key, || async { Ok(Ok(image)) }).await.map(|_| ())
    }

    /// Lets go of the images of a deployment that is served no more.
    pub(crate) fn forget(&self, deployment: DeploymentRef) {
        let mut kept = self.kept.lock();
        let is_of = |place: &Place| place.0 == deployment;
        let newest: Vec<(Place, ImageKey)> =
            kept.newest.extract_if(|place, _| is_of(place)).map(|(place, (_, key))| (place, key)).collect();
        let prepared: Vec<(Place, ImageKey)> = kept.prepared.extract_if(|place, _| is_of(place)).collect();
        for (_, key) in newest.into_iter().chain(prepared) {
            kept.drop_unless_wanted(key);
        }
    }

    /// An image for one call, which nobody else will ask for.
    pub(crate) fn for_one_call(&self, image: Arc<Image>) -> NumberedImage {
        let image = self.number(image);
        image.replace();
        image
    }

    fn number(&self, image: Arc<Image>) -> NumberedImage {
        let number = ImageNumber(self.next_number.fetch_add(1, Ordering::Relaxed));
        NumberedImage::new(number, image, Arc::clone(&self.metrics))
    }

    async fn get<B>(&self, key: ImageKey, build: impl FnOnce() -> B) -> Result<Built, Error>
    where
        B: Future<Output = Result<Result<Arc<Image>, ImportError>, Error>>,
    {
        let cell = Arc::clone(self.kept.lock().images.get_or_insert(key, Arc::default));
        let built = cell
            .get_or_try_init(|| async {
                let built = match build().await? {
                    Ok(image) => Ok(self.number(image)),
                    // The host's trouble may be over at the next call; the code's won't.
                    Err(ImportError::Internal(message)) => return Err(Error::internal(message)),
                    Err(error) => Err(Arc::new(error)),
                };
                self.kept.lock().add(key, &cell, &built);
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
    /// Code of this version of the deployment's catalog is asked for. If it is the newest, what it replaces goes.
    fn serve(&mut self, place: Place, version: Timestamp, key: ImageKey) {
        match self.newest.get_mut(&place) {
            Some((newest, known)) if *known == key => *newest = version.max(*newest),
            Some((newest, _)) if version < *newest => {}
            _ => {
                if self.prepared.get(&place) == Some(&key) {
                    self.prepared.remove(&place);
                }
                if let Some((_, older)) = self.newest.insert(place, (version, key)) {
                    self.drop_unless_wanted(older);
                }
            }
        }
    }

    fn prepare(&mut self, place: Place, key: ImageKey) {
        if let Some(older) = self.prepared.insert(place, key) {
            self.drop_unless_wanted(older);
        }
    }

    /// Counts an image that has come into its cell, and lets the least recently used ones go; those that run keep theirs.
    fn add(&mut self, key: ImageKey, cell: &Arc<OnceCell<Built>>, built: &Built) {
        let mut is_kept = self.images.peek(&key).is_some_and(|kept| Arc::ptr_eq(kept, cell));
        if is_kept {
            let bytes = built.as_ref().map_or(BROKEN_BYTES, |built| built.image.resident_bytes());
            self.bytes += bytes;
            let other = self.sizes.insert(key, bytes);
            assert!(other.is_none(), "an image is counted once");
            self.replaced.remove(&key);
            self.drop_unless_wanted(key);
            is_kept = self.sizes.contains_key(&key);
        }
        // If it was replaced while it was built, it is for those who wait for it, and nobody else.
        if !is_kept && let Ok(built) = built {
            self.forget(key, built);
        }
        while self.bytes > self.bytes_max && self.images.len() > 1 {
            let Some((oldest, cell)) = self.images.pop_lru() else { break };
            self.bytes -= self.sizes.remove(&oldest).unwrap_or(0);
            if let Some(Ok(built)) = cell.get() {
                self.forget(oldest, built);
            }
        }
        assert_eq!(self.sizes.is_empty(), self.bytes == 0, "what is kept, and only that, is counted");
    }

    fn drop_unless_wanted(&mut self, key: ImageKey) {
        let mut newest = self.newest.values().map(|(_, newest)| newest);
        if newest.any(|newest| *newest == key) || self.prepared.values().any(|prepared| *prepared == key) {
            return;
        }
        let Some(cell) = self.images.pop(&key) else { return };
        self.bytes -= self.sizes.remove(&key).unwrap_or(0);
        if let Some(Ok(built)) = cell.get() {
            self.forget(key, built);
        }
    }

    /// Tells those who hold the image that nobody will ask for it, and remembers it for as long as they do.
    fn forget(&mut self, key: ImageKey, built: &NumberedImage) {
        built.replace();
        self.replaced.retain(|_, image| image.strong_count() > 0);
        self.replaced.insert(key, Arc::downgrade(&built.image));
    }
}

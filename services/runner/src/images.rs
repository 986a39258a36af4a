//! The images of deployed code: built once, kept while there is room, used for as long as a call needs them.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use contract::{BlobDigest, BlobStore, DeploymentRef, Error};
use isolate::{Engine, Image, ImageSource, ImportError, ImportLimits, ModuleSource, UnsetVariables};
use limits::FunctionLimits;
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use transaction::{Catalog, ModuleEnvironment};
use value::ComponentId;

use crate::{
    calls::{ImageNumber, NumberedImage},
    metrics::Metrics,
};

/// The module that is evaluated at a push only, because it may refer to variables that are not set.
pub(crate) const AUTH_CONFIG_MODULE: &str = "auth.config.js";

/// Everything that the memory of evaluated code depends on, the engine aside: a process has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ImageRecipe {
    pub deployment: DeploymentRef,
    pub component: ComponentId,
    /// By path.
    pub modules: BTreeMap<String, BlobDigest>,
    /// What `process.env` holds.
    pub environment: BTreeMap<String, String>,
    pub import_seed: u64,
    /// Milliseconds since the Unix epoch.
    pub import_time_ms: u64,
}

/// The name of an image: a digest of its recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ImageKey([u8; 32]);

impl ImageRecipe {
    /// What the catalog's code is made of; `None` if there is none. `platform` are the variables that every deployment
    /// has.
    pub(crate) fn of(
        deployment: DeploymentRef,
        component: ComponentId,
        catalog: &Catalog,
        platform: &BTreeMap<String, String>,
    ) -> Option<ImageRecipe> {
        let config = &catalog.udf_config()?.row;
        let modules: BTreeMap<String, BlobDigest> = catalog
            .modules()
            .filter(|module| module.row.environment == ModuleEnvironment::Isolate)
            .filter(|module| module.row.path != AUTH_CONFIG_MODULE)
            .map(|module| (module.row.path.clone(), module.row.source))
            .collect();
        let mut environment: BTreeMap<String, String> = catalog
            .environment_variables()
            .map(|variable| (variable.row.name.clone(), variable.row.value.clone()))
            .collect();
        environment.extend(platform.clone());
        Some(ImageRecipe {
            deployment,
            component,
            modules,
            environment,
            import_seed: config.import_seed,
            import_time_ms: config.import_time as u64,
        })
    }

    pub(crate) fn key(&self) -> ImageKey {
        let mut hash = Sha256::new();
        let mut text = |text: &[u8]| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        text(&self.deployment.group.0.to_le_bytes());
        text(&self.deployment.deployment.0.to_le_bytes());
        text(self.component.to_string().as_bytes());
        text(&(self.modules.len() as u64).to_le_bytes());
        for (path, digest) in &self.modules {
            text(path.as_bytes());
            text(&digest.0);
        }
        for (name, value) in &self.environment {
            text(name.as_bytes());
            text(value.as_bytes());
        }
        text(&self.import_seed.to_le_bytes());
        text(&self.import_time_ms.to_le_bytes());
        ImageKey(hash.finalize().into())
    }

    /// What the engine needs to evaluate it.
    pub(crate) fn to_source(&self, sources: Vec<(String, String)>, limits: ImportLimits) -> ImageSource {
        let modules = sources
            .into_iter()
            .map(|(path, source)| ModuleSource { is_entry_point: is_entry_point(&path), path, source })
            .collect();
        ImageSource {
            modules,
            environment: self.environment.clone(),
            unset_variables: UnsetVariables::Undefined,
            import_seed: expand_seed(self.import_seed),
            import_time_ms: self.import_time_ms,
            limits,
        }
    }
}

/// Whether functions of the module can be called; the others are only imported.
pub(crate) fn is_entry_point(path: &str) -> bool {
    !path.starts_with("_deps/")
}

/// The engine's seed for a deployment's.
pub(crate) fn expand_seed(seed: u64) -> [u8; 32] {
    Sha256::digest(seed.to_le_bytes()).into()
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
    /// The image of a catalog, by the catalog's address, which is its name as long as it is held here.
    by_catalog: LruCache<usize, (Arc<Catalog>, ImageKey)>,
}

impl Images {
    pub(crate) fn new(
        engine: Engine,
        blobs: Arc<dyn BlobStore>,
        metrics: Arc<Metrics>,
        limits: &FunctionLimits,
    ) -> Images {
        let catalogs = NonZeroUsize::new(limits.catalogs_max).unwrap_or(NonZeroUsize::MIN);
        Images {
            engine,
            blobs,
            metrics,
            next_number: AtomicU64::new(0),
            import_limits: ImportLimits::from(limits),
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
        self.kept.lock().by_catalog.put(address, (Arc::clone(catalog), key));
        let build = || async {
            let sources = self.fetch_sources(&recipe).await?;
            self.build(recipe.to_source(sources, self.import_limits)).await
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

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    fn recipe() -> ImageRecipe {
        ImageRecipe {
            deployment: DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) },
            component: ComponentId::ROOT,
            modules: BTreeMap::from([("a.js".to_owned(), BlobDigest([1; 32]))]),
            environment: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            import_seed: 3,
            import_time_ms: 4,
        }
    }

    #[test]
    fn everything_that_an_image_is_made_of_is_in_its_key() {
        let changes: [fn(&mut ImageRecipe); 8] = [
            |recipe| recipe.component = value::InternalId::from_bytes([1; 16]).into(),
            |recipe| recipe.deployment.deployment = DeploymentId(3),
            |recipe| {
                recipe.modules.insert("b.js".to_owned(), BlobDigest([1; 32]));
            },
            |recipe| {
                recipe.modules.insert("a.js".to_owned(), BlobDigest([2; 32]));
            },
            |recipe| {
                recipe.environment.insert("A".to_owned(), "2".to_owned());
            },
            |recipe| {
                recipe.environment.insert("B".to_owned(), "1".to_owned());
            },
            |recipe| recipe.import_seed = 9,
            |recipe| recipe.import_time_ms = 9,
        ];
        for change in changes {
            let mut changed = recipe();
            change(&mut changed);
            assert_ne!(changed.key(), recipe().key(), "{changed:?}");
        }
        assert_eq!(recipe().key(), recipe().key());
    }

    #[test]
    fn chunks_can_not_be_called() {
        assert!(is_entry_point("messages.js") && is_entry_point("dir/_deps.js"));
        assert!(!is_entry_point("_deps/ABC.js"));
    }
}

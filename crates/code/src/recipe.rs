//! What an image is made of.

use std::collections::BTreeMap;

use contract::{BlobDigest, DeploymentRef};
use sha2::{Digest, Sha256};
use transaction::{Catalog, ModuleEnvironment};

use crate::{hashes::Fields, is_in_image};

/// Everything that the memory of evaluated code depends on, the engine aside: a process has one. Instances of one definition
/// that see the same environment have one recipe, and so one image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRecipe {
    pub deployment: DeploymentRef,
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
pub struct ImageKey([u8; 32]);

impl ImageRecipe {
    /// What the code of a component's catalog is made of; `None` if there is none. `platform` are the variables that every
    /// deployment has.
    pub fn of(
        deployment: DeploymentRef,
        catalog: &Catalog,
        platform: &BTreeMap<String, String>,
    ) -> Option<ImageRecipe> {
        let config = &catalog.udf_config()?.row;
        let modules: BTreeMap<String, BlobDigest> = catalog
            .modules()
            .filter(|module| module.row.environment == ModuleEnvironment::Isolate)
            .filter(|module| is_in_image(&module.row.path))
            .map(|module| (module.row.path.clone(), module.row.source))
            .collect();
        let mut environment: BTreeMap<String, String> = catalog
            .environment_variables()
            .map(|variable| (variable.row.name.clone(), variable.row.value.clone()))
            .collect();
        environment.extend(platform.clone());
        Some(ImageRecipe {
            deployment,
            modules,
            environment,
            import_seed: config.import_seed,
            import_time_ms: config.import_time_ms,
        })
    }

    /// Its name.
    pub fn key(&self) -> ImageKey {
        let mut hash = Fields::new();
        hash.add(&self.deployment.group.0.to_le_bytes());
        hash.add(&self.deployment.deployment.0.to_le_bytes());
        hash.add(&(self.modules.len() as u64).to_le_bytes());
        for (path, digest) in &self.modules {
            hash.add(path.as_bytes());
            hash.add_digest(digest);
        }
        for (name, value) in &self.environment {
            hash.add(name.as_bytes());
            hash.add(value.as_bytes());
        }
        hash.add(&self.import_seed.to_le_bytes());
        hash.add(&self.import_time_ms.to_le_bytes());
        ImageKey(hash.finish())
    }
}

/// The engine's seed for a deployment's.
pub fn expand_seed(seed: u64) -> [u8; 32] {
    Sha256::digest(seed.to_le_bytes()).into()
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    fn recipe() -> ImageRecipe {
        ImageRecipe {
            deployment: DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) },
            modules: BTreeMap::from([("a.js".to_owned(), BlobDigest([1; 32]))]),
            environment: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            import_seed: 3,
            import_time_ms: 4,
        }
    }

    #[test]
    fn everything_that_an_image_is_made_of_is_in_its_key() {
        let changes: [fn(&mut ImageRecipe); 7] = [
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
}

//! Instances of components: their ids, and which there are.

use std::{cmp::Reverse, sync::Arc};

use sha2::{Digest, Sha256};
use value::{ComponentId, ComponentPath, DocumentId, InternalId, Value};

use crate::{
    DeploymentCatalog, DueRow, Error, Result, ScheduledJobRow, SchemaRow, Stored, SystemTable, TableState,
    Transaction, fact::Fact, schedules::due_id, system_tables::ComponentRow,
};

/// The id of the instance at a path. It follows from the path alone, so that what names an instance (function handles in
/// documents, files in addresses) still names it after the instance was unmounted and mounted again, or its data has come to
/// another deployment of the same app.
pub fn component_id(path: &ComponentPath) -> ComponentId {
    if path.is_root() {
        return ComponentId::ROOT;
    }
    let mut hash = Sha256::new();
    hash.update(b"tidemark component\0");
    hash.update(path.as_str());
    let hash: [u8; 32] = hash.finalize().into();
    InternalId::from_bytes(*hash.first_chunk().expect("16 of 32 bytes")).into()
}

/// The module whose default export answers requests.
const ROUTER_MODULE: &str = "http.js";

impl DeploymentCatalog {
    /// The instance with this id, mounted or not; `None` for the app itself.
    pub fn instance(&self, id: ComponentId) -> Option<&Arc<Stored<ComponentRow>>> {
        self.instances.get(&id)
    }

    /// All instances, mounted or not, in no order that says anything.
    pub fn instances(&self) -> impl Iterator<Item = (ComponentId, &Arc<Stored<ComponentRow>>)> {
        self.instances.iter().map(|(id, stored)| (*id, stored))
    }

    /// Where each component is that has tables, by path: those too that are not mounted any more, whose data is kept.
    pub fn component_paths(&self) -> Vec<(ComponentPath, ComponentId)> {
        let mut paths: Vec<_> = self.instances().map(|(id, stored)| (stored.row.path.clone(), id)).collect();
        paths.push((ComponentPath::root(), ComponentId::ROOT));
        paths.sort();
        paths
    }

    /// Below which path of the site a component answers requests, with a slash at both ends; `None` if it answers none.
    pub fn http_prefix(&self, id: ComponentId) -> Option<String> {
        if id.is_root() {
            return Some("/".to_owned());
        }
        let row = &self.instance(id)?.row;
        let (parent, _) = row.path.parent()?;
        let above = self.http_prefix(component_id(&parent))?;
        Some(format!("{}{}", above.trim_end_matches('/'), row.http_prefix.as_deref()?))
    }

    /// The component whose router answers requests for a path of the site, and the path as that router knows it; `None` if none
    /// does. The longest prefix counts, and of those at the same place the outermost component: the app before those that it mounts,
    /// and each before those within it. Of those that lie equally deep it is the first by path.
    pub fn routed(&self, path: &str) -> Option<(ComponentId, String)> {
        let own = self.of(ComponentId::ROOT).udf_config().and_then(|config| config.row.http_prefix.clone());
        let app = (ComponentId::ROOT, own.unwrap_or_else(|| "/".to_owned()));
        let mounted = self.instances().filter(|(_, stored)| stored.row.is_mounted);
        let mounted = mounted.filter_map(|(id, _)| Some((id, self.http_prefix(id)?)));
        let routers = mounted.chain([app]).filter(|(id, _)| self.of(*id).module(ROUTER_MODULE).is_some());
        let route = |(id, prefix): (ComponentId, String)| {
            let route = match path.strip_prefix(prefix.trim_end_matches('/')) {
                Some("") => "/".to_owned(),
                Some(route) if route.starts_with('/') => route.to_owned(),
                _ => return None,
            };
            let path = self.component_path(id)?;
            let depth = path.as_str().split_terminator('/').count();
            Some(((prefix.len(), Reverse((depth, path))), id, route))
        };
        let first = routers.filter_map(route).max_by(|(one, ..), (other, ..)| one.cmp(other));
        first.map(|(_, id, route)| (id, route))
    }

    /// The same without the slash at the end, for addresses: empty for a component that answers none.
    pub fn site_path(&self, id: ComponentId) -> String {
        self.http_prefix(id).unwrap_or_default().trim_end_matches('/').to_owned()
    }

    /// Where a component is, mounted or not; `None` if there never was such a one.
    pub fn component_path(&self, id: ComponentId) -> Option<ComponentPath> {
        match id.is_root() {
            true => Some(ComponentPath::root()),
            false => self.instance(id).map(|stored| stored.row.path.clone()),
        }
    }
}

impl Transaction {
    /// The mounted instance of a component at this path; `None` if there is none.
    pub fn component_at(&mut self, path: &ComponentPath) -> Option<ComponentId> {
        let id = component_id(path);
        self.is_mounted(id).then_some(id)
    }

    /// The mounted instance with this name within the running function's component.
    pub fn child_component(&mut self, name: &str) -> Result<ComponentId> {
        let missing = |at: &str| {
            let place = if at.is_empty() { "the app".to_owned() } else { format!("the component `{at}`") };
            Error::user("ComponentNotFound", format!("there is no component `{name}` in {place}"))
        };
        let parent = self.catalog.component_path(self.component()).unwrap_or_default();
        let path = parent.child(name).map_err(|_| missing(parent.as_str()))?;
        self.component_at(&path).ok_or_else(|| missing(parent.as_str()))
    }

    /// Fails unless the component is one that is mounted (`ComponentNotFound`, `UnmountedComponent`).
    pub fn check_mounted(&mut self, id: ComponentId) -> Result<()> {
        if self.is_mounted(id) {
            return Ok(());
        }
        Err(match self.catalog.instance(id) {
            Some(stored) => {
                let message = format!("the component `{}` is not mounted any more", stored.row.path);
                Error::user("UnmountedComponent", message)
            }
            None => Error::user("ComponentNotFound", "there is no such component"),
        })
    }

    /// Looks at another component as the running function looks at its own.
    pub fn looking_into<T>(&mut self, component: ComponentId, look: impl FnOnce(&mut Transaction) -> T) -> T {
        let own = self.set_component(component);
        let seen = look(self);
        self.set_component(own);
        seen
    }

    fn is_mounted(&mut self, id: ComponentId) -> bool {
        if id.is_root() {
            return true;
        }
        self.facts.rely_on(Fact::Component(id));
        self.catalog.instance(id).is_some_and(|stored| stored.row.is_mounted)
    }

    /// All instances, mounted or not, by their paths.
    pub fn instances(&mut self) -> Vec<(ComponentId, Arc<Stored<ComponentRow>>)> {
        self.facts.rely_on(Fact::Components);
        let mut instances: Vec<_> =
            self.catalog.instances().map(|(id, stored)| (id, Arc::clone(stored))).collect();
        instances.sort_by(|(_, one), (_, two)| one.row.path.cmp(&two.row.path));
        instances
    }

    /// Inserts the row of an instance that was never there.
    pub async fn insert_instance(&mut self, row: &ComponentRow) -> Result<ComponentId> {
        let id = component_id(&row.path);
        let internal = id.internal_id().ok_or_else(|| Error::stored("the app itself has no row"))?;
        let beside = DocumentId::new(SystemTable::Components.number(), internal);
        self.insert_row_beside(beside, row).await?;
        Ok(id)
    }

    /// Deletes an instance that is not mounted any more, with its jobs, its files and its tables; their documents go later
    /// ([`Transaction::erase_dropped`]). First go jobs, then files. Of more than `rows_max` of either only so many go, and nothing that
    /// comes later: `false` comes back, and it has to be called again. Errors: `ComponentNotFound`, `ComponentMustBeUnmounted`.
    pub async fn delete_instance(&mut self, id: ComponentId, rows_max: usize) -> Result<bool> {
        if self.is_mounted(id) {
            let message = "a component that is mounted can't be deleted: push the app without it first";
            return Err(Error::user("ComponentMustBeUnmounted", message));
        }
        let stored = self.catalog.instance(id).cloned();
        let stored = stored.ok_or_else(|| Error::user("ComponentNotFound", "there is no such component"))?;
        if self.delete_jobs(id, rows_max).await? || self.delete_files(id, rows_max).await? {
            return Ok(false);
        }
        let own = self.set_component(id);
        let tables: Vec<_> = self.catalog().all_tables().cloned().collect();
        for table in tables.iter().filter(|table| table.state != TableState::Deleting) {
            self.set_table_state(table, TableState::Deleting).await?;
        }
        self.set_component(own);
        let prefix = [Value::from(id.to_string())];
        for schema in self.rows::<SchemaRow>("by_component_and_state", &prefix).await? {
            self.delete_row::<SchemaRow>(schema.id).await?;
        }
        self.delete_row::<ComponentRow>(stored.id).await?;
        Ok(true)
    }

    /// Deletes jobs that a component has scheduled, those that are over as well: at most `rows_max`. Whether there may be more.
    async fn delete_jobs(&mut self, id: ComponentId, rows_max: usize) -> Result<bool> {
        let jobs = self.first_rows_of::<ScheduledJobRow>(id, rows_max).await?;
        for job in &jobs {
            self.delete_row::<ScheduledJobRow>(job.id).await?;
            if self.row::<DueRow>(due_id(job.id)).await?.is_some() {
                self.delete_row::<DueRow>(due_id(job.id)).await?;
            }
        }
        Ok(jobs.len() == rows_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_the_same_id_wherever_and_whenever_it_is_mounted() {
        let id = |path: &str| component_id(&path.parse().expect("a legal path")).to_string();
        assert_eq!(id(""), "");
        assert_eq!(id("workpool"), id("workpool"));
        let all = ["", "workpool", "second", "workpool/batchWorker", "second/batchWorker"];
        for (position, path) in all.iter().enumerate() {
            assert!(all[..position].iter().all(|other| id(other) != id(path)), "{path}");
        }
    }
}

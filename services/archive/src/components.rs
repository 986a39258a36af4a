//! Which components an export or import is about.

use contract::Error;
use transaction::Transaction;
use value::{ComponentId, ComponentPath};

/// The component at a path, mounted or not: one that is not mounted any more keeps its data. Errors: `ComponentNotFound`.
pub(crate) fn component_at(
    transaction: &mut Transaction,
    path: &str,
) -> contract::Result<(ComponentPath, ComponentId)> {
    let parsed = path.parse::<ComponentPath>().ok();
    let found = parsed.and_then(|path| {
        if path.is_root() {
            return Some((path, ComponentId::ROOT));
        }
        let instances = transaction.instances();
        let (id, _) = instances.into_iter().find(|(_, stored)| stored.row.path == path)?;
        Some((path, id))
    });
    found.ok_or_else(|| {
        let shown: String = path.chars().take(100).collect();
        Error::bad_request("ComponentNotFound", format!("There is no component `{shown}`."))
    })
}

/// Fails with `ComponentNotFound` if a component was deleted.
pub(crate) fn require_component(
    transaction: &mut Transaction,
    component: ComponentId,
) -> Result<(), transaction::Error> {
    let is_there = |(id, _): &(ComponentId, _)| *id == component;
    if component.is_root() || transaction.instances().iter().any(is_there) {
        return Ok(());
    }
    Err(transaction::Error::user(
        "ComponentNotFound",
        "a component was deleted while the import was under way",
    ))
}

/// A component and all within it, those too that are not mounted any more: it first and the others by path. Errors: `ComponentNotFound`.
pub(crate) fn components_from(
    transaction: &mut Transaction,
    path: &str,
) -> contract::Result<Vec<(ComponentPath, ComponentId)>> {
    let root = component_at(transaction, path)?;
    let within = |path: &ComponentPath| {
        let rest = path.as_str().strip_prefix(root.0.as_str());
        root.0.is_root() || rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let instances = transaction.instances();
    let inner = instances.into_iter().filter(|(_, stored)| within(&stored.row.path));
    let inner = inner.map(|(id, stored)| (stored.row.path.clone(), id)).collect::<Vec<_>>();
    Ok(std::iter::once(root).chain(inner).collect())
}

/// The path of a component within another one's: of `a/b/c` within `a` that is `b/c`.
pub(crate) fn path_within<'p>(root: &ComponentPath, path: &'p ComponentPath) -> &'p str {
    let rest = path.as_str().strip_prefix(root.as_str()).unwrap_or(path.as_str());
    rest.strip_prefix('/').unwrap_or(rest)
}

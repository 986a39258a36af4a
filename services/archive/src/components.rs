//! Which components an export or import is about.

use contract::Error;
use transaction::Transaction;
use value::{ComponentId, ComponentPath};

/// The component at a path. Errors: `ComponentNotFound`.
pub(crate) fn component_at(
    transaction: &mut Transaction,
    path: &str,
) -> contract::Result<(ComponentPath, ComponentId)> {
    let parsed = path.parse::<ComponentPath>().ok();
    let found = parsed.and_then(|path| Some((path.clone(), transaction.component_at(&path)?)));
    found.ok_or_else(|| {
        let shown: String = path.chars().take(100).collect();
        Error::bad_request("ComponentNotFound", format!("There is no component `{shown}`."))
    })
}

/// A component and all that are mounted within it, it first and the others by path. Errors: `ComponentNotFound`.
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
    let mounted =
        instances.into_iter().filter(|(_, stored)| stored.row.is_mounted && within(&stored.row.path));
    let mounted = mounted.map(|(id, stored)| (stored.row.path.clone(), id)).collect::<Vec<_>>();
    Ok(std::iter::once(root).chain(mounted).collect())
}

/// The path of a component within another one's: of `a/b/c` within `a` that is `b/c`.
pub(crate) fn path_within<'p>(root: &ComponentPath, path: &'p ComponentPath) -> &'p str {
    let rest = path.as_str().strip_prefix(root.as_str()).unwrap_or(path.as_str());
    rest.strip_prefix('/').unwrap_or(rest)
}

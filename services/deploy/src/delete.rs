//! How what is left of a component goes that is not mounted any more.

use async_trait::async_trait;
use contract::{DeploymentRef, Error, Result};
use system_transaction::Work;
use transaction::{Transaction, component_id};
use value::{ComponentId, ComponentPath};

use crate::Handle;

impl Handle {
    pub(crate) async fn delete(&self, deployment: DeploymentRef, path: &str) -> Result<()> {
        let path: ComponentPath = path.parse().map_err(|_| {
            Error::bad_request("ComponentNotFound", "What names the component is no path of one.")
        })?;
        let delete = Delete { component: component_id(&path), rows_max: self.limits().push.deleted_rows_max };
        // Jobs and files go first, some at a time: as long as there are any, the component can still be named.
        while !self.transactions().transact(deployment, &delete).await? {}
        Ok(())
    }
}

struct Delete {
    component: ComponentId,
    rows_max: usize,
}

#[async_trait]
impl Work for Delete {
    /// Whether all of it is gone.
    type Output = bool;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<bool> {
        Ok(transaction.delete_instance(self.component, self.rows_max).await?)
    }
}

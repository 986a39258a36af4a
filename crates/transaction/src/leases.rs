//! Leases: that a process is there which has claimed entries of the queue.
//!
//! ```text
//!   claim      the holder has a lease; if it had none, it begins; if nobody renews it any more, the claim does
//!   renewal    the lease names a later moment; so as long as the holder runs anything
//!   end        by whoever has seen it unchanged for long: the holder runs nothing more, or is gone
//! ```
//!
//! A lease names a moment of the log and no clock's. How long it holds is up to those who look at it: they see whether it has changed.

use std::collections::HashMap;

use contract::Timestamp;
use value::{DocumentId, IndexName, InternalId};

use crate::{Holder, LeaseRow, Result, SystemTable, Transaction};

/// What a claim does about the lease of its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimLease {
    /// Renews it, because nobody has lately. Of claims at the same time one commits.
    Renew,
    /// Leaves it as it is, because it is renewed anyway, or begins it.
    Keep,
}

impl Transaction {
    /// All leases: when each was renewed last. No lease ever names the same moment again.
    pub async fn leases(&mut self) -> Result<HashMap<Holder, Timestamp>> {
        let rows = self.rows::<LeaseRow>(IndexName::BY_ID, &[]).await?;
        Ok(rows.into_iter().map(|lease| (lease.row.holder, lease.row.renewed)).collect())
    }

    /// When the lease of a holder was renewed last; `None` if it has none.
    pub async fn lease(&mut self, holder: Holder) -> Result<Option<Timestamp>> {
        Ok(self.row::<LeaseRow>(lease_id(holder)).await?.map(|lease| lease.renewed))
    }

    /// Renews the lease of a holder. If it has ended, it begins anew.
    pub async fn renew_lease(&mut self, holder: Holder) -> Result<()> {
        match self.lease(holder).await? {
            // What this transaction reads is later than what it replaces.
            Some(_) => self.replace_row(lease_id(holder), &self.lease_from_now(holder)).await,
            None => self.insert_row_beside(lease_id(holder), &self.lease_from_now(holder)).await,
        }
    }

    /// Sees to it that a holder has a lease.
    pub(crate) async fn begin_lease(&mut self, holder: Holder) -> Result<()> {
        match self.lease(holder).await? {
            Some(_) => Ok(()),
            None => self.insert_row_beside(lease_id(holder), &self.lease_from_now(holder)).await,
        }
    }

    /// Ends a lease, unless it has been renewed since it was `seen`.
    pub async fn end_lease(&mut self, holder: Holder, seen: Timestamp) -> Result<()> {
        match self.lease(holder).await? {
            Some(renewed) if renewed == seen => self.delete_row::<LeaseRow>(lease_id(holder)).await,
            _ => Ok(()),
        }
    }

    fn lease_from_now(&self, holder: Holder) -> LeaseRow {
        LeaseRow { holder, renewed: self.begin_at().timestamp }
    }
}

fn lease_id(holder: Holder) -> DocumentId {
    DocumentId::new(SystemTable::ClaimLeases.number(), InternalId::from_bytes(holder.boot))
}

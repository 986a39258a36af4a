//! The transaction log: validates, orders, replicates and stores commits, and serves reads of them.

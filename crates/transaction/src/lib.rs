//! One transaction: catalog, reads with their read set, pending writes, limits.

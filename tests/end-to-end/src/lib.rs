//! What needs more than one crate: the real binary, the official tools and clients, faults.

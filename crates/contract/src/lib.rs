//! What each service promises: its trait, types, errors, conformance suite and gRPC adapters.

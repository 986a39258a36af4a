//! The messages and services of gRPC and of the log, generated from the .proto files beside this crate.
//!
//! Generated types stay inside the adapters in crate `rpc` and the entry format of `txlog`; everything else speaks
//! the contracts' plain types.

pub mod common {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.common.v1");
    }
}

pub mod sequencer {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.sequencer.v1");
    }
}

pub mod txlog {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.txlog.v1");
    }
}

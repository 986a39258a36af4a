//! The messages and services of gRPC and of the log, generated from the .proto files beside this crate.
//!
//! Generated types stay inside the adapters in crate `rpc`, the entry format of `txlog` and the gateway's gRPC API; everything
//! else speaks the contracts' plain types.

pub mod admin {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.admin.v1");
    }
}

pub mod blob {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.blob.v1");
    }
}

pub mod common {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.common.v1");
    }
}

pub mod deploy {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.deploy.v1");
    }
}

/// The public API. A `Value` in a request or an answer is held as its bytes.
pub mod deployment {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.deployment.v1");

        /// The description of the messages and of the service, for callers who ask for it: a `FileDescriptorSet`.
        pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/deployment.bin"));
    }
}

pub mod fanout {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.fanout.v1");
    }
}

pub mod files {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.files.v1");
    }
}

pub mod runner {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.runner.v1");
    }
}

pub mod scheduler {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.scheduler.v1");
    }
}

pub mod search {
    pub mod v1 {
        #![allow(missing_docs, clippy::all)]
        tonic::include_proto!("tidemark.search.v1");
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

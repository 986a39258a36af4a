//! Content-addressed blobs: bundles, source maps, images.

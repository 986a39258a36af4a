//! Runs untrusted JavaScript in WebAssembly isolates that start from an image.

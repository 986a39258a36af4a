//! What the benchmarks share: load generation and reports.

//! What a thread keeps of what isolates asked for.

/// Formatters that a thread keeps. Each takes some 4 KB; making one takes some 100 microseconds at most.
pub const FORMATTERS_MAX: usize = 128;
/// What a formatter is made of may be as long, else it is made for each request.
pub const FORMATTER_BYTES_MAX: usize = 4096;

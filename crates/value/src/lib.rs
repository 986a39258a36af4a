//! Convex values: types, encodings, order, index keys, ids and sizes.

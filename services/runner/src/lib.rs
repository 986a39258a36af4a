//! Function runners: queries and mutations in isolates against a snapshot.

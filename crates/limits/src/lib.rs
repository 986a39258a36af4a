//! Every limit by name, with its reason and its default.

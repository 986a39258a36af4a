//! Pushes: from the bundles that the command line tool sends to the commit that serves them.

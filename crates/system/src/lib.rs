//! The _system functions that the command line tool and the dashboard call.

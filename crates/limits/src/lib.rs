//! How limits are written: in the crate that enforces them, by name, each with its reason and its default.
//!
//! Two kinds: what a data format fixes is a constant (a stored document must stay readable whatever the configuration
//! says); what an operator may change is a field of a [`group!`], which the configuration file fills in by the same names.
//! Names end in their unit: `_bytes_max`, `_ms_max`, `_max` (a count). Where a limit has an error code, its documentation
//! names it.
//!
//! Limits that only make sense together are checked by crate `tidemark`: for the defaults when it is compiled, for a
//! configuration when the process starts.

#[doc(hidden)]
pub use serde;

/// Bytes in a kibibyte.
pub const KIB: usize = 1 << 10;
/// Bytes in a mebibyte.
pub const MIB: usize = 1 << 20;

/// No limit is larger, whatever it counts: so many bytes, or milliseconds, are as good as without limit.
pub const ANY_MAX: u64 = 1 << 40;

/// How much of a limit is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The group and the name: `gateway.connections_max`.
    pub limit: &'static str,
    /// What the limit counts, now.
    pub used: u64,
    /// What it allows.
    pub max: u64,
    /// What happens at its end.
    pub end: End,
}

/// What happens when all of a limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody waits, or is refused.
    Refuses,
    /// Something goes that can be had again: it is a cache, and often full.
    Forgets,
}

impl Use {
    /// Of a limit that counts things or bytes.
    pub const fn of(limit: &'static str, used: usize, max: usize) -> Use {
        Use { limit, used: used as u64, max: max as u64, end: End::Refuses }
    }

    /// Of a cache.
    pub const fn of_cache(limit: &'static str, used: usize, max: usize) -> Use {
        Use { end: End::Forgets, ..Use::of(limit, used, max) }
    }
}

/// Declares a group of limits: a struct, its `DEFAULT`, and what the configuration needs of it. Each field stands with its
/// documentation and its default.
#[macro_export]
macro_rules! group {
    ($group:ident: $(#[$attribute:meta])* pub struct $name:ident {
        $($(#[$field_attribute:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, $crate::serde::Deserialize)]
        #[serde(crate = "limits::serde", default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_attribute])* pub $field: $type,)*
        }

        impl $name {
            /// The limits unless the configuration says otherwise.
            pub const DEFAULT: Self = Self { $($field: $default,)* };

            /// What they are called: the group and the name.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($group.$field),)*];

            /// A sentence on the first limit that can't be one: 0 where that is not the default, which would be a queue
            /// without places or a pause without end, or a number so large that it bounds nothing.
            pub const fn no_limit(&self) -> Option<&'static str> {
                $(
                    if self.$field == 0 && Self::DEFAULT.$field != 0 {
                        return Some(concat!(stringify!($group.$field), " must be at least 1"));
                    }
                    if self.$field as u64 > $crate::ANY_MAX {
                        return Some(concat!(stringify!($group.$field), " must be at most 1099511627776"));
                    }
                )*
                None
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::DEFAULT
            }
        }
    };
}

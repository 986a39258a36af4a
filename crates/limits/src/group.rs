//! How a group of limits is written: each field with its documentation and its default side by side.

/// Declares a struct of limits, its `DEFAULT` and what the configuration needs of it.
macro_rules! group {
    ($group:ident: $(#[$attribute:meta])* pub struct $name:ident {
        $($(#[$field_attribute:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_attribute])* pub $field: $type,)*
        }

        impl $name {
            pub const DEFAULT: Self = Self { $($field: $default,)* };

            /// A sentence on the first limit that can't be one: 0 where that is not the default, which would be a queue
            /// without places or a pause without end, or a number so large that it bounds nothing.
            pub(crate) const fn no_limit(&self) -> Option<&'static str> {
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

/// Returns the sentence from `broken_relation` unless the condition holds.
macro_rules! require {
    ($condition:expr, $sentence:expr) => {
        if !($condition) {
            return Some($sentence);
        }
    };
}

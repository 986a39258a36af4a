//! How a group of limits is written: each field with its documentation and its default side by side.

/// Declares a struct of limits, its `DEFAULT` and what the configuration needs of it.
macro_rules! group {
    ($(#[$attribute:meta])* pub struct $name:ident {
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

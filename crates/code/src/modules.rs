//! What the modules of a push are for, by their path.

/// The module that is evaluated at a push only, because it may refer to variables that are not set.
pub const AUTH_CONFIG_MODULE: &str = "auth.config.js";

/// Whether the module is a part of the image from which functions are called.
pub fn is_in_image(path: &str) -> bool {
    path != AUTH_CONFIG_MODULE
}

/// Whether the module is a chunk that others share: it is only imported, and nothing in it can be called. The bundler
/// puts them into folders of their own, one for each environment.
pub fn is_shared_chunk(path: &str) -> bool {
    path.starts_with("_deps/") || path.starts_with("actions/_deps/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_modules_are_told_apart() {
        assert!(["_deps/ABC.js", "actions/_deps/ABC.js"].into_iter().all(is_shared_chunk));
        assert!(
            !["messages.js", "dir/_deps.js", "dir/_deps/a.js", "actions/a.js"]
                .into_iter()
                .any(is_shared_chunk)
        );
        assert!(
            is_in_image("messages.js") && is_in_image("_deps/ABC.js") && !is_in_image(AUTH_CONFIG_MODULE)
        );
    }
}

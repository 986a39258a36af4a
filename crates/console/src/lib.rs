//! The web console: a page that shows a deployment to those who hold its admin key.
//!
//! The page is written in TypeScript (`web/`) and talks to the deployment as every client does: by the official client library,
//! over the addresses beside its own. The build bundles it, so that the program holds all that a browser asks for: nothing comes from
//! other servers.
//!
//! This crate knows nothing of HTTP, functions or documents.

#![warn(missing_docs)]

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// By which the page names it, without slashes.
    pub name: &'static str,
    /// The media type.
    pub content_type: &'static str,
    /// As they are sent.
    pub bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file that a browser opens first.
pub const PAGE: &str = "index.html";

/// The file of this name.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there_with_everything_that_it_names() {
        let page = asset(PAGE).expect("the page");
        let text = std::str::from_utf8(page.bytes).expect("UTF-8");
        let named = text
            .split('"')
            .filter(|part| part.ends_with(".js") || part.ends_with(".css") || part.ends_with(".svg"));
        let named: Vec<&str> = named.collect();
        assert!(named.len() >= 3, "{named:?}");
        for name in named {
            assert!(asset(name).is_some_and(|asset| !asset.bytes.is_empty()), "{name}");
        }
        assert!(ASSETS.iter().any(|asset| asset.content_type == "font/woff2"));
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let style = asset("main.css").expect("a style sheet");
        let text = std::str::from_utf8(style.bytes).expect("UTF-8");
        assert!(!text.contains("url(http") && !text.contains("@import"), "all is bundled");
        let page = std::str::from_utf8(asset(PAGE).expect("the page").bytes).expect("UTF-8");
        assert!(!page.contains("//"), "the page names only what is beside it");
    }
}

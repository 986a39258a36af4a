//! The web platform: our JavaScript that is part of every image (src/platform/), and what npm brings for it.

macro_rules! platform {
    ($($name:literal),* $(,)?) => {
        &[
            // From web-streams-polyfill, by the build script.
            ("web-streams", include_str!(concat!(env!("OUT_DIR"), "/web-streams.js"))),
            $(($name, include_str!(concat!("platform/", $name, ".js")))),*
        ]
    };
}

/// The modules by the name after `tidemark:`. They import each other so.
const MODULES: &[(&str, &str)] = platform![
    "abort",
    "analysis",
    "async-context",
    "blob",
    "body",
    "clone",
    "console",
    "crypto",
    "crypto-algorithms",
    "crypto-key",
    "crypto-keys",
    "encoding",
    "environment",
    "errors",
    "events",
    "fetch",
    "form-data",
    "globals",
    "hashing",
    "headers",
    "http-action",
    "inspect",
    "intl",
    "invoke",
    "locale",
    "main",
    "messages",
    "mime",
    "multipart",
    "performance",
    "phase",
    "query",
    "request",
    "requests",
    "response",
    "storage",
    "streams",
    "subtle",
    "syscalls",
    "timers",
    "url",
    "webidl",
];

/// The text of a module.
pub fn source(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
}

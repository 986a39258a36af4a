//! The web platform: our JavaScript that is part of every image (src/platform/).

macro_rules! platform {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("platform/", $name, ".js")))),*]
    };
}

/// The modules by the name after `tidemark:`. They import each other so.
const MODULES: &[(&str, &str)] = platform![
    "abort",
    "analysis",
    "async-context",
    "blob",
    "clone",
    "console",
    "crypto",
    "encoding",
    "environment",
    "errors",
    "events",
    "fetch",
    "forbidden",
    "globals",
    "inspect",
    "invoke",
    "locale",
    "main",
    "phase",
    "query",
    "requests",
    "syscalls",
    "url",
];

/// The text of a module.
pub fn source(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
}

//! Paths of functions, modules and components.

use std::{fmt, str::FromStr, sync::Arc};

use crate::limits::FIELD_NAME_CHARS_MAX;

use crate::{
    InternalId, ValueError,
    error::excerpt,
    id::IdError,
    name::{ExportName, check_identifier, serde_as_text},
};

/// The path of a module below the functions folder, `/` between directories, without the extension `.js`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModulePath(Arc<str>);

impl ModulePath {
    /// The path without the extension.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as bundles and schedules spell it: `messages.js`.
    pub fn with_extension(&self) -> String {
        format!("{}.js", self.0)
    }

    /// Whether the module is one of the system's own.
    pub fn is_system(&self) -> bool {
        self.0.starts_with("_system/")
    }
}

impl FromStr for ModulePath {
    type Err = ValueError;

    /// Takes the path with or without `.js`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let invalid = |reason| ValueError::InvalidPath { text: excerpt(text), reason };
        if text.len() > FIELD_NAME_CHARS_MAX {
            return Err(invalid("it is too long"));
        }
        let stem = text.strip_suffix(".js").unwrap_or(text);
        for segment in stem.split('/') {
            if segment.is_empty() || segment == "." || segment == ".." {
                return Err(invalid("each part between slashes must be the name of a folder or a file"));
            }
            if !segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
            {
                return Err(invalid(
                    "it has other characters than ASCII letters, digits, `_`, `-`, `.` and `/`",
                ));
            }
        }
        if stem.rsplit('/').next().is_some_and(|file| file.contains('.')) {
            return Err(invalid("the only extension of a module is `.js`"));
        }
        Ok(Self(stem.into()))
    }
}

impl fmt::Display for ModulePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A function of a component: a module and an export.
///
/// `messages`, `messages.js`, `messages:default` and `messages.js:default` are the same path. `Display` writes the
/// canonical spelling, with the export and without the extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionPath {
    /// The module that exports it.
    pub module: ModulePath,
    /// The name of the export.
    pub export: ExportName,
}

impl FunctionPath {
    /// The path of an export.
    pub fn new(module: ModulePath, export: ExportName) -> Self {
        Self { module, export }
    }

    /// The function named by a URL, where the export follows the last slash: `messages/list`.
    pub fn from_url_path(text: &str) -> Result<Self, ValueError> {
        match text.rsplit_once('/') {
            Some((module, export)) => Ok(Self { module: module.parse()?, export: export.parse()? }),
            None => text.parse(),
        }
    }

    /// The path as schedules and logs spell it: `messages.js:list`.
    pub fn with_extension(&self) -> String {
        format!("{}.js:{}", self.module, self.export)
    }
}

impl FromStr for FunctionPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (module, export) = text.rsplit_once(':').unwrap_or((text, ExportName::DEFAULT));
        Ok(Self { module: module.parse()?, export: export.parse()? })
    }
}

impl fmt::Display for FunctionPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.module, self.export)
    }
}

/// An instance of a component: the names from the app down to it, `/` between them; empty for the app itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentPath(Arc<str>);

impl ComponentPath {
    /// The app itself.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Whether it is the app itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance with this name within this one.
    pub fn child(&self, name: &str) -> Result<Self, ValueError> {
        check_identifier(name, "the component name")?;
        match self.is_root() {
            true => name.parse(),
            false => format!("{self}/{name}").parse(),
        }
    }

    /// The instance that this one is within, and its name there; `None` for the app itself.
    pub fn parent(&self) -> Option<(Self, &str)> {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => Some((Self(parent.into()), name)),
            None => (!self.is_root()).then(|| (Self::root(), self.as_str())),
        }
    }
}

impl Default for ComponentPath {
    fn default() -> Self {
        Self::root()
    }
}

impl FromStr for ComponentPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.len() > FIELD_NAME_CHARS_MAX {
            return Err(ValueError::InvalidPath { text: excerpt(text), reason: "it is too long" });
        }
        if !text.is_empty() {
            text.split('/').try_for_each(|name| check_identifier(name, "the component name"))?;
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ComponentPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An instance of a component, as stored data names it: the app itself, or the id that the instance was given when it
/// was mounted first. Unlike its [`ComponentPath`] it never names another instance.
///
/// `Display` writes the text that rows and function handles hold: empty for the app itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(Option<InternalId>);

impl ComponentId {
    /// The app itself.
    pub const ROOT: ComponentId = ComponentId(None);

    /// Whether it is the app itself.
    pub const fn is_root(self) -> bool {
        self.0.is_none()
    }

    /// `None` for the app itself.
    pub const fn internal_id(self) -> Option<InternalId> {
        self.0
    }
}

impl From<InternalId> for ComponentId {
    fn from(id: InternalId) -> ComponentId {
        ComponentId(Some(id))
    }
}

impl FromStr for ComponentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            Ok(ComponentId::ROOT)
        } else {
            text.parse::<InternalId>().map(ComponentId::from)
        }
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| id.fmt(formatter))
    }
}

/// What a function is named by outside its component: a string that applications store, pass on and call by. The same
/// function always has the same handle.
///
/// ```text
///   function://;messages:list        the component's id, empty for the app itself; then the function's path
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionHandle {
    /// The component that it belongs to.
    pub component: ComponentId,
    /// Its path within the component.
    pub function: FunctionPath,
}

impl FunctionHandle {
    /// Client libraries take what begins so for a handle, and everything else for a function's name.
    const PREFIX: &str = "function://";
}

impl FromStr for FunctionHandle {
    type Err = ValueError;

    /// Takes only what `Display` writes: a handle is compared as a text.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let invalid = |reason| ValueError::InvalidPath { text: excerpt(text), reason };
        let parts = text.strip_prefix(Self::PREFIX).and_then(|rest| rest.split_once(';'));
        let (component, function) = parts.ok_or_else(|| invalid("it is no function's handle"))?;
        let component =
            component.parse().map_err(|_| invalid("what is before the semicolon is no component"))?;
        let handle = Self { component, function: function.parse()? };
        match handle.to_string() == text {
            true => Ok(handle),
            false => Err(invalid("it is not spelled as handles are")),
        }
    }
}

impl fmt::Display for FunctionHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{};{}", Self::PREFIX, self.component, self.function)
    }
}

serde_as_text!(ModulePath);
serde_as_text!(FunctionPath);
serde_as_text!(ComponentPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_names_the_same_function() {
        for (spellings, canonical, with_extension) in [
            (&["messages:list", "messages.js:list"][..], "messages:list", "messages.js:list"),
            (
                &["dir/mod", "dir/mod.js", "dir/mod:default", "dir/mod.js:default"],
                "dir/mod:default",
                "dir/mod.js:default",
            ),
            (
                &["_system/cli/modules:apiSpec"],
                "_system/cli/modules:apiSpec",
                "_system/cli/modules.js:apiSpec",
            ),
        ] {
            for spelling in spellings {
                let path: FunctionPath = spelling.parse().expect(spelling);
                assert_eq!(
                    (path.to_string().as_str(), path.with_extension().as_str()),
                    (canonical, with_extension)
                );
            }
        }
        assert_eq!(FunctionPath::from_url_path("a/b/list").expect("legal").to_string(), "a/b:list");
        assert_eq!(FunctionPath::from_url_path("messages").expect("legal").to_string(), "messages:default");
    }

    #[test]
    fn a_handle_is_read_only_as_it_is_written() {
        let mounted = format!("function://{};dir/mod:default", InternalId::from_bytes([7; 16]));
        for text in ["function://;messages:list", &mounted] {
            let handle: FunctionHandle = text.parse().expect(text);
            assert_eq!(handle.to_string(), text);
        }
        for text in [
            "",
            "messages:list",
            "function://",
            "function://messages:list",
            "function://;",
            "function://;messages.js:list",
            "function://;dir/mod",
            "function://a b;messages:list",
            " function://;messages:list",
        ] {
            assert!(text.parse::<FunctionHandle>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = "x".repeat(2000);
        for text in [
            "", ":", "a:", ":a", "a:b:c", "/a", "a/", "a//b", "../a", "./a", "a/../b", "a.ts", "a.js.js",
            "a.b:c", "a b:c", "a:b-c", "a:9", "a:_", "a\\b", "é", ".js", "dir/.js", &long,
        ] {
            assert!(text.parse::<FunctionPath>().is_err(), "{text}");
        }
        assert!("_componentDeps/ab-_9".parse::<ModulePath>().is_ok());
    }

    #[test]
    fn components() {
        assert!("".parse::<ComponentPath>().expect("legal").is_root());
        assert_eq!("a/b_2".parse::<ComponentPath>().expect("legal").as_str(), "a/b_2");
        for text in ["/", "a/", "/a", "a//b", "a-b", "a b"] {
            assert!(text.parse::<ComponentPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_id_of_a_component_comes_back_from_its_text() {
        for id in [ComponentId::ROOT, InternalId::from_bytes([7; 16]).into()] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(ComponentId::ROOT.to_string(), "");
        assert!("x".parse::<ComponentId>().is_err());
    }

    #[test]
    fn system_modules_are_told_apart() {
        for (path, system) in [("_system/cli/x", true), ("_deps/QTGC", false), ("a", false)] {
            let module: ModulePath = path.parse().expect(path);
            assert_eq!(module.is_system(), system, "{path}");
        }
    }
}

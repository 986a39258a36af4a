//! Files name no host that packages were fetched from and no folder of somebody's machine.

use super::files::Files;

// Written in two halves, so that this file does not find itself.
const REGISTRIES: [&str; 4] = [
    concat!("registry.", "npmjs"),
    concat!("registry.", "yarnpkg"),
    concat!("static.", "crates.io"),
    concat!("pypi.", "org"),
];
const FOLDERS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

pub fn problems(files: &Files) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in files.texts() {
        for (number, line) in (1..).zip(text.lines()) {
            if REGISTRIES.iter().any(|host| line.contains(host)) {
                problems.push(format!("{path}:{number} names a package registry's host"));
            }
            if FOLDERS.iter().any(|folder| names_folder(line, folder)) {
                problems.push(format!("{path}:{number} names a folder of one machine"));
            }
        }
        if path.ends_with("package-lock.json") && text.contains("\"resolved\": \"http") {
            problems.push(format!(
                "{path} says where packages were fetched from (omit-lockfile-registry-resolved)"
            ));
        }
    }
    problems
}

/// Whether the line has the folder as the beginning of an absolute path (not as a part of a longer one or of a URL).
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || "._-}$/".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_folders_of_a_machine_are_found() {
        let text = format!("# fetched from {}.example\n# kept in {}ada\n", REGISTRIES[0], FOLDERS[1]);
        let lock = "{ \"resolved\": \"https://example.com/a.tgz\" }";
        let files = Files::of(&[("Makefile", &text), ("a/package-lock.json", lock)]);
        assert_eq!(problems(&files).len(), 3);
    }

    #[test]
    fn only_the_beginning_of_an_absolute_path_is_a_folder_of_a_machine() {
        let folder = FOLDERS[1];
        assert!(names_folder(&format!("data in {folder}ada"), folder));
        assert!(!names_folder(&format!("see https://example.com{folder}"), folder));
        assert!(!names_folder(&format!("${{prefix}}{folder}"), folder));
    }
}

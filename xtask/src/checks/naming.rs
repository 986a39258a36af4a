//! A crate is named like its folder, and says under which licence it is.

use super::workspace::Member;

pub const LICENCE: &str = "Apache-2.0";

pub fn problems(members: &[Member]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in members {
        let folder = member.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // The benchmark of a crate stands in bench/ under that crate's name, which two crates can't have.
        let is_benchmark_of = member.folder.starts_with("bench") && member.name == format!("{folder}-bench");
        if member.name != folder && !is_benchmark_of {
            problems.push(format!("crate {} stands in the folder {}", member.name, member.folder.display()));
        }
        if member.licence.as_deref() != Some(LICENCE) {
            problems.push(format!("crate {} does not say license = \"{LICENCE}\"", member.name));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::workspace::planted::member;
    use super::*;

    #[test]
    fn a_crate_is_named_like_its_folder_and_licensed() {
        let mut stray = member("crates/schema", &[]);
        stray.name = "schemas".to_string();
        stray.licence = None;
        assert_eq!(problems(&[stray]).len(), 2);
    }

    #[test]
    fn a_benchmark_may_add_a_word_to_its_folders_name() {
        let mut benchmark = member("bench/fanout", &[]);
        benchmark.name = "fanout-bench".to_string();
        assert_eq!(problems(&[benchmark]), Vec::<String>::new());
    }
}

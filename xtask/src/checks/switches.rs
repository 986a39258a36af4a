//! What makes a server break its promises is named in few places. It is a `--cfg` of the compiler and no cargo feature, so
//! that no manifest turns it on.

use super::files::Files;

/// A switch, and the files that may name it. Written in two halves, so that this file does not find itself.
const SWITCHES: [(&str, &[&str]); 1] = [(
    concat!("validation", "_off"),
    &[
        "Cargo.toml",
        "docs/decisions/0009-histories-of-appends.md",
        "services/txlog/src/service.rs",
        "services/txlog/src/validator.rs",
    ],
)];

pub fn problems(files: &Files) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in files.texts() {
        for (switch, allowed) in SWITCHES {
            if allowed.contains(&path) {
                continue;
            }
            let lines = (1..).zip(text.lines()).filter(|(_, line)| line.contains(switch));
            problems.extend(lines.map(|(number, _)| format!("{path}:{number} names the switch {switch}")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_named_where_it_is_used_and_nowhere_else() {
        let line = format!("rustflags = [\"--cfg\", \"{}\"]", SWITCHES[0].0);
        let files = Files::of(&[(".cargo/config.toml", &line), ("Cargo.toml", &line)]);
        assert_eq!(problems(&files), [format!(".cargo/config.toml:1 names the switch {}", SWITCHES[0].0)]);
    }
}

//! Every decision says when it was made and whether it holds, and can be found by its number.

use std::collections::BTreeMap;

use super::files::Files;

const FOLDER: &str = "docs/decisions/";

/// What a decision must have a section for.
const SECTIONS: [&str; 3] = ["Context", "Decision", "Consequences"];

pub fn problems(files: &Files) -> Vec<String> {
    let decisions = files.texts().filter_map(|(path, text)| Some((path.strip_prefix(FOLDER)?, text)));
    let mut problems = Vec::new();
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, text) in decisions {
        let number = name.get(..4).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if number.is_none() {
            problems.push(format!("{FOLDER}{name} does not begin with a number of four digits"));
            continue;
        }
        if let Some(other) = number.and_then(|number| numbers.insert(number, name)) {
            problems.push(format!("{FOLDER}{name} has the number of {other}"));
        }
        let wrong = wrong(number.unwrap_or_default(), text);
        problems.extend(wrong.into_iter().map(|wrong| format!("{FOLDER}{name} {wrong}")));
    }
    problems
}

fn wrong(number: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let title = format!("# {}. ", number.trim_start_matches('0'));
    if !text.lines().next().unwrap_or_default().starts_with(&title) {
        wrong.push(format!("does not begin with \"{title}\" and a title"));
    }
    if !text.lines().nth(2).is_some_and(is_dated) {
        wrong.push(
            "does not say in its third line \"Date: YYYY-MM-DD. Status: accepted.\" (or proposed, rejected, \
             superseded by N)"
                .to_string(),
        );
    }
    for section in SECTIONS {
        if !text.lines().any(|line| line.strip_prefix("## ") == Some(section)) {
            wrong.push(format!("has no section \"{section}\""));
        }
    }
    wrong
}

fn is_dated(line: &str) -> bool {
    let Some((date, status)) = line.strip_prefix("Date: ").and_then(|rest| rest.split_once(". Status: "))
    else {
        return false;
    };
    let parts: Vec<&str> = date.split('-').collect();
    let is_date = parts.iter().map(|part| part.len()).eq([4, 2, 2])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let status = status.split('.').next().unwrap_or_default();
    let superseded = status.strip_prefix("superseded by ").is_some_and(|by| by.parse::<u32>().is_ok());
    is_date && (superseded || ["accepted", "proposed", "rejected"].contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
# 3. Pushes leave no trace

Date: 2026-11-20. Status: accepted. Completes decision 1.

## Context
## Decision
## Consequences
";

    fn found(path: &str, text: &str) -> Vec<String> {
        problems(&Files::of(&[(path, text)]))
    }

    #[test]
    fn a_decision_with_number_date_and_status_is_in_order() {
        let path = "docs/decisions/0003-pushes.md";
        assert_eq!(found(path, GOOD), Vec::<String>::new());
        assert_eq!(found(path, &GOOD.replace("accepted", "superseded by 12")), Vec::<String>::new());
    }

    #[test]
    fn what_a_decision_does_not_say_is_found() {
        let path = "docs/decisions/0003-pushes.md";
        assert_eq!(found(path, &GOOD.replace("2026-11-20", "in autumn")).len(), 1);
        assert_eq!(found(path, &GOOD.replace("accepted", "fine")).len(), 1);
        assert_eq!(found(path, &GOOD.replace("## Context\n", "")).len(), 1);
        assert_eq!(found("docs/decisions/0004-pushes.md", GOOD).len(), 1);
        assert_eq!(found("docs/decisions/pushes.md", GOOD).len(), 1);
        let twice = [(path, GOOD), ("docs/decisions/0003-again.md", GOOD)];
        assert_eq!(problems(&Files::of(&twice)).len(), 1);
    }
}

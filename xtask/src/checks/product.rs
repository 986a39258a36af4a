//! What is built is the product: it holds no suites, and no feature that one manifest turns on for all others.

use super::workspace::Member;

/// Suites for tests. No crate depends on them but for its own tests.
const SUITES: [&str; 1] = ["conformance"];

pub fn problems(members: &[Member]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in members {
        for suite in SUITES.iter().filter(|suite| member.dependencies.iter().any(|name| name == *suite)) {
            problems.push(format!("crate {} must depend on {suite} for its tests only", member.name));
        }
        for feature in &member.features {
            problems.push(format!("crate {} must not have the feature {feature}", member.name));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::workspace::planted::member;
    use super::*;

    #[test]
    fn suites_and_features_are_not_for_the_product() {
        let mut switchable = member("services/txlog", &["conformance"]);
        switchable.features = vec!["fast".to_string()];
        assert_eq!(
            problems(&[member("crates/conformance", &["contract"]), switchable]),
            [
                "crate txlog must depend on conformance for its tests only",
                "crate txlog must not have the feature fast"
            ]
        );
    }
}

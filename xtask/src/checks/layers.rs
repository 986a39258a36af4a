//! Dependencies point one way: the binary → services → libraries → foundations. What only tests need is free.

use std::collections::BTreeMap;

use super::workspace::{Layer, Member};

/// Libraries at the bottom, and the only crates of the workspace that they may depend on.
const FOUNDATIONS: [(&str, &[&str]); 3] = [("limits", &[]), ("proto", &[]), ("value", &["limits"])];

fn may_depend_on(one: Layer, other: Layer) -> bool {
    match one {
        Layer::Library | Layer::Service => other == Layer::Library,
        Layer::Binary => matches!(other, Layer::Library | Layer::Service),
        Layer::Tool => other != Layer::Binary,
    }
}

pub fn problems(members: &[Member]) -> Vec<String> {
    let layers: BTreeMap<&str, Layer> =
        members.iter().map(|member| (member.name.as_str(), member.layer)).collect();
    let mut problems = Vec::new();
    for member in members {
        let foundation = FOUNDATIONS.iter().find(|(name, _)| *name == member.name);
        for dependency in &member.dependencies {
            let allowed = match foundation {
                Some((_, below)) => below.contains(&dependency.as_str()),
                None => {
                    layers.get(dependency.as_str()).is_some_and(|layer| may_depend_on(member.layer, *layer))
                }
            };
            if !allowed {
                problems.push(format!("crate {} must not depend on {dependency}", member.name));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::workspace::planted::member;
    use super::*;

    #[test]
    fn services_may_use_libraries_and_the_binary_may_use_services() {
        let members = [
            member("crates/value", &[]),
            member("crates/schema", &["value"]),
            member("services/txlog", &["schema"]),
            member("services/tidemark", &["txlog", "schema"]),
        ];
        assert_eq!(problems(&members), Vec::<String>::new());
    }

    #[test]
    fn a_service_must_not_use_another_service() {
        let members = [member("services/txlog", &[]), member("services/runner", &["txlog"])];
        assert_eq!(problems(&members), ["crate runner must not depend on txlog"]);
    }

    #[test]
    fn a_library_must_not_use_a_service_nor_a_foundation_what_stands_on_it() {
        let members = [
            member("services/txlog", &[]),
            member("crates/schema", &["txlog"]),
            member("crates/value", &["schema"]),
        ];
        assert_eq!(
            problems(&members),
            ["crate schema must not depend on txlog", "crate value must not depend on schema"]
        );
    }
}

//! Where blobs and objects lie, in a folder and in a bucket alike: the one can be copied into the other.

use contract::{BlobDigest, ObjectName};

pub fn of_blob(digest: BlobDigest) -> String {
    in_folder_of_two_digits(&hex::encode(digest.0))
}

pub fn of_object(name: ObjectName) -> String {
    let ObjectName { deployment, component, id } = name;
    let component = component.map_or_else(|| "app".to_owned(), hex::encode);
    let object = in_folder_of_two_digits(&hex::encode(id));
    format!("objects/{}-{}/{component}/{object}", deployment.group.0, deployment.deployment.0)
}

/// So that no folder grows too large to be listed.
fn in_folder_of_two_digits(name: &str) -> String {
    format!("{}/{name}", &name[..2])
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, DeploymentRef, GroupId};

    use super::*;

    #[test]
    fn names_keep_deployments_and_components_apart() {
        let deployment = DeploymentRef { group: GroupId(1), deployment: DeploymentId(23) };
        let name = ObjectName { deployment, component: None, id: [0xab; 16] };
        assert_eq!(of_object(name), format!("objects/1-23/app/ab/{}", "ab".repeat(16)));
        let name = ObjectName { component: Some([1; 16]), ..name };
        assert_eq!(of_object(name), format!("objects/1-23/{}/ab/{}", "01".repeat(16), "ab".repeat(16)));
        assert_eq!(of_blob(BlobDigest([7; 32])), format!("07/{}", "07".repeat(32)));
    }
}

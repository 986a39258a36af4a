//! The rows of the directory, which are in one deployment only: that of group 0.

use value::{Object, Value, object};

use super::{
    SystemTable,
    rows::{Fields, SystemRow},
};

/// What the directory as a whole has to remember. There is one such row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRow {
    /// The number of the next deployment; none is given twice.
    pub next_deployment: u32,
    /// How many deployments there are.
    pub deployments: u32,
}

/// How far a deployment is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeploymentState {
    /// It is served.
    Serving,
    /// Nobody serves it, and its data goes.
    Deleting,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    /// Under which people and keys know it.
    pub name: String,
    /// Its number; never given again.
    pub number: u32,
    /// The group that holds its data.
    pub group: u32,
    /// The project that it belongs to.
    pub project: String,
    /// What it is for, as keys spell it: `prod`, `dev`, `preview`.
    pub kind: String,
    /// What tools call a preview.
    pub identifier: Option<String>,
    /// Where clients reach it, if that does not follow from its name.
    pub cloud_url: Option<String>,
    /// The same for HTTP actions.
    pub site_url: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it is deleted by itself.
    pub expires_ms: Option<u64>,
    /// Whether that is so long after the last push, and not a time that somebody has chosen.
    pub expires_after_push: bool,
    /// How far it is.
    pub state: DeploymentState,
    /// How often it is served in turn.
    pub share_weight: u32,
    /// How much of what deployments share it may hold, in percent.
    pub share_percent_max: Option<u32>,
    /// The secret from which its admin key follows, sealed.
    pub secret: Vec<u8>,
}

/// What a key opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeployKeyScope {
    /// The deployment with this number.
    Deployment(u32),
    /// Previews of this project.
    Previews(String),
    /// All deployments of this project.
    Project(String),
}

/// A key that somebody has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployKeyRow {
    /// What it opens.
    pub scope: DeployKeyScope,
    /// What people call it.
    pub name: String,
    /// The SHA-256 of its secret part.
    pub digest: [u8; 32],
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl SystemRow for DirectoryRow {
    const TABLE: SystemTable = SystemTable::Directory;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(DirectoryRow {
            next_deployment: fields.u32("nextDeployment")?,
            deployments: fields.u32("deployments")?,
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "nextDeployment" => f64::from(self.next_deployment),
            "deployments" => f64::from(self.deployments),
        }
    }
}

impl DeploymentState {
    /// As rows spell it.
    const fn name(self) -> &'static str {
        match self {
            DeploymentState::Serving => "serving",
            DeploymentState::Deleting => "deleting",
        }
    }

    fn from_name(name: &str) -> Option<DeploymentState> {
        [DeploymentState::Serving, DeploymentState::Deleting].into_iter().find(|state| state.name() == name)
    }
}

impl SystemRow for DeploymentRow {
    const TABLE: SystemTable = SystemTable::Deployments;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let text = |name| Ok::<_, String>(fields.optional_text(name)?.map(str::to_owned));
        let has = |name| fields.0.get(name).is_some();
        Ok(DeploymentRow {
            name: fields.text("name")?.to_owned(),
            number: fields.u32("number")?,
            group: fields.u32("group")?,
            project: fields.text("project")?.to_owned(),
            kind: fields.text("kind")?.to_owned(),
            identifier: text("identifier")?,
            cloud_url: text("cloudUrl")?,
            site_url: text("siteUrl")?,
            created_ms: fields.milliseconds("createdMs")?,
            expires_ms: has("expiresMs").then(|| fields.milliseconds("expiresMs")).transpose()?,
            expires_after_push: has("expiresAfterPush")
                .then(|| fields.boolean("expiresAfterPush"))
                .transpose()?
                .unwrap_or(false),
            state: DeploymentState::from_name(fields.text("state")?).ok_or("`state` is not known")?,
            share_weight: fields.u32("shareWeight")?,
            share_percent_max: has("sharePercentMax").then(|| fields.u32("sharePercentMax")).transpose()?,
            secret: hex::decode(fields.text("secret")?).map_err(|error| format!("`secret`: {error}"))?,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "name" => self.name.as_str(),
            "number" => f64::from(self.number),
            "group" => f64::from(self.group),
            "project" => self.project.as_str(),
            "kind" => self.kind.as_str(),
            "createdMs" => self.created_ms as f64,
            "state" => self.state.name(),
            "shareWeight" => f64::from(self.share_weight),
            "secret" => hex::encode(&self.secret),
        };
        let texts =
            [("identifier", &self.identifier), ("cloudUrl", &self.cloud_url), ("siteUrl", &self.site_url)];
        for (name, text) in texts {
            if let Some(text) = text {
                fields.insert(name, text.as_str());
            }
        }
        if self.expires_after_push {
            fields.insert("expiresAfterPush", true);
        }
        let numbers = [
            ("expiresMs", self.expires_ms.map(|expires_ms| expires_ms as f64)),
            ("sharePercentMax", self.share_percent_max.map(f64::from)),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                fields.insert(name, number);
            }
        }
        fields
    }
}

impl DeployKeyScope {
    /// The two values by which keys are found: the kind, and of which deployment or project it is.
    pub fn key(&self) -> [Value; 2] {
        let (kind, of) = match self {
            DeployKeyScope::Deployment(number) => ("deployment", number.to_string()),
            DeployKeyScope::Previews(project) => ("previews", project.clone()),
            DeployKeyScope::Project(project) => ("project", project.clone()),
        };
        [Value::from(kind), Value::from(of)]
    }
}

impl SystemRow for DeployKeyRow {
    const TABLE: SystemTable = SystemTable::DeployKeys;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let of = fields.text("of")?.to_owned();
        Ok(DeployKeyRow {
            scope: match fields.text("scope")? {
                "deployment" => {
                    DeployKeyScope::Deployment(of.parse().map_err(|error| format!("`of`: {error}"))?)
                }
                "previews" => DeployKeyScope::Previews(of),
                "project" => DeployKeyScope::Project(of),
                _ => return Err("`scope` is not known".to_owned()),
            },
            name: fields.text("name")?.to_owned(),
            digest: fields.digest("digest")?,
            created_ms: fields.milliseconds("createdMs")?,
        })
    }

    fn to_fields(&self) -> Object {
        let [scope, of] = self.scope.key();
        object! {
            "scope" => scope,
            "of" => of,
            "name" => self.name.as_str(),
            "digest" => hex::encode(self.digest),
            "createdMs" => self.created_ms as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::rows::tests::comes_back, *};

    #[test]
    fn rows_come_back_and_broken_fields_are_named() {
        comes_back(DirectoryRow { next_deployment: u32::MAX, deployments: 7 });
        let row = DeploymentRow {
            name: "shop-dev".into(),
            number: 2,
            group: 1,
            project: "shop".into(),
            kind: "preview".into(),
            identifier: Some("feature/a".into()),
            cloud_url: Some("https://shop.example".into()),
            site_url: Some("https://shop.site.example".into()),
            created_ms: 1_795_000_000_000,
            expires_ms: Some(1_796_000_000_000),
            expires_after_push: true,
            state: DeploymentState::Deleting,
            share_weight: 3,
            share_percent_max: Some(50),
            secret: vec![0, 255, 7],
        };
        comes_back(row.clone());
        comes_back(DeploymentRow {
            identifier: None,
            cloud_url: None,
            site_url: None,
            expires_ms: None,
            expires_after_push: false,
            share_percent_max: None,
            state: DeploymentState::Serving,
            ..row
        });
        for scope in [
            DeployKeyScope::Deployment(9),
            DeployKeyScope::Previews("shop".into()),
            DeployKeyScope::Project("shop".into()),
        ] {
            comes_back(DeployKeyRow { scope, name: "ci".into(), digest: [3; 32], created_ms: 1 });
        }
    }
}

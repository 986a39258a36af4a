//! A deployment as it is known outside.

use std::collections::BTreeMap;

use crate::DeploymentRef;

/// The environment variable that holds [`Deployment::cloud_url`].
pub const CLOUD_URL_VARIABLE: &str = "CONVEX_CLOUD_URL";
/// The environment variable that holds [`Deployment::site_url`].
pub const SITE_URL_VARIABLE: &str = "CONVEX_SITE_URL";

/// A deployment: where its data is, what it is called, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Where its data is.
    pub reference: DeploymentRef,
    /// Its admin keys begin with it.
    pub name: String,
    /// The address at which clients reach the API: `http://127.0.0.1:3210`.
    pub cloud_url: String,
    /// The address of HTTP actions: `http://127.0.0.1:3211`.
    pub site_url: String,
}

impl Deployment {
    /// The environment variables that its functions see whatever its own are.
    pub fn platform_variables(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (CLOUD_URL_VARIABLE.to_owned(), self.cloud_url.clone()),
            (SITE_URL_VARIABLE.to_owned(), self.site_url.clone()),
        ])
    }
}

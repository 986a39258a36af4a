//! What changes the directory, each as one transaction.

use async_trait::async_trait;
use contract::{
    DeploymentKind, Door, Error, ErrorKind, GroupId, KeyOwner, NewDeployment, Result, Retry, Share,
};
use system_transaction::{Result as Transacted, Work};
use transaction::{
    DeployKeyRow, DeployKeyScope, DeploymentRow, DeploymentState, DirectoryRow, Stored, Transaction,
};
use value::Value;

use crate::{
    DirectoryLimits,
    known::Reading,
    names,
    secrets::{DeploymentSecret, MadeKey, Seal, make_key},
    service::DefaultDeployment,
    urls::host_of,
};

/// Makes the directory and the default deployment, if they are not there.
pub(crate) struct Found<'d> {
    pub default: &'d DefaultDeployment,
    pub seal: &'d Seal,
}

#[async_trait]
impl Work for Found<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        if !transaction.first_rows::<DirectoryRow>(1).await?.is_empty() {
            return Ok(());
        }
        let DefaultDeployment { name, reference, secret, kind, .. } = self.default;
        let number = reference.deployment.0;
        let secret = self.seal.close(number, &DeploymentSecret(*secret));
        let row = DeploymentRow {
            name: name.clone(),
            number,
            group: reference.group.0,
            project: name.clone(),
            kind: kind.name().to_owned(),
            identifier: None,
            cloud_url: None,
            site_url: None,
            created_ms: transaction.now_ms(),
            expires_ms: None,
            expires_after_push: false,
            state: DeploymentState::Serving,
            share_weight: Share::USUAL.weight,
            share_percent_max: Share::USUAL.percent_max,
            secret,
        };
        transaction.insert_row(&row).await?;
        transaction.insert_row(&DirectoryRow { next_deployment: number + 1, deployments: 1 }).await?;
        Ok(())
    }
}

/// What a change of the deployments needs to know.
pub(crate) struct Context<'c> {
    pub limits: &'c DirectoryLimits,
    pub reading: &'c Reading,
    /// Where a new deployment's data goes.
    pub group: GroupId,
}

/// Creates a deployment; its number comes back.
pub(crate) struct Create<'c> {
    pub context: Context<'c>,
    pub new: &'c NewDeployment,
}

#[async_trait]
impl Work for Create<'_> {
    type Output = u32;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<u32> {
        let project = self.new.project.as_ref().unwrap_or(&self.new.name);
        let what = Created { name: Some(&self.new.name), project, identifier: None, new: self.new };
        self.context.create(transaction, what).await
    }
}

/// What is created.
struct Created<'c> {
    /// `None`: it is called after its project, `identifier` and its number.
    name: Option<&'c str>,
    project: &'c str,
    /// What tools call a preview.
    identifier: Option<&'c str>,
    new: &'c NewDeployment,
}

impl Context<'_> {
    async fn create(&self, transaction: &mut Transaction, what: Created<'_>) -> Transacted<u32> {
        let Created { name, project, identifier, new } = what;
        let Stored { id, row: mut directory } = directory_row(transaction).await?;
        let number = directory.next_deployment;
        if directory.deployments as usize >= self.limits.deployments_max {
            let message = format!("There are {} deployments, and no more may be.", directory.deployments);
            return Err(Error::new(ErrorKind::TooManyRequests, "TooManyDeployments", message).into());
        }
        let numbered = || names::numbered(project, identifier.unwrap_or_default(), number);
        let name = name.map_or_else(numbered, str::to_owned);
        let taken = transaction.rows::<DeploymentRow>("by_name", &[Value::from(name.as_str())]).await?;
        if let Some(Stored { row, .. }) = taken.first() {
            let message = match row.state {
                DeploymentState::Serving => format!("There is a deployment {name} already."),
                DeploymentState::Deleting => {
                    format!("The last deployment {name} is being deleted. Try again.")
                }
            };
            return Err(name_taken("DeploymentExists", message).into());
        }
        let now_ms = transaction.now_ms();
        let expires_after_push = new.expires_ms.is_none() && new.kind == DeploymentKind::Preview;
        let expires_ms = new.expires_ms.or(expires_after_push.then(|| after_push_ms(self.limits, now_ms)));
        let latest_ms = now_ms.saturating_add(self.limits.expiry_ms_max);
        if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms || expires_ms > latest_ms) {
            let message =
                "The time at which a deployment is deleted by itself must lie ahead, within ten years.";
            return Err(Error::bad_request("InvalidExpiry", message).into());
        }
        let row = DeploymentRow {
            name,
            number,
            group: self.group.0,
            project: project.to_owned(),
            kind: new.kind.name().to_owned(),
            identifier: identifier.filter(|_| new.kind == DeploymentKind::Preview).map(str::to_owned),
            cloud_url: new.cloud_url.clone(),
            site_url: new.site_url.clone(),
            created_ms: now_ms,
            expires_ms,
            expires_after_push,
            state: DeploymentState::Serving,
            share_weight: new.share.weight,
            share_percent_max: new.share.percent_max,
            secret: self.reading.seal.close(number, &DeploymentSecret::new()),
        };
        check_addresses(transaction, self.reading, &row).await?;
        transaction.insert_row(&row).await?;
        directory.next_deployment = number
            .checked_add(1)
            .ok_or_else(|| Error::internal("there are no more numbers for deployments"))?;
        directory.deployments += 1;
        transaction.replace_row(id, &directory).await?;
        Ok(number)
    }
}

/// When a preview is deleted by itself that is pushed to now, both in milliseconds since the Unix epoch.
fn after_push_ms(limits: &DirectoryLimits, now_ms: u64) -> u64 {
    now_ms.saturating_add(limits.preview_age_ms)
}

/// A host name is one deployment's, also where it follows from the name: another one may have been given it.
async fn check_addresses(
    transaction: &mut Transaction,
    reading: &Reading,
    row: &DeploymentRow,
) -> Transacted<()> {
    let addresses = reading.addresses(row);
    for other in transaction.rows::<DeploymentRow>("by_name", &[]).await? {
        if other.row.number != row.number && addresses.collide_with(&reading.addresses(&other.row)) {
            let message = format!("The deployment {} has one of the host names.", other.row.name);
            return Err(name_taken("DeploymentUrlTaken", message).into());
        }
    }
    Ok(())
}

/// Gives a deployment another address, or the one that it has by default.
pub(crate) struct SetUrl<'c> {
    pub reading: &'c Reading,
    pub number: u32,
    pub door: Door,
    pub url: Option<String>,
}

#[async_trait]
impl Work for SetUrl<'_> {
    /// Whether it was another one.
    type Output = bool;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<bool> {
        let Stored { id, mut row } = served_number(transaction, self.number).await?;
        let own = match self.door {
            Door::Api => &mut row.cloud_url,
            Door::Site => &mut row.site_url,
        };
        if *own == self.url {
            return Ok(false);
        }
        let before = std::mem::replace(own, self.url.clone());
        if let Some(host) = self.url.as_deref().and_then(host_of) {
            self.check_choice(transaction, &row, (&host, before.as_deref())).await?;
        }
        check_addresses(transaction, self.reading, &row).await?;
        transaction.replace_row(id, &row).await?;
        Ok(true)
    }
}

impl SetUrl<'_> {
    /// Whether a deployment may have this host name because somebody with its key says so: a name by which the server or another
    /// deployment is reached takes requests from these.
    async fn check_choice(
        &self,
        transaction: &mut Transaction,
        row: &DeploymentRow,
        (host, before): (&str, Option<&str>),
    ) -> Transacted<()> {
        let Reading { default, urls, hosts, .. } = self.reading;
        let by_pattern = urls.name_at(host);
        if let Some(name) = by_pattern.filter(|name| *name != row.name) {
            let message = format!("The host name {host} is that of the deployment {name}, if there is one.");
            return Err(name_taken("DeploymentUrlTaken", message).into());
        }
        let is_default = row.number == default.reference.deployment.0;
        let is_host = |url: &str| host_of(url).as_deref() == Some(host);
        let is_own = by_pattern.is_some()
            || before.is_some_and(is_host)
            || is_default && (is_host(&default.cloud_url) || is_host(&default.site_url));
        let is_allowed = is_own
            || hosts.iter().any(|rule| rule.names(host))
            // With a server of one's own.
            || directory_row(transaction).await?.row.deployments == 1;
        if is_allowed {
            return Ok(());
        }
        let message = format!(
            "The key of one of several deployments can't choose the host name {host}: it is for the server's operator to allow that (`deployment_hosts`)."
        );
        Err(Error::new(ErrorKind::Forbidden, "DeploymentUrlNotAllowed", message).into())
    }
}

/// Finds the preview of a project, or creates it. Its number, and whether it is new.
pub(crate) struct ClaimPreview<'c> {
    pub context: Context<'c>,
    pub project: &'c str,
    pub identifier: &'c str,
    pub reuse: bool,
}

#[async_trait]
impl Work for ClaimPreview<'_> {
    type Output = (u32, bool);

    async fn run(&self, transaction: &mut Transaction) -> Transacted<(u32, bool)> {
        let key = [Value::from(self.project), Value::from(self.identifier)];
        let found = transaction.rows::<DeploymentRow>("by_project_and_identifier", &key).await?;
        let mut served = found.into_iter().filter(|stored| stored.row.state == DeploymentState::Serving);
        let now_ms = transaction.now_ms();
        if let Some(Stored { id, mut row }) = served.next() {
            if self.reuse {
                let number = row.number;
                row.expires_ms = Some(after_push_ms(self.context.limits, now_ms));
                transaction.replace_row(id, &row).await?;
                return Ok((number, false));
            }
            row.state = DeploymentState::Deleting;
            transaction.replace_row(id, &row).await?;
        }
        let new = NewDeployment {
            name: String::new(),
            project: None,
            kind: DeploymentKind::Preview,
            cloud_url: None,
            site_url: None,
            expires_ms: None,
            share: Share::USUAL,
        };
        let (project, identifier) = (self.project, Some(self.identifier));
        let what = Created { name: None, project, identifier, new: &new };
        Ok((self.context.create(transaction, what).await?, true))
    }
}

/// Finds the oldest deployment of a project and a kind, or creates one under a name that is free; its number comes back.
pub(crate) struct Provision<'c> {
    pub context: Context<'c>,
    pub project: &'c str,
    pub kind: DeploymentKind,
}

#[async_trait]
impl Work for Provision<'_> {
    type Output = u32;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<u32> {
        let Provision { context, project, kind } = self;
        let of_project = [Value::from(*project)];
        let of_project = transaction.rows::<DeploymentRow>("by_project_and_identifier", &of_project).await?;
        let is_it = |row: &DeploymentRow| row.state == DeploymentState::Serving && row.kind == kind.name();
        let found = of_project.iter().map(|stored| &stored.row).filter(|row| is_it(row));
        if let Some(number) = found.map(|row| row.number).min() {
            return Ok(number);
        }
        let name = self.free_name(transaction).await?;
        let new = NewDeployment {
            name: String::new(),
            project: None,
            kind: *kind,
            cloud_url: None,
            site_url: None,
            expires_ms: None,
            share: Share::USUAL,
        };
        // Where none of the names is free it is called after its number.
        let what = Created { name: name.as_deref(), project, identifier: Some(kind.name()), new: &new };
        context.create(transaction, what).await
    }
}

impl Provision<'_> {
    /// The project's own name for what its users see, else with the kind behind it.
    async fn free_name(&self, transaction: &mut Transaction) -> Transacted<Option<String>> {
        let own = (self.kind == DeploymentKind::Production).then(|| self.project.to_owned());
        let with_kind = format!("{}-{}", self.project, self.kind.name());
        for name in own.into_iter().chain([with_kind]).filter(|name| names::is_name(name)) {
            if transaction.rows::<DeploymentRow>("by_name", &[Value::from(name.as_str())]).await?.is_empty() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Moves on the time of a preview that was pushed to, if it follows from that.
pub(crate) struct Pushed<'l> {
    pub limits: &'l DirectoryLimits,
    pub number: u32,
}

#[async_trait]
impl Work for Pushed<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let Stored { id, mut row } = served_number(transaction, self.number).await?;
        if row.expires_after_push {
            row.expires_ms = Some(after_push_ms(self.limits, transaction.now_ms()));
            transaction.replace_row(id, &row).await?;
        }
        Ok(())
    }
}

/// Has a deployment deleted; its number comes back.
pub(crate) struct Delete<'n> {
    pub name: &'n str,
    pub default: &'n DefaultDeployment,
}

#[async_trait]
impl Work for Delete<'_> {
    type Output = u32;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<u32> {
        let Stored { id, mut row } = served(transaction, self.name).await?;
        if row.number == self.default.reference.deployment.0 {
            let message = "The deployment that requests are for which name none can't be deleted.";
            return Err(Error::bad_request("DefaultDeployment", message).into());
        }
        row.state = DeploymentState::Deleting;
        transaction.replace_row(id, &row).await?;
        Ok(row.number)
    }
}

/// Has a deployment deleted whose time is over, if it still is.
pub(crate) struct Expire {
    pub number: u32,
    pub now_ms: u64,
}

#[async_trait]
impl Work for Expire {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let key = [Value::Float64(f64::from(self.number))];
        for Stored { id, mut row } in transaction.rows::<DeploymentRow>("by_number", &key).await? {
            let is_over = row.expires_ms.is_some_and(|expires_ms| expires_ms <= self.now_ms);
            if is_over && row.state == DeploymentState::Serving {
                row.state = DeploymentState::Deleting;
                transaction.replace_row(id, &row).await?;
            }
        }
        Ok(())
    }
}

/// Forgets a deployment whose data is gone, and its keys.
pub(crate) struct Forget {
    pub number: u32,
}

#[async_trait]
impl Work for Forget {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let key = [Value::Float64(f64::from(self.number))];
        let Some(Stored { id, .. }) = transaction.rows::<DeploymentRow>("by_number", &key).await?.pop()
        else {
            return Ok(());
        };
        transaction.delete_row::<DeploymentRow>(id).await?;
        let scope = DeployKeyScope::Deployment(self.number).key();
        for key in transaction.rows::<DeployKeyRow>("by_owner", &scope).await? {
            transaction.delete_row::<DeployKeyRow>(key.id).await?;
        }
        let Stored { id, row: mut directory } = directory_row(transaction).await?;
        directory.deployments = directory.deployments.saturating_sub(1);
        transaction.replace_row(id, &directory).await?;
        Ok(())
    }
}

/// Makes a key; its text comes back.
pub(crate) struct CreateKey<'k> {
    pub owner: &'k KeyOwner,
    pub name: &'k str,
    pub team: &'k str,
    pub keys_max: usize,
}

#[async_trait]
impl Work for CreateKey<'_> {
    type Output = String;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<String> {
        let (scope, kind) = scope_of(transaction, self.owner).await?;
        let keys = transaction.rows::<DeployKeyRow>("by_owner", &scope.key()).await?;
        if keys.iter().any(|key| key.row.name == self.name) {
            let message = format!("There is a key {:?} already.", self.name);
            return Err(name_taken("KeyExists", message).into());
        }
        if keys.len() >= self.keys_max {
            let message = format!("There are {} keys, and no more may be.", keys.len());
            return Err(Error::new(ErrorKind::TooManyRequests, "TooManyKeys", message).into());
        }
        let MadeKey { text, digest } = make_key(self.owner, kind, self.team);
        let (name, created_ms) = (self.name.to_owned(), transaction.now_ms());
        transaction.insert_row(&DeployKeyRow { scope, name, digest, created_ms }).await?;
        Ok(text)
    }
}

/// Deletes a key.
pub(crate) struct DeleteKey<'k> {
    pub owner: &'k KeyOwner,
    pub name: &'k str,
}

#[async_trait]
impl Work for DeleteKey<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let (scope, _) = scope_of(transaction, self.owner).await?;
        let [kind, of] = scope.key();
        let key = [kind, of, Value::from(self.name)];
        let Some(Stored { id, .. }) = transaction.rows::<DeployKeyRow>("by_owner", &key).await?.pop() else {
            let message = format!("There is no key {:?}.", self.name);
            return Err(Error::new(ErrorKind::NotFound, "KeyNotFound", message).into());
        };
        Ok(transaction.delete_row::<DeployKeyRow>(id).await?)
    }
}

/// What a key of this owner opens, and of which kind the owner is, if it is a deployment.
async fn scope_of(
    transaction: &mut Transaction,
    owner: &KeyOwner,
) -> Transacted<(DeployKeyScope, DeploymentKind)> {
    let kind = DeploymentKind::Development;
    match owner {
        KeyOwner::Deployment(name) => {
            let Stored { row, .. } = served(transaction, name).await?;
            let kind = DeploymentKind::from_name(&row.kind).unwrap_or(kind);
            Ok((DeployKeyScope::Deployment(row.number), kind))
        }
        KeyOwner::Previews(project) => Ok((DeployKeyScope::Previews(project.clone()), kind)),
        KeyOwner::Project(project) => Ok((DeployKeyScope::Project(project.clone()), kind)),
    }
}

/// The row of a deployment that is served. Errors: `DeploymentNotFound`.
async fn served(transaction: &mut Transaction, name: &str) -> Transacted<Stored<DeploymentRow>> {
    let found = transaction.rows::<DeploymentRow>("by_name", &[Value::from(name)]).await?.pop();
    let served = found.filter(|stored| stored.row.state == DeploymentState::Serving);
    Ok(served.ok_or_else(contract::deployment_not_found)?)
}

/// The same by its number.
async fn served_number(transaction: &mut Transaction, number: u32) -> Transacted<Stored<DeploymentRow>> {
    let key = [Value::Float64(f64::from(number))];
    let found = transaction.rows::<DeploymentRow>("by_number", &key).await?.pop();
    let served = found.filter(|stored| stored.row.state == DeploymentState::Serving);
    Ok(served.ok_or_else(contract::deployment_not_found)?)
}

/// Errors: `InternalServerError` if there is none, which [`Found`] has seen to.
async fn directory_row(transaction: &mut Transaction) -> Transacted<Stored<DirectoryRow>> {
    let row = transaction.first_rows::<DirectoryRow>(1).await?.pop();
    Ok(row.ok_or_else(|| Error::internal("the directory has no row of its own"))?)
}

/// A name that something else has. Trying again would find it taken again.
fn name_taken(code: &'static str, message: String) -> Error {
    Error { retry: Retry::Never, ..Error::new(ErrorKind::Conflict, code, message) }
}

/// What may be asked of a share. Errors: `InvalidShare`.
pub(crate) fn check_share(share: Share) -> Result<()> {
    let is_weight = (1..=Share::WEIGHT_MAX).contains(&share.weight);
    if is_weight && share.percent_max.is_none_or(|percent| (1..=100).contains(&percent)) {
        return Ok(());
    }
    let message =
        format!("A share has a weight from 1 to {}, and at most 1 to 100 percent.", Share::WEIGHT_MAX);
    Err(Error::bad_request("InvalidShare", message))
}

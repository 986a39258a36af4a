//! The directory on a real log: what it keeps, what it shows, and what goes with a deployment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    DIRECTORY, DeploymentId, DeploymentKind, DeploymentRef, Deployments, Directory as _, DirectoryEntry,
    Door, ErrorKind, GroupId, KeyOwner, NewDeployment, NewKey, NodeId, ObjectName, ObjectStore, Sequencer,
    Share, TransactionLog,
};
use directory::{Clock, DefaultDeployment, DirectoryLimits, Handle, Options, UrlPatterns};
use system_transaction::{SystemTransactions, Work};
use tokio_util::sync::CancellationToken;
use transaction::{FileObjectRow, Transaction};
use value::{ComponentId, Value, object};

const DEFAULT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
const CLUSTER_SECRET: [u8; 32] = [9; 32];
/// So long nothing takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was under way has no time to end: in these tests nothing is.
const LIMITS: DirectoryLimits = DirectoryLimits {
    expiry_check_ms: 50,
    removal_grace_ms: 1,
    removal_retry_ms: 50,
    removed_documents_max: 7,
    keys_max: 3,
    deployments_max: 5,
    ..DirectoryLimits::DEFAULT
};

/// A log and objects that outlive the service.
struct Ground {
    log: txlog::Service,
    transactions: SystemTransactions,
    objects: Arc<dyn ObjectStore>,
    now_ms: Arc<AtomicU64>,
    /// How far the clock is ahead for its next look.
    ahead_ms: Arc<AtomicU64>,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

/// A directory service that runs.
struct Running {
    directory: Handle,
    service: directory::Service,
    token: CancellationToken,
}

impl Ground {
    async fn new() -> Ground {
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = CancellationToken::new();
        let mut options = txlog::Options::embedded(folder.path().join("log"));
        options.deployments.push(txlog::Deployment { name: "directory".into(), at: DIRECTORY });
        let log = txlog::Service::start(options, shutdown.child_token()).await.expect("the log starts");
        let handle: Arc<dyn TransactionLog> = Arc::new(log.handle());
        let dependencies = sequencer::Dependencies { log: handle.clone() };
        let sequencer: Arc<dyn Sequencer> =
            Arc::new(sequencer::Service::start(dependencies, CancellationToken::new()).handle());
        let transactions =
            SystemTransactions::new(handle, sequencer, 1 << 20, &[7; 32], transaction::Limits::DEFAULT);
        let options = blob::Options { folder: folder.path().join("blobs"), is_shared: false };
        let blobs = blob::Service::start(options, CancellationToken::new()).await.expect("the blobs open");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
        let now_ms = Arc::new(AtomicU64::new(now.as_millis() as u64));
        let objects = Arc::new(blobs.handle());
        Ground { log, transactions, objects, now_ms, ahead_ms: Arc::default(), shutdown, _folder: folder }
    }

    async fn start(&self, change: impl FnOnce(&mut Options)) -> Running {
        self.try_start(change).await.expect("it starts")
    }

    async fn try_start(&self, change: impl FnOnce(&mut Options)) -> contract::Result<Running> {
        let (cloud_url, site_url) = ("http://127.0.0.1:3210".to_owned(), "http://127.0.0.1:3211".to_owned());
        let mut options = Options {
            limits: LIMITS,
            secret: CLUSTER_SECRET,
            urls: UrlPatterns::below(&cloud_url, &site_url),
            default: DefaultDeployment {
                name: "dev".to_owned(),
                reference: DEFAULT,
                kind: DeploymentKind::Development,
                cloud_url,
                site_url,
                secret: [1; 32],
            },
            groups: vec![DEFAULT.group],
            hosts: Vec::new(),
            team: "team".to_owned(),
        };
        change(&mut options);
        let (log, now_ms, ahead_ms) = (self.log.handle(), self.now_ms.clone(), self.ahead_ms.clone());
        let now = move || {
            let now_ms = now_ms.load(Ordering::SeqCst) + ahead_ms.swap(0, Ordering::SeqCst);
            UNIX_EPOCH + Duration::from_millis(now_ms)
        };
        let dependencies = directory::Dependencies {
            transactions: self.transactions.clone(),
            objects: self.objects.clone(),
            clock: Clock::new(now),
            // As which an embedded log runs.
            node: Some(NodeId(1)),
            before_shown: Arc::new(move |deployments: &Deployments| {
                log.serve(deployments.kept().iter().copied());
            }),
        };
        let token = self.shutdown.child_token();
        let service = directory::Service::new(options, dependencies, token.clone());
        tokio::time::timeout(PATIENCE, service.handle().open()).await.expect("in time")?;
        Ok(Running { directory: service.handle(), service, token })
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.log.stopped()).await.expect("it stops");
    }

    /// Writes what applications have: documents of a table, and objects of files.
    async fn fill(&self, deployment: DeploymentRef, documents: usize) -> Vec<ObjectName> {
        self.transactions.transact(deployment, &Fill { documents }).await.expect("it commits");
        let mut transaction = self.transactions.snapshot(deployment).await.expect("a snapshot");
        let rows = transaction.first_rows::<FileObjectRow>(100).await.expect("rows");
        let names: Vec<ObjectName> = rows.iter().map(|row| row.object_name(deployment)).collect();
        for name in &names {
            let mut writer = self.objects.create(*name).await.expect("it is made");
            writer.write(Bytes::from_static(b"bytes")).await.expect("it is written");
            writer.finish().await.expect("it is durable");
        }
        names
    }

    /// Documents of the application's table.
    async fn count(&self, deployment: DeploymentRef) -> u64 {
        let mut transaction = self.transactions.snapshot(deployment).await.expect("a snapshot");
        transaction.count("notes").await.expect("a count")
    }
}

impl Running {
    async fn stop(self) {
        self.token.cancel();
        tokio::time::timeout(PATIENCE, self.service.stopped()).await.expect("it stops");
    }

    async fn create(&self, name: &str) -> Arc<DirectoryEntry> {
        self.directory.create(new(name)).await.expect("it is created")
    }

    fn names(&self) -> Vec<String> {
        let deployments = self.directory.deployments();
        let deployments = deployments.borrow();
        deployments.iter().map(|entry| entry.deployment.name.clone()).collect()
    }

    /// Until nothing is left of what was deleted.
    async fn forgets(&self, deployment: DeploymentRef) {
        let mut deployments = self.directory.deployments();
        let forgotten = deployments.wait_for(|deployments| !deployments.kept().contains(&deployment));
        tokio::time::timeout(PATIENCE, forgotten).await.expect("it is forgotten").expect("it lives");
    }
}

fn new(name: &str) -> NewDeployment {
    NewDeployment {
        name: name.to_owned(),
        project: None,
        kind: DeploymentKind::Production,
        cloud_url: None,
        site_url: None,
        expires_ms: None,
        share: Share::USUAL,
    }
}

struct Fill {
    documents: usize,
}

#[async_trait]
impl Work for Fill {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        for number in 0..self.documents {
            let document = Value::Object(object! { "number" => number as f64 });
            transaction.insert("notes", document).await?;
        }
        for _ in 0..3 {
            transaction.note_object(ComponentId::ROOT).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_default_deployment_is_there_from_the_start_with_the_key_of_its_secret() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    let deployments = running.directory.deployments();
    let dev = deployments.borrow().default_entry().expect("it is there").clone();
    assert_eq!((&dev.deployment.name[..], dev.reference()), ("dev", DEFAULT));
    assert_eq!(dev.deployment.cloud_url, "http://127.0.0.1:3210");
    assert!(dev.api_host.is_none() && dev.site_host.is_none());
    running.stop().await;
    // Its secret is the directory's from now on, and so its key stays.
    let again = ground.start(|options| options.default.secret = [2; 32]).await;
    let key = again.directory.deployments().borrow().default_entry().expect("it is there").admin_key.clone();
    assert_eq!(key, dev.admin_key);
    again.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn what_is_created_is_there_at_once_and_after_a_restart() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    let shop = running.create("shop").await;
    assert_eq!(shop.reference(), DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) });
    assert_eq!(shop.deployment.cloud_url, "http://127.0.0.1:3210/d/shop");
    assert_eq!((&shop.project[..], shop.kind, shop.expires_ms), ("shop", DeploymentKind::Production, None));
    assert!(shop.admin_key.0.starts_with("shop|01"));
    assert_eq!(running.names(), ["dev", "shop"]);
    ground.fill(shop.reference(), 1).await;
    let share = Share { weight: 3, percent_max: Some(40) };
    let own = NewDeployment {
        project: Some("shop".into()),
        cloud_url: Some("https://Blog.example/".into()),
        site_url: Some("https://blog-site.example".into()),
        share,
        ..new("blog")
    };
    let blog = running.directory.create(own).await.expect("it is created");
    assert_eq!(blog.deployment.cloud_url, "https://Blog.example");
    assert_eq!((blog.project.as_str(), blog.share), ("shop", share));
    let at_host = |host: &str| {
        let deployments = running.directory.deployments();
        let deployments = deployments.borrow();
        deployments.at_host(host).map(|(entry, _)| entry.deployment.name.clone())
    };
    assert_eq!(at_host("blog.example").as_deref(), Some("blog"));
    assert_eq!(at_host("blog-site.example").as_deref(), Some("blog"));
    assert_eq!(at_host("127.0.0.1"), None);
    running.stop().await;
    let again = ground.start(|_| {}).await;
    assert_eq!(again.names(), ["dev", "shop", "blog"]);
    let deployments = again.directory.deployments();
    let known = deployments.borrow().named("shop").expect("it is there").clone();
    assert_eq!(known.admin_key, shop.admin_key);
    assert_eq!(ground.count(shop.reference()).await, 1);
    drop(deployments);
    again.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn another_cluster_s_secret_opens_nothing() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    running.create("shop").await;
    running.stop().await;
    let other = ground.try_start(|options| options.secret = [8; 32]).await;
    assert_eq!(other.err().expect("it is refused").code, "ClusterSecretWrong");
    ground.stop().await;
}

#[tokio::test]
async fn what_can_not_be_is_refused_by_name_and_changes_nothing() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    let own = NewDeployment { cloud_url: Some("https://shop.example".into()), ..new("shop") };
    running.directory.create(own).await.expect("it is created");
    let refused = async |new: NewDeployment| {
        let error = running.directory.create(new).await.expect_err("it is refused");
        error.code.into_owned()
    };
    let now_ms = ground.now_ms.load(Ordering::SeqCst);
    let none = || new("other");
    for (wrong, code) in [
        (new("Shop"), "InvalidDeploymentName"),
        (new(""), "InvalidDeploymentName"),
        (new("shop"), "DeploymentExists"),
        (new("dev"), "DeploymentExists"),
        (NewDeployment { project: Some("a/b".into()), ..none() }, "InvalidProjectName"),
        (NewDeployment { cloud_url: Some("shop.example".into()), ..none() }, "InvalidDeploymentUrl"),
        (NewDeployment { site_url: Some("https://x/y".into()), ..none() }, "InvalidDeploymentUrl"),
        (NewDeployment { cloud_url: Some("https://SHOP.example:99".into()), ..none() }, "DeploymentUrlTaken"),
        (NewDeployment { expires_ms: Some(now_ms - 60_000), ..none() }, "InvalidExpiry"),
        (NewDeployment { expires_ms: Some(u64::MAX), ..none() }, "InvalidExpiry"),
        (NewDeployment { share: Share { weight: 0, percent_max: None }, ..none() }, "InvalidShare"),
        (NewDeployment { share: Share { weight: 101, percent_max: None }, ..none() }, "InvalidShare"),
        (NewDeployment { share: Share { weight: 1, percent_max: Some(101) }, ..none() }, "InvalidShare"),
    ] {
        assert_eq!(refused(wrong.clone()).await, code, "{wrong:?}");
    }
    assert_eq!(running.names(), ["dev", "shop"]);
    for name in ["a", "b", "c"] {
        running.create(name).await;
    }
    assert_eq!(refused(new("d")).await, "TooManyDeployments");
    let code = async |name: &str| running.directory.delete(name).await.expect_err("refused").code;
    assert_eq!(code("nobody").await, "DeploymentNotFound");
    assert_eq!(code("dev").await, "DefaultDeployment");
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn a_deployment_chooses_only_host_names_that_are_not_others_once_there_are_several() {
    let ground = Ground::new().await;
    let running = ground
        .start(|options| {
            options.urls = UrlPatterns {
                cloud: "http://{name}.localhost:3210".to_owned(),
                site: "http://{name}-site.localhost:3211".to_owned(),
            };
            options.hosts = vec!["*.allowed.example".parse().expect("a rule")];
        })
        .await;
    let set = async |deployment: DeploymentRef, url: Option<&str>| {
        let set = running.directory.set_url(deployment, Door::Api, url).await;
        set.map_err(|error| (error.code.into_owned(), error.kind))
    };
    let refused = |code: &str, kind| Err((code.to_owned(), kind));
    let (taken, not_allowed) = (
        refused("DeploymentUrlTaken", ErrorKind::Conflict),
        refused("DeploymentUrlNotAllowed", ErrorKind::Forbidden),
    );
    // Alone it has the server, but not the names of those that come.
    assert_eq!(set(DEFAULT, Some("http://anything.example")).await, Ok(()));
    assert_eq!(set(DEFAULT, Some("http://victim.localhost:3210")).await, taken);
    assert_eq!(set(DEFAULT, None).await, Ok(()));
    let own = NewDeployment { cloud_url: Some("https://evil.example".into()), ..new("evil") };
    let evil = running.directory.create(own).await.expect("it is created").reference();
    for url in ["http://victim.localhost:3210", "http://dev.localhost", "https://victim-site.localhost:1"] {
        assert_eq!(set(evil, Some(url)).await, taken, "{url}");
    }
    for url in ["http://localhost:3210", "http://node-1.internal:3210", "http://allowed.example"] {
        assert_eq!(set(evil, Some(url)).await, not_allowed, "{url}");
        assert_eq!(set(DEFAULT, Some(url)).await, not_allowed, "{url}");
    }
    for url in [
        Some("https://evil.example:8443"),
        Some("http://evil.localhost"),
        None,
        Some("http://a.allowed.example"),
    ] {
        assert_eq!(set(evil, url).await, Ok(()), "{url:?}");
    }
    let victim = running.create("victim").await;
    let at_host =
        running.directory.deployments().borrow().at_host("victim.localhost").map(|(entry, _)| entry.clone());
    assert_eq!(at_host.expect("it is served").reference(), victim.reference());
    // Its name makes a host that another one has for its HTTP actions.
    let error = running.directory.create(new("victim-site")).await.expect_err("it is refused");
    assert_eq!(error.code, "DeploymentUrlTaken");
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn deployments_below_one_address_have_no_host_name_of_their_own() {
    let ground = Ground::new().await;
    let below = UrlPatterns::below("http://proxy.example", "http://proxy.example:81");
    let running = ground.start(|options| options.urls = below).await;
    for name in ["one", "other"] {
        let entry = running.create(name).await;
        assert_eq!(entry.deployment.cloud_url, format!("http://proxy.example/d/{name}"));
        assert_eq!((&entry.api_host, &entry.site_host), (&None, &None));
    }
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn a_site_is_told_by_its_host_only_where_that_is_a_name_of_its_own() {
    let ground = Ground::new().await;
    for (site, told) in [
        ("http://127.0.0.1:3211", None),
        ("http://[::1]:3211", None),
        ("http://localhost:3211", None),
        ("https://api.example", None),
        ("https://site.example", Some("site.example".to_owned())),
    ] {
        let running = ground.start(|options| {
            options.default.cloud_url = "https://api.example".to_owned();
            options.default.site_url = site.to_owned();
        });
        let running = running.await;
        let deployments = running.directory.deployments();
        assert_eq!(deployments.borrow().default_entry().expect("it is there").site_host, told, "{site}");
        running.stop().await;
    }
    ground.stop().await;
}

#[tokio::test]
async fn with_a_deployment_goes_all_that_it_had_and_nothing_of_its_neighbours() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    let shop = running.create("shop").await;
    let (kept, gone) = (ground.fill(DEFAULT, 5).await, ground.fill(shop.reference(), 40).await);
    assert_eq!((kept.len(), gone.len()), (3, 3));
    let owner = KeyOwner::Deployment("shop".into());
    let key = NewKey { owner: owner.clone(), name: "ci".into() };
    running.directory.create_key(key).await.expect("it is made");

    running.directory.delete("shop").await.expect("it is deleted");
    assert_eq!(running.names(), ["dev"], "nobody serves it from now on");
    running.forgets(shop.reference()).await;
    let refused = ground.transactions.log.read(
        shop.reference(),
        contract::ReadAt::published(contract::Timestamp::ZERO),
        &[],
    );
    assert_eq!(refused.await.expect_err("the log does not know it").code, "DeploymentNotFound");
    for name in gone {
        assert!(ground.objects.read(name, 0..5).await.expect("it answers").is_none(), "the bytes are gone");
    }
    for name in kept {
        assert!(ground.objects.read(name, 0..5).await.expect("it answers").is_some());
    }
    assert_eq!(ground.count(DEFAULT).await, 5);
    // The log still lets us look at what it held, if it is told to.
    ground.log.handle().serve([shop.reference()]);
    assert_eq!(ground.count(shop.reference()).await, 0);
    let mut transaction = ground.transactions.snapshot(shop.reference()).await.expect("a snapshot");
    assert_eq!(transaction.erase(10).await.expect("it looks"), 0, "no document is left");
    drop(transaction);

    // The name is free again, the number is not, and the key opens nothing.
    let again = running.create("shop").await;
    assert_eq!(again.reference().deployment, DeploymentId(3));
    assert!(again.keys.is_empty() && again.admin_key != shop.admin_key);
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_goes_on_with_the_next_start() {
    let ground = Ground::new().await;
    let running = ground.start(|options| options.limits.removal_grace_ms = 3_600_000).await;
    let shop = running.create("shop").await;
    ground.fill(shop.reference(), 20).await;
    running.directory.delete("shop").await.expect("it is deleted");
    assert_eq!(running.directory.create(new("shop")).await.expect_err("taken").code, "DeploymentExists");
    running.stop().await;
    let again = ground.start(|_| {}).await;
    assert_eq!(again.names(), ["dev"]);
    again.forgets(shop.reference()).await;
    again.create("shop").await;
    again.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn a_preview_is_reused_or_made_anew_and_goes_when_its_time_is_over() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    let claim =
        async |identifier: &str, reuse| running.directory.claim_preview("shop", identifier, reuse).await;
    let error = claim("feature/a", true).await.expect_err("there is no project");
    assert_eq!((&*error.code, error.kind), ("ProjectNotFound", ErrorKind::NotFound));
    running.create("shop").await;
    assert_eq!(claim("", true).await.expect_err("no name").code, "InvalidPreviewName");
    let (first, is_new) = claim("feature/a", true).await.expect("it is made");
    assert!(is_new);
    assert_eq!((&first.deployment.name[..], first.kind), ("shop-feature-a-3", DeploymentKind::Preview));
    assert_eq!(first.identifier.as_deref(), Some("feature/a"));
    let (same, is_new) = claim("feature/a", true).await.expect("it is there");
    assert!(!is_new && same.reference() == first.reference());
    let (anew, is_new) = claim("feature/a", false).await.expect("it is made anew");
    assert!(is_new && anew.reference() != first.reference());
    running.forgets(first.reference()).await;

    let expires_ms = anew.expires_ms.expect("previews go by themselves");
    ground.now_ms.store(expires_ms - 1, Ordering::SeqCst);
    let (other, _) = claim("b", true).await.expect("it is made");
    assert!(running.names().contains(&anew.deployment.name));
    ground.now_ms.store(expires_ms, Ordering::SeqCst);
    // Whatever changes has it look at the clock.
    running.directory.delete(&other.deployment.name).await.expect("it is deleted");
    running.forgets(anew.reference()).await;
    assert_eq!(running.names(), ["dev", "shop"]);
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_for_a_moment_deletes_nothing() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    running.create("shop").await;
    let (preview, _) = running.directory.claim_preview("shop", "a", true).await.expect("it is made");
    ground.ahead_ms.store(30 * 24 * 3_600_000, Ordering::SeqCst);
    // Whatever changes has it look at the clock.
    running.create("other").await;
    let looked = async {
        while ground.ahead_ms.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.expect("it looks");
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert!(running.names().contains(&preview.deployment.name), "it is served");
    }
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn a_push_moves_on_the_time_of_a_preview_unless_somebody_has_chosen_it() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    let made = async |name: &str, kind, expires_ms| {
        let new = NewDeployment { kind, expires_ms, ..new(name) };
        running.directory.create(new).await.expect("it is created")
    };
    let chosen_ms = Some(ground.now_ms.load(Ordering::SeqCst) + 3_600_000);
    let preview = made("of-an-operator", DeploymentKind::Preview, None).await;
    let (claimed, _) =
        running.directory.claim_preview("of-an-operator", "a", true).await.expect("it is made");
    let fixed = made("fixed", DeploymentKind::Preview, chosen_ms).await;
    let production = made("shop", DeploymentKind::Production, chosen_ms).await;
    // By the clock, of which a step is a millisecond.
    tokio::time::sleep(Duration::from_millis(20)).await;
    for entry in [&preview, &claimed, &fixed, &production] {
        running.directory.pushed(entry.reference()).await.expect("it is there");
    }
    let moves_on = async |entry: &DirectoryEntry| {
        let mut deployments = running.directory.deployments();
        let is_later = |deployments: &Arc<Deployments>| {
            deployments.get(entry.reference()).is_ok_and(|now| now.expires_ms > entry.expires_ms)
        };
        let later = deployments.wait_for(is_later);
        tokio::time::timeout(PATIENCE, later).await.expect("in time").expect("it lives");
    };
    moves_on(&preview).await;
    moves_on(&claimed).await;
    for entry in [&fixed, &production] {
        let deployments = running.directory.deployments();
        let now = deployments.borrow().get(entry.reference()).expect("it is there").expires_ms;
        assert_eq!(now, chosen_ms);
    }
    let nobody = DeploymentRef { deployment: DeploymentId(99), ..DEFAULT };
    assert_eq!(running.directory.pushed(nobody).await.expect_err("nobody").code, "DeploymentNotFound");
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn what_a_project_lacks_is_created_once_under_a_name_that_is_free() {
    use DeploymentKind::{Development, Production};
    let ground = Ground::new().await;
    let running = ground.start(|options| options.limits.deployments_max = 20).await;
    let provision = async |project: &str, kind| {
        let entry = running.directory.provision(project, kind).await.expect("it is there");
        assert_eq!((&entry.project[..], entry.kind, &entry.identifier), (project, kind, &None));
        entry.deployment.name.clone()
    };
    let all = futures::future::join_all((0..4).map(|_| provision("shop", Production))).await;
    assert_eq!(all, ["shop"; 4]);
    assert_eq!(provision("shop", Development).await, "shop-dev");
    assert_eq!(provision("shop", Development).await, "shop-dev");
    // Names that are another project's, or too long.
    for name in ["zed", "zed-prod", "zed-dev"] {
        running
            .directory
            .create(NewDeployment { project: Some("other".into()), ..new(name) })
            .await
            .expect("made");
    }
    let numbered = provision("zed", Production).await;
    assert!(numbered.starts_with("zed-prod-"), "{numbered}");
    assert_eq!(provision("zed", Production).await, numbered);
    let numbered = provision("zed", Development).await;
    assert!(numbered.starts_with("zed-dev-"), "{numbered}");
    let long = "p".repeat(40);
    assert_eq!(provision(&long, Production).await, long);
    let numbered = provision(&long, Development).await;
    assert!(numbered.starts_with("ppp") && numbered.contains("-dev-"), "{numbered}");
    let error = running.directory.provision("a/b", Production).await.expect_err("no project");
    assert_eq!(error.code, "InvalidProjectName");
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn keys_are_made_shown_by_digest_and_deleted() {
    let ground = Ground::new().await;
    let running = ground.start(|_| {}).await;
    running.create("shop").await;
    let deployment = KeyOwner::Deployment("shop".into());
    let make = async |owner: &KeyOwner, name: &str| {
        running.directory.create_key(NewKey { owner: owner.clone(), name: name.into() }).await
    };
    let key = make(&deployment, "ci").await.expect("it is made");
    assert!(key.starts_with("prod:shop|02"), "a form that the official tools take");
    let entry = || running.directory.deployments().borrow().named("shop").expect("it is there").clone();
    assert_eq!(entry().keys.len(), 1);
    assert_eq!(make(&deployment, "ci").await.expect_err("taken").code, "KeyExists");
    assert_eq!(make(&deployment, "").await.expect_err("no name").code, "InvalidKeyName");
    for name in ["a", "b"] {
        make(&deployment, name).await.expect("it is made");
    }
    assert_eq!(make(&deployment, "c").await.expect_err("full").code, "TooManyKeys");
    let nobody = KeyOwner::Deployment("nobody".into());
    assert_eq!(make(&nobody, "ci").await.expect_err("nobody's").code, "DeploymentNotFound");
    running.directory.delete_key(deployment.clone(), "ci").await.expect("it is deleted");
    assert_eq!(entry().keys.len(), 2);
    let error = running.directory.delete_key(deployment, "ci").await.expect_err("it is gone");
    assert_eq!(error.code, "KeyNotFound");

    let previews = make(&KeyOwner::Previews("site".into()), "ci").await.expect("it is made");
    assert!(previews.starts_with("preview:team:site|02"));
    let project = make(&KeyOwner::Project("site".into()), "ci").await.expect("it is made");
    assert!(project.starts_with("project:team:site|02"));
    assert_eq!(
        make(&KeyOwner::Project("a b".into()), "ci").await.expect_err("no project").code,
        "InvalidProjectName"
    );
    let deployments = running.directory.deployments();
    assert_eq!(deployments.borrow().project_keys().len(), 2);
    assert!(deployments.borrow().has_project("site"));
    drop(deployments);
    running.stop().await;
    ground.stop().await;
}

#[tokio::test]
async fn two_nodes_see_the_same() {
    let ground = Ground::new().await;
    let (one, two) = (ground.start(|_| {}).await, ground.start(|_| {}).await);
    let shop = one.create("shop").await;
    let mut seen = two.directory.deployments();
    let there = seen.wait_for(|deployments| deployments.named("shop").is_some());
    let there = tokio::time::timeout(PATIENCE, there).await.expect("in time").expect("it lives").clone();
    assert_eq!(there.named("shop").expect("it is there"), &shop);
    two.directory.delete("shop").await.expect("it is deleted");
    one.forgets(shop.reference()).await;
    assert_eq!((one.names(), two.names()), (vec!["dev".to_owned()], vec!["dev".to_owned()]));
    one.stop().await;
    two.stop().await;
    ground.stop().await;
}

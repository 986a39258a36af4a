//! Everything that a push says and is told crosses unchanged. Over loopback, with a deploy service that notes what it is asked and
//! answers what it was told.

#[path = "support/loopback.rs"]
mod loopback;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    AuthDifference, ComponentChange, ComponentDifference, ComponentSchema, ComponentSchemaEvaluation,
    CronDifference, DeclaredIndex, DeclaredIndexKind, Deploy, DeployedCode, DeploymentId, DeploymentRef,
    Error, FinishPush, GroupId, IndexChangeKind, IndexDifference, IndexEvaluation, ModuleHash, ModuleSource,
    NodePackage, Push, PushDifference, PushedComponent, PushedModule, Result, SchemaDifference,
    SchemaEvaluation, SchemaId, SchemaProgress, SchemaTexts, StartedDefinition, StartedPush, TableCheck,
    TableEvaluation, VariableChange,
};
use parking_lot::Mutex;
use rpc::{DeployServer, GrpcDeploy, RpcLimits};
use tokio::task::JoinSet;

const LIMITS: RpcLimits = RpcLimits::DEFAULT;
const DEV: DeploymentRef = DeploymentRef { group: GroupId(3), deployment: DeploymentId(7) };

fn text(value: &str) -> Arc<str> {
    value.into()
}

fn index(name: &str, staged: bool) -> DeclaredIndex {
    DeclaredIndex {
        table: "messages".to_owned(),
        name: name.to_owned(),
        fields: vec!["a".to_owned(), "_creationTime".to_owned()],
        kind: match name {
            "added" => DeclaredIndexKind::Text { filter_fields: vec!["b".to_owned()] },
            "removed" => DeclaredIndexKind::Vector { dimensions: 4_096, filter_fields: Vec::new() },
            _ => DeclaredIndexKind::Database,
        },
        staged,
    }
}

fn indexes() -> IndexDifference {
    IndexDifference {
        added: vec![index("added", true)],
        removed: vec![index("removed", false), index("too", true)],
        enabled: vec![index("enabled", false)],
        disabled: vec![index("disabled", true)],
    }
}

fn schema_difference() -> SchemaDifference {
    let app = ComponentSchema { schema: Some(SchemaId("the schema".to_owned())), indexes: indexes() };
    let inner = ComponentSchema { schema: None, indexes: IndexDifference::default() };
    SchemaDifference { components: [(String::new(), app), ("a/b".to_owned(), inner)].into() }
}

fn schemas() -> BTreeMap<String, SchemaId> {
    BTreeMap::from([
        (String::new(), SchemaId("one".to_owned())),
        ("a/b".to_owned(), SchemaId("two".to_owned())),
    ])
}

fn schema_evaluation() -> SchemaEvaluation {
    let table = |check| TableEvaluation { table: "messages".to_owned(), check, documents: 5, bytes: 1 << 40 };
    let change = |change| IndexEvaluation {
        index: index("i", false),
        change,
        needs_backfill: change == IndexChangeKind::Added,
        documents: 9,
    };
    let component = ComponentSchemaEvaluation {
        definition: "folder".to_owned(),
        schema_validation: true,
        tables: [TableCheck::NotValidated, TableCheck::Proved, TableCheck::Walked].map(table).into(),
        indexes: [
            IndexChangeKind::Added,
            IndexChangeKind::Identical,
            IndexChangeKind::Enabled,
            IndexChangeKind::Disabled,
            IndexChangeKind::Dropped,
        ]
        .map(change)
        .into(),
    };
    let components = [("a".to_owned(), component)].into();
    SchemaEvaluation { components, new_definitions: vec!["folder".to_owned()] }
}

fn started_push() -> StartedPush {
    let definition = |schema: Option<&str>| StartedDefinition {
        definition: schema.map(text),
        modules: BTreeMap::from([("messages.js".to_owned(), text("{}"))]),
        schema: schema.map(text),
        server_version: "1.48.0".to_owned(),
    };
    StartedPush {
        prepared: text("{\"prepared\":1}"),
        definitions: [(String::new(), definition(None)), ("folder".to_owned(), definition(Some("{}")))]
            .into(),
        instances: [("a".to_owned(), "folder".to_owned())].into(),
        auth_providers: text("[]"),
        node_packages_id: Some("id".to_owned()),
        difference: schema_difference(),
    }
}

fn push_difference() -> PushDifference {
    let component = |change| ComponentDifference {
        change,
        modules_added: vec!["a.js".to_owned()],
        modules_removed: vec!["b.js".to_owned()],
        server_version: Some((String::new(), "1.48.0".to_owned())),
        indexes: indexes(),
        schema: Some(SchemaTexts { before: None, now: Some(text("{}")) }),
        crons: CronDifference {
            added: vec!["a".to_owned()],
            updated: vec!["b".to_owned()],
            deleted: vec!["c".to_owned()],
        },
    };
    let changes = [
        ("", ComponentChange::Created),
        ("a", ComponentChange::Modified),
        ("a/b", ComponentChange::Unmounted),
        ("c", ComponentChange::Remounted),
    ];
    PushDifference {
        auth_providers: AuthDifference { added: vec!["1".to_owned()], removed: vec!["2".to_owned()] },
        components: changes.map(|(path, change)| (path.to_owned(), component(change))).into(),
    }
}

fn deployed_code() -> DeployedCode {
    DeployedCode {
        functions_folder: Some("convex/".to_owned()),
        server_version: None,
        modules: vec![hash()],
        node_version: Some("22".to_owned()),
        node_packages: vec![NodePackage { name: "sharp".to_owned(), version: "1.0.0".to_owned() }],
    }
}

fn hash() -> ModuleHash {
    ModuleHash { path: "a.js".to_owned(), environment: "isolate".to_owned(), sha256: "ab".to_owned() }
}

fn push() -> Push {
    let module = |path: &str, bytes: usize| PushedModule {
        module: ModuleSource {
            path: path.to_owned(),
            source: "x".repeat(bytes).into(),
            source_map: (bytes > 3).then(|| text("map")),
        },
        environment: "node".to_owned(),
    };
    Push {
        dry_run: true,
        for_codegen: false,
        functions_folder: "convex/".to_owned(),
        server_version: "1.48.0".to_owned(),
        app_definition: Some(module("convex.config.js", 3)),
        schema: None,
        // More than one message can hold.
        changed_modules: vec![module("a.js", 3_000_000), module("b.js", 3_000_000)],
        unchanged_modules: vec![hash()],
        components: vec![PushedComponent {
            path: "folder".to_owned(),
            definition: module("convex.config.js", 3),
            dependencies: vec!["other".to_owned()],
            schema: Some(module("schema.js", 3)),
            modules: vec![module("lib.js", 4)],
            server_version: "1.49.0".to_owned(),
        }],
        node_version: None,
        node_packages: deployed_code().node_packages,
    }
}

fn finish() -> FinishPush {
    FinishPush { dry_run: true, prepared: text("{}"), schemas: schemas() }
}

fn changes() -> Vec<VariableChange> {
    let change = |name: &str, value: Option<&str>| VariableChange {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    vec![change("A", Some("secret")), change("B", None)]
}

#[derive(Default)]
struct Notes {
    asked: Mutex<Vec<String>>,
    progress: Mutex<Vec<SchemaProgress>>,
}

impl Notes {
    fn note(&self, deployment: DeploymentRef, what: impl std::fmt::Debug) {
        assert_eq!(deployment, DEV);
        self.asked.lock().push(format!("{what:?}"));
    }
}

#[async_trait]
impl Deploy for Notes {
    async fn deployed_code(&self, deployment: DeploymentRef) -> Result<DeployedCode> {
        self.note(deployment, "code");
        Ok(deployed_code())
    }
    async fn auth_providers(&self, deployment: DeploymentRef) -> Result<Arc<str>> {
        self.note(deployment, "providers");
        Ok(text("[1]"))
    }
    async fn environment_variables(&self, deployment: DeploymentRef) -> Result<BTreeMap<String, String>> {
        self.note(deployment, "variables");
        Ok(BTreeMap::from([("A".to_owned(), "1".to_owned())]))
    }
    async fn update_environment_variables(
        &self,
        deployment: DeploymentRef,
        changed: Vec<VariableChange>,
    ) -> Result<()> {
        assert!(changed == changes(), "values don't show themselves");
        self.note(deployment, "changes");
        Ok(())
    }
    async fn evaluate_push(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaDifference> {
        self.note(deployment, push);
        Ok(schema_difference())
    }
    async fn evaluate_schema(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaEvaluation> {
        self.note(deployment, push);
        Ok(schema_evaluation())
    }
    async fn start_push(&self, deployment: DeploymentRef, push: Push) -> Result<StartedPush> {
        self.note(deployment, push);
        Ok(started_push())
    }
    async fn wait_for_schema(
        &self,
        deployment: DeploymentRef,
        schemas: BTreeMap<String, SchemaId>,
        wait: Duration,
    ) -> Result<SchemaProgress> {
        self.note(deployment, (schemas, wait));
        Ok(self.progress.lock().remove(0))
    }
    async fn finish_push(&self, deployment: DeploymentRef, finish: FinishPush) -> Result<PushDifference> {
        self.note(deployment, &finish);
        if finish.dry_run {
            return Ok(push_difference());
        }
        Err(Error::new(contract::ErrorKind::Conflict, "RaceDetected", "somebody else was faster"))
    }
    async fn delete_component(&self, deployment: DeploymentRef, path: &str) -> Result<()> {
        self.note(deployment, path);
        Err(Error::bad_request("ComponentMustBeUnmounted", "it is mounted"))
    }
}

fn debug(value: impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

#[tokio::test]
async fn pushes_cross_unchanged_both_ways() {
    let notes = Arc::new(Notes::default());
    let mut tasks = JoinSet::new();
    let services = rpc::server(&LIMITS).add_service(DeployServer::service(notes.clone(), LIMITS));
    let deploy = GrpcDeploy::new(loopback::channel_to(services, &LIMITS, &mut tasks).await, LIMITS);

    assert_eq!(debug(deploy.deployed_code(DEV).await), debug(Ok::<_, Error>(deployed_code())));
    assert_eq!(deploy.auth_providers(DEV).await, Ok(text("[1]")));
    assert_eq!(deploy.environment_variables(DEV).await.unwrap()["A"], "1");
    assert_eq!(deploy.update_environment_variables(DEV, changes()).await, Ok(()));
    assert_eq!(debug(deploy.evaluate_push(DEV, push()).await.unwrap()), debug(schema_difference()));
    assert_eq!(debug(deploy.evaluate_schema(DEV, push()).await.unwrap()), debug(schema_evaluation()));
    assert_eq!(debug(deploy.start_push(DEV, push()).await.unwrap()), debug(started_push()));
    let progress = [
        SchemaProgress::Preparing { documents_checked: true, indexes_filled: 1, indexes_total: 2 },
        SchemaProgress::Complete,
        SchemaProgress::Failed { component: "a/b".to_owned(), message: "no".to_owned(), table: None },
        SchemaProgress::Overwritten,
    ];
    notes.progress.lock().extend(progress.clone());
    for expected in progress {
        let seen = deploy.wait_for_schema(DEV, schemas(), Duration::from_millis(7)).await;
        assert_eq!(seen, Ok(expected));
    }
    assert_eq!(debug(deploy.finish_push(DEV, finish()).await.unwrap()), debug(push_difference()));
    let earnest = FinishPush { dry_run: false, ..finish() };
    let error = deploy.finish_push(DEV, earnest.clone()).await.expect_err("it is refused");
    assert_eq!((error.kind, &*error.code), (contract::ErrorKind::Conflict, "RaceDetected"));
    let error = deploy.delete_component(DEV, "a/b").await.expect_err("it is refused");
    assert_eq!(&*error.code, "ComponentMustBeUnmounted");

    let waited = debug((schemas(), Duration::from_millis(7)));
    let expected = [
        debug("code"),
        debug("providers"),
        debug("variables"),
        debug("changes"),
        debug(push()),
        debug(push()),
        debug(push()),
        waited.clone(),
        waited.clone(),
        waited.clone(),
        waited,
        debug(finish()),
        debug(earnest),
        debug("a/b"),
    ];
    assert!(*notes.asked.lock() == expected);
}

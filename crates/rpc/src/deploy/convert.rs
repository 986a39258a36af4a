//! Between the deploy service's types and the messages.

use std::collections::BTreeMap;

use contract::{
    AuthDifference, ComponentChange, ComponentDifference, ComponentSchema, ComponentSchemaEvaluation,
    CronDifference, DeclaredIndex, DeclaredIndexKind, DeployedCode, FinishPush, IndexChangeKind,
    IndexDifference, IndexEvaluation, ModuleHash, Push, PushDifference, PushedComponent, PushedModule,
    SchemaDifference, SchemaEvaluation, SchemaId, SchemaProgress, SchemaTexts, StartedDefinition,
    StartedPush, TableCheck, TableEvaluation, VariableChange,
};
use proto::{common::v1::Nothing, deploy::v1 as wire};

use crate::{
    convert::{Decoded, Malformed, present},
    runner::convert::{module, module_to_wire, package, package_to_wire, texts_from_wire, texts_to_wire},
};

pub fn variable_change_to_wire(change: VariableChange) -> wire::VariableChange {
    wire::VariableChange { name: change.name, value: change.value }
}

pub fn variable_change(change: wire::VariableChange) -> VariableChange {
    VariableChange { name: change.name, value: change.value }
}

fn hash_to_wire(hash: ModuleHash) -> wire::ModuleHash {
    wire::ModuleHash { path: hash.path, environment: hash.environment, sha256: hash.sha256 }
}

fn hash(hash: wire::ModuleHash) -> ModuleHash {
    ModuleHash { path: hash.path, environment: hash.environment, sha256: hash.sha256 }
}

pub fn deployed_code_to_wire(code: DeployedCode) -> wire::DeployedCode {
    wire::DeployedCode {
        functions_folder: code.functions_folder,
        server_version: code.server_version,
        modules: code.modules.into_iter().map(hash_to_wire).collect(),
        node_version: code.node_version,
        node_packages: code.node_packages.into_iter().map(package_to_wire).collect(),
    }
}

pub fn deployed_code(code: wire::DeployedCode) -> DeployedCode {
    DeployedCode {
        functions_folder: code.functions_folder,
        server_version: code.server_version,
        modules: code.modules.into_iter().map(hash).collect(),
        node_version: code.node_version,
        node_packages: code.node_packages.into_iter().map(package).collect(),
    }
}

fn pushed_module_to_wire(pushed: PushedModule) -> wire::PushedModule {
    wire::PushedModule { module: Some(module_to_wire(pushed.module)), environment: pushed.environment }
}

fn pushed_module(pushed: wire::PushedModule) -> Decoded<PushedModule> {
    let module = module(present(pushed.module, "a module")?);
    Ok(PushedModule { module, environment: pushed.environment })
}

fn pushed_component_to_wire(component: PushedComponent) -> wire::PushedComponent {
    wire::PushedComponent {
        path: component.path,
        definition: Some(pushed_module_to_wire(component.definition)),
        dependencies: component.dependencies,
        schema: component.schema.map(pushed_module_to_wire),
        modules: component.modules.into_iter().map(pushed_module_to_wire).collect(),
        server_version: component.server_version,
    }
}

fn pushed_component(component: wire::PushedComponent) -> Decoded<PushedComponent> {
    Ok(PushedComponent {
        path: component.path,
        definition: pushed_module(present(component.definition, "a definition")?)?,
        dependencies: component.dependencies,
        schema: component.schema.map(pushed_module).transpose()?,
        modules: component.modules.into_iter().map(pushed_module).collect::<Decoded<_>>()?,
        server_version: component.server_version,
    })
}

/// What is said of each component, by the paths.
type ByPath<T> = BTreeMap<String, T>;

fn each_to_wire<T, W>(all: ByPath<T>, convert: impl Fn(T) -> W) -> ByPath<W> {
    all.into_iter().map(|(path, one)| (path, convert(one))).collect()
}

fn each<T, W>(all: ByPath<W>, convert: impl Fn(W) -> Decoded<T>) -> Decoded<ByPath<T>> {
    all.into_iter().map(|(path, one)| Ok((path, convert(one)?))).collect()
}

pub fn schema_ids_to_wire(schemas: ByPath<SchemaId>) -> ByPath<String> {
    each_to_wire(schemas, |schema| schema.0)
}

pub fn schema_ids(schemas: ByPath<String>) -> ByPath<SchemaId> {
    each_to_wire(schemas, SchemaId)
}

pub fn push_to_wire(push: Push) -> wire::PushedCode {
    wire::PushedCode {
        dry_run: push.dry_run,
        for_codegen: push.for_codegen,
        functions_folder: push.functions_folder,
        server_version: push.server_version,
        app_definition: push.app_definition.map(pushed_module_to_wire),
        schema: push.schema.map(pushed_module_to_wire),
        changed_modules: push.changed_modules.into_iter().map(pushed_module_to_wire).collect(),
        unchanged_modules: push.unchanged_modules.into_iter().map(hash_to_wire).collect(),
        components: push.components.into_iter().map(pushed_component_to_wire).collect(),
        node_version: push.node_version,
        node_packages: push.node_packages.into_iter().map(package_to_wire).collect(),
    }
}

pub fn push(push: wire::PushedCode) -> Decoded<Push> {
    Ok(Push {
        dry_run: push.dry_run,
        for_codegen: push.for_codegen,
        functions_folder: push.functions_folder,
        server_version: push.server_version,
        app_definition: push.app_definition.map(pushed_module).transpose()?,
        schema: push.schema.map(pushed_module).transpose()?,
        changed_modules: push.changed_modules.into_iter().map(pushed_module).collect::<Decoded<_>>()?,
        unchanged_modules: push.unchanged_modules.into_iter().map(hash).collect(),
        components: push.components.into_iter().map(pushed_component).collect::<Decoded<_>>()?,
        node_version: push.node_version,
        node_packages: push.node_packages.into_iter().map(package).collect(),
    })
}

fn index_to_wire(index: DeclaredIndex) -> wire::DeclaredIndex {
    let search = match index.kind {
        DeclaredIndexKind::Database => None,
        DeclaredIndexKind::Text { filter_fields } => {
            Some(wire::SearchIndexKind { filter_fields, dimensions: None })
        }
        DeclaredIndexKind::Vector { dimensions, filter_fields } => {
            Some(wire::SearchIndexKind { filter_fields, dimensions: Some(dimensions) })
        }
    };
    let DeclaredIndex { table, name, fields, staged, .. } = index;
    wire::DeclaredIndex { table, name, fields, staged, search }
}

fn index(index: wire::DeclaredIndex) -> DeclaredIndex {
    let kind = match index.search {
        None => DeclaredIndexKind::Database,
        Some(wire::SearchIndexKind { filter_fields, dimensions: None }) => {
            DeclaredIndexKind::Text { filter_fields }
        }
        Some(wire::SearchIndexKind { filter_fields, dimensions: Some(dimensions) }) => {
            DeclaredIndexKind::Vector { dimensions, filter_fields }
        }
    };
    let wire::DeclaredIndex { table, name, fields, staged, .. } = index;
    DeclaredIndex { table, name, fields, kind, staged }
}

fn indexes_to_wire(difference: IndexDifference) -> wire::IndexDifference {
    let all = |indexes: Vec<DeclaredIndex>| indexes.into_iter().map(index_to_wire).collect();
    wire::IndexDifference {
        added: all(difference.added),
        removed: all(difference.removed),
        enabled: all(difference.enabled),
        disabled: all(difference.disabled),
    }
}

fn indexes(difference: Option<wire::IndexDifference>) -> Decoded<IndexDifference> {
    let difference = present(difference, "the difference of the indexes")?;
    let all = |indexes: Vec<wire::DeclaredIndex>| indexes.into_iter().map(index).collect();
    Ok(IndexDifference {
        added: all(difference.added),
        removed: all(difference.removed),
        enabled: all(difference.enabled),
        disabled: all(difference.disabled),
    })
}

pub fn schema_difference_to_wire(difference: SchemaDifference) -> wire::SchemaDifference {
    let component = |component: ComponentSchema| wire::ComponentSchema {
        schema: component.schema.map(|schema| schema.0),
        indexes: Some(indexes_to_wire(component.indexes)),
    };
    wire::SchemaDifference { components: each_to_wire(difference.components, component) }
}

pub fn schema_difference(difference: wire::SchemaDifference) -> Decoded<SchemaDifference> {
    let component = |component: wire::ComponentSchema| {
        let schema = component.schema.map(SchemaId);
        Ok(ComponentSchema { schema, indexes: indexes(component.indexes)? })
    };
    Ok(SchemaDifference { components: each(difference.components, component)? })
}

fn check_to_wire(check: TableCheck) -> wire::TableCheck {
    match check {
        TableCheck::NotValidated => wire::TableCheck::NotValidated,
        TableCheck::Proved => wire::TableCheck::Proved,
        TableCheck::Walked => wire::TableCheck::Walked,
    }
}

fn check(check: i32) -> Decoded<TableCheck> {
    match wire::TableCheck::try_from(check) {
        Ok(wire::TableCheck::NotValidated) => Ok(TableCheck::NotValidated),
        Ok(wire::TableCheck::Proved) => Ok(TableCheck::Proved),
        Ok(wire::TableCheck::Walked) => Ok(TableCheck::Walked),
        Ok(wire::TableCheck::Unspecified) | Err(_) => Err(Malformed::new("a check of a table is not known")),
    }
}

fn index_change_to_wire(change: IndexChangeKind) -> wire::IndexChangeKind {
    match change {
        IndexChangeKind::Added => wire::IndexChangeKind::Added,
        IndexChangeKind::Identical => wire::IndexChangeKind::Identical,
        IndexChangeKind::Enabled => wire::IndexChangeKind::Enabled,
        IndexChangeKind::Disabled => wire::IndexChangeKind::Disabled,
        IndexChangeKind::Dropped => wire::IndexChangeKind::Dropped,
    }
}

fn index_change(change: i32) -> Decoded<IndexChangeKind> {
    match wire::IndexChangeKind::try_from(change) {
        Ok(wire::IndexChangeKind::Added) => Ok(IndexChangeKind::Added),
        Ok(wire::IndexChangeKind::Identical) => Ok(IndexChangeKind::Identical),
        Ok(wire::IndexChangeKind::Enabled) => Ok(IndexChangeKind::Enabled),
        Ok(wire::IndexChangeKind::Disabled) => Ok(IndexChangeKind::Disabled),
        Ok(wire::IndexChangeKind::Dropped) => Ok(IndexChangeKind::Dropped),
        Ok(wire::IndexChangeKind::Unspecified) | Err(_) => {
            Err(Malformed::new("a change of an index is not known"))
        }
    }
}

pub fn schema_evaluation_to_wire(evaluation: SchemaEvaluation) -> wire::SchemaEvaluation {
    let table = |table: TableEvaluation| wire::TableEvaluation {
        table: table.table,
        check: check_to_wire(table.check).into(),
        documents: table.documents,
        bytes: table.bytes,
    };
    let index = |index: IndexEvaluation| wire::IndexEvaluation {
        index: Some(index_to_wire(index.index)),
        change: index_change_to_wire(index.change).into(),
        needs_backfill: index.needs_backfill,
        documents: index.documents,
    };
    let component = |component: ComponentSchemaEvaluation| wire::ComponentSchemaEvaluation {
        definition: component.definition,
        schema_validation: component.schema_validation,
        tables: component.tables.into_iter().map(table).collect(),
        indexes: component.indexes.into_iter().map(index).collect(),
    };
    wire::SchemaEvaluation {
        components: each_to_wire(evaluation.components, component),
        new_definitions: evaluation.new_definitions,
    }
}

pub fn schema_evaluation(evaluation: wire::SchemaEvaluation) -> Decoded<SchemaEvaluation> {
    let table = |table: wire::TableEvaluation| {
        Ok(TableEvaluation {
            table: table.table,
            check: check(table.check)?,
            documents: table.documents,
            bytes: table.bytes,
        })
    };
    let evaluated = |evaluated: wire::IndexEvaluation| {
        Ok(IndexEvaluation {
            index: index(present(evaluated.index, "an index")?),
            change: index_change(evaluated.change)?,
            needs_backfill: evaluated.needs_backfill,
            documents: evaluated.documents,
        })
    };
    let component = |component: wire::ComponentSchemaEvaluation| {
        Ok(ComponentSchemaEvaluation {
            definition: component.definition,
            schema_validation: component.schema_validation,
            tables: component.tables.into_iter().map(table).collect::<Decoded<_>>()?,
            indexes: component.indexes.into_iter().map(evaluated).collect::<Decoded<_>>()?,
        })
    };
    let components = each(evaluation.components, component)?;
    Ok(SchemaEvaluation { components, new_definitions: evaluation.new_definitions })
}

pub fn started_push_to_wire(started: StartedPush) -> wire::StartedPush {
    let definition = |started: StartedDefinition| wire::StartedDefinition {
        definition: started.definition.map(|definition| definition.to_string()),
        modules: texts_to_wire(started.modules),
        schema: started.schema.map(|schema| schema.to_string()),
        server_version: started.server_version,
    };
    wire::StartedPush {
        prepared: started.prepared.to_string(),
        definitions: each_to_wire(started.definitions, definition),
        instances: started.instances,
        auth_providers: started.auth_providers.to_string(),
        node_packages_id: started.node_packages_id,
        difference: Some(schema_difference_to_wire(started.difference)),
    }
}

pub fn started_push(started: wire::StartedPush) -> Decoded<StartedPush> {
    let definition = |started: wire::StartedDefinition| StartedDefinition {
        definition: started.definition.map(Into::into),
        modules: texts_from_wire(started.modules),
        schema: started.schema.map(Into::into),
        server_version: started.server_version,
    };
    Ok(StartedPush {
        prepared: started.prepared.into(),
        definitions: each_to_wire(started.definitions, definition),
        instances: started.instances,
        auth_providers: started.auth_providers.into(),
        node_packages_id: started.node_packages_id,
        difference: schema_difference(present(started.difference, "the difference")?)?,
    })
}

pub fn schema_progress_to_wire(progress: SchemaProgress) -> wire::SchemaProgress {
    use wire::schema_progress::Progress;
    let progress = match progress {
        SchemaProgress::Preparing { documents_checked, indexes_filled, indexes_total } => {
            Progress::Preparing(wire::SchemaPreparing {
                documents_checked,
                indexes_filled: indexes_filled as u64,
                indexes_total: indexes_total as u64,
            })
        }
        SchemaProgress::Complete => Progress::Complete(Nothing {}),
        SchemaProgress::Failed { component, message, table } => {
            Progress::Failed(wire::SchemaFailed { message, table, component })
        }
        SchemaProgress::Overwritten => Progress::Overwritten(Nothing {}),
    };
    wire::SchemaProgress { progress: Some(progress) }
}

pub fn schema_progress(progress: wire::SchemaProgress) -> Decoded<SchemaProgress> {
    use wire::schema_progress::Progress;
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(match present(progress.progress, "the progress")? {
        Progress::Preparing(preparing) => SchemaProgress::Preparing {
            documents_checked: preparing.documents_checked,
            indexes_filled: count(preparing.indexes_filled),
            indexes_total: count(preparing.indexes_total),
        },
        Progress::Complete(_) => SchemaProgress::Complete,
        Progress::Failed(failed) => SchemaProgress::Failed {
            component: failed.component,
            message: failed.message,
            table: failed.table,
        },
        Progress::Overwritten(_) => SchemaProgress::Overwritten,
    })
}

pub fn finish_push_to_wire(finish: FinishPush) -> wire::FinishPush {
    wire::FinishPush {
        dry_run: finish.dry_run,
        prepared: finish.prepared.to_string(),
        schemas: schema_ids_to_wire(finish.schemas),
    }
}

pub fn finish_push(finish: wire::FinishPush) -> FinishPush {
    FinishPush {
        dry_run: finish.dry_run,
        prepared: finish.prepared.into(),
        schemas: schema_ids(finish.schemas),
    }
}

pub fn push_difference_to_wire(difference: PushDifference) -> wire::PushDifference {
    let auth = difference.auth_providers;
    wire::PushDifference {
        auth_providers: Some(wire::AuthDifference { added: auth.added, removed: auth.removed }),
        components: each_to_wire(difference.components, component_difference_to_wire),
    }
}

pub fn push_difference(difference: wire::PushDifference) -> Decoded<PushDifference> {
    let auth = present(difference.auth_providers, "the difference of the providers")?;
    Ok(PushDifference {
        auth_providers: AuthDifference { added: auth.added, removed: auth.removed },
        components: each(difference.components, component_difference)?,
    })
}

fn component_difference_to_wire(difference: ComponentDifference) -> wire::ComponentDifference {
    let texts = |texts: SchemaTexts| wire::SchemaTexts {
        before: texts.before.map(|text| text.to_string()),
        now: texts.now.map(|text| text.to_string()),
    };
    let change = match difference.change {
        ComponentChange::Created => wire::ComponentChange::Created,
        ComponentChange::Modified => wire::ComponentChange::Modified,
        ComponentChange::Unmounted => wire::ComponentChange::Unmounted,
        ComponentChange::Remounted => wire::ComponentChange::Remounted,
    };
    let crons = difference.crons;
    wire::ComponentDifference {
        change: change.into(),
        modules_added: difference.modules_added,
        modules_removed: difference.modules_removed,
        server_version: difference.server_version.map(|(before, now)| wire::ServerVersions { before, now }),
        indexes: Some(indexes_to_wire(difference.indexes)),
        schema: difference.schema.map(texts),
        crons: Some(wire::CronDifference {
            added: crons.added,
            updated: crons.updated,
            deleted: crons.deleted,
        }),
    }
}

fn component_difference(difference: wire::ComponentDifference) -> Decoded<ComponentDifference> {
    let crons = present(difference.crons, "the difference of the cron jobs")?;
    let texts = |texts: wire::SchemaTexts| SchemaTexts {
        before: texts.before.map(Into::into),
        now: texts.now.map(Into::into),
    };
    let change = match wire::ComponentChange::try_from(difference.change) {
        Ok(wire::ComponentChange::Created) => ComponentChange::Created,
        Ok(wire::ComponentChange::Modified) => ComponentChange::Modified,
        Ok(wire::ComponentChange::Unmounted) => ComponentChange::Unmounted,
        Ok(wire::ComponentChange::Remounted) => ComponentChange::Remounted,
        Ok(wire::ComponentChange::Unspecified) | Err(_) => {
            return Err(Malformed::new("a change of a component is not known"));
        }
    };
    Ok(ComponentDifference {
        change,
        modules_added: difference.modules_added,
        modules_removed: difference.modules_removed,
        server_version: difference.server_version.map(|versions| (versions.before, versions.now)),
        indexes: indexes(difference.indexes)?,
        schema: difference.schema.map(texts),
        crons: CronDifference { added: crons.added, updated: crons.updated, deleted: crons.deleted },
    })
}

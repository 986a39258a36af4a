//! Between the runner's types and the messages.

use std::{sync::Arc, time::Duration};

use contract::{
    ActionOutcome, Caller, ConsoleLevel, ConsoleLine, Evaluation, EvaluationRequest, ExecutionRecord,
    FunctionCall, FunctionError, FunctionKind, FunctionLogPage, HttpAnswer, HttpCall, HttpResponse,
    IdentityKind, ImportPhase, ModuleSource, MutationCall, MutationOutcome, NodeEvaluation,
    NodeEvaluationRequest, NodePackage, NodePackages, Observed, QueryCall, QueryOutcome, ReadMoment,
    SessionRequest,
};
use proto::{common::v1 as common, runner::v1 as wire};

use crate::{
    callers,
    convert::{self, Decoded, Malformed, present},
    limits::RpcLimits,
    transfer::Body,
};

fn texts(text: Option<Arc<str>>) -> Option<String> {
    text.map(|text| text.to_string())
}

/// Two enumerations of which each member of one is a member of the other.
macro_rules! members {
    ($to_wire:ident, $from_wire:ident, $own:ident, $wire:ident, $what:literal, $($member:ident)*) => {
        pub fn $to_wire(member: $own) -> i32 {
            match member {
                $($own::$member => wire::$wire::$member.into(),)*
            }
        }

        pub fn $from_wire(member: i32) -> Decoded<$own> {
            match wire::$wire::try_from(member) {
                $(Ok(wire::$wire::$member) => Ok($own::$member),)*
                Ok(wire::$wire::Unspecified) | Err(_) => Err(Malformed::new(concat!($what, " is not known"))),
            }
        }
    };
}

members!(kind_to_wire, kind, FunctionKind, FunctionKind, "a kind of functions", Query Mutation Action HttpAction);
members!(caller_to_wire, caller, Caller, Caller, "a door", HttpApi SyncWorker Scheduler Cron HttpEndpoint Action);
members!(level_to_wire, level, ConsoleLevel, ConsoleLevel, "a level", Debug Error Info Log Warn);
members!(identity_kind_to_wire, identity_kind, IdentityKind, IdentityKind, "a kind of identities", Anonymous User Admin);

pub fn function_to_wire(call: FunctionCall) -> wire::FunctionCall {
    wire::FunctionCall {
        deployment: Some(convert::deployment_to_wire(call.deployment)),
        component: call.component,
        path: call.path,
        arguments: call.arguments.to_string(),
        identity: Some(callers::identity_to_wire(call.identity)),
        caller: caller_to_wire(call.caller),
        requester: Some(callers::requester_to_wire(call.requester)),
        request_id: call.request_id,
    }
}

pub fn function(call: wire::FunctionCall) -> Decoded<FunctionCall> {
    Ok(FunctionCall {
        deployment: convert::deployment(call.deployment)?,
        component: call.component,
        path: call.path,
        arguments: call.arguments.into(),
        identity: callers::identity(call.identity)?,
        caller: caller(call.caller)?,
        requester: callers::requester(call.requester)?,
        request_id: call.request_id,
    })
}

pub fn query_to_wire(call: QueryCall) -> wire::QueryCall {
    wire::QueryCall {
        function: Some(function_to_wire(call.function)),
        at: match call.at {
            ReadMoment::Latest => None,
            ReadMoment::At(timestamp) => Some(timestamp.as_nanoseconds()),
        },
        journal: texts(call.journal),
    }
}

pub fn query(call: wire::QueryCall) -> Decoded<QueryCall> {
    Ok(QueryCall {
        function: function(present(call.function, "the function")?)?,
        at: match call.at {
            None => ReadMoment::Latest,
            Some(nanoseconds) => ReadMoment::At(convert::timestamp(nanoseconds)?),
        },
        journal: call.journal.map(Into::into),
    })
}

pub fn mutation_to_wire(call: MutationCall) -> wire::MutationCall {
    wire::MutationCall {
        function: Some(function_to_wire(call.function)),
        session: call
            .session
            .map(|request| wire::SessionRequest { session: request.session, request: request.request }),
        not_before: call.not_before.as_nanoseconds(),
    }
}

pub fn mutation(call: wire::MutationCall) -> Decoded<MutationCall> {
    let session =
        |request: wire::SessionRequest| SessionRequest { session: request.session, request: request.request };
    Ok(MutationCall {
        function: function(present(call.function, "the function")?)?,
        session: call.session.map(session),
        not_before: convert::timestamp(call.not_before)?,
    })
}

/// What a function has returned or thrown: each outcome has a message of its own for that.
macro_rules! results {
    ($to_wire:ident, $from_wire:ident, $module:ident) => {
        fn $to_wire(result: Result<Arc<str>, FunctionError>) -> wire::$module::Result {
            match result {
                Ok(value) => wire::$module::Result::Value(value.to_string()),
                Err(error) => wire::$module::Result::Error(callers::function_error_to_wire(error)),
            }
        }

        fn $from_wire(result: Option<wire::$module::Result>) -> Decoded<Result<Arc<str>, FunctionError>> {
            Ok(match present(result, "the result")? {
                wire::$module::Result::Value(value) => Ok(value.into()),
                wire::$module::Result::Error(error) => Err(callers::function_error(error)),
            })
        }
    };
}

results!(query_result_to_wire, query_result, query_outcome);
results!(mutation_result_to_wire, mutation_result, mutation_outcome);
results!(action_result_to_wire, action_result, action_outcome);

pub fn query_outcome_to_wire(outcome: QueryOutcome, limits: &RpcLimits) -> wire::QueryOutcome {
    wire::QueryOutcome {
        timestamp: outcome.timestamp.as_nanoseconds(),
        result: Some(query_result_to_wire(outcome.result)),
        log_lines: outcome.log_lines,
        journal: texts(outcome.journal),
        read_set: convert::read_set_to_wire(&outcome.read_set, limits),
        observed_time: outcome.observed.time,
        observed_identity: outcome.observed.identity,
    }
}

pub fn query_outcome(outcome: wire::QueryOutcome) -> Decoded<QueryOutcome> {
    Ok(QueryOutcome {
        timestamp: convert::timestamp(outcome.timestamp)?,
        result: query_result(outcome.result)?,
        log_lines: outcome.log_lines,
        journal: outcome.journal.map(Into::into),
        read_set: convert::read_set(outcome.read_set)?.into(),
        observed: Observed { time: outcome.observed_time, identity: outcome.observed_identity },
    })
}

pub fn mutation_outcome_to_wire(outcome: MutationOutcome) -> wire::MutationOutcome {
    wire::MutationOutcome {
        result: Some(mutation_result_to_wire(outcome.result)),
        timestamp: outcome.timestamp.map(|timestamp| timestamp.as_nanoseconds()),
        log_lines: outcome.log_lines,
    }
}

pub fn mutation_outcome(outcome: wire::MutationOutcome) -> Decoded<MutationOutcome> {
    Ok(MutationOutcome {
        result: mutation_result(outcome.result)?,
        timestamp: outcome.timestamp.map(convert::timestamp).transpose()?,
        log_lines: outcome.log_lines,
    })
}

pub fn action_outcome_to_wire(outcome: ActionOutcome) -> wire::ActionOutcome {
    wire::ActionOutcome { result: Some(action_result_to_wire(outcome.result)), log_lines: outcome.log_lines }
}

pub fn action_outcome(outcome: wire::ActionOutcome) -> Decoded<ActionOutcome> {
    Ok(ActionOutcome { result: action_result(outcome.result)?, log_lines: outcome.log_lines })
}

pub fn module_to_wire(module: ModuleSource) -> wire::ModuleSource {
    wire::ModuleSource {
        path: module.path,
        source: module.source.to_string(),
        source_map: texts(module.source_map),
    }
}

pub fn module(module: wire::ModuleSource) -> ModuleSource {
    ModuleSource {
        path: module.path,
        source: module.source.into(),
        source_map: module.source_map.map(Into::into),
    }
}

fn modules_to_wire(modules: Vec<ModuleSource>) -> Vec<wire::ModuleSource> {
    modules.into_iter().map(module_to_wire).collect()
}

fn modules(modules: Vec<wire::ModuleSource>) -> Vec<ModuleSource> {
    modules.into_iter().map(module).collect()
}

/// JSON texts by name.
pub type Texts<T> = std::collections::BTreeMap<String, T>;

pub fn texts_to_wire(texts: Texts<Arc<str>>) -> Texts<String> {
    texts.into_iter().map(|(name, text)| (name, text.to_string())).collect()
}

pub fn texts_from_wire(texts: Texts<String>) -> Texts<Arc<str>> {
    texts.into_iter().map(|(name, text)| (name, text.into())).collect()
}

fn import_phase_to_wire(phase: ImportPhase) -> wire::ImportPhase {
    wire::ImportPhase { seed: phase.seed, time_ms: phase.time_ms }
}

fn import_phase(phase: wire::ImportPhase) -> ImportPhase {
    ImportPhase { seed: phase.seed, time_ms: phase.time_ms }
}

pub fn evaluation_request_to_wire(request: EvaluationRequest) -> wire::EvaluationRequest {
    wire::EvaluationRequest {
        deployment: Some(convert::deployment_to_wire(request.deployment)),
        modules: modules_to_wire(request.modules),
        schema: request.schema.map(module_to_wire),
        definition: request.definition.map(module_to_wire),
        environment_variables: request.environment_variables,
        import_phase: request.import_phase.map(import_phase_to_wire),
        component: request.component,
        site_path: request.site_path,
        definitions: request.definitions,
    }
}

pub fn evaluation_request(request: wire::EvaluationRequest) -> Decoded<EvaluationRequest> {
    Ok(EvaluationRequest {
        deployment: convert::deployment(request.deployment)?,
        modules: modules(request.modules),
        schema: request.schema.map(module),
        definition: request.definition.map(module),
        environment_variables: request.environment_variables,
        import_phase: request.import_phase.map(import_phase),
        component: request.component,
        site_path: request.site_path,
        definitions: request.definitions,
    })
}

pub fn evaluation_to_wire(evaluation: Evaluation) -> wire::Evaluation {
    wire::Evaluation {
        modules: texts_to_wire(evaluation.modules),
        schema: texts(evaluation.schema),
        definition: texts(evaluation.definition),
        auth_providers: texts(evaluation.auth_providers),
        import_phase: Some(import_phase_to_wire(evaluation.import_phase)),
    }
}

pub fn evaluation(evaluation: wire::Evaluation) -> Decoded<Evaluation> {
    Ok(Evaluation {
        modules: texts_from_wire(evaluation.modules),
        schema: evaluation.schema.map(Into::into),
        definition: evaluation.definition.map(Into::into),
        auth_providers: evaluation.auth_providers.map(Into::into),
        import_phase: import_phase(present(evaluation.import_phase, "the import phase")?),
    })
}

pub fn package_to_wire(package: NodePackage) -> wire::NodePackage {
    wire::NodePackage { name: package.name, version: package.version }
}

pub fn package(package: wire::NodePackage) -> NodePackage {
    NodePackage { name: package.name, version: package.version }
}

pub fn node_evaluation_request_to_wire(request: NodeEvaluationRequest) -> wire::NodeEvaluationRequest {
    use wire::node_evaluation_request::Packages;
    wire::NodeEvaluationRequest {
        deployment: Some(convert::deployment_to_wire(request.deployment)),
        modules: modules_to_wire(request.modules),
        environment_variables: request.environment_variables,
        version: request.version,
        packages: Some(match request.packages {
            NodePackages::Wanted(wanted) => Packages::Wanted(wire::WantedPackages {
                packages: wanted.into_iter().map(package_to_wire).collect(),
            }),
            NodePackages::Locked(packages) => {
                Packages::Locked(wire::LockedPackages { packages: texts(packages) })
            }
        }),
    }
}

pub fn node_evaluation_request(request: wire::NodeEvaluationRequest) -> Decoded<NodeEvaluationRequest> {
    use wire::node_evaluation_request::Packages;
    Ok(NodeEvaluationRequest {
        deployment: convert::deployment(request.deployment)?,
        modules: modules(request.modules),
        environment_variables: request.environment_variables,
        version: request.version,
        packages: match present(request.packages, "the packages")? {
            Packages::Wanted(wanted) => {
                NodePackages::Wanted(wanted.packages.into_iter().map(package).collect())
            }
            Packages::Locked(locked) => NodePackages::Locked(locked.packages.map(Into::into)),
        },
    })
}

pub fn node_evaluation_to_wire(evaluation: NodeEvaluation) -> wire::NodeEvaluation {
    wire::NodeEvaluation {
        modules: texts_to_wire(evaluation.modules),
        packages: texts(evaluation.packages),
        packages_id: evaluation.packages_id,
    }
}

pub fn node_evaluation(evaluation: wire::NodeEvaluation) -> NodeEvaluation {
    NodeEvaluation {
        modules: texts_from_wire(evaluation.modules),
        packages: evaluation.packages.map(Into::into),
        packages_id: evaluation.packages_id,
    }
}

fn line_to_wire(line: ConsoleLine) -> wire::ConsoleLine {
    wire::ConsoleLine {
        level: level_to_wire(line.level),
        messages: line.messages,
        truncated: line.truncated,
        logged_at_ms: line.logged_at_ms,
    }
}

fn line(line: wire::ConsoleLine) -> Decoded<ConsoleLine> {
    Ok(ConsoleLine {
        level: level(line.level)?,
        messages: line.messages,
        truncated: line.truncated,
        logged_at_ms: line.logged_at_ms,
    })
}

fn record_to_wire(record: ExecutionRecord) -> wire::ExecutionRecord {
    wire::ExecutionRecord {
        kind: kind_to_wire(record.kind),
        identifier: record.identifier,
        component: record.component,
        ended_at_s: record.ended_at_s,
        execution_time_ns: u64::try_from(record.execution_time.as_nanos()).unwrap_or(u64::MAX),
        lines: record.lines.into_iter().map(line_to_wire).collect(),
        error: record.error,
        http_status: record.http_status.map(u32::from),
        cached: record.cached,
        caller: caller_to_wire(record.caller),
        identity: identity_kind_to_wire(record.identity),
        request_id: record.request_id,
        execution_id: record.execution_id,
        conflict: record.conflict,
        will_retry: record.will_retry,
    }
}

fn status(status: u32) -> Decoded<u16> {
    u16::try_from(status).map_err(|_| Malformed::new("a status is none of HTTP"))
}

fn record(record: wire::ExecutionRecord) -> Decoded<ExecutionRecord> {
    Ok(ExecutionRecord {
        kind: kind(record.kind)?,
        identifier: record.identifier,
        component: record.component,
        ended_at_s: record.ended_at_s,
        execution_time: Duration::from_nanos(record.execution_time_ns),
        lines: record.lines.into_iter().map(line).collect::<Decoded<_>>()?,
        error: record.error,
        http_status: record.http_status.map(status).transpose()?,
        cached: record.cached,
        caller: caller(record.caller)?,
        identity: identity_kind(record.identity)?,
        request_id: record.request_id,
        execution_id: record.execution_id,
        conflict: record.conflict,
        will_retry: record.will_retry,
    })
}

pub fn function_log_to_wire(page: FunctionLogPage) -> wire::FunctionLogPage {
    wire::FunctionLogPage {
        records: page.records.into_iter().map(record_to_wire).collect(),
        cursor: page.cursor,
    }
}

pub fn function_log(page: wire::FunctionLogPage) -> Decoded<FunctionLogPage> {
    Ok(FunctionLogPage {
        records: page.records.into_iter().map(record).collect::<Decoded<_>>()?,
        cursor: page.cursor,
    })
}

fn headers_to_wire(headers: Vec<(String, Vec<u8>)>) -> Vec<wire::HttpHeader> {
    headers.into_iter().map(|(name, value)| wire::HttpHeader { name, value: value.into() }).collect()
}

fn headers(headers: Vec<wire::HttpHeader>) -> Vec<(String, Vec<u8>)> {
    headers.into_iter().map(|header| (header.name, header.value.to_vec())).collect()
}

pub fn http_call_to_wire(call: HttpCall) -> (wire::HttpCall, Option<Body>) {
    let head = wire::HttpCall {
        deployment: Some(convert::deployment_to_wire(call.deployment)),
        component: call.component,
        method: call.method,
        url: call.url,
        headers: headers_to_wire(call.headers),
        has_body: call.body.is_some(),
        identity: Some(callers::identity_to_wire(call.identity)),
        requester: Some(callers::requester_to_wire(call.requester)),
        request_id: call.request_id,
        is_own: call.is_own,
    };
    (head, call.body)
}

pub fn http_call(head: wire::HttpCall, body: Body) -> Decoded<HttpCall> {
    Ok(HttpCall {
        deployment: convert::deployment(head.deployment)?,
        component: head.component,
        method: head.method,
        url: head.url,
        headers: headers(head.headers),
        body: head.has_body.then_some(body),
        identity: callers::identity(head.identity)?,
        requester: callers::requester(head.requester)?,
        request_id: head.request_id,
        is_own: head.is_own,
    })
}

pub fn http_answer_to_wire(answer: HttpAnswer) -> (wire::HttpAnswer, Option<Body>) {
    use wire::http_answer::Answer;
    let (answer, body) = match answer {
        HttpAnswer::Response(response) => {
            let head = wire::HttpResponse {
                status: response.status.into(),
                headers: headers_to_wire(response.headers),
                body_bytes: response.body_bytes,
            };
            (Answer::Response(head), Some(response.body))
        }
        HttpAnswer::Failed(error) => (Answer::Failed(callers::function_error_to_wire(error)), None),
        HttpAnswer::NoRouter => (Answer::NoRouter(common::Nothing {}), None),
    };
    (wire::HttpAnswer { answer: Some(answer) }, body)
}

pub fn http_answer(head: wire::HttpAnswer, body: Body) -> Decoded<HttpAnswer> {
    use wire::http_answer::Answer;
    Ok(match present(head.answer, "the answer")? {
        Answer::Response(head) => HttpAnswer::Response(HttpResponse {
            status: status(head.status)?,
            headers: headers(head.headers),
            body_bytes: head.body_bytes,
            body,
        }),
        Answer::Failed(error) => HttpAnswer::Failed(callers::function_error(error)),
        Answer::NoRouter(_) => HttpAnswer::NoRouter,
    })
}

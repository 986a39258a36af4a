//! Traces that go on in another process.

use telemetry::Traced;
use tonic::Request;
use tracing::Span;

/// What is done here for a call that another process has traced; none where it has not.
pub fn span(traced: Option<Traced>) -> Span {
    let Some(traced) = traced else { return Span::none() };
    let span = tracing::debug_span!(target: telemetry::TARGET, "rpc", otel.kind = "server");
    traced.begin(&span);
    span
}

/// The same of a request that shares its stream with no other.
pub fn span_of<T>(request: &Request<T>) -> Span {
    span(telemetry::extract(request.metadata().as_ref()))
}

/// Has a request carry the trace that it belongs to.
pub fn inject<T>(request: &mut Request<T>) {
    telemetry::inject(request.metadata_mut().as_mut());
}

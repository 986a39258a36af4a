//! What the process has set up, for whoever makes spans.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use counters::Stopwatch;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::{filter::Recorded, sampling::Sampling};

pub(crate) struct State {
    pub sampling: Sampling,
    pub tracer: SdkTracer,
    pub started: Stopwatch,
}

static STATE: OnceLock<State> = OnceLock::new();

/// Begins to trace: `ratio` of the requests whose callers don't decide it, from 0 to 1, and of those whose callers ask for it up to
/// `asked_max` a second. The layer is for the process's subscriber; `None` if this was called before.
///
/// The tracer must record whatever it is given without a parent, and go on as a parent has decided.
pub fn start<S>(tracer: SdkTracer, ratio: f64, asked_max: u64) -> Option<impl Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    let sampling = Sampling::new(ratio, asked_max);
    let state = State { sampling, tracer: tracer.clone(), started: Stopwatch::start() };
    STATE.set(state).ok()?;
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    Some(layer.with_filter(Recorded))
}

pub(crate) fn get() -> Option<&'static State> {
    STATE.get()
}

/// Whether anything is traced in this process.
pub fn is_on() -> bool {
    STATE.get().is_some()
}

/// Whether the current span belongs to a trace.
pub fn is_traced() -> bool {
    is_on() && tracing::Span::current().context().span().span_context().is_sampled()
}

/// When something began that has just taken so long, if anything is traced in this process.
pub fn began(took: Duration) -> Option<SystemTime> {
    let began = || SystemTime::now().checked_sub(took);
    is_on().then(began).flatten()
}

/// Adds a span that is over to the current one, if that is traced.
pub fn record(name: &'static str, began: SystemTime, took: Duration) {
    let Some(state) = STATE.get() else { return };
    let parent = tracing::Span::current().context();
    if !parent.span().span_context().is_sampled() {
        return;
    }
    let builder = state.tracer.span_builder(name).with_start_time(began);
    let mut span = builder.start_with_context(&state.tracer, &parent);
    span.end_with_timestamp(began + took);
}

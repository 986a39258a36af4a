//! Which spans and events are looked at by what records traces: few, so that all others cost what they cost without it.

use tracing::{Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    layer::{Context, Filter},
    registry::LookupSpan,
};

use crate::TARGET;

/// The crates whose spans traces are made of.
const OURS: [&str; 11] = [
    "gateway",
    "runner",
    "txlog",
    "sequencer",
    "fanout",
    "scheduler",
    "deploy",
    "files",
    "blob",
    "rpc",
    "transaction",
];

/// Spans of requests that are traced, and what is inside of them.
pub(crate) struct Recorded;

fn is_wanted(metadata: &Metadata<'_>) -> bool {
    if metadata.target() == TARGET {
        return metadata.is_span();
    }
    let level_max = if metadata.is_span() { LevelFilter::DEBUG } else { LevelFilter::WARN };
    let of = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= level_max && OURS.contains(&of)
}

impl<S> Filter<S> for Recorded
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        // Of the spans that this filter has let through one is current.
        is_wanted(metadata) && (metadata.target() == TARGET || context.lookup_current().is_some())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_wanted(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::span::{Attributes, Id};
    use tracing_subscriber::{Layer, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<&'static str>>>);

    impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Seen {
        fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.0.lock().expect("nobody panics").push(attributes.metadata().name());
        }
    }

    #[test]
    fn only_what_is_inside_of_a_traced_request_is_recorded() {
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(seen.clone().with_filter(Recorded));
        tracing::subscriber::with_default(subscriber, || {
            let outside = tracing::error_span!(target: "gateway::edge", "outside");
            outside.in_scope(|| tracing::debug_span!(target: "runner", "inside of nothing"));
            let request = tracing::error_span!(target: TARGET, "request");
            request.in_scope(|| {
                let call = tracing::debug_span!(target: "runner::service", "call");
                call.in_scope(|| tracing::debug_span!(target: "txlog", "commit"));
                tracing::error_span!(target: "hyper::client", "of somebody else");
                tracing::trace_span!(target: "runner", "too fine");
            });
            // Once it is left nothing is in it.
            tracing::debug_span!(target: "txlog", "late");
        });
        assert_eq!(*seen.0.lock().expect("nobody panics"), ["request", "call", "commit"]);
    }
}

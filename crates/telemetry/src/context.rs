//! Traces that come from elsewhere and go elsewhere.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::state;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request that is traced, before its span.
#[derive(Clone, Debug)]
pub struct Traced(Context);

impl Traced {
    /// Makes the span, which nobody has entered yet, go on with the trace, or begin one. Its target must be
    /// [`TARGET`](crate::TARGET).
    pub fn begin(self, span: &tracing::Span) {
        // It fails for spans that nobody records.
        let _ = span.set_parent(self.0);
    }
}

struct Read<'h>(&'h HeaderMap);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Written<'h>(&'h mut HeaderMap);

impl Injector for Written<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

fn read(headers: &HeaderMap) -> Option<Context> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Read(headers));
    context.span().span_context().is_valid().then_some(context)
}

/// Decides whether a request of a client is traced; `headers` are its own. What its caller has decided holds, within the limit.
pub fn sample(headers: Option<&HeaderMap>) -> Option<Traced> {
    let state = state::get()?;
    match headers.and_then(read) {
        Some(context) => {
            let asked = context.span().span_context().is_sampled();
            (asked && state.sampling.grants(state.started.took())).then_some(Traced(context))
        }
        None => state.sampling.chooses().then(|| Traced(Context::new())),
    }
}

/// The trace that another process of ours goes on with here: it has decided.
pub fn extract(headers: &HeaderMap) -> Option<Traced> {
    state::get()?;
    read(headers).filter(|context| context.span().span_context().is_sampled()).map(Traced)
}

/// Writes the current trace into headers, if there is one.
pub fn inject(headers: &mut HeaderMap) {
    if state::is_on() {
        let context = tracing::Span::current().context();
        if context.span().span_context().is_sampled() {
            TraceContextPropagator::new().inject_context(&context, &mut Written(headers));
        }
    }
}

/// The current trace as one text, if there is one: for calls that share a stream, and so its headers.
pub fn traceparent() -> Option<String> {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    Some(headers.remove(TRACEPARENT)?.to_str().ok()?.to_owned())
}

/// The same on the other side.
pub fn from_traceparent(text: &str) -> Option<Traced> {
    state::get()?;
    extract(&HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(text).ok()?)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(traceparent: &str) -> HeaderMap {
        HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(traceparent).expect("a value"))])
    }

    #[test]
    fn a_context_comes_through_headers_as_it_was() {
        let context = read(&headers(TRACE)).expect("it is one");
        let mut written = HeaderMap::new();
        TraceContextPropagator::new().inject_context(&context, &mut Written(&mut written));
        assert_eq!(written["traceparent"], TRACE);
    }

    #[test]
    fn what_is_no_context_is_none() {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for wrong in [
            "",
            "00",
            "00-xyz-b7ad6b7169203331-01",
            zeros,
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(read(&headers(wrong)).is_none(), "{wrong}");
        }
        assert!(read(&HeaderMap::new()).is_none());
    }

    #[test]
    fn nothing_is_traced_that_was_not_started() {
        assert!(sample(Some(&headers(TRACE))).is_none());
        assert!(extract(&headers(TRACE)).is_none());
        let mut written = HeaderMap::new();
        inject(&mut written);
        assert!(written.is_empty());
    }
}

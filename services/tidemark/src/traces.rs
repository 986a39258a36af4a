//! Where spans are sent: to a collector that takes OTLP over gRPC, if one is configured.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::{limits::TelemetryLimits, refusal::Refusal};

const SERVICE: &str = "tidemark";

/// What is traced, and who collects it.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceOptions {
    /// As in `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// Of the requests whose callers don't decide it, how many are traced: from 0 to 1.
    pub sample_ratio: f64,
    /// What spans say of this process.
    pub attributes: Vec<(&'static str, String)>,
    pub limits: TelemetryLimits,
}

/// Sends spans until its end.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    wait_max: Duration,
}

/// Begins to trace. The layer is for the process's subscriber; without it nothing is recorded. To be called once, on a
/// runtime that lives as long as the process. A collector that can't be reached is tried again, and harms nobody.
///
/// # Errors
/// The endpoint is no address.
pub fn start<S>(options: TraceOptions) -> Result<(Traces, impl Layer<S> + Send + Sync), Refusal>
where
    S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
{
    let TraceOptions { endpoint, sample_ratio, attributes, limits } = options;
    let wait_max = Duration::from_millis(limits.export_ms_max);
    let exporter =
        SpanExporter::builder().with_tonic().with_endpoint(&endpoint).with_timeout(wait_max).build();
    let exporter = exporter.map_err(|error| {
        Refusal::Configuration(format!("telemetry.otlp_endpoint: {endpoint} can't be used: {error}"))
    })?;
    let batches = BatchConfigBuilder::default().with_max_queue_size(limits.spans_queued_max).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let attributes = attributes.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        // What reaches it was chosen before.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(Resource::builder().with_service_name(SERVICE).with_attributes(attributes).build())
        .build();
    let layer = telemetry::start(provider.tracer(SERVICE), sample_ratio, limits.asked_per_second_max);
    Ok((Traces { provider, wait_max }, layer.expect("a process sets up its log once")))
}

impl Traces {
    /// Sends what is left. Blocks, at most for the limit's time.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(self.wait_max) {
            tracing::warn!("the last spans were not sent: {error}");
        }
    }
}

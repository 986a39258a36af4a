//! A collector for tests: takes traces by OTLP over gRPC on a free port of this machine. Its first line is its address; each further
//! one is a span, as JSON.

use std::io::Write as _;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
};
use serde_json::{Map, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

struct Printer;

#[tonic::async_trait]
impl TraceService for Printer {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_resource in request.into_inner().resource_spans {
            let resource = of_resource.resource.map(|resource| attributes(&resource.attributes));
            for span in of_resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                let line = json!({
                    "name": span.name,
                    "trace": hex::encode(&span.trace_id),
                    "span": hex::encode(&span.span_id),
                    "parent": hex::encode(&span.parent_span_id),
                    "kind": span.kind,
                    "began_ns": span.start_time_unix_nano,
                    "ended_ns": span.end_time_unix_nano,
                    "attributes": attributes(&span.attributes),
                    "resource": resource,
                });
                print(&line.to_string()).map_err(|error| Status::internal(error.to_string()))?;
            }
        }
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

fn attributes(pairs: &[KeyValue]) -> Map<String, serde_json::Value> {
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => json!(text),
        Some(Value::BoolValue(yes)) => json!(yes),
        Some(Value::IntValue(number)) => json!(number),
        Some(Value::DoubleValue(number)) => json!(number),
        _ => serde_json::Value::Null,
    };
    pairs.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn print(line: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    print(&format!("http://{}", listener.local_addr()?))?;
    let service = TraceServiceServer::new(Printer);
    Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await?;
    Ok(())
}

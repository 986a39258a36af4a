#!/usr/bin/env bash
# npm @opentelemetry/otlp-transformer 0.223.1 (what the exporters of OTLP by HTTP write with; 0.301.1, for newer Node.js, has the same lines): as JSON, an
# attribute of 1e20 is an `intValue`, which no 64-bit integer can be; everything sent with it is refused.
#
# The guess: a number that is no int64 is a `doubleValue`, in both forms; by protobuf it is.
# What happens: the JSON form asks only whether the number is whole. 1e20 and Number.MAX_VALUE are, and so become `"intValue":100000000000000000000`. A
# receiver that reads JSON as protobuf says (here Python's `json_format`) finds it out of range and refuses the request, with all other spans in it.
# Infinity is a `doubleValue`, but JSON.stringify makes null of it where protobuf's JSON has "Infinity": a value without a kind arrives.
# What follows: send protobuf (@opentelemetry/exporter-trace-otlp-proto), or give large numbers as text. For a server of OTLP: JSON with such numbers comes
# from a well-known client.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error @opentelemetry/api@1.9.1 @opentelemetry/otlp-transformer@0.223.1 \
  @opentelemetry/sdk-trace-base@2.12.1 >/dev/null
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check opentelemetry-proto==1.45.2 protobuf==7.36.2
cat > write.mjs <<'JS'
import { writeFileSync } from "node:fs";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

for (const [name, number] of Object.entries({ whole: 2 ** 40, fraction: 1.5, large: 1e20, infinite: Infinity })) {
  const spans = new InMemorySpanExporter();
  const tracer = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }).getTracer("probe");
  tracer.startSpan("other").end();
  tracer.startSpan("span", { attributes: { number } }).end();
  writeFileSync(`${name}.json`, JsonTraceSerializer.serializeRequest(spans.getFinishedSpans()));
  writeFileSync(`${name}.bin`, ProtobufTraceSerializer.serializeRequest(spans.getFinishedSpans()));
}
JS
node write.mjs
cat > read.py <<'PY'
import base64
import json
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Request


def value_of(request):
    """The attribute of the last span as (kind, number)."""
    value = request.resource_spans[0].scope_spans[0].spans[-1].attributes[0].value
    kind = value.WhichOneof("value")
    return kind, kind and getattr(value, kind)


def by_protobuf(name):
    request = Request()
    request.ParseFromString(open(f"{name}.bin", "rb").read())
    return value_of(request)


def by_json(name):
    content = json.load(open(f"{name}.json"))
    for span in content["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        # OTLP has these in hexadecimal, unlike protobuf's own JSON.
        for field in ("traceId", "spanId"):
            span[field] = base64.b64encode(bytes.fromhex(span[field])).decode()
    try:
        return value_of(json_format.ParseDict(content, Request()))
    except json_format.ParseError as error:
        return "refused", str(error).rsplit(": ", 2)[1]


seen = {name: (by_protobuf(name), by_json(name)) for name in ("whole", "fraction", "large", "infinite")}
for name, (protobuf, as_json) in seen.items():
    print(f"{name:10} protobuf: {protobuf!s:30} JSON: {as_json}")
assert seen["whole"] == (("int_value", 2**40), ("int_value", 2**40))
assert seen["fraction"] == (("double_value", 1.5), ("double_value", 1.5))
assert seen["large"] == (("double_value", 1e20), ("refused", "Value out of range")), seen["large"]
assert seen["infinite"] == (("double_value", float("inf")), (None, None)), seen["infinite"]
PY
environment/bin/python read.py
echo "as found"

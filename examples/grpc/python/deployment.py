"""The service, and Convex values as Python's own: int for Int64, float for Float64, bytes."""

import pathlib
import sys
from urllib.parse import urlsplit

import grpc

# What a larger project has generated when it is built, grpcio-tools makes when this is imported.
sys.path.append(str(pathlib.Path(__file__).parents[3] / "proto"))
messages, services = grpc.protos_and_services("tidemark/deployment/v1/deployment.proto")

ANSWER_BYTES_MAX = 64 << 20


class FunctionFailed(Exception):
    """What a function has thrown. `data` is what a ConvexError carries, else None."""

    def __init__(self, error):
        super().__init__(error.message)
        self.data = decode(error.data) if error.HasField("data") else None


class _Token(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends a user's token with each call. (gRPC's own call credentials want TLS.)"""

    def __init__(self, token):
        self._metadata = [("authorization", f"Bearer {token}")]

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(metadata=self._metadata), request)

    intercept_unary_stream = intercept_unary_unary


def connect(url, token=None):
    options = [("grpc.max_receive_message_length", ANSWER_BYTES_MAX)]
    channel = grpc.insecure_channel(urlsplit(url).netloc, options)
    if token:
        channel = grpc.intercept_channel(channel, _Token(token))
    return services.DeploymentStub(channel)


def value_of(result):
    """What a function returned; what it threw is raised."""
    if result.WhichOneof("result") == "error":
        raise FunctionFailed(result.error)
    return decode(result.value)


def encode(value):
    """A message `Value`."""
    match value:
        case None:
            return messages.Value(null_value=messages.Null())
        case bool():
            return messages.Value(boolean_value=value)
        case int():
            return messages.Value(int64_value=value)
        case float():
            return messages.Value(float64_value=value)
        case str():
            return messages.Value(string_value=value)
        case bytes():
            return messages.Value(bytes_value=value)
        case list():
            return messages.Value(array_value=messages.Array(values=map(encode, value)))
        case dict():
            return messages.Value(object_value=messages.Object(fields=encode_fields(value)))
    raise TypeError(f"{type(value).__name__} is no Convex value")


def encode_fields(fields):
    return {name: encode(value) for name, value in fields.items()}


def decode(value):
    """What a message `Value` stands for."""
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "array_value":
            return [decode(member) for member in value.array_value.values]
        case "object_value":
            return {name: decode(field) for name, field in value.object_value.fields.items()}
        case kind:
            return getattr(value, kind)

"""Calls the chat's functions over gRPC: `python caller.py AUTHOR TEXT`."""

import itertools
import json
import os
import sys
import time
import uuid

import grpc

from deployment import FunctionFailed, connect, encode_fields, messages, value_of

CALL_SECONDS_MAX = 10

deployment = connect(os.environ.get("TIDEMARK_GRPC_URL", "http://127.0.0.1:3212"), os.environ.get("TIDEMARK_TOKEN"))
session = str(uuid.uuid4())
requests = itertools.count()


def call(path, **arguments):
    return messages.FunctionCall(path=path, arguments=encode_fields(arguments))


def mutate(path, **arguments):
    """A mutation whose answer is lost is sent again: its key lets it take effect once."""
    key = messages.IdempotencyKey(session_id=session, request_id=next(requests))
    request = messages.MutationRequest(call=call(path, **arguments), idempotency_key=key)
    while True:
        try:
            answer = deployment.Mutation(request, timeout=CALL_SECONDS_MAX)
            return value_of(answer.result), answer.timestamp
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            time.sleep(0.5)


def main(author, text):
    channel, _ = mutate("channels:open", name="grpc")
    sent, moment = None, 0
    authors = deployment.Subscribe(messages.SubscribeRequest(call=call("messages:authors", channel=channel)))
    for response in authors:
        if response.WhichOneof("event") == "heartbeat" or response.timestamp < moment:
            continue
        print(f"channel {channel}: {', '.join(value_of(response.result)) or 'nobody'} has written")
        if sent is not None:
            break
        sent, moment = mutate("messages:send", channel=channel, author=author, body=text)
        print(f"sent {sent} at {moment}")
    authors.cancel()

    calls = [call("channels:list"), call("messages:authors", channel=channel)]
    batch = messages.QueryBatchRequest(calls=calls, at_timestamp=moment)
    channels, writers = map(value_of, deployment.QueryBatch(batch, timeout=CALL_SECONDS_MAX).results)
    print(f"at that moment: {len(channels)} channels, {len(writers)} authors")

    try:
        mutate("messages:send", channel=channel, author=author, body="")
    except FunctionFailed as error:
        print(f"refused: {json.dumps(error.data)}")


main(*sys.argv[1:])

"""An official Python client, told what to do by lines of JSON on stdin: one answer to each on stdout.

Its class is the second argument, and the URL of a deployment the first. Values are in Convex's JSON encoding on these lines; in
between they are what the client makes of them.
"""

import json
import os
import sys

from convex import ConvexClient, ConvexError, convex_to_json, json_to_convex
from convex.http_client import ConvexHttpClient

CLASSES = {"ConvexClient": ConvexClient, "ConvexHttpClient": ConvexHttpClient}


class Driver:
    def __init__(self, url, client):
        self.client = CLASSES[client](url)
        self.subscriptions = []

    def call(self, kind, path, args):
        return {"value": convex_to_json(getattr(self.client, kind)(path, json_to_convex(args)))}

    def subscribe(self, path, args):
        self.subscriptions.append(self.client.subscribe(path, json_to_convex(args)))
        return {"subscription": len(self.subscriptions) - 1}

    def next(self, subscription):
        return {"value": convex_to_json(next(self.subscriptions[int(subscription)]))}

    def unsubscribe(self, subscription):
        self.subscriptions[int(subscription)].unsubscribe()
        return {}

    def set_auth(self, token):
        # The client for HTTP would send a token that is None.
        self.client.clear_auth() if token is None else self.client.set_auth(token)
        return {}


def main():
    # The client prints what functions log: that goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    driver = Driver(*sys.argv[1:])
    for line in sys.stdin:
        # The client takes no whole numbers but those that Python reads as floats.
        command = json.loads(line, parse_int=float)
        step = command.pop("do")
        try:
            answer = getattr(driver, step)(**command)
        except ConvexError as error:
            # The client for HTTP leaves the data as it came.
            is_encoded = isinstance(driver.client, ConvexHttpClient)
            answer = {"error": str(error), "data": error.data if is_encoded else convex_to_json(error.data)}
        except Exception as error:  # Whatever the client raises is what its user would see.
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


main()

"""Reads a deployment by Airbyte's connector, as Airbyte does, and prints what it emits, a JSON text per line.

Arguments: the deployment's address, its admin key, `full` or `incremental`; for the latter the state of each stream as JSON.
"""

import json
import logging
import sys

from airbyte_cdk.models import SyncMode
from source_convex.source import SourceConvex

address, key, mode = sys.argv[1:4]
states = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
source = SourceConvex()
config = {"deployment_url": address, "access_key": key}

connected, error = source.check_connection(logging.getLogger("airbyte"), config)
print(json.dumps({"connected": connected, "error": error}))
if not connected:
    sys.exit(1)
sync_mode = SyncMode.incremental if mode == "incremental" else SyncMode.full_refresh
for stream in source.streams(config):
    if stream.name in states:
        stream.state = states[stream.name]
    for record in stream.read_records(sync_mode):
        print(json.dumps({"stream": stream.name, "record": record}))
    print(json.dumps({"stream": stream.name, "state": stream.state, "schema": stream.get_json_schema()}))

#!/usr/bin/env bash
# PyPI standardwebhooks 1.1.0 and svix 2.9.1: the same instant, said in another time zone, is signed as another instant.
#
# The guess: `sign(msg_id, timestamp, data)` signs the Unix time of an aware datetime, as `timestamp.timestamp()` is; noon in London and one o'clock in
# Berlin, which Python calls equal, have one signature. At most a datetime without a zone is open to question.
# What happens: the zone is replaced by UTC, not converted to it, so that one o'clock in Berlin is signed as 13:00 UTC. Who sends the header
# `webhook-timestamp` by `timestamp.timestamp()` is refused by every receiver, this library's own `verify` among them, with "No matching signature
# found". A datetime of UTC is right. The same library for JavaScript takes a Date, an instant without a zone.
# What follows: `timestamp.astimezone(timezone.utc)` first; tests that sign by `datetime.now(timezone.utc)` do not show it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error standardwebhooks@1.1.1 >/dev/null
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0 svix==2.9.1
cat > probe.py <<'PY'
import subprocess
from datetime import datetime, timedelta, timezone

import standardwebhooks
import svix

SECRET = "whsec_" + "c2VjcmV0" * 4
DATA = '{"type":"example"}'
now = datetime.now(timezone.utc).replace(microsecond=0)
one_hour_east = now.astimezone(timezone(timedelta(hours=1)))
assert one_hour_east == now and one_hour_east.timestamp() == now.timestamp()


def in_javascript(moment):
    program = """
        const { Webhook } = require("standardwebhooks");
        const [secret, moment, data] = process.argv.slice(1);
        console.log(new Webhook(secret).sign("message", new Date(moment), data));
    """
    return subprocess.check_output(["node", "-e", program, SECRET, moment.isoformat(), DATA], text=True).strip()


def verified(library, id_header, moment):
    webhook = library.Webhook(SECRET)
    headers = {
        f"{id_header}-id": "message",
        f"{id_header}-timestamp": str(int(moment.timestamp())),
        f"{id_header}-signature": webhook.sign("message", moment, DATA),
    }
    try:
        webhook.verify(DATA, headers)
        return "verified"
    except library.WebhookVerificationError as error:
        return str(error)


assert in_javascript(now) == in_javascript(one_hour_east)
for library, name in [(standardwebhooks, "webhook"), (svix.webhooks, "svix")]:
    webhook = library.Webhook(SECRET)
    assert webhook.sign("message", now, DATA) == in_javascript(now)
    assert webhook.sign("message", one_hour_east, DATA) == webhook.sign("message", now + timedelta(hours=1), DATA)
    seen = [verified(library, name, moment) for moment in (now, one_hour_east)]
    print(library.__name__, seen)
    assert seen == ["verified", "No matching signature found"], seen
PY
environment/bin/python probe.py
echo "as found"

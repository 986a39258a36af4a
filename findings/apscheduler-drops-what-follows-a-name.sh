#!/usr/bin/env bash
# PyPI APScheduler 3.11.3: a step behind a range of names, "mon-fri/2", is accepted and dropped.
#
# The guess: names stand for numbers: mon-fri/2 is 0-4/2 (Monday, Wednesday, Friday), jan-jun/2 is 1-6/2; or a step that is not understood is refused.
# What happens: with numbers the step counts. With names the beginning of the text is compared with "name-name", and what follows is not looked at: every day,
# every month. `1st mon-fri` is the first Monday and `last/2` the last day in the same way. The trigger prints itself without the step, which is the one sign of it.
# What follows: write numbers where there is a step, or compare what the trigger prints with what was written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check apscheduler==3.11.3
cat > probe.py <<'PY'
from datetime import datetime, timedelta, timezone
from apscheduler.triggers.cron import CronTrigger


def runs(trigger, form, count=5):
    times, previous, now = [], None, datetime(2026, 1, 1, tzinfo=timezone.utc)
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        times.append(previous.strftime(form))
        now = previous + timedelta(seconds=1)
    return " ".join(times)


def seen(form, **fields):
    trigger = CronTrigger(timezone=timezone.utc, **fields)
    print(fields, runs(trigger, form), trigger)
    return runs(trigger, form)


# 1 January 2026 is a Thursday.
assert seen("%a", day_of_week="0-4/2") == "Fri Mon Wed Fri Mon"
assert seen("%a", day_of_week="mon-fri/2") == "Thu Fri Mon Tue Wed"
assert seen("%b", month="1-6/2") == "Jan Mar May Jan Mar"
assert seen("%b", month="jan-jun/2") == "Jan Feb Mar Apr May"
assert seen("%a %d", day="1st mon-fri") == "Mon 05 Mon 02 Mon 02 Mon 06 Mon 04"
assert runs(CronTrigger.from_crontab("0 9 * * mon-fri/2", timezone=timezone.utc), "%a") == "Thu Fri Mon Tue Wed"
assert str(CronTrigger(day_of_week="mon-fri/2")) == "cron[day_of_week='mon-fri']"
PY
timeout 60 venv/bin/python probe.py
echo "as found"

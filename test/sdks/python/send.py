"""Sends messages of every type, and a number of events, with Segment's library for Python."""

import sys
from datetime import datetime, timezone

from segment.analytics.client import Client

url, write_key, run, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
failures = []
client = Client(
    write_key,
    host=url,
    gzip=True,
    upload_size=10,
    upload_interval=0.2,
    max_retries=10,
    on_error=lambda error, batch: failures.append(str(error)),
)
user = run + "-1"
client.identify(user, {"email": "a@b.example"})
client.track(user, "Signed Up", {"plan": "pro"}, timestamp=datetime(2020, 1, 1, tzinfo=timezone.utc))
client.page(user, "Docs", "Home", {"url": "https://x.example/?q=ü"})
client.screen(user, "App", "Inbox")
client.group(user, "g1", {"name": "Initech"})
client.alias(run + "-0", user)
for n in range(count):
    client.track(user, f"Event {n}", {"n": n})
client.shutdown()
if failures:
    sys.exit("\n".join(failures))

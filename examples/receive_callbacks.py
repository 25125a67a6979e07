"""A receiver of callbacks in Flask: verifies each one, keeps it once, and ignores what is older than what it has.

    pip install flask standardwebhooks
    export CALLBACK_SECRET=whsec_…    # as `susy endpoint add` printed it; during a rotation both, separated by a space
    flask --app receive_callbacks run --port 9000

It keeps one row per check in SQLite. `webhook-id` is the same when a callback is sent again, and `data.sequence` grows
with every event of a check, so that neither a repeated callback nor a late one changes anything.
"""

from __future__ import annotations

import json
import os
import sqlite3

from flask import Flask, Response, request
from standardwebhooks import Webhook, WebhookVerificationError

SCHEMA = """
CREATE TABLE IF NOT EXISTS received (webhook_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS images (
    check_id TEXT PRIMARY KEY, sequence INTEGER, external_id TEXT, state TEXT, decision TEXT, score REAL, map_url TEXT
);
"""
KEEP = """
INSERT INTO images VALUES (:check_id, :sequence, :external_id, :state, :decision, :score, :map_url)
ON CONFLICT (check_id) DO UPDATE SET
    sequence = excluded.sequence, state = excluded.state, decision = excluded.decision, score = excluded.score,
    map_url = excluded.map_url
WHERE excluded.sequence > images.sequence
"""

app = Flask(__name__)
secrets = [Webhook(secret) for secret in os.environ["CALLBACK_SECRET"].split()]
database_path = os.environ.get("CALLBACK_DATABASE", "callbacks.sqlite3")


@app.post("/hooks/susy")
def receive() -> Response:
    """Answer 204 when the callback is kept, 401 when its signature is not right."""
    body = request.get_data()  # the bytes as sent: JSON that was parsed and written again has another signature
    if not is_genuine(body):
        return Response("wrong signature\n", status=401)
    message = json.loads(body)
    if message["type"].startswith("image."):
        with sqlite3.connect(database_path) as database:  # one transaction
            database.executescript(SCHEMA)
            is_new = database.execute(
                "INSERT OR IGNORE INTO received VALUES (?)", (request.headers["webhook-id"],)
            ).rowcount
            if is_new:
                database.execute(KEEP, message["data"])
    return Response(status=204)


def is_genuine(body: bytes) -> bool:
    """Whether one of the secrets has signed the body, less than five minutes ago."""
    for secret in secrets:
        try:
            secret.verify(body, dict(request.headers))
        except WebhookVerificationError:
            continue
        return True
    return False

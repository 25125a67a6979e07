"""An upload handler of Flask beside the receiver of `receive_callbacks.py`: one line guards it.

    pip install flask standardwebhooks susy-worker
    export SUSY_URL=http://127.0.0.1:8484 SUSY_API_KEY=susy_…    # as `susy up` printed it
    export CALLBACK_SECRET=whsec_…                               # as `susy endpoint add` printed it
    flask --app upload_flask run --port 9000

    curl -F image=@photo.jpg http://127.0.0.1:9000/avatars

An image that is held stays `pending` until the receiver has its callback.
"""

from __future__ import annotations

import os
import sqlite3

from flask import Response, jsonify
from receive_callbacks import SCHEMA, app, database_path

from susy_worker.guards.flask import guard_uploads, judgements

STATUS = {"allow": "published", "hold": "pending", "refuse": "refused"}
DECIDED = {"authentic": "published", "synthetic": "refused", "inconclusive": "pending"}


@app.post("/avatars")
@guard_uploads(source="avatars", fields=["image"], within=float(os.environ.get("GATE_SECONDS", "10")))
def upload() -> tuple[Response, int]:
    """Refused images never arrive here; what does is published, or waits."""
    [judgement] = judgements()["image"]
    return jsonify(check_id=str(judgement.check_id), status=STATUS[judgement.answer]), 202


@app.get("/avatars/<check_id>")
def show(check_id: str) -> Response:
    """Whether the image is shown, once its callback has come."""
    with sqlite3.connect(database_path) as database:
        database.executescript(SCHEMA)
        row = database.execute("SELECT decision FROM images WHERE check_id = ?", (check_id,)).fetchone()
    return jsonify(status=DECIDED.get(row[0], "pending") if row else "pending")

"""A real worker process, reached in every way a platform can reach it."""

from __future__ import annotations

import base64
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
import redis

from schema.states import CheckState, Decision
from tests.support.commands import Processes
from tests.support.corpus import build
from worker.client import Client
from worker.settings import Settings
from worker.store import CheckDetails, Store

Ended = Callable[[UUID], CheckDetails]


def test_the_python_function_leads_to_a_verdict(
    processes: Processes, settings: Settings, images: Path, ended: Ended
) -> None:
    processes.start_worker()
    with Client(settings) as client:
        receipt = client.submit(
            source="avatars", external_id="1", uri=str(images / "a.png"), attributes={"country": "NZ"}
        )
        again = client.submit(source="avatars", external_id="1", uri=str(images / "a.png"))
    view = ended(receipt.check_id)
    assert view.verdict is not None
    assert view.attributes == {"country": "NZ"}
    assert (again.check_id, again.created) == (receipt.check_id, False)


def test_the_command_line_leads_to_a_verdict_and_shows_it(processes: Processes, images: Path, ended: Ended) -> None:
    processes.start_worker()
    submitted = processes.run("submit", str(images / "b.png"), "--json", "--external-id", "x1")
    assert submitted.code == 0, submitted.stderr
    check_id = submitted.document["check_id"]
    ended(UUID(check_id))
    shown = processes.run("show", check_id, "--json", "--overlay", "overlay.png")
    assert shown.code == 0, shown.stderr
    document = shown.document
    promised = {
        "decision", "score", "class_scores", "generator", "generator_confidence", "reasons", "needs_review",
        "width", "height", "content_sha256", "tiles", "regions", "policy", "model",
        "check_id", "state", "attempts", "error",
    }  # fmt: skip
    assert promised <= document.keys()
    assert (document["width"], document["height"], document["state"]) == (500, 300, "done")
    assert (processes.folder / "overlay.png").read_bytes().startswith(b"\x89PNG")
    checked = processes.run("check", str(images / "b.png"), "--json")
    here = checked.document
    shared = here.keys() - {"path", "explain"}  # of the ledger, `susy explain` tells why
    assert {key: here[key] for key in shared} == {key: document[key] for key in shared}, (
        "in this process and through the queue, the same image gets the same answer"
    )


def test_a_bare_redis_message_leads_to_a_verdict(
    processes: Processes, settings: Settings, images: Path, store: Store, redis_url: str, database_url: str
) -> None:
    processes.start_worker()
    push(
        redis_url,
        settings.key_prefix,
        {"version": 1, "source": "chat", "uri": str(images / "a.png"), "external_id": "9"},
    )
    processes.eventually(lambda: _one(database_url, "SELECT count(*) FROM dashboard.checks WHERE state = 'done'") == 1)
    assert _one(database_url, "SELECT external_id FROM dashboard.checks") == "9"


def test_a_message_without_external_id_is_one_submission_however_often_it_is_delivered(
    processes: Processes, settings: Settings, images: Path, redis_url: str, database_url: str
) -> None:
    processes.start_worker()
    message_id = str(uuid4())
    for _ in range(3):
        push(redis_url, settings.key_prefix, {"version": 1, "source": "chat", "uri": str(images / "a.png")}, message_id)
    push(redis_url, settings.key_prefix, {"version": 1, "source": "chat", "uri": str(images / "b.png")})
    processes.eventually(lambda: _one(database_url, "SELECT count(*) FROM dashboard.checks WHERE state = 'done'") == 2)
    assert _one(database_url, "SELECT count(*) FROM dashboard.checks") == 2


MALFORMED: list[dict[str, object]] = [
    {"version": 2, "source": "chat", "uri": "/a.png"},
    {"version": 1, "uri": "/a.png"},
    {"version": 1, "source": "chat", "uri": "/a.png", "lane": "express"},
    {"version": 1, "source": "chat", "uri": "/a.png", "expires_at": 1790000000},
    {"version": 1, "source": "chat", "uri": "/a\x00.png"},
    {"version": 1, "source": "chat", "uri": "/a.png", "external_id": "cut emoji \ud83d"},
    {"version": 1, "source": "\udc00", "uri": "/a.png"},
    {"version": 1, "source": "chat", "uri": "/\ud83d.png"},
    {"version": 1, "source": "chat", "uri": "/a.png", "policy": "\ud83d"},
    {"version": 1, "source": "chat", "uri": "/a.png", "lane": "\ud83d"},
    {"version": 1, "source": "chat", "uri": "/a.png", "attributes": {"title": ["\ud83d"]}},
    {"version": 1, "source": "chat", "uri": "/a.png", "attributes": {"\ud83d": 1}},
    {"version": 1, "source": "chat", "uri": "/a.png", "\ud83d": 1},
    {"version": 1, "source": "chat", "uri": "/a.png", "attributes": {"score": float("nan")}},
    {},
]


def test_malformed_messages_are_kept_for_the_operator_and_stop_nothing(
    processes: Processes, settings: Settings, images: Path, redis_url: str, database_url: str
) -> None:
    processes.start_worker()
    for fields in MALFORMED:
        push(redis_url, settings.key_prefix, fields)
    push(redis_url, settings.key_prefix, {"version": 1, "source": "chat", "uri": str(images / "a.png")})
    processes.eventually(lambda: _one(database_url, "SELECT count(*) FROM dashboard.checks WHERE state = 'done'") == 1)
    kept = "SELECT count(*), min(code), max(code), min(length(message)) > 10 FROM susy.rejected_messages"
    processes.eventually(
        lambda: _row(database_url, kept) == (len(MALFORMED), "invalid_message", "invalid_message", True)
    )


def test_the_hostile_corpus_ends_in_verdicts_or_codes_and_harms_no_neighbour(
    processes: Processes, settings: Settings, ended: Ended, images: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus"
    cases = build(corpus)
    # More than are published as they are submitted; the rest comes in its turn.
    processes.start_reconciler()
    worker = processes.start_worker(SUSY_CONCURRENCY="4", SUSY_IMAGE_ROOTS=f"{images}:{corpus}")
    with Client(settings) as client:
        alone = ended(client.submit(source="alone", uri=str(images / "b.png")).check_id)
        (images / "beside.png").write_bytes((images / "b.png").read_bytes())
        with psycopg.connect(settings.require_database_url()) as connection:
            connection.execute("DELETE FROM susy.verdicts")
            connection.execute("DELETE FROM susy.scans")  # or the neighbour would not be scored again
        submitted = [(case, client.submit(source="corpus", uri=str(case.path)).check_id) for case in cases]
        beside = ended(client.submit(source="beside", uri=str(images / "beside.png")).check_id)
        for case, check_id in submitted:
            view = ended(check_id)
            if case.code is not None:
                assert view.error is not None, case
                assert (view.state, view.error.code) == (CheckState.QUARANTINED, case.code), (case, view.error)
            else:
                assert view.state is CheckState.DONE, (case, view.error)
                assert view.verdict is not None
                assert view.scan is not None
                assert (view.scan.width, view.scan.height) == case.size
                if min(case.size) < 224:
                    assert view.verdict.decision is Decision.INCONCLUSIVE
    assert alone.verdict == beside.verdict
    assert worker.poll() is None


def test_what_a_killed_worker_held_is_done_by_the_next(
    processes: Processes, settings: Settings, images: Path, store: Store, ended: Ended
) -> None:
    processes.start_reconciler()
    doomed = processes.start_worker()
    with Client(settings) as client:
        doomed.send_signal(signal.SIGSTOP)  # its messages may be popped, but nothing is done with them
        ids = [client.submit(source="s", uri=str(images / name)).check_id for name in ("a.png", "b.png")]
        claimed = store.claim(ids[0], worker="doomed", lease=1, max_attempts=5)
        assert claimed is not None
        doomed.kill()
        doomed.send_signal(signal.SIGCONT)
        processes.start_worker()
        for check_id in ids:
            assert ended(check_id).state is CheckState.DONE


def test_plain_celery_starts_the_same_worker_beside_another_whose_answer_it_reads(
    processes: Processes, settings: Settings, images: Path, ended: Ended
) -> None:
    another = processes.start_worker()
    command = [sys.executable, "-m", "celery", "-A", "susy_worker.celery", "worker", "--hostname", "other@%h"]
    plain = processes.spawn(*command).ready()
    another.terminate()
    assert another.wait(40) == 0
    with Client(settings) as client:
        assert ended(client.submit(source="s", uri=str(images / "a.png")).check_id).verdict is not None
    plain.terminate()
    assert plain.wait(40) == 0


def test_live_is_served_before_backfill(
    processes: Processes, settings: Settings, images: Path, store: Store, ended: Ended
) -> None:
    with Client(settings) as client:
        backfill = [client.submit(source="old", uri=str(images / "a.png"), lane="backfill").check_id for _ in range(20)]
        live = [client.submit(source="new", uri=str(images / "b.png"), lane="live").check_id for _ in range(5)]
    processes.start_worker(SUSY_CONCURRENCY="1")
    finished = {check_id: ended(check_id).finished_at for check_id in [*backfill, *live]}
    order = sorted(finished, key=lambda check_id: finished[check_id] or 0)
    assert max(order.index(check_id) for check_id in live) <= 7, "at most what was prefetched comes first"


def test_a_worker_takes_no_more_messages_than_it_has_threads(
    processes: Processes, settings: Settings, images: Path, database_url: str, redis_url: str, ended: Ended
) -> None:
    with Client(settings) as client:
        checks = [client.submit(source="s", uri=str(images / "b.png"), lane="backfill").check_id for _ in range(16)]
    held, done = set(), "SELECT count(*) FROM susy.checks WHERE state = 'done'"
    with redis.Redis.from_url(redis_url) as connection:
        processes.start_worker(SUSY_CONCURRENCY="2")
        while waiting := connection.llen(f"{settings.key_prefix}backfill"):
            held.add(max(0, len(checks) - int(waiting) - int(str(_one(database_url, done)))))
            time.sleep(0.002)
    assert held <= {0, 1, 2}
    assert 2 in held
    for check_id in checks:
        ended(check_id)


def test_sigterm_finishes_what_is_running_and_exits_cleanly(
    processes: Processes, settings: Settings, images: Path, store: Store, ended: Ended
) -> None:
    worker = processes.start_worker()
    with Client(settings) as client:
        check_id = client.submit(source="s", uri=str(images / "b.png")).check_id
    processes.eventually(lambda: store.show(check_id).state is not CheckState.QUEUED)
    worker.terminate()
    assert worker.wait(40) == 0
    assert store.show(check_id).state is CheckState.DONE


def test_log_lines_are_json_with_the_check_id_and_no_secret(
    processes: Processes, settings: Settings, images: Path, ended: Ended
) -> None:
    processes.start_worker()
    with Client(settings) as client:
        check_id = client.submit(source="s", uri=str(images / "a.png")).check_id
    ended(check_id)
    processes.eventually(lambda: "check_done" in processes.output())
    lines = [json.loads(line) for line in processes.output().splitlines() if line.startswith("{")]
    (done,) = (line for line in lines if line["event"] == "check_done")
    assert done["check_id"] == str(check_id)
    assert settings.require_database_url() not in processes.output()


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"SUSY_WEIGHTS": ""}, "SUSY_WEIGHTS"),
        ({"SUSY_IMAGE_ROOTS": ""}, "SUSY_IMAGE_ROOTS"),
        ({"SUSY_DEVICE": "cuda:7"}, "SUSY_DEVICE"),
        ({"SUSY_HARD_DEADLINE": "400"}, "SUSY_VISIBILITY_TIMEOUT"),
        ({"SUSY_REDIS_URL": "nonsense"}, "SUSY_REDIS_URL"),
    ],
)
def test_a_worker_that_is_set_up_wrong_says_why_in_one_line_and_exits_2(
    processes: Processes, environment: dict[str, str], word: str
) -> None:
    result = processes.run("worker", **environment)
    assert result.code == 2, result.stderr
    explanation = [line for line in result.stderr.splitlines() if word in line]
    assert len(explanation) == 1, result.stderr
    assert "Traceback" not in result.stderr


def test_demonstration_weights_are_refused_unless_asked_for_by_name(processes: Processes) -> None:
    from worker.demo import DEMO_WEIGHTS

    result = processes.run("worker", SUSY_WEIGHTS=str(DEMO_WEIGHTS))
    assert result.code == 2, result.stderr
    assert "SUSY_WEIGHTS=demo" in result.stderr


def test_bad_paths_are_refused_at_submission_and_nothing_is_queued(
    processes: Processes, images: Path, tmp_path: Path, database_url: str
) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes((images / "a.png").read_bytes())
    (images / "link.png").symlink_to(outside)
    refused = {
        str(images / "absent.png"): "not_found",
        str(images): "not_a_file",
        str(images / "link.png"): "outside_roots",
        str(images / ".." / "outside.png"): "outside_roots",
        "https://example.org/a.png": "unsupported_source",
    }
    result = processes.run("submit", "--json", *refused)
    assert result.code == 1, result.stderr
    documents = result.documents
    assert {document["path"]: document["error"]["code"] for document in documents} == refused
    assert _one(database_url, "SELECT count(*) FROM dashboard.checks") == 0


def push(redis_url: str, prefix: str, fields: dict[str, object], message_id: str | None = None) -> None:
    """What docs/messages.md tells producers in any language to send."""
    message_id = message_id or str(uuid4())
    body = json.dumps([[], fields, {}])
    message = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "susy.submit", "id": message_id},
        "properties": {
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": "submit"},
            "body_encoding": "base64",
        },
    }
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(f"{prefix}submit", json.dumps(message))


def _row(database_url: str, query: str) -> tuple[object, ...]:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row


def _one(database_url: str, query: str) -> object:
    return _row(database_url, query)[0]

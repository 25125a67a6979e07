"""The way of submissions through the HTTP service: one address, one API key, a deadline for every call."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import count
from typing import IO, Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import urllib3
from pydantic_core import from_json
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from schema.gate import GateAnswer, GateReason, GateResult
from schema.messages import Receipt, Submission
from schema.states import Decision
from worker.client.timed import timed_pool_manager
from worker.errors import ErrorCode, PermanentError, SusyError, TransientError

TIMEOUT = 10.0
"""Seconds that a call may take, all its attempts together."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
"""Seconds between two attempts, before the jitter."""
MAX_ANSWER = 1_000_000
"""Bytes of an answer that are read."""
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REPEATED = frozenset({429, 502, 503, 504})
"""Statuses after which the same request is sent again while there is time."""
_GATE_MARGIN = 5.0
"""Seconds beyond the gate's deadline in which its answer must arrive."""

Fields = Mapping[str, Any]
Image = bytes | IO[bytes]


@dataclass(frozen=True)
class _Answer:
    status: int
    content_type: str
    retry_after: float | None
    body: bytes


class ServiceConnection:
    """The HTTP service as the client uses it; thread-safe, and safe to use in processes forked from this one.

    Every method raises `TransientError` when the service is unavailable (`service_unavailable`) or says that another
    attempt may help, within `timeout` seconds, and `PermanentError` with the service's code when it refuses.
    """

    def __init__(self, url: str, api_key: str, *, pool_size: int, timeout: float = TIMEOUT) -> None:
        """`url` is the service's address (`worker.service_url`)."""
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        self._pool_size = pool_size
        self._timeout = timeout
        self._lock = threading.Lock()
        self._owner: tuple[int, urllib3.PoolManager] | None = None

    def submit(self, submission: Submission) -> Receipt:
        """Submit one image by its URI. Safe to repeat: the service accepts the same request once."""
        headers = {"Content-Type": "application/json", **_idempotency_key(submission)}
        body = json.dumps(submission.model_dump(mode="json", exclude_none=True)).encode()
        return _receipt(self._call("POST", "/v1/checks", body, headers))

    def upload(self, image: Image, fields: Submission, content_type: str) -> Receipt:
        """Store an image and submit it. `fields` has an empty URI's place; the service knows where it stores."""
        headers = {"Content-Type": content_type, **_idempotency_key(fields)}
        return _receipt(self._call("POST", "/v1/images", image, headers, query=_query(fields)))

    def gate(self, image: Image | None, fields: Submission, content_type: str, within: float | None) -> GateResult:
        """Ask whether an image may be published, and wait for the answer."""
        query = _query(fields) | ({} if within is None else {"within": f"{within:g}"})
        headers = _idempotency_key(fields)
        if image is None:
            body: Image = json.dumps(fields.model_dump(mode="json", exclude_none=True)).encode()
            headers["Content-Type"] = "application/json"
            query = {name: value for name, value in query.items() if name == "within"}
        else:
            body = image
            headers["Content-Type"] = content_type
        timeout = (self._timeout if within is None else max(within, self._timeout)) + _GATE_MARGIN
        answer = self._call("POST", "/v1/gate", body, headers, query=query, timeout=timeout)
        try:
            return GateResult(
                answer=GateAnswer(answer["answer"]),
                reason=GateReason(answer["reason"]),
                check_id=UUID(answer["check_id"]),
                decision=Decision(answer["decision"]) if answer.get("decision") else None,
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise _not_ours("an answer without the documented members") from error

    def add_review(self, check_id: UUID, reviewer: str, decision: Decision, note: str | None) -> None:
        """Store what a person decided. Sent again while there is time, and added once."""
        review = {"reviewer": reviewer, "decision": str(decision), "note": note}
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
        self._call("POST", f"/v1/checks/{check_id}/reviews", json.dumps(review).encode(), headers)

    def close(self) -> None:
        """Close the connections. In a process forked from the one that made them this does nothing."""
        if self._owner is not None and self._owner[0] == os.getpid():
            self._owner[1].clear()

    def _call(
        self,
        method: str,
        path: str,
        body: Image,
        headers: Mapping[str, str],
        *,
        query: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The JSON of a successful answer. A request that may have been lost is sent again while there is time."""
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
        url = self._url + path + (f"?{urlencode(query)}" if query else "")
        start = _position(body)
        for attempt in count(1):
            error: SusyError
            wait: float | None = None
            try:
                answer = self._send(method, url, body, headers, until)
            except TransientError as failure:
                error = failure
            else:
                if answer.status < 300:
                    return _parsed(answer)
                error, wait = _refusal(answer), answer.retry_after
                if answer.status not in _REPEATED:
                    raise error
            if wait is None:
                wait = _jittered(attempt)
            if time.monotonic() + wait >= until or not _rewound(body, start):
                raise error
            time.sleep(wait)
        raise AssertionError

    def _send(self, method: str, url: str, body: Image, headers: Mapping[str, str], until: float) -> _Answer:
        left = until - time.monotonic()
        if left <= 0:
            raise _service_unavailable("it did not answer in time")
        try:
            response = self._pool().request(
                method,
                url,
                body=body,
                headers={**self._headers, **headers},
                # A host may have several addresses that do not answer.
                timeout=urllib3.Timeout(total=left, connect=left / 2),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            content = response.read(MAX_ANSWER + 1)
            if len(content) <= MAX_ANSWER:
                response.release_conn()
            else:
                response.close()
        except SSLError as error:
            raise PermanentError(ErrorCode.SETTINGS, f"SUSY_URL: TLS failed: {_reason(error)}") from error
        except (HTTPError, OSError) as error:
            raise _service_unavailable(_reason(error)) from error
        if len(content) > MAX_ANSWER:
            raise _not_ours(f"more than {MAX_ANSWER} bytes")
        given = response.headers
        return _Answer(
            response.status,
            given.get("Content-Type", "").partition(";")[0].strip().lower(),
            _seconds(given.get("Retry-After")),
            content,
        )

    def _pool(self) -> urllib3.PoolManager:
        """The connections of this process: those of the process that it was forked from are left alone."""
        owner = self._owner
        if owner is None or owner[0] != os.getpid():
            with self._lock:
                if self._owner is None or self._owner[0] != os.getpid():
                    self._owner = os.getpid(), timed_pool_manager(self._pool_size)
                owner = self._owner
        return owner[1]


def _idempotency_key(submission: Submission) -> dict[str, str]:
    """Without an external id, a key of its own makes a request safe to repeat."""
    return {} if submission.external_id is not None else {"Idempotency-Key": uuid4().hex}


def _query(submission: Submission) -> dict[str, str]:
    """What is submitted beside an image, as parameters of the query."""
    fields = submission.model_dump(mode="json", exclude_none=True, exclude={"uri"})
    attributes = fields.pop("attributes", None)
    return {name: str(value) for name, value in fields.items()} | (
        {"attributes": json.dumps(attributes)} if attributes else {}
    )


def _receipt(document: Any) -> Receipt:
    try:
        return Receipt(UUID(document["check_id"]), created=bool(document["created"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _not_ours("an answer without a check id") from error


def _parsed(answer: _Answer) -> Any:
    try:
        return from_json(answer.body) if answer.body else None
    except ValueError as error:
        raise _not_ours(f"{answer.status} with {answer.content_type or 'no content type'}") from error


def _refusal(answer: _Answer) -> SusyError:
    """The error that the service names in its answer."""
    kind = TransientError if answer.status in _TRANSIENT else PermanentError
    try:
        problem = from_json(answer.body)
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        shown = f"{answer.status} with {answer.content_type or 'no content type'}"
        return _service_unavailable(shown) if kind is TransientError else _not_ours(shown)
    try:
        return kind(ErrorCode(code), detail)
    except ValueError:  # of a newer service
        return kind(ErrorCode.UNEXPECTED, f"{code}: {detail}")


def _service_unavailable(why: str) -> TransientError:
    return TransientError(ErrorCode.SERVICE_UNAVAILABLE, f"the service at SUSY_URL is unavailable: {why}")


def _not_ours(what: str) -> PermanentError:
    return PermanentError(
        ErrorCode.UNEXPECTED, f"SUSY_URL answered {what}; it must be the address of a `susy serve`, without a path"
    )


def _reason(error: BaseException) -> str:
    """The innermost cause: urllib3 wraps it in the addresses of its objects."""
    while isinstance(error, MaxRetryError) and error.reason is not None:
        error = error.reason
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _jittered(attempt: int) -> float:
    """Seconds to wait after this attempt, 1 for the first."""
    doubled: float = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 64))
    return doubled * random.uniform(0.5, 1.5)  # noqa: S311 (not used for security)


def _position(body: Image) -> int | None:
    """Where a file stands; None when it cannot be read twice."""
    if isinstance(body, bytes):
        return 0
    try:
        return body.tell() if body.seekable() else None
    except (OSError, ValueError, AttributeError):
        return None


def _rewound(body: Image, position: int | None) -> bool:
    """Whether the body can be sent again; a file is set to `position` for it."""
    if position is None:
        return False
    if not isinstance(body, bytes):
        body.seek(position)
    return True

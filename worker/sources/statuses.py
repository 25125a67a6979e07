"""HTTP statuses as errors: the same for URLs and for object stores."""

from __future__ import annotations

from worker.errors import ErrorCode, PermanentError, SusyError, TransientError

_TRANSIENT = frozenset({408, 409, 425, 429})
"""And everything from 500 on: what may pass by itself."""
_FINAL = {
    401: (ErrorCode.ACCESS_DENIED, "may not be read ({}); check the credentials, or whether a signature has expired"),
    403: (ErrorCode.ACCESS_DENIED, "may not be read ({}); check the credentials, or whether a signature has expired"),
    404: (ErrorCode.NOT_FOUND, "does not exist ({}); was it moved or deleted?"),
    410: (ErrorCode.GONE, "was deleted for good ({})"),
}
_OTHER = (ErrorCode.UNEXPECTED_STATUS, "cannot be read ({}); a readable image has status 200")


def status_error(status: int, shown: str, *, detail: str = "", retry_after: float | None = None) -> SusyError:
    """The error of a status other than 200 for what is `shown`; `detail` is the server's own word for it."""
    answer = f"status {status}" + (f", {detail}" if detail else "")
    if status in _TRANSIENT or status >= 500:
        error = TransientError(ErrorCode.REMOTE_UNAVAILABLE, f"the server of {shown} cannot answer now ({answer})")
        error.retry_after = retry_after
        return error
    code, text = _FINAL.get(
        status, (ErrorCode.UNEXPECTED_STATUS, "cannot be read ({}); a readable image has status 200")
    )
    return PermanentError(code, f"{shown} {text.format(answer)}")

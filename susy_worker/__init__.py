"""The public interface of susy-worker: what an upload hook imports. Needs no extra.

    from susy_worker import submit

    receipt = submit(source="avatars", external_id="upload-1", uri="/images/1.jpg")

In a checkout the code lies in the packages `worker`, `schema` and `migrations`; the wheel contains them inside this
one (`docs/decisions/0011-one-installed-package.md`).

Reading order: `guards` (for upload handlers); then what needs the extra for workers: `celery`, `train` and `datasets`.
"""

from schema.gate import GateAnswer, GateReason, GateResult
from worker.client import Client, Receipt, submit
from worker.errors import ConfigurationError, ErrorCode, PermanentError, SusyError, TransientError

__all__ = [
    "Client",
    "ConfigurationError",
    "ErrorCode",
    "GateAnswer",
    "GateReason",
    "GateResult",
    "PermanentError",
    "Receipt",
    "SusyError",
    "TransientError",
    "submit",
]

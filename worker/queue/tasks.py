"""The Celery tasks: each validates its message and calls one function."""

from __future__ import annotations

import json
from typing import Any

from celery import Task, shared_task
from pydantic import ValidationError

from schema.messages import CHECK_TASK, SUBMIT_TASK, SubmitMessage
from worker.errors import ErrorCode, SusyError
from worker.log import LimitedWarnings, get_logger
from worker.queue.attempt import attempt
from worker.queue.messages import REJECT_TASK, check_of
from worker.queue.publisher import submit_check
from worker.queue.retry import retry_while_unusable
from worker.queue.runtime import current
from worker.validation import describe_invalid

log = get_logger(__name__)
rejections = LimitedWarnings(log, "message_rejected")
"""Each rejected message is in the ledger; a producer that sends a million of them must not fill the logs, too."""


@shared_task(name=CHECK_TASK, bind=True)
def check(self: Task, /, *args: Any, **kwargs: Any) -> None:
    """Examine one check; the only argument is its id."""
    check_id = check_of(args)
    if check_id is None:
        _reject(self, args, kwargs, "expected one argument, the check's id")
        return
    attempt(check_id, current.get())


@shared_task(name=SUBMIT_TASK, bind=True)
def submit(self: Task, /, *args: Any, **kwargs: Any) -> None:
    """Accept one submission; its fields are the message's keyword arguments (`docs/messages.md`)."""
    if args:
        _reject(self, args, kwargs, "expected keyword arguments only")
        return
    runtime = current.get()
    try:
        submission = SubmitMessage.model_validate(kwargs).submission()
        if submission.external_id is None:
            # Redis may deliver a message twice; its id makes the second delivery the same submission.
            submission = submission.model_copy(update={"external_id": f"message:{self.request.id}"})
        retry_while_unusable(submit_check, submission, runtime.store, runtime.publisher)
    except ValidationError as error:
        _reject(self, args, kwargs, describe_invalid(error, whole="message"))
    except SusyError as error:
        _reject(self, args, kwargs, error.message, error.code)
    except Exception as error:
        # Celery would log it and acknowledge the message: an upload would be lost.
        log.exception("unexpected_failure")
        _reject(self, args, kwargs, f"{type(error).__name__}: {error}", ErrorCode.UNEXPECTED)


@shared_task(name=REJECT_TASK)
def reject(*, raw: str, reason: str) -> None:
    """Store an item of Redis that is not a message for any task (`worker.queue.messages`)."""
    _store_rejected(REJECT_TASK, raw, reason, ErrorCode.INVALID_MESSAGE)


def _reject(task: Task, args: Any, kwargs: Any, message: str, code: ErrorCode = ErrorCode.INVALID_MESSAGE) -> None:
    try:
        body = json.dumps({"args": args, "kwargs": kwargs}, default=repr)
    except (ValueError, RecursionError):
        body = "the message cannot be written as JSON"
    _store_rejected(task.name, body, message, code)


def _store_rejected(task: str, body: str, message: str, code: ErrorCode) -> None:
    """Store what cannot be processed where an operator finds it."""
    rejections.warn(task=task, code=str(code), error=message)
    retry_while_unusable(current.get().store.reject_message, task, body, code=code, message=message)

"""The errors of susy-worker: one code each, one line of message, one decision about retrying.

Code that meets a failure raises; only `worker.queue.attempt` decides between retry and quarantine.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Stable names of failures, as stored in `checks.error_code` and printed in `error.code`."""

    # Reading the image
    NOT_FOUND = "not_found"
    """The source names nothing that exists."""
    NOT_A_FILE = "not_a_file"
    """The path names a folder, a device or another thing that is not a regular file."""
    OUTSIDE_ROOTS = "outside_roots"
    """The path, or what its links lead to, lies under none of `SUSY_IMAGE_ROOTS`."""
    UNSUPPORTED_SOURCE = "unsupported_source"
    """The URI's scheme has no reader here."""
    BUCKET_REFUSED = "bucket_refused"
    """The object lies in none of `SUSY_BUCKETS`."""
    KEY_UNSUPPORTED = "key_unsupported"
    """The object's key has a form that cannot be requested, such as an empty part."""
    ACCESS_DENIED = "access_denied"
    """The server refuses the credentials, or the lack of them."""
    GONE = "gone"
    """The server says that the image was there and was deleted for good."""
    UNEXPECTED_STATUS = "unexpected_status"
    """The server refuses the request with a status that another attempt would not change."""
    UNREADABLE = "unreadable"
    """The bytes exist but could not be read (permission, disk)."""
    TOO_MANY_BYTES = "too_many_bytes"
    """The encoded image is larger than `SUSY_MAX_BYTES`."""

    # Requests to other servers: images by URL, callbacks
    URL_INVALID = "url_invalid"
    """The URL does not have the one form that every parser reads in the same way."""
    URL_CREDENTIALS = "url_credentials"
    """The URL carries a user name or a password."""
    SCHEME_REFUSED = "scheme_refused"
    """The URL is neither `https` nor, where that is allowed, `http`."""
    HOST_REFUSED = "host_refused"
    """The host is not on the list of allowed ones."""
    PORT_REFUSED = "port_refused"
    """The port is not on the list of allowed ones."""
    ADDRESS_REFUSED = "address_refused"
    """The host has an address that is not public and not in an allowed network."""
    REDIRECT_REFUSED = "redirect_refused"
    """A redirect too many, to nowhere, or from `https` to `http`."""
    CERTIFICATE_INVALID = "certificate_invalid"
    """The server's certificate is not valid for its name, or of an authority that is not trusted."""
    ENCODING_REFUSED = "encoding_refused"
    """The body was sent compressed."""
    REMOTE_TIMEOUT = "remote_timeout"
    """The server did not finish within the time limit."""
    REMOTE_UNAVAILABLE = "remote_unavailable"
    """The server cannot be reached, broke off, or says itself that it cannot answer now."""

    # Decoding the image
    UNSUPPORTED_FORMAT = "unsupported_format"
    """The bytes are not an image of an allowed format."""
    TRUNCATED = "truncated"
    """The image ends before its pixels do."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header declares more than `SUSY_MAX_PIXELS` pixels; nothing was decoded."""
    CORRUPT = "corrupt"
    """An allowed format, complete in length, whose content contradicts itself."""

    # Scoring the image
    INFERENCE_FAILED = "inference_failed"
    """The network raised, or its answer is not a probability."""
    DEADLINE_EXCEEDED = "deadline_exceeded"
    """One attempt took longer than `SUSY_HARD_DEADLINE`."""
    OUT_OF_MEMORY = "out_of_memory"
    """The device or the host had no memory for this image at this moment."""

    # The ledger
    LEASE_EXPIRED = "lease_expired"
    """The worker that held the check stopped renewing its lease: crashed, frozen or cut off."""
    LEASE_LOST = "lease_lost"
    """This worker's lease was given to another; it may write nothing."""
    CONFLICT = "conflict"
    """`(source, external_id)` was accepted before, for another image."""
    UNKNOWN_CHECK = "unknown_check"
    """No check has this id."""
    UNKNOWN_ENDPOINT = "unknown_endpoint"
    """No endpoint of this name is registered for the submission's source."""
    CHECK_NOT_ENDED = "check_not_ended"
    """A review came while its check was queued or running."""
    UNKNOWN_REVIEW = "unknown_review"
    """No review and no bulk review has this id, or it is another person's."""
    NOT_REVIEWED = "not_reviewed"
    """Nobody has reviewed the check, so that its answer is not known."""
    TOO_MANY_CHECKS = "too_many_checks"
    """More checks match than one bulk review may decide."""
    CLAIM_ENDED = "claim_ended"
    """The moderator does not hold this claim any more: it expired, or somebody else decided."""
    TOO_MANY_CLAIMS = "too_many_claims"
    """The moderator holds as many claims as one may."""
    UNKNOWN_POLICY = "unknown_policy"
    """The check names a policy that this worker has not loaded."""
    UNKNOWN_APPLICATION = "unknown_application"
    """No policy was applied to old checks under this number."""
    INVALID_MESSAGE = "invalid_message"
    """A message or an argument does not have the documented form."""
    DATABASE_UNAVAILABLE = "database_unavailable"
    """Postgres did not answer in time."""
    QUEUE_UNAVAILABLE = "queue_unavailable"
    """Redis did not answer in time."""
    SERVICE_UNAVAILABLE = "service_unavailable"
    """The HTTP service at `SUSY_URL` did not answer in time."""
    UNEXPECTED = "unexpected"
    """An unexpected failure; the message names its type."""

    # The HTTP service
    NO_CREDENTIALS = "no_credentials"
    """The request carries neither an API key nor a signature."""
    UNKNOWN_KEY = "unknown_key"
    """The ledger has no such API key."""
    REVOKED_KEY = "revoked_key"
    """The API key was revoked."""
    EXPIRED_KEY = "expired_key"
    """The API key's lifetime is over."""
    MISSING_SCOPE = "missing_scope"
    """The API key lacks the scope that the request needs."""
    FORBIDDEN_SOURCE = "forbidden_source"
    """The API key is restricted to other sources."""
    INVALID_SIGNATURE = "invalid_signature"
    """The request's signature is missing, malformed or not that of its content."""
    EXPIRED_SIGNATURE = "expired_signature"
    """The signature was made more than five minutes ago, or in the future."""
    RATE_LIMITED = "rate_limited"
    """The API key has sent more requests than `SUSY_SERVE_RATE`."""
    BACKLOG_FULL = "backlog_full"
    """Checks of this source and lane wait for longer than the limit; submit later."""
    OVERLOADED = "overloaded"
    """The service works on as many requests as it can."""
    TOO_LARGE = "too_large"
    """The request's body is larger than the limit."""
    TOO_SLOW = "too_slow"
    """The request's body arrived too slowly."""
    TOO_MANY_ITEMS = "too_many_items"
    """The request has more checks than the limit, or none."""
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    """The request's `Content-Type` is not the one that is read here."""
    INVALID_MULTIPART = "invalid_multipart"
    """The request's body is not a form as `multipart/form-data` describes it."""
    NO_IMAGE = "no_image"
    """The request carries no image, or an empty one."""
    NO_STORAGE = "no_storage"
    """The service has no storage for images; `SUSY_STORAGE` is not set."""
    UPLOAD_REFUSED = "upload_refused"
    """The gate refuses the image; it is not to be published."""
    INVALID_JSON = "invalid_json"
    """The request's body is not valid JSON."""
    INVALID_HTTP = "invalid_http"
    """The request is not valid HTTP, or its header is too large or came too slowly."""
    UNKNOWN_ROUTE = "unknown_route"
    """The path is none of the service's."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The path has no such method."""
    NOT_FINISHED = "not_finished"
    """The check has no verdict yet, or never will have one; there is nothing to draw."""
    NO_MAP = "no_map"
    """The check has a verdict without a map: the image is too small, or the policy asked for none."""
    NOT_CANCELLABLE = "not_cancellable"
    """The check is being examined or has ended."""

    # Callbacks
    CALLBACK_REFUSED = "callback_refused"
    """The endpoint answered with a status other than 2xx."""
    ENDPOINT_GONE = "endpoint_gone"
    """The endpoint answered 410, and was disabled."""
    KEY_INVALID = "key_invalid"
    """A secret does not have the form of Standard Webhooks."""

    # Hooks
    INVALID_EVENT = "invalid_event"
    """A message does not have its sender's documented form, or names what no image can be."""
    UNKNOWN_EVENT_VERSION = "unknown_event_version"
    """A message has a version of its sender's form that is not known here."""
    UNMAPPED_BUCKET = "unmapped_bucket"
    """No mapping of the hooks file names the bucket, folder or host of an upload."""
    UNKNOWN_TOPIC = "unknown_topic"
    """The hooks file does not list the SNS topic that a message comes from."""
    UNKNOWN_SENDER = "unknown_sender"
    """No sender has the name in the URL."""
    HOOKS_DISABLED = "hooks_disabled"
    """The service has no hooks file, and accepts no hooks."""
    QUEUE_MISSING = "queue_missing"
    """The queue to consume does not exist, or may not be read with these credentials."""
    STORAGE_UNAVAILABLE = "storage_unavailable"
    """The storage did not answer, could not be written, or refused to list the bucket."""

    # Setting up
    HOOKS_INVALID = "hooks_invalid"
    """The hooks file has an unknown key or a value out of range, or names a file that cannot be read."""
    SETTINGS = "settings"
    """A setting is missing or contradicts another."""
    POLICY_INVALID = "policy_invalid"
    """The policy file has an unknown key or a value out of range."""
    CASES_REGRESS = "cases_regress"
    """The policy would be wrong about images that people decided about, where the present one is not."""
    MANIFEST_INVALID = "manifest_invalid"
    """The manifest to import is missing, or has no header that names the images."""
    WEIGHTS_INVALID = "weights_invalid"
    """The weights file is missing, truncated, of another network or of another hash."""
    DATA_INVALID = "data_invalid"
    """A data set lacks a class or a split, holds an unreadable image, or the same image in two splits."""
    RECIPE_INVALID = "recipe_invalid"
    """A training recipe has an unknown key or a value out of range, or does not fit its data or checkpoint."""
    DISK_FULL = "disk_full"
    """A file could not be written whole; the one that was there before is kept."""
    DEVICE_UNAVAILABLE = "device_unavailable"
    """`SUSY_DEVICE` names a device that this machine lacks."""
    MISSING_EXTRA = "missing_extra"
    """An optional dependency is not installed."""
    DATABASE_OUTDATED = "database_outdated"
    """The database lacks a migration; run `susy db upgrade`."""


def printable(text: str) -> str:
    """`text` with each character that is not printable (control, format, half of a surrogate pair) as an escape.

    What it returns can be encoded, and a terminal only shows it: text from outside cannot move the cursor, set colors,
    begin a line or reorder what stands beside it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SusyError(Exception):
    """A failure with a stable `code` and a one-line, printable `message` that names the thing and the remedy."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = printable(" ".join(message.split()))

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[type[SusyError], tuple[ErrorCode, str]]:
        return type(self), (self.code, self.message)  # so that it crosses to another process


class PermanentError(SusyError):
    """Another attempt cannot help: the check is quarantined at once."""


class TransientError(SusyError):
    """Another attempt may help: the check waits and is attempted again, up to a limit."""

    retry_after: float | None = None
    """Seconds for which the server asked not to be asked again; None where it did not say."""


class SetupError(SusyError):
    """The command or process cannot do its work as it stands (exit code 2). Raised as one of its kinds below."""


class ConfigurationError(SetupError):
    """A setting, a file that it names, or this installation is wrong or missing."""


class InputDataError(SetupError):
    """A data set or a manifest cannot be used as it is."""


class UnhealthyError(SetupError):
    """A health check failed."""

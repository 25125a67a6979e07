"""A sweep: every object of a bucket that the ledger does not know is submitted, because notifications get lost.

It gives an object the id that an event of it would have, so neither a repeated sweep nor an event that comes late makes
a second check. After each page the key is stored that it has come to; a sweep that was killed continues there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from schema.messages import Submission
from schema.states import Lane
from worker.errors import ConfigurationError, ErrorCode, PermanentError, TransientError
from worker.extras import require_extra
from worker.hooks.events import Ignored, Upload
from worker.hooks.mapping import HooksFile
from worker.hooks.objects import UploadLocation, content_ids, usable_etag, usable_version
from worker.queue.retry import retry_while_unavailable
from worker.store import Store

PAGE = 1000
"""Most objects of one answer; S3 gives no more."""


@dataclass(frozen=True)
class Listed:
    """One object of a listing."""

    upload: Upload
    modified: float
    """Unix time."""


@dataclass
class Summary:
    """What a sweep has seen so far."""

    objects: int = 0
    known: int = 0
    submitted: int = 0
    ignored: Counter[Ignored] = field(default_factory=Counter)
    outside_ages: int = 0
    """Objects that are newer or older than was asked for."""
    refused: list[PermanentError] = field(default_factory=list)
    resumed_after: str | None = None
    """The key after which an interrupted sweep was continued."""


Options = dict[str, str]
"""Where a page of a listing begins; empty after the last one."""
Page = tuple[list[Listed], str | None]
"""Objects, and the key after which the next page begins; None after the last one."""


def sweep(
    pages: Callable[[str | None], Iterator[Page]],
    location: UploadLocation,
    hooks: HooksFile,
    store: Store,
    *,
    lane: Lane | None = None,
    newer_than: float | None = None,
    older_than: float = 0.0,
    progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Submit what the ledger does not know of the listing that `pages` gives, starting after a key.

    `newer_than` and `older_than` are ages in seconds; `lane` replaces that of the mapping. Waits while Postgres is
    unavailable. The reconciler publishes the checks.
    """
    name, now = location.uri, time.time()
    summary = Summary(resumed_after=retry_while_unavailable(store.hooks.begin_sweep, name))
    for objects, after_key in pages(summary.resumed_after):
        _submit_unknown(objects, hooks, store, summary, lane, (now - (newer_than or now), now - older_than))
        retry_while_unavailable(store.hooks.note_sweep, name, after_key)
        progress(summary)
    return summary


def _submit_unknown(
    objects: list[Listed],
    hooks: HooksFile,
    store: Store,
    summary: Summary,
    lane: Lane | None,
    between: tuple[float, float],
) -> None:
    candidates: list[tuple[Submission, list[str]]] = []
    summary.objects += len(objects)
    for listed in objects:
        upload = listed.upload
        if not between[0] <= listed.modified <= between[1]:
            summary.outside_ages += 1
        elif upload.location.key.endswith("/"):
            summary.ignored[Ignored.FOLDER] += 1
        elif upload.size == 0:
            summary.ignored[Ignored.EMPTY] += 1
        else:
            try:
                submission = hooks.submission(upload)
            except PermanentError as error:
                summary.refused.append(error)
                continue
            if isinstance(submission, Ignored):
                summary.ignored[submission] += 1
            else:
                submission = submission if lane is None else submission.model_copy(update={"lane": lane})
                ids = content_ids(
                    upload.location, version_id=upload.version_id, etag=upload.etag, modified=int(listed.modified)
                )
                candidates.append((submission, ids))
    known = retry_while_unavailable(
        store.hooks.known, [(submission.source, name) for submission, ids in candidates for name in ids]
    )
    unknown = [
        submission for submission, ids in candidates if not any((submission.source, name) in known for name in ids)
    ]
    outcomes = retry_while_unavailable(store.submit_each, unknown)
    refused = [outcome for outcome in outcomes if isinstance(outcome, PermanentError)]
    created = sum(not isinstance(outcome, PermanentError) and outcome.created for outcome in outcomes)
    summary.submitted += created
    summary.known += len(candidates) - created - len(refused)
    summary.refused += refused


class S3Bucket:
    """The objects of a bucket below a prefix, in the order of their keys; the latest version of each."""

    def __init__(self, location: UploadLocation, client: Any | None = None, *, page: int = PAGE) -> None:
        """`client` is boto3's; without it, one of the environment. `page` objects are asked for at once.

        Raises `ConfigurationError(missing_extra)`.
        """
        require_extra("aws", what="a sweep of S3")
        import botocore.exceptions

        self._location = location
        self._errors = botocore.exceptions
        self._client = client or s3_client()
        self._page = page

    def pages(self, after_key: str | None) -> Iterator[Page]:
        """The pages after `after_key`. Raises `ConfigurationError` or `TransientError` (`storage_unavailable`)."""
        has_versions = bool(self._call("get_bucket_versioning").get("Status"))
        listing = self._versions if has_versions else self._plain
        options = {"KeyMarker" if has_versions else "StartAfter": after_key} if after_key else {}
        while True:
            objects, last_key, options = listing(options)
            yield objects, last_key if options else None
            if not options:
                return

    def _plain(self, options: Options) -> tuple[list[Listed], str | None, Options]:
        answer = self._call("list_objects_v2", Prefix=self._location.key, MaxKeys=self._page, **options)
        contents = answer.get("Contents", ())
        following = {"ContinuationToken": answer["NextContinuationToken"]} if answer.get("IsTruncated") else {}
        return [self._listed(item) for item in contents], contents[-1]["Key"] if contents else None, following

    def _versions(self, options: Options) -> tuple[list[Listed], str | None, Options]:
        answer = self._call("list_object_versions", Prefix=self._location.key, MaxKeys=self._page, **options)
        latest = [self._listed(item) for item in answer.get("Versions", ()) if item.get("IsLatest")]
        following = (
            {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer.get("NextVersionIdMarker", "")}
            if answer.get("IsTruncated")
            else {}
        )

        return latest, following.get("KeyMarker"), following

    def _listed(self, item: dict[str, Any]) -> Listed:
        modified = item["LastModified"].timestamp()
        version_id, etag = usable_version(item.get("VersionId")), usable_etag(item.get("ETag"))
        upload = Upload(
            UploadLocation(self._location.scheme, self._location.bucket, item["Key"]),
            size=item.get("Size"),
            version_id=version_id,
            etag=etag,
            modified=None if version_id or etag else int(modified),
        )
        return Listed(upload, modified)

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        bucket = self._location.bucket
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=bucket, **parameters)
        except self._errors.NoCredentialsError as error:
            raise ConfigurationError(
                ErrorCode.SETTINGS, "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except self._errors.ClientError as error:
            why = error.response.get("Error", {})
            raise ConfigurationError(
                ErrorCode.STORAGE_UNAVAILABLE,
                f"the bucket {bucket!r} cannot be listed: {why.get('Code')}: {why.get('Message')}",
            ) from error
        except self._errors.BotoCoreError as error:
            raise TransientError(ErrorCode.STORAGE_UNAVAILABLE, f"the bucket {bucket!r}: {error}") from error
        return answer


def s3_client() -> Any:
    """boto3's client of the environment: `AWS_ENDPOINT_URL`, `AWS_REGION`, credentials where boto3 finds them."""
    import os

    import botocore.config
    import botocore.session

    session = botocore.session.get_session()
    region = os.environ.get("AWS_REGION") or session.get_config_variable("region") or "us-east-1"
    return session.create_client(
        "s3",
        region_name=region,
        config=botocore.config.Config(
            connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5}
        ),
    )

"""What each sender's documented messages are read as."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tests.hooks.payloads import (
    S3_TEST,
    Topic,
    azure_blob,
    cloudevent,
    eventbridge,
    google_object,
    message,
    minio,
    s3,
    s3_record,
    tusd,
    upload,
)
from worker.errors import ErrorCode, PermanentError
from worker.hooks.events import Event, Ignored, Message, Refused, Skipped, Upload
from worker.hooks.objects import UploadLocation
from worker.hooks.senders.registry import SENDERS, read_any

S3STORE = {"Type": "s3store", "Bucket": "uploads", "Key": "tus/14b1c4c77771671a8479bc0444bbc5ce"}


def read(sender: str, document: Any, **headers: str) -> list[Event]:
    return SENDERS[sender](message(document, **headers))


# --- S3


def test_a_record_of_s3_is_an_upload() -> None:
    document = s3(s3_record("uploads", "a b/ü+.png", versionId="096fKKXTRTtl3on89fVO.nfljtsv6qko"))
    assert read("s3", document) == [
        upload(
            "s3://uploads/a b/ü+.png",
            size=1024,
            version_id="096fKKXTRTtl3on89fVO.nfljtsv6qko",
            etag="d41d8cd98f00b204e9800998ecf84270",
            sequencer="0055AED6DCD90281E5",
        )
    ]


def test_minios_event_is_read_like_one_of_s3_with_the_uploaders_metadata() -> None:
    assert read("minio", minio("uploads", "a/b c.png", versionId="null")) == [
        upload(
            "s3://uploads/a/b c.png",
            size=1024,
            etag="d41d8cd98f00b204e9800998ecf84270",
            sequencer="16F8F3B9F1D2B3A0",
            metadata={"user": "u1"},
        )
    ]
    older = minio("uploads", "a.png")
    older["EventType"] = older.pop("EventName")
    assert len(read("minio", older)) == 1


@pytest.mark.parametrize(
    ("name", "stored", "reason"),
    [
        ("ObjectRemoved:Delete", {"size": None, "eTag": None}, Ignored.DELETED),
        ("ObjectRemoved:DeleteMarkerCreated", {"size": None}, Ignored.DELETED),
        ("s3:ObjectRemoved:Delete", {}, Ignored.DELETED),
        ("LifecycleExpiration:Delete", {}, Ignored.DELETED),
        ("ObjectTagging:Put", {}, Ignored.NOT_AN_UPLOAD),
        ("s3:ObjectCreated:PutTagging", {}, Ignored.NOT_AN_UPLOAD),
        ("s3:ObjectCreated:PutRetention", {}, Ignored.NOT_AN_UPLOAD),
        ("s3:ObjectAccessed:Get", {}, Ignored.NOT_AN_UPLOAD),
        ("ObjectCreated:Put", {"size": 0}, Ignored.EMPTY),
        ("ObjectCreated:Put", {"key": "folder%2F"}, Ignored.FOLDER),
        ("ObjectCreated:Put", {"key": "folder/", "size": 0}, Ignored.FOLDER),
    ],
)
def test_an_event_of_s3_that_is_no_upload_is_ignored_with_its_reason(
    name: str, stored: dict[str, Any], reason: Ignored
) -> None:
    assert read("s3", s3(s3_record("uploads", "a.png", name=name, **stored))) == [Skipped(reason)]


@pytest.mark.parametrize("document", [S3_TEST, {}])
def test_a_test_event_is_ignored(document: Any) -> None:
    assert read("s3", document) == [Skipped(Ignored.TEST)]


def test_one_bad_record_does_not_keep_its_neighbours_from_being_used() -> None:
    records: list[Any] = [s3_record("uploads", f"{number}.png") for number in range(100)]
    records[10]["eventVersion"] = "3.0"
    records[20] = "not a record"
    del records[30]["s3"]["object"]["key"]
    records[40]["s3"]["object"]["key"] = "caf%E9.png"
    events = read("s3", s3(*records))
    refused = {number: event.error for number, event in enumerate(events) if isinstance(event, Refused)}
    assert {number: error.code for number, error in refused.items()} == {
        10: ErrorCode.UNKNOWN_EVENT_VERSION,
        20: ErrorCode.INVALID_EVENT,
        30: ErrorCode.INVALID_EVENT,
        40: ErrorCode.INVALID_EVENT,
    }
    assert "'3.0'" in refused[10].message
    assert "s3.object.key" in refused[30].message
    assert "UTF-8" in refused[40].message


# --- EventBridge and SNS


def test_an_event_of_eventbridge_is_an_upload_whose_key_is_not_decoded() -> None:
    document = eventbridge("uploads", "a+b%20c.png", **{"version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"})
    assert read("eventbridge", document) == [
        upload(
            "s3://uploads/a+b%20c.png",
            size=5,
            version_id="IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            etag="b1946ac92492d2347c6235b4d2611184",
            sequencer="00617F08299329D189",
        )
    ]


def test_other_events_of_eventbridge_are_ignored() -> None:
    assert read("eventbridge", eventbridge("uploads", "a", kind="Object Deleted")) == [Skipped(Ignored.DELETED)]
    assert read("eventbridge", eventbridge("uploads", "a", kind="Object Tags Added")) == [
        Skipped(Ignored.NOT_AN_UPLOAD)
    ]
    other = eventbridge("uploads", "a") | {"source": "aws.ec2"}
    assert read("eventbridge", other) == [Skipped(Ignored.NOT_AN_UPLOAD)]


@pytest.mark.parametrize("inner", [s3(s3_record("uploads", "a.png")), eventbridge("uploads", "a.png")])
def test_sns_carries_either_form(inner: Any) -> None:
    document = Topic().notification(json.dumps(inner))
    assert read("sns", document) == SENDERS["eventbridge" if "detail" in inner else "s3"](message(inner))


# --- tusd


@pytest.mark.parametrize(
    ("storage", "location"),
    [
        (S3STORE, UploadLocation("s3", "uploads", "tus/14b1c4c77771671a8479bc0444bbc5ce")),
        ({"Type": "gcsstore", "Bucket": "uploads", "Key": "14b1"}, UploadLocation("gs", "uploads", "14b1")),
        ({"Type": "azurestore", "Container": "uploads", "Key": "14b1"}, UploadLocation("az", "uploads", "14b1")),
        (
            {"Type": "filestore", "Path": "/srv/tus/14b1", "InfoPath": "/srv/tus/14b1.info"},
            UploadLocation("file", "", "/srv/tus/14b1"),
        ),
    ],
)
def test_a_finished_upload_of_tusd_is_read_with_its_metadata(storage: dict[str, str], location: UploadLocation) -> None:
    [event] = read("tusd", tusd(storage))
    assert event == Upload(location, size=30, metadata={"filename": "transloadit.png", "User": "u1"})


def test_tusd_1_names_the_event_in_a_header() -> None:
    inner = tusd(S3STORE)["Event"]
    assert read("tusd", inner, hook_name="post-finish") == read("tusd", tusd(S3STORE))
    assert read("tusd", inner, hook_name="post-create") == [Skipped(Ignored.NOT_AN_UPLOAD)]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (tusd(S3STORE, IsPartial=True), Ignored.PARTIAL),
        (tusd(S3STORE, size=0), Ignored.EMPTY),
        (tusd(S3STORE, kind="pre-create"), Ignored.NOT_AN_UPLOAD),
        (tusd(S3STORE, kind="post-terminate"), Ignored.NOT_AN_UPLOAD),
    ],
)
def test_what_tusd_reports_beside_finished_uploads_is_ignored(document: Any, reason: Ignored) -> None:
    assert read("tusd", document) == [Skipped(reason)]


@pytest.mark.parametrize(
    ("storage", "named"),
    [
        ({"Type": "filestore", "Path": "data/14b1"}, "-upload-dir"),
        ({"Type": "memorystore"}, "Storage"),
        ({"Type": "s3store", "Bucket": "uploads"}, "Storage"),
    ],
)
def test_a_storage_of_tusd_that_no_worker_can_read_is_refused(storage: dict[str, str], named: str) -> None:
    with pytest.raises(PermanentError, match=named) as refused:
        read("tusd", tusd(storage))
    assert refused.value.code is ErrorCode.INVALID_EVENT


# --- CloudEvents and webhooks

DATA = {"uri": "s3://uploads/a b.png", "size": 7, "metadata": {"user": "u1"}}
ATTRIBUTES = {"type": "image.uploaded", "source": "/platform/ü x", "id": "1/é", "specversion": "1.0"}
PLATFORM_UPLOAD = upload(
    "s3://uploads/a b.png", size=7, metadata={"user": "u1"}, external_id="cloudevent:/platform/ü x#1/é"
)


@pytest.mark.parametrize("encode", [to_binary_event, to_structured_event])
def test_what_the_cloudevents_package_sends_is_read(encode: Any) -> None:
    sent = encode(CloudEvent({**ATTRIBUTES, "datacontenttype": "application/json"}, DATA))
    headers = {name.lower(): value for name, value in sent.headers.items()}
    assert SENDERS["cloudevents"](Message(sent.body, headers)) == [PLATFORM_UPLOAD]


def test_a_batch_of_cloudevents_is_read_event_by_event() -> None:
    good = {**ATTRIBUTES, "data": DATA}
    coded = {**ATTRIBUTES, "data_base64": base64.b64encode(json.dumps(DATA).encode()).decode()}
    batch = [good, {**good, "specversion": "0.3"}, coded, "x", {**good, "type": "other"}, {**good, "data": {}}]
    events = read("cloudevents", batch, content_type="application/cloudevents-batch+json")
    codes = [event.error.code if isinstance(event, Refused) else event for event in events]
    assert codes == [
        PLATFORM_UPLOAD,
        ErrorCode.UNKNOWN_EVENT_VERSION,
        PLATFORM_UPLOAD,
        ErrorCode.INVALID_EVENT,
        Skipped(Ignored.NOT_AN_UPLOAD),
        ErrorCode.INVALID_EVENT,
    ]


def test_google_and_azure_report_uploads_as_cloudevents() -> None:
    google = cloudevent("google.cloud.storage.object.v1.finalized", google_object("uploads", "a b+c.png"))
    assert read("cloudevents", google) == [
        upload("gs://uploads/a b+c.png", size=352, version_id="1587627537231057", etag="CNGNn9KTgOkCEAE=")
    ]
    azure = cloudevent("Microsoft.Storage.BlobCreated", azure_blob("uploads", "a b+c.png"))
    assert read("cloudevents", azure) == [
        upload(
            "az://uploads/a b+c.png",
            size=30699,
            etag="0x8D76C39E4407333",
            sequencer="000000000000000000000000000099240000000000c41c18",
        )
    ]
    for kind in ("google.cloud.storage.object.v1.deleted", "Microsoft.Storage.BlobDeleted", "image.deleted"):
        assert read("cloudevents", cloudevent(kind, {})) == [Skipped(Ignored.DELETED)]


def test_a_webhook_is_identified_by_the_version_the_platforms_id_or_its_own() -> None:
    def external_id(**data: Any) -> Any:
        [event] = read("webhook", {"type": "image.uploaded", "data": DATA | data}, webhook_id="msg_1")
        return getattr(event, "external_id", event)

    assert external_id() == "webhook:msg_1"
    assert external_id(external_id="upload-7") == "upload-7"
    assert external_id(etag="e1") is None
    assert read("webhook", {"type": "user.created"}) == [Skipped(Ignored.NOT_AN_UPLOAD)]


# --- All of them


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[]", b"null", b'"x"', b"1", b'{"Records": 1}', b'{"Type": 1}', b"[" * 100_000, b"NaN"],
    ids=lambda body: repr(body[:12]),
)
def test_a_message_of_another_form_is_refused_or_ignored_and_never_raises_another_error(
    sender: str, body: bytes
) -> None:
    try:
        events = SENDERS[sender](Message(body, {"content-type": "application/json"}))
    except PermanentError as error:
        events = [Refused(error)]
    for event in events:
        assert isinstance(event, Skipped | Refused)
        if isinstance(event, Refused):
            assert event.error.code in (ErrorCode.INVALID_EVENT, ErrorCode.UNKNOWN_EVENT_VERSION)
            assert len(event.error.message) < 500


@pytest.mark.parametrize(
    ("sender", "document"),
    [
        ("s3", s3(s3_record("uploads", "a.png"))),
        ("minio", minio("uploads", "a.png")),
        ("s3", S3_TEST),
        ("eventbridge", eventbridge("uploads", "a.png")),
        ("sns", Topic().notification(json.dumps(s3(s3_record("uploads", "a.png"))))),
        ("tusd", tusd(S3STORE)),
        ("cloudevents", cloudevent("image.uploaded", DATA)),
        ("cloudevents", [cloudevent("image.uploaded", DATA)]),
        ("seaweedfs", {"event_type": "delete", "key": "/buckets/a/b", "message": {"old_entry": {"name": "b"}}}),
    ],
)
def test_a_queues_message_is_recognized_by_its_form(sender: str, document: Any) -> None:
    assert read_any(message(document)) == read(sender, document)

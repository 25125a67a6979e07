"""Messages in the documented forms of their senders."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, quote_plus

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from worker.hooks.events import Message, Upload
from worker.hooks.objects import UploadLocation


def message(document: Any, **headers: str) -> Message:
    """`content_type="…"` becomes the header content-type."""
    return Message(json.dumps(document).encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def location(uri: str) -> UploadLocation:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return UploadLocation(scheme, bucket, key)


def upload(uri: str, **fields: Any) -> Upload:
    return Upload(location(uri), **fields)


def s3_record(bucket: str, key: str, /, *, name: str = "ObjectCreated:Put", version: str = "2.1", **stored: Any) -> Any:
    """As in the user guide of S3; `stored` are further members of `object`, and None removes one."""
    described = {"size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf84270", "sequencer": "0055AED6DCD90281E5"} | stored
    return {
        "eventVersion": version,
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {
                "key": quote_plus(key),
                **{name: value for name, value in described.items() if value is not None},
            },
        },
    }


def s3(*records: Any) -> dict[str, Any]:
    return {"Records": list(records)}


S3_TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "uploads",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


def minio(bucket: str, key: str, *, name: str = "s3:ObjectCreated:Put", **stored: Any) -> dict[str, Any]:
    """As in MinIO's documentation of bucket notifications."""
    described = {
        "contentType": "image/png",
        "userMetadata": {"content-type": "image/png", "X-Amz-Meta-User": "u1"},
        "sequencer": "16F8F3B9F1D2B3A0",
    }
    record = s3_record(bucket, key, name=name, version="2.0", **(described | stored))
    record |= {"eventSource": "minio:s3", "awsRegion": ""}
    return {"EventName": name, "Key": f"{bucket}/{key}", "Records": [record]}


def eventbridge(bucket: str, key: str, *, kind: str = "Object Created", version: str = "0", **stored: Any) -> Any:
    described = {"size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "sequencer": "00617F08299329D189"} | stored
    return {
        "version": version,
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {"key": key, **described},
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
        },
    }


def tusd(storage: dict[str, str], *, kind: str = "post-finish", size: int = 30, **fields: Any) -> dict[str, Any]:
    """As in tusd's documentation of hooks."""
    return {
        "Type": kind,
        "Event": {
            "Upload": {
                "ID": "14b1c4c77771671a8479bc0444bbc5ce",
                "Size": size,
                "SizeIsDeferred": False,
                "Offset": size,
                "MetaData": {"filename": "transloadit.png", "User": "u1"},
                "IsPartial": False,
                "IsFinal": False,
                "PartialUploads": None,
                "Storage": storage,
                **fields,
            },
            "HTTPRequest": {
                "Method": "PATCH",
                "URI": "/files/14b1c4c77771671a8479bc0444bbc5ce",
                "RemoteAddr": "1.2.3.4:47689",
                "Header": {"Host": ["myuploads.net"], "Cookies": ["..."]},
            },
        },
    }


def cloudevent(kind: str, data: Any, **attributes: Any) -> dict[str, Any]:
    envelope = {"specversion": "1.0", "id": "A234-1234-1234", "source": "/platform/uploads", "type": kind, "data": data}
    return envelope | attributes


def google_object(bucket: str, name: str, **fields: Any) -> dict[str, Any]:
    """The data of Eventarc's google.cloud.storage.object.v1.finalized."""
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": "352",
        "generation": "1587627537231057",
        "metageneration": "1",
        "etag": "CNGNn9KTgOkCEAE=",
        "contentType": "image/png",
    } | fields


def azure_blob(container: str, name: str, **fields: Any) -> dict[str, Any]:
    """The data of Event Grid's Microsoft.Storage.BlobCreated."""
    return {
        "api": "PutBlockList",
        "clientRequestId": "4c5dd7fb-2c48-4a27-bb30-5361b5de920a",
        "eTag": "0x8D76C39E4407333",
        "contentType": "image/png",
        "contentLength": 30699,
        "blobType": "BlockBlob",
        "url": f"https://account.blob.core.windows.net/{container}/{quote(name)}",
        "sequencer": "000000000000000000000000000099240000000000c41c18",
    } | fields


@dataclass
class Topic:
    """A topic of SNS with a certificate of the test's own."""

    arn: str = "arn:aws:sns:eu-west-1:123456789012:uploads"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    fetched: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"sns.{self.arn.split(':')[3]}.amazonaws.com"

    @property
    def certificate_url(self) -> str:
        return f"https://{self.host}/SimpleNotificationService-0123456789abcdef.pem"

    def certificate(self, *, days: int = 30) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=60))
            .not_valid_after(self.now + timedelta(days=days))
            .sign(self.key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self.certificate() if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"

    def notification(self, content: str, *, version: str = "2", **changes: Any) -> dict[str, Any]:
        return self.signed({"Type": "Notification", "Message": content}, version, **changes)

    def subscription(self, *, version: str = "2", **changes: Any) -> dict[str, Any]:
        document = {
            "Type": "SubscriptionConfirmation",
            "Message": "You have chosen to subscribe to the topic",
            "Token": "2336412f37fb687f5d51e6e2425e90ca",
            "SubscribeURL": f"https://{self.host}/?Action=ConfirmSubscription&TopicArn={self.arn}&Token=2336412f",
        }
        return self.signed(document, version, **changes)

    def signed(self, document: dict[str, Any], version: str, **changes: Any) -> dict[str, Any]:
        """The message of SNS; `changes` are made before it is signed."""
        document = {
            **document,
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": self.arn,
            "Timestamp": self.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "SignatureVersion": version,
            "SigningCertURL": self.certificate_url,
        } | changes
        signed = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        if document["Type"] == "Notification":
            signed = [name for name in signed if name not in ("SubscribeURL", "Token")]
        else:
            signed.remove("Subject")
        text = _lines((name, document[name]) for name in signed if name in document)
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), algorithm)
        return {**document, "Signature": base64.b64encode(signature).decode()}


def _lines(fields: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{name}\n{value}\n" for name, value in fields)

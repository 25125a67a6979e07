"""Messages of Amazon SNS by HTTP: the signature, and the confirmation of a subscription.

SNS signs with a certificate that the message itself names. It is fetched from SNS's own host and from nowhere else, so
that what a forger names is not even asked for.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from worker.errors import ErrorCode, PermanentError
from worker.hooks.events import unknown_version
from worker.hooks.senders.sns import Envelope, Kind
from worker.hooks.signatures import invalid_signature
from worker.log import get_logger

log = get_logger(__name__)

Fetch = Callable[[str], bytes]
"""GETs an https URL and returns the body of an answer with status 200. Raises `TransientError` otherwise."""

HOST = re.compile(r"sns\.(?P<region>[a-z]{2,4}(-[a-z]{2,10}){1,3}-\d{1,2})\.amazonaws\.com(\.cn)?")
MAX_AGE = 86_400.0
"""Seconds after which a message is refused. SNS signs once, and repeats a delivery for hours."""
CERTIFICATE_LIFETIME = 86_400.0
"""Seconds for which a certificate is kept."""
MAX_CERTIFICATES = 20
_HASHES: dict[str, type[hashes.SHA1] | type[hashes.SHA256]] = {"1": hashes.SHA1, "2": hashes.SHA256}


class SnsVerifier:
    """Verifies messages of the topics that may deliver; thread-safe."""

    def __init__(
        self, topics: Collection[str], fetch: Fetch, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._topics = frozenset(topics)
        self._fetch = fetch
        self._clock = clock
        self._certificates: dict[str, tuple[float, x509.Certificate]] = {}
        self._lock = threading.Lock()

    def verify(self, message: Envelope) -> None:
        """Return when SNS signed this message for a topic that may deliver.

        Raises `PermanentError` (`unknown_topic`, `unknown_event_version`, `invalid_signature`, `expired_signature`) and
        `TransientError` when the certificate cannot be fetched.
        """
        if message.topic not in self._topics:
            raise PermanentError(
                ErrorCode.UNKNOWN_TOPIC,
                f"the topic {message.topic[:200]} is not listed; add it to topics in [sns] of SUSY_HOOKS_FILE",
            )
        if message.signature_version not in _HASHES:
            raise unknown_version("the SNS message's signature", message.signature_version, "1 or 2")
        _require_sns(message.certificate_url, message.topic, "SigningCertURL", suffix=".pem")
        self._require_recent(message.timestamp)
        try:
            signature = base64.b64decode(message.signature, validate=True)
        except (binascii.Error, ValueError):
            raise invalid_signature("the SNS message's Signature is not base64") from None
        key = self._certificate(message.certificate_url).public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise invalid_signature("the certificate of the SNS message has no RSA key")
        try:
            key.verify(signature, signed_text(message), padding.PKCS1v15(), _HASHES[message.signature_version]())
        except InvalidSignature:
            raise invalid_signature("the SNS message's Signature is not that of its content") from None

    def confirm(self, message: Envelope) -> None:
        """Confirm a subscription whose message has been verified. Raises as `verify` does."""
        url = message.subscribe_url or ""
        _require_sns(url, message.topic, "SubscribeURL")
        self._fetch(url)
        log.info("sns_subscription_confirmed", topic=message.topic)

    def _require_recent(self, timestamp: str) -> None:
        try:
            sent = datetime.fromisoformat(timestamp)
            age = (self._clock() - sent).total_seconds()
        except (ValueError, TypeError):  # the latter for a time without a zone
            raise invalid_signature("the SNS message's Timestamp is not an ISO 8601 time in UTC") from None
        if not -300 <= age <= MAX_AGE:
            raise PermanentError(
                ErrorCode.EXPIRED_SIGNATURE,
                f"the SNS message's Timestamp is not within the last {MAX_AGE / 3600:.0f} hours",
            )

    def _certificate(self, url: str) -> x509.Certificate:
        with self._lock:
            fetched_at, certificate = self._certificates.get(url, (0.0, None))
        if certificate is None or time.monotonic() - fetched_at > CERTIFICATE_LIFETIME:
            try:
                certificate = x509.load_pem_x509_certificate(self._fetch(url))
            except ValueError:
                raise invalid_signature("what SigningCertURL leads to is not a certificate") from None
            with self._lock:
                if len(self._certificates) >= MAX_CERTIFICATES:
                    self._certificates.clear()
                self._certificates[url] = time.monotonic(), certificate
        now = self._clock()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise invalid_signature("the certificate of the SNS message has expired, or is not valid yet")
        return certificate


def _require_sns(url: str, topic: str, what: str, *, suffix: str = "") -> None:
    """The URL is one of SNS in the topic's own region."""
    try:
        parts = urlsplit(url)
        host = HOST.fullmatch(parts.netloc)  # not `hostname`: neither port nor user may stand there
    except ValueError:
        host = None
    if host is None or parts.scheme != "https" or not parts.path.endswith(suffix) or not url.isprintable():
        raise invalid_signature(f"the SNS message's {what} is not a URL of https://sns.<region>.amazonaws.com")
    if host["region"] != topic.split(":")[3]:
        raise invalid_signature(f"the SNS message's {what} is of another region than its topic")


def signed_text(message: Envelope) -> bytes:
    """What SNS signs: names and values of some fields, each on a line, in the order of their names."""
    fields: dict[str, str | None] = {"Message": message.message, "MessageId": message.message_id}
    if message.kind is Kind.NOTIFICATION:
        fields["Subject"] = message.subject
    else:
        fields |= {"SubscribeURL": message.subscribe_url, "Token": message.token}
    fields |= {"Timestamp": message.timestamp, "TopicArn": message.topic, "Type": str(message.kind)}
    return "".join(f"{name}\n{fields[name]}\n" for name in sorted(fields) if fields[name] is not None).encode()

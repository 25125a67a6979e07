"""The hooks file: what it maps, and what it refuses."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from schema.messages import Submission
from schema.states import Lane
from tests.hooks.payloads import upload
from worker.errors import ConfigurationError, ErrorCode, PermanentError
from worker.hooks.events import Ignored, Upload
from worker.hooks.mapping import MAX_METADATA, HooksFile, load_hooks
from worker.hooks.objects import UploadLocation

FILE = """
[[mapping]]
location = "s3://uploads/"
source = "uploads"
lane = "backfill"

[[mapping]]
location = "s3://uploads/avatars/"
source = "avatars"
policy = "strict"
endpoint = "platform"
suffixes = [".PNG", ".jpg"]
attributes = { surface = "avatar", user = "of the mapping" }
metadata = ["User", "country"]

[[mapping]]
location = "s3://chat/images/"
source = "chat"

[[mapping]]
location = "/srv/tus/"
source = "tus"

[[mapping]]
location = "https://CDN.example.org/i/"
source = "cdn"
"""


@pytest.fixture
def hooks(tmp_path: Path) -> HooksFile:
    path = tmp_path / "hooks.toml"
    path.write_text(FILE)
    return load_hooks(path)


def test_the_longest_location_decides(hooks: HooksFile) -> None:
    assert hooks.submission(
        upload("s3://uploads/avatars/a b.Png", etag="e1", metadata={"Country": "NZ" * 1000, "user": "x", "other": "y"})
    ) == Submission(
        source="avatars",
        uri="s3://uploads/avatars/a b.Png",
        external_id="s3://uploads/avatars/a%20b.Png#etag=e1",
        lane=Lane.LIVE,
        policy="strict",
        endpoint="platform",
        etag="e1",
        attributes={"surface": "avatar", "user": "of the mapping", "country": ("NZ" * 1000)[:MAX_METADATA]},
    )
    other = hooks.submission(upload("s3://uploads/avatars.png"))
    assert isinstance(other, Submission)
    assert (other.source, other.lane, other.external_id) == ("uploads", Lane.BACKFILL, "s3://uploads/avatars.png")


def test_the_version_that_was_uploaded_is_kept_where_objects_are_read_by_the_same_name_of_it(tmp_path: Path) -> None:
    path = tmp_path / "hooks.toml"
    path.write_text(
        '[[mapping]]\nlocation = "s3://uploads/"\nsource = "a"\n[[mapping]]\nlocation = "gs://uploads/"\nsource = "b"'
    )
    hooks = load_hooks(path)
    versions = []
    for scheme in ("s3", "gs"):
        submission = hooks.submission(upload(f"{scheme}://uploads/a.png", version_id="7", etag="e1"))
        assert isinstance(submission, Submission)
        versions.append((submission.version_id, submission.etag))
    assert versions == [("7", "e1"), ("7", None)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (upload("s3://uploads/avatars/a.gif"), Ignored.SUFFIX),
        (upload("s3://chat/other/a.png"), Ignored.PREFIX),
        (Upload(UploadLocation("file", "", "/srv/other/a")), Ignored.PREFIX),
        (Upload(UploadLocation("file", "", "/srv/tus/../../etc/passwd")), Ignored.PREFIX),
        (Upload(UploadLocation("https", "cdn.example.org", "/other/a.png")), Ignored.PREFIX),
    ],
)
def test_an_object_outside_the_prefixes_and_suffixes_is_ignored(
    hooks: HooksFile, found: Upload, expected: Ignored
) -> None:
    assert hooks.submission(found) is expected


def test_files_and_urls_are_mapped_too(hooks: HooksFile) -> None:
    for location, uri, source in (
        (UploadLocation("file", "", "/srv/tus/ü 1"), "file:///srv/tus/%C3%BC%201", "tus"),
        (UploadLocation("https", "cdn.example.org", "/i/a.png?x=1"), "https://cdn.example.org/i/a.png?x=1", "cdn"),
    ):
        submission = hooks.submission(Upload(location))
        assert isinstance(submission, Submission)
        assert (submission.uri, submission.source) == (uri, source)


@pytest.mark.parametrize("uri", ["s3://other/a.png", "gs://uploads/avatars/a.png", "https://evil.example.org/i/a.png"])
def test_a_bucket_that_is_not_mapped_is_refused_by_name(hooks: HooksFile, uri: str) -> None:
    with pytest.raises(PermanentError) as refused:
        hooks.submission(upload(uri))
    assert refused.value.code is ErrorCode.UNMAPPED_BUCKET
    assert uri.rpartition("://")[2].partition("/")[0] in refused.value.message


@pytest.mark.parametrize(
    "found",
    [
        upload("s3://uploads/a\x00.png"),
        upload("s3://uploads/a.png", external_id="a\ud800"),
        upload("s3://uploads/" + "k" * 5000),
    ],
)
def test_text_that_cannot_be_stored_is_refused(hooks: HooksFile, found: Upload) -> None:
    with pytest.raises(PermanentError) as refused:
        hooks.submission(found)
    assert refused.value.code is ErrorCode.INVALID_EVENT


MAPPING = '[[mapping]]\nlocation = "s3://uploads/"\nsource = "uploads"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "mapping: Field required"),
        ("mapping = []", "mapping: Tuple should have at least 1 item"),
        (MAPPING + 'sufixes = [".png"]', "mapping.0.sufixes: there is no such key; correct its name, or remove it"),
        ("webhooks = 1\n" + MAPPING, "webhooks: there is no such key; correct its name, or remove it"),
        (MAPPING + 'lane = "fast"', "mapping.0.lane"),
        (MAPPING + 'suffixes = [""]', "mapping.0.suffixes: an empty suffix fits every key"),
        (MAPPING.replace("s3://uploads/", "uploads"), "mapping.0.location: does not begin with s3://"),
        (MAPPING.replace("s3://uploads/", "/srv/../etc/"), "mapping.0.location: must be an absolute folder"),
        (MAPPING.replace("s3://uploads/", "/"), "mapping.0.location: must be an absolute folder"),
        (MAPPING.replace("s3://uploads/", "/srv"), "mapping.0.location: must be an absolute folder"),
        (MAPPING * 2, "two mappings have the location s3://uploads/"),
        (MAPPING + '[sns]\ntopics = ["uploads"]', "sns.topics.0: is not the ARN of an SNS topic"),
        (MAPPING + '[webhook]\nkey_files = ["/nowhere/key"]', "'/nowhere/key', which cannot be read"),
        ("mapping = ", "is not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_file_the_key_and_the_remedy(
    tmp_path: Path, text: str, named: str
) -> None:
    path = tmp_path / "hooks.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_hooks(path)
    assert refused.value.code is ErrorCode.HOOKS_INVALID
    assert str(path) in refused.value.message
    assert named in refused.value.message


def test_a_key_that_is_wrong_is_named_by_its_file_and_never_printed(tmp_path: Path) -> None:
    secret = base64.b64encode(b"short").decode()
    for line, named in ((f"whsec_{secret}", "5 bytes"), ("whsec_%%%", "not base64"), ("hunter2hunter2", "begins with")):
        (tmp_path / "key").write_text(line)
        path = tmp_path / "hooks.toml"
        path.write_text(MAPPING + f'[webhook]\nkey_files = ["{tmp_path}/key"]')
        with pytest.raises(ConfigurationError) as refused:
            load_hooks(path)
        assert named in refused.value.message
        assert secret not in refused.value.message
        assert "hunter2" not in refused.value.message

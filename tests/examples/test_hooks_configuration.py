"""The examples of configuration: they are what is read."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests.support.checkout import CHECKOUT
from worker.hooks.mapping import load_hooks
from worker.hooks.senders.registry import SENDERS

EXAMPLES = CHECKOUT / "examples" / "hooks"


def test_the_hooks_file_is_valid_and_maps_what_its_comments_say() -> None:
    hooks = load_hooks(EXAMPLES / "hooks.toml")
    assert [mapping.location.uri for mapping in hooks.mapping] == [
        "s3://uploads/",
        "s3://uploads/avatars/",
        "file:///srv/tusd/",
        "https://cdn.example.com/images/",
    ]


def test_the_notifications_of_seaweedfs_have_the_keys_that_it_reads() -> None:
    document: dict[str, Any] = tomllib.loads((EXAMPLES / "seaweedfs-notification.toml").read_text())
    webhook = document["notification"]["webhook"]
    assert webhook["enabled"]
    assert webhook["endpoint"].endswith("/v1/hooks/seaweedfs")
    assert webhook["bearer_token"].startswith("susy_")


@pytest.mark.parametrize("sender", sorted(set(SENDERS) - {"s3", "webhook"}))
def test_every_sender_has_an_example(sender: str) -> None:
    text = "".join(path.read_text() for path in EXAMPLES.iterdir())
    assert f"/v1/hooks/{sender}" in text


def test_the_file_in_the_documentation_is_valid(tmp_path: Any) -> None:
    page = (CHECKOUT / "docs" / "hooks.md").read_text()
    block = page[page.index("```toml\n") + 8 :]
    text = block[: block.index("```")].replace("/run/secrets/webhook", f"{tmp_path}/key")
    (tmp_path / "key").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    path = tmp_path / "hooks.toml"
    path.write_text(text)
    assert len(load_hooks(path).mapping) == 1

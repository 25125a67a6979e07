"""The image: built from what it needs, run by nobody in particular."""

from __future__ import annotations

import json
import re

from tests.support.checkout import CHECKOUT
from tests.support.commands import BIN, run

DOCKERFILE = CHECKOUT / "Dockerfile"
TEXT = DOCKERFILE.read_text().replace("\\\n", " ")
FINAL = TEXT[TEXT.rindex("\nFROM ") :]


def instruction(name: str) -> str:
    (found,) = re.findall(rf"^{name} (.*)$", FINAL, re.MULTILINE)
    return str(found).strip()


def test_the_dockerfile_passes_its_linter() -> None:
    done = run(BIN / "hadolint", DOCKERFILE)
    assert done.code == 0, done.stdout + done.stderr


def test_the_container_does_not_run_as_root() -> None:
    user, group = map(int, instruction("USER").split(":"))
    assert user > 0
    assert group > 0


def test_the_container_runs_the_command_line_and_reports_its_health() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["susy"]
    assert 'CMD ["susy", "health", "worker"]' in instruction("HEALTHCHECK")


def test_the_final_image_has_neither_the_sources_nor_a_build_tool() -> None:
    copies = re.findall(r"^COPY (.*)$", FINAL, re.MULTILINE)
    assert copies == ["--from=build /opt/susy /opt/susy"]


def test_everything_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in re.findall(r"^COPY ((?!--).*)$", TEXT, re.MULTILINE) for source in line.split()[:-1]}
    assert copied == sent
    for source in copied:
        assert (CHECKOUT / source).exists(), source

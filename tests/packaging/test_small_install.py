"""Over HTTP the client needs pydantic and urllib3, and nothing else that the plain installation brings."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from tests.support.checkout import CHECKOUT
from tests.support.commands import run
from tests.support.faulty_proxy import faulty_proxy

NEEDED = {"pydantic", "urllib3"}
OTHERS = {
    "alembic", "numpy", "psycopg", "psycopg_pool", "pydantic_settings", "redis", "rich", "sqlalchemy", "structlog",
    "typer", "uuid_utils",
}  # fmt: skip
SUBMITTING = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(OTHERS)!r}))
from susy_worker import Client, submit
print(submit(source="avatars", external_id="upload-1", uri="/images/1.jpg").check_id)
"""
CHECK_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_a_hook_that_speaks_http_imports_nothing_else(tmp_path: Path) -> None:
    answer = f'{{"check_id": "{CHECK_ID}", "created": true}}'.encode()
    with faulty_proxy("http://127.0.0.1:9") as server:
        server.faults = [lambda exchange: exchange.answer(202, answer, Content_Type="application/json")]
        variables = {"SUSY_URL": server.url, "SUSY_API_KEY": "susy_key"}
        ended = run(sys.executable, "-c", SUBMITTING, folder=tmp_path, **variables)
    assert (ended.code, ended.stdout.strip()) == (0, CHECK_ID), ended.stderr


def test_the_others_are_all_that_the_plain_installation_brings() -> None:
    lines = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[>=<]", line)[0].replace("-", "_") for line in lines}
    assert names == NEEDED | OTHERS

"""One line for what pydantic found wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from worker.validation import MOST_PROBLEMS, describe_invalid


class Inner(BaseModel):
    number: int


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    inner: list[Inner] = []

    @model_validator(mode="after")
    def _named(self) -> Document:
        if self.name == "nobody":
            raise ValueError("nobody is not a name")
        return self


def described(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Document.model_validate(fields)
    return describe_invalid(caught.value, whole="document")


def test_each_problem_is_named_by_its_key_without_its_value() -> None:
    line = described(inner=[{"number": "hunter2"}], name=7)
    assert "inner.0.number: " in line
    assert "; " in line
    assert "name: " in line
    assert "hunter2" not in line


def test_a_problem_of_the_whole_document_bears_its_name() -> None:
    assert described(name="nobody") == "document: nobody is not a name"


def test_keys_are_data_and_many_problems_are_counted() -> None:
    line = described(**{"\x1b[31m\n": 1, "k" * 1000: 1})
    assert line.isprintable()
    assert r"\x1b[31m\n" in line
    assert len(line) < 500
    described(**{"\ud800": 1}).encode()
    line = described(**{f"key{number}": 1 for number in range(1000)})
    assert line.endswith(f"; {1000 - MOST_PROBLEMS} more problems")

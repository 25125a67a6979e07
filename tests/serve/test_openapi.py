"""The OpenAPI document: complete, with valid examples, and true of what the service answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from schema.access import Scope
from tests.support.databases import Sql
from tests.support.http_service import Client, Service
from tests.support.ledger import claimed, done, submission
from worker.serve.problems import STATUS
from worker.store import Store

CASES = 12
"""Generated requests per operation."""


@pytest.fixture
def serve_changes(images: Path) -> dict[str, object]:
    return {"storage": str(images / "uploads")}


@pytest.fixture
def document(service: Service) -> Any:
    return service.client().get("/openapi.json").document


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def resolved(document: Any, schema: Any) -> Any:
    """A schema that finds the document's components."""
    return schema | {"components": document["components"]}


def test_every_route_says_who_may_and_what_it_answers(document: Any) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        is_open = name.endswith(("/healthz", "/readyz"))
        assert ("security" in operation) != is_open, name
        if not is_open:
            assert {"401", "403", "422", "429", "503"} <= operation["responses"].keys(), name
        for status, answer in operation["responses"].items():
            assert answer["description"], f"{name} {status}"


def test_every_example_follows_its_schema(document: Any) -> None:
    count = 0
    for name, operation in operations(document):
        contents = [answer.get("content", {}) for answer in operation["responses"].values()]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        for content in contents:
            for media in content.values():
                examples = [example["value"] for example in media.get("examples", {}).values()]
                examples += [media["example"]] if "example" in media else []
                for example in examples:
                    count += 1
                    assert "schema" in media, name
                    wrong = list(
                        jsonschema.Draft202012Validator(resolved(document, media["schema"])).iter_errors(example)
                    )
                    assert not wrong, f"{name}: {example}: {wrong[0].message}"
    assert count > 50


def test_the_examples_are_what_the_service_accepts_and_answers(
    document: Any, client: Client, store: Store, run: Sql
) -> None:
    media = document["paths"]["/v1/checks"]["post"]["requestBody"]["content"]["application/json"]
    for example in media["examples"].values():
        assert client.post("/v1/checks", example["value"]).status in (200, 202)
    answer = document["paths"]["/v1/checks/{check_id}"]["get"]["responses"]["200"]["content"]["application/json"]
    for check_id in (store.submit(submission()).check_id, done(store).check_id, claimed(store).check_id):
        shown = client.get(f"/v1/checks/{check_id}").document
        jsonschema.validate(shown, resolved(document, answer["schema"]))
        assert shown.keys() >= answer["example"].keys()
    events = document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(client.get("/v1/events").document, resolved(document, events["schema"]))


def test_every_code_of_the_service_has_an_example(document: Any) -> None:
    shown = {
        example["value"]["code"]
        for _, operation in operations(document)
        for answer in operation["responses"].values()
        for media in answer.get("content", {}).values()
        for example in media.get("examples", {}).values()
        if "code" in example["value"]
    }
    of_no_route = {"unknown_route", "method_not_allowed", "invalid_http", "invalid_signature", "expired_signature"}
    refusals = {str(code) for code, status in STATUS.items() if status < 500}
    assert refusals - of_no_route <= shown


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # schemathesis does, for the bytes of images
def test_generated_requests_are_answered_as_the_document_says(
    service: Service, store: Store, document: Any, images: Path
) -> None:
    key = store.keys.add("fuzz", [Scope.ADMIN])
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis_settings(
            max_examples=CASES, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        @schemathesis_cases(operation)
        def check(case: Any) -> None:
            if case.path.startswith("/v1/gate"):  # which waits for a verdict, and nobody works here
                case.query = {**(case.query or {}), "within": "0"}
            case.call_and_validate(
                headers={"Authorization": f"Bearer {key}"}, timeout=30, excluded_checks=[positive_data_acceptance]
            )

        check()


def schemathesis_cases(operation: Any) -> Any:
    from hypothesis import given

    return given(case=operation.as_strategy())

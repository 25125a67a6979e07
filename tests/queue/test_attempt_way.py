"""How a check's id and its image's URI travel: from the task to the recorded verdict, through few modules, straight."""

from __future__ import annotations

import inspect
import sys
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

import pytest

from schema.states import CheckState
from tests.queue.test_attempt import submitted
from worker.queue import tasks
from worker.queue.runtime import Runtime, current

MOST_MODULES, MOST_RETURNS = 12, 6


class Way:
    """The modules whose functions are called with a check's id, its claim or its URI, in the order of the calls."""

    def __init__(self, check_id: UUID, uri: str) -> None:
        self._carried = {check_id, str(check_id), uri}
        self._check_id = check_id
        self._generators: list[FrameType] = []
        self.modules: list[str] = []

    def note(self, frame: FrameType, event: str, _argument: Any) -> None:
        """A profile function of `sys`."""
        module = frame.f_globals.get("__name__", "")
        if event != "call" or not module.startswith(("worker.", "schema.")):
            return
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            if any(known is frame for known in self._generators):
                return  # it goes on, and is not called
            self._generators.append(frame)
        arguments = inspect.getargvalues(frame).locals
        if any(self._is_carried(value) for name, value in arguments.items() if name != "self"):
            self.modules.append(module)

    def _is_carried(self, value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(self._is_carried, value.values()))
        if isinstance(value, list | tuple):
            return any(map(self._is_carried, value))
        if isinstance(value, UUID | str):
            return value in self._carried
        return getattr(value, "check_id", None) == self._check_id


def test_the_way_of_a_check_is_short_and_straight(
    runtime: Runtime, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(images / "b.png")
    check_id = submitted(runtime, uri)
    way = Way(check_id, uri)
    monkeypatch.setattr(current, "_runtime", runtime)
    sys.setprofile(way.note)
    try:
        tasks.check.run(str(check_id))
    finally:
        sys.setprofile(None)
    assert runtime.store.show(check_id).state is CheckState.DONE
    stays = [module for module, _ in groupby(way.modules)]
    assert stays[0] == tasks.__name__
    assert "worker.store.recording" in stays
    assert "worker.sources.files" in stays
    assert len(set(stays)) <= MOST_MODULES, stays
    assert len(stays) - len(set(stays)) <= MOST_RETURNS, stays

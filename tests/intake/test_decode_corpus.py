"""The corpus, read and decoded as a worker does it."""

from __future__ import annotations

import hashlib
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from tests.support.corpus import Case, build
from worker.errors import PermanentError, SusyError
from worker.intake.decode import Image, decode
from worker.sources.files import read

MAX_BYTES, MAX_PIXELS = 50_000_000, 100_000_000


def outcome(case: Case, folder: Path) -> Image | SusyError:
    try:
        return decode(read(str(case.path), [folder], MAX_BYTES), MAX_PIXELS)
    except SusyError as error:
        return error


def test_every_source_of_the_corpus_ends_as_it_must(corpus: list[Case]) -> None:
    folder = corpus[0].path.parent
    for case in corpus:
        result = outcome(case, folder)
        if isinstance(result, Image):
            assert (result.width, result.height) == case.size, case.name
            assert result.pixels.shape == (result.height, result.width, 3), case.name
            assert result.pixels.dtype == np.uint8
        else:
            assert (result.code, None) == (case.code, case.size), case.name
            assert isinstance(result, PermanentError)


def test_the_corpus_is_the_same_each_time(corpus: list[Case], tmp_path: Path) -> None:
    def digests(cases: list[Case]) -> dict[str, str]:
        return {
            case.name: hashlib.sha256(case.path.read_bytes()).hexdigest()
            for case in cases
            if case.path.is_file() and case.name not in ("link-out.jpg", "private.jpg")
        }

    assert digests(corpus) == digests(build(tmp_path / "again"))


def test_threads_decode_what_one_thread_decodes(corpus: list[Case]) -> None:
    folder = corpus[0].path.parent
    decodable = [case for case in corpus if case.size] * 3
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(partial(outcome, folder=folder), decodable))
    for case, result in zip(decodable, together, strict=True):
        alone = outcome(case, folder)
        assert isinstance(result, Image)
        assert isinstance(alone, Image)
        assert np.array_equal(result.pixels, alone.pixels), case.name


def test_no_decoder_warns(corpus: list[Case]) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for case in corpus:
            outcome(case, corpus[0].path.parent)
    assert heard == []

"""`susy backlog import`: everything good goes in once, everything bad is told line by line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from schema.messages import Submission
from schema.states import Lane
from tests.backlog.conftest import Sql, Susy
from tests.support.commands import Processes
from worker.importing.load import BATCH, load
from worker.importing.records import MAX_LINE, Defaults, Record, Reject, read_manifest
from worker.store import Store

CHECKS = "SELECT source, external_id, uri, lane, policy, attributes FROM susy.checks ORDER BY external_id"
COUNT = "SELECT count(*) FROM susy.checks"


def image(roots: Path, name: str) -> str:
    path = roots / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"an image")
    return str(path)


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_csv_gives_each_line_its_fields_and_the_rest_as_attributes(
    susy: Susy, run: Sql, roots: Path, tmp_path: Path
) -> None:
    a, b = image(roots, "a.jpg"), image(roots, "b, of the other.jpg")
    (tmp_path / "m.csv").write_text(
        "country,uri,external_id,source,lane,policy,age\r\n"
        f"NZ,{a},1,chat,live,strict,7\r\n"
        "\r\n"
        f'"Curaçao, NL","{b}",2,,,,\r\n'
    )
    result = susy("import", "m.csv", "--source", "avatars", "--json")
    assert result.code == 0, result.stderr
    assert result.document == {"lines": 2, "accepted": 2, "repeated": 0, "rejected": 0, "rejects": None}
    assert run(CHECKS) == [
        ("chat", "1", a, "live", "strict", {"country": "NZ", "age": "7"}),
        ("avatars", "2", b, "backfill", None, {"country": "Curaçao, NL"}),
    ]
    assert list(tmp_path.glob("*.rejects.jsonl")) == []


def test_json_lines_are_submissions(susy: Susy, run: Sql, roots: Path) -> None:
    a, b = image(roots, "a.jpg"), image(roots, "b.jpg")
    lines = [
        {
            "version": 1,
            "uri": a,
            "external_id": "1",
            "source": "chat",
            "lane": "live",
            "attributes": {"tags": [1, None]},
        },
        {"uri": b},
    ]
    stdin = "\n".join(map(json.dumps, lines)).encode()
    result = susy("import", "-", "--lane", "live", "--json", stdin=stdin)
    assert result.code == 0, result.stderr
    assert run(CHECKS) == [
        ("import", b, b, "live", None, {}),
        ("chat", "1", a, "live", None, {"tags": [1, None]}),
    ]


def test_lines_may_have_a_deadline(susy: Susy, run: Sql, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "uri,expires_at\n/a.jpg,2031-01-31T09:00:00+01:00\n/b.jpg,\n/c.jpg,2031-01-31 09:00\n/d.jpg,1790000000\n"
    )
    result = susy("import", "m.csv", "--no-check-files", "--json")
    assert (result.code, result.document["accepted"], result.document["rejected"]) == (1, 2, 2)
    assert run("SELECT uri, expires_at, attributes FROM susy.checks ORDER BY uri") == [
        ("/a.jpg", datetime(2031, 1, 31, 8, tzinfo=UTC), {}),
        ("/b.jpg", None, {}),
    ]
    assert all("time zone" in told["reason"] for told in rejected(tmp_path / "m.csv.rejects.jsonl"))


@pytest.mark.parametrize("options", [(), ("--format", "csv")])
def test_standard_input_is_told_by_its_first_line(susy: Susy, run: Sql, roots: Path, options: tuple[str, ...]) -> None:
    a = image(roots, "a.jpg")
    result = susy("import", "-", *options, stdin=f"\N{BYTE ORDER MARK}uri\n{a}\n".encode())
    assert result.code == 0, result.stderr
    assert "1 accepted, 0 accepted before, 0 rejected" in result.stdout
    assert run(COUNT) == [(1,)]


def test_every_bad_line_is_told_with_its_number_and_reason_and_the_good_ones_go_in(
    susy: Susy, run: Sql, roots: Path, tmp_path: Path
) -> None:
    a, b = image(roots, "a.jpg"), image(roots, "b.jpg")
    (roots / "folder").mkdir()
    lines = [
        b"uri,external_id,lane",
        f"{a},1,live".encode(),
        f'"{a},2,live'.encode(),
        f"{a},3".encode(),
        f"{a},1,live".encode(),
        f"{b},1,live".encode(),
        f"{a},4,express".encode(),
        b"\xff\xfe,5,live",
        f"{roots}/absent.jpg,6,".encode(),
        b"/etc/passwd,7,",
        f"{roots}/folder,8,".encode(),
        b"https://example.org/a.jpg,9,",
        b",10,",
        f"{a},{'x' * 501},".encode(),
        b"a" * (MAX_LINE * 3),
        f"{b},11,backfill".encode(),
    ]
    (tmp_path / "m.csv").write_bytes(b"\n".join(lines))
    (tmp_path / "bad.jsonl").write_text("from an earlier run")
    result = susy("import", "m.csv", "--rejects", "bad.jsonl", "--json")
    assert result.code == 1
    assert result.document == {
        "lines": 15,
        "accepted": 2,
        "repeated": 1,
        "rejected": 12,
        "rejects": str(tmp_path / "bad.jsonl"),
    }
    found = rejected(tmp_path / "bad.jsonl")
    assert [(line["number"], line["code"]) for line in found] == [
        (3, "invalid_message"),
        (4, "invalid_message"),
        (6, "conflict"),
        (7, "invalid_message"),
        (8, "invalid_message"),
        (9, "not_found"),
        (10, "outside_roots"),
        (11, "not_a_file"),
        (12, "unsupported_source"),
        (13, "invalid_message"),
        (14, "invalid_message"),
        (15, "invalid_message"),
    ]
    reasons = {line["number"]: line["reason"] for line in found}
    assert "2 columns, the header has 3" in reasons[4]
    assert a in reasons[6]
    assert "lane" in reasons[7]
    assert "UTF-8" in reasons[8]
    assert "uri" in reasons[13]
    assert "longer than" in reasons[15]
    assert found[1]["text"] == f"{a},3"
    assert [row[1] for row in run(CHECKS)] == ["1", "11"]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("{", "JSON"),
        ("[1]", "object"),
        ("[" * 100_000, "JSON"),
        ('{"uri": "/a.jpg", "lan": "live"}', "lan"),
        ('{"uri": 7}', "uri"),
        ('{"external_id": "1"}', "uri"),
        ('{"uri": "/a\\u0000.jpg"}', "NUL"),
        ('{"uri": "/\\ud800.jpg"}', "JSON"),
        ('{"uri": "/a.jpg", "attributes": {"share": NaN}}', "JSON"),
        ('{"uri": "/a.jpg", "attributes": 1}', "attributes"),
    ],
)
def test_a_bad_json_line_is_told_and_takes_no_neighbour_with_it(
    susy: Susy, run: Sql, tmp_path: Path, line: str, word: str
) -> None:
    result = susy("import", "-", "--no-check-files", stdin=f'{{"uri": "/1.jpg"}}\n{line}\n{{"uri": "/2.jpg"}}'.encode())
    assert result.code == 1
    (told,) = rejected(tmp_path / "stdin.rejects.jsonl")
    assert told["number"] == 2
    assert word in told["reason"]
    assert [row[2] for row in run(CHECKS)] == ["/1.jpg", "/2.jpg"]


def test_a_value_that_postgres_cannot_hold_takes_no_neighbour_with_it(susy: Susy, run: Sql, tmp_path: Path) -> None:
    long = "".join(chr(0x1F000 + n) for n in range(500))  # within the limit in characters, too long for an index
    lines = [{"uri": f"/{n}.jpg", "external_id": long if n == 5 else str(n), "source": long[:200]} for n in range(9)]
    assert susy("import", "-", "--no-check-files", stdin="\n".join(map(json.dumps, lines)).encode()).code == 1
    assert [told["number"] for told in rejected(tmp_path / "stdin.rejects.jsonl")] == [6]
    assert run(COUNT) == [(8,)]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"path,external_id\n/a.jpg,1\n", "uri"),
        (b"uri,uri\n/a.jpg,1\n", "same name"),
        (b'uri,"external_id\n/a.jpg,1\n', "header"),
        (b"\xff\xfeu\x00r\x00i\x00\n\x00", "header"),
        (b"\x89PNG\r\n\x1a\n", "header"),
    ],
)
def test_a_manifest_without_a_readable_header_is_refused(susy: Susy, tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    result = susy("import", "m.csv", "--no-check-files")
    assert result.code == 2
    assert word in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_what_cannot_be_opened_or_written_is_named(susy: Susy, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("uri\n")
    assert "absent.csv" in susy("import", "absent.csv").stderr
    for arguments in (["absent.csv"], ["m.csv", "--rejects", "absent/r.jsonl"]):
        assert susy("import", *arguments).code == 2


def test_without_roots_it_says_how_to_go_on(susy: Susy, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("uri\n/a.jpg\n")
    refused = susy("import", "m.csv", SUSY_IMAGE_ROOTS="")
    assert refused.code == 2
    assert "SUSY_IMAGE_ROOTS" in refused.stderr
    assert "--no-check-files" in refused.stderr
    assert susy("import", "m.csv", "--no-check-files", SUSY_IMAGE_ROOTS="").code == 0


def test_importing_again_changes_nothing(susy: Susy, run: Sql) -> None:
    lines = "".join(f"/{n}.jpg\n" for n in range(2500)).encode()
    first = susy("import", "-", "--no-check-files", "--json", stdin=b"uri\n" + lines)
    again = susy("import", "-", "--no-check-files", "--json", stdin=b"uri\n" + lines + b"/more.jpg\n")
    assert (first.document["accepted"], first.document["repeated"]) == (2500, 0)
    assert (again.document["accepted"], again.document["repeated"]) == (1, 2500)
    assert run(COUNT) == [(2501,)]


def test_an_import_that_was_killed_goes_on_where_it_was(
    susy: Susy, run: Sql, processes: Processes, tmp_path: Path
) -> None:
    lines = [f"/images/{n}.jpg,{n}\n".encode() for n in range(3 * BATCH)]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = processes.start("backlog", "import", "-", "--no-check-files", stdin=pipe)
    with pipe.open("wb") as stdin:
        stdin.write(b"uri,external_id\n" + b"".join(lines[: BATCH + BATCH // 2]))
        stdin.flush()
        process.eventually(lambda: run(COUNT) != [(0,)])
        process.kill()
    assert run(COUNT) == [(BATCH,)]
    (tmp_path / "all.csv").write_bytes(b"uri,external_id\n" + b"".join(lines))
    result = susy("import", "all.csv", "--no-check-files", "--json")
    assert result.code == 0, result.stderr
    assert (result.document["accepted"], result.document["repeated"]) == (2 * BATCH, BATCH)
    assert run("SELECT count(DISTINCT external_id), count(*) FROM susy.checks") == [(3 * BATCH, 3 * BATCH)]


def test_a_folder_is_walked_to_its_leaves_and_links_are_not_followed(susy: Susy, run: Sql, roots: Path) -> None:
    for name in ("a.jpg", "deep/er/b.jpg", "deep/c é.png", "deep/notes.txt"):
        image(roots, name)
    (roots / "link.jpg").symlink_to(roots / "a.jpg")
    (roots / "round").symlink_to(roots)
    os.mkfifo(roots / "fifo.jpg")
    odd = os.fsdecode(b"odd\xff.jpg")
    image(roots, odd)
    result = susy("import", roots, "--match", "*.jpg", "--match", "*.png", "--json")
    assert result.code == 0, result.stderr
    assert [(row[1], row[2]) for row in run(CHECKS.replace("external_id\n", 'external_id COLLATE "C"'))] == [
        ("a.jpg", f"{roots}/a.jpg"),
        ("deep/c é.png", f"{roots}/deep/c é.png"),
        ("deep/er/b.jpg", f"{roots}/deep/er/b.jpg"),
        ("odd%FF.jpg", f"file://{roots}/odd%FF.jpg"),
    ]
    again = susy("import", roots, "--json").document
    assert (again["accepted"], again["repeated"]) == (1, 4), "without a pattern, every regular file"


def test_the_reject_file_itself_is_no_image(susy: Susy, run: Sql, roots: Path) -> None:
    image(roots, "a.jpg")
    rejects = roots / "rejects.jsonl"
    rejects.write_text("from an earlier run")
    assert susy("import", roots, "--rejects", rejects).code == 0
    assert [row[1] for row in run(CHECKS)] == ["a.jpg"]
    assert not rejects.exists(), "nothing was rejected"


def test_a_folder_that_cannot_be_listed_is_told_and_the_others_go_in(
    susy: Susy, run: Sql, roots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(roots, "good/a.jpg")
    image(roots, "locked/b.jpg")
    scandir = os.scandir

    def scan(path: str | Path) -> Any:
        # As root nothing is locked; so the disk is made to refuse.
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("worker.importing.records.os.scandir", scan)
    assert susy("import", roots).code == 1
    (told,) = rejected(tmp_path / "images.rejects.jsonl")
    assert (told["code"], told["text"]) == ("unreadable", str(roots / "locked"))
    assert [row[1] for row in run(CHECKS)] == ["good/a.jpg"]


def test_a_folder_of_another_place_does_not_pass_for_the_first(susy: Susy, roots: Path) -> None:
    image(roots, "one/a.jpg")
    image(roots, "two/a.jpg")
    assert susy("import", roots / "one").code == 0
    refused = susy("import", roots / "two", "--json")
    assert (refused.code, refused.document["rejected"]) == (1, 1)
    assert susy("import", roots / "two", "--source", "two").code == 0


def test_memory_does_not_grow_with_the_manifest(store: Store) -> None:
    process = psutil.Process()
    sizes: list[int] = []

    def lines() -> Iterator[Record | Reject]:
        for number in range(1, 40 * BATCH + 1):
            if number % (5 * BATCH) == 0:
                sizes.append(process.memory_info().rss)
            if number % 10 == 0:
                yield Reject(number, "invalid_message", "no reason", "x" * 100)
                continue
            given = Submission(source="s", uri=f"/images/{number}.jpg", external_id=str(number), lane=Lane.BACKFILL)
            yield Record(number, "x" * 100, given)

    summary = load(lines(), store, locate=None, reject=lambda _: None)
    assert (summary.accepted, summary.rejected) == (36 * BATCH, 4 * BATCH)
    assert max(sizes[1:]) - sizes[1] < 20_000_000


def test_an_endless_line_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    with path.open("wb") as file:
        file.write(b"uri\n")
        for _ in range(64):
            file.write(b"a" * 1_000_000)
        file.write(b"\n/b.jpg\n")
    process = psutil.Process()
    before = process.memory_info().rss
    with path.open("rb") as stream:
        endless, good = read_manifest(stream, Defaults("s"))
    assert process.memory_info().rss - before < 20_000_000
    assert isinstance(endless, Reject)
    assert endless.number == 2
    assert isinstance(good, Record)
    assert good.number == 3

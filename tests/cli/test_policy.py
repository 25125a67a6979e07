"""`susy policy` with the ledger: from a file to what decides, and back."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.commands import Result, Susy
from tests.support.databases import Sql
from tests.support.ledger import SCAN, claimed, done, examination
from worker.policy.decide import decide
from worker.policy.policy import Policy, default_policy
from worker.store import Store

STRICT = 'name = "strict"\nsynthetic_at = 0.8\nauthentic_below = 0.2\n'
STRICTER = STRICT.replace("0.8", "0.7")


@pytest.fixture
def command_variables(database_url: str) -> dict[str, str]:
    return {"SUSY_DATABASE_URL": database_url}


@pytest.fixture
def policies(tmp_path: Path, susy: Susy) -> tuple[str, str]:
    """Two versions of one policy in the ledger, as NAME@VERSION."""
    (tmp_path / "strict.toml").write_text(STRICT)
    (tmp_path / "stricter.toml").write_text(STRICTER)
    one, other = susy("policy", "put", "strict.toml", "stricter.toml").stdout.split()
    return one, other


def changed(result: Result) -> Result:
    assert result.code == 0, result.stderr
    return result


def test_a_version_is_stored_once_and_decides_nothing_before_it_is_activated(
    susy: Susy, policies: tuple[str, str], tmp_path: Path
) -> None:
    assert "stored before" in susy("policy", "put", "strict.toml").stdout
    listed = susy("policy", "list", "--json").documents
    assert {f"{each['name']}@{each['version']}" for each in listed} == set(policies)
    assert not any(each["active"] for each in listed)
    assert susy("policy", "show").document["name"] == "default"


def test_activating_says_who_and_why_and_can_be_undone(susy: Susy, policies: tuple[str, str]) -> None:
    one, other = policies
    changed(susy("policy", "activate", one, "--reason", "first", "--by", "ann"))
    changed(susy("policy", "activate", other, "--reason", "fewer misses", "--by", "ben"))
    assert susy("policy", "show", "strict").document["synthetic_at"] == 0.7
    changed(susy("policy", "rollback", "1", "--reason", "too many reviews", "--by", "ann"))
    assert susy("policy", "show", "strict").document["synthetic_at"] == 0.8
    history = susy("policy", "history", "--json").documents
    assert [(each["revision"], each["by"], each["reason"]) for each in history] == [
        (3, "ann", "too many reviews"),
        (2, "ben", "fewer misses"),
        (1, "ann", "first"),
    ]


def test_activating_what_is_active_changes_nothing(susy: Susy, policies: tuple[str, str]) -> None:
    changed(susy("policy", "activate", policies[0], "--reason", "first"))
    again = changed(susy("policy", "activate", policies[0], "--reason", "again"))
    assert "Nothing changes" in again.stderr
    assert len(susy("policy", "history", "--json").documents) == 1


def test_routes_are_printed_in_the_form_that_sets_them(susy: Susy, policies: tuple[str, str], tmp_path: Path) -> None:
    changed(susy("policy", "activate", policies[0], "--reason", "first"))
    routes = tmp_path / "routes.toml"
    routes.write_text(
        'default = "default"\n[[route]]\nsource = "ava\\"tars\\u001b"\npolicy = "strict"\n'
        'attributes = { "a b" = "x", minor = true, n = 2 }\n'
    )
    changed(susy("policy", "route", "routes.toml", "--reason", "minors"))
    printed = susy("policy", "route").stdout
    assert "\x1b" not in printed
    routes.write_text(printed)
    again = changed(susy("policy", "route", "routes.toml", "--reason", "the same"))
    assert "Nothing changes" in again.stderr


def test_a_policy_that_no_route_leads_to_is_pointed_out(susy: Susy, policies: tuple[str, str]) -> None:
    assert "No route leads to strict" in susy("policy", "activate", policies[0], "--reason", "first").stderr


TO_DEFAULT = '[[route]]\npolicy = "default"\n'
ROUTE = ("route", "routes.toml", "--reason", "x")
STORED_NOWHERE = ("strict@0123456789ab", "--reason", "x")


@pytest.mark.parametrize(
    ("arguments", "routes", "code", "names"),
    [
        (("activate", *STORED_NOWHERE), "", 1, "unknown_policy.*strict@0123456789ab.*policy put"),
        (("activate", "strict", "--reason", "x"), "", 2, "NAME@VERSION"),
        (("activate", "strict'; DROP TABLE susy.checks; --", "--reason", "x"), "", 2, "NAME@VERSION"),
        (("activate", "{one}", "--reason", " "), "", 2, "must not be empty"),
        (("activate", "{one}", "--reason", "x", "--by", " "), "", 2, "must not be empty"),
        (("activate", "{one}", "--reason", "x", "--expect", "4"), "", 1, "conflict.*revision 0 applies, not 4"),
        (ROUTE, '[[route]]\npolicy = "absent"\n', 2, "routes.toml.*absent.*activate"),
        (ROUTE, TO_DEFAULT + '[[route]]\nsource = "a"\npolicy = "default"\n', 2, "routes.toml.*route 2.*never reached"),
        (ROUTE, '[[rout]]\npolicy = "default"\n', 2, "routes.toml: rout: unknown"),
        (ROUTE, TO_DEFAULT + 'sauce = "a"\n', 2, "routes.toml: routes.0.sauce"),
        (ROUTE, "default = ", 2, "routes.toml is not valid TOML"),
        (ROUTE, '[[route]]\nsource = "a\\u0000"\npolicy = "default"\n', 2, r"routes.toml: routes.0.source: .*NUL"),
        (ROUTE, TO_DEFAULT + 'attributes = { a = "\\u0000" }\n', 2, r"routes.toml: routes.0.attributes: .*NUL"),
        (ROUTE, TO_DEFAULT + "attributes = { a = nan }\n", 2, "routes.0.attributes: .*'a' must be a finite number"),
        (("history", "--limit", "99999999999999999999"), "", 2, "--limit"),
        (("route", "routes.toml"), "", 2, "--reason"),
        (("shadow", *STORED_NOWHERE), "", 1, "unknown_policy"),
        (("shadow", *STORED_NOWHERE, "--stop"), "", 1, "does not run in shadow"),
        (("shadow", "{one}", "--reason", "x", "--sample", "1.5"), "", 2, "above 0 and up to 1"),
        (("rollback", "7", "--reason", "x"), "", 1, "no revision 7"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    susy: Susy,
    policies: tuple[str, str],
    tmp_path: Path,
    run: Sql,
    arguments: tuple[str, ...],
    routes: str,
    code: int,
    names: str,
) -> None:
    (tmp_path / "routes.toml").write_text(routes)
    result = susy("policy", *(argument.format(one=policies[0]) for argument in arguments))
    assert result.code == code
    assert re.search(names, re.sub(r"[\s│]+", " ", result.stderr)), result.stderr
    assert run("SELECT count(*) FROM susy.policy_revisions") == [(0,)]


def test_of_two_operators_who_change_at_once_one_wins_and_the_other_is_told(store: Store) -> None:
    together, outcomes = threading.Barrier(8), []
    lock = threading.Lock()

    def change(number: int) -> None:
        together.wait()
        try:
            store.policies.change(1, {"active": {}}, change=f"change {number}", changed_by="a", reason="b")
            outcome = "won"
        except Exception as error:  # noqa: BLE001
            outcome = str(error)
        with lock:
            outcomes.append(outcome)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 1
    assert sum("conflict: somebody else changed" in outcome for outcome in outcomes) == 7


def test_a_difference_is_shown_key_by_key(susy: Susy, policies: tuple[str, str]) -> None:
    result = susy("policy", "diff", *policies, "--json")
    assert result.code == 1
    assert result.document == {"synthetic_at": [0.8, 0.7]}
    assert susy("policy", "diff", policies[0], "strict.toml").code == 0


def test_a_file_is_pinned_and_doctor_says_so(susy: Susy, policies: tuple[str, str], tmp_path: Path) -> None:
    changed(susy("policy", "activate", policies[1], "--reason", "first"))
    shown = susy("policy", "show", "strict", SUSY_POLICY_FILE=str(tmp_path / "strict.toml")).document
    assert shown["synthetic_at"] == 0.8
    doctor = susy("doctor", SUSY_POLICY_FILE=str(tmp_path / "strict.toml")).stdout
    assert f"{policies[0]} (pinned); ledger revision 1, whose routes SUSY_POLICY_FILE overrides" in doctor


def test_a_stored_version_keeps_its_name_when_it_is_read_again(susy: Susy, policies: tuple[str, str]) -> None:
    shown = susy("policy", "show", policies[0]).document
    assert f"{shown['name']}@{shown['version']}" == policies[0]
    assert default_policy().version.version == susy("policy", "show").document["version"]


def test_the_rates_of_audits_are_set_listed_and_removed(susy: Susy, policies: tuple[str, str]) -> None:
    changed(susy("policy", "audit", "strict", "--rate", "0.01", "--reason", "measure its errors"))
    changed(susy("policy", "audit", "strict", "--source", "avatars", "--rate", "0.5", "--reason", "a new source"))
    changed(susy("policy", "audit", "strict", "--rate", "0.02", "--reason", "more"))
    listed = susy("policy", "audit", "--json").documents
    assert {(each["source"], each["rate"]) for each in listed} == {("avatars", 0.5), (None, 0.02)}
    assert "avatars" in susy("policy", "audit").stdout
    changed(susy("policy", "audit", "strict", "--source", "avatars", "--stop", "--reason", "known by now"))
    assert [each["source"] for each in susy("policy", "audit", "--json").documents] == [None]
    latest = susy("policy", "history", "--json").documents[0]
    assert (latest["change"], latest["reason"]) == ("audit of strict for 'avatars': no rate", "known by now")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["strict", "--rate", "1.5", "--reason", "x"], "1.5 is not between 0 and 1"),
        (["strict", "--rate", "0.5"], "say why"),
        (["strict", "--reason", "x"], "either --rate or --stop"),
        (["strict", "--rate", "0.5", "--stop", "--reason", "x"], "either --rate or --stop"),
        (["strict", "--rate", "0.5", "--source", " ", "--reason", "x"], "must not be empty"),
        (["strict", "--stop", "--reason", "x"], "no audit of strict has a rate"),
        (["unheard-of", "--rate", "0.5", "--reason", "x"], "no policy 'unheard-of'"),
    ],
)
def test_a_rate_that_cannot_be_meant_changes_nothing(
    susy: Susy, policies: tuple[str, str], arguments: list[str], problem: str
) -> None:
    refused = susy("policy", "audit", *arguments)
    assert refused.code != 0
    assert problem in " ".join(refused.stderr.split())
    assert susy("policy", "history", "--json").documents == []


def test_thresholds_for_a_generator_that_the_weights_do_not_know_do_not_decide(
    susy: Susy, store: Store, run: Sql, tmp_path: Path, database_url: str
) -> None:
    text = 'name = "uploads"\nsynthetic_at = 0.9\nauthentic_below = 0.1\n[generators.{}]\nsynthetic_at = 0.95\n'
    (tmp_path / "known.toml").write_text(text.format("alpha"))
    (tmp_path / "unknown.toml").write_text(text.format("gamma"))
    given = {"SUSY_DATABASE_URL": database_url}
    before = susy("policy", "put", "known.toml", "unknown.toml", "--json", **given)
    known, unknown = (f"uploads@{each['version']}" for each in before.documents)
    assert before.stderr == ""  # without a scan, nobody knows the weights
    done(store)
    warned = susy("policy", "put", "known.toml", "unknown.toml", **given)
    assert (warned.code, warned.stdout.split()[0]) == (0, known)
    said = " ".join(warned.stderr.split())
    assert f"policy {unknown}: generators.gamma: the weights of the latest scan know only alpha, beta, " in said
    assert known not in said
    for command in ("activate", "shadow"):
        refused = susy("policy", command, unknown, "--reason", "try", **given)
        assert refused.code == 2
        assert "generators.gamma" in refused.stderr
        assert "alpha, beta" in refused.stderr
    assert susy("policy", "apply", unknown, **given).code == 2
    assert run("SELECT count(*) FROM susy.policy_revisions") == [(0,)]
    assert susy("policy", "activate", known, "--reason", "try", **given).code == 0


def test_a_check_is_explained_in_sentences(susy: Susy, store: Store, database_url: str) -> None:
    used = Policy(name="uploads", synthetic_at=0.9, authentic_below=0.1, minimum_contrast=0)
    claim = claimed(store)
    store.record(claim, replace(examination(SCAN, decide(SCAN, used, ())), policy=used.document))
    given = {"SUSY_DATABASE_URL": database_url}
    said = susy("explain", str(claim.check_id), **given).stdout.splitlines()
    assert said[-1] == f"Hence {used.version} decides inconclusive, with the reason between_thresholds."
    document = susy("explain", str(claim.check_id), "--json", **given).document
    assert [rule["rule"] for rule in document["rules"] if rule["decides"]] == ["between_thresholds"]
    assert susy("explain", str(claimed(store).check_id), **given).code == 1
    assert susy("explain", "0" * 32, **given).code == 1

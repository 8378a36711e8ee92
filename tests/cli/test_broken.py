"""Every command on damaged and hostile bundles: a message and an exit code, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

BROKEN = Path(__file__).parent.parent / "corpus" / "broken"
MUST_REFUSE = sorted(path.name for path in (BROKEN / "must_refuse").iterdir())
MUST_LOAD = sorted(path.name for path in (BROKEN / "must_load").iterdir())
UNREADABLE = {
    "unfinished",
    "no_manifest",
    "half_a_manifest",
    "from_the_future",
    "marker_leads_out",
    "nested_without_end",
    "record_of_noise",
}
UNJUDGED = {"from_the_future"}
NOT_WHOLE = UNREADABLE | {
    "changed_afterwards",
    "program_is_gone",
    "link_leads_out",
    "weights_lead_out",
    "pipeline_without_its_function",
    "weights_beyond_any_disk",
    "weights_of_no_json",
}
# Damage of records that running does not look at.
RUNS_ALL_THE_SAME = {"example_with_a_pickle", "example_with_other_results"}
CHILDREN_TRY = {"changed_afterwards", "program_of_noise", "program_calls_home"}
SAME_UNTIL_RUN = sorted(set(MUST_REFUSE) - NOT_WHOLE)
READERS = {
    "show": ("show",),
    "details": ("show", "--details", "serving_default"),
    "tree": ("show", "--tree"),
    "weights": ("show", "--weights"),
    "stats": ("show", "--weights", "--stats"),
    "proto": ("show", "--proto"),
    "examples": ("show", "--examples"),
    "verify": ("verify",),
    "view": ("view", "--html", "page.html"),
}
RUNNERS = {
    "run": ("run", "--random"),
    "doctor": ("doctor",),
    "bench": ("bench", "--batch", "1", "--repeats", "1"),
}


@pytest.fixture
def broken(tmp_path):
    """Returns a copy of one of them, which a command may not change."""

    def copy(name: str) -> Path:
        (found,) = BROKEN.glob(f"*/{name}")
        return Path(shutil.copytree(found, tmp_path / name, symlinks=True, dirs_exist_ok=True))

    return copy


def require_polite(said) -> None:
    """A message for people: no traceback, nothing unexpected, no control character."""
    text = said.out + said.err
    assert "Traceback" not in text
    assert "unexpected" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_there_are_more_than_a_dozen():
    assert len(MUST_REFUSE) + len(MUST_LOAD) > 20
    assert set(MUST_REFUSE) >= NOT_WHOLE


@pytest.mark.parametrize("line", READERS)
@pytest.mark.parametrize("name", [*MUST_REFUSE, *MUST_LOAD])
def test_what_only_reads_ends_in_a_message_and_an_exit_code(
    name, line, obm, broken, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command, *options = READERS[line]
    said = obm(command, broken(name), *options)
    require_polite(said)
    assert said.code in {0, 1, 2, 3}
    if said.code and command == "show" and not said.out:
        assert said.err.startswith("obm: ")
        assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", MUST_REFUSE)
def test_show_refuses_what_cannot_be_read(name, obm, broken):
    assert (obm("show", broken(name)).code != 0) >= (name in UNREADABLE)


@pytest.mark.parametrize(
    "name",
    [
        "weights_lead_out",
        "weights_of_no_json",
        "weights_beyond_any_disk",
        "pipeline_without_its_function",
    ],
)
def test_show_says_what_is_damaged(name, obm, broken):
    said = obm("show", broken(name))
    assert said.code == 1
    assert "\ndamaged: " in said.out
    assert obm("show", broken(name), "--quiet").code == 1


@pytest.mark.parametrize("name", sorted(NOT_WHOLE))
def test_verify_finds_what_is_not_whole(name, obm, broken):
    assert obm("verify", broken(name), "--quiet").code == (3 if name in UNJUDGED else 1)


@pytest.mark.parametrize("name", sorted(UNJUDGED))
@pytest.mark.parametrize("line", ["show", "verify", "view", "doctor"])
def test_what_only_a_later_version_reads_is_inconclusive_everywhere(
    name, line, obm, broken, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command, *options = (READERS | RUNNERS)[line]
    assert obm(command, broken(name), *options).code == 3


@pytest.mark.frameworks
@pytest.mark.parametrize("name", SAME_UNTIL_RUN)
def test_verify_in_a_child_process_does_not_pass_what_must_be_refused(name, obm, broken):
    said = obm("verify", broken(name), "--isolate")
    require_polite(said)
    assert said.code == (3 if name == "processor_writes_a_file" else 1)


@pytest.mark.parametrize("name", MUST_LOAD)
def test_what_is_strange_but_whole_is_shown(name, obm, broken):
    said = obm("show", broken(name))
    assert (said.code, said.err) == (0, "")
    assert obm("verify", broken(name), "--quiet").code in {0, 3}


@pytest.mark.parametrize("name", [*MUST_REFUSE, *MUST_LOAD])
def test_either_side_of_a_comparison_may_be_broken(name, obm, broken):
    honest, other = broken("without_digests"), broken(name)
    for sides in ((honest, other), (other, honest)):
        said = obm("diff", *sides)
        require_polite(said)
        if name in UNREADABLE:
            assert said.code in {1, 3}
            assert ("after: " if sides[1] is other else "before: ") in said.err


# Where a child process is needed to find it, one kind of damage of each sort is enough.
TRIED = [
    (name, line)
    for name in MUST_REFUSE
    for line in RUNNERS
    if line == "run" or name in UNREADABLE | CHILDREN_TRY
]


@pytest.mark.frameworks
@pytest.mark.parametrize(("name", "line"), TRIED)
def test_nothing_is_run_that_must_be_refused(name, line, obm, broken):
    command, *options = RUNNERS[line]
    said = obm(command, broken(name), *options)
    require_polite(said)
    if name in RUNS_ALL_THE_SAME:
        assert said.code in {0, 1}
    else:
        assert said.code in {1, 3}


@pytest.mark.frameworks
@pytest.mark.parametrize("line", RUNNERS)
@pytest.mark.parametrize("name", ["names_that_paint"])
def test_what_is_strange_but_whole_is_run(name, line, obm, broken):
    command, *options = RUNNERS[line]
    said = obm(command, broken(name), *options)
    require_polite(said)
    assert said.code == 0

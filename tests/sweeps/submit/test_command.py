import argparse
from collections.abc import AsyncIterator, Sequence

import pytest

from sweeps.options import command_parser
from sweeps.run import main
from sweeps.submit.command import ROOT, Order, order
from sweeps.submit.jobs import Job, _Lines
from trm_core.command_line import BadCommand

STUDY = ("--study", "recursion_depth", "--profile", "mini")


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    return command_parser().parse_args(list(arguments))


def ordered(*arguments: str) -> Order:
    return order(parsed(arguments), arguments, "recursion_depth")


@pytest.mark.parametrize(
    "for_here",
    [
        ("--submit",),
        ("--submit", "mine.yaml"),
        ("--submit=mine.yaml",),
        ("--bring", "back", "--submit"),
        ("--bring=back", "--submit", "mine.yaml"),
    ],
)
def test_the_job_is_given_the_command_without_what_is_for_here(for_here: tuple[str, ...]) -> None:
    plain = (*STUDY, "--out", "/shared/results", "--only", "TRM k=1*")
    assert ordered(*plain, *for_here).arguments == plain
    assert ordered(*for_here, *plain).digest == ordered(*plain, "--submit").digest


def test_mlflows_file_lies_with_the_results_where_the_cluster_has_no_server() -> None:
    asked = ordered(*STUDY, "--out", "/shared/my results", "--submit")
    assert asked.command == (
        "mkdir -p -- '/shared/my results' && MLFLOW_TRACKING_URI=${MLFLOW_TRACKING_URI:-"
        "'sqlite:////shared/my results/mlflow.db'} exec python sweeps/run.py"
        " --study recursion_depth --profile mini --out '/shared/my results'"
    )


def test_a_file_of_ones_own_is_named_as_it_is_in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "sweeps")
    for given in (("--study", "studies/components.py"), ("--study=studies/components.py",)):
        sent = ordered(*given, "--out", "/shared", "--submit").arguments
        assert "sweeps/studies/components.py" in sent[0].partition("=")[2] + sent[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (STUDY, "--out results: expected an absolute path"),
        ((*STUDY, "--out", "/shared", "--data", "puzzles"), "--data puzzles: expected hub, or an absolute path"),
        ((*STUDY, "--out", "/shared", "--data", "sudoku=puzzles"), "expected hub, or an absolute path"),
        ((*STUDY, "--out", "/shared", "--optuna-storage", "postgresql://me:secret@host/x"), "a password"),
        (("--study", "/elsewhere/mine.py", "--out", "/shared"), "it lies outside of"),
    ],
)
def test_what_would_mean_another_thing_there_is_refused(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(BadCommand, match=why):
        ordered(*arguments, "--submit")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--submit",), "no study"),
        (("--study", "recursion_dept", "--submit"), "did you mean"),
        ((*STUDY, "--list", "--submit"), "it is answered here"),
        ((*STUDY, "--profile", "huge", "--submit"), "huge"),
        ((*STUDY, "--attach"), "leave --study"),
        ((*STUDY, "--bring", "back"), "--bring is for --submit"),
        ((*STUDY, "--out", "/shared", "--submit", "nowhere.yaml"), "nowhere.yaml: no such file"),
        (("--attach", "--submit", "http://head:8265"), "over ssh"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_sent(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert why in said


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", None, 1), ("STOPPED", -15, 1), ("SUCCEEDED", None, 0)],
)
def test_the_exit_code_is_the_commands_where_it_has_one(status: str, code: int | None, expected: int) -> None:
    assert Job("job", status, code, "", 0, {}).exit_code == expected


async def _log(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


def test_a_log_told_again_from_its_beginning_goes_on_where_it_was_and_loses_its_control_characters() -> None:
    import asyncio

    said: list[str] = []
    lines = _Lines(said.append)
    asyncio.run(lines.take(_log("first\nsec", "ond\x1b[2J\n", "thi")))
    assert said == ["first", "second [2J"]
    asyncio.run(lines.take(_log("first\n", "second\x1b[2J\nthird", "\nfourth")))
    lines.end()
    assert said == ["first", "second [2J", "third", "fourth"]


def test_a_line_without_end_is_broken() -> None:
    import asyncio

    said: list[str] = []
    asyncio.run(_Lines(said.append).take(_log("x" * 25_000)))
    assert [len(line) for line in said] == [10_000, 10_000]

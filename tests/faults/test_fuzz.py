"""That the fuzzer finds what it is there to find, and draws the same again."""

from __future__ import annotations

import argparse
import importlib
import random
import sys
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

from tests.faults import fuzz
from tests.faults.fuzz import Answer, snapshot, wrong_with
from tests.faults.inputs import COMMANDS, FILES, Input, draw_input
from tests.faults.mutations import mutate

GIVEN = Input(0, "sweeps.run", ("--plan",), None, real=False)


def test_an_input_is_a_function_of_its_seed_and_number() -> None:
    assert [draw_input(3, number) for number in range(50)] == [draw_input(3, number) for number in range(50)]
    assert draw_input(3, 7) != draw_input(4, 7)


def test_300_inputs_try_every_command_with_whole_and_with_broken_files() -> None:
    drawn = [draw_input(0, number) for number in range(300)]
    assert {one.module for one in drawn} == set(COMMANDS) == set(FILES)
    assert all(n >= 20 for n in Counter(one.broken is None for one in drawn).values())
    assert sum(one.real for one in drawn) >= 3
    assert sum(len(set(one.arguments)) > 2 for one in drawn) > 100


NOT_GIVEN = {"--help", "--every"}  # --every: of `watch`, whose end nothing says


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Every long option, of its verbs too."""
    found = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {name for verb in action.choices.values() for name in options_of(verb)}
    return found


@pytest.mark.parametrize(
    ("module", "entry"),
    [
        ("sweeps.run", "sweeps.run"),
        ("sweeps.run status", "sweeps.run"),
        *((f"reports{verb}", "reports.__main__") for verb in ("", " all", " pair")),
        ("trm_core", "trm_core.__main__"),
        ("trm_core.official", "trm_core.official"),
        ("trm_core.parity", "trm_core.parity"),
        ("data_prep", "data_prep.__main__"),
        ("sweeps.cluster", "sweeps.cluster.__main__"),
    ],
)
def test_every_option_of_every_command_is_given(module: str, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.ArgumentParser] = []

    def look(self: argparse.ArgumentParser, *_: object) -> NoReturn:
        seen.append(self)
        raise SystemExit(0)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", look)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", look)
    verb = module.split()[1:]
    with pytest.raises(SystemExit):
        importlib.import_module(entry).main([*verb, "a", "b"])
    of = {"reports pair": "reports"}.get(module, module)
    given = {word.partition("=")[0] for number in range(4000) for word in COMMANDS[of][0](random.Random(number))}
    assert options_of(seen[0]) - given - NOT_GIVEN == set()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(1, "", ""), ""),
        (Answer(2, "", "error: no study\n"), ""),
        (Answer(None, "", ""), "still there"),
        (Answer(3, "", ""), "exit code 3"),
        (Answer(-11, "", ""), "exit code -11"),
        (Answer(1, "", 'Traceback (most recent call last):\n  File "x"\n'), "a traceback"),
        (Answer(2, "", ""), "without a word"),
        (Answer(2, "", "error: \x1b[31mred\n"), "control characters"),
        (Answer(2, "", "error: http://me:secret@host\n"), "a password"),
    ],
)
def test_how_a_command_may_end(answer: Answer, said: str, tmp_path: Path) -> None:
    found = "; ".join(wrong_with(GIVEN, answer, {}, tmp_path))
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("table.csv", b"a,b\n", ""),
        ("campaign.json", b"{}", ""),
        ("table.csv", b"a,b", "a torn last line"),
        ("campaign.json", b'{"rows": [', "torn JSON"),
        ("table.md", b"", "an empty file"),
        (".campaign.json.123", b"{}", "left half-written"),
        ("config.json.12.new", b"{}", "left half-written"),
        ("step_1.partial/a.npy", b"0", ""),
        (".lock", b"", ""),
    ],
)
def test_a_file_that_is_half_written_is_found(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    found = "; ".join(wrong_with(GIVEN, Answer(0, "", ""), before, tmp_path))
    assert said in found
    assert bool(said) == bool(found)


def test_what_was_broken_before_is_not_the_commands_doing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    assert wrong_with(GIVEN, Answer(0, "", ""), snapshot(tmp_path), tmp_path) == []


def test_a_fork_ends_as_python_would_and_a_hang_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {
        "returns": lambda _: 2,
        "exits": lambda _: sys.exit("said so"),
        "raises": lambda _: 1 // 0,
        "hangs": lambda _: [None for _ in iter(int, 1)],
    }
    monkeypatch.setattr(fuzz, "_main_of", ends.get)
    monkeypatch.setattr(fuzz, "_shut_the_doors", lambda: None)
    answers = {}
    for name in ends:
        (tmp_path / name).mkdir()
        if name == "hangs":
            monkeypatch.setattr(fuzz, "HANGS_S", 1.0)
        answers[name] = fuzz.give(Input(0, name, (), None, real=False), tmp_path / name)
    assert [answers[name].code for name in ends] == [2, 1, 1, None]
    assert "ZeroDivisionError" in answers["raises"].err


def test_a_broken_file_is_broken_the_same_way_again(tmp_path: Path) -> None:
    for number in range(60):
        ways = []
        for name in ("one", "two"):
            folder = tmp_path / f"{name} {number}"
            folder.mkdir()
            path = folder / "a.json"
            path.write_text('{"rows": [{"name": "a", "value": 0.5}], "count": 3}')
            how = mutate(path, random.Random(number))
            ways.append((how, path.read_bytes() if path.is_file() else None))
        assert ways[0] == ways[1]

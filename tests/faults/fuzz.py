"""`make fuzz INPUTS=2000`: the commands, given what nobody would give them, on files that somebody has broken.

Every input ends within its time, with an exit code that the command documents, without a traceback or a control
character on the screen, and without a file half-written. Most run in a fork of a process that has loaded the libraries
(what a command does is the same, and starting takes no seconds); some in a process of their own. Ray is not started and
nothing is measured: the doors of both are shut, as on a machine where they fail.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.faults import world
from tests.faults.inputs import Input, draw_input
from tests.faults.mutations import mutate
from tests.faults.processes import patience

ROOT = world.ROOT
HANGS_S = 240.0  # of an idle machine
MEMORY_BYTES = 8 * 1024**3  # of a process: what asks for more was not checked
CODES = {
    "sweeps.run": (0, 1, 2, 130),
    "sweeps.run status": (0, 1, 2),
    "reports all": (0, 1, 2),
    "trm_core.parity": (0, 1, 2),
    "a trial": (0,),
}
PRELOADED = (
    *("torch", "mlflow", "optuna", "ray.tune", "scipy.stats", "matplotlib.pyplot", "sweeps.run", "sweeps.conduct"),
    *(
        "sweeps.seek",
        "sweeps.tune",
        "sweeps.search",
        "sweeps.search_storage",
        "sweeps.status",
        "sweeps.launch",
        "sweeps.calibration",
    ),
    *("sweeps.records.write", "reports.__main__", "reports.search_report", "reports.tune_report", "trm_core.parity"),
    *(
        "reports.pruning_report",
        "sweeps.submit.command",
        "sweeps.cluster.__main__",
        "trm_core.__main__",
        "trm_core.official",
        "trm_core.arc_vote",
        "data_prep.__main__",
    ),
)


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int | None  # None: it was still there after HANGS_S
    out: str
    err: str


def wrong_with(given: Input, answer: Answer, before: dict[str, bytes], folder: Path) -> list[str]:
    """What is not as it should be, a line each."""
    found = []
    codes = CODES.get(given.module, (0, 2))
    said = answer.out + answer.err
    if answer.code is None:
        found.append(f"still there after {HANGS_S:.0f} s")
    elif answer.code not in codes:
        found.append(f"exit code {answer.code}, expected one of {codes}")
    if "Traceback (most recent call last)" in said:
        found.append("a traceback")
    if answer.code == 2 and not answer.err.strip():
        found.append("exit code 2 without a word")
    if control := {letter for letter in said if ord(letter) < 32 and letter not in "\n\t\r"} | ({"\x7f"} & set(said)):
        found.append(f"control characters on the screen: {sorted(control)!r}")
    if "secret" in said:
        found.append("a password on the screen")
    return found + half_written(before, folder)


def half_written(before: dict[str, bytes], folder: Path) -> list[str]:
    """Files and folders that are new, or others than before, and not whole."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name in before and before[name] == _mark(path):
            continue
        new = name not in before
        if path.is_dir() and not path.is_symlink():
            if new and not any(path.iterdir()):
                found.append(f"an empty folder: {name}")
        elif path.name.endswith((".new", ".partial", ".tmp", "-journal", "-wal")) or (
            path.name[0] == "." and path.suffix != ".lock" and path.name != ".lock"
        ):
            found.append(f"left half-written: {name}")
        elif path.is_file():
            size = path.stat().st_size
            if size == 0 and not path.name.endswith(".lock"):
                found.append(f"an empty file: {name}")
            elif path.suffix == ".json":
                try:
                    json.loads(path.read_text(encoding="utf-8"))
                except ValueError:
                    found.append(f"torn JSON: {name}")
            elif path.suffix in (".csv", ".md", ".jsonl", ".tex") and not path.read_bytes().endswith(b"\n"):
                found.append(f"a torn last line: {name}")
    return found


def snapshot(folder: Path) -> dict[str, bytes]:
    """What is there: each path's mark."""
    return {str(path.relative_to(folder)): _mark(path) for path in folder.rglob("*")}


def _mark(path: Path) -> bytes:
    if path.is_file() and not path.is_symlink():
        return path.read_bytes()
    return b"folder" if path.is_dir() else b"other"


# --- giving a command ------------------------------------------------------------------------------------------------


def give(given: Input, folder: Path) -> Answer:
    """The command, in this folder, to its end."""
    out, err = folder.with_suffix(".out"), folder.with_suffix(".err")
    with out.open("wb") as stdout, err.open("wb") as stderr:
        code = (_in_a_process if given.real and given.module != "a trial" else _in_a_fork)(
            given, folder, stdout.fileno(), stderr.fileno()
        )
    return Answer(code, out.read_text(errors="replace"), err.read_text(errors="replace"))


def _in_a_process(given: Input, folder: Path, out: int, err: int) -> int | None:
    script = (
        [str(ROOT / "sweeps" / "run.py")]
        if given.module.startswith("sweeps.run")
        else ["-m", given.module.partition(" ")[0]]
    )
    environment = world.environment(folder) | {"RAY_ADDRESS": "127.0.0.1:9"}  # where no Ray is
    process = subprocess.Popen(
        [os.fsencode(word) for word in (sys.executable, *script, *given.arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,
        preexec_fn=_limit,
    )
    return _ended(process.pid)


def _in_a_fork(given: Input, folder: Path, out: int, err: int) -> int | None:
    pid = os.fork()
    if pid == 0:
        _carry_out(given, folder, out, err)
    return _ended(pid)


def _carry_out(given: Input, folder: Path, out: int, err: int) -> NoReturn:
    """In the fork: as Python runs a program, from its arguments to its exit code."""
    code = 1
    try:
        os.setsid()
        _limit()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(world.environment(folder))
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for number, to in enumerate((nowhere, out, err)):
            os.dup2(to, number)
        for name, number in (("stdout", 1), ("stderr", 2)):
            errors = "strict" if name == "stdout" else "backslashreplace"  # as Python opens them
            setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8", errors=errors))
        _shut_the_doors()
        code = _main_of(given.module)(list(given.arguments))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _shut_the_doors() -> None:
    """No Ray, and no measuring: as on a machine where neither can be started."""
    import ray

    from sweeps import calibration, machines

    def no_ray(*_: object, **__: object) -> NoReturn:
        raise machines.NoCluster("no Ray is started here; this is where the work would begin")

    def no_measuring(*_: object) -> NoReturn:
        raise calibration.CannotMeasure("not here")

    ray.init = no_ray
    setattr(calibration, "_measure", no_measuring)  # noqa: B010


def _main_of(module: str) -> Callable[[list[str]], int]:
    if module == "a trial":
        from tests.faults.trial import main

        return main
    name = module.partition(" ")[0]
    found = importlib.import_module(
        name if name in ("sweeps.run", "trm_core.official", "trm_core.parity") else f"{name}.__main__"
    )
    return found.main  # type: ignore[no-any-return]


def _ended(pid: int) -> int | None:
    """Its exit code; None where it hung, and then it is ended."""
    began = time.monotonic()
    while True:
        there, status = os.waitpid(pid, os.WNOHANG)
        if there:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what it left running
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - began > patience(HANGS_S):
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.01)


# --- an input --------------------------------------------------------------------------------------------------------


def try_one(given: Input, seed: int, made: Path, folder: Path) -> tuple[list[str], str, Answer]:
    """One input in a fresh copy of the world: what is wrong with its end, how a file was broken, how it ended."""
    shutil.copytree(made, folder, symlinks=True)
    how = ""
    if given.broken:
        files = sorted(path for path in folder.glob(given.broken) if path.is_file())
        if files:
            draw = random.Random(f"{seed} {given.number} broken")
            path = draw.choice(files)
            how = f"{path.relative_to(folder)}: {mutate(path, draw)}"
    before = snapshot(folder)
    answer = give(given, folder)
    return wrong_with(given, answer, before, folder), how, answer


def main(arguments: Sequence[str] | None = None) -> int:
    """All inputs; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, metavar="INPUT", help="begin with this one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--world", type=Path, help="a folder to make the world in, or one that has it")
    parser.add_argument("--show", action="store_true", help="print how each ended")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="fuzz-"))
    made = options.world or base / "world"
    if not made.exists():
        world.build(made)
    for name in PRELOADED:
        importlib.import_module(name)
    from data_prep.sudoku import generate

    generate(2, 2, train=4, validation=0, test=0, clues=8, seed=0)  # compiles
    failed = []
    for number in range(options.first, options.first + options.inputs):
        given = draw_input(options.seed, number)
        folder = base / f"input {number}"
        began = time.monotonic()
        problems, how, answer = try_one(given, options.seed, made, folder)
        if problems or options.show:
            took = time.monotonic() - began
            print(f"{given} ({how}) -> {answer.code} in {took:.0f} s {'; '.join(problems)}")
            print("    " + "\n    ".join(answer.err.strip().splitlines()[-4:]), flush=True)
        if problems:
            failed.append(number)
        else:
            shutil.rmtree(folder)
            for path in (folder.with_suffix(".out"), folder.with_suffix(".err")):
                path.unlink()
    print(f"{options.inputs} inputs, {len(failed)} failed" + (f": {failed}; see {base}" if failed else ""))
    if not failed:
        shutil.rmtree(base)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the fuzzer gives to the commands: plausible options beside hostile ones, on a folder in which a file may be broken.

An input is a function of (seed, number) alone, so a failure is looked at again by its number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults.world import SEARCH, SMALL, STUDY

HOSTILE = ("", " ", "-", "--", ".", "..", "/", "~", "/dev/null", "/dev/full", "no/such", "mlflow.db", "csv", "a" * 300)
HOSTILE += (
    "0",
    "-1",
    "1e999",
    "nan",
    "9" * 5000,
    "２",
    "²",
    "1.5",
    "none",
    "true",
    "all",
    "0-4",
    "5-1",
    "1,,2",
    "=",
    "a=b",
)
HOSTILE += (
    "\x1b[31mred",
    "two\nlines",
    "%s%n",
    "{0}",
    "'",
    '"',
    "*",
    "[",
    "λ…",
    "\udcff",
    "model.D=1e3",
    "train.steps=-1",
)
HOSTILE += ("sqlite:///", "http://127.0.0.1:9", "postgresql://u:secret@127.0.0.1:9/x", "file:///etc", "x://y")
STUDIES = (
    "recursion_depth",
    "components",
    "latent_features",
    "puzzles",
    "arc_agi",
    "layers",
    "tutorial",
    "my_study.py",
)
SEARCHES = ("lr_wd", "optimiser", "recursion", "my_search.py")
PROFILES = ("mini", "official", "paper")
SETTINGS = ("model.D=16", "model.D=0", "model.T=2", "model.n=-1", "optim.lr=1e-3", "optim.lr=nan", "optim.lr=1e400")
SETTINGS += ("data.train=24", "data.train=99999999999", "data.test=1", "data.side=8", "data.clues=7", "train.steps=6")
SETTINGS += (
    "train.batch_size=7",
    "model.features=single z",
    "model.mixer=attention",
    "model.n_heads=3",
    "data.box_rows=9",
)
SETTINGS += (
    "maze:model.D=16",
    "hrm:optim.lr=1",
    "nothing:model.D=1",
    "train.seed=1",
    "model.D=" + "9" * 400,
    "data.source=files",
)
PLACES = (
    "sets/sudoku",
    "sets/maze",
    "sets/arc",
    "csv/sudoku",
    "csv/maze",
    "tasks",
    "results",
    "model",
    "golden",
    "new",
    "new/deep",
)
CHECKPOINTS = ("model", "model/step_00000006", "results/runs", "sets/sudoku", "imported")

Draw = random.Random


@dataclass(frozen=True)
class Input:
    """A command with its arguments, and the file that is broken before."""

    number: int
    module: str  # "sweeps.run", as `python -m` takes it
    arguments: tuple[str, ...]
    broken: str | None  # a glob, relative to the world's folder; which file of it and how: the seed says
    real: bool  # in a process of its own from the start, else in a copy of one that has loaded the libraries

    def __str__(self) -> str:
        words = [
            argument if len(argument) < 60 else f"{argument[:50]}…({len(argument)})" for argument in self.arguments
        ]
        return f"{self.number}: {self.module} {words!r}" + (f" with {self.broken} broken" if self.broken else "")


def draw_input(seed: int, number: int) -> Input:
    """The input of this number."""
    draw = Draw(f"{seed} {number}")
    module, grammar, weights = draw.choices(COMMANDS, [one[2] for one in COMMANDS])[0]
    arguments = grammar(draw)
    if draw.random() < 0.12:  # a word that nobody expects, somewhere
        arguments.insert(draw.randrange(len(arguments) + 1), draw.choice(HOSTILE))
    broken = draw.choice(FILES[module]) if draw.random() < 0.5 else None
    return Input(number, module, tuple(arguments), broken, draw.random() < 0.04)


def _some(draw: Draw, options: dict[str, Callable[[Draw], Sequence[str]]], share: float = 0.25) -> list[str]:
    """Each option with this chance, in any order."""
    chosen = [name for name in options if draw.random() < share]
    draw.shuffle(chosen)
    return [word for name in chosen for word in (name, *options[name](draw))]


def _one_of(*words: str, hostile: float = 0.15) -> Callable[[Draw], list[str]]:
    return lambda draw: [draw.choice(HOSTILE if draw.random() < hostile else words)]


def _several(*words: str) -> Callable[[Draw], list[str]]:
    return lambda draw: [_one_of(*words)(draw)[0] for _ in range(draw.choice((1, 1, 2, 3)))]


def _nothing(draw: Draw) -> list[str]:
    return []


def _n(*words: str) -> Callable[[Draw], list[str]]:
    return _one_of(*words, "1", "2", "3", hostile=0.3)


# --- each command ----------------------------------------------------------------------------------------------------

WHERE = {
    "--out": _one_of("results", "new", "new/deep", "mlflow.db"),
    "--data": _several(
        "hub",
        "csv/sudoku",
        "csv/maze",
        "csv",
        "tasks",
        "sudoku=csv/sudoku",
        "maze=csv/maze",
        "arc=tasks",
        "sets/sudoku",
    ),
}
RUN = {
    "--profile": _one_of(*PROFILES),
    "--seeds": _n("0-1", "0,2"),
    "--data-seeds": _n(),
    "--set": _several(*SETTINGS),
    "--grid": _several("optim.lr=1e-3,3e-3", "model.D=16,32", "optim.lr=1", "model.T=1,x", "data.test=4,5"),
    "--set-anyway": _nothing,
    "--retry-failed": _nothing,
    "--only": _several("k=1*", "TRM*", "HRM*", "*", "[", "k=9"),
    "--launcher": _one_of("train", "inline"),
    "--workers": _n(),
    "--budget": _one_of("2h", "90m", "$5", "1s", "0h", "1e9h"),
    "--price": _one_of("2", "0.5", "-1", "$3"),
    "--on": _one_of("h100", "a100", "l40s", "rtx4090", "cpu"),
    "--trials": _n(),
    "--optuna-storage": _one_of("sqlite:///optuna.db", "sqlite:///new.db", "optuna.journal"),
    "--yes": _nothing,
    **WHERE,
}
LOOK = (
    "--plan",
    "--plan",
    "--plan",
    "--list",
    "--settings",
    "--print-config",
    "--diff",
    "--explain",
    "--pruning-report",
    "",
)


def _run(draw: Draw) -> list[str]:
    look = draw.choice(LOOK)
    if draw.random() < 0.25:  # what is there already, with something beside it
        known = list(STUDY if draw.random() < 0.6 else SEARCH)
        return [
            *known,
            *_some(draw, {name: RUN[name] for name in ("--seeds", "--yes", "--out", "--retry-failed", "--only")}, 0.15),
        ]
    words = [*_some(draw, RUN, 0.15)]
    if look != "--pruning-report":
        words += ["--study", _one_of(*STUDIES)(draw)[0]] if draw.random() < 0.85 else []
        words += ["--search", _one_of(*SEARCHES)(draw)[0]] if draw.random() < 0.15 else []
        words += ["--tune", _one_of(*SEARCHES)(draw)[0]] if draw.random() < 0.1 else []
    if look in ("--plan", "--list", "--settings"):
        words += [look]
    elif look == "--print-config":
        words += [look, _one_of("TRM k=1, T=1", "one")(draw)[0]]
    elif look == "--diff":
        words += [look, *(_one_of("TRM k=1, T=1", "HRM k=1, T=1")(draw)[0] for _ in range(2))]
    elif look == "--explain":
        words += [look, *(_one_of(*PROFILES)(draw)[0] for _ in range(2))]
    elif look == "--pruning-report":
        words += [look, _one_of(*SEARCHES)(draw)[0]]
    return words


def _status(draw: Draw) -> list[str]:
    study = [_one_of(*STUDIES, "my_search")(draw)[0]] if draw.random() < 0.7 else []
    return ["status", *study, *_some(draw, {"--profile": RUN["--profile"], "--out": WHERE["--out"]})]


def _reports(draw: Draw) -> list[str]:
    options = {
        "--profile": RUN["--profile"],
        "--out": WHERE["--out"],
        "--label": _one_of("all", "lr=0.001", "trial"),
        "--all": _nothing,
        "--set": lambda draw: [*SMALL] if draw.random() < 0.5 else _several(*SETTINGS)(draw),
        "--compare": _several("all", "lr=0.001", "D=16"),
        "--tracking": _one_of("sqlite:///mlflow.db", "sqlite:///new.db", "sqlite:///optuna.db"),
    }
    return [_one_of("recursion_depth", "my_search", "my_study")(draw)[0], *_some(draw, options, 0.2)]


def _evaluate(draw: Draw) -> list[str]:
    options = {
        "--split": _one_of("test", "train", "validation"),
        "--steps": _n("1,2", "2"),
        "--limit": _n("4"),
        "--batch-size": _n("8"),
        "--device": _one_of("cpu", "auto", "cuda"),
        "--diagnostics": _nothing,
        "--json": _one_of("facts.json", "new/facts.json", "sets"),
        "--blank-identifiers": _nothing,
        "--allow-leak": _nothing,
        "--votes": _n(),
        "--out": _one_of("predictions", "sets"),
    }
    if draw.random() < 0.15:
        return [
            "vote",
            *_several("predictions", "results/runs", "sets/arc")(draw),
            "--data",
            _one_of("sets/arc", *PLACES)(draw)[0],
        ]
    return [
        "evaluate",
        _one_of(*CHECKPOINTS)(draw)[0],
        _one_of("results/data/sudoku*", "sets/sudoku", *PLACES)(draw)[0],
        *_some(draw, options, 0.15),
    ]


def _official(draw: Draw) -> list[str]:
    if draw.random() < 0.5:
        options = {"--compiled": _nothing, "--raw": _nothing}
        return [
            "export",
            _one_of(*CHECKPOINTS)(draw)[0],
            _one_of("exported", "new/exported", "sets")(draw)[0],
            *_some(draw, options),
        ]
    told = [
        "model.T=1",
        "model.n=2",
        "model.N_sup=2",
        "model.halting=bce",
        "model.gradient=full recursion",
        "train.precision=fp32",
    ]
    if draw.random() < 0.4:
        told[draw.randrange(len(told))] = draw.choice((*SETTINGS, *HOSTILE))
    options = {"--settings": _one_of("changed.json", "results/runs/*/config.json")}
    return [
        "import",
        _one_of("theirs", "model/step_00000006/weights.safetensors", hostile=0.1)(draw)[0],
        "imported",
        *_some(draw, options),
        "--set",
        *told,
    ]


def _parity(draw: Draw) -> list[str]:
    return [
        _one_of("golden")(draw)[0],
        *_some(draw, {"direct": _nothing, "--own-blas": _nothing, "--rounding": _nothing}, 0.5),
    ]


def _data_prep(draw: Draw) -> list[str]:
    verb = draw.choice(("sudoku", "maze", "arc", "verify", "show"))
    if verb == "verify":
        return [verb, _one_of(*PLACES)(draw)[0]]
    if verb == "show":
        options = {
            "--split": _one_of("test", "train", "validation"),
            "--variant": _n(),
            "--augment": _one_of("recomputed", "published"),
            "--png": _one_of("a.png", "new/a.png", "sets"),
        }
        return [verb, _one_of(*PLACES[:3], hostile=0.1)(draw)[0], _n("0")(draw)[0], *_some(draw, options)]
    of = {
        "sudoku": {
            "--box": _one_of("2x2", "2x3", "3x3", "0x0", "9x9"),
            "--clues": _n("7", "8"),
            "--rating": _one_of("10:50", ":", "5:1"),
            "--verify": _nothing,
        },
        "maze": {"--side": _n("6", "30", "40"), "--least-path": _n("4"), "--verify": _nothing},
        "arc": {
            "--subsets": _several("training", "evaluation", "concept", "training2"),
            "--test-subset": _one_of("evaluation", "training"),
            "--variants": _n("0"),
            "--side": _n("10", "30"),
            "--allow-leak": _nothing,
        },
    }[verb]
    generated = {
        "sudoku": ["--box", "2x2", "--clues", "7"],
        "maze": ["--side", "6", "--least-path", "4"],
        "arc": ["--side", "10", "--variants", "2"],
    }
    source = draw.choice(("generate", "csv/sudoku", "csv/maze", "tasks", "hub", *PLACES, *HOSTILE[:10]))
    words = [verb, "--source", source, "--out", _one_of("new", "sets/sudoku", "new/deep")(draw)[0]]
    few = ["--train", "8", "--validation", "2", "--test", "3"] if draw.random() < 0.8 else []
    sizes = generated[verb] if source == "generate" else []
    return [
        *words,
        *few,
        *sizes,
        *_some(
            draw,
            {**of, "--train": _n("all", "8"), "--validation": _n("0"), "--test": _n("all"), "--seed": _n("0")},
            0.12,
        ),
    ]


def _trial(draw: Draw) -> list[str]:
    return []


COMMANDS = (
    ("sweeps.run", _run, 9),
    ("sweeps.run status", _status, 2),
    ("reports", _reports, 4),
    ("trm_core", _evaluate, 4),
    ("trm_core.official", _official, 3),
    ("trm_core.parity", _parity, 1),
    ("data_prep", _data_prep, 5),
    ("a trial", _trial, 3),
)
RECORDS = (
    "mlflow.db",
    "mlflow.db",
    "mlflow.db",
    "results/mini/**/campaign.json",
    "results/tracking.json",
    "mlruns/**/*.json",
)
PUZZLES = (
    "sets/*/manifest.json",
    "sets/*/*.npy",
    "sets/*/*.json",
    "results/data/*/manifest.json",
    "results/data/*/*.npy",
)
WEIGHTS = ("results/runs/*/checkpoints/*/*", "results/runs/*/checkpoints/*/checkpoint.json", "theirs", "changed.json")
OWN = ("my_study.py", "my_search.py")
FILES: dict[str, tuple[str, ...]] = {
    "sweeps.run": (
        *RECORDS,
        *PUZZLES,
        *OWN,
        "optuna.db",
        "optuna.db",
        "results/runs/*/*",
        "csv/*/*.csv",
        "tasks/**/*.json",
    ),
    "sweeps.run status": RECORDS,
    "reports": (*RECORDS, "optuna.db", "results/runs/*/*"),
    "trm_core": (*PUZZLES, *WEIGHTS),
    "trm_core.official": WEIGHTS,
    "trm_core.parity": ("golden/*.npz",),
    "data_prep": (*PUZZLES, "csv/*/*.csv", "csv/*/*.csv", "tasks/**/*.json"),
    "a trial": (
        "results/runs/*/metrics.jsonl",
        "results/runs/*/metrics.jsonl",
        "results/runs/*/*",
        *WEIGHTS[:2],
        "results/data/*/*",
    ),
}

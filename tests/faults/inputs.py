"""What the fuzzer gives to the commands: plausible options beside hostile ones, on files of which one may be broken.

An input is a function of (seed, number) alone, so a failure is looked at again by its number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.world import SEARCH, SMALL, STUDY

HOSTILE = (
    *("", " ", "-", "--", ".", "..", "/", "~", "/dev/null", "/dev/full", "no/such", "mlflow.db", "csv", "a" * 300),
    *("0", "-1", "1e999", "nan", "9" * 5000, "２", "²", "1.5", "none", "true", "all", "0-4", "5-1", "1,,2", "=", "a=b"),
    *("\x1b[31mred", "two\nlines", "%s%n", "{0}", "'", '"', "*", "[", "λ…", "\udcff", "model.D=1e3", "train.steps=-1"),
    *("sqlite:///", "http://127.0.0.1:9", "postgresql://127.0.0.1:9/x", "file:///etc", "x://y"),
)
STUDIES = "recursion_depth|components|latent_features|puzzles|arc_agi|layers|tutorial|my_study.py"
SEARCHES = "lr_wd|optimiser|recursion|my_search.py"
PROFILES = "mini|official|paper"
SETTINGS = (
    "model.D=16|model.D=0|model.T=2|model.n=-1|optim.lr=1e-3|optim.lr=nan|optim.lr=1e400|data.train=24|data.test=1"
    "|data.train=99999999999|data.side=8|data.clues=7|train.steps=6|train.batch_size=7|model.features=single z"
    "|model.mixer=attention|model.n_heads=3|data.box_rows=9|maze:model.D=16|hrm:optim.lr=1|nothing:model.D=1"
    "|train.seed=1|data.source=files|model.D=" + "9" * 400
)
WITH_A_PASSWORD = "http://me:secret@127.0.0.1:9|postgresql://me:secret@127.0.0.1:9/x"
SETS = "sets/sudoku|sets/maze|sets/arc"
CLUSTERS = "cluster.yaml|cluster/onprem.yaml|cluster/slurm.sbatch|cluster/kuberay.yaml|mlflow.db"
PLACES = f"{SETS}|csv/sudoku|csv/maze|tasks|results|model|golden|new|new/deep"
CHECKPOINTS = "model|model/step_00000006|results/runs|sets/sudoku|imported"

Draw = random.Random
Words = Callable[[Draw], list[str]]  # what follows an option


@dataclass(frozen=True)
class Input:
    """A command with its arguments, and the file that is broken before."""

    number: int
    module: str  # "sweeps.run", as `python -m` takes it
    arguments: tuple[str, ...]
    broken: str | None  # a glob, relative to the world's folder; which file of it and how: the seed says
    real: bool  # in a process of its own from the start, else in a copy of one that has loaded the libraries

    def __str__(self) -> str:
        words = [word if len(word) < 60 else f"{word[:50]}…({len(word)})" for word in self.arguments]
        return f"{self.number}: {self.module} {words!r}" + (f" with {self.broken} broken" if self.broken else "")


def draw_input(seed: int, number: int) -> Input:
    """The input of this number."""
    draw = Draw(f"{seed} {number}")
    module = draw.choices(list(COMMANDS), [weight for _, weight in COMMANDS.values()])[0]
    arguments = COMMANDS[module][0](draw)
    if draw.random() < 0.12:  # a word that nobody expects, somewhere
        arguments.insert(draw.randrange(len(arguments) + 1), draw.choice(HOSTILE))
    broken = draw.choice(FILES[module]) if draw.random() < 0.5 else None
    return Input(number, module, tuple(arguments), broken, draw.random() < 0.04)


def one(words: str, hostile: float = 0.15) -> Words:
    """One of these, "a|b|c", or with this chance a hostile one."""
    return lambda draw: [draw.choice(HOSTILE if draw.random() < hostile else words.split("|"))]


def several(words: str) -> Words:
    """One to three of these."""
    return lambda draw: [word for _ in range(draw.choice((1, 1, 2, 3))) for word in one(words)(draw)]


def count(words: str = "1") -> Words:
    """A small number, one of these, or often a hostile one."""
    return one(f"{words}|1|2|3", hostile=0.3)


def nothing(draw: Draw) -> list[str]:
    """An option that stands alone."""
    return []


def some(draw: Draw, options: Mapping[str, Words], share: float = 0.2) -> list[str]:
    """Each option with this chance, in any order."""
    chosen = [name for name in options if draw.random() < share]
    draw.shuffle(chosen)
    return [word for name in chosen for word in (name, *options[name](draw))]


def either(draw: Draw, share: float, words: Words) -> Sequence[str]:
    """These words, with this chance."""
    return words(draw) if draw.random() < share else ()


# --- each command ----------------------------------------------------------------------------------------------------

RUN: dict[str, Words] = {
    "--profile": one(PROFILES),
    "--seeds": count("0-1|0,2"),
    "--data-seeds": count(),
    "--set": several(SETTINGS),
    "--grid": several("optim.lr=1e-3,3e-3|model.D=16,32|optim.lr=1|model.T=1,x|data.test=4,5"),
    "--set-anyway": nothing,
    "--retry-failed": nothing,
    "--only": several("k=1*|TRM*|HRM*|*|[|k=9"),
    "--launcher": one("train|inline"),
    "--workers": count(),
    "--budget": one("2h|90m|$5|1s|0h|1e9h"),
    "--price": one("2|0.5|-1|$3"),
    "--on": one("h200|h100|a100|l40s|rtx4090|cpu"),
    "--trials": count(),
    "--optuna-storage": one(f"sqlite:///optuna.db|sqlite:///new.db|optuna.journal|{WITH_A_PASSWORD}"),
    "--yes": nothing,
    "--gpus": count("0"),
    "--wait": count("0|-1|nan"),
    "--gpus-per-run": one("auto|0.5|1|0|2"),
    "--shard": one("1/2|2/2|3/2|0/1|1/9999999"),
    "--ship-code": nothing,
    "--bring": one("results|new"),
    "--out": one("results|new|new/deep|mlflow.db"),
    "--data": several(
        "hub|csv/sudoku|csv/maze|csv|tasks|sudoku=csv/sudoku|maze=csv/maze|arc=tasks|sets/sudoku|sudoku=sets/sudoku"
    ),
}
AGAIN = {name: RUN[name] for name in ("--seeds", "--yes", "--out", "--retry-failed", "--only")}
LOOK: dict[str, Words] = {
    "--plan": nothing,
    "--list": nothing,
    "--settings": nothing,
    "--print-config": one("TRM k=1, T=1|one"),
    "--diff": lambda draw: [*one("TRM k=1, T=1|one")(draw), *one("HRM k=1, T=1|two")(draw)],
    "--explain": lambda draw: [*one(PROFILES)(draw), *one(PROFILES)(draw)],
    "--pruning-report": one(SEARCHES),
    "--check": nothing,
}
THERE: dict[str, Words] = {  # a cluster to which there is no way
    "--submit": lambda draw: [*either(draw, 0.9, one(f"me@127.0.0.1|ssh://me@127.0.0.1:9|ssh://[::1|{CLUSTERS}"))],
    "--attach": lambda draw: [*either(draw, 0.5, one("trm-recursion_depth-0123456789-1"))],
}


def _run(draw: Draw) -> list[str]:
    if draw.random() < 0.06:
        words = [*some(draw, THERE, 0.6), *some(draw, RUN, 0.1), *either(draw, 0.9, one("--out=/new"))]
        return [*words, *either(draw, 0.6, lambda _: ["--study", "recursion_depth", "--profile", "mini"])]
    if draw.random() < 0.25:  # what is there already, with something beside it
        return [*(STUDY if draw.random() < 0.6 else SEARCH), *some(draw, AGAIN, 0.15)]
    look = draw.choice([*LOOK, "--plan", "--plan", ""])
    words = some(draw, RUN, 0.15)
    if look != "--pruning-report":
        for name, share, of in (("--study", 0.85, STUDIES), ("--search", 0.15, SEARCHES), ("--tune", 0.1, SEARCHES)):
            words += [name, *one(of)(draw)] if draw.random() < share else ()
    return [*words, look, *LOOK[look](draw)] if look else words


def _status(draw: Draw) -> list[str]:
    return ["status", *either(draw, 0.7, one(f"{STUDIES}|my_search")), *some(draw, {n: RUN[n] for n in STATUS})]


STATUS = ("--profile", "--out")


def _reports(draw: Draw) -> list[str]:
    options: dict[str, Words] = {
        **{name: RUN[name] for name in STATUS},
        "--label": one("all|lr=0.001|trial"),
        "--all": nothing,
        "--set": lambda draw: [*SMALL] if draw.random() < 0.5 else several(SETTINGS)(draw),
        "--compare": several("all|lr=0.001|D=16"),
        "--tracking": one(f"sqlite:///mlflow.db|sqlite:///new.db|sqlite:///optuna.db|{WITH_A_PASSWORD}"),
    }
    if draw.random() < 0.15:  # `watch` goes on until all runs have ended: nothing says when
        of = one("results/runs|0123456789abcdef|facts.npz|golden/direct.npz")
        return ["pair", *of(draw), *of(draw), *some(draw, {"--out": RUN["--out"]})]
    return [*one("recursion_depth|my_search|my_study")(draw), *some(draw, options)]


def _every_report(draw: Draw) -> list[str]:
    options: dict[str, Words] = {
        **{name: RUN[name] for name in STATUS},
        "--tracking": one("sqlite:///mlflow.db|sqlite:///new.db"),
        "--check": lambda draw: [*either(draw, 0.5, one("results|new"))],
    }
    return ["all", *some(draw, options, 0.3)]


def _evaluate(draw: Draw) -> list[str]:
    options: dict[str, Words] = {
        "--split": one("test|train|validation"),
        "--steps": count("1,2"),
        "--limit": count("4"),
        "--batch-size": count("8"),
        "--device": one("cpu|auto|cuda"),
        "--diagnostics": nothing,
        "--json": one("facts.json|new/facts.json|sets"),
        "--blank-identifiers": nothing,
        "--allow-leak": nothing,
        "--votes": count(),
        "--out": one("predictions|sets"),
        "--halt": one("never|settled|both"),
        "--unchanged": count(),
        "--outcomes": one("facts.npz|new/facts.npz|sets"),
    }
    if draw.random() < 0.15:
        kept = {name: options[name] for name in ("--out", "--json")}
        folders = several("predictions|results/runs|sets/arc")(draw)
        return ["vote", *folders, "--data", *one(PLACES)(draw), *some(draw, kept)]
    if draw.random() < 0.2:
        return _solve(draw, options)
    return ["evaluate", *one(CHECKPOINTS)(draw), *one(f"sets/sudoku|{PLACES}")(draw), *some(draw, options, 0.15)]


def _solve(draw: Draw, of_evaluate: Mapping[str, Words]) -> list[str]:
    options = {name: of_evaluate[name] for name in ("--split", "--steps", "--device", "--allow-leak")}
    drawn = {f"--{name}": one(f"a.{name}|new/a.{name}|sets") for name in ("png", "gif", "html")}
    of = several(f"sets/sudoku|0|1|99|{'.' * 16}|{'1' * 16}|{PLACES}")
    return ["solve", *one(CHECKPOINTS)(draw), *of(draw), *some(draw, {**options, **drawn, "--strip": drawn["--png"]})]


def _cluster(draw: Draw) -> list[str]:
    """Files are looked at; `up`, `status` and `down` begin with that, and then leave this machine."""
    return ["check", *several(CLUSTERS)(draw), *some(draw, {"--budget": one("50|$5|0|1e9")}, 0.3)]


def _official(draw: Draw) -> list[str]:
    if draw.random() < 0.5:
        options = {"--compiled": nothing, "--raw": nothing}
        return ["export", *one(CHECKPOINTS)(draw), *one("exported|new/exported|sets")(draw), *some(draw, options)]
    told = ["model.T=1", "model.n=2", "model.N_sup=2", "model.halting=bce", "train.precision=fp32"]
    told += ["model.gradient=full recursion"]
    if draw.random() < 0.4:
        told[draw.randrange(len(told))] = draw.choice((*SETTINGS.split("|"), *HOSTILE))
    state = one("theirs|model/step_00000006/weights.safetensors", hostile=0.1)(draw)
    return ["import", *state, "imported", *some(draw, {"--settings": one("changed.json|theirs")}), "--set", *told]


def _parity(draw: Draw) -> list[str]:
    return [*one("golden")(draw), *some(draw, {"direct": nothing, "--own-blas": nothing, "--rounding": nothing}, 0.5)]


SIZES = {
    "sudoku": ("--box", "2x2", "--clues", "7"),
    "maze": ("--side", "6", "--least-path", "4"),
    "arc": ("--side", "10", "--variants", "2"),
}
BUILD: dict[str, dict[str, Words]] = {
    "sudoku": {
        "--box": one("2x2|2x3|3x3|0x0|9x9"),
        "--clues": count("7|8"),
        "--rating": one("10:50|:|5:1"),
        "--verify": nothing,
    },
    "maze": {"--side": count("6|30|40"), "--least-path": count("4"), "--verify": nothing},
    "arc": {
        "--subsets": several("training|evaluation|concept|training2"),
        "--test-subset": one("evaluation|training"),
        "--variants": count("0"),
        "--side": count("10|30"),
        "--allow-leak": nothing,
    },
}


def _data_prep(draw: Draw) -> list[str]:
    verb = draw.choice((*BUILD, "verify", "show"))
    if verb == "verify":
        return [verb, *one(PLACES)(draw)]
    if verb == "show":
        options: dict[str, Words] = {
            "--split": one("test|train|validation"),
            "--variant": count(),
            "--augment": one("recomputed|published"),
            "--png": one("a.png|new/a.png|sets"),
        }
        return [verb, *one(SETS)(draw), *count("0")(draw), *some(draw, options)]
    (source,) = one(f"generate|generate|csv/sudoku|csv/maze|tasks|hub|{PLACES}")(draw)
    words = [verb, "--source", source, "--out", *one("new|sets/sudoku|new/deep")(draw)]
    if draw.random() < 0.8:
        words += ["--train", "8", "--validation", "2", "--test", "3"]
    words += SIZES[verb] if source == "generate" else ()
    more = {"--train": count("all"), "--validation": count("0"), "--test": count("all"), "--seed": count("0")}
    return [*words, *some(draw, {**BUILD[verb], **more}, 0.12)]


def _trial(draw: Draw) -> list[str]:
    return []


COMMANDS: dict[str, tuple[Words, float]] = {  # each with its weight
    "sweeps.run": (_run, 9),
    "sweeps.run status": (_status, 2),
    "reports": (_reports, 4),
    "reports all": (_every_report, 1),
    "trm_core": (_evaluate, 4),
    "trm_core.official": (_official, 3),
    "trm_core.parity": (_parity, 1),
    "data_prep": (_data_prep, 5),
    "sweeps.cluster": (_cluster, 1),
    "a trial": (_trial, 3),
}
DOCUMENTS = ("results/mini/**/campaign.json", "results/tracking.json", "mlruns/**/*.json")
RECORDS = ("mlflow.db", "mlflow.db", "mlflow.db", *DOCUMENTS)
PUZZLES = ("sets/*/manifest.json", "sets/*/*.npy", "sets/*/*.json", "results/data/*/manifest.json", "results/data/*/*")
WEIGHTS = ("results/runs/*/checkpoints/*/*", "results/runs/*/checkpoints/*/checkpoint.json", "theirs", "changed.json")
SOURCES = ("csv/*/*.csv", "csv/*/*.csv", "tasks/**/*.json")
OWN = ("my_study.py", "my_search.py", "optuna.db", "optuna.db", "results/runs/*/*")
JOURNALS = ("results/runs/*/metrics.jsonl", "results/runs/*/metrics.jsonl", "results/runs/*/*")
FILES: dict[str, tuple[str, ...]] = {
    "sweeps.run": (*RECORDS, *PUZZLES, *OWN, *SOURCES, "cluster.yaml"),
    "sweeps.run status": RECORDS,
    "reports": (*RECORDS, "optuna.db", "results/runs/*/*"),
    "reports all": (*RECORDS, "results/mini/**/*"),
    "trm_core": (*PUZZLES, *WEIGHTS),
    "trm_core.official": WEIGHTS,
    "trm_core.parity": ("golden/*.npz",),
    "data_prep": (*PUZZLES, *SOURCES),
    "sweeps.cluster": ("cluster.yaml", "cluster/*"),
    "a trial": (*JOURNALS, *WEIGHTS[:2], "results/data/*/*"),
}

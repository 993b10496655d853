"""ARC tasks as files hold them: the Kaggle format and the GitHub format, checked grid by grid."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.building import BadPuzzleFile, BadSettings
from data_prep.puzzle_set import MANIFEST

U8 = NDArray[np.uint8]
Pair = tuple[U8, U8]  # an input and its output, colours [rows, columns] each
LICENCES = {
    "training": "Apache-2.0",
    "evaluation": "Apache-2.0",
    "training2": "Apache-2.0",
    "evaluation2": "Apache-2.0",
    "concept": "MIT",
}
SUBSETS = tuple(LICENCES)  # ARC-AGI-1, ARC-AGI-2, ConceptARC
N_COLOURS = 10
LONGEST_NAME = 64
# Where a subset comes from: the repository, the folder in it, and what that holds, in words.
HOMES = {
    "training": ("ARC-AGI", "training", "ARC-AGI-1's training tasks"),
    "evaluation": ("ARC-AGI", "evaluation", "ARC-AGI-1's evaluation tasks"),
    "training2": ("ARC-AGI-2", "training", "ARC-AGI-2's public training tasks"),
    "evaluation2": ("ARC-AGI-2", "evaluation", "ARC-AGI-2's public evaluation tasks"),
    "concept": ("ConceptARC", "corpus", "ConceptARC's tasks"),
}
CLONES = {"arcagi": "ARC-AGI", "arcagi1": "ARC-AGI", "arcagi2": "ARC-AGI-2", "conceptarc": "ConceptARC"}
# tasks_hash() of the tasks as they were published; of evaluation2 as of 14 April 2025, of which the paper's numbers are
KNOWN: dict[str, str] = {
    "b2fa984b5b4ca059596acf70f708e5a60d38b9871fde6e67936aeb86f5c0514f": "training",
    "1280f75aa6c785676dbfa9b6936583b77725d6ca3bb64df2a9042e8942e9cdbe": "evaluation",
    "26394a5ae0abcc35c250cff161b667be6228bc8d27e69ac3c098d953e3d61029": "training2",
    "b7598e0b9c5b2a24cf734b85a86309e802196b81896faf3380fb58f7ed84c64b": "evaluation2",
    "86b041e9bff67ac6e4d932952a6c305653e19e835e72e94d7d2af38a91094e09": "concept",
}


@dataclass(frozen=True, eq=False)
class Task:
    """A task: its demonstrations show a rule, its tests ask for the rule's answers."""

    subset: str
    name: str
    demonstrations: tuple[Pair, ...]
    tests: tuple[Pair, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, the demonstrations first."""
        return self.demonstrations + self.tests


def check_subsets(subsets: Sequence[str]) -> None:
    """Raises BadSettings for a subset that there is none of, or that is named twice."""
    for subset in subsets:
        if subset not in SUBSETS:
            raise BadSettings(
                f"subset {subset!r}: expected some of {', '.join(SUBSETS)} (data.subsets, data.test_subset; --subsets, "
                "--test-subset)"
            )
        if list(subsets).count(subset) > 1:
            raise BadSettings(f"subset {subset!r}: named twice, expected once; leave one out (data.subsets; --subsets)")


def find_files(source: Path, subsets: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """The files of each subset: challenges and solutions (Kaggle format), or a file a task (GitHub format).

    Kaggle: *_SUBSET_challenges.json and *_SUBSET_solutions.json; for training2 and evaluation2 also under ARC-AGI-1's
    names, as in 2025. GitHub: data/SUBSET/*.json, a clone of a repository, or clones side by side (CLONES). What is
    hidden is no task. Raises BadPuzzleFile where a subset has neither, or more than one of it.
    """
    if not source.is_dir():
        raise BadPuzzleFile(
            f"{source}: {'a file' if source.exists() else 'missing'}, expected a folder with "
            f"*_{subsets[0]}_challenges.json or data/{subsets[0]}; give that folder (--data, --source)"
        )
    if (source / MANIFEST).is_file():
        raise BadPuzzleFile(
            f"{source}: a puzzle set, built already, expected a folder of tasks; give the set itself where puzzles are"
            " wanted (sweeps/run.py --data, python -m trm_core evaluate), or the tasks here"
        )
    return {subset: _files_of(source, subset) for subset in subsets}


def _files_of(source: Path, subset: str) -> tuple[Path, ...]:
    repository, inside, what = HOMES[subset]
    folders = _folders(source, subset)
    own = _challenges(source, subset)
    challenges = own or ([] if folders or inside == subset else _challenges(source, inside))
    if len(challenges) > 1:
        raise BadPuzzleFile(
            f"{source}: {len(challenges)} files *_{subset}_challenges.json ({', '.join(p.name for p in challenges)}), "
            "expected one; move the others away"
        )
    if challenges:
        solutions = challenges[0].with_name(challenges[0].name.replace("_challenges.json", "_solutions.json"))
        if not solutions.is_file():
            raise BadPuzzleFile(
                f"{solutions}: missing, expected the answers to the tests of {challenges[0].name}; fetch it too"
            )
        return challenges[0], solutions
    if len(folders) > 1:
        raise BadPuzzleFile(
            f"{source}: {len(folders)} folders for subset {subset} ({', '.join(map(str, folders))}), expected one; "
            "give one of them alone (--data, --source), or move the others away"
        )
    if not folders:
        looks_like = _repository(source)
        if looks_like not in (None, repository):
            others = [name for name, (home, *_) in HOMES.items() if home == looks_like]
            raise BadPuzzleFile(
                f"{source}: looks like a clone of {looks_like}, expected {what} for subset {subset}; ask for what it "
                f"holds (--subsets {' '.join(others)} --test-subset {others[-1]}; data.subsets, data.test_subset), or "
                f"give a folder with {repository}"
            )
        raise BadPuzzleFile(
            f"{source}: neither *_{subset}_challenges.json nor a folder data/{subset}, {subset} or {repository} "
            f"(a clone), expected one of them for subset {subset}; give the folder that holds it (--data, --source), "
            "or other subsets (--subsets)"
        )
    files = sorted(path for path in folders[0].rglob("*.json") if not _is_hidden(path.relative_to(folders[0])))
    if not files:
        raise BadPuzzleFile(f"{folders[0]}: no *.json in it, expected a file for each task; fetch the folder again")
    return tuple(files)


def _challenges(source: Path, subset: str) -> list[Path]:
    """The files of challenges in the Kaggle format that are called by this subset's name."""
    return sorted(path for path in source.glob(f"*_{subset}_challenges.json") if not _is_hidden(Path(path.name)))


def _folders(source: Path, subset: str) -> list[Path]:
    """The folders of a subset in the GitHub format: below the source, or in clones beside one another there."""
    repository, inside, _ = HOMES[subset]
    own = _repository(source)
    theirs = {folder for home, folder, _ in HOMES.values() if home == own}
    called = inside if own == repository else None if subset in theirs else subset
    places = [] if called is None else [source / "data" / called, source / called]
    clones = [one for one in sorted(source.iterdir()) if not _is_hidden(Path(one.name)) and _clone(one) == repository]
    places += [place for clone in clones for place in (clone / "data" / inside, clone / inside)]
    return [place for place in places if place.is_dir()]


def _repository(folder: Path) -> str | None:
    """The repository that a folder, or the one whose data it is, is a clone of by its name; None for any other name."""
    folder = folder.absolute()
    return _clone(folder) or (_clone(folder.parent) if folder.name == "data" else None)


def _clone(folder: Path) -> str | None:
    """The repository that a folder is called after, in any spelling: ARC-AGI-2, ARC_AGI_2, ARC-AGI-2-main."""
    name = re.sub(r"[-_ .]", "", folder.name.lower())
    return CLONES.get(re.sub(r"(main|master)$", "", name))


def _is_hidden(path: Path) -> bool:
    """Whether a path below a source leads through anything whose name begins with a dot (.ipynb_checkpoints, ._x)."""
    return any(part.startswith(".") for part in path.parts)


# --- which tasks they are ---


def tasks_hash(tasks: Iterable[Task]) -> str:
    """SHA-256 over what tasks hold, in any order of tasks and pairs and under any name."""
    digests = []
    for task in tasks:
        parts = (sorted(map(_digest, part)) for part in (task.demonstrations, task.tests))
        digests.append(hashlib.sha256(b"|".join(b"".join(part) for part in parts)).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _digest(pair: Pair) -> bytes:
    return hashlib.sha256(b"".join(bytes(grid.shape) + grid.tobytes() for grid in pair)).digest()


def say_which(subset: str, tasks: Sequence[Task]) -> tuple[bool, str]:
    """(whether these are the published tasks of a subset, what they are in words), by what they hold."""
    found = tasks_hash(tasks)
    known = KNOWN.get(found)
    if known == subset:
        return True, HOMES[subset][2]
    if known is None:
        n = f"{len(tasks):,} {'task' if len(tasks) == 1 else 'tasks'}"
        return False, f"own files for {subset} ({n}, hash {found[:12]}), not {HOMES[subset][2]}"
    return False, f"{HOMES[known][2]} for {subset}, not {HOMES[subset][2]} (subset {known} stands for these)"


def read_tasks(subset: str, contents: Mapping[Path, bytes], side: int) -> list[Task]:
    """The tasks of a subset's files (of find_files, with what they hold), by name.

    side: no grid may have more rows or columns. Raises BadPuzzleFile with file, task and pair of the first offence.
    """
    first, *others = contents
    if first.name.endswith("_challenges.json"):
        tasks = _from_kaggle(subset, first, contents[first], others[0], contents[others[0]], side)
    else:
        tasks = [
            _task(subset, path.stem, _parse(path, data), f"{path}, task {path.stem}", side)
            for path, data in contents.items()
        ]
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise BadPuzzleFile(
                f"{first.parent}: two tasks of subset {subset} are called {name}, expected one; see both"
            )
        if not (name.isascii() and name.isprintable()) or not 0 < len(name) <= LONGEST_NAME:
            raise BadPuzzleFile(
                f"{first}, task {name!r}: expected a name of 1 to {LONGEST_NAME} printable ASCII characters; call it "
                "otherwise"
            )
    if first.name.endswith("_challenges.json") and not first.name.endswith(f"_{subset}_challenges.json"):
        is_published, which = say_which(subset, tasks)
        if not is_published:
            raise BadPuzzleFile(
                f"{first}: {which}; give the folder that holds those (--data, --source), or other subsets (--subsets)"
            )
    return sorted(tasks, key=lambda task: task.name)


def _from_kaggle(subset: str, path: Path, data: bytes, answers: Path, answers_data: bytes, side: int) -> list[Task]:
    """The tasks of a file of challenges, with the outputs of their tests from a file of solutions."""
    challenges, solutions = _parse(path, data), _parse(answers, answers_data)
    for file, content in ((path, challenges), (answers, solutions)):
        if not isinstance(content, dict) or not content:
            raise BadPuzzleFile(f"{file}: {_kind(content)}, expected an object of tasks by name; fetch the file again")
    for name in solutions.keys() - challenges.keys():
        raise BadPuzzleFile(
            f"{answers}, task {name}: no such task in {path.name}, expected the same tasks in both files"
        )
    tasks = []
    for name, content in challenges.items():
        where = f"{path}, task {name}"
        _check_task(content, where)
        found = solutions.get(name)
        if not isinstance(found, list) or len(found) != len(content["test"]):
            n = f"{len(found)} solutions" if isinstance(found, list) else "no solutions"
            raise BadPuzzleFile(
                f"{answers}, task {name}: {n}, expected {len(content['test'])}, one for each test of {path.name}; "
                "fetch both files again"
            )
        tests = [
            {"input": _of(pair, "input", f"{where}, test pair {i}"), "output": output}
            for i, (pair, output) in enumerate(zip(content["test"], found, strict=True), 1)
        ]
        tasks.append(_task(subset, name, {"train": content["train"], "test": tests}, where, side))
    return tasks


def _parse(path: Path, data: bytes) -> Any:
    """The JSON of a file."""
    if not data.strip():
        raise BadPuzzleFile(f"{path}: an empty file, expected JSON; fetch the file again")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=lambda pairs: _object(path, pairs))
    except UnicodeDecodeError as error:
        raise BadPuzzleFile(f"{path}: byte {error.start} is not UTF-8, expected JSON; fetch the file again") from error
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        cut = error.pos >= len(data.decode("utf-8").rstrip())
        found, expected = ("the file ends", "the rest of it") if cut else ("no JSON", "JSON")
        raise BadPuzzleFile(f"{where}: {found} ({error.msg}), expected {expected}; fetch the file again") from error
    except BadPuzzleFile:
        raise
    except ValueError as error:  # what the language refuses to read, a number of thousands of digits
        raise BadPuzzleFile(f"{path}: {error}, expected colours, 0 to 9; fetch the file again") from error
    except RecursionError as error:
        raise BadPuzzleFile(f"{path}: brackets nested too deeply, expected tasks; fetch the file again") from error


def _object(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a file, none of whose names stands twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadPuzzleFile(f"{path}: {twice!r} stands twice in an object, expected once; remove one of the two")
    return content


def _task(subset: str, name: str, content: Any, where: str, side: int) -> Task:
    _check_task(content, where)
    parts = {
        part: tuple(
            (
                _grid(pair, "input", f"{where}, {part} pair {i}", side),
                _grid(pair, "output", f"{where}, {part} pair {i}", side),
            )
            for i, pair in enumerate(content[part], 1)
        )
        for part in ("train", "test")
    }
    _check_answers(parts, where)
    return Task(subset, name, parts["train"], parts["test"])


def _check_answers(parts: Mapping[str, Sequence[Pair]], where: str) -> None:
    """Raises BadPuzzleFile where an input has two different outputs."""
    answers: dict[str, tuple[str, list[list[int]]]] = {}
    for part, pairs in parts.items():
        for i, (question, answer) in enumerate(pairs, 1):
            place, earlier = answers.setdefault(str(question.tolist()), (f"{part} pair {i}", answer.tolist()))
            if earlier != answer.tolist():
                raise BadPuzzleFile(
                    f"{where}, {part} pair {i}: another output than that of {place}, whose input is the same, expected "
                    "one answer to an input; correct the file"
                )


def _check_task(content: Any, where: str) -> None:
    for part in ("train", "test"):
        pairs = content.get(part) if isinstance(content, dict) else None
        if not isinstance(pairs, list) or not pairs:
            raise BadPuzzleFile(
                f'{where}: no pairs under "{part}", expected {{"train": [pairs], "test": [pairs]}}; correct the file'
            )


def _of(pair: Any, part: str, where: str) -> Any:
    """The input or the output of a pair (of a test: its solution)."""
    if not isinstance(pair, dict) or part not in pair:
        raise BadPuzzleFile(f"{where}: no {part}, expected one; correct the file")
    return pair[part]


def _grid(pair: Any, part: str, where: str, side: int) -> U8:
    """A grid, checked: a rectangle of colours 0 .. 9 of at most side x side, uint8 [rows, columns]."""
    grid, where = _of(pair, part, where), f"{where}, {part}"
    if not isinstance(grid, list) or not grid or not all(isinstance(row, list) for row in grid):
        raise BadPuzzleFile(f"{where}: {_kind(grid)}, expected rows of colours; correct the file")
    if not grid[0]:
        raise BadPuzzleFile(f"{where}: no cells in row 1, expected colours; correct the file")
    n_columns = len(grid[0])
    for r, row in enumerate(grid):
        if len(row) != n_columns:
            raise BadPuzzleFile(
                f"{where}: row {r + 1} has {len(row)} cells, expected {n_columns}, as the first row "
                "has; correct the file"
            )
    if len(grid) > side or n_columns > side:
        raise BadPuzzleFile(
            f"{where}: {len(grid)}x{n_columns} cells, expected at most {side}x{side}; "
            f"{'leave the task out' if side >= 30 else 'ask for a larger canvas (data.side; --side)'}"
        )
    for r, row in enumerate(grid):
        for c, colour in enumerate(row):
            if type(colour) is not int or not 0 <= colour < N_COLOURS:
                raise BadPuzzleFile(
                    f"{where}: {json.dumps(colour)[:30]} at row {r + 1}, column {c + 1}, expected a "
                    "colour, 0 to 9; correct the file"
                )
    return np.array(grid, dtype=np.uint8)


def _kind(content: Any) -> str:
    """What something is, in JSON's words."""
    if isinstance(content, (dict, list)) and not content:
        return "nothing in it"
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return kinds.get(type(content), "null")

"""ARC-AGI: tasks as a PuzzleSet of originals and the codes of their variants; what is drawn from it, and back again.

A set holds every pair of grids once, untouched. A variant of a task (colours 1 .. 9 permuted, then one of the eight
moves) is a number, its code, listed under an identifier of its own; a grid of it is made when it is drawn. Which
variants a task has is a pure function of the seed and the task's name; no two of them are the same task.
"""

import functools
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep import arc_kernels as kernels
from data_prep.arc_generate import generate
from data_prep.arc_tasks import LICENCES, N_COLOURS, Pair, Task, check_subsets, find_files, read_tasks, say_which
from data_prep.building import (
    PURPOSE_TEST,
    PURPOSE_TRAIN,
    BadPuzzleFile,
    BadSettings,
    check_count,
    named,
    plain,
    reuse,
)
from data_prep.counter_hash import draws, mix, shuffled, states
from data_prep.files import read_bytes
from data_prep.puzzle_set import SPLITS, Groups, PuzzleError, PuzzleSet, Split
from data_prep.sources import no_hub_for_arc
from data_prep.unfinished import remove_unfinished

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
BUILDER = 1  # raise it when equal settings begin to give other sets
VOCAB = N_COLOURS + 2  # 0 pad, 1 end mark, colour c is c + 2
SMALLEST_SIDE, SIDE = 3, 30  # SIDE: the published one, and what a submission may have at most
MOST_VARIANTS = 100_000
N_CODES = kernels.N_MOVES * kernels.N_PERMUTATIONS
TRIALS = 5  # for each variant asked for, so many candidates at most
PURPOSE_SHIFT, PURPOSE_UNSHIFTED = 3, 4
# ARC-AGI-1 asks one task in both of its halves; the published protocol has it so, so it is told and not refused
TWICE_IN_ARC_1 = {("training", "40853293"), ("evaluation", "070dd51e")}
FEW = 8  # so many names an error lists in full
WHAT_ABOUT_LEAKS = (
    "expected none; leave a subset out (data.subsets; --subsets), or have every report say so (data.allow_leak=true; "
    "--allow-leak)"
)


class Leaks(PuzzleError):
    """A task to be tested is learnt from under another subset, or its answer is shown by another task."""


# --- a grid as tokens, a grid as bytes ---


def lay(grid: U8, side: int) -> U8:
    """Colours [rows, columns] in the top left corner of a canvas of tokens [side * side], end marks below and right."""
    rows, columns = grid.shape
    canvas = np.zeros((side, side), dtype=np.uint8)
    canvas[:rows, :columns] = grid + kernels.FIRST_COLOUR
    canvas[rows : rows + 1, :columns] = kernels.END
    canvas[:rows, columns : columns + 1] = kernels.END
    return canvas.reshape(-1)


def pack(grid: U8) -> bytes:
    """A grid [rows, columns] as bytes: rows, columns, then its colours row by row."""
    return bytes(grid.shape) + np.ascontiguousarray(grid).tobytes()


def unpack(packed: bytes) -> U8:
    """The grid that pack() packed, uint8 [rows, columns]."""
    return np.frombuffer(packed, dtype=np.uint8, offset=2).reshape(packed[0], packed[1])


# --- variants ---


@functools.lru_cache
def _keys(side: int) -> tuple[U64, U64]:
    """Random 64-bit keys: of the cells of an input and an output [2, side, side], of the colours [10]."""
    numbers = mix(np.arange(2 * side * side + N_COLOURS, dtype=np.uint64))
    return numbers[N_COLOURS:].reshape(2, side, side), numbers[:N_COLOURS]


def candidate_codes(name: str, n: int, *, seed: int) -> I64:
    """The codes tried one after the other for a task's variants, uniform, by (seed, name) alone: int64 [n]."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little", signed=True)
    drawn = draws(states(seed, np.array([number], dtype=np.int64)), n)[0] >> np.uint64(32)
    codes: I64 = (drawn * np.uint64(N_CODES) >> np.uint64(32)).astype(np.int64)
    return codes


def variant_codes(task: Task, variants: int, *, seed: int) -> I64:
    """The codes of a task and of its variants, the original first: int64 [1 + variants], fewer if no more are found.

    As in the released builder: TRIALS candidates at most are tried for each variant asked for, and one whose pairs are
    those of an earlier one, in any order, is left out.
    """
    side = max(max(grid.shape) for pair in task.pairs for grid in pair)
    keys, values = _keys(side)
    weights = np.zeros((len(task.pairs), kernels.N_MOVES, N_COLOURS), dtype=np.uint64)
    for weight, pair in zip(weights, task.pairs, strict=True):
        for grid, cells in zip(pair, keys, strict=True):
            kernels.weigh(grid, cells, weight)
    codes = np.concatenate([np.zeros(1, dtype=np.int64), candidate_codes(task.name, TRIALS * variants, seed=seed)])
    hashes = np.empty(len(codes), dtype=np.uint64)
    kernels.hash_variants(weights, values, codes, hashes)
    _, first = np.unique(hashes, return_index=True)
    return codes[np.sort(first)[: variants + 1]]


def n_variants(groups: Groups, puzzle_ids: I32) -> I64:
    """How many identifiers the task of each identifier [B] has, the original counted: int64 [B]."""
    group = groups.of(puzzle_ids)
    assert (group >= 0).all(), "the blank identifier belongs to no task"
    return (groups.starts[group + 1] - groups.starts[group]).astype(np.int64)


def draw_arc(
    split: Split, groups: Groups, examples: I64, variants: I64, *, side: int, seed: int, translate: bool
) -> tuple[U8, U8, I32]:
    """Variants [B] of examples [B] of a split: inputs, labels uint8 [B, L] and their identifiers int32 [B].

    translate: both grids are shifted alike, uniformly over the space that the larger leaves on the canvas; by how much
    is fixed by (seed, identifier, example). One example of each task and variant, fixed too, stays where it is.
    """
    originals = split.puzzle_ids[examples]
    ids = (originals + variants).astype(np.int32)
    shifts = np.zeros((len(examples), 2), dtype=np.uint64)
    if translate:
        first = np.searchsorted(split.puzzle_ids, originals, side="left")
        n_examples = np.searchsorted(split.puzzle_ids, originals, side="right") - first
        counter = ids.astype(np.int64)
        coin = mix(states(seed, np.full(len(ids), PURPOSE_UNSHIFTED), counter)) >> np.uint64(32)
        unshifted = (coin * n_examples.astype(np.uint64) >> np.uint64(32)).astype(np.int64)
        place = examples - first
        shifts = draws(states(seed, np.full(len(ids), PURPOSE_SHIFT), counter, place), 2) >> np.uint64(32)
        shifts[place == unshifted] = 0
    inputs, labels = plain(split.inputs[examples]), plain(split.labels[examples])
    new_inputs, new_labels = np.empty_like(inputs), np.empty_like(labels)
    kernels.draw(inputs, labels, groups.variants[ids].astype(np.int64), shifts, side, new_inputs, new_labels)
    return new_inputs, new_labels, ids


def restore(tokens: U8, codes: I32, *, side: int) -> list[bytes]:
    """Predictions [B, L] for variants of codes [B] as grids of the original task, packed; an empty one is b"\\0\\0".

    Each is cropped as the released evaluator does, to the largest rectangle from the top left corner without pad or end
    mark (of equal ones the lowest), then the move and the colours are undone.
    """
    packed = np.empty((len(tokens), 2 + side * side), dtype=np.uint8)
    kernels.restore(plain(tokens), codes.astype(np.int64), side, packed)
    ends = 2 + packed[:, 0].astype(np.int64) * packed[:, 1]
    return [row[:end].tobytes() for row, end in zip(packed, ends, strict=True)]


# --- splits ---


def build_arc(
    out: str | Path,
    *,
    source: str | Path = "generate",
    subsets: Sequence[str] = ("training", "evaluation", "concept"),
    test_subset: str = "evaluation",
    train: int | None = None,
    validation: int = 0,
    test: int | None = None,
    variants: int = 1000,
    side: int = SIDE,
    seed: int = 0,
    allow_leak: bool = False,
) -> PuzzleSet:
    """The set in folder `out`, verified: opened if it was built with the same settings and sources, else built.

    train: the demonstrations of every task, and the test pairs of tasks outside test_subset. test: the test pairs of
    test_subset. validation: the test pairs of so many training tasks, whose demonstrations are learnt from all the
    same. train, test: how many tasks, None for all; a task not taken is in no split. Tasks stand in the order of
    `subsets`, then by name (the released builder shuffles them); a task's demonstrations come before its tests.
    source: a folder (arc_tasks.find_files says how it may look), or "generate", small tasks of our own, 400 of each
    kind for None. Raises Leaks where a task to be tested is learnt from and allow_leak is not given, BadPuzzleFile
    with file and task, BadSettings, OtherContent if `out` holds something else.
    """
    out = Path(out)
    remove_unfinished(out)
    if str(source) == "hub":
        raise BadSettings(no_hub_for_arc())
    generated = str(source) == "generate"
    if generated:
        n_learnt = 400 if set(subsets) - {test_subset} else 0
        train, test = n_learnt if train is None else train, 400 if test is None else test
    asked = _Asked(
        "generated" if generated else "files",
        tuple(subsets),
        test_subset,
        train,
        validation,
        test,
        variants,
        side,
        seed,
        allow_leak,
    )
    asked.check()
    contents: dict[str, dict[Path, bytes]] = {}
    if not generated:
        files = find_files(Path(source), subsets)
        contents = {subset: {path: _read(path) for path in paths} for subset, paths in files.items()}
    hashes = {
        path.relative_to(source).as_posix(): hashlib.sha256(data).hexdigest()
        for part in contents.values()
        for path, data in part.items()
    }
    kept = reuse(out, asked.settings(), hashes, seed)
    if kept is not None:
        return kept
    if generated:
        tasks = generate(
            train=train or 0, test=test or 0, subsets=subsets, test_subset=test_subset, seed=seed, side=side
        )
        return _assemble(tasks, asked, hashes, (), "").save(out)
    by_subset = {subset: read_tasks(subset, part, side) for subset, part in contents.items()}
    which = {subset: say_which(subset, part) for subset, part in by_subset.items()}
    strangers = [said for is_published, said in which.values() if not is_published]
    published = "; ".join(said for is_published, said in which.values() if is_published)
    tasks = [task for part in by_subset.values() for task in part]
    return _assemble(tasks, asked, hashes, strangers, published).save(out)


@dataclass(frozen=True)
class _Asked:
    """What build_arc was asked for."""

    source: str
    subsets: tuple[str, ...]
    test_subset: str
    train: int | None
    validation: int
    test: int | None
    variants: int
    side: int
    seed: int
    allow_leak: bool

    def check(self) -> None:
        """Raises BadSettings for what cannot be."""
        check_subsets([self.test_subset])
        check_subsets(self.subsets)
        if self.test_subset not in self.subsets:
            raise BadSettings(
                f"test subset {self.test_subset}: not among the subsets {', '.join(self.subsets)}, expected one of "
                "them, since its demonstrations are learnt from (data.subsets, data.test_subset; --subsets, "
                "--test-subset)"
            )
        if not SMALLEST_SIDE <= self.side <= SIDE:
            raise BadSettings(
                f"side {self.side}: expected {SMALLEST_SIDE} to {SIDE} cells, the published size (data.side; --side)"
            )
        for name in ("train", "validation", "test"):
            check_count(name, getattr(self, name), 0)
        if self.train == self.test == 0:
            raise BadSettings(
                f"train and test: 0 tasks asked for, expected some; ask for more {named('train', 'test')}"
            )
        if not 0 <= self.variants <= MOST_VARIANTS:
            raise BadSettings(
                f"variants: {self.variants} asked for, expected 0 to {MOST_VARIANTS}; 1000 is the published number "
                "(data.augmentations; --variants)"
            )

    def settings(self) -> dict[str, int | str | None]:
        """As the manifest keeps them; the seed stands beside them there."""
        kept = {**asdict(self), "subsets": ",".join(self.subsets), "allow_leak": int(self.allow_leak)}
        del kept["seed"]
        return {"builder": BUILDER, **kept}

    @property
    def protocol(self) -> str:
        """How much there is to learn from, as the manifest names it."""
        if self.source == "generated":
            return "generated"
        return "full" if self.train is None else str(self.train)

    @property
    def licence(self) -> str:
        """Of each subset."""
        if self.source == "generated":
            return "CC0-1.0: generated, no claim made"
        return "; ".join(f"{subset}: {LICENCES[subset]}" for subset in self.subsets)


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise BadPuzzleFile(
            f"{path}: cannot be read ({error.strerror}), expected JSON of ARC tasks; check the path"
        ) from error


def _assemble(
    tasks: Sequence[Task], asked: _Asked, hashes: Mapping[str, str], strangers: Sequence[str], published: str
) -> PuzzleSet:
    """The set of these tasks, with what is said of those that are not as published and of those that are.

    Raises Leaks.
    """
    told_of = [*strangers, *([f"as published: {published}"] if published else [])]
    taken, held_out = _choose(tasks, asked)
    leaks, told = find_leaks(taken, asked.test_subset)
    if leaks and not asked.allow_leak:
        raise Leaks(f"{_describe(leaks, asked.test_subset)}; {WHAT_ABOUT_LEAKS}")
    codes = [variant_codes(task, asked.variants, seed=asked.seed) for task in taken]
    starts = np.cumsum([1, *(len(part) for part in codes)]).astype(np.int32)
    groups = Groups(
        names=np.array([task.name for task in taken], dtype="S64"),
        starts=starts,
        variants=np.concatenate([np.zeros(1, dtype=np.int64), *codes]).astype(np.int32),
    )
    pairs: dict[str, list[tuple[int, Pair]]] = {name: [] for name in SPLITS}
    for task, start in zip(taken, starts[:-1].tolist(), strict=True):
        asked_in = "test" if task.subset == asked.test_subset else "validation" if task in held_out else "train"
        pairs["train"] += [(start, pair) for pair in task.demonstrations]
        pairs[asked_in] += [(start, pair) for pair in task.tests]
    n_fewer = sum(len(part) <= asked.variants for part in codes)
    notes = [f"{len(taken):,} tasks, {starts[-1] - 1:,} identifiers beside the blank one"]
    if n_fewer:
        notes.append(f"{n_fewer:,} tasks have fewer than {asked.variants:,} distinct variants")
    if leaks:
        notes.append(_describe(leaks, asked.test_subset))
    return PuzzleSet.build(
        {name: _split(pairs[name], asked.side) for name in SPLITS},
        groups=groups,
        puzzle="arc",
        source=asked.source,
        protocol=asked.protocol,
        cells=asked.side**2,
        vocab=VOCAB,
        n_puzzle_ids=int(starts[-1]),
        seed=asked.seed,
        settings=asked.settings(),
        source_sha256=dict(hashes),
        origin="; ".join(told_of),
        published=bool(published) and not strangers,
        leaks=tuple(leaks),
        notes=(*notes, *told),
        licence=asked.licence,
    )


def _split(pairs: Sequence[tuple[int, Pair]], side: int) -> Split:
    """Pairs, each with the identifier of its task, as arrays."""
    n = len(pairs)
    inputs, labels = np.zeros((n, side * side), dtype=np.uint8), np.zeros((n, side * side), dtype=np.uint8)
    for i, (_, (question, answer)) in enumerate(pairs):
        inputs[i], labels[i] = lay(question, side), lay(answer, side)
    ids = np.array([start for start, _ in pairs], dtype=np.int32)
    return Split(inputs, labels, ids, np.zeros(n, dtype=np.int32))


def _key(pair: Pair) -> bytes:
    return pack(pair[0]) + pack(pair[1])


def _choose(tasks: Sequence[Task], asked: _Asked) -> tuple[list[Task], set[Task]]:
    """The tasks that are taken, in their order, and those of them whose tests are the validation split.

    Validation is chosen first, so it stays the same whatever train is; a task that shares a pair with another, or whose
    demonstrations hold one of its tests, is no candidate for it.
    """
    parts = (part for task in tasks for part in (task.demonstrations, task.tests))
    owners = Counter(key for part in parts for key in {_key(pair) for pair in part})
    learnt = [task for task in tasks if task.subset != asked.test_subset]
    tested = [task for task in tasks if task.subset == asked.test_subset]
    learnt = [learnt[i] for i in shuffled(len(learnt), asked.seed, PURPOSE_TRAIN)]
    tested = [tested[i] for i in shuffled(len(tested), asked.seed, PURPOSE_TEST)]
    alone = [task for task in learnt if all(owners[_key(pair)] == 1 for pair in task.pairs)]
    n_train = len(learnt) if asked.train is None else asked.train
    n_test = len(tested) if asked.test is None else asked.test
    for name, wanted, there in (
        ("train", n_train, len(learnt)),
        ("validation", asked.validation, min(n_train, len(alone))),
        ("test", n_test, len(tested)),
    ):
        if wanted > there:
            raise BadPuzzleFile(
                f"{name}: {there} tasks for it in {', '.join(asked.subsets)}, expected {wanted}; ask for fewer "
                f"{named(name)}"
            )
    held_out = set(alone[: asked.validation])
    others = [task for task in learnt if task not in held_out]
    taken = held_out.union(others[: n_train - len(held_out)], tested[:n_test])
    return [task for task in tasks if task in taken], held_out


# --- leaks ---


def find_leaks(tasks: Sequence[Task], test_subset: str) -> tuple[dict[str, list[str]], list[str]]:
    """Tasks of test_subset that are learnt from, each with the tasks that give it away; and what is only to be told.

    Learnt from: a task of another subset shares an input-output pair with it, exactly (not up to a symmetry), or one of
    its test pairs is among the demonstrations of any task. The one task that both halves of ARC-AGI-1 ask is told.
    """
    owners: dict[bytes, list[tuple[Task, bool]]] = defaultdict(list)
    for task in tasks:
        for place, pair in enumerate(task.pairs):
            owners[_key(pair)].append((task, place < len(task.demonstrations)))
    leaks: dict[str, list[str]] = {}
    told = []
    for task in (task for task in tasks if task.subset == test_subset):
        givers: dict[tuple[str, str], None] = {}
        for place, pair in enumerate(task.pairs):
            for other, demonstrated in owners[_key(pair)]:
                if other.subset != test_subset or (demonstrated and place >= len(task.demonstrations)):
                    givers[other.subset, other.name] = None
        for subset, name in list(givers):
            if {(subset, name), (task.subset, task.name)} == TWICE_IN_ARC_1:
                del givers[subset, name]
                told.append(
                    f"{task.subset} task {task.name} is also {subset} task {name}: ARC-AGI-1 has it so, and the "
                    "published protocol with it"
                )
        if givers:
            leaks[task.name] = [f"{subset} {name}" for subset, name in givers]
    return leaks, told


# Of the 400 evaluation tasks of ARC-AGI-1: those that are no training task of ARC-AGI-2, under any id …
NOT_IN_TRAINING2 = """
    08573cc6 0934a4d8 136b0064 16b78196 1e97544e 3ed85e70 477d2879 47996f11 4aab4007 55783887 604001fa 67b4a34d
    79fb03f4 903d1b4a 929ab4e9 981571dc aa4ec2a5 af22c60d c663677b ca8f78db da515329 e66aafb8 e95e3d8e f4081712
"""
# … and those that are an evaluation task of ARC-AGI-2, db695cfb being 55783887's id there.
IN_EVALUATION2 = "0934a4d8 136b0064 16b78196 981571dc aa4ec2a5 da515329 55783887 db695cfb"


def known_leaks(data: PuzzleSet, subsets: Sequence[str], test_subset: str, split: str = "test") -> list[str]:
    """Tasks of a split of `data` that a model has learnt from which was trained on these subsets, but for the tests of
    the last one.

    What find_leaks sees by the grids is known here by the ids, of the two public evaluation sets and of any subset
    beside itself: where a model comes with no tasks, only with the names of what it was trained on. Of another split
    than the tests no task is known to have been held back from the model, so all are taken for learnt from.
    """
    assert data.groups is not None
    there = np.unique(data.groups.of(np.asarray(data.splits[split].puzzle_ids)))
    names = [name.decode() for name in data.groups.names[there]]
    asked = data.manifest.settings.get("test_subset")
    learnt = set(subsets) - {test_subset}
    if asked in learnt or (split != "test" and learnt & {*str(data.manifest.settings.get("subsets")).split(",")}):
        return names
    leaks: set[str] = set()
    if asked == "evaluation" and "training2" in learnt:
        leaks |= set(names) - set(NOT_IN_TRAINING2.split())
    if (asked == "evaluation" and "evaluation2" in learnt) or (asked == "evaluation2" and "evaluation" in learnt):
        leaks |= set(names) & set(IN_EVALUATION2.split())
    return [name for name in names if name in leaks]


def _describe(leaks: Mapping[str, list[str]], test_subset: str) -> str:
    """How many tasks leak, which, and from where."""
    shown = list(leaks)[: FEW if len(leaks) <= FEW else FEW // 2]
    names = [f"{name} (as {leaks[name][0]})" if name not in leaks[name][0].split() else name for name in shown]
    more = f" and {len(leaks) - len(shown)} more" if len(leaks) > len(shown) else ""
    subsets = dict.fromkeys(giver.partition(" ")[0] for givers in leaks.values() for giver in givers)
    return (
        f"leak: {len(leaks)} {'task' if len(leaks) == 1 else 'tasks'} of {test_subset} learnt from in "
        f"{', '.join(subsets)}: {', '.join(names)}{more}"
    )


__all__ = [
    "BadPuzzleFile",
    "BadSettings",
    "Leaks",
    "build_arc",
    "candidate_codes",
    "draw_arc",
    "find_leaks",
    "known_leaks",
    "lay",
    "n_variants",
    "pack",
    "restore",
    "unpack",
    "variant_codes",
]

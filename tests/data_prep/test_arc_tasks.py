"""Where ARC's tasks lie in what people have, and which they are: by what they hold, not by what they are called."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from data_prep import arc_tasks
from data_prep.__main__ import main
from data_prep.arc import BadPuzzleFile, build_arc
from data_prep.arc_tasks import HOMES, find_files, read_tasks, tasks_hash

Grid = list[list[int]]


def task(colour: int) -> dict[str, list[dict[str, Grid]]]:
    """A task of its own for each colour."""
    return {
        "train": [{"input": [[colour, 1]], "output": [[1, colour]]}, {"input": [[colour]], "output": [[0, colour]]}],
        "test": [{"input": [[colour, colour]], "output": [[2]]}],
    }


def write_folder(folder: Path, *colours: int) -> None:
    """Tasks in the GitHub format."""
    folder.mkdir(parents=True)
    for colour in colours:
        (folder / f"task{colour}.json").write_text(json.dumps(task(colour)))


def write_kaggle(folder: Path, subset: str, *colours: int) -> None:
    """Tasks in the Kaggle format, each pair of the demonstrations in the other order."""
    folder.mkdir(exist_ok=True)
    tasks = {f"name{colour}": task(colour) for colour in colours}
    challenges = {
        name: {"train": one["train"][::-1], "test": [{"input": pair["input"]} for pair in one["test"]]}
        for name, one in tasks.items()
    }
    solutions = {name: [pair["output"] for pair in one["test"]] for name, one in tasks.items()}
    (folder / f"arc-agi_{subset}_challenges.json").write_text(json.dumps(challenges))
    (folder / f"arc-agi_{subset}_solutions.json").write_text(json.dumps(solutions))


def hash_in(source: Path, subset: str) -> str:
    files = find_files(source, [subset])[subset]
    return tasks_hash(read_tasks(subset, {path: path.read_bytes() for path in files}, 30))


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which ARC-AGI-1 has tasks 3, 4 and 5 and ARC-AGI-2 tasks 6, 7 and 8."""
    hashes = {}
    for i, (subset, colours) in enumerate(
        {"training": (3, 4), "evaluation": (5,), "training2": (6, 7), "evaluation2": (8,)}.items()
    ):
        write_folder(tmp_path / f"known{i}" / "data" / subset, *colours)
        hashes[hash_in(tmp_path / f"known{i}", subset)] = subset
    monkeypatch.setattr(arc_tasks, "KNOWN", hashes)


@pytest.mark.parametrize(
    "name", ["ARC-AGI-2", "ARC-AGI-2-main", "ARC-AGI-2-master", "ARC_AGI_2", "arc-agi-2", "ARC_AGI-2_main"]
)
def test_a_clone_opens_under_any_of_its_names_and_says_what_it_is_where_another_is_asked_for(
    name: str, tmp_path: Path
) -> None:
    write_folder(tmp_path / name / "data" / "training", 3, 4)
    write_folder(tmp_path / name / "data" / "evaluation", 5)
    asked = ["training2", "evaluation2"]
    for source in (tmp_path / name, tmp_path, tmp_path / name / "data"):
        files = find_files(source, asked)
        assert [[path.parent.name for path in files[subset]] for subset in asked] == [["training"] * 2, ["evaluation"]]
    with pytest.raises(BadPuzzleFile, match=r"looks like a clone of ARC-AGI-2, expected ARC-AGI-1's training tasks .*"):
        find_files(tmp_path / name, ["training", "evaluation"])


def test_clones_side_by_side_are_told_apart_and_two_of_one_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "ARC-AGI-master" / "data" / "training", 3)
    write_folder(tmp_path / "ARC_AGI_2" / "data" / "training", 4)
    write_folder(tmp_path / "ConceptARC" / "corpus" / "Copy", 5)
    found = find_files(tmp_path, ["training", "training2", "concept"])
    assert [path.name for paths in found.values() for path in paths] == ["task3.json", "task4.json", "task5.json"]
    write_folder(tmp_path / "ARC-AGI-2-main" / "data" / "training", 6)
    with pytest.raises(BadPuzzleFile, match="2 folders for subset training2 .*expected one"):
        find_files(tmp_path, ["training2"])


def test_what_is_hidden_is_no_task(tmp_path: Path) -> None:
    source = tmp_path / ".cache" / "arc"  # the source itself may be
    write_folder(source / "data" / "training", 3, 4)
    write_folder(source / "data" / "training" / ".ipynb_checkpoints", 3)
    (source / "data" / "training" / "._task3.json").write_bytes(b"\0\5\26\7")
    assert [path.name for path in find_files(source, ["training"])["training"]] == ["task3.json", "task4.json"]
    write_kaggle(source, "evaluation", 5)
    (source / "._arc-agi_evaluation_challenges.json").write_bytes(b"\0\5\26\7")
    assert len(find_files(source, ["evaluation"])["evaluation"]) == 2


def test_tasks_are_the_same_in_any_format_order_and_under_any_name(tmp_path: Path) -> None:
    write_folder(tmp_path / "github" / "data" / "training", 3, 4)
    write_kaggle(tmp_path / "kaggle", "training", 4, 3)
    assert hash_in(tmp_path / "github", "training") == hash_in(tmp_path / "kaggle", "training")
    write_kaggle(tmp_path / "kaggle", "training", 4, 3, 5)
    assert hash_in(tmp_path / "github", "training") != hash_in(tmp_path / "kaggle", "training")


def test_every_subset_has_one_known_hash() -> None:
    assert sorted(arc_tasks.KNOWN.values()) == sorted(HOMES)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in arc_tasks.KNOWN)


@pytest.mark.usefixtures("known")
def test_the_build_says_which_tasks_they_are_and_published_only_of_the_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def built(source: Path, name: str) -> tuple[bool, str]:
        asked = ["--subsets", "training", "evaluation", "--variants", "2", "--out", str(tmp_path / name)]
        assert main(["arc", "--source", str(source), *asked]) == 0
        manifest = arc_tasks_set(tmp_path / name)
        assert manifest[1] in capsys.readouterr().out
        return manifest

    write_kaggle(tmp_path / "arc1", "training", 3, 4)
    write_kaggle(tmp_path / "arc1", "evaluation", 5)
    assert built(tmp_path / "arc1", "one") == (
        True,
        "as published: ARC-AGI-1's training tasks; ARC-AGI-1's evaluation tasks",
    )
    write_kaggle(tmp_path / "arc2", "training", 6, 7)
    write_kaggle(tmp_path / "arc2", "evaluation", 8)
    published, said = built(tmp_path / "arc2", "two")
    assert not published
    assert said.startswith("ARC-AGI-2's public training tasks for training, not ARC-AGI-1's training tasks (subset tra")
    write_kaggle(tmp_path / "own", "training", 3, 4)
    write_kaggle(tmp_path / "own", "evaluation", 9)
    published, said = built(tmp_path / "own", "three")
    assert not published
    assert said.startswith("own files for evaluation (1 task, hash ")
    assert said.endswith("as published: ARC-AGI-1's training tasks")


@pytest.mark.usefixtures("known")
def test_arc_agi_2_opens_under_arc_agi_1s_file_names_and_nothing_else_does(tmp_path: Path) -> None:
    write_kaggle(tmp_path / "kaggle", "training", 6, 7)
    write_kaggle(tmp_path / "kaggle", "evaluation", 8)
    asked = {"subsets": ["training2", "evaluation2"], "test_subset": "evaluation2", "variants": 2}
    puzzles = build_arc(tmp_path / "set", source=tmp_path / "kaggle", **asked)  # type: ignore[arg-type]
    assert puzzles.manifest.published
    write_kaggle(tmp_path / "kaggle", "training", 3, 4)
    with pytest.raises(BadPuzzleFile, match=r"ARC-AGI-1's training tasks for training2, not ARC-AGI-2's public train"):
        build_arc(tmp_path / "other", source=tmp_path / "kaggle", **asked)  # type: ignore[arg-type]


def test_a_pipe_among_the_tasks_is_named_at_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "data" / "training", 3)
    os.mkfifo(tmp_path / "data" / "training" / "task0.json")
    with pytest.raises(BadPuzzleFile, match=r"task0\.json: cannot be read \(a pipe, not a file\)"):
        build_arc(tmp_path / "set", source=tmp_path, subsets=["training"], test_subset="training")


def arc_tasks_set(folder: Path) -> tuple[bool, str]:
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest["published"], manifest["origin"]

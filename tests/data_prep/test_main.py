import resource
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.puzzle_set import PuzzleSet
from data_prep.unfinished import partial_of

FIXTURES = Path(__file__).parent.parent / "fixtures"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "data_prep", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_builds_a_set_and_ends_with_its_counts_and_content_hash(tmp_path: Path) -> None:
    out = str(tmp_path / "set")
    numbers = ("--train", "12", "--validation", "3", "--test", "4", "--seed", "2", "--clues", "18")
    ended = command("sudoku", "--source", "generate", "--out", out, "--box", "2x3", *numbers)
    puzzles = PuzzleSet.open(out)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-2:] == [
        "puzzles: train 12, validation 3, test 4",
        f"content hash: {puzzles.content_hash}",
    ]
    assert ((puzzles.train.inputs > 1).sum(axis=1) == 18).all()


def test_a_mistake_is_one_line_on_stderr_without_traceback_and_exit_code_2(tmp_path: Path) -> None:
    ended = command("sudoku", "--source", str(tmp_path / "nowhere"), "--out", str(tmp_path / "set"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "nowhere: missing, expected a folder with train.csv and test.csv" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_published_files_are_built_and_a_second_call_reuses_them(
    sudoku_extreme: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sudoku", "--source", str(sudoku_extreme), "--out", str(tmp_path / "set"), "--train", "all"]
    arguments += ["--validation", "30"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "puzzles: train 270, validation 30, test 120" in first
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    assert main([*arguments, "--seed", "1"]) == 2
    assert "holds a set with seed = 0, expected 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "asked",
    [
        ["sudoku", "--source", "generate", "--box", "2x2", "--train", "6", "--validation", "2", "--test", "2"],
        ["maze", "--source", str(FIXTURES / "maze-30x30-hard-gen"), "--validation", "0"],
    ],
    ids=["sudoku", "maze"],
)
def test_a_disk_that_fills_ends_a_build_in_one_line_and_the_next_removes_what_a_killed_one_left(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*asked, "--out", str(tmp_path / "first")]) == 0  # all is compiled now
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))  # bytes a file may have, a real refusal by the system
    try:
        assert main([*asked, "--out", str(tmp_path / "set")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path / 'set'}: ")
    assert told.endswith("; nothing was left there; make room or choose another folder\n")
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    half = partial_of(tmp_path / "set", ended.pid)
    half.mkdir()
    (half / "train_inputs.npy").write_bytes(b"half")
    assert main([*asked, "--out", str(tmp_path / "set")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "set"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--box", "9"], "'9' found, expected ROWSxCOLUMNS such as 2x3"),
        (["--train", "-3"], "'-3' found, expected a number of puzzles or `all`"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--rating", "10"], "'10' found, expected LOW:HIGH such as 10:50, 10: or :50"),
        (["--see", "1"], "unrecognized arguments: --see 1"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sudoku", "--source", "generate", "--out", str(tmp_path / "set"), *arguments])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert message in told
    assert told.count("\n") == 1


MAZE = ["--source", "generate", "--side", "10", "--train", "5", "--validation", "2", "--test", "3"]


def test_mazes_are_built_verified_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "set")
    assert main(["maze", "--out", out, *MAZE]) == 0
    built = capsys.readouterr().out
    assert "maze, 100 cells, protocol generated" in built
    assert "puzzles: train 5, validation 2, test 3" in built
    assert main(["verify", out]) == 0
    assert capsys.readouterr().out == built + "verified: every array has the sha256 that the manifest says\n"
    show = ["show", out, "4", "--split", "train", "--variant", "3", "--augment", "released"]
    assert main(show) == 0
    assert capsys.readouterr().out.startswith("train 4, variant 3, rating ")
    path = tmp_path / "set" / "test_labels.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    for command in (["verify", out], show):
        assert main(command) == 2
        assert "test_labels has sha256" in capsys.readouterr().err


def test_a_terminal_without_frames_and_arrows_shows_question_marks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "set")
    assert main(["maze", "--out", out, *MAZE]) == 0
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = command("show", out, "0")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "??" in shown.stdout
    assert "S" in shown.stdout


def test_more_puzzles_than_there_can_be_or_than_memory_holds_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    for n, told in ((10**20, "expected at most 100000000; ask for fewer"), (10**8, "not enough memory (")):
        resource.setrlimit(resource.RLIMIT_AS, (64 << 30, limits[1]))  # bytes; 10**8 boards of 32x32 take 102e9
        try:
            large = ["--side", "32", "--least-path", "9", "--train", str(n)]
            assert main(["maze", *MAZE, "--out", str(tmp_path / "set"), *large]) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert told in said
        assert said.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_a_path_that_the_system_refuses_to_look_at_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = str(tmp_path / ("x" * 300))
    for command in (
        ["maze", *MAZE, "--out", long],
        ["sudoku", "--source", long, "--out", str(tmp_path / "set")],
        ["arc", "--source", long, "--out", str(tmp_path / "set")],
        ["verify", long],
    ):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert "File name too long" in told
        assert told.count("\n") == 1


def test_a_puzzle_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "set")
    assert main(["maze", "--out", out, *MAZE]) == 0
    assert main(["show", out, "3"]) == 2
    assert capsys.readouterr().err == "error: puzzle 3: the test split has 3 puzzles, expected 0 to 2\n"


def test_a_bare_augment_shows_the_first_variant_and_a_word_with_it_says_how_a_maze_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "set")
    assert main(["maze", "--out", out, *MAZE]) == 0
    capsys.readouterr()
    drawn = {}
    for asked in ("", "--augment", "--variant 1", "--augment recomputed", "--augment none", "--variant 2 --augment"):
        assert main(["show", out, "2", *asked.split()]) == 0
        drawn[asked] = capsys.readouterr().out.splitlines()
    assert drawn[""][0].startswith("test 2, variant 0,")
    assert drawn["--augment"] == drawn["--variant 1"] == drawn["--augment recomputed"] != drawn[""]
    assert drawn["--augment none"][1:] == drawn[""][1:]
    assert drawn["--variant 2 --augment"][0].startswith("test 2, variant 2,")


def test_a_picture_is_written_beside_the_drawing_or_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = str(tmp_path / "set"), tmp_path / "maze.png"
    assert main(["maze", "--out", out, *MAZE]) == 0
    capsys.readouterr()
    assert main(["show", out, "0", "--png", str(picture)]) == 0
    assert capsys.readouterr().out.endswith(f"\n\npicture: {picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["show", out, "0", "--png", str(tmp_path / "maze.svg")]) == 2
    told = capsys.readouterr().err
    assert "suffix .svg, expected .png" in told
    assert told.count("\n") == 1

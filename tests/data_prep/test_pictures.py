from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from data_prep.maze import generate as generate_mazes
from data_prep.pictures import FOUND, INK, MAZE, CannotDraw, draw, save
from data_prep.puzzle_set import PuzzleSet
from data_prep.show import COLOURS, Look, look


def hexadecimal(pixels: NDArray[np.uint8]) -> list[list[str]]:
    return [[f"#{r:02x}{g:02x}{b:02x}" for r, g, b in row[:, :3].tolist()] for row in pixels]


def colours(figure: Figure, place: int) -> list[list[str]]:
    """The colour of every cell of one board of a picture."""
    (image,) = figure.axes[place].images
    return hexadecimal(image.to_rgba(np.asarray(image.get_array()), bytes=True))


def test_a_task_has_the_colours_of_its_grids_and_says_which_grid_is_which(tasks: PuzzleSet) -> None:
    seen = look(tasks, 0, variant=2)
    figure = draw(seen)
    grids = [grid for pair in seen.pairs for grid in (pair.question, pair.answer)]
    assert [colours(figure, i) for i in range(6)] == [[[COLOURS[c] for c in row] for row in grid] for grid in grids]
    assert [axes.get_title() for axes in figure.axes] == [
        *("demonstration 1 input", "demonstration 1 output", "demonstration 2 input", "demonstration 2 output"),
        *("test 1 input", "test 1 output"),
    ]


def test_every_kind_of_pair_begins_a_row_and_no_two_boards_overlap(tasks: PuzzleSet) -> None:
    one = look(tasks, 0)
    for n in (1, 2, 3, 5, 10):
        pairs = tuple(one.pairs[0] for _ in range(n)) + one.pairs[2:]
        boxes = [axes.get_position() for axes in draw(Look("arc", ("many",), pairs)).axes]
        assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in boxes)
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(box.y1 < boxes[-1].y0 or box.y0 > boxes[-1].y1 for box in boxes[:-2])
        assert boxes[-2].x0 == boxes[0].x0


def test_a_sudoku_has_its_givens_in_black_what_is_found_lighter_and_thick_rules_between_boxes(
    small_set: PuzzleSet,
) -> None:
    seen = look(small_set, 3)
    question, answer = (seen.pairs[0].question, seen.pairs[0].answer)
    figure = draw(seen)
    for axes, cells in zip(figure.axes, (question, answer), strict=True):
        written = {(round(text.get_position()[1]), round(text.get_position()[0])): text for text in axes.texts}
        assert {place: int(text.get_text()) for place, text in written.items()} == {
            place: token - 1 for place, token in np.ndenumerate(cells) if token > 1
        }
        assert all(text.get_color() == (INK if question[place] > 1 else FOUND) for place, text in written.items())
    thick = {
        tuple(segment[0])
        for lines in figure.axes[0].collections
        for segment in lines.get_segments()  # type: ignore[attr-defined]
        if lines.get_linewidth()[0] > 1  # type: ignore[index]
    }
    assert thick == {(-0.5, 1.5), (-0.5, 3.5), (2.5, -0.5)}  # two rows and three columns to a box


def test_a_maze_has_dark_walls_a_coloured_path_and_its_ends_by_letter() -> None:
    puzzles = generate_mazes(train=1, validation=0, test=1, seed=0, side=10)
    seen = look(puzzles, 0)
    figure = draw(seen)
    for place, cells in enumerate((seen.pairs[0].question, seen.pairs[0].answer)):
        assert colours(figure, place) == [[MAZE[token] for token in row] for row in cells.tolist()]
        letters = {text.get_text(): tuple(map(int, text.get_position())) for text in figure.axes[place].texts}
        assert {letter: cells[y, x] for letter, (x, y) in letters.items()} == {"S": 3, "G": 4}
    walls, path = (sum(to_rgb(MAZE[token])) for token in (1, 5))
    assert walls < 1 < path


def test_a_saved_picture_has_the_drawn_colours_and_two_saves_are_the_same_bytes(
    tasks: PuzzleSet, tmp_path: Path
) -> None:
    for name in ("a.png", "b.PNG"):
        save(draw(look(tasks, 0)), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.PNG").read_bytes()
    image = np.round(imread(tmp_path / "a.png") * 255).astype(np.uint8)
    pixels = {pixel for row in hexadecimal(image) for pixel in row}
    assert {COLOURS[c] for c in (0, 1, 2, 4, 5, 7)} < pixels
    assert not {COLOURS[c] for c in (3, 6, 8, 9)} & pixels
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.gif", "a.gif: suffix .gif, expected .png; give a file name that ends so"),
        ("a", "a: no suffix, expected .png"),
        (".", "no suffix, expected .png"),
        ("nowhere/a.png", r"a.png: cannot be written \(No such file or directory\); nothing was left"),
        ("folder.png", r"folder.png: cannot be written \(Is a directory\)"),
        ("file/a.png", r"cannot be written \(Not a directory\)"),
    ],
)
def test_a_picture_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CannotDraw, match=told):
        save(Figure(), tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.png", "file"}
    assert (tmp_path / "file").read_text() == "mine"


def test_a_picture_that_breaks_off_leaves_the_one_before_it(
    tasks: PuzzleSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"the one before")
    figure = draw(look(tasks, 0))

    def half(partial: Path, **_: object) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(CannotDraw, match="No space left on device"):
        save(figure, path)
    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]

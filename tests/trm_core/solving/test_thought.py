"""What can be said of a thought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.trm_core.solving.conftest import by_hand


def test_what_changed_what_is_wrong_and_when_it_settled() -> None:
    thought = by_hand()
    assert [np.flatnonzero(thought.changed(step)).tolist() for step in (1, 2, 3)] == [[0, 5, 10], [10], [5, 10]]
    assert [np.flatnonzero(thought.wrong(answer)).tolist() for answer in thought.answers] == [[5], [5, 10], []]
    assert thought.outcome() == "solved; settled at step 3 of 3; asks to halt at step 3"
    earlier = replace(thought, boards=thought.boards[[0, 1, 1]], halted_at=0)
    assert earlier.outcome() == "not solved, 2 cells wrong; settled at step 2 of 3; never asks to halt"
    at_once = replace(thought, boards=thought.boards[[2, 2]])
    assert at_once.settled_at == 1


def test_without_a_known_answer_nothing_is_wrong_and_changes_still_count() -> None:
    thought = replace(by_hand(), answer=None)
    assert not thought.wrong(thought.answers[0]).any()
    assert not thought.solved
    assert thought.changed(2).sum() == 1
    assert thought.settled_at == 3
    assert thought.outcome().startswith("not judged: the puzzle has several answers")


def test_of_arc_the_cells_of_the_answer_and_its_end_marks_count_and_the_rest_of_the_canvas_is_not_drawn() -> None:
    canvas = np.zeros((6, 6), dtype=np.uint8)
    question, answer, found = canvas.copy(), canvas.copy(), np.full_like(canvas, 7)
    question[:2, :3] = 4
    answer[:3, :2] = 5
    answer[3, :2] = answer[:3, 2] = 1
    found[:3, :2] = 5
    found[3, :2] = found[:3, 2] = 1
    boards = found.ravel()[None, None]
    thought = replace(
        by_hand(), puzzle="arc", box=None, question=question.ravel(), answer=answer.ravel(), boards=boards
    )
    assert thought.shown == (4, 3)
    assert thought.solved
    assert not thought.changed(1).any()

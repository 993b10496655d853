from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from trm_core.losses import IGNORE, halting_loss, mean_over_cells, softmax_cross_entropy, stablemax_cross_entropy


def test_stablemax_cross_entropy_is_the_formula_written_out_cell_by_cell() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 4
    labels = torch.randint(0, 5, (3, 4), generator=torch.Generator().manual_seed(1))
    loss = stablemax_cross_entropy(logits, labels)
    for b in range(3):
        for cell in range(4):
            s = [v + 1 if v >= 0 else 1 / (1 - v) for v in logits[b, cell].double().tolist()]
            assert math.isclose(loss[b, cell].item(), -math.log(s[int(labels[b, cell])] / sum(s)), rel_tol=1e-12)


def test_softmax_cross_entropy_is_minus_the_log_probability() -> None:
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 6, 3], [2, 2, 5]])
    expected = -logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(softmax_cross_entropy(logits, labels), expected)


def test_an_ignored_cell_costs_nothing_has_no_gradient_and_is_left_out_of_the_mean() -> None:
    for loss_of in (stablemax_cross_entropy, softmax_cross_entropy):
        logits = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
        labels = torch.tensor([[1, IGNORE, 2]])
        per_cell = loss_of(logits, labels)
        mean_over_cells(per_cell, labels).sum().backward()  # type: ignore[no-untyped-call]
        assert per_cell[0, 1] == 0
        assert logits.grad is not None
        assert torch.all(logits.grad[0, 1] == 0)
        assert torch.all(logits.grad[0, 0] != 0)
        torch.testing.assert_close(mean_over_cells(per_cell, labels)[0], (per_cell[0, 0] + per_cell[0, 2]) / 2)


def test_a_puzzle_without_cells_costs_nothing() -> None:
    labels = torch.full((1, 3), IGNORE)
    per_cell = stablemax_cross_entropy(torch.randn(1, 3, 4), labels)
    assert mean_over_cells(per_cell, labels).item() == 0


def test_the_halting_loss_is_a_sum_over_puzzles() -> None:
    q, right = torch.tensor([2.0, -1.0]), torch.tensor([True, False])
    expected = -(F.logsigmoid(q[0]) + F.logsigmoid(-q[1]))
    torch.testing.assert_close(halting_loss(q, right), expected)

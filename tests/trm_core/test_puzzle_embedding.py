from __future__ import annotations

import torch

from trm_core.puzzle_embedding import PuzzleEmbedding


def test_sign_sgd_moves_each_row_met_by_the_sign_of_its_summed_gradient_and_no_other() -> None:
    table = PuzzleEmbedding(6, 3)
    table.weights.copy_(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))
    before = table.weights.clone()
    ids = torch.tensor([4, 1, 4, 4, 0])
    gradient = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    table.sign_sgd(ids, gradient, lr=0.1, weight_decay=0.5)
    for row in range(6):
        met = [gradient[slot] for slot in range(5) if ids[slot] == row]
        expected = before[row] * (1 - 0.1 * 0.5) - 0.1 * torch.stack(met).sum(0).sign() if met else before[row]
        torch.testing.assert_close(table.weights[row], expected)


def test_a_gradient_of_zero_leaves_only_the_weight_decay() -> None:
    table = PuzzleEmbedding(1, 2)
    table.weights.fill_(2.0)
    table.sign_sgd(torch.tensor([0, 0]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), lr=0.5, weight_decay=0.1)
    torch.testing.assert_close(table.weights, torch.full((1, 2), 1.9))

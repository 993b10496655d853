from __future__ import annotations

import torch

from trm_core.config import RunConfig
from trm_core.ema import EMA
from trm_core.model import Model


def _moved(model: Model) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
        assert model.puzzle_embedding is not None
        model.puzzle_embedding.weights.add_(1.0)


def test_the_average_follows_every_trained_weight(tiny: RunConfig) -> None:
    model = Model(tiny)
    ema = EMA(model, 0.75, puzzle_embedding=True)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _moved(model)
    ema.update(model)
    ema.update(model)
    for name, tensor in ema.model.state_dict().items():
        share = 0.0 if name == "initial" else 1 - 0.75**2  # y_init and z_init are not trained
        torch.testing.assert_close(tensor, start[name] + share, msg=name)


def test_the_released_codes_average_leaves_the_puzzle_embedding_out_and_holds_no_copy_of_it(tiny: RunConfig) -> None:
    model = Model(tiny)
    ema = EMA(model, 0.75, puzzle_embedding=False)
    _moved(model)
    ema.update(model)
    assert model.puzzle_embedding is not None
    assert ema.model.puzzle_embedding is not None
    assert ema.model.puzzle_embedding.weights is model.puzzle_embedding.weights
    assert ema.model.embed_tokens is not model.embed_tokens


def test_the_average_needs_no_gradient_and_shares_no_memory(tiny: RunConfig) -> None:
    model = Model(tiny)
    ema = EMA(model, 0.9, puzzle_embedding=True)
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    ours = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert ours.isdisjoint(tensor.data_ptr() for tensor in ema.model.state_dict().values())

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.layers import RMS_EPS, ROPE_THETA, Attention, Layer, SwiGLU, positions_first, rms_norm
from trm_core.model import Model, embedding_by_product
from trm_core.trainer import Trainer

VARIANTS: list[dict[str, Any]] = [
    {},
    {"mixer": "attention"},
    {"networks": "separate"},
    {"gradient": "one step"},
    {"features": "single z"},
    {"features": "multi-scale z"},
    {"halting": "q_learning"},
    {"n_layers": 4, "n": 1},
    {"puzzle_prefix": 0},
    {"puzzle_prefix": 1, "networks": "separate", "gradient": "one step", "mixer": "attention", "halting": "q_learning"},
]


def _inputs(run: RunConfig, B: int = 3) -> Tensor:
    return torch.randint(1, run.data.vocabulary, (B, run.data.cells), generator=torch.Generator().manual_seed(5))


def _plainly(model: Model, x: Tensor, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The paper's pseudo-code, figure 3, with every step in a list; the second result: what carries a gradient."""
    m, net_z, net_y = model.settings, model.f_z, model.f_y
    with_gradient = []
    for t in range(m.T):
        for i in range(m.n):
            graph = t == m.T - 1 and (m.gradient == "full recursion" or i == m.n - 1)
            with torch.set_grad_enabled(graph):
                if m.features == "single z":
                    features = [net_z(features[0] + x)]
                elif m.features == "y,z":
                    features = [features[0], net_z(features[1] + (features[0] + x))]
                else:
                    y, zs = features[0], features[1:]
                    total = zs[0]
                    for z in zs[1:]:
                        total = total + z
                    zs[i] = net_z(total + (y + x))
                    features = [y, *zs]
            if graph:
                with_gradient.append(features[-1])
        with torch.set_grad_enabled(t == m.T - 1):
            if m.features == "single z":
                features = [net_y(features[0])]
            else:
                total = features[1]
                for z in features[2:]:
                    total = total + z
                features = [net_y(features[0] + total), *features[1:]]
    return features, with_gradient


@pytest.mark.parametrize("switches", VARIANTS, ids=str)
def test_the_recursion_is_the_papers_pseudo_code_and_so_is_its_gradient(
    tiny: RunConfig, switches: dict[str, Any]
) -> None:
    run = tiny.change({"model": {"T": 3, "n": 3} | switches})
    model, inputs = Model(run), _inputs(run)
    vectors = torch.randn(3, run.model.D) if run.model.puzzle_prefix else None
    gradients = []
    outputs = []
    for recursion in (model.deep_recursion, lambda x, f: _plainly(model, x, list(f))[0]):
        model.zero_grad()
        features = recursion(model.embed(inputs, vectors), model.initial_features(3))
        (features[0].square().mean() + features[0][..., 0].sum()).backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        outputs.append([feature.detach() for feature in features])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_one_step_gradient_is_smaller_in_reach_than_the_full_one(tiny: RunConfig) -> None:
    """x is read once with a gradient, not n times: the embedding's gradient tells the two apart."""
    reached = {}
    for gradient in ("full recursion", "one step"):
        run = tiny.change({"model": {"gradient": gradient, "n": 3}})
        model = Model(run)
        _, logits, _ = model(_inputs(run), torch.zeros(3, run.model.D), model.initial_features(3))
        logits.square().sum().backward()
        assert model.embed_tokens.grad is not None
        reached[gradient] = model.embed_tokens.grad
    assert not torch.allclose(reached["full recursion"], reached["one step"])


@pytest.mark.parametrize("switches", VARIANTS, ids=str)
def test_the_parameter_count_by_formula_is_the_count_of_the_tensors(tiny: RunConfig, switches: dict[str, Any]) -> None:
    run = tiny.change({"model": switches})
    assert sum(p.numel() for p in Model(run).parameters()) == run.parameters()


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 5_028_866),
        ({"mixer": "attention"}, 6_828_034),
        ({"n_layers": 4, "n": 3}, 10_045_442),
        (
            {"mixer": "attention", "networks": "separate", "n_layers": 4, "n": 2, "T": 2, "puzzle_prefix": 1},
            27_275_266,
        ),
    ],
)
def test_full_size_models_have_the_released_models_parameters(settings: dict[str, Any], count: int) -> None:
    run = RunConfig().change({"model": settings})
    assert run.parameters() == count
    assert sum(p.numel() for p in Model(run).parameters()) == count


def test_initialisation_has_the_stated_spread_and_depends_on_the_seed_alone(tiny: RunConfig) -> None:
    run = tiny.change({"model": {"D": 128, "inner_multiple": 256, "n_heads": 4}})
    model, again = Model(run), Model(run)
    other = Model(run.change({"train": {"seed": 1}}))
    for (name, a), b, c in zip(model.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        assert name.startswith("halting_head") or not torch.equal(a, c), name
    weight = dict(model.named_parameters())["f_z.layers.0.mlp.gate_up.weight"].detach()
    std = 1 / math.sqrt(128)
    assert math.isclose(float(weight.std()), std, rel_tol=0.02)
    assert float(weight.abs().max()) <= 2 * std / 0.8796 + 1e-6
    halting = dict(model.halting_head.named_parameters())
    assert torch.all(halting["weight"] == 0)
    assert torch.all(halting["bias"] == -5)
    assert model.puzzle_embedding is not None
    assert torch.all(model.puzzle_embedding.weights == 0)


def test_rms_norm_is_torchs_own() -> None:
    x = torch.randn(4, 7, 16)
    torch.testing.assert_close(rms_norm(x), F.rms_norm(x, (16,), eps=RMS_EPS))


def test_attention_is_softmax_of_rotated_products_written_out(tiny: RunConfig) -> None:
    D, H, L = 8, 2, 5
    attention = Attention(tiny.change({"model": {"mixer": "attention", "D": D, "n_heads": H}}).model, L)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    x = torch.randn(1, L, D, generator=torch.Generator().manual_seed(4))
    q, k, v = torch.split(x[0] @ attention.qkv.weight.T, D, dim=-1)
    out = torch.zeros(L, D)
    for head in range(H):
        part = slice(head * 4, head * 4 + 4)

        def turned(vector: Tensor, position: int) -> Tensor:
            first, second = vector[:2], vector[2:]
            angle = position / ROPE_THETA ** (torch.arange(2) / 2)
            return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()))

        for i in range(L):
            scores = torch.stack([turned(q[i, part], i) @ turned(k[j, part], j) / 2 for j in range(L)])
            out[i, part] = scores.softmax(0) @ v[:, part]
    torch.testing.assert_close(attention(x)[0], out @ attention.out.weight.T, rtol=1e-4, atol=1e-4)


def test_the_mlp_mixer_mixes_positions_channel_by_channel_and_norms_over_the_positions(tiny: RunConfig) -> None:
    positions = tiny.sequence
    layer = Layer(tiny.model, positions)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(3))
    x = torch.randn(2, positions, tiny.model.D, generator=torch.Generator().manual_seed(4))
    assert isinstance(layer.mix, SwiGLU)
    mixed = torch.empty_like(x)
    for b in range(2):
        for d in range(tiny.model.D):
            mixed[b, :, d] = rms_norm(x[b, :, d] + layer.mix(x[b, :, d]))
    torch.testing.assert_close(layer(x), rms_norm(mixed + layer.mlp(mixed)))


def test_positions_first_moves_numbers_in_memory_alone_and_only_where_they_lie_otherwise() -> None:
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2))
    laid = positions_first(x)
    assert torch.equal(laid, x)
    assert laid.shape == x.shape
    assert laid.transpose(0, 1).is_contiguous()
    assert laid.data_ptr() != x.data_ptr()
    again = positions_first(laid)
    assert (again.data_ptr(), again.stride()) == (laid.data_ptr(), laid.stride())
    expanded = torch.randn(4).expand(3, 5, 4)  # as initial features come
    assert torch.equal(positions_first(expanded), expanded)


@pytest.mark.parametrize("switches", [{}, {"n_layers": 4}, {"features": "single z"}, {"mixer": "attention"}], ids=str)
def test_a_network_gives_back_what_it_got_laid_out_alike(tiny: RunConfig, switches: dict[str, Any]) -> None:
    """With the MLP mixer positions come first, so that a recursion copies nothing between its calls."""
    run = tiny.change({"model": switches})
    x = torch.randn(3, run.sequence, run.model.D, generator=torch.Generator().manual_seed(2))
    laid = x if run.model.mixer == "attention" else positions_first(x)
    net = Model(run).f_z
    assert net(laid).stride() == laid.stride()
    torch.testing.assert_close(net(laid), net(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_embedding_by_a_product_is_torchs_and_so_is_its_gradient(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    which = torch.randint(0, 7, (6, 11), generator=generator)
    which[0, 0] = 6
    towards = torch.randint(-4, 5, (6, 11, 5), generator=generator).to(dtype)  # whole numbers add without rounding
    vectors = torch.randn(7, 5, generator=generator).to(dtype).requires_grad_()
    found, expected = embedding_by_product(which, vectors), F.embedding(which, vectors)
    assert torch.equal(found, expected)
    ours, theirs = (torch.autograd.grad((each * towards).sum(), vectors)[0] for each in (found, expected))
    assert torch.equal(ours, theirs)


def test_bf16_activations_come_close_to_fp32_and_weights_stay_fp32(tiny: RunConfig) -> None:
    outputs = []
    for precision in ("fp32", "bf16"):
        run = tiny.change({"train": {"precision": precision}, "model": {"T": 1, "n": 1}})
        model = Model(run)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        features, logits, q = model(_inputs(run), torch.zeros(3, run.model.D), model.initial_features(3))
        assert features[0].dtype == model.dtype
        assert q.dtype == torch.float32
        outputs.append(logits.detach().float())
    assert (outputs[0] - outputs[1]).abs().max() < 0.1 * outputs[0].abs().max()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"mixer": "attention"},
        {"features": "single z"},
        {"features": "multi-scale z"},
        {"channel_mlp": "mixture of experts"},
        {"networks": "separate", "gradient": "one step", "mixer": "attention", "halting": "q_learning"},
    ],
    ids=str,
)
def test_activation_checkpointing_changes_no_bit_of_losses_gradients_and_weights(
    tiny: RunConfig, puzzles: PuzzleSet, switches: dict[str, Any], precision: str
) -> None:
    ends = []
    for checkpointing in (False, True):
        train = {"precision": precision, "activation_checkpointing": checkpointing}
        trainer = Trainer(tiny.change({"model": switches, "train": train}), puzzles, torch.device("cpu"))
        for _ in range(4):
            trainer.take_step()
        gradients = {f"grad/{name}": p.grad for name, p in trainer.parameters.items()}
        ends.append({"sums": trainer.sums} | gradients | trainer.model.state_dict())
    assert all(tensor is not None and torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_with_activation_checkpointing_the_backward_runs_each_network_application_with_a_gradient_once_more(
    tiny: RunConfig,
) -> None:
    run = tiny.change({"model": {"T": 3, "n": 4}, "train": {"activation_checkpointing": True}})
    model, inputs = Model(run), _inputs(run)
    calls: list[bool] = []
    model.f_z.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    features, *_ = model(inputs, torch.zeros(3, run.model.D), model.initial_features(3))
    assert calls == [False] * 10 + [True] * 5
    features[0].sum().backward()
    assert calls[15:] == [True] * 5

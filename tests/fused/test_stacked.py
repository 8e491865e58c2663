"""The parts of the stack: each method against the plain layer, each stacked rule against the optimizer itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mnist_lightning.config import OptimizerConfig, RunConfig
from mnist_lightning.config.keys import KERAS
from mnist_lightning.fused.losses import MemberLosses
from mnist_lightning.fused.optimizers import StackedOptimizer, compiled_rule, in_memory_order, rule_key
from mnist_lightning.fused.stacked import StackedConv2d, StackedLinear, StackedNet
from mnist_lightning.numerics.losses import LOSSES
from mnist_lightning.numerics.metrics import metric_sums
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.optimizers import build_optimizer
from mnist_lightning.numerics.update_rules import PIECE, RULES

torch.manual_seed(0)
IMAGES = torch.rand(3, 1, 28, 28, dtype=torch.float64)


def nets(count: int = 4) -> list[ConvDenseNet]:
    return [ConvDenseNet(2, 2, 1, seed=seed).double() for seed in range(count)]


@pytest.mark.parametrize(
    ("kind", "shared"),
    [(StackedConv2d, True), (StackedConv2d, False), (StackedLinear, False)],  # images are all that members share
    ids=["conv, one input for all", "conv, an input each", "dense, an input each"],
)
def test_every_method_of_a_layer_gives_the_plain_layers_values_and_gradients(kind: type, shared: bool) -> None:
    conv = kind is StackedConv2d
    layers = [torch.nn.Conv2d(2, 3, 3, padding=1) if conv else torch.nn.Linear(5, 4) for _ in range(4)]
    x = torch.rand((3, 2, 6, 6) if conv else (3, 5), dtype=torch.float64)
    x = x if shared else torch.stack([x * (g + 1) for g in range(4)])
    stacked = kind([layer.double() for layer in layers])
    assert len(stacked.applicable(x)) > 1
    for method in stacked.applicable(x):
        stacked.method = method
        inputs = x.clone().requires_grad_()
        out = stacked(inputs)
        out.square().sum().backward()
        assert stacked.bias.grad is not None
        for g, layer in enumerate(layers):
            assert layer.bias is not None
            layer.zero_grad()
            own = (x if shared else x[g]).clone().requires_grad_()
            plain = layer(own)
            plain.square().sum().backward()
            torch.testing.assert_close(out[g], plain)
            torch.testing.assert_close(stacked.weight.grad[g], layer.weight.grad)
            torch.testing.assert_close(stacked.bias.grad[g], layer.bias.grad)
            if not shared:
                assert inputs.grad is not None
                torch.testing.assert_close(inputs.grad[g], own.grad)
        stacked.zero_grad()


@pytest.mark.parametrize("seeds", ["one seed", "two seeds"])
@pytest.mark.parametrize("conv", ["loop", "grouped"])
@pytest.mark.parametrize("dense", ["loop", "batched"])
def test_gradients_lie_in_the_memory_as_their_parameters_do(seeds: str, conv: str, dense: str) -> None:
    """Or an update could not go through all of them side by side."""
    net = StackedNet(nets())
    for name in ("loop", "shared"):
        net.take_methods({"stem": name, "convs.0": conv, "convs.1": conv, "denses.0": dense, "output": dense})
        images = IMAGES if seeds == "one seed" else IMAGES.expand(4, -1, -1, -1, -1)
        gradients = torch.autograd.grad(net(images).sum(), [x for xs in net.differentiable() for x in xs])
        for (key, p), gradient in zip(net.named_parameters(), gradients, strict=True):
            assert in_memory_order(p, gradient, torch.full_like(p, 0)) is not None, key


@pytest.mark.parametrize("stem", ["loop", "shared", "grouped", "product"])
def test_a_method_that_does_not_fit_the_input_gives_way_to_one_that_does(stem: str) -> None:
    """Of several seeds the stem is trained on images for each member, and evaluated on images for all."""
    net, members = StackedNet(nets()), nets()
    net.take_methods({"stem": stem, "convs.0": "product"})
    plain = torch.stack([m(IMAGES) for m in members])
    torch.testing.assert_close(net(IMAGES), plain)
    torch.testing.assert_close(net(IMAGES.expand(4, -1, -1, -1, -1)), plain)
    torch.testing.assert_close(net.part(slice(1, 3), IMAGES), plain[1:3])


def test_numbers_are_viewed_in_the_order_of_the_memory_or_not_at_all() -> None:
    p = torch.rand(3, 4, 5, 2, 2).to(memory_format=torch.contiguous_format)
    inner = p.movedim(2, -1).contiguous().movedim(-1, 2)
    views = in_memory_order(inner, inner * 2)
    assert views is not None
    assert torch.equal(views[0], inner.movedim(2, -1).reshape(3, -1))
    assert views[0].data_ptr() == inner.data_ptr()
    assert torch.equal(views[1], 2 * views[0])
    assert in_memory_order(inner, p) is None
    assert in_memory_order(p.transpose(0, 1)) is None
    assert in_memory_order(inner[1:2], p[1:2]) is None


class NoReading(TorchDispatchMode):
    """Fails on what makes Python wait for a GPU: numbers and shapes that depend on values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero", "unique"), name
        return func(*args, **(kwargs or {}))


def test_a_step_on_a_gpu_reads_nothing_back() -> None:
    """A capture forbids it. Here on a CPU, by the ways of a GPU."""
    names = ("adam", "sgd", "rmsprop", "adamax", "adadelta", "adagrad", "adamw", "torch_adam")
    configs = sorted((RunConfig(OptimizerConfig(name)) for name in names), key=rule_key)
    net = StackedNet([ConvDenseNet(2, 2, 1, seed=seed) for seed in range(len(names))])
    optimizer = StackedOptimizer(configs, list(net.parameters()))
    optimizer.one_by_one = ()
    losses, labels = MemberLosses(["mse", "mae"] * 4), torch.tensor([1, 2, 3])
    for method in ("shared", "grouped", "batched"):
        net.take_methods({name: method for name, layer in net.named_modules() if hasattr(layer, "method")})
    with NoReading():
        logits = net(IMAGES.float())
        gradients = torch.autograd.grad(losses(logits, labels).sum(), list(net.parameters()))
        optimizer.update(list(net.parameters()), gradients)
        metric_sums(logits.detach(), labels, losses)


def test_copies_of_bfloat16_follow_the_weights_and_change_no_gradient() -> None:
    net = StackedNet([ConvDenseNet(2, 2, 1, seed=seed) for seed in range(3)])
    images = IMAGES.float()

    def gradients() -> list[torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
            logits = net(images)
        return list(torch.autograd.grad(logits.float().square().sum(), [x for xs in net.differentiable() for x in xs]))

    by_autocast = gradients()
    net.round()
    for ours, theirs in zip(gradients(), by_autocast, strict=True):
        assert torch.equal(ours.float(), theirs)
    optimizer = StackedOptimizer([RunConfig(OptimizerConfig("sgd"), lr=0.5)] * 3, list(net.parameters()))
    optimizer.one_by_one = ()
    optimizer.update(list(net.parameters()), gradients(), net.low())
    for p, copy in zip(net.parameters(), net.low(), strict=True):
        assert copy is None or torch.equal(copy, p.bfloat16())
    assert sum(copy is not None for copy in net.low()) == 5


def test_a_stack_has_the_networks_names_and_gives_each_members_logits() -> None:
    members = nets()
    net = StackedNet(members)
    assert [n for n, _ in net.named_parameters()] == [n for n, _ in members[0].named_parameters()]
    torch.testing.assert_close(net(IMAGES), torch.stack([m(IMAGES) for m in members]))
    each = torch.stack([IMAGES * g for g in range(4)])
    torch.testing.assert_close(net(each), torch.stack([m(i) for m, i in zip(members, each, strict=True)]))


def test_the_measured_choice_of_methods_leaves_the_network_the_same() -> None:
    net = StackedNet(nets())
    before = net(IMAGES)
    chosen = net.choose_methods(IMAGES, repeats=1)
    assert list(chosen) == ["stem", "convs.0", "convs.1", "denses.0", "output"]
    assert all(m == "loop" or m in layer.together for layer, m in zip(net.layers(), chosen.values(), strict=True))
    torch.testing.assert_close(net(IMAGES), before)


def test_split_parameters_give_each_member_its_gradient_and_see_every_update() -> None:
    net, members = StackedNet(nets()), nets()
    net.split()
    for _ in range(2):
        wanted = net.differentiable()
        gradients = torch.autograd.grad(net(IMAGES).square().sum(), [x for xs in wanted for x in xs])
        for g, member in enumerate(members):
            own = torch.autograd.grad(member(IMAGES).square().sum(), list(member.parameters()))
            for ours, theirs in zip(gradients[g :: len(members)], own, strict=True):
                torch.testing.assert_close(ours, theirs)
        with torch.no_grad():
            for p in [*net.parameters(), *(p for member in members for p in member.parameters())]:
                p.mul_(0.5)


@pytest.mark.parametrize("split", [True, False])
def test_some_members_can_be_asked_alone(split: bool) -> None:
    net = StackedNet(nets())
    if split:
        net.split()
    torch.testing.assert_close(net.part(slice(1, 3), IMAGES), net(IMAGES)[1:3])
    assert net(IMAGES).requires_grad


def test_networks_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="only networks of one architecture can be stacked, and at least one"):
        StackedNet([ConvDenseNet(2, 1, 0), ConvDenseNet(2, 1, 1)])
    with pytest.raises(ValueError, match="at least one"):
        StackedNet([])


@pytest.mark.parametrize("one_by_one", [("cpu",), ()], ids=["member by member", "a rule at once"])
def test_stacked_rules_equal_the_optimizers_themselves(one_by_one: tuple[str, ...]) -> None:
    configs = [RunConfig(OptimizerConfig(name), lr=lr) for name in RULES for lr in (0.001, 0.1)]
    configs += [RunConfig(OptimizerConfig("rmsprop", {"rho": 0.5}), lr=0.01)]
    configs += [RunConfig(OptimizerConfig(name, {"weight_decay": 0.3}), lr=0.01) for name in (*KERAS, "adamw")]
    configs += [RunConfig(OptimizerConfig("adam", {"betas": [0.8, 0.9]}), lr=0.01)]
    configs.sort(key=rule_key)
    start, longer = torch.rand(len(configs), 5, 3, dtype=torch.float64), PIECE + 7
    stack = [start.clone(), torch.rand(len(configs), longer, dtype=torch.float64)]
    alone = [[p[g].clone().requires_grad_() for p in stack] for g in range(len(configs))]
    optimizers = [build_optimizer(c.optimizer, p, c.lr) for c, p in zip(configs, alone, strict=True)]
    stacked = StackedOptimizer(configs, stack)
    stacked.one_by_one = one_by_one
    for step in range(4):
        gradients = [torch.randn_like(p) * 10.0**-step for p in stack]
        stacked.update(stack, gradients)
        for g, (params, optimizer) in enumerate(zip(alone, optimizers, strict=True)):
            for p, gradient in zip(params, gradients, strict=True):
                p.grad = gradient[g].clone()
            optimizer.step()
    for g, (config, params) in enumerate(zip(configs, alone, strict=True)):
        for p, own in zip(stack, params, strict=True):
            torch.testing.assert_close(p[g], own.detach(), rtol=1e-12, atol=1e-12, msg=lambda m, c=config: f"{c}: {m}")


def test_a_rule_that_cannot_be_compiled_is_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda function, dynamic, fullgraph: refuse)
    compiled_rule.cache_clear()
    p, gradient = torch.ones(2, 3), torch.ones(2, 3)
    for _ in range(2):
        compiled_rule("sgd")(p, gradient, lr=torch.tensor([[0.5], [0.25]]), t=torch.tensor(1))
    compiled_rule.cache_clear()
    assert p.tolist() == [[0.0] * 3, [0.5] * 3]
    assert capsys.readouterr().out == "sgd: not compiled (RuntimeError); slower, with the same results\n"


def test_members_must_stand_by_rule() -> None:
    configs = [RunConfig(OptimizerConfig("sgd")), RunConfig(OptimizerConfig("adam"))]
    with pytest.raises(ValueError, match="members must be ordered by rule_key"):
        StackedOptimizer(configs, [torch.zeros(2, 1)])


@pytest.mark.parametrize("shared", [True, False])
def test_each_member_has_its_own_loss_and_no_gradient_of_anothers(shared: bool) -> None:
    names = ["mae", "mse", "cross_entropy", "mse"]
    logits = torch.randn(4, 6, 10, requires_grad=True)
    labels = torch.randint(0, 10, (6,) if shared else (4, 6))
    losses = MemberLosses(names)(logits, labels)
    expected = [LOSSES[n](logits[g], labels if shared else labels[g]) for g, n in enumerate(names)]
    torch.testing.assert_close(losses, torch.stack(expected))
    with torch.no_grad():
        logits[2] = torch.nan
    (gradient,) = torch.autograd.grad(MemberLosses(names)(logits, labels).sum(), logits)
    assert [bool(g.isfinite().all()) for g in gradient] == [True, True, False, True]

"""Updates the weights of G members in one pass, each by its own rule, options and learning rate."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mnist_lightning.config import OptimizerConfig, RunConfig
from mnist_lightning.fused.own_kernels import own_kernels
from mnist_lightning.numerics.one_pass import update_network, updates_in_one_pass
from mnist_lightning.numerics.update_rules import RULES


def rule_key(config: RunConfig) -> str:
    """Returns a key that is the same for members updated together; they stand side by side in the stack."""
    return json.dumps([config.optimizer.name, config.optimizer.options], sort_keys=True)


def _options(optimizer: OptimizerConfig) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in optimizer.options.items()}


@cache
def compiled_rule(name: str) -> Callable[..., None]:
    """Compiles a rule into one kernel, which reads and writes each number once; uncompiled where that fails."""
    plain = RULES[name].update
    # in one graph or not at all: a part of the rule must never run before another part fails
    compiled = torch.compile(plain, dynamic=True, fullgraph=True)
    works = True

    def update(*tensors: Tensor, **scalars: Any) -> None:
        nonlocal works
        if works:
            try:
                compiled(*tensors, **scalars)
                return
            except Exception as error:  # no Triton, no compiler: raised before anything is changed
                works = False
                print(f"{name}: not compiled ({type(error).__name__}); slower, with the same results")
        plain(*tensors, **scalars)

    return update


def in_memory_order(*tensors: Tensor) -> list[Tensor] | None:
    """Views of the tensors [k, ...] as [k, n] in the order of the first one's memory; None if not all have its order.

    So weights with their channels innermost are n numbers side by side, as any others.
    """
    first = tensors[0]
    order = sorted(range(first.ndim), key=lambda d: (-first.stride(d), d))
    if first.shape[0] > 1:
        order.sort(key=bool)  # the members outermost
    views = [x.permute(order) for x in tensors]
    return [x.view(len(first), -1) for x in views] if all(x.is_contiguous() for x in views) else None


class StackedOptimizer(nn.Module):
    """Updates parameters [G, ...] in place, of members that are ordered by `rule_key`.

    The state is buffers, so it follows the module to its device and into its precision; `step` counts the updates.
    """

    step: Tensor
    lr: Tensor
    # Devices on which members are updated one after the other, in the cache, as each would be alone
    one_by_one: tuple[str, ...] = ("cpu",)

    def __init__(self, configs: Sequence[RunConfig], parameters: Sequence[Tensor]) -> None:
        super().__init__()
        keys = [rule_key(config) for config in configs]
        if keys != sorted(keys):
            raise ValueError("members must be ordered by rule_key")
        self.configs, self.compiled = list(configs), [False] * len(configs)
        self.parts = [slice(keys.index(key), keys.index(key) + keys.count(key)) for key in dict.fromkeys(keys)]
        # float64, also where the weights are not: 0.001 in float32 is another learning rate
        self.register_buffer("step", torch.zeros((), dtype=torch.float64))
        self.register_buffer("lr", torch.tensor([c.lr for c in configs], dtype=torch.float64), persistent=False)
        for number, part in enumerate(self.parts):
            for name, start in RULES[self.configs[part.start].optimizer.name].state.items():
                for index, p in enumerate(parameters):
                    self.register_buffer(f"{number}/{name}/{index}", torch.full_like(p[part], start))

    @torch.no_grad()
    def update(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor | list[Tensor]],
        low: Sequence[Tensor | None] | None = None,
    ) -> None:
        """Updates every member once; gradients are [G, ...], or on a CPU lists of G.

        `low` are bfloat16 copies of the parameters [G, ...] that are to follow them, None for those without one. On a
        GPU nothing is read back from it: the step can be captured in a graph.
        """
        self.step.add_(1)
        for number, part in enumerate(self.parts):
            first = self.configs[part.start].optimizer
            rule, options = RULES[first.name], _options(first)
            if parameters[0].device.type in self.one_by_one:
                for g in range(part.start, part.stop):
                    states = [
                        [getattr(self, f"{number}/{name}/{index}")[g - part.start] for name in rule.state]
                        for index in range(len(parameters))
                    ]
                    copies = [None if copy is None else copy[g] for copy in low or [None] * len(parameters)]
                    own = zip([p[g] for p in parameters], [x[g] for x in gradients], states, copies, strict=True)
                    rate, t = self.configs[g].lr, float(self.step)
                    update_network(first.name, [*own], lr=rate, t=t, one_pass=self.one_pass, **options)
                continue
            kernels = self._kernels(first.name, parameters[0])
            # made once for all parameters
            rates = kernels.rates(first.name, self.lr[part], self.step, **options) if kernels is not None else None
            for index, (p, gradient) in enumerate(zip(parameters, gradients, strict=True)):
                state = [getattr(self, f"{number}/{name}/{index}") for name in rule.state]
                copy = low[index] if low else None
                assert isinstance(gradient, Tensor)
                tensors = [p[part], gradient[part], *state]
                own_copy = None if copy is None else copy[part]
                if not self._by_kernel(kernels, first.name, tensors, rates, own_copy, options):
                    self._update_together(first.name, part, tensors, own_copy, options)

    @property
    def one_pass(self) -> bool:
        """Whether a member's large parameters are updated in one pass; the others' copies are made by operations."""
        return any(self.compiled)

    def in_one_pass(self, dtype: torch.dtype, low: bool) -> bool:
        """Updates large parameters of this type in one pass from now on, where this machine can; returns whether.

        With `low` their gradients, and copies that follow them, are bfloat16. `compiled` says it of each member.
        """
        for part in self.parts:
            optimizer = self.configs[part.start].optimizer
            is_compiled = updates_in_one_pass(optimizer.name, dtype, low=low, **_options(optimizer))
            self.compiled[part] = [is_compiled] * (part.stop - part.start)
        return self.one_pass

    @staticmethod
    def _kernels(name: str, p: Tensor) -> Any:
        """The module of the update kernels, if it has one for this rule and such a parameter."""
        own = own_kernels() if p.device.type == "cuda" and p.dtype == torch.float32 else None
        return own.updates if own is not None and name in own.updates.KERNELS else None

    @staticmethod
    def _by_kernel(
        kernels: Any, name: str, tensors: list[Tensor], rates: Any, low: Tensor | None, options: dict[str, Any]
    ) -> bool:
        """Updates by our own kernel, if there is one and the numbers of all tensors are in one order in the memory."""
        views = in_memory_order(*tensors, *([] if low is None else [low]))
        if kernels is None or views is None:
            return False
        p, gradient, *state = views[: len(tensors)]
        kernels.step(name, p, gradient, state, rates, None if low is None else views[-1], **options)
        return True

    def _update_together(
        self, name: str, part: slice, tensors: list[Tensor], low: Tensor | None, options: dict[str, Any]
    ) -> None:
        """Updates all members of a rule at once; compiled where the numbers are in one order in the memory."""
        p = tensors[0]
        tensors[1] = tensors[1].to(p.dtype)
        update = RULES[name].update
        if views := in_memory_order(*tensors):
            tensors = views  # [k, numbers]: one compilation for all shapes
            update = compiled_rule(name) if p.device.type == "cuda" else update
        lr = self.lr[part].view(-1, *[1] * (tensors[0].ndim - 1))
        update(*tensors, lr=lr, t=self.step, **options)
        if low is not None:
            low.copy_(p)

    def member_state(self, member: int) -> dict[str, Tensor]:
        """Returns one member's {`name/index of the parameter`: tensor [...]}: views, to be read or written into."""
        number, part = next((i, part) for i, part in enumerate(self.parts) if part.start <= member < part.stop)
        own = f"{number}/"
        return {k.removeprefix(own): v[member - part.start] for k, v in self.named_buffers() if k.startswith(own)}

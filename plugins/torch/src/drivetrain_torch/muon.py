"""The optimizer `muon`: Muon for the weight matrices of hidden layers, AdamW for all else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import OptimizerPlugin, UsageError, refuse_given_twice
from drivetrain_torch.muon_modules import find_adamw_modules

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MuonOptions:
    """Options of `muon`: those of `torch.optim.Muon`, and with ``adamw_`` those of its AdamW.

    Attributes:
        adjust_lr_fn: How the rate of a matrix depends on its shape. 'match_rms_adamw' makes updates
            as large as those of AdamW, so that one `learning_rate` suits both (arXiv:2502.16982);
            'original' wants rates near 0.02.
        adamw_lr: The highest rate of the AdamW part. None: `learning_rate`.
        adamw_betas: None: `adam_beta1` and `adam_beta2`.
        adamw_eps: None: `adam_epsilon`.
        adamw_modules: Modules whose matrices go to AdamW beside those of embeddings, as regular
            expressions that match a whole module name or its last part. None: the output head, as
            `find_adamw_modules` finds it. (): none.
    """

    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    ns_steps: int = 5
    eps: float = 1e-7
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = "match_rms_adamw"
    adamw_lr: float | None = None
    adamw_betas: tuple[float, float] | None = None
    adamw_eps: float | None = None
    adamw_modules: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum={self.momentum} must be in [0, 1): type 0.95, say.")
        if not 1 <= self.ns_steps < 100:
            raise ValueError(f"ns_steps={self.ns_steps} must be from 1 to 99: type 5, say.")
        for beta in self.adamw_betas or ():
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"adamw_betas={self.adamw_betas} must both be in [0, 1).")
        for name in ("eps", "adamw_lr", "adamw_eps"):
            value = getattr(self, name)
            if value is not None and not value >= 0.0:
                raise ValueError(f"{name}={value} must be 0 or more.")


class Muon(OptimizerPlugin):
    """Muon (K. Jordan, 2024) beside AdamW: one optimizer, one state, one schedule for both.

    Muon gets every trainable parameter of two dimensions. AdamW gets the rest: embeddings (and heads
    that share their weights), the output head, biases, weights of normalization and convolutions.
    """

    Options = MuonOptions
    paper = "Muon is Scalable for LLM Training, arXiv:2502.16982"
    state_bytes = 4.0
    suits = ("fewer steps",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        args, options = self.args, self.options
        muon = {
            "momentum": options.momentum,
            "nesterov": options.nesterov,
            "ns_coefficients": options.ns_coefficients,
            "ns_steps": options.ns_steps,
            "eps": options.eps,
            "adjust_lr_fn": options.adjust_lr_fn,
        }
        adamw = {
            "lr": args.learning_rate if options.adamw_lr is None else options.adamw_lr,
            "betas": options.adamw_betas or (args.adam_beta1, args.adam_beta2),
            "eps": args.adam_epsilon if options.adamw_eps is None else options.adamw_eps,
        }
        return MuonAdamW, {"lr": args.learning_rate, "muon": muon, "adamw": adamw}

    def group_parameters(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Split each group in two; those for Muon come first.

        Raises:
            UsageError: An expression in ``adamw_modules`` matches no module, or nothing is left for Muon.
        """
        modules = find_adamw_modules(model, self.options.adamw_modules)
        matrices = {id(p) for p in model.parameters() if p.dim() == 2}
        matrices -= {id(p) for module in modules.values() for p in module.parameters()}
        split = [_select(group, matrices, use_muon=True) for group in groups]
        split += [_select(group, matrices, use_muon=False) for group in groups]
        split = [group for group in split if group["params"]]
        if not any(group["use_muon"] for group in split):
            raise UsageError(self._explain_no_matrix(groups, modules))
        num_matrices = sum(len(group["params"]) for group in split if group["use_muon"])
        logger.info(
            "muon updates %d matrices; AdamW updates what is not 2-D, and the matrices of: %s",
            num_matrices,
            ", ".join(modules) or "no module",
        )
        return split

    def _explain_no_matrix(self, groups: list[dict[str, Any]], modules: dict[str, nn.Module]) -> str:
        """Where the trained matrices are, if not in hidden layers, and what to type."""
        trained = {id(p) for group in groups for p in group["params"] if p.dim() == 2}
        embeddings = {
            id(p)
            for module in modules.values()
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
            for p in module.parameters()
        }
        given = self.options.adamw_modules
        problem = (
            f"`optim`: {self.name!r} is for the weight matrices of hidden layers, and the model has no"
        )
        if trained <= embeddings:
            where = " beside those of embeddings" if trained else ""
            return f"{problem} trained matrix{where}. Type optim='adamw_torch'."
        advice = "name fewer in adamw_modules, which took the others"
        if given is None:
            advice = (
                "have Muon update what was taken for the output head: optim_args={'adamw_modules': []}"
            )
        others = ", ".join(name for name, module in modules.items() if _has_any(module, trained))
        return (
            f"{problem} other trained one than those of {others}. Type optim='adamw_torch', or {advice}."
        )

    def problems(self) -> Iterable[str]:
        yield from super().problems()
        if not hasattr(torch.optim, "Muon"):
            yield (
                f"`optim`: {self.name!r} needs torch 2.9 or newer, and {torch.__version__} is installed. "
                "Type: pip install --upgrade 'torch>=2.9'."
            )
        yield from refuse_given_twice(
            self, adamw_betas=("adam_beta1", "adam_beta2"), adamw_eps=("adam_epsilon",)
        )


def _has_any(module: nn.Module, parameters: set[int]) -> bool:
    return any(id(parameter) in parameters for parameter in module.parameters())


def _select(group: dict[str, Any], matrices: set[int], *, use_muon: bool) -> dict[str, Any]:
    chosen = [parameter for parameter in group["params"] if (id(parameter) in matrices) == use_muon]
    return {**group, "params": chosen, "use_muon": use_muon}


class MuonAdamW(Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW` on the groups of one optimizer.

    Args:
        params: Groups of parameters, each with a ``use_muon``; one without it goes to AdamW.
        lr: The rate of groups that have none of their own.
        muon: Keyword arguments of `torch.optim.Muon`.
        adamw: Keyword arguments of `torch.optim.AdamW`, with a ``lr`` of its own if wanted.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        muon: dict[str, Any] | None = None,
        adamw: dict[str, Any] | None = None,
    ) -> None:
        self._parts: list[Optimizer] | None = None
        self._muon_defaults = {"lr": lr, **(muon or {})}
        self._adamw_defaults = {"lr": lr, **(adamw or {})}
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, completed with the defaults of the part that updates it."""
        param_group.setdefault("use_muon", False)
        defaults = self._muon_defaults if param_group["use_muon"] else self._adamw_defaults
        for name, value in defaults.items():
            param_group.setdefault(name, value)
        super().add_param_group(param_group)
        self._parts = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._parts is None:
            self._parts = self._make_parts()
        for part in self._parts:
            part.state = self.state
            part.step()
        return loss

    def _make_parts(self) -> list[Optimizer]:
        """torch's optimizers on these very groups: what a schedule writes in them, they read."""
        groups = self.param_groups
        chosen = [
            (torch.optim.Muon, [group for group in groups if group["use_muon"]]),
            (torch.optim.AdamW, [group for group in groups if not group["use_muon"]]),
        ]
        return [cls(own) for cls, own in chosen if own]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._parts = None  # the groups may be other ones now

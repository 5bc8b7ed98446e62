"""One sound precision that scales losses, and some that have one fault each."""

from __future__ import annotations

import torch

from drivetrain.plugin import PrecisionPlugin


class Sound(PrecisionPlugin):
    """Computes in bfloat16 and scales the loss, without a fault."""

    float32_outputs = True

    def __init__(self, args, options=None):
        super().__init__(args, options)
        self.factor = 1024.0
        self.is_unscaled = False

    def autocast(self, device, cache_enabled=True):
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=cache_enabled)

    def scale(self, loss):
        return loss * self.factor

    def gradients_of(self, optimizer):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return [p.grad for p in parameters if p.grad is not None]

    def unscale(self, optimizer):
        for gradient in self.gradients_of(optimizer):
            gradient.div_(self.factor)
        self.is_unscaled = True

    def step(self, optimizer):
        if not self.is_unscaled:
            self.unscale(optimizer)
        self.is_unscaled = False
        if not all(torch.isfinite(gradient).all() for gradient in self.gradients_of(optimizer)):
            self.factor /= 2
            return False
        optimizer.step()
        return True

    def state_dict(self):
        return {"factor": self.factor}

    def load_state_dict(self, state):
        self.factor = state["factor"]


class NeverUnscales(Sound):
    """It leaves gradients scaled."""

    def unscale(self, optimizer):
        self.is_unscaled = True


class UnscalesLate(Sound):
    """It unscales in `step`, after gradients were clipped."""

    def unscale(self, optimizer):
        """Not yet."""

    def step(self, optimizer):
        Sound.unscale(self, optimizer)
        return super().step(optimizer)


class ForgetsToUnscale(Sound):
    """It unscales only for clipping."""

    def step(self, optimizer):
        self.is_unscaled = True
        return super().step(optimizer)


class StepsAnyhow(Sound):
    """It makes updates whose gradients overflowed."""

    def step(self, optimizer):
        self.is_unscaled = False
        optimizer.step()
        return True


class DoesNotSay(Sound):
    """It leaves out an update and does not say so."""

    def step(self, optimizer):
        super().step(optimizer)
        return True


class NeverRecovers(Sound):
    """It stays with the scale that overflows."""

    def unscale(self, optimizer):
        super().unscale(optimizer)
        if self.factor < 1024:
            for gradient in self.gradients_of(optimizer):
                gradient.fill_(float("inf"))


class LosesScale(Sound):
    """It does not take its scale back."""

    def load_state_dict(self, state):
        """Nothing."""


class ComputesInFloat32(Sound):
    """It computes in another dtype than it is said to."""

    def autocast(self, device, cache_enabled=True):
        return torch.autocast(device.type, torch.bfloat16, enabled=False)

"""The two classes of the libraries, imported without their noise.

Both libraries import transformers, to ask whether DeepSpeed shards the weights; it warns of things that
these optimizers have no use for. lomo-optim's own AdaLomo puts its state on a CUDA GPU whatever the model
is on, so that AdaLOMO is the one of pytorch-optimizer.
"""

from __future__ import annotations

from drivetrain.plugin import quietly

with quietly():
    from lomo_optim import Lomo as LibraryLomo
    from pytorch_optimizer import AdaLOMO as LibraryAdaLomo

__all__ = ["LibraryAdaLomo", "LibraryLomo"]

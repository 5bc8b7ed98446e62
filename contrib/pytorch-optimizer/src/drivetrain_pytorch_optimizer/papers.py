"""Where each method is described: what the library's own table of papers says."""

from __future__ import annotations

import functools
import re

from drivetrain_pytorch_optimizer.library import read_description

_ROW = re.compile(
    r"^\|\s*(?P<name>[^|]*?)\s*\|\s*\*(?P<title>[^|]+?)\*\s*\|.*?\[paper\]\((?P<link>[^)\s]+)\)",
    re.MULTILINE,
)
_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(?P<number>\d{4}\.\d{4,5})")
_NOT_IN_TABLE = {
    "adam": "Adam: A Method for Stochastic Optimization, arXiv:1412.6980",
    "adamax": "Adam: A Method for Stochastic Optimization, arXiv:1412.6980",
    "adamw": "Decoupled Weight Decay Regularization, arXiv:1711.05101",
    "alice": "Towards Efficient Optimizer Design for LLM via Structured Fisher Approximation with a Low-Rank "
    "Extension, arXiv:2502.07752",
    "lars": "Large Batch Training of Convolutional Networks, arXiv:1708.03888",
    "racs": "Towards Efficient Optimizer Design for LLM via Structured Fisher Approximation with a Low-Rank "
    "Extension, arXiv:2502.07752",
    "scalableshampoo": "Scalable Second Order Optimization for Deep Learning, arXiv:2002.09018",
    "schedulefreeadamw": "The Road Less Scheduled, arXiv:2405.15682",
    "schedulefreeradam": "The Road Less Scheduled, arXiv:2405.15682",
    "schedulefreesgd": "The Road Less Scheduled, arXiv:2405.15682",
}
_UNDER_ANOTHER_NAME = {
    "adamwsn": "snsm",
    "dadaptadagrad": "dadaptation",
    "dadaptadam": "dadaptation",
    "dadaptadan": "dadaptation",
    "dadaptlion": "dadaptation",
    "dadaptsgd": "dadaptation",
    "grokfastadamw": "grokfast",
    "kron": "psgd",
    "scionlight": "scion",
    "sgdp": "adamp",
    "sophiah": "sophia",
}


def find_paper(name: str, docstring: str) -> str:
    """``"Title, arXiv:2409.11321"``, with a link in place of the number where it is not on arXiv.

    Args:
        name: The library's name of an optimizer.
        docstring: That of the class, whose first link to arXiv counts if the table has none.
    """
    row = _UNDER_ANOTHER_NAME.get(name, name)
    return _read_table().get(row) or _NOT_IN_TABLE.get(name) or _shorten(docstring, otherwise="")


@functools.cache
def _read_table() -> dict[str, str]:
    """Papers by the table's names, in lower case and without anything but letters and digits."""
    return {
        re.sub(r"[\W_]", "", match["name"]).lower(): ", ".join(
            [match["title"].strip(), _shorten(match["link"], otherwise=match["link"])]
        )
        for match in _ROW.finditer(read_description())
    }


def _shorten(text: str, *, otherwise: str) -> str:
    match = _ARXIV.search(text)
    return f"arXiv:{match['number']}" if match else otherwise

"""The base class of searcher plugins, and what they share with core."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

Report = Callable[[float, int], bool]
"""Takes the objective of an evaluation and its update step; returns whether to stop the trial there."""


class BestRun(NamedTuple):
    """The run of a search that came out best.

    Attributes:
        run_id: Its checkpoints are in ``output_dir/run-{run_id}``, unless ``hp_name`` named the folder.
        objective: What it reached; a list if there are several objectives.
        hyperparameters: What it was trained with, by name.
        run_summary: What the searcher says of the search as a whole, if it does.
    """

    run_id: str
    objective: float | list[float]
    hyperparameters: dict[str, Any]
    run_summary: Any = None


class TrialResult(NamedTuple):
    """What a trial gave.

    Attributes:
        objective: Of its last evaluation, or of one after it was trained if there was none.
        was_stopped: ``report`` stopped it before its end.
    """

    objective: float | list[float]
    was_stopped: bool


class Search(Protocol):
    """One call of `Trainer.hyperparameter_search`, as a searcher gets it.

    Attributes:
        trainer: The trainer, for its data or arguments; trials are run with `run_trial`.
        n_trials: How many trials to run.
        directions: ``"minimize"`` or ``"maximize"`` for each objective.
        hp_space: What the user gave, in the form that the searcher documents; None for its default.
    """

    trainer: Trainer
    n_trials: int
    directions: tuple[str, ...]
    hp_space: Callable[[Any], Any] | None

    def run_trial(
        self, trial: Any, hyperparameters: Mapping[str, Any], run_id: str, report: Report | None = None
    ) -> TrialResult:
        """Train with these hyper-parameters and evaluate; the arguments are put back afterwards.

        Args:
            trial: Handed to ``model_init`` and ``hp_name``: the searcher's own object, or a dict.
            hyperparameters: Arguments by name, checked like newly made ones, and what ``model_init``
                reads from the trial.
            run_id: Unique in the search; names the folder of the trial's checkpoints.
            report: Called after each evaluation while the trial is trained. One objective only.

        Raises:
            UsageError: The hyper-parameters or the objective cannot work.
        """
        ...


class SearcherPlugin(Plugin):
    """Chooses hyper-parameters, trains with them, and says which were best.

    Options are the keyword arguments of `Trainer.hyperparameter_search` that it does not name itself.
    A whole plugin, for the entry-point group ``drivetrain.searchers``::

        class Rates(SearcherPlugin):
            def search(self, search):
                runs = []
                for number in range(search.n_trials):
                    tried = {"learning_rate": 0.1 / 2**number}
                    result = search.run_trial(tried, tried, str(number))
                    runs.append(BestRun(str(number), result.objective, tried))
                choose = min if search.directions == ("minimize",) else max
                return choose(runs, key=lambda run: run.objective)
    """

    @abstractmethod
    def search(self, search: Search) -> BestRun | list[BestRun]:
        """Run the trials and return the best run, or the best ones if there are several objectives."""
        raise NotImplementedError

"""Arguments of the run as a whole: where it writes, how long it is, what it starts from."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.fields import argument, argument_factory


@dataclass(init=False, repr=False, eq=False)
class RunArguments:
    """What a run is. Its first field is the one that is given without a name."""

    output_dir: str = argument(
        "trainer_output", "The folder for checkpoints, logs and what the reporters write."
    )
    overwrite_output_dir: bool = argument(
        False,
        "Delete the checkpoints of earlier runs in `output_dir`, once a run that does not resume has "
        "saved its first.",
    )
    do_train: bool = argument(False, "For scripts: whether to train. The trainer does not read it.")
    do_eval: bool = argument(
        False,
        "For scripts: whether to evaluate. Set by itself unless `eval_strategy` is 'no'; the trainer "
        "does not read it.",
    )
    do_predict: bool = argument(False, "For scripts: whether to predict. The trainer does not read it.")
    resume_from_checkpoint: str | bool | None = argument(
        None,
        "For scripts: the checkpoint to pass to `Trainer.train`, which says so if it is called without.",
    )
    per_device_train_batch_size: int = argument(8, "Samples in a training micro-batch, on each device.")
    gradient_accumulation_steps: int = argument(
        1, "Micro-batches whose gradients are added up before each update."
    )
    auto_find_batch_size: bool = argument(
        False, "Halve `per_device_train_batch_size` and start again whenever memory runs out."
    )
    num_train_epochs: float = argument(
        3.0, "Passes over the training data. A fraction trains that part of the last pass."
    )
    max_steps: int = argument(
        -1,
        "Updates in the run, if positive; overrides `num_train_epochs` and repeats the data as needed.",
    )
    seed: int = argument(42, "Seed of every random number generator, set when the trainer is made.")
    full_determinism: bool = argument(
        False, "Let torch use deterministic algorithms only, which is slower; for debugging."
    )
    plugins: list[str] = argument_factory(
        list, "Plugins that only implement hooks, by name, in the order in which they are called."
    )

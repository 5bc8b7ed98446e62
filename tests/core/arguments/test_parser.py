"""`HfArgumentParser`: dataclasses from command lines, dicts and files."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Dict, List, Literal, NewType, Optional, Union  # noqa: UP035 - what users write

import pytest

from drivetrain import HfArg, HfArgumentParser, TrainingArguments, UsageError

REPOSITORY = Path(__file__).resolve().parents[3]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(str, Enum):
    LOW = "low"
    HIGH = "high"


UserId = NewType("UserId", int)


class Size(Enum):
    SMALL = 1
    LARGE = 2


def parse(cls: Any, line: str | list[str], **kwargs: Any) -> Any:
    """The instance of one dataclass that a command line makes."""
    words = line.split() if isinstance(line, str) else line
    parsed = HfArgumentParser(cls, prog="train.py").parse_args_into_dataclasses(words, **kwargs)
    return parsed[0]


def names_of(cls: Any) -> list[str]:
    return [each.name for each in dataclasses.fields(cls)]


def refusal(cls: Any, line: str | list[str], capsys: pytest.CaptureFixture[str], **kwargs: Any) -> str:
    """What is printed of a command line that ends the script."""
    with pytest.raises(SystemExit) as ended:
        parse(cls, line, **kwargs)
    assert ended.value.code == 2
    return capsys.readouterr().err


# -- the same as transformers ------------------------------------------------------------------------


@dataclass
class Everything:
    """Every kind of field that the published parser can read."""

    name: str
    bare: bool
    bare_or_none: Optional[bool]  # noqa: UP045
    steps: int = 3
    rate: float = 1e-3
    path: Path = Path("here")
    path_of_text: Path = "there"  # type: ignore[assignment]
    flag: bool = False
    on: bool = True
    bare_flag: Optional[bool] = None  # noqa: UP045
    on_or_none: bool | None = True
    text: Optional[str] = None  # noqa: UP045
    count: int | None = None
    ratio: Optional[float] = 0.5  # noqa: UP045
    words: List[str] = field(default_factory=lambda: ["a", "b"])  # noqa: UP006
    numbers: list[int] = field(default_factory=list)
    shares: list[float] | None = None
    one_or_many: Union[str, List[str]] = field(default_factory=list)  # noqa: UP006, UP007
    none_or_one_or_many: Union[None, str, list[str]] = None  # noqa: RUF036, UP007
    levels: list[Level] = field(default_factory=list)
    colour: Colour = Colour.RED
    level: Level = Level.LOW
    level_or_text: Union[Level, str] = "low"  # noqa: UP007
    size: Size = Size.SMALL
    kind: Literal["x", "y", 3] = "x"
    chosen: str = field(default="p", metadata={"choices": ["p", "q"]})
    chosen_number: int = field(default=1, metadata={"choices": [1, 2]})
    renamed: str = field(default="old", metadata={"aliases": ["--other", "-o"], "help": "Any name."})
    hidden: str = field(default="never", init=False)


COMMAND_LINES = [
    "--name n",
    "--name n --steps -4 --rate 5e-5 --path a/b --text None",
    "--name n --flag --on",
    "--name n --flag true --on no --bare_flag yes",
    "--name n --flag 0 --on 1 --bare-flag F --on_or_none t",
    "--name n --no_on --no-on-or-none",
    "--name n --no-on --on",
    "--name n --count 7 --ratio 2",
    "--name n --words one two --numbers 1 2 3 --shares .5 1",
    "--name n --words one --one_or_many x --none_or_one_or_many x",
    "--name n --one-or-many x y",
    "--name n --levels high low --colour blue --level high --level_or_text high --size 2",
    "--name n --kind 3 --chosen q --chosen_number 2",
    "--name n --other o",
    "--name n -o o --renamed p",
    "--name=n --path-of-text=x --one_or_many=y",
    "--name n --steps 1 --steps 2",
]


@pytest.fixture(scope="module")
def published() -> Any:
    from transformers import HfArgumentParser as Published

    return Published(Everything)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_line_gives_the_values_that_it_gives_in_transformers(
    line: str, published: Any
) -> None:
    (theirs,) = published.parse_args_into_dataclasses(line.split())
    ours = parse(Everything, line)
    for name in names_of(Everything):
        value, expected = getattr(ours, name), getattr(theirs, name)
        assert (type(value), value) == (type(expected), expected), name


REFUSED_LINES = [
    "",
    "--name n --steps x",
    "--name n --rate x",
    "--name n --flag maybe",
    "--name n --kind z",
    "--name n --colour green",
    "--name n --level_or_text middle",
    "--name n --chosen r",
    "--name n --words",
    "--name n --numbers 1 x",
    "--name n --count None",
]


@pytest.mark.parametrize("line", REFUSED_LINES)
def test_what_transformers_refuses_is_refused(
    line: str, published: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        published.parse_args_into_dataclasses(line.split())
    assert "train.py: error: " in refusal(Everything, line, capsys)


# -- what is read beyond that ------------------------------------------------------------------------


@dataclass
class Beyond:
    """Fields that the published parser refuses or reads as something else."""

    options: dict[str, Any] | str | None = None
    old_options: Optional[Union[dict, str]] = None  # type: ignore[type-arg]  # noqa: UP007, UP045
    settings: Dict[str, int] = field(default_factory=lambda: {"a": 1})  # noqa: UP006
    number: Union[int, float] = 0  # noqa: UP007
    interval: float | str = 0.5
    any_of: int | float | bool | str = 0
    resume: str | bool | None = None
    pair: tuple[float, float] = (0.9, 0.999)
    many: tuple[int, ...] = ()
    modes: list[Literal["a", "b"]] = field(default_factory=list)
    mixed: list[int | str] = field(default_factory=list)
    shards: bool | str | list[str] = ""
    targets: str | list[str] | None = None
    plain: list = field(default_factory=list)  # type: ignore[type-arg]
    made_true: bool = field(default_factory=lambda: True)
    anything: Any = None
    bool_or_none: bool | None = None
    emptied: list[str] = field(default_factory=lambda: ["x"], metadata={"nargs": "*"})
    debug: str | list[Level] = ""
    auto_or_count: Literal["auto"] | int = "auto"
    identity: UserId = UserId(0)
    decimal: Decimal = Decimal("0")
    open_level: Level | str = field(default="low", metadata={"choices": None})


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--options", '{"a": [1, null]}'], "options", {"a": [1, None]}),
        (["--options", "rank=4"], "options", "rank=4"),
        (["--old_options", ' {"a": true}'], "old_options", {"a": True}),
        (["--settings", "{}"], "settings", {}),
        (["--number", "2"], "number", 2),
        (["--number", "2.5"], "number", 2.5),
        (["--interval", "1"], "interval", 1.0),
        (["--interval", "epoch"], "interval", "epoch"),
        (["--any_of", "1"], "any_of", 1),
        (["--any_of", "1e3"], "any_of", 1000.0),
        (["--any_of", "true"], "any_of", True),
        (["--any_of", "words"], "any_of", "words"),
        (["--resume"], "resume", True),
        (["--resume", "False"], "resume", False),
        (["--resume", "runs/checkpoint-5"], "resume", "runs/checkpoint-5"),
        (["--pair", "0.8", "1"], "pair", (0.8, 1.0)),
        (["--many", "1", "2", "3"], "many", (1, 2, 3)),
        (["--modes", "b", "a"], "modes", ["b", "a"]),
        (["--mixed", "1", "x"], "mixed", [1, "x"]),
        (["--shards"], "shards", True),
        (["--shards", "false"], "shards", False),
        (["--shards", "full", "auto"], "shards", ["full", "auto"]),
        (["--targets", "all-linear"], "targets", "all-linear"),
        (["--targets", "q", "v"], "targets", ["q", "v"]),
        (["--plain", "x", "1"], "plain", ["x", "1"]),
        (["--no_made_true"], "made_true", False),
        (["--anything", "x"], "anything", "x"),
        (["--bool_or_none"], "bool_or_none", True),
        (["--emptied"], "emptied", []),
        (["--debug", "low", "high"], "debug", [Level.LOW, Level.HIGH]),
        (["--debug", "low high"], "debug", "low high"),
        (["--auto_or_count", "4"], "auto_or_count", 4),
        (["--identity", "7"], "identity", 7),
        (["--decimal", "0.1"], "decimal", Decimal("0.1")),
        (["--open_level", "of_mine"], "open_level", "of_mine"),
    ],
)
def test_a_word_becomes_the_most_specific_of_the_types(words: list[str], name: str, value: Any) -> None:
    parsed = getattr(parse(Beyond, words), name)
    assert (type(parsed), parsed) == (type(value), value)
    rest = [other for other in names_of(Beyond) if other != name]
    assert [getattr(parse(Beyond, words), other) for other in rest] == [
        getattr(Beyond(), other) for other in rest
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--options", "{'a': 1}"],
            r"argument --options: \"\{'a': 1\}\" is no JSON: .*Type '\{\"key\": 1\}'",
        ),
        (["--settings", "[1]"], r"'\[1\]' is no JSON object"),
        (["--number", "x"], r"'x' is no value of type .*int.*float"),
        (["--pair", "1"], r"expected 2 arguments"),
        (["--modes", "c"], r"invalid choice: 'c'"),
        (["--auto_or_count", "many"], r"'many' is no value of type .*auto.*int"),
        (["--debug", "low", "middle"], r"'middle' is not allowed. Allowed: 'low', 'high'."),
        (["--decimal", "x"], r"'x' is no Decimal"),
        (["--bool_or_none", "perhaps"], r"'perhaps' is neither true nor false. Allowed: true, yes, 1"),
    ],
)
def test_a_word_that_cannot_be_read_is_refused_with_what_is_allowed(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, refusal(Beyond, words, capsys))


def test_instances_do_not_share_what_a_factory_made() -> None:
    parser = HfArgumentParser(Everything)
    (first,) = parser.parse_args_into_dataclasses(["--name", "n"])
    (second,) = parser.parse_args_into_dataclasses(["--name", "n"])
    first.words.append("c")
    assert second.words == ["a", "b"]


def test_defaults_of_the_parser_override_those_of_the_dataclass() -> None:
    parser = HfArgumentParser(Everything)
    parser.set_defaults(steps=9, words=["z"])
    (parsed,) = parser.parse_args_into_dataclasses(["--name", "n"])
    assert (parsed.steps, parsed.words) == (9, ["z"])


# -- several dataclasses, and what else is on the command line ----------------------------------------


@dataclass
class Model:
    """Its own group of arguments."""

    _argument_group_name: ClassVar[str] = "the model"

    model: str = HfArg(help="100% of the %(dest)s.", aliases="-m")
    layers: int = HfArg(default=2, help="How many.", metadata={"metavar": "N"})
    names: list[str] = HfArg(default_factory=list)


@dataclass
class Data:
    file: str = "data.txt"


def test_several_dataclasses_a_namespace_and_remaining_words_come_in_order() -> None:
    parser = HfArgumentParser((Data, Model))
    parser.add_argument("--extra", type=int, default=1)
    line = "--model m --file f --extra 5 --unknown 3"
    data, model, namespace, remaining = parser.parse_args_into_dataclasses(
        line.split(), return_remaining_strings=True
    )
    assert (data, model) == (Data("f"), Model("m"))
    assert vars(namespace) == {"extra": 5}
    assert remaining == ["--unknown", "3"]


def test_without_additional_arguments_there_is_no_namespace() -> None:
    assert HfArgumentParser([Data]).parse_args_into_dataclasses([]) == (Data(),)
    assert HfArgumentParser().parse_args_into_dataclasses([]) == ()
    assert HfArgumentParser(Data).parse_args_into_dataclasses([], return_remaining_strings=True) == (
        Data(),
        [],
    )


def test_parse_args_gives_a_namespace_of_all_flags() -> None:
    namespace = HfArgumentParser((Data, Model)).parse_args(["-m", "tiny"])
    assert vars(namespace) == {"file": "data.txt", "model": "tiny", "layers": 2, "names": []}


def test_the_words_of_the_script_are_taken_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--file", "f"])
    assert HfArgumentParser(Data).parse_args_into_dataclasses() == (Data("f"),)


def test_help_shows_both_spellings_groups_defaults_and_percent_signs() -> None:
    text = HfArgumentParser((Everything, Model), prog="train.py").format_help()
    plain = " ".join(text.split())
    assert re.search("--path_of_text( PATH_OF_TEXT)?, --path-of-text PATH_OF_TEXT", plain)
    assert "the model: " in plain
    assert "--layers N How many. (default: 2)" in plain
    assert "MODEL 100% of the model. --layers" in plain
    assert "--no_on, --no-on" in plain
    assert "{red,blue}" in plain
    assert "hidden" not in plain


def test_misspelt_and_abbreviated_flags_are_refused_with_the_ones_that_were_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refusal((Model, Data), "-m x --layerz 3 --fil=f", capsys)
    assert "unrecognized arguments: --layerz 3 --fil=f." in message
    assert "Did you mean --layers?" in message
    assert "Did you mean --file?" in message
    assert "`train.py --help`" in message
    with pytest.raises(SystemExit):
        HfArgumentParser(Data).parse_args(["--filo", "x"])
    assert "Did you mean --file?" in capsys.readouterr().err


def test_a_field_without_a_default_has_to_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the following arguments are required: --model" in refusal(Model, "--layers 3", capsys)


@dataclass
class Strict:
    share: float = 0.5
    word: str = "x"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"`share`: {self.share} is not in [0, 1]. Type share=0.5, say.")
        if self.word == "bad":
            raise ValueError("a bad word")


def test_what_a_dataclass_refuses_ends_the_script_with_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refusal(Strict, "--share 2", capsys)
    assert message.startswith("train.py: error: `share`: 2.0 is not in [0, 1]. Type share=0.5, say.\n")
    parser = HfArgumentParser(Strict, exit_on_error=False)
    with pytest.raises(UsageError, match="`share`"):
        parser.parse_args_into_dataclasses(["--share", "2"])
    with pytest.raises(UsageError, match="unrecognized arguments: --shar"):
        parser.parse_args_into_dataclasses(["--shar", "2"])
    with pytest.raises(UsageError, match="`share`"):
        parser.parse_dict({"share": 2})


def test_any_other_error_of_a_dataclass_is_not_touched() -> None:
    with pytest.raises(ValueError, match="a bad word"):
        parse(Strict, "--word bad")


# -- old spellings -----------------------------------------------------------------------------------


class Renamed:
    """Takes `speed` for what is called `rate` today."""

    old_spellings: ClassVar[Mapping[str, Any]] = {"speed": float, "off_line": bool, "file": str}


@dataclass
class Fields(Renamed):
    rate: float = 1.0


class WithOldSpellings(Fields):
    def __init__(self, rate: float = 1.0, **old: Any) -> None:
        super().__init__(old.get("speed", rate))
        self.old = old


def test_old_spellings_are_flags_that_help_does_not_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert "speed" not in HfArgumentParser(WithOldSpellings).format_help()
    parsed = parse(WithOldSpellings, "--speed 2 --off-line")
    assert (parsed.rate, parsed.old) == (2.0, {"speed": 2.0, "off_line": True})
    assert parse(WithOldSpellings, "").old == {}
    assert "argument --speed: 'x' is no float" in refusal(WithOldSpellings, "--speed x", capsys)


def test_old_spellings_are_keys_of_a_dict() -> None:
    (parsed,) = HfArgumentParser(WithOldSpellings).parse_dict({"speed": 3.0})
    assert (parsed.rate, parsed.old) == (3.0, {"speed": 3.0})


def test_a_field_and_an_added_argument_go_before_an_old_spelling() -> None:
    parser = HfArgumentParser((WithOldSpellings, Data))
    parser.add_argument("--speed")
    renamed, data, namespace = parser.parse_args_into_dataclasses(["--file", "f", "--speed", "fast"])
    assert (renamed.old, data.file, namespace.speed) == ({}, "f", "fast")
    renamed, data = parser.parse_dict({"file": "g", "speed": 1.0})
    assert (renamed.old, data.file) == ({"speed": 1.0}, "g")


# -- what cannot be a command line ---------------------------------------------------------------------


@dataclass
class Inexpressible:
    both: list[set[int]] | bytes | None = None
    nothing: object = None
    function: Callable[[int], int] | None = None
    nested: list[list[int]] = field(default_factory=list)
    model: Model | dict[str, Any] | None = None
    either: list[str] | Callable[[], int] | None = None


@dataclass
class InexpressibleAndRequired:
    function: Callable[[int], int]


def test_a_type_that_no_word_stands_for_is_refused_by_field_and_type(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parse(Inexpressible, "") == Inexpressible()
    message = refusal(Inexpressible, "--function f", capsys)
    assert "argument --function: a value of type Callable" in message
    assert "cannot be given on a command line. Set `function` in the script." in message
    assert "a value of type object" in refusal(Inexpressible, "--nothing", capsys)
    assert "a value of type list[set[int]]" in refusal(Inexpressible, "--both x", capsys)
    assert "a value of type list[list[int]]" in refusal(Inexpressible, "--nested 1 2", capsys)
    with pytest.raises(
        UsageError, match=r"`function`: a value of type Callable.* no default.*init=False"
    ):
        HfArgumentParser(InexpressibleAndRequired)


def test_of_several_types_those_that_a_word_stands_for_can_be_given() -> None:
    assert parse(Inexpressible, ["--model", '{"model": "m"}']).model == {"model": "m"}
    assert parse(Inexpressible, "--either a").either == ["a"]


def test_dataclasses_that_share_a_field_and_other_objects_are_refused() -> None:
    @dataclass
    class AlsoData:
        file: str = ""

    with pytest.raises(UsageError, match=r"Data and AlsoData have a field `file` each, and --file can"):
        HfArgumentParser((Data, AlsoData))
    with pytest.raises(UsageError, match=r"`dataclass_types`: 'data' is no dataclass"):
        HfArgumentParser(["data"])  # type: ignore[list-item]


def test_a_hint_that_cannot_be_resolved_is_named_with_its_class() -> None:
    class Local:
        pass

    @dataclass
    class Hidden:
        value: Local | None = None

    with pytest.raises(UsageError, match=r"a type hint of Hidden cannot be resolved: name 'Local'"):
        HfArgumentParser(Hidden)


# -- files ---------------------------------------------------------------------------------------------


def test_flags_come_from_the_file_next_to_the_script_and_the_command_line_overrides_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])
    (tmp_path / "train.args").write_text("--model from_file\n--layers 7 --names a b\n")
    parser = HfArgumentParser(Model)
    assert parser.parse_args_into_dataclasses() == (Model("from_file", 7, ["a", "b"]),)
    assert parser.parse_args_into_dataclasses(["--layers", "8"]) == (Model("from_file", 8, ["a", "b"]),)
    assert parser.parse_args_into_dataclasses(["-m", "x"], look_for_args_file=False) == (Model("x"),)


def test_flags_come_from_named_files_and_the_last_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])
    for name, layers in (("train", 1), ("base", 2), ("large", 3)):
        (tmp_path / f"{name}.args").write_text(f"--model {name} --layers {layers}")
    base, large = str(tmp_path / "base.args"), str(tmp_path / "large.args")
    assert parse(Model, "", args_filename=base) == Model("base", 2)
    assert parse(Model, f"--cfg {base} --cfg={large}", args_file_flag="--cfg") == Model("large", 3)
    assert parse(Model, f"-m x --cfg {large}", args_file_flag="--cfg") == Model("x", 3)
    assert parse(Model, "-m x", args_file_flag="--cfg") == Model("x", 1)
    message = refusal(Model, "--cfg nowhere.args", capsys, args_file_flag="--cfg")
    assert "argument --cfg: 'nowhere.args' is no file" in message


def test_a_file_of_flags_that_the_script_names_in_vain_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse(Data, "", args_filename="nowhere.args") == Data()
    assert "`args_filename`: 'nowhere.args' is no file" in caplog.text


VALUES = {"model": "m", "layers": 4, "names": ["a", "b"], "file": "f"}


def test_dicts_and_files_give_the_same_instances(tmp_path: Path) -> None:
    parser = HfArgumentParser((Model, Data))
    expected = (Model("m", 4, ["a", "b"]), Data("f"))
    assert parser.parse_dict(VALUES) == expected
    path = tmp_path / "values"
    path.write_text(json.dumps(VALUES))
    assert parser.parse_json_file(path) == expected
    assert parser.parse_json_file(str(path)) == expected
    path.write_text("model: m\nlayers: 4\nnames: [a, b]\nfile: f\n")
    assert parser.parse_yaml_file(path) == expected
    path.write_text('model = "m"\nlayers = 4\nnames = ["a", "b"]\nfile = "f"\n')
    assert parser.parse_toml_file(path) == expected


def test_a_number_with_an_exponent_is_one_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("share: 5e-1\nword: '5e-1'\n")
    assert HfArgumentParser(Strict).parse_yaml_file(path) == (Strict(0.5, "5e-1"),)


def test_unknown_and_missing_keys_are_one_error_each_that_names_them_all() -> None:
    parser = HfArgumentParser((Model, Data))
    unknown = {**VALUES, "layer": 1, "nothing_like_it": 2}
    with pytest.raises(
        UsageError,
        match=r"'layer' and 'nothing_like_it': no field of Model or Data. Did you mean layers\?",
    ):
        parser.parse_dict(unknown)
    assert parser.parse_dict(unknown, allow_extra_keys=True) == parser.parse_dict(VALUES)
    with pytest.raises(UsageError, match=r"`model` of Model must be given"):
        parser.parse_dict({"layers": 1})


@pytest.mark.parametrize(
    ("method", "text"),
    [("json", "{"), ("yaml", "a: [1"), ("toml", "a ="), ("json", "[1]"), ("yaml", "")],
)
def test_a_file_that_holds_no_values_by_name_is_named(method: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "values"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"`{method}_file`: '{re.escape(str(path))}' (is no|does not)"):
        getattr(HfArgumentParser(Data), f"parse_{method}_file")(path)


def test_yaml_without_its_package_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "values.yaml").write_text("file: f")
    with pytest.raises(UsageError, match=r"`yaml_file`: .*Type: pip install pyyaml"):
        HfArgumentParser(Data).parse_yaml_file(tmp_path / "values.yaml")


# -- TrainingArguments -----------------------------------------------------------------------------------


@dataclass
class ModelArguments:
    model_name_or_path: str
    task_name: str | None = None
    max_seq_length: int = 128


def test_the_published_script_is_started_with_the_published_line(tmp_path: Path) -> None:
    line = (
        "--model_name_or_path google-bert/bert-base-cased --task_name mrpc --do_train --do_eval "
        "--max_seq_length 128 --per_device_train_batch_size 16 --learning_rate 5e-5 --num_train_epochs 3 "
        f"--output_dir {tmp_path}/mrpc/ --overwrite_output_dir --use_cpu --report_to none"
    )
    parser = HfArgumentParser((ModelArguments, TrainingArguments))
    model, args = parser.parse_args_into_dataclasses(line.split())
    assert model == ModelArguments("google-bert/bert-base-cased", "mrpc", 128)
    assert (args.do_train, args.do_eval, args.overwrite_output_dir) == (True, True, True)
    assert (args.per_device_train_batch_size, args.learning_rate, args.num_train_epochs) == (
        16,
        5e-5,
        3.0,
    )
    assert args.output_dir == f"{tmp_path}/mrpc/"


def test_log_levels_of_the_published_line_are_set() -> None:
    line = "--log_level warning --log_level_replica error --use_cpu --report_to none"
    args = parse(TrainingArguments, line)
    assert (args.log_level, args.log_level_replica) == ("warning", "error")


def test_what_the_command_line_leaves_out_is_as_if_it_was_not_given() -> None:
    parsed = parse(TrainingArguments, "--output_dir out --use_cpu --report_to none")
    made = TrainingArguments("out", use_cpu=True, report_to="none")
    parsed.report_to = made.report_to
    ours, expected = parsed.to_dict(), made.to_dict()
    ours.pop("logging_dir"), expected.pop("logging_dir")  # it holds the time
    assert ours == expected


def test_old_spellings_of_training_arguments_are_flags(caplog: pytest.LogCaptureFixture) -> None:
    line = "--evaluation_strategy epoch --per_gpu_train_batch_size 4 --no_cuda --report_to none"
    args = parse(TrainingArguments, line)
    assert (args.eval_strategy, args.per_device_train_batch_size, args.use_cpu) == ("epoch", 4, True)
    assert "`evaluation_strategy`: the name today is `eval_strategy`" in caplog.text


def test_every_problem_with_training_arguments_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    line = "--use_cpu --learning_rate -1 --save_strategy no --load_best_model_at_end --report_to none"
    message = refusal(TrainingArguments, line, capsys)
    assert message.startswith("train.py: error: ")
    assert "`learning_rate`: -1.0" in message
    assert "`load_best_model_at_end`" in message


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


def test_help_is_shown_without_torch() -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('MODULES', *sys.modules, file=sys.stderr))\n"
        "from drivetrain import HfArgumentParser, TrainingArguments\n"
        "HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()\n"
    )
    done = run(code, "--help")
    assert done.returncode == 0
    assert re.search("--learning_rate( LEARNING_RATE)?, --learning-rate LEARNING_RATE", done.stdout)
    modules = done.stderr.partition("MODULES ")[2].split()
    assert "argparse" in modules
    assert not {"torch", "numpy", "transformers", "yaml"}.intersection(modules)


# -- the page ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_scripts_of_the_page_run_with_its_command_lines(own_folder: Path) -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    scripts = re.findall(r"^```python\n# (\S+)\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for name, code in scripts:
        (own_folder / name).write_text(code)
    lines = re.findall(r"^python (.*)$", page, flags=re.MULTILINE)
    (own_folder / "run.toml").write_text('learning_rate = 1e-4\nreport_to = "none"\n')
    (own_folder / "configured.args").write_text("--learning_rate 2e-4 --report_to none")
    (own_folder / "more.args").write_text("--per_device_train_batch_size 3")
    lines += ["configured.py run.toml", "configured.py --args_file more.args"]
    outputs = []
    for line in lines:
        done = subprocess.run(
            [sys.executable, *line.split()], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == "ModelArguments(model='tiny', freeze=['embed', 'head']) runs/tiny 5e-05\n"
    assert "--freeze FREEZE [FREEZE ...]" in outputs[1]
    assert outputs[2:] == ["0.0001 8\n", "0.0002 3\n"]

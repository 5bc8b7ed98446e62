"""From what a user typed to the dataclass that a part declares: nothing dropped, nothing guessed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, Union

import numpy as np
import pytest

from drivetrain.plugin.options import (
    NoOptions,
    OptionsError,
    describe_options,
    parse_options,
    read_options,
    show_type,
)

OWNER = "'lion' (drivetrain-lion 1.0)"


def parse(text: str) -> dict[str, Any]:
    return parse_options(text, option="optim_args")


def read(cls: type[Any], given: Any, option: str = "optim_args") -> Any:
    return read_options(cls, given, option=option, owner=OWNER)


def says(text: str) -> str:
    """A pattern for the whole message."""
    return f"^{re.escape(text)}$"


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("   \n ", {}),
        ("rank=64", {"rank": 64}),
        ("rank=64, scale=0.25", {"rank": 64, "scale": 0.25}),
        ("rank=64,scale=.25,", {"rank": 64, "scale": 0.25}),
        (" rank = 64 ,\n scale = 1e-8 ", {"rank": 64, "scale": 1e-8}),
        ("rank=64  # a remark", {"rank": 64}),
        ("a=-1, b=+2, c=1_000, d=0x10, e=1+2j", {"a": -1, "b": 2, "c": 1000, "d": 16, "e": 1 + 2j}),
        ("a=True, b=False, c=None", {"a": True, "b": False, "c": None}),
        ("a='x y', b=\"x, y=1\", c=''", {"a": "x y", "b": "x, y=1", "c": ""}),
        ("betas=(0.9, 0.95)", {"betas": (0.9, 0.95)}),
        ("a=((1, 2), (3, (4, 5)))", {"a": ((1, 2), (3, (4, 5)))}),
        ("a=[1, [2]], b={'x': (1,)}, c=()", {"a": [1, [2]], "b": {"x": (1,)}, "c": ()}),
        ("kind=std", {"kind": "std"}),
        ("kind=true", {"kind": "true"}),
        ("dtype=torch.bfloat16", {"dtype": "torch.bfloat16"}),
        ("a=b.c.d, e=f", {"a": "b.c.d", "e": "f"}),
        ("a='1) + (2'", {"a": "1) + (2"}),
    ],
)  # fmt: skip
def test_text_is_read_as_keys_with_literals_or_bare_words(text: str, expected: dict[str, Any]) -> None:
    values = parse(text)
    assert values == expected
    assert [type(value) for value in values.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    "text",
    [
        "rank",
        "64",
        "rank=",
        "=64",
        ",",
        "rank=64 scale=1",
        "rank=64;scale=1",
        "rank:64",
        "rank 64",
        "my-rank=64",
        "betas=(0.9, 0.95",
        "betas=0.9, 0.95",
        "kind='std",
        "lambda=1",
        "*words",
        "**{'rank': 64}",
        "rank=64, **{}",
        "rank=64)(scale=1",
        "rank=64), options(scale=1",
        "rank=64).scale(x=1",
        "rank=64) + options(scale=1",
        "rank=1) #",
        "rank=64\x00",
        "(" * 500,
    ],
)
def test_text_of_another_form_is_refused_with_an_example(text: str) -> None:
    expected = (
        f"`optim_args`: {text!r} cannot be read. Write key=value pairs separated by commas, values as "
        "Python literals, text with quotes where it is no single word: "
        "optim_args=\"rank=64, betas=(0.9, 0.95), kind='a b'\", or pass a dict."
    )
    with pytest.raises(OptionsError, match=says(expected)):
        parse(text)


@pytest.mark.parametrize(
    "value",
    ["2**10", "1/2", "f(x)", "[x for x in y]", "not x", "a if b else c", "lambda: 1", "f'{x}'", "x[0]",
     "(1).real", "f().x", "[std, left]", "(1, x)", "all-linear", "{[]: 1}", "{{}}"],
)  # fmt: skip
def test_a_value_that_is_no_literal_is_refused(value: str) -> None:
    with pytest.raises(OptionsError, match="`optim_args`: the value of 'kind', ") as caught:
        parse(f"rank=64, kind={value}")
    assert str(caught.value).endswith(
        "is no literal. Write a number, True, False, None, a quoted text, or a tuple, list or dict of those."
    )


def test_nothing_in_a_value_is_run() -> None:
    with pytest.raises(OptionsError, match=re.escape("__import__('os').abort(), is no literal")):
        parse("kind=__import__('os').abort()")


def test_a_key_that_is_given_twice_is_refused() -> None:
    expected = "`optim_args`: 'rank' is given twice in 'rank=64, rank=32'. Give it once."
    with pytest.raises(OptionsError, match=says(expected)):
        parse("rank=64, rank=32")


def test_a_backslash_in_a_pattern_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(r"pattern='layer\.\d+'") == {"pattern": r"layer\.\d+"}


def test_a_json_object_is_read_too() -> None:
    text = '{"min_lr": 1e-5, "last": null, "flags": [true, "x"]}'
    assert parse(text) == {"min_lr": 1e-5, "last": None, "flags": [True, "x"]}


@pytest.mark.parametrize("text", ['{"min_lr": }', "{min_lr: 1}", "{'min_lr': 1e-5}x"])
def test_half_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(OptionsError, match=r"cannot be read\. Write key=value pairs"):
        parse(text)


def test_the_option_in_a_message_is_the_one_that_held_the_text() -> None:
    with pytest.raises(OptionsError, match=r"^`lr_scheduler_kwargs`: .*: lr_scheduler_kwargs=\"rank=64"):
        parse_options("x", option="lr_scheduler_kwargs")


# -- keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    rank: int = 128
    scale: float = 0.25
    kind: Literal["std", "left", "right"] = "std"
    betas: tuple[float, float] = (0.9, 0.999)
    seed: int | None = None


DESCRIBED = (
    "Options: rank: int = 128; scale: float = 0.25; kind: 'std' | 'left' | 'right' = 'std'; "
    "betas: tuple[float, float] = (0.9, 0.999); seed: int | None = None."
)


@pytest.mark.parametrize("given", [None, "", {}])
def test_without_options_the_defaults_count(given: Any) -> None:
    assert read(Options, given) == Options()


@pytest.mark.parametrize("given", ["rank=64, kind=left, betas=(0.8, 0.9)",
                                   {"rank": 64, "kind": "left", "betas": [0.8, 0.9]}])  # fmt: skip
def test_text_and_dict_give_the_same(given: Any) -> None:
    assert read(Options, given) == Options(rank=64, kind="left", betas=(0.8, 0.9))


def test_the_dict_that_was_given_is_left_as_it_is() -> None:
    given = {"betas": [1, 2]}
    assert read(Options, given).betas == (1.0, 2.0)
    assert given == {"betas": [1, 2]}


def test_an_unknown_key_is_refused_with_the_nearest_and_all_options() -> None:
    expected = f"`optim_args`: 'rnak' is no option of {OWNER}. Did you mean 'rank'? {DESCRIBED}"
    with pytest.raises(OptionsError, match=says(expected)):
        read(Options, "rnak=64")


@pytest.mark.parametrize("key", ["xyz", 3, None])
def test_an_unknown_key_that_resembles_nothing_gets_no_guess(key: Any) -> None:
    expected = f"`optim_args`: {key!r} is no option of {OWNER}. {DESCRIBED}"
    with pytest.raises(OptionsError, match=says(expected)):
        read(Options, {key: 1})


def test_a_part_without_options_says_so() -> None:
    expected = f"`optim_args`: 'rank' is no option of {OWNER}. It has no options."
    with pytest.raises(OptionsError, match=says(expected)):
        read(NoOptions, "rank=64")
    assert read(NoOptions, None) == NoOptions()


@pytest.mark.parametrize("given", [["rank=64"], ("rank", 64), 64, 0, False, object])
def test_what_is_neither_text_nor_dict_is_refused(given: Any) -> None:
    expected = f"`optim_args`: {given!r} is neither text nor a dict. Type: optim_args="
    with pytest.raises(OptionsError, match=f"^{re.escape(expected)}"):
        read(Options, given)


@dataclass
class Required:
    path: str
    size: int
    mode: str = "r"


def test_missing_options_are_named_with_what_to_type() -> None:
    described = "Options: path: str; size: int; mode: str = 'r'."
    expected = (
        f'`optim_args`: {OWNER} needs path and size. Type: optim_args="path=..., size=...". {described}'
    )
    with pytest.raises(OptionsError, match=says(expected)):
        read(Required, None)
    advice = "Type: lr_scheduler_kwargs=dict(size=...)."
    expected = f"`lr_scheduler_kwargs`: {OWNER} needs size. {advice} {described}"
    with pytest.raises(OptionsError, match=says(expected)):
        read(Required, {"path": "x"}, option="lr_scheduler_kwargs")


@dataclass
class Special:
    limits: ClassVar[int] = 3
    names: list[str] = field(default_factory=lambda: ["a"])
    made: int = field(default=0, init=False)


@pytest.mark.parametrize("key", ["limits", "made"])
def test_fields_that_are_not_for_users_are_no_options(key: str) -> None:
    with pytest.raises(
        OptionsError, match=r"is no option of .* Options: names: list\[str\] = \['a'\]\."
    ):
        read(Special, {key: 1})


def test_a_default_that_is_made_anew_is_not_shared() -> None:
    read(Special, None).names.append("b")
    assert read(Special, None).names == ["a"]


@dataclass
class Checked:
    rank: int = 1

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank={self.rank} is not positive.")


def test_what_the_dataclass_itself_refuses_names_the_option() -> None:
    expected = "`optim_args`: rank=0 is not positive. Options: rank: int = 1."
    with pytest.raises(OptionsError, match=says(expected)) as caught:
        read(Checked, "rank=0")
    assert isinstance(caught.value.__cause__, ValueError)


# -- types ------------------------------------------------------------------------------------------


OptionalInt = Union[int, None]  # noqa: UP007 (as older annotations have it)


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


def convert(value: Any, hint: Any) -> Any:
    holder: type[Any] = dataclass(
        type("Holder", (), {"__annotations__": {"x": hint}, "__module__": __name__})
    )
    return read(holder, {"x": value}).x


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (0.5, float, 0.5),
        (np.float32(0.5), float, 0.5),
        (np.int64(3), int, 3),
        (True, bool, True),
        ("std", str, "std"),
        (None, OptionalInt, None),
        (3, OptionalInt, 3),
        (3, int | float, 3),
        (3, float | int, 3),
        (3, float | None, 3.0),
        (True, float | bool, True),
        (None, int | str | None, None),
        ("x", int | str, "x"),
        ("left", Literal["left", "right"], "left"),
        (2, Literal[1, 2], 2),
        (None, Literal["a"] | None, None),
        ([0.9, 1], tuple[float, float], (0.9, 1.0)),
        ((0.9, 1), tuple[float, float], (0.9, 1.0)),
        ([1, 2, 3], tuple[int, ...], (1, 2, 3)),
        ((), tuple[int, ...], ()),
        (((1, 2), [3, 4]), tuple[tuple[int, int], ...], ((1, 2), (3, 4))),
        ([1], tuple, (1,)),
        ((1, 2), tuple[float, float] | None, (1.0, 2.0)),
        ([1, "a"], list, [1, "a"]),
        ([1, 2], list[float], [1.0, 2.0]),
        (["a"], list[str] | str, ["a"]),
        ("a", list[str] | str, "a"),
        ({"a": 1}, dict, {"a": 1}),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": [1]}, dict[str, Any], {"a": [1]}),
        ({1, 2}, set[int], {1, 2}),
        (["a"], Sequence[str], ["a"]),
        ({"a": 1}, Mapping[str, int], {"a": 1}),
        ("left", Side, Side.LEFT),
        (Side.LEFT, Side, Side.LEFT),
        ({"any": object}, Any, {"any": object}),
        (None, None, None),
    ],
)  # fmt: skip
def test_a_value_of_the_type_is_taken(value: Any, hint: Any, expected: Any) -> None:
    converted = convert(value, hint)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "shown"),
    [
        (True, int, "int"),
        (64.0, int, "int"),
        ("64", int, "int"),
        (None, int, "int"),
        (True, float, "float"),
        ("0.5", float, "float"),
        (10**400, float, "float"),
        (1j, float, "float"),
        (2, bool, "bool"),
        ("true", bool, "bool"),
        (1, str, "str"),
        (None, str, "str"),
        ("x", int | None, "int | None"),
        (0.5, OptionalInt, "int | None"),
        ("up", Literal["left", "right"], "'left' | 'right'"),
        (True, Literal[1, 2], "1 | 2"),
        (1.0, Literal[1, 2], "1 | 2"),
        (["left"], Literal["left"], "'left'"),
        ((0.9,), tuple[float, float], "tuple[float, float]"),
        ((0.9, 0.95, 1), tuple[float, float], "tuple[float, float]"),
        ((0.9, "x"), tuple[float, float], "tuple[float, float]"),
        (0.9, tuple[float, float], "tuple[float, float]"),
        ("ab", tuple[str, str], "tuple[str, str]"),
        ((1, "x"), tuple[int, ...], "tuple[int, ...]"),
        ("a", list[str], "list[str]"),
        (("a",), list[str], "list[str]"),
        ([1], list[str], "list[str]"),
        ({"a": "x"}, dict[str, float], "dict[str, float]"),
        ({1: 1.0}, dict[str, float], "dict[str, float]"),
        ([("a", 1)], dict[str, Any], "dict[str, anything]"),
        ({"x"}, set[int], "set[int]"),
        ("attn", Sequence[str], "Sequence[str]"),
        ("up", Side, "'left' | 'right'"),
        (np.zeros(2), Literal["left"], "'left'"),
        ("torch.float16", np.dtype, "dtype"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(value: Any, hint: Any, shown: str) -> None:
    expected = (
        f"`optim_args`: x={value!r} is no {shown}, which is what {OWNER} expects. Options: x: {shown}."
    )
    with pytest.raises(OptionsError, match=says(expected)):
        convert(value, hint)


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        (int, "int"),
        (None, "None"),
        (type(None), "None"),
        (Any, "anything"),
        (OptionalInt, "int | None"),
        (int | str | None, "int | str | None"),
        (Literal["a", 1, None], "'a' | 1 | None"),
        (tuple[float, ...], "tuple[float, ...]"),
        (dict[str, list[int | None]], "dict[str, list[int | None]]"),
        (Mapping[str, Any], "Mapping[str, anything]"),
        (Side, "'left' | 'right'"),
    ],
)
def test_types_are_shown_as_a_user_would_write_them(hint: Any, shown: str) -> None:
    assert show_type(hint) == shown


def test_options_are_described_in_one_line() -> None:
    assert describe_options(Options) == DESCRIBED
    assert describe_options(NoOptions) == "It has no options."


@dataclass
class Switches:
    use_kahan_summation: bool = False
    foreach: bool | None = None
    label: str = ""
    mode: bool | str = True
    way: Literal["false", "auto"] | bool = "auto"
    anything: Any = None


def test_true_and_false_as_json_writes_them_are_bools_where_a_bool_is_meant() -> None:
    text = "use_kahan_summation=true, foreach=false, label=true, mode=false, way=false, anything=true"
    assert read(Switches, text) == Switches(True, False, "true", "false", "false", "true")
    assert type(read(Switches, text).label) is str


@pytest.mark.parametrize("given", ["foreach='true'", {"foreach": "true"}, '{"foreach": "true"}'])
def test_a_text_in_quotes_is_no_bool(given: Any) -> None:
    with pytest.raises(OptionsError, match=r"foreach='true' is no bool \| None"):
        read(Switches, given)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("use_kahan_summation=1", "Type use_kahan_summation=True. "),
        ("foreach=0", "Type foreach=False. "),
        ("foreach=2", ""),
        ("foreach=yes", ""),
    ],
)
def test_one_and_zero_are_no_bools_and_told_what_to_type(given: str, advice: str) -> None:
    with pytest.raises(OptionsError, match=re.escape(f"is what {OWNER} expects. {advice}Options: ")):
        read(Switches, given)

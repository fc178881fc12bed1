"""A knob is declared once: its default, bound, flag and record."""

from typing import Annotated

import pytest
from pydantic import ValidationError, model_validator

from cluster.base.errors import InvalidInput
from cluster.contract.config import Between, Config, OneOf, describe


class Knobs(Config):
    epochs: Annotated[int, Between(1, 100)] = 8
    lr: Annotated[float, Between(1e-5, 1.0, log=True)] = 3e-3
    batch_size: int = 32
    flip: bool = True
    widths: tuple[int, ...] = (8, 16)


class Paired(Config):
    low: int = 1
    high: int = 2

    @model_validator(mode="after")
    def _ordered(self) -> "Paired":
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def test_settings_of_the_command_line_are_read_as_their_types() -> None:
    knobs = Knobs.parse(["epochs=3", "lr = 0.01", "batch-size=64", "flip=false"])
    assert knobs == Knobs(epochs=3, lr=0.01, batch_size=64, flip=False)


def test_a_knob_of_several_values_is_written_with_commas() -> None:
    assert Knobs.parse(["widths=16,32,64"]).widths == (16, 32, 64)
    assert Knobs.parse({"widths": [4]}).widths == (4,)


def test_an_unknown_knob_offers_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"There is no knob 'epoch'. Did you mean 'epochs'?"):
        Knobs.parse(["epoch=3"])


def test_a_value_out_of_bounds_is_told_with_the_bounds() -> None:
    with pytest.raises(InvalidInput) as refused:
        Knobs.parse(["lr=7"])
    assert str(refused.value) == (
        "lr is '7'; it must be less than or equal to 1. "
        "Its default is 0.003 and it lies between 1e-05 and 1."
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "three", ""])
def test_what_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"^lr is .*; it must be a (finite )?number\. Its default is 0\.003"
    ):
        Knobs.parse([f"lr={value}"])


def test_one_wrong_value_among_several_says_which() -> None:
    with pytest.raises(InvalidInput, match=r"^widths\.1 is 'x'; it must be a whole number\."):
        Knobs.parse(["widths=1,x"])


@pytest.mark.parametrize("text", ["epochs", "=3", ""])
def test_what_is_no_setting_shows_how_one_looks(text: str) -> None:
    with pytest.raises(InvalidInput, match="Write name=value, as in epochs=3"):
        Knobs.parse([text])


def test_knobs_that_do_not_fit_together_are_refused_with_the_reason() -> None:
    with pytest.raises(InvalidInput, match=r"^low is above high\.$"):
        Paired.parse(["low=3"])


def test_bounds_stand_in_the_json_schema() -> None:
    assert Knobs.model_json_schema()["properties"]["epochs"] == {
        "default": 8, "maximum": 100, "minimum": 1, "title": "Epochs", "type": "integer",
    }  # fmt: skip


class Choices(Config):
    widths: Annotated[tuple[int, ...], OneOf((16,), (16, 32))] = (16,)
    network: Annotated[str, OneOf("small", "large", others=True)] = "small"


def test_a_knob_takes_one_of_its_choices_and_tells_them() -> None:
    assert Choices.parse(["widths=16,32"]).widths == (16, 32)
    with pytest.raises(InvalidInput) as refused:
        Choices.parse(["widths=8"])
    assert str(refused.value) == (
        "widths: (8,) is not among its choices. "
        "Its default is (16,) and it is one of (16,), (16, 32)."
    )


def test_choices_for_a_search_may_leave_room_for_others() -> None:
    assert Choices.parse(["network=resnet-18"]).network == "resnet-18"
    assert describe("network", Choices.model_fields) == (
        "Its default is 'small' and it is such as 'small', 'large'."
    )


def test_a_config_does_not_change_and_defaults_are_checked_too() -> None:
    with pytest.raises(ValidationError):
        Knobs().epochs = 3  # type: ignore[misc]

    class Wrong(Config):
        epochs: Annotated[int, Between(1, 100)] = 0

    with pytest.raises(
        InvalidInput, match=r"^epochs is 0; it must be greater than or equal to 1\."
    ):
        Wrong.parse()

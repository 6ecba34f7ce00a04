"""Options declared as fields: what a run records of them follows from the declaration."""

from dataclasses import dataclass

from megastyle_cli.core.option import declared_options, option, option_names, result_options


@dataclass(frozen=True, kw_only=True)
class Example:
    """One option of each kind."""

    style: str = option("ink", help="Which style.", changes_results="yes")
    crop: float = option(1.0, min=0, max=1, changes_results="if set", recorded_as="crop_share")
    device: str | None = option(None)
    note: str = "no option"


def test_only_fields_made_by_option_are_options() -> None:
    assert [field.name for field, _ in declared_options(Example)] == ["style", "crop", "device"]


def test_the_names_of_groups_are_those_of_their_options() -> None:
    assert option_names(Example) == option_names(Example()) == {"style", "crop", "device"}


def test_a_run_records_what_changes_results_and_later_options_only_if_set() -> None:
    assert result_options(Example()) == {"style": "ink"}
    assert result_options(Example(crop=0.5, device="cpu")) == {"style": "ink", "crop_share": 0.5}


def test_groups_are_recorded_in_the_order_given() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Seed:
        seed: int = option(0, changes_results="yes")

    assert list(result_options(Seed(), Example())) == ["seed", "style"]

"""Checks as lines for people and as JSON, and whether all that is needed is there."""

from megastyle_cli.core.check import Check, as_table, failed, is_complete
from megastyle_cli.core.errors import MegastyleError

HERE = Check(topic="Machine", name="cores", text="2")
UNUSED = Check(
    topic="Extras", name="ray", text="a cluster", ok=False, is_needed=False, fix="pip install ray"
)
NEEDED = failed("Extras", "weights", MegastyleError("x is damaged", hint="fetch it again"))


def test_only_what_is_needed_must_be_there() -> None:
    assert is_complete([HERE, UNUSED])
    assert not is_complete([HERE, NEEDED])


def test_a_table_names_each_topic_once_and_ends_a_line_with_what_to_do() -> None:
    assert as_table([HERE, UNUSED, NEEDED]).splitlines() == [
        "Machine",
        "  ok       cores    2",
        "Extras",
        "  -        ray      a cluster: pip install ray",
        "  missing  weights  x is damaged: fetch it again",
    ]


def test_a_name_does_not_steer_the_terminal() -> None:
    assert "\x1b" not in as_table([Check(topic="Folders", name="models", text="\x1b[31m")])


def test_json_has_the_status_and_no_empty_fix() -> None:
    values = HERE.as_dict()

    assert values["status"] == "ok" and "fix" not in values
    assert UNUSED.as_dict()["fix"] == "pip install ray"

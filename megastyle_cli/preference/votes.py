"""Votes that people saved on the page: read strictly, since files come from many hands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.preference.comparisons import Question
from megastyle_cli.preference.voting_folder import VERSION, Key

Choice = Literal["left", "right", "tie", "neither"]
FORMAT = "megastyle votes"
MIN_RIGHT = 0.8  # share of the controls that a voter must answer rightly


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer: `chosen` is the number of the picture in the comparison, None for neither.

    `is_failure` tells "both fail" from "no difference".
    """

    voter: str
    item: str
    question: Question
    chosen: int | None
    is_failure: bool


def read_votes(paths: Sequence[Path], key: Key, name: str) -> list[Vote]:
    """The votes of all files for the page `name`; of two files of a voter the later one counts.

    Raises MegastyleError for a file that holds none, holds those of another page, or is damaged.
    """
    files = [(path, _read(path, key, name)) for path in paths]
    last: dict[tuple[str, str, str], Vote] = {}
    for path, found in sorted(files, key=lambda each: str(each[1]["saved"])):
        for vote in _votes(path, found, key):
            last[vote.voter, vote.item, vote.question] = vote
    return list(last.values())


def control_results(votes: Iterable[Vote], key: Key) -> dict[str, tuple[int, int]]:
    """How many controls each voter answered rightly, and how many in all."""
    results: dict[str, tuple[int, int]] = {}
    for vote in votes:
        is_control = key.items[vote.item]["kind"] == "control"
        right, total = results.get(vote.voter, (0, 0))
        results[vote.voter] = (right + (is_control and vote.chosen == 0), total + is_control)
    return results


def unreliable_voters(votes: Iterable[Vote], key: Key) -> list[str]:
    """Those who answered less than MIN_RIGHT of their controls rightly."""
    results = control_results(votes, key)
    return sorted(voter for voter, (right, total) in results.items() if right < MIN_RIGHT * total)


def self_agreement(votes: Sequence[Vote], key: Key) -> tuple[int, int]:
    """How many repeated comparisons were answered as before, and how many in all."""
    answers = {(vote.voter, vote.item, vote.question): vote.chosen for vote in votes}
    same = total = 0
    for (voter, item, question), chosen in answers.items():
        before = (voter, key.items[item].get("repeats"), question)
        if before in answers:
            total += 1
            same += answers[before] == chosen
    return same, total


def _read(path: Path, key: Key, name: str) -> dict[str, Any]:
    hint = "save the votes once more on the page"
    found = read_object(path, hint)
    if found.get("format") != FORMAT:
        raise MegastyleError(f"{path} holds no votes", hint=f"give files saved on {name}")
    types = {"version": int, "page": str, "voter": str, "votes": list, "saved": str}
    found = read_object(path, hint, **types)
    if found["version"] > VERSION:
        raise MegastyleError(
            f"{path} has version {found['version']}, this program reads {VERSION}",
            hint="update megastyle",
        )
    if found["page"] != key.page:
        raise MegastyleError(
            f"{path} holds votes for page {found['page']}, but {name} is page {key.page}",
            hint="give the folder of the page that the votes were saved on",
        )
    return found


def _votes(path: Path, found: dict[str, Any], key: Key) -> Iterable[Vote]:
    for vote in found["votes"]:
        if not isinstance(vote, dict) or not _is_valid(vote, key):
            raise MegastyleError(
                f"{path} is damaged: {str(vote)[:80]} is no vote", hint="save the votes once more"
            )
        left, choice = vote["left"], vote["choice"]
        yield Vote(
            voter=found["voter"],
            item=vote["item"],
            question=vote["question"],
            chosen={"left": left, "right": 1 - left}.get(choice),
            is_failure=choice == "neither",
        )


def _is_valid(vote: dict[str, Any], key: Key) -> bool:
    item = vote.get("item")
    return (
        isinstance(item, str)
        and item in key.items
        and vote.get("question") in get_args(Question)
        and vote.get("left") in (0, 1)
        and vote.get("choice") in get_args(Choice)
    )

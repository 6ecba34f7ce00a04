"""What a generative model answered: cleaned, checked against what it was asked, or refused.

Every rule is one fault: its kind is counted, its sentence goes back to the model. Source: the rules
of MegaStyle++ (arXiv 2609.01423) for attributes; the word lists and the other rules are ours.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

from megastyle_cli.caption.wordlists import (
    ABSENT,
    FOREIGN_WORDS,
    FORMS,
    HUES,
    PRAISE,
    REFUSAL,
    SMALL_WORDS,
    STYLE_WORDS,
    SUBJECTS,
    TOO_COMMON,
    VAGUE_WORDS,
)
from megastyle_cli.core.style import WORD_LIMITS, StyleAttributes

FaultKind = Literal[
    "empty",
    "garbage",
    "refusal",
    "language",
    "repetition",
    "broken_json",
    "form",
    "word_limit",
    "vague",
    "content_in_style",
    "style_in_content",
]
CONTENT_WORDS = (5, 10)
SENTENCE_WORDS = (16, 40)
ATTRIBUTES = tuple(field.name for field in fields(StyleAttributes))
NEEDED = ("identity", "colors", "light")  # the attributes that no picture is without


class Fault(NamedTuple):
    """Why an answer is not used: the kind that is counted, and the sentence the model is told."""

    kind: FaultKind
    sentence: str


class Refused(Exception):
    """An answer that is not used, with all its faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.sentence for fault in faults))
        self.faults = tuple(faults)


def content_phrase(answer: str) -> str:
    """The content an answer tells, without a full stop. Raises Refused."""
    phrase = _cleaned(answer).rstrip(". ")
    _refuse_any(_faults_of_content(phrase))
    return phrase


def style_sentence_of(answer: str, content: str = "") -> str:
    """The v1 style prompt an answer tells, which names nothing of `content`. Raises Refused."""
    sentence = _cleaned(answer)
    _refuse_any(_faults_of_sentence(sentence, content))
    return sentence if sentence.endswith(".") else f"{sentence}."


def style_attributes(answer: str, content: str = "") -> StyleAttributes:
    """The attributes a JSON answer tells; those it calls N/A are None. Raises Refused."""
    told = _json_object(answer)
    values: dict[str, str | None] = {}
    faults: list[Fault] = []
    for name in ATTRIBUTES:
        try:
            values[name] = attribute_value(name, _text(told.get(name)), content)
        except Refused as refused:
            faults += refused.faults
    _refuse_any(faults)
    return StyleAttributes(**values)


def attribute_value(name: str, answer: str, content: str = "") -> str | None:
    """The value an answer gives to one attribute; None for N/A. Raises Refused."""
    value = _without_frame(name, _cleaned(answer).rstrip(". "))
    if value.lower() in ABSENT:
        if name in NEEDED:
            raise Refused([Fault("empty", f"{name}: there is no value, and every picture has one")])
        return None
    faults = _faults_of_value(name, value, content)
    _refuse_any(Fault(fault.kind, f"{name}: {fault.sentence}") for fault in faults)
    return value


def verdicts(answer: str, names: Iterable[str]) -> dict[str, tuple[bool, bool]]:
    """For each of `names` whether a JSON answer calls it relevant and vague. Raises Refused."""
    told = _json_object(answer)
    found = {}
    for name in names:
        verdict = told.get(name)
        pair = [verdict.get(key) if isinstance(verdict, dict) else None for key in JUDGED]
        if not all(isinstance(claim, bool) for claim in pair):
            raise Refused([Fault("broken_json", f"{name}: the verdict is no pair of booleans")])
        found[name] = (pair[0] is True, pair[1] is True)
    return found


JUDGED = ("relevant", "vague")
# What an answer may repeat of the template around its slot.
FRAMES = {"identity": "in the style of ", "medium": "in ", "outline": "with "}

_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_WORD = re.compile(r"[a-z0-9][a-z0-9'/-]*")


def _cleaned(answer: str) -> str:
    """Without a model's thoughts, code fences, quotation marks, line breaks and emphasis."""
    spoken = _FENCE.sub("", _THOUGHT.sub("", answer).strip())
    spoken = spoken.translate(PLAIN).replace("**", "")
    return " ".join(spoken.split()).strip('"` ')


PLAIN = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2010: "-", 0x2011: "-", 0x2013: "-"}


def _without_frame(name: str, value: str) -> str:
    frame = FRAMES.get(name, "")
    return value[len(frame) :] if frame and value.lower().startswith(frame) else value


def _json_object(answer: str) -> dict[str, Any]:
    """The JSON object inside an answer, whatever stands around it. Raises Refused."""
    spoken = _THOUGHT.sub("", answer)
    start = spoken.find("{")
    try:
        told, _ = json.JSONDecoder().raw_decode(spoken, max(start, 0))
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        return told
    wrong = _fault_of_speech(_cleaned(answer)) if start < 0 else None
    raise Refused([wrong or Fault("broken_json", "it holds no whole JSON object")])


def _text(value: object) -> str:
    """A JSON value as words: a list of words, as some models answer, is joined."""
    if isinstance(value, list):
        return " and ".join(str(part) for part in value)
    return "" if value is None else str(value)


def _refuse_any(faults: Iterable[Fault]) -> None:
    found = list(faults)
    if found:
        raise Refused(found)


def _faults_of_content(phrase: str) -> Iterator[Fault]:
    if wrong := _fault_of_speech(phrase):
        yield wrong
        return
    yield from _outside(phrase, *CONTENT_WORDS)
    named = _found(phrase, STYLE_WORDS)
    if named:
        yield Fault("style_in_content", f"{_quoted(named)} is about the style, not the content")


def _faults_of_sentence(sentence: str, content: str) -> Iterator[Fault]:
    if wrong := _fault_of_speech(sentence):
        yield wrong
        return
    yield from _outside(sentence, *SENTENCE_WORDS)
    if not sentence.lower().startswith("in the style of "):
        yield Fault("form", 'it does not begin with "In the style of"')
    yield from _vague(sentence, PRAISE)
    yield from _contents(sentence, content)


def _faults_of_value(name: str, value: str, content: str) -> Iterator[Fault]:
    if wrong := _fault_of_speech(value):
        yield wrong
        return
    yield from _outside(value, 1, WORD_LIMITS[name])
    if name == "edges" and value.lower() not in ("soft", "sharp"):
        yield Fault("form", 'it is neither "soft" nor "sharp"')
    if "," in value or "." in value:
        yield Fault("form", "it has a comma or a full stop inside")
    if value.lower() in TOO_COMMON.get(name, ()):
        yield Fault("vague", f'"{value}" would fit half of all pictures')
    elif name != "edges":
        # Light may be soft: it is textures and strokes of which the word tells nothing.
        yield from _vague(value, VAGUE_WORDS - {"soft"} if name == "light" else VAGUE_WORDS)
    yield from _contents(value, content)


def _fault_of_speech(text: str) -> Fault | None:
    """What is wrong with a text whatever was asked: the other rules would only add noise to it."""
    if not text:
        return Fault("empty", "it is empty")
    if _is_garbage(text):
        return Fault("garbage", "it is not made of words")
    if REFUSAL.search(text):
        return Fault("refusal", "it declines to describe the picture")
    if _is_foreign(text):
        return Fault("language", "it is not in English")
    if again := _repeated(text):
        return Fault("repetition", f"it repeats {_quoted([again])}")
    return None


def _is_garbage(text: str) -> bool:
    if re.search(r"([^\s.\-_=])\1{4,}", text) or re.search("[\ufffd\x00-\x08]", text):
        return True
    letters = sum(character.isalpha() or character == " " for character in text)
    return letters < len(text) * 0.7


def _is_foreign(text: str) -> bool:
    """Whether a tenth of the letters are not Latin, or small words of another language prevail."""
    letters = [character for character in text if character.isalpha()]
    if sum(character > "\u024f" for character in letters) > len(letters) / 10:
        return True
    counts = Counter(_words(text))
    foreign = sum(counts[word] for word in FOREIGN_WORDS)
    return foreign >= 2 and foreign > sum(counts[word] for word in SMALL_WORDS)


def _repeated(text: str) -> str | None:
    """Four words in a row that stand there twice, or a word of meaning that does four times."""
    words = _words(text)
    fours = Counter(zip(*(words[start:] for start in range(4)), strict=False))
    again = [" ".join(four) for four, count in fours.items() if count > 1]
    often = [word for word, count in Counter(words).items() if count > 3]
    return next(iter(again + [word for word in often if word not in SMALL_WORDS]), None)


def _outside(text: str, least: int, most: int) -> Iterator[Fault]:
    count = len(text.split())
    if not least <= count <= most:
        yield Fault("word_limit", f"it has {count} word{'s' * (count != 1)}, not {least} to {most}")


def _vague(text: str, banned: frozenset[str]) -> Iterator[Fault]:
    named = _found(text, banned)
    if named:
        yield Fault("vague", f"{_quoted(named)} says nothing that can be seen")


def _contents(text: str, content: str) -> Iterator[Fault]:
    """Subjects named inside a style: common ones, and those of this very picture's content."""
    words = _words(text)
    # The sky of "sky blue" is a color.
    paired = zip_longest(words, words[1:], fillvalue="")
    subjects = SUBJECTS | _subjects_of(content)
    named = [
        word
        for word, after in paired
        if not subjects.isdisjoint((word, _singular(word))) and after not in HUES
    ]
    if named:
        yield Fault("content_in_style", f"{_quoted(named)} is about the content, not the style")


def _subjects_of(content: str) -> set[str]:
    """The words of a content that should be things; what they do or are like may stand in both."""
    words = {_singular(word) for word in _words(content) if len(word) > 3}
    return {word for word in words if not word.endswith(("ing", "ed"))} - FORMS - SMALL_WORDS


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _found(text: str, wanted: frozenset[str]) -> list[str]:
    return [word for word in _words(text) if word in wanted]


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in dict.fromkeys(words))

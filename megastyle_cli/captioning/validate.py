"""Parses the answers of a vision-language model and checks them against the rules of the prompts.

Every broken rule is one ValidationError: its kind is counted and its message goes back to the
model. Source: the rules of MegaStyle++ (arXiv 2609.01423) for attributes; the word lists and the
other rules are ours.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

from megastyle_cli.captioning.wordlists import (
    ABSENT,
    FOREIGN_WORDS,
    FORM_WORDS,
    HUES,
    PRAISE,
    REFUSAL,
    SMALL_WORDS,
    STYLE_WORDS,
    SUBJECTS,
    TOO_COMMON,
    VAGUE_WORDS,
)
from megastyle_cli.core.record import INVISIBLE
from megastyle_cli.core.style import ATTRIBUTES, StyleAttributes

ErrorKind = Literal[
    "empty",
    "truncated",
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
CONTENT_WORDS = (5, 10)  # fewest and most words
SENTENCE_WORDS = (16, 40)


class ValidationError(NamedTuple):
    """One broken rule: the kind that is counted, and the message for the model."""

    kind: ErrorKind
    message: str


class InvalidAnswer(Exception):
    """An answer that breaks at least one rule, with all its errors."""

    def __init__(self, errors: Sequence[ValidationError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = tuple(errors)


class Verdict(NamedTuple):
    """A judge's two decisions about one description."""

    relevant: bool
    vague: bool


def parse_content(answer: str) -> str:
    """The content phrase in an answer, without a full stop. Raises InvalidAnswer."""
    phrase = clean(answer).rstrip(". ")
    _require_none(_content_errors(phrase))
    return phrase


def parse_style_sentence(answer: str, content: str = "") -> str:
    """The v1 style prompt in an answer; it may not mention `content`. Raises InvalidAnswer."""
    sentence = clean(answer)
    _require_none(_sentence_errors(sentence, content))
    return sentence if sentence.endswith(".") else f"{sentence}."


def parse_attributes(answer: str, content: str = "") -> StyleAttributes:
    """The attributes in a JSON answer; None for those given as N/A. Raises InvalidAnswer."""
    found = json_object(answer)
    values: dict[str, str | None] = {}
    errors: list[ValidationError] = []
    for name in ATTRIBUTES:
        try:
            values[name] = parse_attribute(name, _text(found.get(name)), content)
        except InvalidAnswer as invalid:
            errors += invalid.errors
    _require_none(errors)
    return StyleAttributes(**values)


def parse_attribute(name: str, answer: str, content: str = "") -> str | None:
    """The value of one attribute in an answer; None for N/A. Raises InvalidAnswer."""
    value = _without_template(name, clean(answer).rstrip(". "))
    if value.lower() in ABSENT:
        if not ATTRIBUTES[name].optional:
            message = f"{name}: there is no value, and every picture has one"
            raise InvalidAnswer([ValidationError("empty", message)])
        return None
    errors = _value_errors(name, value, content)
    _require_none(ValidationError(error.kind, f"{name}: {error.message}") for error in errors)
    return value


def parse_verdicts(answer: str, names: Iterable[str]) -> dict[str, Verdict]:
    """The verdict on each of `names` in a JSON answer. Raises InvalidAnswer if one is missing."""
    found = json_object(answer)
    verdicts = {}
    for name in names:
        item = found.get(name)
        claims = [item.get(key) if isinstance(item, dict) else None for key in Verdict._fields]
        if not all(isinstance(claim, bool) for claim in claims):
            message = f"{name}: the verdict is no pair of booleans"
            raise InvalidAnswer([ValidationError("broken_json", message)])
        verdicts[name] = Verdict(relevant=claims[0] is True, vague=claims[1] is True)
    return verdicts


# Typographic quotation marks, apostrophes and hyphens as ASCII.
TO_ASCII = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'} | dict.fromkeys(
    (0x2010, 0x2011, 0x2013), "-"
)

# Reasoning, up to its end: as a tag, or as the last channel of a model that writes channels.
_REASONING = re.compile(r"^.*(?:</think(?:ing)?>|\[/THINK\]|<\|message\|>)", re.DOTALL)
_BOX = re.compile(r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>", re.DOTALL)
# Control tokens of chat templates: <|im_end|>, <eos>, </s>, [INST]; some have wide bars.
_TOKEN = r"(?:<[|\uff5c]?/?[\w.\u2581-]{1,40}[|\uff5c]?>|\[/?[A-Z_]{3,20}\])"
_OUTER_TOKENS = re.compile(rf"^(?:\s*(?!<think|\[THINK){_TOKEN})+|(?:{_TOKEN}\s*)+$")
_INNER_TOKEN = re.compile(_TOKEN)
_LABEL = re.compile(
    r"^(?:the )?(?:content|style|description|caption|answer|output|result|value|phrase|sentence)"
    r"(?: phrase| sentence| prompt| description)?\s*:\s*",
    re.IGNORECASE,
)
MAX_CHARACTERS = 2000  # of an answer that is checked: several times the longest valid one
# Invisible characters, and halves of characters that are no text.
_REMOVED = dict.fromkeys((*INVISIBLE, *range(0xD800, 0xE000)))
_CODE_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_WORD = re.compile(r"[a-z0-9][a-z0-9'/-]*")


def clean(answer: str) -> str:
    """The answer without what models put around it.

    That is reasoning, control tokens, invisible characters, code fences, a label, quotation marks,
    line breaks and emphasis.
    """
    text = _without_tokens(_REASONING.sub("", answer).translate(_REMOVED))
    text = _CODE_FENCE.sub("", text).translate(TO_ASCII).replace("**", "")
    return _LABEL.sub("", " ".join(text.split()).strip('"` ')).strip('"` ')


def _without_tokens(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        return text  # is not used anyway
    boxed = _BOX.search(text)
    return _OUTER_TOKENS.sub("", boxed[1] if boxed else text.strip()).strip()


def _without_template(name: str, value: str) -> str:
    value = re.sub(rf"^{name}\s*:\s*", "", value, flags=re.IGNORECASE)
    prefix = ATTRIBUTES[name].prefix
    return value[len(prefix) :] if value.lower().startswith(prefix) else value


def json_object(answer: str) -> dict[str, Any]:
    """The JSON object in an answer, with or without text around it. Raises InvalidAnswer."""
    text = _REASONING.sub("", answer).translate(_REMOVED)
    start = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text, max(start, 0))
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    error = text_error(clean(answer)) if start < 0 else None
    raise InvalidAnswer([error or ValidationError("broken_json", "it holds no whole JSON object")])


def _text(value: object) -> str:
    """A JSON value as text; a list of words, as some models answer, is joined."""
    if isinstance(value, list):
        return " and ".join(str(part) for part in value)
    return "" if value is None else str(value)


def _require_none(errors: Iterable[ValidationError]) -> None:
    found = list(errors)
    if found:
        raise InvalidAnswer(found)


def _content_errors(phrase: str) -> Iterator[ValidationError]:
    if error := text_error(phrase):
        yield error
        return
    yield from _word_count_errors(phrase, *CONTENT_WORDS)
    if ": " in phrase:
        yield ValidationError("form", "it has a label before a colon")
    if words := _matching(phrase, STYLE_WORDS):
        message = f"{_quoted(words)} is about the style, not the content"
        yield ValidationError("style_in_content", message)


def _sentence_errors(sentence: str, content: str) -> Iterator[ValidationError]:
    if error := text_error(sentence):
        yield error
        return
    yield from _word_count_errors(sentence, *SENTENCE_WORDS)
    if not sentence.lower().startswith("in the style of "):
        yield ValidationError("form", 'it does not begin with "In the style of"')
    yield from _vague_word_errors(sentence, PRAISE)
    yield from _subject_errors(sentence, content)


def _value_errors(name: str, value: str, content: str) -> Iterator[ValidationError]:
    if error := text_error(value):
        yield error
        return
    yield from _word_count_errors(value, 1, ATTRIBUTES[name].max_words)
    if name == "edges" and value.lower() not in ("soft", "sharp"):
        yield ValidationError("form", 'it is neither "soft" nor "sharp"')
    if "," in value or "." in value:
        yield ValidationError("form", "it has a comma or a full stop inside")
    if value.lower() in TOO_COMMON.get(name, ()):
        yield ValidationError("vague", f'"{value}" would fit half of all pictures')
    elif name != "edges":
        # Light can be soft; for a texture or a stroke the word is vague.
        banned = VAGUE_WORDS - {"soft"} if name == "light" else VAGUE_WORDS
        yield from _vague_word_errors(value, banned)
    yield from _subject_errors(value, content)


def text_error(text: str) -> ValidationError | None:
    """What makes a text unusable as any answer; further errors would only distract the model."""
    if not text:
        return ValidationError("empty", "it is empty")
    if len(text) > MAX_CHARACTERS:
        return ValidationError("word_limit", f"it has {len(text):,} characters")
    if token := _INNER_TOKEN.search(text):
        return ValidationError("garbage", f"it holds {token[0]}, which is no word")
    if _is_garbage(text):
        return ValidationError("garbage", "it is not made of words")
    if REFUSAL.search(text):
        return ValidationError("refusal", "it declines to describe the picture")
    if _is_foreign(text):
        return ValidationError("language", "it is not in English")
    if words := _repeated(text):
        return ValidationError("repetition", f"it repeats {_quoted([words])}")
    return None


def _is_garbage(text: str) -> bool:
    if re.search(r"([^\s.\-_=])\1{4,}", text) or re.search("[\ufffd\x00-\x1f\x7f-\x9f]", text):
        return True
    letters = sum(character.isalpha() or character == " " for character in text)
    return letters < len(text) * 0.7


def _is_foreign(text: str) -> bool:
    """Whether over a tenth of the letters are not Latin, or foreign function words prevail."""
    letters = [character for character in text if character.isalpha()]
    if sum(character > "\u024f" for character in letters) > len(letters) / 10:
        return True
    counts = Counter(_words(text))
    foreign = sum(counts[word] for word in FOREIGN_WORDS)
    return foreign >= 2 and foreign > sum(counts[word] for word in SMALL_WORDS)


def _repeated(text: str) -> str | None:
    """A sequence of four words that occurs twice, else a word that occurs four times.

    Function words may occur any number of times.
    """
    words = _words(text)
    sequences = Counter(zip(*(words[start:] for start in range(4)), strict=False))
    repeated = [" ".join(sequence) for sequence, count in sequences.items() if count > 1]
    frequent = [word for word, count in Counter(words).items() if count > 3]
    return next(iter(repeated + [word for word in frequent if word not in SMALL_WORDS]), None)


def _word_count_errors(text: str, least: int, most: int) -> Iterator[ValidationError]:
    count = len(text.split())
    if not least <= count <= most:
        message = f"it has {count} word{'s' * (count != 1)}, not {least} to {most}"
        yield ValidationError("word_limit", message)


def _vague_word_errors(text: str, banned: frozenset[str]) -> Iterator[ValidationError]:
    if words := _matching(text, banned):
        yield ValidationError("vague", f"{_quoted(words)} says nothing that can be seen")


def _subject_errors(text: str, content: str) -> Iterator[ValidationError]:
    """Subjects mentioned in a style: common ones, and those of the image's own `content`."""
    words = _words(text)
    following = zip_longest(words, words[1:], fillvalue="")
    subjects = SUBJECTS | _subjects(content)
    mentioned = [
        word
        for word, after in following
        # "sky" in "sky blue" is part of a color name
        if not subjects.isdisjoint((word, singular(word))) and after not in HUES
    ]
    if mentioned:
        message = f"{_quoted(mentioned)} is about the content, not the style"
        yield ValidationError("content_in_style", message)


def _subjects(content: str) -> set[str]:
    """The words of a content that are probably things: neither activities nor properties."""
    words = {singular(word) for word in _words(content) if len(word) > 3}
    return {word for word in words if not word.endswith(("ing", "ed"))} - FORM_WORDS - SMALL_WORDS


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def singular(word: str) -> str:
    """The word without a plural's s."""
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _matching(text: str, wanted: frozenset[str]) -> list[str]:
    return [word for word in _words(text) if word in wanted]


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in dict.fromkeys(words))

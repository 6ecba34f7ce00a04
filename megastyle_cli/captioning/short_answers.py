"""Parses short answers of a vision-language model: the names of objects, yes or no."""

import re

from megastyle_cli.captioning.validate import (
    InvalidAnswer,
    ValidationError,
    clean,
    json_object,
    singular,
    text_error,
)

MAX_WORDS = 4  # of the name of an object
_LONG_PLURAL = re.compile("(?:ch|sh|x|ss)es$")
_ARTICLE = re.compile(r"^(?:an?|the|some|one|two|several|many)\s+")


def parse_objects(answer: str) -> list[str]:
    """The names in an answer of the form {"objects": [...]}, each once, in order.

    Names are in lower case and singular, without articles; longer ones than four words are left
    out. Raises InvalidAnswer if there is no such list.
    """
    names = json_object(answer).get("objects")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidAnswer([ValidationError("broken_json", '"objects" is no list of names')])
    found = [object_name(name) for name in names]
    return [name for name in dict.fromkeys(found) if name and len(name.split()) <= MAX_WORDS]


def parse_yes_no(answer: str) -> bool:
    """Whether an answer is yes. Raises InvalidAnswer if it is neither yes nor no."""
    text = clean(answer)
    words = re.findall("[a-z]+", text.lower())
    if words[:1] in (["yes"], ["no"]) and not {"yes", "no"} <= set(words):
        return bool(words[0] == "yes")
    raise InvalidAnswer([text_error(text) or ValidationError("form", "it is neither yes nor no")])


def object_name(text: str) -> str:
    """The name of an object in lower case and singular, without an article and punctuation."""
    name = " ".join(re.sub(r"[^\w\s'-]", " ", clean(text).lower()).split())
    head, space, last = _ARTICLE.sub("", name).rpartition(" ")
    return f"{head}{space}{_singular(last)}"


def _singular(word: str) -> str:
    """The word without the ending of its plural, where that is regular."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-2] if _LONG_PLURAL.search(word) else singular(word)

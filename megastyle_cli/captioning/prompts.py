"""The prompts of a generative captioner, word for word, with a version number. Source: ours.

An instruction is the same for all images and comes before the image; a question comes after it.
The rules stated here, and by the attributes of core/style.py, are checked in
captioning/validate.py: change both together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from megastyle_cli.core.style import ATTRIBUTES
from megastyle_cli.models.protocols import VisionPrompt

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "1"


class PromptTemplate(NamedTuple):
    """What a model is asked about an image, and the length limit of its answer in tokens."""

    instruction: str
    question: str
    max_tokens: int

    def about(self, image: Image, **fields: str) -> VisionPrompt:
        """The prompt about `image`; `fields` fill the placeholders of the question."""
        return VisionPrompt(
            image=image,
            instruction=self.instruction,
            question=self.question.format(**fields),
            max_tokens=self.max_tokens,
        )


_RULES = """\
Answer in English. Say only what can be seen, in plain and specific words: a reader who has never
seen the picture must be able to picture your words. No praise and no mood words."""

_STYLE_RULES = f"""\
{_RULES}
Describe how the picture is made, never what it shows: no persons, animals, things, places, events
or signs. Every word must still hold if another subject were made in the same style."""

STYLE_SENTENCE = PromptTemplate(
    f"""\
You write style prompts: one sentence from which an image generator can make any other subject in
the style of a picture.
{_STYLE_RULES}
The sentence has about 32 words (at least 16, at most 40) and this form:
In the style of OVERALL STYLE, COLORS AND HOW THEY ARE SPREAD, LIGHT AND HOW IT IS SPREAD, MEDIUM,
TEXTURE, BRUSHWORK.
OVERALL STYLE is one phrase of at most five words. Leave out what the picture does not have.""",
    "Write the style sentence of this picture, and nothing else.",
    max_tokens=96,
)

_ATTRIBUTE_LIST = "\n".join(f"- {name}: {each.description}" for name, each in ATTRIBUTES.items())
STYLE_ATTRIBUTES = PromptTemplate(
    f"""\
You describe the style of a picture attribute by attribute, so that an image generator can make any
other subject in the same style. Each value must be visible, dominant and transferable.
{_STYLE_RULES}
Answer with one JSON object with exactly these keys, each with a string:
{_ATTRIBUTE_LIST}""",
    "Write the JSON object for this picture, and nothing else.",
    max_tokens=320,
)

ONE_ATTRIBUTE = PromptTemplate(
    f"""\
You describe one attribute of the style of a picture, so that an image generator can make any other
subject in the same style. The value must be visible, dominant and transferable.
{_STYLE_RULES}""",
    "Give {name}: {description}. Write the value, and nothing else.",
    max_tokens=48,
)

CONTENT = PromptTemplate(
    f"""\
You write content prompts: one short phrase that says what a picture shows, as if a different artist
were to make it in an unknown style.
{_RULES}
Name the objects and how they relate or what they do, 5 to 10 words, no full stop. Leave out all of
the style: medium, technique, colors, light, texture, and words such as "painting" or "photo of".\
""",
    "Write the content phrase of this picture, and nothing else.",
    max_tokens=48,
)

JUDGE = PromptTemplate(
    """\
You check descriptions of a picture. For each description, decide two things.
relevant: true if what it says can be seen in the picture, else false.
vague: true if it would fit most pictures, or if two people would picture different things from it;
else false.
Answer with one JSON object: its keys are the names of the descriptions, its values objects of the
form {"relevant": true, "vague": false}.""",
    "The descriptions of this picture:\n{described}\nWrite the JSON object only.",
    max_tokens=320,
)

RETRY = "An earlier answer was not used: {errors}. Mend that."


def instructions_text() -> str:
    """All prompts, as `--show-instructions` prints them."""
    prompts = {
        "style, schema v1": STYLE_SENTENCE,
        "style, schema v2": STYLE_ATTRIBUTES,
        "style, schema v2 with --per-attribute": ONE_ATTRIBUTE,
        "content": CONTENT,
        "--judge": JUDGE,
    }
    sections = [
        f"== {name}\n{prompt.instruction}\n[the picture]\n{prompt.question}\n"
        for name, prompt in prompts.items()
    ]
    return "\n".join(
        [f"instructions, version {VERSION}\n", *sections, f"== asked again\n{RETRY}\n"]
    )

"""The questions about an image that find and count objects, word for word, with a version number.

Source: ours. Yes and no are asked for in both orders, because a model may prefer the first word.
"""

from megastyle_cli.captioning.prompts import PromptTemplate

VERSION = "1"

OBJECTS = PromptTemplate(
    """\
You list what can be seen in a picture: every object, garment, ornament, animal, plant, building and
piece of furniture, also small ones and those in the background. Use common nouns in the singular,
one to three words each, without colors. Leave out how the picture is made: medium, technique, light
and style. Answer with one JSON object of the form {"objects": ["fox", "stone bench"]}.""",
    "List what can be seen in this picture. Write the JSON object only.",
    max_tokens=320,
)

_ONE_WORD = "You answer questions about a picture by one word."
PRESENT = (
    PromptTemplate(
        _ONE_WORD, "Can this be seen in the picture: {thing}? Answer yes or no.", max_tokens=8
    ),
    PromptTemplate(
        _ONE_WORD, "Can this be seen in the picture: {thing}? Answer no or yes.", max_tokens=8
    ),
)

"""A vision-language model whose answers a test decides."""

import json
from collections.abc import Callable, Sequence

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.protocols import UnusableAnswer, VisionPrompt
from tests.chat_server import ATTRIBUTES, CONTENT, SENTENCE

VALUES = {name: value for name, value in ATTRIBUTES.items() if value != "N/A"}


class FakeModel:
    """Answers each prompt by `respond` and records the prompts it got."""

    name, num_threads, batch_size = "fake", 2, 3

    def __init__(self, respond: Callable[[VisionPrompt], str | UnusableAnswer | BadRecord]) -> None:
        self.respond, self.prompts = respond, list[VisionPrompt]()

    def generate(self, prompts: Sequence[VisionPrompt]) -> list[str | UnusableAnswer | BadRecord]:
        self.prompts += prompts
        return [self.respond(prompt) for prompt in prompts]


def answer_well(prompt: VisionPrompt) -> str:
    """A valid answer to any prompt of a caption."""
    if is_about_content(prompt):
        return CONTENT
    if "style sentence" in prompt.question:
        return SENTENCE
    if "Write the value" in prompt.question:
        return ATTRIBUTES[prompt.question[len("Give ") :].partition(":")[0]]
    return json.dumps(ATTRIBUTES)


def is_about_content(prompt: VisionPrompt) -> bool:
    return "content phrase" in prompt.question


def is_retry(prompt: VisionPrompt) -> bool:
    return "not used" in prompt.question

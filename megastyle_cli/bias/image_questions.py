"""Asks a vision-language model questions about images, several images at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from megastyle_cli.bias.answer_cache import AnswerCache
from megastyle_cli.bias.questions import OBJECTS, PRESENT, VERSION
from megastyle_cli.captioning.options import ServerOptions
from megastyle_cli.captioning.prompts import PromptTemplate
from megastyle_cli.captioning.retry import Request, RetryingClient
from megastyle_cli.captioning.short_answers import parse_objects, parse_yes_no
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.record_names import picture_id
from megastyle_cli.models.registry import load
from megastyle_cli.runner.concurrency import concurrent_chunks
from megastyle_cli.runner.progress import Stage

ATTEMPTS = 3
MAX_SIDE_PX = 512  # as `caption` shows images to a model


@dataclass(frozen=True, kw_only=True)
class _Question:
    template: PromptTemplate
    fields: Mapping[str, str]

    @property
    def words(self) -> str:
        return self.template.question.format(**self.fields)


class Asker:
    """Asks through `client`; answers that `cache` has are not asked for again.

    `progress` shows how many images have been asked about. `counts` are those of questions that
    were asked and known before, and of pairs of questions that contradict each other; `unreadable`
    are the images that do not open, each with its reason.
    """

    def __init__(
        self, client: RetryingClient, reader: ImageReader, cache: AnswerCache, progress: Stage
    ) -> None:
        self._client, self._reader, self._cache = client, reader, cache
        self._progress = progress
        self.counts: Counter[str] = Counter({"asked": 0, "known": 0, "inconsistent": 0})
        self._lock = Lock()
        self.unreadable: dict[str, BadRecord] = {}

    def objects(self, names: Sequence[str]) -> list[list[str] | None]:
        """The objects in each named image, in order; None without a valid answer."""
        question = _Question(template=OBJECTS, fields={})
        self._progress.begin("lists objects", len(names))
        asked = self._ask([(name, [question]) for name in names])
        return [answers[0] for answers in asked]

    def present(
        self, names: Sequence[str], things: Sequence[Sequence[str]]
    ) -> list[dict[str, bool | None]]:
        """For each named image whether each of its `things` can be seen, by two questions.

        A thing is seen if both answers are yes. None if one of them is no valid answer.
        """
        self._progress.begin("looks for objects", len(names))
        asked = self._ask(
            [
                (
                    name,
                    [
                        _Question(template=t, fields={"thing": each})
                        for each in own
                        for t in PRESENT
                    ],
                )
                for name, own in zip(names, things, strict=True)
            ]
        )
        found = []
        for own, answers in zip(things, asked, strict=True):
            pairs = list(zip(answers[::2], answers[1::2], strict=True))
            self.counts["inconsistent"] += sum({True, False} == set(pair) for pair in pairs)
            found.append(
                {
                    thing: None if None in pair else all(pair)
                    for thing, pair in zip(own, pairs, strict=True)
                }
            )
        return found

    def _ask(self, images: Sequence[tuple[str, Sequence[_Question]]]) -> list[list[Any]]:
        workers = self._client.model.num_threads
        found = []
        for answers in concurrent_chunks(self._answers, images, workers, 1):
            found.append(answers)
            self._progress.advance()
        return found

    def _answers(self, images: Sequence[tuple[str, Sequence[_Question]]]) -> Iterator[list[Any]]:
        """The parsed answers about each image, None where there is no valid one."""
        for name, questions in images:
            try:
                digest = picture_id(name)
            except BadRecord as bad:
                self.unreadable[name] = bad
                yield [None] * len(questions)
                continue
            model = self._client.model.name
            keys = [self._cache.key(model, digest, VERSION, each.words) for each in questions]
            open_rows = [row for row, key in enumerate(keys) if self._cache.get(key) is None]
            with self._lock:
                self.counts["known"] += len(keys) - len(open_rows)
            if open_rows:
                self._fill(
                    name, [questions[row] for row in open_rows], [keys[r] for r in open_rows]
                )
            yield [self._cache.get(key) for key in keys]

    def _fill(self, name: str, questions: Sequence[_Question], keys: Sequence[str]) -> None:
        (image,) = self._reader.read([name])
        if isinstance(image, BadRecord):
            self.unreadable[name] = image
            return
        requests = [
            Request[Any](
                prompt=each.template.about(image, **each.fields),
                parse=parse_objects if each.template is OBJECTS else parse_yes_no,
            )
            for each in questions
        ]
        with self._lock:
            self.counts["asked"] += len(requests)
        for key, answer in zip(keys, self._client.ask(requests), strict=True):
            if not isinstance(answer.value, BadRecord):
                self._cache.put(key, answer.value)


def load_server(server: ServerOptions, model: str | None) -> Any:
    """The model on a server; `model` is its name, None the only one that the server has."""
    given = {
        "model": model,
        "base_url": server.base_url,
        "concurrency": server.concurrency,
        "timeout_s": server.timeout,
        "retries": server.retries,
    }
    return load("captioner", "openai", **{k: v for k, v in given.items() if v is not None})

"""`eval --protocol`: one summary with a row for each published measure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megastyle_cli.bias.answer_cache import kept_answers
from megastyle_cli.bias.image_questions import ATTEMPTS, MAX_SIDE_PX, Asker, load_server
from megastyle_cli.captioning.options import ServerOptions
from megastyle_cli.captioning.retry import RetryingClient
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, annotate
from megastyle_cli.evaluate.references import reference_fingerprint
from megastyle_cli.evaluate.scored_set import ScoredSet
from megastyle_cli.evaluate.summary_job import summary_job
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.paper_protocols.catalog import ProtocolRequest, parse_protocols
from megastyle_cli.paper_protocols.console import protocol_table
from megastyle_cli.paper_protocols.content_distance import content_distance
from megastyle_cli.paper_protocols.discrimination_gap import discrimination_gap
from megastyle_cli.paper_protocols.encoded_set import encode
from megastyle_cli.paper_protocols.object_leakage import object_leakage
from megastyle_cli.paper_protocols.reference_measures import (
    leakage,
    oneig,
    style_score,
    three_of_each,
)
from megastyle_cli.paper_protocols.text_measure import text_score
from megastyle_cli.runner.collect_job import CollectJob
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions

STYLE_SCORES = ("csd", "megastyle", "clip-image", "oneig")


@dataclass(frozen=True, kw_only=True)
class ComparedWith:
    """What images are compared with, and the keys of their labels and prompts."""

    references: Sequence[Record]
    others: Sequence[Record]
    pair_by: str | None
    label: str
    prompt_key: str
    seed: int

    @property
    def options(self) -> Record:
        """What changes the results, for the run key."""
        known = {"label": self.label, "prompt_key": self.prompt_key, "seed": self.seed}
        if self.references:
            known["references"] = reference_fingerprint(self.references, self.pair_by)
        if self.others:
            known["others"] = reference_fingerprint(self.others, None)
        return known


def summarize_protocols(
    names: Sequence[str],
    texts: Sequence[str],
    compared_with: ComparedWith,
    *,
    backend: str,
    model: str | None,
    hardware: Mapping[str, str],
    server: ServerOptions,
    cache: Path | None,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
    as_json: bool,
) -> int:
    """Writes the summary of the protocols `texts` (NAME or NAME=MODEL); the exit code.

    `backend` and `model` are the encoder of protocols that name none; `hardware` are the device and
    type of models, those that are given. `server` has the model of vlm-leak, whose answers are kept
    in the folder `cache`.
    """
    requests = parse_protocols(texts, backend, model)
    is_asked = any(request.protocol.has_server for request in requests)
    if is_asked != bool(server.base_url):
        raise MegastyleError(
            "vlm-leak asks a model on a server" if is_asked else "--base-url is for vlm-leak",
            hint="add --base-url URL" if is_asked else "add --protocol vlm-leak",
        )
    wanted = [request.identity for request in requests]
    job = summary_job(
        {"protocols": wanted, **compared_with.options},
        names,
        protocol_table,
        output=output,
        existing=existing,
        report=report,
        as_json=as_json,
    )
    if report.dry_run:
        return job.show_plan(protocols=", ".join(request.protocol.name for request in requests))
    with job:
        spool = job.collect()
        measured = _Measured(job, spool, compared_with, dict(hardware), server, cache)
        rows = [measured.row(request) for request in requests]
        job.write(measured.failures.values())
        summary: Record = {"n": len(spool) - len(measured.failures), "protocols": rows}
        summary["failed"] = job.stats.num_failed
        found = [request.protocol.name for request in requests]
        if any(name in STYLE_SCORES for name in found) and not {"leakage", "vlm-leak"} & {*found}:
            job.stats.remarks.append(
                "a style score without leakage rewards copies: add --protocol leakage"
            )
        job.write([annotate(summary, "eval", run=job.run.key)])
    return job.exit_code


class _Measured:
    """Runs protocols over the collected records; `failures` are those of any model, by id."""

    def __init__(
        self,
        job: CollectJob,
        spool: Spool,
        compared_with: ComparedWith,
        hardware: dict[str, str],
        server: ServerOptions,
        cache: Path | None,
    ) -> None:
        self._job, self._spool, self._with, self._hardware = job, spool, compared_with, hardware
        self._server, self._cache = server, cache
        self.failures: dict[str, Failure] = {}
        self._last: tuple[object, Any] | None = None

    def row(self, request: ProtocolRequest) -> Record:
        """The row of one protocol: its values, then what fixes them."""
        protocol = request.protocol
        values, models = self._values(request)
        return {
            "protocol": protocol.name,
            **values,
            "scale": protocol.scale,
            "definition": protocol.definition,
            "models": [_description(model) for model in models],
        }

    def _values(self, request: ProtocolRequest) -> tuple[Record, list[Any]]:
        name, seed = request.protocol.name, self._with.seed
        if name == "oneig":
            both = [self._encoded(request, each) for each in range(len(request.models))]
            sets = [images for images, _ in both]
            return oneig(sets, self._with.prompt_key, seed), [model for _, model in both]
        if name == "vlm-leak":
            return self._asked(request)
        if name == "content-distance":
            model = request.models[0].load(self._hardware)
            values, failures = content_distance(
                self._spool.read(), model, label=self._with.label, seed=seed
            )
            self._add(failures)
            return values, [model]
        images, model = self._encoded(request, 0)
        measure: dict[str, Callable[[], Record]] = {
            "csd": lambda: style_score(images, seed),
            "megastyle": lambda: style_score(images, seed, 100.0),
            "clip-image": lambda: style_score(images, seed, model.logit_scale),
            "clip-text": lambda: text_score(images, model, self._with.prompt_key, seed),
            "leakage": lambda: leakage(images, seed),
            "gap": lambda: discrimination_gap(images, seed),
        }
        return measure[name](), [model]

    def _asked(self, request: ProtocolRequest) -> tuple[Record, list[Any]]:
        """The values of vlm-leak; invalid answers are counted."""
        client = RetryingClient(load_server(self._server, request.models[0].model), ATTEMPTS)
        reader = ImageReader(MAX_SIDE_PX, margin=1)
        records = list(self._spool.read())
        how: dict[str, Any] = {"label": self._with.label, "prompt_key": self._with.prompt_key}
        with self._job.progress.stage() as progress, kept_answers(self._cache) as answers:
            asker = Asker(client, reader, answers, progress)
            values = object_leakage(records, asker, **how, seed=self._with.seed)
        of_image = {str(record.get("file_name")): record for record in records}
        self._add(
            [
                Failure.of(of_image[name], bad)
                for name, bad in asker.unreadable.items()
                if name in of_image
            ]
        )
        self._job.stats.remarks += client.remarks()
        questions = {**asker.counts, "invalid": dict(sorted(client.invalid_answers.items()))}
        return values | {"questions": questions}, [client.model]

    def _encoded(self, request: ProtocolRequest, number: int) -> tuple[ScoredSet, Any]:
        """The images by a model of a request; those of the last model are kept."""
        wanted, is_oneig = request.models[number], request.protocol.name == "oneig"
        if self._last is not None and self._last[0] == (wanted, is_oneig):
            found: tuple[ScoredSet, Any] = self._last[1]
            return found
        self._last = None
        model = wanted.load(self._hardware)
        _check_kind(request, model)
        references = self._with.references
        if is_oneig and not references:
            raise MegastyleError(
                "--protocol oneig needs references by style",
                hint="add --reference PATH --pair-by KEY",
            )
        images, failures = encode(
            self._spool.read(),
            model,
            has_weights=wanted.model is not None,
            label=self._with.label,
            references=three_of_each(references, self._with.pair_by) if is_oneig else references,
            others=self._with.others,
            pair_by=self._with.pair_by,
        )
        self._add(failures)
        self._last = ((wanted, is_oneig), (images, model))
        return images, model

    def _add(self, failures: Sequence[Failure]) -> None:
        self.failures |= {failure.record["id"]: failure for failure in failures}


def _check_kind(request: ProtocolRequest, model: Any) -> None:
    """Raises MegastyleError if the model is none that the protocol is defined for."""
    name = request.protocol.name
    if name == "csd" and not getattr(model, "is_csd", False):
        raise MegastyleError(
            f"{model.name} is not a CSD checkpoint", hint="give its file: --protocol csd=csd.pth"
        )
    if request.protocol.role == "text_image" and model.kind != "clip":
        raise MegastyleError(
            f"{model.name} is a {model.kind}: --protocol {name} is defined for CLIP",
            hint="use --text-model for the text score of another model",
        )


def _description(model: Any) -> Record:
    """Name (with a hash of the weights), revision and preprocessing of a model."""
    found: Iterator[tuple[str, Any]] = (
        (key, getattr(model, key, None)) for key in ("revision", "preprocessing")
    )
    return {"model": model.name, **{key: value for key, value in found if value is not None}}

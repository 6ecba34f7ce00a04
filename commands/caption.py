"""Describe the style and content of pictures.

Examples:

  megastyle caption imgs/ -o captions.jsonl --resume
  megastyle caption imgs/ --kind style | megastyle dedup | megastyle cluster -o styles.jsonl
  find imgs -name '*.png' -print0 | megastyle caption -0
  megastyle caption imgs/ --model Qwen/Qwen3-VL-8B-Instruct -o captions.jsonl
  megastyle caption imgs/ --base-url http://localhost:8000/v1 --concurrency 256 -o captions.jsonl
  megastyle caption captions.jsonl --judge --base-url http://localhost:8000/v1 --stats judged.json

The builtin captioner measures: colours, light, texture, edges, outlines and strokes become the
style prompt and the style_* keys. Content is the label the record brings, else what an ImageNet
network recognises with at least --min-confidence; else it is absent.

--model asks a vision-language model on this machine, --base-url a server of OpenAI's chat
completions (vLLM, SGLang, hosted; the key comes from OPENAI_API_KEY). What it answers is checked:
word limits, vague words, content in a style and style in a content, repetition, garbage, refusals,
other languages, broken JSON. A bad answer is asked again with the reason, --attempts times in all;
then the record fails as bad_answer.
"""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megastyle_cli.cli import options
from megastyle_cli.cli import resolve_backend as backends
from megastyle_cli.core.choices import CaptionKind, StyleSchema
from megastyle_cli.core.errors import MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.core.record import Step
    from megastyle_cli.models.protocols import Captioner, VisionLanguageModel
    from megastyle_cli.runner.progress import Stats

MODELS = ("transformers", "openai")  # the backends that answer questions
DECODED_PX = 384  # pictures are decoded at this longer side; the builtin measures use less
DECODED_AT_ONCE = 16  # however many requests wait: a large picture takes memory
AHEAD = 16  # so many more lanes than requests in flight: they decode while all places are taken
LOCAL_ROUNDS = 4  # batches of a model here in a batch of records


def _show_instructions(wanted: bool) -> None:
    if wanted:
        from megastyle_cli.caption.prompts import instructions_text

        sys.stdout.write(instructions_text())
        raise typer.Exit()


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    kind: Annotated[CaptionKind, typer.Option(help="What to describe.")] = "both",
    schema: Annotated[
        StyleSchema, typer.Option(help="Sentence template: v1 (MegaStyle) or v2 (MegaStyle++).")
    ] = "v2",
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, metavar="P", help="Least probability to name a content.")
    ] = 0.5,
    per_attribute: Annotated[
        bool, typer.Option("--per-attribute", help="v2: ask for each attribute alone (paper).")
    ] = False,
    attempts: Annotated[
        int, typer.Option(min=1, max=20, metavar="N", help="Times a question is asked at most.")
    ] = 3,
    judge: Annotated[
        bool,
        typer.Option("--judge", help="Judge captions instead: is each relevant, is it vague?"),
    ] = False,
    show_instructions: Annotated[
        bool,
        typer.Option(
            "--show-instructions",
            callback=_show_instructions,
            is_eager=True,
            help="Show what a model is asked, and stop.",
        ),
    ] = False,
    output: options.Output = "-",
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    force: options.Force = False,
    shard: options.ShardOf = None,
    limit: options.Limit = None,
    paths: options.Paths = False,
    null: options.NulPaths = False,
    backend: options.Backend = "builtin",
    model: options.Model = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", show_default=False, help="A server's address, with its /v1 (openai)."
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, metavar="N", help="Requests in flight (openai).")
    ] = 64,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds a request may take (openai).")
    ] = 120.0,
    retries: Annotated[
        int, typer.Option(min=0, max=20, metavar="N", help="Of a request that fails (openai).")
    ] = 6,
    max_side: Annotated[
        int, typer.Option(min=32, metavar="PX", help="Longer side a model is shown.")
    ] = 512,
    device: options.Device = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = 32,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.caption.prompts import VERSION
    from megastyle_cli.core.record import Run
    from megastyle_cli.models.registry import load, locate
    from megastyle_cli.runner.callbacks import Flow, run_job
    from megastyle_cli.runner.progress import Stats

    backend = backends.captioner(backend, model, base_url)
    locate("captioner", backend)
    told: dict[str, Any] = {"backend": backend, "kind": kind, "schema": schema}
    asked: dict[str, Any] = {
        "attempts": attempts,
        "per_attribute": per_attribute,
        "max_side": max_side,
    }
    how: dict[str, Any] = {"min_confidence": min_confidence}
    in_a_batch, lanes = batch_size, 1
    if backend == "openai":
        how = {"concurrency": concurrency, "timeout_s": timeout, "retries": retries}
        how |= {"model": model, "base_url": base_url}
        in_a_batch, lanes = 1, concurrency + AHEAD
    elif backend == "transformers":
        how = {"model": model, "device": device, "dtype": dtype, "batch_size": batch_size}
        in_a_batch = LOCAL_ROUNDS * batch_size
    if backend in MODELS:
        told |= {"model": model, "judge": judge, "instructions": VERSION, **asked}
    elif judge:
        raise MegastyleError("--judge needs a model", hint="name one by --model or --base-url")
    else:
        told |= how
    flow = Flow(
        inputs=options.inputs_or_stdin(inputs, context),
        output=output,
        errors=errors,
        max_errors=max_errors,
        resume=resume,
        overwrite=overwrite,
        force=force,
        shard=shard,
        limit=limit,
        paths=options.separator(paths, null),
        batch_size=in_a_batch,
        lanes=lanes,
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    run = Run("caption", told, __version__)
    tally = Stats(run.command)

    def load_step(_: object) -> "Step":
        given = {name: value for name, value in how.items() if value is not None}
        loaded = load("captioner", backend, **given)
        how_asked = {"kind": kind, "schema": schema, "judge": judge, "run": run.key, **asked}
        return _step(loaded, tally, in_lanes_already=lanes > 1, **how_asked)

    return run_job(run, flow, load_step, tally=tally).code


def _step(
    model: "Captioner | VisionLanguageModel",
    tally: "Stats",
    *,
    in_lanes_already: bool,
    kind: CaptionKind,
    schema: StyleSchema,
    judge: bool,
    run: str,
    attempts: int,
    per_attribute: bool,
    max_side: int,
) -> "Step":
    """What is done to a batch: described by what describes, asked of what answers."""
    from megastyle_cli.caption.caption import caption
    from megastyle_cli.caption.concurrency import limit_concurrency, run_concurrently
    from megastyle_cli.caption.judge import JudgeCounts
    from megastyle_cli.caption.judge import judge as judge_step
    from megastyle_cli.caption.prompted_captioner import PromptedCaptioner
    from megastyle_cli.caption.retry import RetryingClient
    from megastyle_cli.io.images import read_pictures
    from megastyle_cli.models.protocols import VisionLanguageModel

    described = partial(caption, kind=kind, schema=schema, run=run)
    if not isinstance(model, VisionLanguageModel):
        return partial(
            described, captioner=model, read=partial(read_pictures, max_side_px=DECODED_PX)
        )
    client, verdicts = RetryingClient(model, attempts), JudgeCounts()
    read = limit_concurrency(
        partial(read_pictures, max_side_px=max_side, margin=1), DECODED_AT_ONCE
    )
    step: Step
    if judge:
        step = partial(judge_step, client=client, read=read, counts=verdicts, run=run)
    else:
        prompted = PromptedCaptioner(client, schema, per_attribute=per_attribute)
        step = partial(described, captioner=prompted, read=read)

    def conclude() -> None:
        tally.measured["refused_answers"] = dict(sorted(client.invalid_answers.items()))
        if judge:
            tally.measured["judged"] = verdicts.shares()
        tally.remarks[:] = [*client.remarks(), *verdicts.remarks()]

    tally.conclude = conclude
    if in_lanes_already:
        return step
    return partial(run_concurrently, step, workers=model.num_threads, chunk_size=model.batch_size)

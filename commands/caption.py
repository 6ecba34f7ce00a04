"""Describe the style and content of images.

Examples:

  megastyle caption imgs/ -o captions.jsonl
  megastyle caption imgs/ --kind style | megastyle dedup | megastyle cluster -o styles.jsonl
  megastyle caption imgs/ --model Qwen/Qwen3-VL-8B-Instruct -o captions.jsonl
  megastyle caption imgs/ --base-url http://localhost:8000/v1 --concurrency 256 -o captions.jsonl

The builtin captioner measures colors, light, texture, edges, outlines and strokes on the CPU;
--model runs a vision-language model on this machine, --base-url asks one on a server. To process
only the failed images again, add --resume, or pass captions.errors.jsonl as the input.
"""

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from megastyle_cli.captioning.options import (
    CaptionOptions,
    MeasuringOptions,
    PromptingOptions,
    ServerOptions,
    ShownSizeOptions,
)
from megastyle_cli.cli.parameters import inputs_or_stdin
from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.core.option import result_options
from megastyle_cli.core.record import recorded_weights
from megastyle_cli.models.options import BackendOptions, DeviceOptions, ModelOptions
from megastyle_cli.models.registry import captioner_backend
from megastyle_cli.runner.options import (
    BatchOptions,
    InputOptions,
    JsonOptions,
    OutputOptions,
    PathListOptions,
    ReportOptions,
    ResumeOptions,
)

if TYPE_CHECKING:
    from megastyle_cli.models.protocols import VisionLanguageModel
    from megastyle_cli.runner.map_job import MapJob

PROMPTED = ("transformers", "openai")  # the backends that answer prompts
DECODED_PX = 384  # longer side of decoded images; the builtin measures use less
MAX_DECODING = 16  # images decoded at a time, however many requests wait: a large one takes memory
WAITING_REQUESTS = 16  # requests prepared beyond --concurrency, so that no place stays empty
BATCHES_OF_MODEL = 4  # batches of a model on this machine in a batch of records


def main(
    context: typer.Context,
    *,
    inputs: InputOptions,
    captions: CaptionOptions,
    measuring: MeasuringOptions,
    prompting: PromptingOptions,
    output: OutputOptions,
    printing: JsonOptions,
    existing: ResumeOptions,
    stdin: PathListOptions,
    which: BackendOptions,
    named: ModelOptions,
    server: ServerOptions,
    shown: ShownSizeOptions,
    hardware: DeviceOptions,
    batches: BatchOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli.captioning.prompts import VERSION, instructions_text

    if prompting.show_instructions:
        sys.stdout.write(instructions_text())
        return DONE

    from megastyle_cli import __version__
    from megastyle_cli.captioning.caption import caption
    from megastyle_cli.captioning.console import describe_caption
    from megastyle_cli.core.record import Run
    from megastyle_cli.io.images import ImageReader
    from megastyle_cli.io.writers.stream import line_for
    from megastyle_cli.models.protocols import VisionLanguageModel
    from megastyle_cli.models.registry import load, locate
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.map_job import MapJob

    backend = captioner_backend(which.backend, named.model, server.base_url)
    locate("captioner", backend)
    recorded: dict[str, Any] = {"backend": backend, **result_options(captions)}
    if backend in PROMPTED:
        recorded |= {"model": named.model, "instructions": VERSION}
        recorded |= recorded_weights("model", named.model)
        recorded |= result_options(prompting, shown)
    elif prompting.judge:
        raise MegastyleError("--judge needs a model", hint="give --model or --base-url")
    else:
        recorded |= result_options(measuring)
    batch_size, least_batch = batches.batch_size, 1
    loading: dict[str, Any]
    if backend == "openai":
        batch_size = 1
        loading = {"concurrency": server.concurrency, "timeout_s": server.timeout}
        loading |= {"retries": server.retries, "model": named.model, "base_url": server.base_url}
    elif backend == "transformers":
        batch_size *= BATCHES_OF_MODEL
        least_batch = batch_size  # a signal ends one between batches of the model
        loading = {"model": named.model, "batch_size": batches.batch_size, **vars(hardware)}
    else:
        loading = {"min_confidence": measuring.min_confidence}
    job = MapJob(
        Run("caption", recorded, __version__),
        Source(inputs=inputs_or_stdin(inputs.inputs, context), stdin=stdin),
        output=output,
        existing=existing,
        report=report,
        batch_size=batch_size,
        least_batch=least_batch,
        line=line_for(output.output, describe_caption, as_json=printing.as_json),
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        if job.has_records():
            given = {name: value for name, value in loading.items() if value is not None}
            model = load("captioner", backend, **given)
            if isinstance(model, VisionLanguageModel):
                workers = server.concurrency + WAITING_REQUESTS if backend == "openai" else 1
                _prompt(model, job, captions, prompting, shown.max_side, workers, server.timeout)
            else:
                reader = ImageReader(DECODED_PX)
                how = {**vars(captions), "run": job.run.key, "stop": job.stop}
                for batch in job.batches():
                    job.write(caption(batch, captioner=model, reader=reader, **how))
    return job.exit_code


def _prompt(
    model: "VisionLanguageModel",
    job: "MapJob",
    captions: CaptionOptions,
    prompting: PromptingOptions,
    max_side_px: int,
    workers: int,
    timeout_s: float,
) -> None:
    """Asks the model about every record, `workers` batches at a time; reports what was invalid.

    At a signal, requests to a server have `timeout_s`, but at most GRACE_S, to be answered.
    """
    from megastyle_cli.captioning.caption import caption
    from megastyle_cli.captioning.judge import JudgeCounts, judge
    from megastyle_cli.captioning.prompted_captioner import PromptedCaptioner
    from megastyle_cli.captioning.retry import RetryingClient
    from megastyle_cli.core.record import Step
    from megastyle_cli.io.images import ImageReader
    from megastyle_cli.runner.concurrency import GRACE_S, concurrent_chunks, concurrent_results

    client, counts = RetryingClient(model, prompting.attempts), JudgeCounts()
    reader = ImageReader(max_side_px, margin=1, max_concurrent=MAX_DECODING)
    step: Step
    if prompting.judge:
        step = partial(judge, client=client, reader=reader, counts=counts, run=job.run.key)
    else:
        prompted = PromptedCaptioner(client, captions.schema, per_attribute=prompting.per_attribute)
        how = {**vars(captions), "run": job.run.key}
        step = partial(caption, captioner=prompted, reader=reader, **how)
    if workers > 1:
        grace_s = min(timeout_s, GRACE_S)
        for results in concurrent_results(step, job.batches(), workers, job.stop, grace_s):
            job.write(results)
    else:
        for batch in job.batches():
            job.write(concurrent_chunks(step, batch, model.num_threads, model.batch_size, job.stop))
    job.stats.measured["refused_answers"] = dict(sorted(client.invalid_answers.items()))
    if prompting.judge:
        job.stats.measured["judged"] = counts.shares()
    job.stats.remarks += [*client.remarks(), *counts.remarks()]

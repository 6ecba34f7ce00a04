"""Search images by style.

Examples:

  megastyle retrieve query.jpg --index gallery/
  megastyle retrieve queries/ --index synth/metadata.jsonl --top 5 -o found.jsonl --page found.html
  megastyle retrieve --index gallery.index --add gallery/
  megastyle retrieve --text "ink wash" --model siglip/ --index photos.index

Adds `neighbors` to each query: id, score (cosine in [-1, 1], or CSLS) and file_name, best first.
--add creates a saved index or extends it; it can only be searched with the encoder that made it.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from megastyle_cli.cli.parameters import given_flag, inputs_or_stdin
from megastyle_cli.cli.resolve_backend import (
    decoded_px,
    encoder_hardware,
    load_encoder,
    recorded_model,
)
from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.core.file_kind import is_stdout
from megastyle_cli.core.option import result_options
from megastyle_cli.core.shard import rank_and_world
from megastyle_cli.models.options import DeviceOptions, EncoderBackendOptions, ModelOptions
from megastyle_cli.models.registry import encoder_backend
from megastyle_cli.retrieval.options import RetrieveOptions
from megastyle_cli.runner.options import (
    BatchOptions,
    InputOptions,
    JsonOptions,
    OutputOptions,
    PathListOptions,
    ReportOptions,
    ResumeOptions,
    ViewOptions,
)

if TYPE_CHECKING:
    from megastyle_cli.models.ranks import Work

DECODED_PX = 384
MODEL_BATCH = 256  # records at most, where a GPU computes while images are decoded


def main(
    context: typer.Context,
    inputs: InputOptions,
    options: RetrieveOptions,
    output: OutputOptions,
    printing: JsonOptions,
    existing: ResumeOptions,
    stdin: PathListOptions,
    which: EncoderBackendOptions,
    named: ModelOptions,
    hardware: DeviceOptions,
    batches: BatchOptions,
    views: ViewOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run, annotate_all
    from megastyle_cli.io.images import ImageReader
    from megastyle_cli.io.writers.stream import line_for
    from megastyle_cli.models.ranks import join_ranks
    from megastyle_cli.models.registry import locate
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.retrieval.console import describe_neighbors
    from megastyle_cli.retrieval.retrieve import check_text_encoder, retrieve, retrieve_prototypes
    from megastyle_cli.retrieval.style_index import IndexSource
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.map_job import MapJob

    if not options.index:
        raise MegastyleError("retrieve needs --index", hint="give --index FOLDER")
    is_prototype = options.prototype or options.prototype_by is not None
    if is_prototype and (existing.resume or existing.shard):
        raise MegastyleError(
            "a prototype is the mean of all queries and cannot be resumed or sharded",
            hint="omit --resume and --shard",
        )
    check_views(views.sheet, views.page)
    backend, model = encoder_backend(which.backend, named.model), named.model
    locate("style_encoder", backend)
    encoder_hardware(model, hardware)  # an error before any work
    if model and not given_flag(context, ("batch_size",)):
        batches = replace(batches, batch_size=MODEL_BATCH)
    if options.add or options.prune:
        is_all = not inputs.inputs and not options.text
        if is_all and (not is_stdout(output.output) or views.are_wanted):
            raise MegastyleError(
                "-o, --sheet and --page need queries, but none are given",
                hint="give queries, or omit these options",
            )
        if is_all:
            return _add(options, backend, model, hardware, output, existing, stdin, batches, report)
        code = _add(  # the errors file, the limit, the list of paths and --stats are of the queries
            options,
            backend,
            model,
            hardware,
            replace(output, errors=None),
            replace(existing, limit=None),
            PathListOptions(),
            batches,
            replace(report, stats=None),
        )
        if code:
            return code
    described = [{options.text_key or "text": words} for words in options.text or []]
    names = inputs_or_stdin(inputs.inputs, context) if inputs.inputs or not described else []
    source = IndexSource.find(options.index)
    recorded = {**recorded_model(backend, model), **result_options(options)}
    run = Run("retrieve", recorded | {"index": source.fingerprint}, __version__)
    queries = Source(inputs=names, stdin=stdin, described=described)
    text_key = options.prototype_by or options.text_key or "text"
    text = partial(describe_neighbors, text_key=text_key)
    line = line_for(output.output, text, as_json=printing.as_json)
    job: CollectJob | MapJob
    if is_prototype:
        job = CollectJob(
            run,
            queries,
            output=output,
            existing=existing,
            report=report,
            keeps_records=views.are_wanted,
            line=line,
        )
    else:
        job = MapJob(
            run,
            queries,
            output=output,
            existing=existing,
            report=report,
            batch_size=batches.batch_size,
            keeps_records=views.are_wanted,
            line=line,
        )
    if report.dry_run:
        return job.show_plan(index=", ".join(options.index))
    ranks = join_ranks(may_work_alone=True) if source.saved is None else None
    with job:
        has_records = job.has_records()
        if ranks is not None:  # each embeds a share of the index if one of them needs it
            has_records = ranks.any(has_records)
        if has_records:  # no query needs no model
            encoder = load_encoder(backend, model, hardware)
            if described and not names:
                check_text_encoder(encoder)
            reader = ImageReader(decoded_px(model, DECODED_PX))
            index = source.open(encoder, reader, options.method, options.score, ranks)
            job.stats.measured |= index.searcher.stats
            job.stats.remarks += index.searcher.remarks
            facts = {"model": encoder.name, "run": run.key, "index": index.fingerprint}
            search = {
                "index": index,
                "encoder": encoder,
                "reader": reader,
                "k": options.top,
                "keep_self": options.keep_self,
                "text_key": options.text_key,
            }
            if isinstance(job, MapJob):
                for batch in job.batches():
                    job.write(annotate_all(retrieve(batch, **search), "retrieve", **facts))
            else:
                found = retrieve_prototypes(job.spool.read(), by=options.prototype_by, **search)
                job.write(annotate_all(found, "retrieve", **facts))
    gallery = [record for record in source.records if isinstance(record, dict)]
    write_views(job.records(), views.sheet, views.page, title="Found by style", gallery=gallery)
    return job.exit_code


def _add(
    options: RetrieveOptions,
    backend: str,
    model: str | None,
    hardware: DeviceOptions,
    output: OutputOptions,
    existing: ResumeOptions,
    stdin: PathListOptions,
    batches: BatchOptions,
    report: ReportOptions,
) -> int:
    """Adds the images of `--add` to the saved index and prunes it; the exit code."""
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.io.images import ImageReader
    from megastyle_cli.models.ranks import join_ranks
    from megastyle_cli.retrieval.embed import embed_share
    from megastyle_cli.retrieval.index_file import is_saved_index
    from megastyle_cli.retrieval.index_writer import IndexWriter, embed_rows, index_sink
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.map_job import MapJob
    from megastyle_cli.runner.rank_worker import work_for_first

    index = options.index or []
    if len(index) > 1:
        raise MegastyleError(
            f"--add extends one index, but --index is given {len(index)} times",
            hint="give one --index DIR",
        )
    if existing.shard:
        raise MegastyleError("--add cannot be sharded", hint="omit --shard")
    if not options.add and not is_saved_index(index[0]):
        raise MegastyleError(
            f"{index[0]} is not a saved index", hint="give an index that --add created"
        )
    recorded = recorded_model(backend, model)
    reader = ImageReader(decoded_px(model, DECODED_PX))
    if report.dry_run and rank_and_world()[0]:
        return DONE  # the first process shows the plan
    ranks = None if report.dry_run else join_ranks()
    if ranks is not None and not ranks.is_first:

        def load() -> "Work":
            return partial(
                embed_share, encoder=load_encoder(backend, model, hardware), reader=reader
            )

        return work_for_first(ranks, load)
    run = Run("retrieve", recorded, __version__)
    writer = IndexWriter(Path(index[0]), prune=options.prune)
    job = MapJob(
        run,
        Source(inputs=options.add or [], stdin=stdin),
        output=replace(output, output=index[0]),
        existing=replace(existing, resume=True),
        report=report,
        batch_size=batches.batch_size * (ranks.world if ranks else 1),
        sink=index_sink(writer, run, output.errors),
        has_ranks=True,
    )
    job.stats.measured, job.stats.remarks = writer.counts, writer.remarks
    if report.dry_run:
        return job.show_plan()
    with job:
        if job.has_records():
            if ranks is not None:
                ranks.start()
            encoder = load_encoder(backend, model, hardware)
            writer.set_encoder(encoder, recorded)
            if ranks is not None:
                ranks.work = partial(embed_share, encoder=encoder, reader=reader)
            for batch in job.batches():
                job.write(embed_rows(batch, encoder, reader, ranks))
    if ranks is not None:
        ranks.end(job.exit_code)
    return job.exit_code

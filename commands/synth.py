"""Render pairs into images.

Examples:

  megastyle synth pairs.jsonl -o synth/ --page synth.html
  megastyle synth pairs.jsonl --model Qwen/Qwen-Image --size 1024 -o synth/ --resume
  megastyle synth pairs.jsonl -o synth/ --format webdataset --picture-format jpg --quality 95
  accelerate launch -m megastyle_cli synth pairs.jsonl --model Qwen/Qwen-Image -o synth/ --resume

The builtin backend renders each pair's content image in the style of its style image, on the CPU.
With --model, a text-to-image model renders the pair's words. To fit a smaller GPU, such as 24 GB,
use --offload and --quantize.
"""

from typing import TYPE_CHECKING, Any

import typer

from megastyle_cli.cli.parameters import given_flag, inputs_or_stdin, parse_size
from megastyle_cli.cli.resolve_backend import decoded_px, load_encoder, lora_name, recorded_model
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option_names, result_options
from megastyle_cli.core.record import recorded_weights
from megastyle_cli.generate.options import (
    FilterOptions,
    ImageBatchOptions,
    ImageFormatOptions,
    StrengthOptions,
    SynthOptions,
    TextToImageOffloadOptions,
    TextToImageOptions,
)
from megastyle_cli.models.options import (
    BackendOptions,
    CompileOptions,
    DeviceOptions,
    ModelOptions,
    QuantizeOptions,
)
from megastyle_cli.models.registry import encoder_backend, painter_backend
from megastyle_cli.runner.options import (
    ImageOutputOptions,
    InputOptions,
    ReportOptions,
    ResumeOptions,
    SeedOptions,
    ViewOptions,
)

if TYPE_CHECKING:
    from megastyle_cli.generate.filters import Filter
    from megastyle_cli.runner.map_job import MapJob

STYLE_PX = 512  # longer side of decoded style images
COMPARED_PX = 384  # longer side of what the builtin style encoder is shown, as in eval
MODEL_FLAGS = option_names(
    *(TextToImageOptions, QuantizeOptions, DeviceOptions, TextToImageOffloadOptions),
    CompileOptions,
)


def main(
    context: typer.Context,
    inputs: InputOptions,
    output: ImageOutputOptions,
    sizes: SynthOptions,
    applied: StrengthOptions,
    stored: ImageFormatOptions,
    named: ModelOptions,
    rendering: TextToImageOptions,
    rounding: QuantizeOptions,
    filters: FilterOptions,
    existing: ResumeOptions,
    drawing: SeedOptions,
    which: BackendOptions,
    hardware: DeviceOptions,
    offloading: TextToImageOffloadOptions,
    compiling: CompileOptions,
    batches: ImageBatchOptions,
    views: ViewOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.generate.filters import style_key
    from megastyle_cli.generate.synth import (
        BATCHES_PER_ROUND,
        OFFLOADED_BATCHES_PER_ROUND,
        synth,
    )
    from megastyle_cli.io.images import ImageReader
    from megastyle_cli.models.image_size import images_per_batch
    from megastyle_cli.models.protocols import PictureRequest
    from megastyle_cli.models.registry import load, locate
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.map_job import MapJob
    from megastyle_cli.runner.progress import say

    if output.output is None or output.output == "-":
        raise MegastyleError("synth writes a folder of images", hint="give -o DIR")
    image_format = stored.image_format()
    backend = painter_backend(which.backend, named.model)
    locate("painter", backend)
    is_model = backend == "diffusers"
    long_side_px, size_px = parse_size(sizes.size)
    if size_px and not is_model:
        raise MegastyleError(
            f"--size {sizes.size} is for a text-to-image model,"
            f" backend {backend!r} keeps the content image's aspect ratio",
            hint=f"give --size {max(size_px)}",
        )
    if is_model and long_side_px:
        size_px = (long_side_px, long_side_px)
    recorded: dict[str, Any] = recorded_model(backend, named.model)
    recorded |= result_options(sizes, drawing) | image_format.as_options()
    batch_size, loading = batches.batch_size, {}
    if is_model:
        if rendering.preset and not rendering.lora:
            raise MegastyleError(
                f"--preset {rendering.preset} is for a distilled LoRA",
                hint="add --lora FILE",
            )
        lora = rendering.lora and lora_name(rendering.lora)
        recorded |= result_options(rendering) | {"lora": lora}
        recorded |= vars(rounding) | {"dtype": hardware.dtype}
        images = batches.batch_size
        if size_px and not given_flag(context, ("batch_size",)):
            images = images_per_batch(size_px)
        loading = {"model": named.model, "batch_size": images, "compiled": compiling.compile}
        loading |= {**vars(rendering), **vars(rounding), **vars(hardware), **vars(offloading)}
        in_a_round = BATCHES_PER_ROUND if images > 1 or offloading.offload else 1
        if offloading.offload == "model":
            in_a_round = OFFLOADED_BATCHES_PER_ROUND
        batch_size = in_a_round * images
    else:
        if flag := given_flag(context, MODEL_FLAGS):
            raise MegastyleError(
                f"{flag} is for a text-to-image model, not for backend {backend!r}",
                hint="give --model FOLDER or Qwen/Qwen-Image",
            )
        recorded |= vars(applied)
        loading = {"model": named.model} if named.model else {}
    recorded_filters = _recorded_filters(filters)
    for name in ("style_model", "style_against"):
        if filters.min_style_score is None and (flag := given_flag(context, (name,))):
            raise MegastyleError(f"{flag} needs --min-style-score", hint="give both")
    if filters.rejects and not recorded_filters:
        raise MegastyleError("--rejects needs a filter", hint="add one, such as --reject-blank")
    compares = None if filters.min_style_score is None else filters.style_against
    check_views(views.sheet, views.page)
    job = MapJob(
        Run("synth", recorded | recorded_filters, __version__),
        Source(inputs=inputs_or_stdin(inputs.inputs, context)),
        output=output,
        existing=existing,
        report=report,
        batch_size=batch_size,
        least_batch=batch_size if is_model else 1,  # a signal ends one between batches of the model
        image_format=image_format,
        rejects=filters.rejects,
        may_reject=bool(recorded_filters),
        group_key=style_key if compares == "others" else None,
        keeps_records=views.are_wanted,
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        if job.has_records():
            loaded_filters = _load_filters(filters, job)
            tell: dict[str, Any] = {}
            if is_model and not report.quiet:
                tell["say"] = lambda plan: say(f"synth: {plan}")
            painter = load("painter", backend, **loading, **tell)
            settings = dict(getattr(painter, "settings", vars(applied)))
            settings |= {
                name: recorded[name]
                for name in ("preset", "lora", "quantize")
                if recorded.get(name)
            }
            needs_style_image = not is_model or compares == "reference"
            how: dict[str, Any] = {
                "content_reader": None if is_model else ImageReader(long_side_px),
                "style_reader": ImageReader(STYLE_PX, num_cached=64) if needs_style_image else None,
                "template": PictureRequest(
                    long_side=long_side_px,
                    size_px=size_px,
                    strength=applied.strength,
                    seed=drawing.seed,
                ),
                "run": job.run.key,
                "settings": settings,
                "requires_style": compares == "reference",
                "filters": loaded_filters,
                "stop": job.stop,
            }
            if job.group_key is not None:
                how["pieces"] = job.batch_size
            for batch in job.batches():
                job.write(synth(batch, painter, job.sink, **how))
    write_views(job.records(), views.sheet, views.page, title="Rendered")
    return job.exit_code


def _recorded_filters(filters: FilterOptions) -> dict[str, Any]:
    """The filters as a run records them: those that are set, and what these depend on."""
    recorded = result_options(filters) | recorded_weights("style_model", filters.style_model)
    if filters.nsfw:
        recorded |= recorded_weights("nsfw", filters.nsfw) | {"max_nsfw": filters.max_nsfw}
    if filters.min_style_score is not None:
        recorded["style_against"] = filters.style_against
    return recorded


def _load_filters(filters: FilterOptions, job: "MapJob") -> "list[Filter]":
    """The filters that are set, cheap ones first; duplicates last, to remember only what passed."""
    from megastyle_cli.generate.filters import (
        BlankFilter,
        ConsistencyFilter,
        DuplicateImageFilter,
        ReferenceFilter,
        UnsafeFilter,
    )
    from megastyle_cli.io.writers.rejects_file import ImageHashFile
    from megastyle_cli.models.registry import load

    loaded: list[Filter] = [BlankFilter()] if filters.reject_blank else []
    if filters.nsfw is not None:
        is_builtin = filters.nsfw == "open_nsfw"
        backend = "open_nsfw" if is_builtin else "transformers"
        named = {} if is_builtin else {"model": filters.nsfw}
        loaded.append(UnsafeFilter(load("classifier", backend, **named), filters.max_nsfw))
    if filters.min_style_score is not None:
        model = filters.style_model
        encoder = load_encoder(encoder_backend("builtin", model), model)
        side_px = decoded_px(model, COMPARED_PX)
        kind = ReferenceFilter if filters.style_against == "reference" else ConsistencyFilter
        loaded.append(kind(encoder, filters.min_style_score, side_px))
    if filters.reject_duplicates:
        path = job.paths.base / "hashes.jsonl"
        hashes = ImageHashFile(path, job.sink.done, resume=job.resumes)
        loaded.append(DuplicateImageFilter(hashes))
    return loaded

"""Apply the style of reference images to an image, a folder or a prompt.

Examples:

  megastyle transfer --style wave.jpg cat.jpg -o cat.png
  megastyle transfer --style wave.jpg photos/ -o restyled/ --page restyled.html
  megastyle transfer --style icon.png --prompt camera --model builtin-flux -o camera.png
  megastyle transfer --style a.jpg --prompt "A fox" --model FLUX.1-dev --lora m.safetensors -o f.png

The builtin backend restyles images on the CPU. With --model, FLUX renders a prompt, or the content
it recognizes in an image, in the style of the references: --offload model fits a GPU of 24 GB,
--offload model --quantize int8 one of 16 GB.
"""

import shlex
from typing import Any

import typer

from megastyle_cli.cli.parameters import given_flag, inputs_or_stdin, parse_size
from megastyle_cli.cli.resolve_backend import lora_name, recorded_model
from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.core.option import option_names, result_options
from megastyle_cli.generate.options import (
    FluxOffloadOptions,
    FluxOptions,
    FluxPresetOptions,
    ImageBatchOptions,
    ImageFormatOptions,
    LoraOptions,
    StrengthOptions,
    TransferOptions,
    TransferOutputOptions,
)
from megastyle_cli.models.options import (
    LORA_DOWNLOAD_HINT,
    BackendOptions,
    CompileOptions,
    DeviceOptions,
    ModelOptions,
    QuantizeOptions,
)
from megastyle_cli.models.registry import stylist_backend
from megastyle_cli.runner.options import (
    InputOptions,
    ReportOptions,
    ResumeOptions,
    SeedOptions,
    ViewOptions,
)

ROUNDS = 8  # batches of the model in a batch of the job, with --offload model
STYLE_PX = 512  # longer side of decoded style images; FLUX is given them as they are
CONVERSION_FLAGS = {"lora", "to", "output", "model", "overwrite", "quiet", "verbose"}
FOLDER_FLAGS = (
    *("errors", "resume", "shard", "limit", "stats", "sheet", "page"),
    *("format_", "picture_format", "quality", "shard_size"),
)
FLUX_FLAGS = option_names(
    *(LoraOptions, FluxOptions, FluxPresetOptions, QuantizeOptions),
    *(DeviceOptions, FluxOffloadOptions, CompileOptions),
)


def main(
    context: typer.Context,
    inputs: InputOptions,
    output: TransferOutputOptions,
    what: TransferOptions,
    applied: StrengthOptions,
    named: ModelOptions,
    adapter: LoraOptions,
    painting: FluxOptions,
    stored: ImageFormatOptions,
    existing: ResumeOptions,
    drawing: SeedOptions,
    which: BackendOptions,
    hardware: DeviceOptions,
    offloading: FluxOffloadOptions,
    rounding: QuantizeOptions,
    speed: FluxPresetOptions,
    compiling: CompileOptions,
    batches: ImageBatchOptions,
    views: ViewOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.generate.transfer import transfer, weighted_references
    from megastyle_cli.io.images import ImageReader
    from megastyle_cli.io.output_paths import check_folder_name
    from megastyle_cli.io.record_names import picture_id
    from megastyle_cli.io.writers.single_image import (
        SingleImageFile,
        is_single_image,
        read_transfer_request,
        require_success,
    )
    from megastyle_cli.models.protocols import PictureRequest
    from megastyle_cli.models.registry import load, locate
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.report.style_name import picture_stem
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.map_job import MapJob
    from megastyle_cli.runner.plan import MODEL_KEYS, Plan, describe_model, describe_options
    from megastyle_cli.runner.progress import say

    if output.output is None:
        raise MegastyleError("transfer needs an output", hint="give -o out.png, -o - or -o DIR")
    if adapter.to is not None:
        others = {parameter.name or "" for parameter in context.command.params} - CONVERSION_FLAGS
        if flag := given_flag(context, others):
            raise MegastyleError(
                f"{flag} cannot be combined with --to", hint="--to only converts --lora"
            )
        say(_convert(adapter, output.output, named.model, overwrite=existing.overwrite))
        return DONE
    check_views(views.sheet, views.page)
    backend = stylist_backend(which.backend, named.model)
    locate("stylist", backend)
    is_flux = backend == "flux"
    long_side_px, size_px = parse_size(what.size)
    loading: dict[str, Any] = {"model": named.model} if named.model else {}
    settings: dict[str, Any] = {}
    if is_flux:
        changing = {**result_options(adapter, painting, speed), **vars(rounding)}
        changing["dtype"] = hardware.dtype
        lora = adapter.lora and lora_name(adapter.lora, LORA_DOWNLOAD_HINT)
        settings |= {"lora": lora, **changing}
        loading |= {**changing, **vars(hardware), **vars(offloading)}
        loading |= {"lora": adapter.lora, "compiled": compiling.compile}
        loading["batch_size"] = batches.batch_size
        # only if it is given: a model without guidance refuses it
        loading["guidance"] = painting.guidance if given_flag(context, ["guidance"]) else None
    else:
        _check_no_flux_options(context, backend, size_px)
    _check_style(what, inputs.inputs or [], output.output)
    references = weighted_references(what.style or [], what.weight or [])
    image_format = stored.image_format()
    recorded = {
        **recorded_model(backend, named.model),
        "style": [picture_id(name) for name in references.names],
        "weights": [round(share, 4) for share in references.weights],
        "size": what.size if size_px else long_side_px,
        **vars(applied),
        **result_options(drawing),
        **settings,
        **image_format.as_options(),
    }
    run = Run("transfer", recorded, __version__)
    styles = "; ".join(
        f"{name}, weight {share:.2g}" if len(references.names) > 1 else name
        for name, share in zip(references.names, references.weights, strict=True)
    )
    how: dict[str, Any] = {
        "references": references,
        "content_reader": ImageReader(long_side_px),
        # few are cached at full size, which FLUX is given: it squashes references itself
        "style_reader": ImageReader(num_cached=8)
        if is_flux
        else ImageReader(STYLE_PX, num_cached=64),
        "starts_from_image": not is_flux or painting.content_strength > 0,
        "template": PictureRequest(
            long_side=long_side_px, size_px=size_px, strength=applied.strength, seed=drawing.seed
        ),
        "run": run.key,
        "settings": {key: value for key, value in settings.items() if value is not None},
    }
    if what.content is not None and inputs.inputs:
        raise MegastyleError("--content and inputs are both given", hint="give one of them")
    if is_single_image(output.output):
        if flag := given_flag(context, FOLDER_FLAGS):
            raise MegastyleError(f"{flag} needs a folder as output", hint="give -o DIR")
        record = read_transfer_request(inputs.inputs or [], what.content, what.prompt)
        if report.dry_run:
            hidden = {*MODEL_KEYS, "style", "weights"}
            plan = Plan("transfer")
            plan.add("input", str(record.get("file_name") or record.get("content")))
            plan.add("style", styles)
            plan.add("model", describe_model(recorded))
            plan.add("options", describe_options(recorded, hidden))
            plan.add("output", "standard output" if output.output == "-" else output.output)
            plan.show()
            return DONE
        store = SingleImageFile(output.output, overwrite=existing.overwrite)
        stylist = load("stylist", backend, **loading)
        how["captioner"] = load("captioner", "builtin") if is_flux else None
        require_success(transfer([record], stylist, store, **how))
        return DONE
    check_folder_name(output.output, or_image=True)
    if what.prompt is not None:
        raise MegastyleError(
            "--prompt makes one image", hint="give -o out.png, or records for several"
        )
    names = [what.content] if what.content else inputs_or_stdin(inputs.inputs, context)
    # offloaded models are moved once for all batches of a round
    batch_size = batches.batch_size * (ROUNDS if offloading.offload == "model" else 1)
    job = MapJob(
        run,
        Source(inputs=names),
        output=output,
        existing=existing,
        report=report,
        batch_size=batch_size,
        least_batch=batch_size if is_flux else 1,
        image_format=image_format,
        keeps_records=views.are_wanted,
    )
    if report.dry_run:
        return job.show_plan(style=styles, weights="")
    with job:
        if job.has_records():
            stylist = load("stylist", backend, **loading)
            how["captioner"] = load("captioner", "builtin") if is_flux else None
            how["stop"] = job.stop
            for batch in job.batches():
                job.write(transfer(batch, stylist, job.sink, **how))
    stems = " and ".join(map(picture_stem, references.names))
    title = f"Restyled with {stems}" if stems else "Restyled"
    mix = list(zip(references.names, references.weights, strict=True))
    write_views(job.records(), views.sheet, views.page, title=title, mix=mix)
    return job.exit_code


def _check_style(what: TransferOptions, inputs: list[str], output: str) -> None:
    """Raises MegastyleError if images or a prompt are given, which bring no style, but no style."""
    from megastyle_cli.io.formats import is_picture_name

    images = [name for name in (*inputs, what.content) if name and is_picture_name(name)]
    if what.style or not (images or what.prompt):
        return
    style, which = "STYLE.jpg", "name the style"
    if len(images) > 1:
        style, *images = images
        which = f"if {style} is the style"
    prompt = ["--prompt", what.prompt, "--model", "MODEL"] if what.prompt else []
    line = ["megastyle", "transfer", "--style", style, *prompt, *images, "-o", output]
    raise MegastyleError("--style is missing", hint=f"{which}: {shlex.join(line)}")


def _check_no_flux_options(
    context: typer.Context, backend: str, size_px: tuple[int, int] | None
) -> None:
    if flag := given_flag(context, FLUX_FLAGS):
        raise MegastyleError(
            f"{flag} is for FLUX, not for backend {backend!r}",
            hint="give --model FOLDER or black-forest-labs/FLUX.1-dev",
        )
    if size_px is not None:
        raise MegastyleError(
            f"--size {size_px[0]}x{size_px[1]} is for FLUX,"
            f" backend {backend!r} keeps the content image's aspect ratio",
            hint=f"give --size {max(size_px)}",
        )


def _convert(adapter: LoraOptions, output: str, model: str | None, *, overwrite: bool) -> str:
    """Writes the LoRA with other keys; what was done, as a sentence."""
    from pathlib import Path

    from megastyle_cli.models.flux.lora_file import convert_lora

    if adapter.lora is None or adapter.to is None:
        raise MegastyleError("--to needs a LoRA to convert", hint="give --lora FILE")
    path = Path(adapter.lora)
    return convert_lora(path, Path(output), adapter.to, model=model, overwrite=overwrite)

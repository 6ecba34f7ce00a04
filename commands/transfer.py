"""Apply the style of reference pictures to a picture or a prompt, or to many.

Examples:

  megastyle transfer --style great_wave.jpg --content cat.jpg -o cat_wave.png
  megastyle transfer --style a.jpg --style b.jpg --weight 7 --weight 3 --content cat.jpg -o mix.png
  megastyle transfer --style great_wave.jpg photos/ -o waves/ --resume
  megastyle transfer --style great_wave.jpg --content cat.jpg --strength 0.5 -o - | display
  megastyle transfer --style a.jpg --prompt "A fox" --model FLUX.1-dev --lora m.safetensors -o f.png
  megastyle transfer prompts.jsonl --model FLUX.1-dev --lora m.safetensors -o foxes/
  megastyle transfer --style icon.png --prompt camera --model builtin-flux -o camera.png
  megastyle transfer --lora m.safetensors --to diffusers -o m_diffusers.safetensors

The builtin stylist is neural style transfer on a CPU: it needs a content picture. Records may bring
their own style_file_name and content_file_name; --style is for those that have none.

With --model, FLUX paints the words of each record (content) in the reference's style, as MegaStyle
does: --model is a folder or black-forest-labs/FLUX.1-dev, --lora the adapter that taught it to see
a reference (megastyle_flux.safetensors). A record without words, or --content without --prompt, is
painted by what the builtin captioner recognises on its picture; --content-strength starts from that
picture, too. --strength 1 is as trained, 0 is without reference; between them, and of several
references by --weight, each reference token counts as that part of a token (ours). References are
not averaged, since the mean of two latents is a picture of neither: each keeps its own tokens.
Sizes are rounded up to multiples of 16.

--model builtin-flux is a small FLUX of the same classes, trained from nothing by train-flux, for a
CPU, half a second a picture: icons of 64 px, of these words only: bell, bookmark, calendar,
camera, clock, cloud, document, eye, folder, heart, home, keyboard, lock, mail, pencil, phone, pin,
play, printer, search, settings, star, sun, user. Others are refused, as is --guidance: it reads
no such number.

On a small GPU, by the weights' sizes: --offload model (24 GB) is exact, with --quantize int8
(16 GB) nearly so, --offload layers takes least; what does not fit says what would. --preset
fast-cache leaves out what hardly changes from step to step: it changes pixels, and like --quantize
stands in each record.

--to only converts the LoRA, whole or not at all: official (kohya; 304 modules of FLUX.1), diffsynth
(as its trainer saves), diffusers (988 tensors), peft (ComfyUI's diffusion_model. prefix).
"""

from functools import cache, partial
from typing import Annotated, Any, Literal

import typer

from megastyle_cli.cli import options
from megastyle_cli.cli import resolve_backend as backends
from megastyle_cli.core.choices import HOW_TO_FETCH_LORA
from megastyle_cli.core.errors import DONE, MegastyleError

STYLE_PX = 512  # style pictures are decoded at this longer side, for FLUX as they are
OF_CONVERSION = {"lora", "to", "output", "model", "overwrite", "quiet", "verbose"}
OF_MANY = (
    *("errors", "resume", "shard", "limit", "stats", "sheet", "page"),
    *("format_", "picture_format", "quality", "shard_size"),
)
FLAGS_OF_FLUX = (
    *("lora", "lora_strength", "steps", "guidance", "content_strength", "keep_aspect", "quantize"),
    *("preset", "device", "dtype", "offload", "compile"),
)


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    style: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PICTURE", help="Style reference; several are mixed.", show_default=False
        ),
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(
            metavar="W",
            min=0,
            help="Share of each --style, in their order; default equal.",
            show_default=False,
        ),
    ] = None,
    content: Annotated[
        str | None,
        typer.Option(metavar="PICTURE", help="The one picture to restyle.", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            show_default=False,
            help="What to paint; needs a backend that paints from words.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="PX|WxH",
            show_default=False,
            help="Longer side of the result, or FLUX's width and height; default: the content"
            " picture's, for FLUX 512 or as trained.",
        ),
    ] = None,
    strength: options.Strength = 1.0,
    model: options.Model = None,
    lora: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", show_default=False, help="MegaStyle's adapter for FLUX, .safetensors."
        ),
    ] = None,
    lora_strength: options.LoraStrength = 1.0,
    to: Annotated[
        Literal["official", "diffsynth", "diffusers", "peft"] | None,
        typer.Option(
            metavar="FORM",
            show_default=False,
            help="Paint nothing: write --lora as -o FILE.safetensors with the keys of official,"
            " diffsynth, diffusers or peft.",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Of FLUX from noise to picture.")
    ] = 30,
    guidance: Annotated[
        float, typer.Option(metavar="G", min=0, help="How closely FLUX is told to keep to words.")
    ] = 3.5,
    content_strength: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0,
            max=1,
            help="How much of the content picture FLUX starts from; 0: only from words.",
        ),
    ] = 0.0,
    keep_aspect: Annotated[
        bool,
        typer.Option("--keep-aspect", help="Cut references to shape; FLUX was taught to squash."),
    ] = False,
    format_: options.Format = "folder",
    picture_format: options.PicturesAs = "png",
    quality: options.Quality = None,
    shard_size: options.ShardSize = 1000,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="A picture (one result), - for a PNG on stdout, or a directory.",
            show_default=False,
        ),
    ] = None,
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    force: options.Force = False,
    shard: options.ShardOf = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    backend: options.Backend = "builtin",
    device: options.Device = None,
    dtype: options.Dtype = None,
    offload: Annotated[
        Literal["modulation", "model", "layers"] | None,
        typer.Option(
            metavar="modulation|model|layers",
            show_default=False,
            help="Keep off the GPU a quarter of FLUX that is known before the first step; with it"
            " whole parts not at work; or each layer.",
        ),
    ] = None,
    quantize: options.Quantize = None,
    preset: Annotated[
        Literal["fast-cache"] | None,
        typer.Option(
            metavar="fast-cache",
            show_default=False,
            help="Faster pictures that are not quite the same.",
        ),
    ] = None,
    compile: options.Compile = False,
    batch_size: options.BatchSize = 8,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.generate.transfer import transfer, weighted_references
    from megastyle_cli.io.images import cached_picture_reader, picture_saver, read_pictures
    from megastyle_cli.io.record_ids import picture_id
    from megastyle_cli.io.writers.image_dataset import ImageFormat
    from megastyle_cli.io.writers.single_image import (
        is_single_image,
        read_transfer_request,
        run_once,
        single_image_saver,
    )
    from megastyle_cli.models.registry import load, locate
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.runner.callbacks import Flow, run_job
    from megastyle_cli.runner.progress import say

    if output is None:
        raise MegastyleError(
            "transfer makes pictures", hint="give -o out.png, -o - or -o DIRECTORY"
        )
    if to is not None:
        others = {parameter.name or "" for parameter in context.command.params} - OF_CONVERSION
        if flag := options.given(context, others):
            raise MegastyleError(f"{flag} and --to are given", hint="--to only converts --lora")
        say(_converted(lora, output, to, model=model, overwrite=overwrite))
        return DONE
    check_views(sheet, page)
    backend = backends.stylist_backend(backend, model)
    locate("stylist", backend)
    is_flux = backend == "flux"
    long_side_px, size_px = options.parsed_size(size)
    if not is_flux:
        _refuse_what_is_of_flux(context, backend, size_px)
    painting: dict[str, Any] = {
        "lora_strength": lora_strength,
        "steps": steps,
        "guidance": guidance,
        "content_strength": content_strength,
        "keep_aspect": keep_aspect,
        "dtype": dtype,
        "quantize": quantize,
        "preset": preset,
    }
    settings: dict[str, Any] = {}
    if is_flux:
        settings = {"lora": lora and backends.lora_name(lora, HOW_TO_FETCH_LORA), **painting}
    references = weighted_references(style or [], weight or [])
    layout = ImageFormat(
        container=format_,
        picture_format=picture_format,
        quality=quality,
        num_per_shard=shard_size,
    )
    told = {
        **backends.recorded_model(backend, model),
        "style": [picture_id(name) for name in references.names],
        "weights": [round(share, 4) for share in references.weights],
        "size": size if size_px else long_side_px,
        "strength": strength,
        "seed": seed,
        **settings,
        **layout.as_options(),
    }
    run = Run("transfer", told, __version__)
    step = partial(
        transfer,
        references=references,
        read_content=partial(read_pictures, max_side_px=long_side_px),
        # FLUX squashes references itself, once; few are kept, since they are not made smaller here
        read_style=cached_picture_reader(*((None, 8) if is_flux else (STYLE_PX, 64))),
        starts_from_picture=not is_flux or content_strength > 0,
        captioner=cache(partial(load, "captioner", "builtin")) if is_flux else None,
        long_side_px=long_side_px,
        size_px=size_px,
        strength=strength,
        seed=seed,
        run=run.key,
        settings={key: value for key, value in settings.items() if value is not None},
    )

    def stylist() -> Any:
        if not is_flux:
            return load("stylist", backend, **({"model": model} if model else {}))
        running = {"device": device, "offload": offload, "compiled": compile}
        wanted = {
            **painting,
            "guidance": guidance if options.given(context, ["guidance"]) else None,
        }
        return load("stylist", backend, model=model, lora=lora, **wanted, **running)

    if content is not None and inputs:
        raise MegastyleError("--content and inputs are given", hint="give one of the two")
    if is_single_image(output):
        if flag := options.given(context, OF_MANY):
            raise MegastyleError(f"{flag} is for many pictures", hint="give -o DIRECTORY")
        record = read_transfer_request(inputs or [], content, prompt)
        if dry_run:
            say(f"transfer (dry run): one picture to {output} with {told}")
            return DONE
        save = single_image_saver(output, overwrite=overwrite)
        run_once(partial(step, stylist=stylist(), save=save), record)
        return DONE
    if prompt is not None:
        raise MegastyleError(
            "--prompt makes one picture", hint="give -o out.png, or records to many"
        )
    flow = Flow(
        inputs=[content] if content else options.inputs_or_stdin(inputs, context),
        output=output,
        errors=errors,
        max_errors=max_errors,
        resume=resume,
        overwrite=overwrite,
        force=force,
        shard=shard,
        limit=limit,
        batch_size=batch_size,
        keep=bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
        layout=layout,
    )
    done = run_job(
        run,
        flow,
        lambda sink: partial(
            step, stylist=stylist(), save=picture_saver(sink.picture_path, layout.suffix, quality)
        ),
        folder=True,
    )
    write_views(done.records, sheet, page, title=f"Restyled: {output}")
    return done.code


def _refuse_what_is_of_flux(
    context: typer.Context, backend: str, size_px: tuple[int, int] | None
) -> None:
    if flag := options.given(context, FLAGS_OF_FLUX):
        raise MegastyleError(
            f"{flag} is for FLUX, not for backend {backend!r}",
            hint="give --model FOLDER or black-forest-labs/FLUX.1-dev",
        )
    if size_px is not None:
        raise MegastyleError(
            f"--size {size_px[0]}x{size_px[1]} is for FLUX,"
            f" backend {backend!r} keeps the content picture's shape",
            hint=f"give --size {max(size_px)}",
        )


def _converted(
    lora: str | None, output: str, to: Any, *, model: str | None, overwrite: bool
) -> str:
    from pathlib import Path

    from megastyle_cli.models.flux.lora_file import convert_lora

    if lora is None:
        raise MegastyleError("--to converts a LoRA, and none is given", hint="give --lora FILE")
    return convert_lora(Path(lora), Path(output), to, model=model, overwrite=overwrite)

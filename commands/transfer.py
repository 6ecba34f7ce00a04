"""Apply the style of reference pictures to a picture or a prompt, or to many.

Examples:

  megastyle transfer --style great_wave.jpg --content cat.jpg -o cat_wave.png
  megastyle transfer --style a.jpg --style b.jpg --weight 7 --weight 3 --content cat.jpg -o mix.png
  megastyle transfer --style great_wave.jpg photos/ -o waves/ --resume
  megastyle transfer --style great_wave.jpg --content cat.jpg --strength 0.5 -o - | display
  megastyle transfer --style a.jpg --prompt "A fox" --model FLUX.1-dev --lora m.safetensors -o f.png
  megastyle transfer prompts.jsonl --model FLUX.1-dev --lora m.safetensors -o foxes/

The builtin stylist is neural style transfer on a CPU: it needs a content picture. Records may bring
their own style_file_name and content_file_name; --style is for those that have none.

With --model, FLUX paints the words of each record (content) in the reference's style, as MegaStyle
does: --model is a folder or black-forest-labs/FLUX.1-dev, --lora the adapter that taught it to see
a reference (megastyle_flux.safetensors). --strength 1 is as trained, 0 is without reference;
between them, and of several references by --weight, each reference token counts as that part of a
token (ours). Sizes are rounded up to multiples of 16.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from megastyle_cli import options
from megastyle_cli.errors import DONE, MegastyleError

STYLE_PX = 512  # style pictures are decoded at this longer side, for FLUX as they are
LEAST_PX, MOST_PX = 32, 4096
FLAGS_OF_FLUX = (
    *("lora", "lora_strength", "steps", "guidance", "content_strength", "keep_aspect"),
    *("device", "dtype", "offload", "compiled"),
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
            " picture's, for FLUX 512.",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="S", help="0: the content picture; 1: full style."),
    ] = 1.0,
    model: options.Model = None,
    lora: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", show_default=False, help="MegaStyle's adapter for FLUX, .safetensors."
        ),
    ] = None,
    lora_strength: Annotated[
        float, typer.Option(metavar="S", help="How much of the adapter is added to FLUX.")
    ] = 1.0,
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
        Literal["model", "layers"] | None,
        typer.Option(
            metavar="model|layers",
            show_default=False,
            help="Keep off the GPU what is not at work: whole parts, or each layer on small cards.",
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile FLUX's blocks first: pays off for many.")
    ] = False,
    batch_size: options.BatchSize = 8,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.models.backend import load, locate
    from megastyle_cli.record import Run
    from megastyle_cli.steps.transfer import mixed, transfer
    from megastyle_cli.stream.images import read_pictures, remembering_reader, saver
    from megastyle_cli.stream.job import Flow, run_job
    from megastyle_cli.stream.pictures import Layout
    from megastyle_cli.stream.progress import say
    from megastyle_cli.stream.single import is_single, make_one, picture_writer
    from megastyle_cli.stream.source import picture_id
    from megastyle_cli.view.show import check_views, write_views

    check_views(sheet, page)
    backend = options.stylist(backend, model)
    locate("stylist", backend)
    settings: dict[str, Any] = {}
    if backend == "flux":
        settings = {
            "lora": lora and _lora_name(lora),
            "lora_strength": lora_strength,
            "steps": steps,
            "guidance": guidance,
            "content_strength": content_strength,
            "keep_aspect": keep_aspect,
            "dtype": dtype,
        }
    else:
        _refuse_flags_of_flux(context, backend)
    references = mixed(style or [], weight or [])
    long_side_px, size_px = _parsed_size(size, backend)
    layout = Layout(
        container=format_,
        picture_format=picture_format,
        quality=quality,
        num_per_shard=shard_size,
    )
    told = {
        **options.told(backend, model),
        "style": [picture_id(name) for name in references.names],
        "weights": [round(share, 4) for share in references.weights],
        "size": size if size_px else long_side_px,
        "strength": strength,
        "seed": seed,
        **settings,
        **layout.told(),
    }
    run = Run("transfer", told, __version__)
    from_picture = backend != "flux" or content_strength > 0
    # FLUX squashes references itself, once; few are kept, since they are not made smaller before
    style_px, remembered = (None, 8) if backend == "flux" else (STYLE_PX, 64)
    step = partial(
        transfer,
        references=references,
        read_content=partial(read_pictures, max_side_px=long_side_px) if from_picture else None,
        read_style=remembering_reader(style_px, remembered),
        long_side_px=long_side_px,
        size_px=size_px,
        strength=strength,
        seed=seed,
        run=run.key,
        settings={key: value for key, value in settings.items() if value is not None},
    )

    def stylist() -> Any:
        if backend != "flux":
            return load("stylist", backend, **({"model": model} if model else {}))
        painting = {key: value for key, value in settings.items() if key != "lora"}
        running = {"device": device, "offload": offload, "compiled": compiled}
        return load("stylist", backend, model=model, lora=lora, **painting, **running)

    if output is None:
        raise MegastyleError(
            "transfer makes pictures", hint="give -o out.png, -o - or -o DIRECTORY"
        )
    if content is not None and inputs:
        raise MegastyleError("--content and inputs are given", hint="give one of the two")
    if content is not None and not from_picture:
        raise MegastyleError(
            "FLUX starts from the --content picture only with --content-strength",
            hint="give --content-strength 0.5, or only --prompt",
        )
    if is_single(output):
        for_many: dict[str, object] = {"--errors": errors, "--resume": resume, "--shard": shard}
        for_many |= {"--format": format_ != "folder", "--picture-format": picture_format != "png"}
        for_many |= {
            "--quality": quality,
            "--limit": limit,
            "--stats": stats,
            "--sheet": sheet,
            "--page": page,
        }
        for flag in (flag for flag, value in for_many.items() if value):
            raise MegastyleError(f"{flag} is for many pictures", hint="give -o DIRECTORY")
        record = _one(inputs, content, prompt)
        if dry_run:
            say(f"transfer (dry run): one picture to {output} with {told}")
            return DONE
        save = picture_writer(output, overwrite=overwrite)
        make_one(partial(step, stylist=stylist(), save=save), record)
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
            step, stylist=stylist(), save=saver(sink.picture_path, layout.suffix, quality)
        ),
        folder=True,
    )
    write_views(done.records, sheet, page, title=f"Restyled: {output}")
    return done.code


def _one(inputs: list[str] | None, content: str | None, prompt: str | None) -> dict[str, Any]:
    from megastyle_cli.stream.single import one_record

    if content is None and prompt is None and not inputs:
        raise MegastyleError("there is nothing to restyle", hint="give --content PICTURE")
    record = one_record([content] if content else inputs or []) if content or inputs else {}
    return {**record, **({"content": prompt} if prompt else {})}


def _parsed_size(text: str | None, backend: str) -> tuple[int | None, tuple[int, int] | None]:
    """The longer side, or width and height, that --size asks for; both None without it."""
    if text is None:
        return None, None
    sides = [int(side) if side.isdecimal() else 0 for side in text.lower().split("x")]
    if len(sides) > 2 or not all(LEAST_PX <= side <= MOST_PX for side in sides):
        raise MegastyleError(
            f"--size is {text!r}, not PX or WIDTHxHEIGHT from {LEAST_PX} to {MOST_PX}",
            hint="give 512 or 768x512",
        )
    if len(sides) == 1:
        return sides[0], None
    if backend != "flux":
        raise MegastyleError(
            f"--size {text} is for FLUX, backend {backend!r} keeps the content picture's shape",
            hint=f"give --size {max(sides)}",
        )
    return None, (sides[0], sides[1])


def _refuse_flags_of_flux(context: typer.Context, backend: str) -> None:
    """Raises MegastyleError if a flag that only FLUX knows was given to another backend."""
    for name in FLAGS_OF_FLUX:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            flag = "--compile" if name == "compiled" else f"--{name.replace('_', '-')}"
            raise MegastyleError(
                f"{flag} is for FLUX, not for backend {backend!r}",
                hint="give --model FOLDER or black-forest-labs/FLUX.1-dev",
            )


def _lora_name(lora: str) -> str:
    """The LoRA as records name it: its file's stem and 8 hex digits over its bytes."""
    path = Path(lora)
    if not path.is_file():
        raise MegastyleError(
            f"there is no LoRA {lora}", hint="fetch megastyle_flux.safetensors and give its path"
        )
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return f"{path.stem}@{digest[:8]}"

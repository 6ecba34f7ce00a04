"""Render pairs to pictures, one style over many contents.

Examples:

  megastyle pair styles.jsonl --contents contents.jsonl | megastyle synth -o synth/
  megastyle synth pairs.jsonl -o synth/ --resume --page synth.html
  megastyle synth pairs.jsonl -o synth/ --shard 3/64
  megastyle synth pairs.jsonl -o synth/ --format webdataset --picture-format jpg --quality 95
  megastyle synth pairs.jsonl --model Qwen/Qwen-Image --size 1024 -o synth/ --resume
  megastyle synth pairs.jsonl --model Qwen-Image --preset lightning --lora l8.safetensors -o fast/
  accelerate launch -m megastyle_cli synth pairs.jsonl --model Qwen/Qwen-Image -o synth/ --resume

The builtin painter is neural style transfer on a CPU: it renders the content picture of each pair
in the style of the pair's style picture. A pair without both is an error record.

Pictures are files beside metadata.jsonl (an ImageFolder), or with --format lie in it as samples of
WebDataset tars or rows of parquet files with the columns of the official releases.

--model paints the words of each pair, "content. style", with any text-to-image model of diffusers:
a folder or a hub name. The paper's is Qwen/Qwen-Image, 40 steps, guidance 4 against a negative
prompt of one space; FLUX.1, FLUX.2, SD3 and SDXL are guided by their own numbers. Sizes are rounded
up to multiples of 16. Prompts of one length are painted together, --batch-size of them (by default
a megapixel), and a signal to stop waits for four such batches, or for one picture.

--reject-blank, --reject-duplicates, --nsfw and --min-style-score turn pictures away: their records
go to --rejects with the reason and the score, are counted, and are not tried again. That is no
failure. --nsfw takes open_nsfw or a model of image classification with labels such as nsfw.

--min-style-score is the least mean cosine, by a style encoder, with the other pictures of the same
style: of those next to each other in the input, as pair writes them, at most 64. So a style is
painted whole by one --shard, and painted again for comparison if a stop or a failure left some out.
With --style-against reference it is the cosine with the pair's own style picture.
"""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megastyle_cli.cli import options
from megastyle_cli.cli import resolve_backend as backends
from megastyle_cli.core.errors import MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.generate.filters import Filter
    from megastyle_cli.io.writers.sink import Sink

STYLE_PX = 512  # style pictures are decoded at this longer side
COMPARED_PX = 384  # what the builtin style encoder is shown, as by eval
FLAGS_OF_MODELS = (
    *("preset", "lora", "lora_strength", "steps", "guidance", "negative", "quantize"),
    *("device", "dtype", "offload", "compile"),
)


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="PX|WxH",
            help="Longer side of the pictures; for a model width and height, or both.",
        ),
    ] = "512",
    strength: options.Strength = 1.0,
    format_: options.Format = "folder",
    picture_format: options.PicturesAs = "png",
    quality: options.Quality = None,
    shard_size: options.ShardSize = 1000,
    model: options.Model = None,
    preset: Annotated[
        Literal["lightning"] | None,
        typer.Option(
            show_default=False, help="Settings of a distilled --lora: 8 steps, no guidance."
        ),
    ] = None,
    lora: Annotated[
        str | None,
        typer.Option(metavar="FILE", show_default=False, help="A LoRA of the model, .safetensors."),
    ] = None,
    lora_strength: options.LoraStrength = 1.0,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            show_default=False,
            help="From noise to picture; default 40, or the preset's.",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="G",
            min=0,
            show_default=False,
            help="How closely a model keeps to words; default: its own, Qwen-Image 4.",
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS", show_default=False, help="Painted away from; default: nothing."
        ),
    ] = None,
    quantize: options.Quantize = None,
    reject_blank: Annotated[
        bool, typer.Option("--reject-blank", help="Turn away pictures of all but one colour.")
    ] = False,
    reject_duplicates: Annotated[
        bool,
        typer.Option("--reject-duplicates", help="Turn away pictures like one of this output."),
    ] = False,
    nsfw: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", show_default=False, help="Turn away what this classifier finds unsafe."
        ),
    ] = None,
    max_nsfw: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="P", help="Probability of unsafe that is tolerated."),
    ] = 0.5,
    min_style_score: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            metavar="S",
            show_default=False,
            help="Least mean cosine with the style's other pictures.",
        ),
    ] = None,
    style_against: Annotated[
        Literal["others", "reference"],
        typer.Option(help="With what --min-style-score compares; reference: style_file_name."),
    ] = "others",
    style_model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Style encoder of --min-style-score; default: builtin.",
        ),
    ] = None,
    rejects: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Where rejected records go; default: rejects.jsonl in the output.",
        ),
    ] = None,
    output: options.FolderOutput = None,
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
    from megastyle_cli.generate.filters import style_key
    from megastyle_cli.generate.synth import ROUNDS, synth
    from megastyle_cli.io.images import cached_picture_reader, picture_saver, read_pictures
    from megastyle_cli.io.writers.image_dataset import ImageFormat
    from megastyle_cli.models.image_size import images_per_batch
    from megastyle_cli.models.registry import load, locate
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.runner.callbacks import Flow, run_job

    if output is None or output == "-":
        raise MegastyleError("synth makes a folder of pictures", hint="give -o DIRECTORY")
    layout = ImageFormat(
        container=format_,
        picture_format=picture_format,
        quality=quality,
        num_per_shard=shard_size,
    )
    backend = backends.painter_backend(backend, model)
    locate("painter", backend)
    from_words = backend == "diffusers"
    long_side_px, size_px = options.parsed_size(size)
    if size_px and not from_words:
        raise MegastyleError(
            f"--size {size} is for a text-to-image model,"
            f" backend {backend!r} keeps the content picture's shape",
            hint=f"give --size {max(size_px)}",
        )
    if from_words and long_side_px:
        size_px = (long_side_px, long_side_px)
    told: dict[str, Any] = {**backends.recorded_model(backend, model), "size": size, "seed": seed}
    in_a_batch, how = batch_size, {}
    if from_words:
        if preset and not lora:
            raise MegastyleError(
                f"--preset {preset} is for a distilled LoRA", hint="give it by --lora FILE"
            )
        told |= {"preset": preset, "lora": lora and backends.lora_name(lora)}
        told |= {"lora_strength": lora_strength, "steps": steps, "guidance": guidance}
        told |= {"negative": negative, "quantize": quantize, "dtype": dtype}
        how = {name: told[name] for name in ("preset", "lora_strength", "steps", "guidance")}
        how |= {"model": model, "lora": lora, "negative": negative, "quantize": quantize}
        how |= {"device": device, "dtype": dtype, "offload": offload, "compiled": compile}
        at_once = batch_size
        if size_px and not options.given(context, ("batch_size",)):
            at_once = images_per_batch(size_px)
        how["batch_size"] = at_once
        in_a_batch = ROUNDS * at_once if at_once > 1 or offload else 1
    else:
        if flag := options.given(context, FLAGS_OF_MODELS):
            raise MegastyleError(
                f"{flag} is for a text-to-image model, not for backend {backend!r}",
                hint="give --model FOLDER or Qwen/Qwen-Image",
            )
        how = {"model": model} if model else {}
        told["strength"] = strength
    told |= layout.as_options()
    filters: dict[str, Any] = {
        "reject_blank": reject_blank,
        "reject_duplicates": reject_duplicates,
        "nsfw": nsfw,
        "max_nsfw": max_nsfw if nsfw else None,
        "min_style_score": min_style_score,
        "style_against": style_against if min_style_score is not None else None,
        "style_model": style_model,
    }
    filters = {name: value for name, value in filters.items() if value not in (None, False)}
    told |= filters
    for flag in ("style_model", "style_against"):
        if min_style_score is None and (named := options.given(context, (flag,))):
            raise MegastyleError(f"{named} is for --min-style-score", hint="give both")
    compares = min_style_score is not None and style_against == "reference"
    by_style = min_style_score is not None and style_against == "others"
    flow = Flow(
        inputs=options.inputs_or_stdin(inputs, context),
        output=output,
        errors=errors,
        rejects=rejects,
        max_errors=max_errors,
        resume=resume,
        overwrite=overwrite,
        force=force,
        shard=shard,
        limit=limit,
        batch_size=in_a_batch,
        keep=bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
        layout=layout,
        together=style_key if by_style else None,
    )
    if rejects and not filters:
        raise MegastyleError("--rejects without a gate", hint="add one, such as --reject-blank")
    check_views(sheet, page)
    run = Run("synth", told, __version__)

    def load_step(sink: "Sink") -> Any:
        painter = load("painter", backend, **how)
        noted = {name: told[name] for name in ("preset", "lora", "quantize") if told.get(name)}
        settings = {**getattr(painter, "settings", {"strength": strength}), **noted}
        return partial(
            synth,
            painter=painter,
            read_content=None if from_words else partial(read_pictures, max_side_px=long_side_px),
            read_style=None
            if from_words and not compares
            else cached_picture_reader(STYLE_PX, max_cached=64),
            save=picture_saver(sink.picture_path, layout.suffix, quality),
            long_side_px=long_side_px,
            size_px=size_px,
            strength=strength,
            seed=seed,
            run=run.key,
            settings=settings,
            requires_style=compares,
            filters=_filters(sink, resume=resume, **filters),
        )

    done = run_job(run, flow, load_step, folder=True, gated=bool(filters))
    write_views(done.records, sheet, page, title=f"Rendered: {output}")
    return done.code


def _filters(
    sink: "Sink",
    *,
    resume: bool,
    reject_blank: bool = False,
    reject_duplicates: bool = False,
    nsfw: str | None = None,
    max_nsfw: float = 0.5,
    min_style_score: float | None = None,
    style_against: str = "others",
    style_model: str | None = None,
) -> "list[Filter]":
    """The filters asked for, cheap ones first; duplicates last, to remember only what passed."""
    from megastyle_cli.generate.filters import (
        BlankFilter,
        ConsistencyFilter,
        DuplicateImageFilter,
        ReferenceFilter,
        UnsafeFilter,
    )
    from megastyle_cli.io.writers.rejects_file import ImageHashFile
    from megastyle_cli.models.registry import load

    found: list[Filter] = [BlankFilter()] if reject_blank else []
    if nsfw is not None:
        backend = "open_nsfw" if nsfw == "open_nsfw" else "transformers"
        named = {} if nsfw == "open_nsfw" else {"model": nsfw}
        found.append(UnsafeFilter(load("classifier", backend, **named), max_nsfw))
    if min_style_score is not None:
        encoder = backends.load_encoder(
            backends.encoder_backend("builtin", style_model), style_model
        )
        side_px = backends.decoded_px(style_model, COMPARED_PX)
        by_score = ReferenceFilter if style_against == "reference" else ConsistencyFilter
        found.append(by_score(encoder, min_style_score, side_px))
    if reject_duplicates:
        hashes = ImageHashFile(sink.paths.base / "hashes.jsonl", sink.done, resume=resume)
        found.append(DuplicateImageFilter(hashes))
    return found

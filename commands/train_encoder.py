"""Train a style encoder.

Examples:

  megastyle train-encoder synth/ --init google/siglip-so400m-patch14-384 -o runs/enc
  megastyle train-encoder icons/ --init small.json --text-weight 0 --global-batch 256 -o runs/small
  megastyle train-encoder synth/ --init runs/small/encoder -o runs/next --seed 1 --resume
  accelerate launch -m megastyle_cli train-encoder shards/ --init siglip/ -o runs/enc --resume

Trains a SigLIP image encoder to place images of one style close together; retrieve and eval load
the result by --model runs/enc/encoder. --chunk and --recompute adapt to the GPU memory at hand.
"""

from dataclasses import replace
from pathlib import Path

import typer

from megastyle_cli.cli.parameters import inputs_or_stdin
from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.runner.options import InputOptions, ReportOptions, SeedOptions
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.encoder.config import EncoderConfig

COMMAND = "train-encoder"


def main(
    context: typer.Context,
    source: InputOptions,
    config: EncoderConfig,
    options: RunOptions,
    seed: SeedOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.io.output_paths import check_folder_name
    from megastyle_cli.runner.job import Tolerance
    from megastyle_cli.training.common.preflight import report_checks
    from megastyle_cli.training.common.run import announce, open_run, report_result
    from megastyle_cli.training.encoder.data import load_training_data
    from megastyle_cli.training.encoder.pack import pack_images
    from megastyle_cli.training.encoder.preflight import check_encoder_run
    from megastyle_cli.training.encoder.shards import PACKED_PX
    from megastyle_cli.training.encoder.trainer import EncoderTrainer

    names = inputs_or_stdin(source.inputs, context)
    tolerance = Tolerance.parse(options.max_errors)
    if config.pack is not None and report.dry_run:
        announce(COMMAND, ", ".join(names), "none: the images are packed", config.pack, report)
        return DONE
    if config.pack is not None:
        return pack_images(
            names,
            config.pack,
            command=COMMAND,
            side_px=PACKED_PX,
            label=config.label,
            options=options,
            tolerance=tolerance,
            quiet=report.quiet,
        )
    if config.output is None or config.output == "-":
        raise MegastyleError(f"{COMMAND} writes a folder", hint="give -o DIR")
    check_folder_name(config.output)
    folder = Path(config.output)
    if not config.init:
        raise MegastyleError(
            f"{COMMAND} needs a model to start from",
            hint="give --init google/siglip-so400m-patch14-384, as in the paper, or a config .json",
        )
    config = replace(config, seed=seed.seed)
    data = load_training_data(names, config, options.limit)
    split = data.split
    steps = config.steps or max(1, round(config.epochs * data.sampler.steps_per_epoch))
    work = f"{steps:,} steps of {config.global_batch:,} images from {config.init}"
    announce(COMMAND, data.summary, work, folder, report)
    run_options = {**config.run_options(steps), "pictures": split.training.key}
    run = Run(COMMAND, run_options, __version__)
    if report.dry_run:
        return report_checks(check_encoder_run(config, run, data, folder, options))

    with open_run(
        run,
        folder,
        global_batch=config.global_batch,
        num_read=split.num_read,
        num_used=len(split.training),
        failures=split.failures,
        options=options,
        tolerance=tolerance,
        report=report,
    ) as training:
        trainer = EncoderTrainer(config, steps, data, training)
        trainer.restore()
        for line in trainer.describe():
            training.say(line)
        result = trainer.train()
    return report_result(result, training)

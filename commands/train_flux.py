"""Train a style-reference LoRA for FLUX.

Examples:

  megastyle train-flux synth/ --model black-forest-labs/FLUX.1-dev -o runs/flux
  megastyle train-flux synth/ --model FLUX.1-dev/ --quantize int8 --optimizer adamw8bit -o runs/24gb
  megastyle train-flux pairs.jsonl --model FLUX.1-dev/ --lora megastyle_flux.safetensors -o runs/own
  accelerate launch -m megastyle_cli train-flux synth/ --model FLUX.1-dev/ -o runs/flux --resume

Trains FLUX to render a prompt in the style of a reference image; transfer loads the result by
--lora. A 48 GB GPU is enough; --quantize int8 --optimizer adamw8bit fits 24 GB.
"""

from dataclasses import replace
from pathlib import Path

import typer

from megastyle_cli.cli.parameters import inputs_or_stdin
from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.runner.options import InputOptions, ReportOptions, SeedOptions
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.flux.config import FluxConfig

COMMAND = "train-flux"


def main(
    context: typer.Context,
    source: InputOptions,
    config: FluxConfig,
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
    from megastyle_cli.training.encoder.pack import pack_images
    from megastyle_cli.training.flux.pairs import load_pairs
    from megastyle_cli.training.flux.preflight import check_flux_run
    from megastyle_cli.training.flux.provenance import record_provenance
    from megastyle_cli.training.flux.trainer import FluxTrainer

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
            label=None,
            side_px=config.size,
            options=options,
            tolerance=tolerance,
            quiet=report.quiet,
        )
    if config.output is None or config.output == "-":
        raise MegastyleError(f"{COMMAND} writes a folder", hint="give -o DIR")
    check_folder_name(config.output)
    folder = Path(config.output)
    if not config.model:
        raise MegastyleError(
            f"{COMMAND} needs a FLUX model",
            hint="give --model black-forest-labs/FLUX.1-dev, as in the paper, or a folder",
        )
    config = replace(config, seed=seed.seed)
    data = load_pairs(names, config, options.limit)
    pairs = data.split
    work = f"{config.steps:,} steps of {config.global_batch:,} pairs from {config.model}"
    announce(COMMAND, data.summary(config.steps), work, folder, report)
    run = Run(COMMAND, {**config.run_options, "pairs": pairs.training.key}, __version__)
    if report.dry_run:
        return report_checks(check_flux_run(config, run, folder, options))

    with open_run(
        run,
        folder,
        global_batch=config.global_batch,
        num_read=pairs.num_read,
        num_used=len(pairs.training),
        failures=pairs.failures,
        options=options,
        tolerance=tolerance,
        report=report,
    ) as training:
        trainer = FluxTrainer(config, data, training)
        record_provenance(trainer, names, options)
        trainer.restore()
        for line in trainer.describe():
            training.say(line)
        result = trainer.train()
    return report_result(result, training)

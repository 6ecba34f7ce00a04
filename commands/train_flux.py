"""Train FLUX to paint a prompt in the style of a reference picture.

Examples:

  megastyle train-flux synth/ --model black-forest-labs/FLUX.1-dev -o runs/flux
  megastyle train-flux pairs.jsonl --model FLUX.1-dev/ --lora megastyle_flux.safetensors -o runs/own
  megastyle train-flux synth/ --model FLUX.1-dev/ --quantize int8 --optimizer adamw8bit -o runs/24gb
  megastyle train-flux icons/ --model parts/ --init size.json --size 64 --lr 1e-3 -o runs/tiny
  accelerate launch -m megastyle_cli train-flux synth/ --model FLUX.1-dev/ -o runs/flux --resume

Reads style_id (or --label), content and file_name, and draws pairs of one style, one of every style
in turn: the words are the target's content alone, the style comes from the reference. Or records
bring style_file_name, target_file_name and content. The reference's clean tokens stand to the right
of the noisy target's; the loss is the target's velocity. The last step leaves lora/, in the
official form and in that of diffusers, or flux/, a whole model (--full, --init), for transfer. A
record with words that a model with a table of words, as builtin-flux, lacks counts as unusable.

Free memory decides how many pairs are worked on at once, which blocks are computed twice, and
whether T5 and CLIP stay; the plan is said first. None of it changes the weights but by rounding.

The paper states rank 128, the 304 modules, 512 px, 30000 steps, and its code states learning rate
1e-4, weight decay 0.01, guidance 1, noise levels, loss weight and the reference's augmentation. The
batch of 8 is the official launch's on 8 GPUs. Seeds, a flat rate (official: --schedule official)
and all else are ours. LoRAs trained with the official script before 22 July 2026 are blind to
their reference: that script dropped it. SIGTERM saves and exits 75; --resume goes on, to the same
weights.
"""

from dataclasses import replace
from pathlib import Path

import typer

from megastyle_cli.cli.command_line import inputs_or_stdin
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
    from megastyle_cli.training.common.run import announce, open_run, report_result
    from megastyle_cli.training.flux.pairs import load_pairs
    from megastyle_cli.training.flux.provenance import record_provenance
    from megastyle_cli.training.flux.trainer import FluxTrainer

    names = inputs_or_stdin(source.inputs, context)
    tolerance = Tolerance.parse(options.max_errors)
    if config.output is None or config.output == "-":
        raise MegastyleError(f"{COMMAND} writes a folder", hint="give -o DIR")
    check_folder_name(config.output)
    folder = Path(config.output)
    if not config.model:
        raise MegastyleError(
            f"{COMMAND} needs a FLUX model",
            hint="--model black-forest-labs/FLUX.1-dev is the paper's; or a folder",
        )
    config = replace(config, seed=seed.seed)
    data = load_pairs(names, config, options.limit)
    pairs = data.split
    work = f"{config.steps:,} steps of {config.global_batch:,} pairs from {config.model}"
    announce(f"{COMMAND}: {data.summary(config.steps)}", work, folder, report)
    if report.dry_run:
        return DONE

    with open_run(
        Run(COMMAND, {**config.run_options, "pairs": pairs.training.key}, __version__),
        folder,
        global_batch=config.global_batch,
        num_read=pairs.num_read,
        num_used=len(pairs.training),
        failures=pairs.failures,
        options=options,
        tolerance=tolerance,
        report=report,
    ) as run:
        trainer = FluxTrainer(config, data, run)
        record_provenance(trainer, names, options)
        trainer.restore()
        for line in trainer.describe():
            run.say(line)
        result = trainer.train()
    return report_result(result, run)

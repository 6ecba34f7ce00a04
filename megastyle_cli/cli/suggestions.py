"""Suggestions for a word that is not an option or a command: by meaning, then by spelling.

Users bring the words of other tools. A table says what stands for them here; only what is in no
table is compared letter by letter.
"""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

SIMILAR = 0.75  # least difflib ratio of a typo: `--outptu`, not `--version` for `--json`

GPU = "No option is needed: models run on a GPU if there is one"

# Words of other tools, without dashes, and what stands for them here: the first flag or flags that
# the command has, each with its value if that is fixed, or else a sentence.
OPTION_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "out outfile out-file output-file output-path out-dir outdir output-dir output-folder dest"
        " destination save save-to save-as target to",
        ("--output",),
    ),
    (
        "i in input inputs input-dir input-file input-path file files folder dir path image images"
        " img imgs query queries data data-dir dataset",
        ("Inputs are named without an option:  megastyle {command} INPUT... [OPTIONS]",),
    ),
    (
        "format output-format type",
        ("--picture-format", "The name says the format: -o FILE.jsonl or -o FILE.jsonl.gz"),
    ),
    (
        "json jsonl json-lines",
        ("--json", "JSON lines need no option: -o FILE.jsonl and pipes get them"),
    ),
    ("csv tsv", ("Results are JSON lines; csv and tsv are read as inputs",)),
    (
        "j threads num-threads jobs n-jobs workers num-workers processes procs parallel cpus cores",
        ("--workers", "--concurrency", "All cores are used unless OMP_NUM_THREADS says fewer"),
    ),
    ("g gpu gpus num-gpus cuda use-gpu gpu-id", ("--device cuda", GPU)),
    ("cpu no-gpu no-cuda", ("--device cpu", "CUDA_VISIBLE_DEVICES= hides every GPU")),
    ("fp16 half bf16 bfloat16 precision mixed-precision", ("--dtype bfloat16",)),
    ("r R recursive recurse", ("Folders are always read with their sub-folders",)),
    ("f y yes force clobber replace", ("--overwrite",)),
    (
        "c continue append restart resume-from resume-from-checkpoint skip-existing",
        ("--resume",),
    ),
    (
        "n num count top-k topk num-results n-results max max-results results head first"
        " max-records max-samples num-samples",
        ("--top", "--sample", "--limit"),
    ),
    ("k", ("--top", "--levels", "--limit")),
    ("clusters num-clusters n-clusters", ("--levels",)),
    ("t threshold similarity min-similarity", ("--near-threshold or --semantic-threshold",)),
    ("longest keep-longest", ("--keep longest",)),
    (
        "retry retry-failed retry-errors failed failed-only only-failed redo rerun",
        ("--resume",),
    ),
    (
        "vram low-vram lowvram max-vram gpu-memory max-memory memory memory-limit 24gb cpu-offload"
        " offload-to-cpu enable-cpu-offload",
        (
            "--offload model or --quantize int8",
            "--quantize int8 or --recompute all",
            "--recompute all or --chunk",
            "--dtype bfloat16 or --batch-size",
        ),
    ),
    ("b bs batch batchsize batch-size train-batch-size", ("--batch-size", "--global-batch")),
    ("gradient-accumulation gradient-accumulation-steps micro-batch", ("--chunk",)),
    ("gradient-checkpointing activation-checkpointing", ("--recompute",)),
    ("save-every save-steps checkpointing-steps", ("--checkpoint-every",)),
    ("lora-rank network-dim", ("--rank",)),
    ("learning-rate", ("--lr",)),
    ("num-epochs max-steps train-steps num-train-epochs", ("--epochs", "--steps")),
    ("random-state random-seed manual-seed", ("--seed",)),
    (
        "m model-name model-path model-id base-model checkpoint ckpt weights pretrained",
        ("--model", "--init"),
    ),
    ("s ref reference style-image style-img reference-image", ("--style", "--reference")),
    ("content-image content-img", ("--content",)),
    ("p text caption words", ("--prompt",)),
    ("negative-prompt neg", ("--negative",)),
    (
        "num-steps inference-steps num-inference-steps sampling-steps denoising-steps iterations",
        ("--steps",),
    ),
    ("cfg cfg-scale guidance-scale scale", ("--guidance",)),
    ("alpha style-strength style-weight intensity amount", ("--strength", "--weight")),
    ("lora-scale lora-weight", ("--lora-strength",)),
    ("adapter", ("--lora",)),
    ("width height resolution res image-size img-size max-size", ("--size", "--max-side")),
    ("url api-base endpoint server host api-url", ("--base-url",)),
    ("api-key token", ("The key of a server is read from OPENAI_API_KEY",)),
    ("field column key text-key text-column", ("--on", "--prompt-key", "--label")),
    ("db database index-path", ("--index",)),
    ("num-pairs num-styles", ("--per-style",)),
    ("nsfw-filter safety-checker safe", ("--nsfw",)),
    ("html gallery preview report web", ("--page", "--report")),
    ("grid contact-sheet montage mosaic", ("--sheet",)),
    ("dryrun simulate noop plan what-if", ("--dry-run",)),
    ("silent", ("--quiet",)),
    ("debug log-level loglevel verbosity", ("--verbose",)),
    ("no-progress no-progress-bar progress", ("--quiet",)),
    ("color colour no-color no-colour", ("Set NO_COLOR=1 for plain text",)),
    ("usage man options help-all full-help", ("--help",)),
    ("version V", ("The version:  megastyle --version",)),
)
COMMAND_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("describe tag tags label annotate captions interrogate blip vlm", ("caption",)),
    ("dedupe deduplicate duplicates unique uniq filter", ("dedup",)),
    ("group kmeans k-means balance sample classify tree", ("cluster",)),
    ("combine cross product match mix pairs", ("pair",)),
    ("render generate gen create paint synthesize synthesise synthesis txt2img t2i", ("synth",)),
    ("train learn fit finetune fine-tune", ("train-encoder", "train-flux")),
    ("train-lora lora flux dreambooth", ("train-flux",)),
    ("encoder train-siglip", ("train-encoder",)),
    ("embed embedding search find query index lookup nearest similar knn", ("retrieve",)),
    ("stylize stylise style style-transfer restyle apply convert img2img i2i", ("transfer",)),
    ("evaluate evaluation score scores metrics metric measure benchmark test judge", ("eval",)),
    ("check info env diagnose setup", ("doctor",)),
    ("progress parts missing jobs", ("status",)),
    ("list listing files find scan", ("ls",)),
    ("completions autocomplete complete install-completion", ("completion",)),
    ("version", ("--version",)),
)


def option_hint(flag: str, known: Collection[str], command: str) -> str:
    """What to give instead of `flag`; "" if nothing is close."""
    word = flag.lstrip("-").replace("_", "-")
    for meant in _meanings(word, OPTION_WORDS):
        if not meant.startswith("--"):
            return meant.format(command=command)
        if all(flag in known for flag in meant.split() if flag.startswith("--")):
            return f"Did you mean {meant}?"
    long = f"--{word}"
    begun = [name for name in known if len(long) > 5 and name.startswith(long)]
    similar = long in known and [long] or begun or get_close_matches(long, known, 2, SIMILAR)
    return _did_you_mean(similar)


def command_hint(word: str, known: Collection[str]) -> str:
    """Which command to give instead of `word`; "" if nothing is close."""
    meant = [name for name in _meanings(word.lower(), COMMAND_WORDS) if name in known]
    return _did_you_mean(meant or get_close_matches(word, known, 2, SIMILAR))


def _meanings(word: str, table: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    return [meant for words, meanings in table if word in words.split() for meant in meanings]


def _did_you_mean(names: Collection[str]) -> str:
    return f"Did you mean {' or '.join(names)}?" if names else ""

"""The commands that are interrupted, in all their forms; each works in an empty folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Form:
    """One form of a command. `{}` in the arguments is the folder of inputs.

    What was interrupted goes on with `--resume`, or by the same command where it has no such
    option. `before` runs first and is never interrupted.
    """

    name: str
    arguments: str
    resumes: bool = True
    before: str = ""
    final: str = "out.jsonl"  # has this name only when every record was tried

    def words(self, inputs: Path) -> list[str]:
        return self.arguments.replace("{}", str(inputs)).split()

    def words_before(self, inputs: Path) -> list[str]:
        return self.before.replace("{}", str(inputs)).split()

    def words_again(self, inputs: Path) -> list[str]:
        """The command that goes on with what was interrupted."""
        return [*self.words(inputs), *(["--resume"] if self.resumes else [])]


_SYNTH = "synth {}/pairs.jsonl --size 32 --batch-size 1 -o out"
_TRANSFER = "transfer --style {}/images/1.png --size 32 --batch-size 2"
_ENCODER = (
    "train-encoder {}/training --init {}/tower.json --steps 9 --global-batch 8"
    " --images-per-style 2 --chunk 3 --holdout 0.2 --lr 0.01 --validate-every 4"
    " --checkpoint-every 2 --text-weight 0 -o out"
)
_FLUX = (
    "train-flux {}/training --model {}/flux --size 32 --rank 4 --lr 0.01 --steps 6"
    " --global-batch 4 --chunk 2 --holdout 0.3 --validate-every 3 --checkpoint-every 2"
    " --samples 0 -o out"
)
FORMS = {
    form.name: form
    for form in (
        Form("caption", "caption {}/images --batch-size 2 -o out.jsonl --stats stats.json"),
        Form(
            "caption-shard",
            "caption {}/images --batch-size 1 -o out --shard 1/2",
            final="out/part-00001-of-00002.jsonl",
        ),
        Form(
            "dedup",
            "dedup {}/texts.jsonl --rejected rejected.jsonl --report report.json -o out.jsonl"
            " --stats stats.json",
            resumes=False,
        ),
        Form("dedup-cache", "dedup {}/texts.jsonl --cache cache -o out.jsonl", resumes=False),
        Form(
            "cluster",
            "cluster {}/texts.jsonl --vectors v.npy --xy --page page.html --sheet sheet.png"
            " -o out.jsonl --stats stats.json",
            resumes=False,
        ),
        Form("cluster-sample", "cluster {}/texts.jsonl --sample 40 -o out.jsonl", resumes=False),
        Form(
            "pair",
            "pair {}/texts.jsonl --contents {}/texts.jsonl --per-style 4 -o out.jsonl"
            " --stats stats.json",
            resumes=False,
        ),
        Form(
            "synth",
            f"{_SYNTH} --stats stats.json --page page.html --sheet sheet.png",
            final="out/metadata.jsonl",
        ),
        Form(
            "synth-shard", f"{_SYNTH} --shard 0/2", final="out/part-00000-of-00002/metadata.jsonl"
        ),
        Form(
            "synth-filters",
            f"{_SYNTH} --reject-blank --reject-duplicates --min-style-score 0.6",
            final="out/metadata.jsonl",
        ),
        Form(
            "synth-tar",
            f"{_SYNTH} --format webdataset --shard-size 3 --picture-format jpg",
            final="out/metadata.jsonl",
        ),
        Form(
            "synth-parquet", f"{_SYNTH} --format parquet --shard-size 3", final="out/metadata.jsonl"
        ),
        Form(
            "transfer",
            f"{_TRANSFER} {{}}/images -o out --page page.html",
            final="out/metadata.jsonl",
        ),
        Form(
            "transfer-tar",
            f"{_TRANSFER} {{}}/images -o out --format webdataset --shard-size 4",
            final="out/metadata.jsonl",
        ),
        Form("transfer-one", f"{_TRANSFER} --content {{}}/images/2.png -o out.png", resumes=False),
        Form("index", "retrieve --index saved --add {}/images --batch-size 2", resumes=False),
        Form(
            "index-more",
            "retrieve --index saved --add {}/more --batch-size 2",
            resumes=False,
            before="retrieve --index saved --add {}/images",
        ),
        Form(
            "retrieve",
            "retrieve {}/images --index {}/more --top 3 --batch-size 2 -o out.jsonl"
            " --page page.html --sheet sheet.png",
        ),
        Form("eval-each", "eval {}/pairs.jsonl --each --batch-size 2 -o out.jsonl"),
        Form(
            "eval",
            "eval {}/pairs.jsonl --diversity -o out.json --page page.html --stats stats.json",
            final="out.json",
            resumes=False,
        ),
        Form(
            "eval-benchmark",
            "eval {}/training --make-benchmark bench --styles 4 --per-style 3",
            final="bench/metadata.jsonl",
            resumes=False,
        ),
        Form("train-encoder", _ENCODER),
        Form("train-flux", _FLUX),
        Form("pack", "train-encoder {}/training --pack out", final="out/pack.json"),
    )
}

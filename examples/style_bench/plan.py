"""Lists what is to be painted for StyleBench, from the folder that its authors released.

  python plan.py StyleBench/ -o plan/

The folder holds references in one folder for each style, and content pictures in a folder whose
name has "content" in it; of the first release, which has no content pictures, only texts are
painted. A folder of references without folders for styles is read as well: the style is then a
file's name without the number at its end.

  plan/references.jsonl   every reference with its style
  plan/image.jsonl        one line for each picture to restyle: reference, content picture, seed
  plan/text.jsonl         one line for each picture to paint from a prompt: reference, prompt, seed

Neither the prompts, nor the seeds, nor which reference of a style was used are published. Chosen
here: the references of a style with the lowest hash of their file names, seeds counted from 0, and
prompts.txt beside this script.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

PUBLISHED = {"styles": 73, "references": 490, "contents": 40}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
ROOTS = {"style", "styles", "reference", "references", "style_images", "images", "stylebench"}
NUMBER = re.compile(r"[\s_-]*\(?\d+\)?$")


def read_layout(folder):
    """The references by style and the content pictures, all in order of their names."""
    styles, contents = {}, []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() not in SUFFIXES or any(p.startswith((".", "__")) for p in parts):
            continue
        parents = parts[:-1]
        if any("content" in name.lower() for name in parents):
            contents.append(path)
            continue
        inner = [name for name in parents if name.lower() not in ROOTS]
        name = inner[-1] if inner else NUMBER.sub("", path.stem)
        styles.setdefault(name, []).append(path)
    if not styles:
        raise SystemExit(f"{folder} holds no references: give the unpacked folder of StyleBench")
    return styles, contents


def plan(styles, contents, prompts, num_references, num_seeds):
    """The records of references, of pictures to restyle and of prompts to paint."""
    references = [
        {
            "id": lot(f"{style}/{path.name}")[:16],
            "file_name": str(path.absolute()),
            "style_id": style,
        }
        for style, paths in styles.items()
        for path in paths
    ]
    image, text = [], []
    for style, paths in styles.items():
        for path in sorted(paths, key=lambda path: lot(path.name))[:num_references]:
            used = {"style_id": style, "style_file_name": str(path.absolute())}
            for seed in range(num_seeds):
                name = f"{style}/{path.name} {seed}"
                for content in contents:
                    made = {"id": lot(f"{name} {content.name}")[:16], **used}
                    made |= {"content_id": content.stem, "file_name": str(content.absolute())}
                    image.append(made)
                for prompt in prompts:
                    made = {"id": lot(f"{name} {prompt}")[:16], **used}
                    text.append({**made, "content_id": prompt, "content": prompt})
    return references, image, text


def lot(name):
    """A draw that depends on a file's name alone."""
    return hashlib.sha256(name.encode()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the unpacked folder of StyleBench")
    parser.add_argument("--references", type=int, default=1, help="references of each style")
    parser.add_argument("--seeds", type=int, default=1, help="pictures of each pair")
    parser.add_argument("--prompts", type=Path, default=Path(__file__).with_name("prompts.txt"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()

    styles, contents = read_layout(given.folder)
    prompts = [line.strip() for line in given.prompts.read_text().splitlines() if line.strip()]
    made = plan(styles, contents, prompts, given.references, given.seeds)
    given.output.mkdir(parents=True, exist_ok=True)
    for name, records in zip(("references", "image", "text"), made, strict=True):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (given.output / f"{name}.jsonl").write_text(lines)
    found = {"styles": len(styles), "references": len(made[0]), "contents": len(contents)}
    print(", ".join(f"{count} {name}" for name, count in found.items()), end="")
    print(f"; {len(made[1])} pictures to restyle, {len(made[2])} to paint from prompts")
    if found != PUBLISHED:
        print("Published: " + ", ".join(f"{count} {name}" for name, count in PUBLISHED.items()))


if __name__ == "__main__":
    main()

"""What several models see in one picture: it is opened once for all that want it of one size."""

from collections.abc import Mapping, Sequence

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.record_images import ReadPictures
from megastyle_cli.models.protocols import StyleEncoder
from megastyle_cli.retrieve.nearest import Array, embed_pictures

# role of a model ("style", "text", "content") -> its unit vector (d,) of a picture
Looks = dict[str, Array]
Eyes = Mapping[str, StyleEncoder]
Sights = Sequence[tuple[ReadPictures, Eyes]]  # eyes, and what opens pictures as they want them


def look(names: Sequence[str], sights: Sights) -> list[Looks | BadRecord]:
    """What all eyes see in each named picture, in order; why not, where it cannot be told."""
    found: list[Looks | BadRecord] = [{} for _ in names]
    for read, eyes in sights:
        pictures = read(names)
        for role, eye in eyes.items():
            for place, vector in enumerate(embed_pictures(pictures, names, eye)):
                seen = found[place]
                if isinstance(seen, BadRecord):
                    continue
                if isinstance(vector, BadRecord):
                    found[place] = vector
                else:
                    seen[role] = vector
    return found


class Remembered:
    """The looks of pictures by name, each opened once; the last `most` names are kept."""

    def __init__(self, sights: Sights, most: int | None = None) -> None:
        self.sights, self.most = sights, most
        self.known: dict[str, Looks | BadRecord] = {}

    def of(self, names: Sequence[str]) -> list[Looks | BadRecord]:
        """The looks of each name, in order."""
        new = [name for name in dict.fromkeys(names) if name not in self.known]
        self.known.update(zip(new, look(new, self.sights), strict=True))
        looks = [self.known[name] for name in names]
        while self.most is not None and len(self.known) > self.most:
            del self.known[next(iter(self.known))]
        return looks


def only(sights: Sights, roles: Sequence[str]) -> Sights:
    """The sights with the eyes of these roles alone."""
    kept = [(read, {r: eye for r, eye in eyes.items() if r in roles}) for read, eyes in sights]
    return [(read, eyes) for read, eyes in kept if eyes]

"""Objects of a reference that are seen in an image are counted, those of strangers beside them."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.paper_protocols.object_leakage import NUM_OBJECTS, object_leakage

LISTED = {"wave": ["boat", "wave", "mountain"], "night": ["star", "village"]}
SEEN = {"ink": ["boat", "fox"], "oil": ["star", "village", "fox"]}


class Eyes:
    """Lists the objects of references and sees those of images; `asked` are all questions."""

    def __init__(self, listed=LISTED, seen=SEEN):
        self.listed, self.seen, self.asked = listed, seen, {}

    def objects(self, names):
        return [self.listed[name] for name in names]

    def present(self, names, things):
        self.asked = dict(zip(names, things, strict=True))
        return [
            {thing: None if self.seen[name] is None else thing in self.seen[name] for thing in own}
            for name, own in zip(names, things, strict=True)
        ]


def record(name, reference, prompt="A fox"):
    facts = {"id": name, "file_name": name, "style_file_name": reference, "content": prompt}
    return {**facts, "style_id": reference}


IMAGES = [record("ink", "wave"), record("oil", "night")]


def measured(records, eyes):
    return object_leakage(records, eyes, label="style_id", prompt_key="content", seed=0)


def test_the_share_of_the_reference_s_objects_and_of_a_stranger_s():
    found = measured(IMAGES, Eyes())

    assert found["value"] == pytest.approx((1 / 3 + 1) / 2, abs=1e-4)
    assert found["random"] == 0 and found["images"] == 2 and "left_out" not in found


def test_what_the_prompt_mentions_is_no_leak():
    eyes = Eyes()

    found = measured([record("ink", "wave", "Two boats at sea"), IMAGES[1]], eyes)

    assert "boat" not in eyes.asked["ink"]
    assert found["value"] == pytest.approx((0 + 1) / 2)


def test_no_more_than_five_objects_of_a_reference_are_asked_for():
    eyes = Eyes({"wave": [f"thing {n}" for n in range(20)], "night": []})

    found = measured(IMAGES, eyes)

    assert eyes.asked["ink"] == [f"thing {n}" for n in range(NUM_OBJECTS)]
    assert (found["images"], found["left_out"]) == (1, 1)  # nothing to ask about night


def test_an_image_without_a_valid_answer_is_left_out():
    found = measured(IMAGES, Eyes(seen={**SEEN, "ink": None}))

    assert (found["value"], found["images"], found["left_out"]) == (1, 1, 1)
    assert measured(IMAGES, Eyes({**LISTED, "wave": None}))["images"] == 1


def test_one_style_has_no_strangers_and_images_without_references_are_refused():
    assert "random" not in measured(IMAGES[:1], Eyes())
    with pytest.raises(MegastyleError, match="no image has a style_file_name"):
        measured([{"id": "a", "file_name": "a"}], Eyes())

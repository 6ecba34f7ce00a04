"""Questions about images: two for each thing, and none whose answer is known."""

from PIL import Image

from megastyle_cli.bias.answer_cache import AnswerCache
from megastyle_cli.bias.image_questions import Asker
from megastyle_cli.captioning.retry import RetryingClient
from megastyle_cli.io.images import ImageReader
from megastyle_cli.runner.progress import Stage


class Model:
    """Sees a fan, and lists it; `prompts` are those that it was given."""

    name, num_threads, batch_size = "made", 2, 1

    def __init__(self):
        self.prompts = []

    def generate(self, prompts):
        self.prompts += prompts
        return [
            '{"objects": ["Fans"]}'
            if "JSON" in each.question
            else ("yes" if ": fan?" in each.question else "perhaps")
            for each in prompts
        ]


def asker(model, cache=None):
    progress = Stage("eval", quiet=True, to_stdout=False)
    return Asker(RetryingClient(model, 2), ImageReader(64), cache or AnswerCache(None), progress)


def images(folder, count=3):
    names = [str(folder / f"{number}.png") for number in range(count)]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(name)
    return names


def test_answers_are_in_the_order_of_the_images(tmp_path):
    model = Model()
    ask = asker(model)

    found = ask.present(images(tmp_path), [["fan"], ["fan", "fox"], []])

    assert found == [{"fan": True}, {"fan": True, "fox": None}, {}]
    assert ask.objects(images(tmp_path)) == [["fan"]] * 3
    assert ask.counts["asked"] == 2 * 3 + 3 and ask.counts["inconsistent"] == 0


def test_an_answer_that_is_known_is_not_asked_for(tmp_path):
    cache, model = AnswerCache(None), Model()
    names = images(tmp_path)
    asker(model, cache).objects(names)
    Image.open(names[0]).save(tmp_path / "copy.png")  # another name for the same image
    before = len(model.prompts)

    again = asker(model, cache)
    again.objects([*names, str(tmp_path / "copy.png")])

    assert len(model.prompts) == before and again.counts["known"] == 4


def test_an_image_that_does_not_open_has_no_answers(tmp_path):
    names = images(tmp_path, 1)
    (tmp_path / "bad.png").write_bytes(b"no")
    ask = asker(Model())

    assert ask.objects([str(tmp_path / "bad.png"), *names, "lost.png"]) == [None, ["fan"], None]
    assert ask.unreadable.keys() == {str(tmp_path / "bad.png"), "lost.png"}

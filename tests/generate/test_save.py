"""Generated images to results: what is saved, what is rejected, and what fails."""

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, as_context_only
from megastyle_cli.generate.filters import Rejection
from megastyle_cli.generate.save import filter_and_save, valid_requests
from megastyle_cli.models.protocols import PictureRequest
from tests.conftest import draw
from tests.generate.fakes import MemoryStore


class RejectIds:
    def __init__(self, *ids):
        self.ids, self.seen = ids, []

    def check(self, candidates):
        self.seen += [candidate.record["id"] for candidate in candidates]
        return [Rejection("test", 0.25) if c.record["id"] in self.ids else None for c in candidates]


def saved(records, requests, images, store, filters=()):
    return list(
        filter_and_save(
            records,
            requests,
            images,
            command="synth",
            store=store,
            metadata={"run": "ab"},
            filters=filters,
        )
    )


def test_results_are_in_order_and_only_images_that_pass_are_saved():
    records = [{"id": name} for name in ("fine", "asked badly", "not painted", "rejected", "last")]
    bad = BadRecord("missing_key", "no content")
    requests = [PictureRequest(seed=n) for n in range(5)]
    requests[1] = bad
    images = [draw(0, 20, 10), BadRecord("model_error", "black"), draw(3), draw(4)]
    store = MemoryStore()

    fine, asked_badly, not_painted, rejected, last = saved(
        records, requests, images, store, [RejectIds("rejected")]
    )

    assert fine == {
        "id": "fine",
        "file_name": "fine.png",
        "width": 20,
        "height": 10,
        "seed": 0,
        "_megastyle": {"synth": {"run": "ab"}},
    }
    assert asked_badly == Failure(records[1], "missing_key", "no content")
    assert not_painted == Failure(records[2], "model_error", "record not painted: black")
    note = {"run": "ab", "rejected": "test", "score": 0.25, "seed": 3}
    assert rejected == {"id": "rejected", "_megastyle": {"synth": note}}
    assert last["file_name"] == "last.png" and list(store.images) == ["fine", "last"]


def test_an_image_is_saved_before_its_record_is_yielded():
    store = MemoryStore()
    results = filter_and_save(
        [{"id": "a"}, {"id": "b"}],
        [PictureRequest(), PictureRequest()],
        [draw(1), draw(2)],
        command="synth",
        store=store,
        metadata={},
    )

    next(results)

    assert list(store.images) == ["a"]


def test_context_is_seen_by_filters_and_not_saved():
    context = as_context_only({"id": "old", "file_name": "old.png"})
    store, passes = MemoryStore(), RejectIds()

    first, second = saved(
        [context, {"id": "new"}],
        [PictureRequest(), PictureRequest()],
        [draw(1), draw(2)],
        store,
        [passes],
    )

    assert first is context and second["file_name"] == "new.png"
    assert passes.seen == ["old", "new"] and list(store.images) == ["new"]


def test_valid_requests_keep_their_order():
    first, second = PictureRequest(seed=1), PictureRequest(seed=2)

    assert valid_requests([first, BadRecord("bad_image", "cut"), second]) == [first, second]

"""Rows with several stages, from the lease to the last piece: stage by stage, and every guarantee of a single one."""

import io
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas import keys
from schemas.planned import InputImage, PlannedRow
from schemas.result import ResultLine
from services import jobs
from services.image_metadata import carriers
from services.settings import WorkerSettings
from services.store import ObjectStore
from tests.runner_steps import counts, open_job, outcomes
from tests.small_mill import JOB, SmallMill, planned
from workers.engines.base import Rendered, Slot
from workers.engines.flat import FlatRoom, picture
from workers.runner import run_task
from workers.stages import held_bytes

INPUT_A, INPUT_M = (keys.input_image(JOB, letter * 64, "png") for letter in "am")


def stage(pipeline: str = "upscale", **changes: Any) -> dict[str, Any]:
    """A stage that makes 64 x 32 pixels of 16 x 8 in two steps, by a model of its own."""
    values: dict[str, Any] = {
        "pipeline": pipeline,
        "model": "big",
        "prompt": "sharp",
        "width": 64,
        "height": 32,
        "steps": 2,
        "guidance_scale": 9.0,
        "seed": 500,
        "scheduler": None,
    }
    return values | changes


def chain(index: int, *then: dict[str, Any], **changes: Any) -> PlannedRow:
    return planned(index, then=then or (stage(),), **changes)


class StageWatch(FlatRoom):
    """The flat engine, which notes every batch: model, rows and numbers, and what its images were made of."""

    def __init__(self, mill: SmallMill, after_step: Callable[[int], None] = lambda step: None, **worker: Any) -> None:
        super().__init__(mill.settings.model_copy(update={"worker": WorkerSettings.model_validate(worker)}))
        self.loaded: list[str] = []
        self.batches: list[tuple[str, list[tuple[int, int]]]] = []
        self.slots: list[Slot] = []
        self.after_step = after_step
        self.steps = 0

    def load(self, model: str, on_progress: Callable[[], None]) -> None:
        if self.loaded[-1:] != [model]:
            self.loaded.append(model)
        super().load(model, on_progress)

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        def step() -> None:
            self.steps += 1
            self.after_step(self.steps)
            on_step()

        found = super().render(slots, step)
        self.slots += slots
        self.batches.append((slots[0].row.model, [(slot.row.index, slot.number) for slot in slots]))
        return found


def run(mill: SmallMill, rows: list[PlannedRow], room: FlatRoom | None = None, **worker: Any) -> str:
    active, place = open_job(mill, [rows]), mill.place(room, **worker)
    mill.appear(place)
    return run_task(active.message("0", 0), place)


def line(mill: SmallMill, index: int = 0) -> ResultLine:
    return jobs.task_outcomes(mill.store, JOB, 0, 0)[index]


def file(store: ObjectStore, key: str | None) -> bytes:
    assert key is not None
    return store.get(key)


class TestTheOrdinaryWay:
    def test_all_rows_pass_one_stage_before_the_next_so_that_each_model_loads_once(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill, max_batch=2)
        assert run(small_mill, [chain(0), chain(1, num_images=2), chain(2)], room) == "counted"
        assert room.loaded == ["tiny", "big"]
        assert room.batches == [
            ("tiny", [(0, 0), (1, 0)]),
            ("tiny", [(1, 1), (2, 0)]),
            ("big", [(0, 0), (1, 0)]),
            ("big", [(1, 1), (2, 0)]),
        ]
        assert outcomes(small_mill) == {0: "done", 1: "done", 2: "done"}
        assert counts(small_mill) == (1, 3, 0, 4)

    def test_a_stage_gets_the_image_of_the_one_before_it_and_its_own_seed(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill)
        run(small_mill, [chain(0, stage(), stage("img2img", width=24, height=16, seed=7), num_images=2)], room)
        first, upscaled, redrawn = room.slots[0:2], room.slots[2:4], room.slots[4:6]
        assert [slot.seed for slot in room.slots] == [100, 101, 500, 501, 7, 8]
        for before, after in zip(first, upscaled, strict=True):
            assert after.image is not None
            np.testing.assert_array_equal(after.image, picture("prompt 0", before.seed, 16, 8))
        for before, after in zip(upscaled, redrawn, strict=True):
            assert after.image is not None
            large = Image.fromarray(picture("sharp", before.seed, 64, 32))
            np.testing.assert_array_equal(after.image, large.resize((24, 16), Image.Resampling.LANCZOS))

    def test_the_images_of_the_last_stage_are_kept_under_the_keys_of_any_row(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0, num_images=2)])
        found = line(small_mill)
        assert [(image.image, image.stage, image.seed, image.width) for image in found.images] == [
            (0, 1, 500, 64),
            (1, 1, 501, 64),
        ]
        assert [keys.parse_image(image.key or "").stage for image in found.images] == [None, None]
        assert (found.width, found.height, found.last_stage) == (64, 32, 1)
        assert small_mill.rendered() == 2

    def test_with_keep_all_those_of_every_stage_are(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0, stage(), stage("img2img"), num_images=2, keep="all")])
        found = line(small_mill)
        assert [(image.image, image.stage) for image in found.images] == [(n, s) for n in (0, 1) for s in (0, 1, 2)]
        assert [keys.parse_image(image.key or "").stage for image in found.images] == [0, 1, None] * 2
        assert [image.stage for image in found.final_images] == [2, 2]
        assert (small_mill.rendered(), counts(small_mill)) == (6, (1, 1, 0, 2))

    def test_each_stage_is_in_the_result(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0)])
        first, last = line(small_mill).stages
        assert (first.width, first.height, last.width, last.height) == (16, 8, 64, 32)
        assert first.render == last.render == line(small_mill).render
        assert line(small_mill).seconds == pytest.approx(first.seconds + last.seconds, abs=1e-3)

    def test_each_image_holds_the_recipe_of_the_stages_that_made_it(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0, num_images=2, keep="all")])
        first, last = (carriers.read(file(small_mill.store, image.key)).record for image in line(small_mill).images[2:])
        assert first is not None
        assert last is not None
        assert (first.image, first.seed, first.stages, "then" in first.recipe) == (1, 101, (), False)
        assert (last.image, last.seed, last.width) == (1, 501, 64)
        assert [each["pipeline"] for each in last.recipe["then"]] == ["upscale"]
        assert [(each.seed, each.width, each.batch_size, each.slot) for each in last.stages] == [(101, 16, 2, 1)]

    def test_the_infotext_is_that_of_the_stage(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0, stage("img2img", strength=0.5))])
        text = carriers.read(file(small_mill.store, line(small_mill).images[0].key)).infotext
        assert text is not None
        assert text.startswith("sharp\n")
        assert "Model: big" in text
        assert "Denoising strength: 0.5" in text
        assert "Size: 64x32" in text

    def test_the_same_recipe_gives_the_same_file_whatever_is_kept(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0), chain(1, id="row-0", prompt="prompt 0", seed=100, keep="all")], exact=True)
        assert line(small_mill, 0).images[0].sha256 == line(small_mill, 1).images[1].sha256

    def test_rows_without_stages_go_through_as_ever(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill)
        run(small_mill, [planned(0), planned(1)], room)
        assert room.batches == [("tiny", [(0, 0), (1, 0)])]
        assert line(small_mill).stages == ()

    def test_each_stage_is_cut_by_its_own_batch_key(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill)
        rows = [chain(0), chain(1, stage(steps=3)), chain(2, width=24), chain(3, stage(steps=3), width=24)]
        run(small_mill, rows, room)
        assert [[row for row, _ in batch] for _, batch in room.batches] == [[0, 1], [2, 3], [0, 2], [1, 3]]

    def test_the_log_tells_the_stage_of_a_chained_image(
        self, small_mill: SmallMill, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "workers.loop"):
            run(small_mill, [chain(0)])
        assert [text for text in caplog.messages if text.startswith("rendered ")] == [
            "rendered job=job row=row-0 image=0 seed=100 stage=0",
            "rendered job=job row=row-0 image=0 seed=500 stage=1",
        ]


def png(size: tuple[int, int], mode: str = "RGB", value: Any = 0) -> bytes:
    made = io.BytesIO()
    Image.new(mode, size, value).save(made, "PNG")
    return made.getvalue()


class TestInputs:
    def test_a_mask_comes_to_its_stage_in_its_size(self, small_mill: SmallMill) -> None:
        small_mill.store.put(INPUT_M, png((16, 8), "L", 255), "image/png")
        room = StageWatch(small_mill)
        inpaint = stage("inpaint", mask=InputImage(address=INPUT_M), strength=1.0)
        run(small_mill, [chain(0, inpaint, stage("img2img"), keep="all")], room)
        masks = [slot.mask for slot in room.slots]
        assert (masks[0], masks[2]) == (None, None)
        assert masks[1] is not None
        assert (masks[1].size, masks[1].mode) == ((64, 32), "L")
        found = line(small_mill)
        assert [sorted(each.inputs) for each in found.stages] == [[], ["mask"], []]
        record = carriers.read(file(small_mill.store, found.images[1].key)).record
        assert record is not None
        assert record.recipe["then"][0]["mask"] == found.stages[1].inputs | {
            "sha256": found.stages[1].inputs["mask"]
        } or (record.recipe["then"][0]["mask"] == {"sha256": found.stages[1].inputs["mask"]})

    @pytest.mark.parametrize(
        ("mask", "told"),
        [
            (png((8, 8), "L"), "the mask is 8 x 8 pixels, its image 16 x 8"),
            (b"no image", "not an image that can be used"),
            (None, "then[0].mask jobs/job/inputs/"),
        ],
    )
    def test_a_bad_mask_fails_its_row_before_anything_of_it_is_rendered(
        self, small_mill: SmallMill, mask: bytes | None, told: str
    ) -> None:
        if mask is not None:
            small_mill.store.put(INPUT_M, mask, "image/png")
        room = StageWatch(small_mill)
        run(
            small_mill, [chain(0, stage("inpaint", mask=InputImage(address=INPUT_M))), chain(1, stage("inpaint"))], room
        )
        assert outcomes(small_mill) == {0: "invalid_input", 1: "done"}
        assert {slot.row.index for slot in room.slots} == {1}
        failure = line(small_mill, 0).failure
        assert failure is not None
        assert told in failure.message

    def test_sizes_that_an_input_decides_are_followed_through(self, small_mill: SmallMill) -> None:
        small_mill.store.put(INPUT_A, png((24, 17)), "image/png")
        open_size = {"width": None, "height": None}
        row = chain(
            0,
            stage(**open_size),
            stage("img2img", **open_size),
            pipeline="img2img",
            image=InputImage(address=INPUT_A),
            **open_size,
        )
        run(small_mill, [row])
        assert [(each.width, each.height) for each in line(small_mill).stages] == [(24, 16), (96, 64), (96, 64)]
        assert (line(small_mill).width, line(small_mill).height) == (96, 64)

    def test_a_chain_that_grows_without_end_is_bad_input(self, small_mill: SmallMill) -> None:
        small_mill.store.put(INPUT_A, png((512, 64)), "image/png")
        open_size = {"width": None, "height": None}
        row = chain(
            0,
            *[stage(**open_size)] * 3,
            pipeline="img2img",
            image=InputImage(address=INPUT_A),
            **open_size,
        )
        run(small_mill, [row])
        failure = line(small_mill).failure
        assert failure is not None
        assert failure.message == "stage 3 would make 32768 x 4096 pixels; at most 8192 a side"


class TestRowsThatFail:
    @pytest.mark.parametrize(
        ("row", "told"),
        [
            (chain(1, prompt="!raise"), "stage 0 (txt2img): failed, as asked for"),
            (chain(1, stage(prompt="!raise")), "stage 1 (then[0], upscale): failed, as asked for"),
            (
                chain(1, stage(), stage("img2img", prompt="!oom>0")),
                "stage 2 (then[1], img2img): 1 images are more than 0, as asked for",
            ),
            (chain(1, stage(prompt="!crash")), "stage 1 (then[0], upscale): ZeroDivisionError: crashed, as asked for"),
        ],
        ids=["first", "second", "third", "engine"],
    )
    def test_the_row_fails_whole_by_itself_and_names_the_stage(
        self, small_mill: SmallMill, row: PlannedRow, told: str
    ) -> None:
        run(small_mill, [chain(0), row, chain(2, num_images=2)])
        assert {index: state == "done" for index, state in outcomes(small_mill).items()} == {0: True, 1: False, 2: True}
        failed = line(small_mill, 1)
        assert failed.failure is not None
        assert (failed.failure.message, failed.images) == (told, ())

    def test_nothing_more_of_a_row_that_failed_is_rendered(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill, max_batch=1)
        bad = stage(prompt="!raise")
        run(small_mill, [chain(0, bad, stage("img2img"), num_images=3)], room)
        assert [slot.stage for slot in room.slots] == [0, 0, 0]

    def test_a_stage_that_does_not_fit_is_halved_by_itself(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill)
        run(small_mill, [chain(index, stage(prompt="!oom>2")) for index in range(4)], room)
        assert [len(batch) for _, batch in room.batches] == [4, 2, 2]
        assert set(outcomes(small_mill).values()) == {"done"}
        assert {image.batch_size for index in range(4) for image in line(small_mill, index).images} == {2}

    def test_a_model_that_is_not_there_fails_the_rows_that_need_it(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0), chain(1, stage(prompt="!model", steps=3))])
        assert outcomes(small_mill) == {0: "done", 1: "model_unavailable"}


class TestSafety:
    def test_a_flag_of_an_earlier_stage_stays(self, small_mill: SmallMill) -> None:
        run(small_mill, [chain(0, prompt="!flag"), chain(1)])
        assert [line(small_mill, index).images[0].flagged for index in (0, 1)] == [True, False]

    @pytest.mark.parametrize("keep", ["last", "all"])
    def test_a_dropped_image_goes_no_further(self, small_mill: SmallMill, keep: str) -> None:
        settings = {"safety": "drop", "max_batch": 8}
        room = StageWatch(small_mill, **settings)
        rows = [chain(0, stage(), stage("img2img"), prompt="!flag", keep=keep, num_images=2), chain(1)]
        run(small_mill, rows, room, **settings)
        assert [slot.stage for slot in room.slots if slot.row.index == 0] == [0, 0]
        found = line(small_mill, 0)
        assert (found.status, len(found.stages), found.stages[2].render) == ("done", 3, None)
        assert [(image.dropped, image.key, image.width) for image in found.final_images] == [(True, None, 64)] * 2
        assert len(found.images) == (2 if keep == "last" else 4)
        assert outcomes(small_mill) == {0: "done", 1: "done"}

    def test_warnings_of_a_stage_name_it_and_come_once(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(FlatRoom, "warnings", lambda self, row: (f"{row.prompt} is long", "common"))
        run(small_mill, [chain(0, stage(), stage())])
        assert line(small_mill).warnings == ("prompt 0 is long", "common", "then[0]: sharp is long")


class TestSlices:
    def test_an_image_counts_with_the_largest_step_between_two_stages(self) -> None:
        assert held_bytes(planned(0)) == 0
        assert held_bytes(chain(0)) == 3 * 16 * 8
        row = chain(0, stage(), stage("inpaint", mask=InputImage(address="m"), width=16, height=8), stage(width=8192))
        assert held_bytes(row) == 3 * (64 * 32 + 16 * 8) + 16 * 8

    def test_what_would_not_fit_goes_in_slices_each_through_all_stages(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill)
        rows = [chain(0, num_images=3), chain(1), chain(2)]
        assert run(small_mill, rows, room, held_bytes=2 * 3 * 16 * 8) == "counted"
        assert [batch for _, batch in room.batches] == [
            [(0, 0), (0, 1)],
            [(0, 0), (0, 1)],
            [(0, 2), (1, 0)],
            [(0, 2), (1, 0)],
            [(2, 0)],
            [(2, 0)],
        ]
        assert room.loaded == ["tiny", "big"] * 3
        assert outcomes(small_mill) == {0: "done", 1: "done", 2: "done"}

    def test_one_image_that_is_larger_than_the_bound_goes_alone(self, small_mill: SmallMill) -> None:
        room = StageWatch(small_mill)
        run(small_mill, [chain(0), chain(1)], room, held_bytes=1)
        assert [batch for _, batch in room.batches] == [[(0, 0)], [(0, 0)], [(1, 0)], [(1, 0)]]


class TestInterruptions:
    def test_rows_that_passed_their_last_stage_are_never_rendered_again(self, small_mill: SmallMill) -> None:
        """TERM in the second slice: the first one's rows are committed, the others start over at stage 0."""
        active = open_job(small_mill, [[chain(index) for index in range(4)]])
        room = StageWatch(small_mill, lambda step: small_mill.stopping.set() if step == 7 else None)
        message = active.message("0", 0)
        bound = {"held_bytes": 2 * 3 * 16 * 8}
        assert run_task(message, small_mill.place(room, **bound)) == "given_back"
        assert outcomes(small_mill) == {0: "done", 1: "done"}
        small_mill.stopping.clear()
        again = StageWatch(small_mill)
        assert run_task(active.message("0", 1), small_mill.place(again, **bound)) == "counted"
        assert [batch for _, batch in again.batches] == [[(2, 0), (3, 0)], [(2, 0), (3, 0)]]
        assert counts(small_mill) == (1, 4, 0, 4)

    @pytest.mark.parametrize("step", [1, 2, 3, 4])
    def test_in_the_middle_of_a_chain_nothing_half_done_is_named(self, small_mill: SmallMill, step: int) -> None:
        active = open_job(small_mill, [[chain(0, keep="all")]])
        room = StageWatch(small_mill, lambda at: small_mill.stopping.set() if at == step else None)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "given_back"
        assert outcomes(small_mill) == {}
        assert room.steps == step

    def test_a_pause_ends_it_after_the_batch_between_two_stages(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[chain(0), chain(1)]])

        def pause(step: int) -> None:
            if step == 2:
                small_mill.steer("pause")
                active.refresh()
                small_mill.ledger.steer(JOB, active.control)
                threading.Event().wait(0.2)  # until the keeper sees it

        room = StageWatch(small_mill, pause)
        assert run_task(active.message("0", 0), small_mill.place(room, lease_seconds=0.3)) == "given_back"
        assert [model for model, _ in room.batches] == ["tiny"]
        assert outcomes(small_mill) == {}

    def test_finished_rows_are_committed_while_later_slices_render(self, small_mill: SmallMill) -> None:
        seen: list[int] = []
        room = StageWatch(small_mill, lambda step: seen.append(len(outcomes(small_mill))))
        run(small_mill, [chain(index) for index in range(4)], room, held_bytes=1, piece_seconds=1e-6)
        assert seen == sorted(seen)
        assert seen[-1] >= 1

    def test_progress_touches_the_lease_at_every_step_of_every_stage(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touched: list[None] = []
        monkeypatch.setattr("workers.keeper.LeaseKeeper.step", lambda self: touched.append(None))
        run(small_mill, [chain(0, stage(steps=3))])
        assert len(touched) >= 5

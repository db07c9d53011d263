"""A row's inputs: read, checked, and made exactly as large as the pipeline takes them."""

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas import keys
from schemas.errors import BucketMissing, InvalidInput, ServiceError, StoreRefused, StoreUnavailable
from schemas.planned import InputImage, PlannedRow
from services.input_addresses import InputRules
from services.input_images import ImageLimits
from services.store import ObjectStore
from tests.memory_store import MemoryStore
from tests.small_mill import planned
from workers.input_source import InputSource
from workers.inputs import LoadedInputs, check_output
from workers.inputs import load_inputs as load_inputs_of
from workers.web_images import WebImages

LIMITS = ImageLimits(max_bytes=100_000, max_pixels=10_000)
RULES = InputRules(frozenset({"bucket", "elsewhere"}))


def load_inputs(store: ObjectStore, row: PlannedRow, limits: ImageLimits, rules: InputRules = RULES) -> LoadedInputs:
    return load_inputs_of(InputSource(store, rules), row, limits)


def png(width: int = 40, height: int = 24, colour: str = "red", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), colour).save(file, "PNG")
    return file.getvalue()


def added(store: MemoryStore, data: bytes, name: str = "image") -> InputImage:
    digest = hashlib.sha256(data).hexdigest()
    key = keys.input_image("job", digest, "png")
    store.objects[key] = data
    return InputImage(address=key, sha256=digest)


def row(pipeline: str = "img2img", **changes: Any) -> PlannedRow:
    return planned(0, **({"pipeline": pipeline, "width": 32, "height": 16, "strength": 0.5} | changes))


class TestSizes:
    @pytest.mark.parametrize(
        ("pipeline", "planned_size", "final", "image"),
        [
            ("img2img", (32, 16), (32, 16), (32, 16)),
            ("depth2img", (None, None), (40, 24), (40, 24)),
            ("img2img", (64, None), (64, 24), (64, 24)),
            ("img2img", (None, 64), (40, 64), (40, 64)),
            ("upscale", (160, 96), (160, 96), (40, 24)),
            ("upscale", (None, None), (160, 96), (40, 24)),
            ("upscale", (128, 64), (128, 64), (32, 16)),
        ],
    )
    def test_the_image_has_the_size_the_pipeline_takes_and_the_row_its_output(
        self,
        memory_store: MemoryStore,
        pipeline: str,
        planned_size: tuple[int | None, int | None],
        final: tuple[int, int],
        image: tuple[int, int],
    ) -> None:
        width, height = planned_size
        loaded = load_inputs(
            memory_store, row(pipeline, image=added(memory_store, png()), width=width, height=height), LIMITS
        )
        assert loaded.image is not None
        assert (loaded.row.width, loaded.row.height) == final
        assert (loaded.image.size, loaded.image.mode) == (image, "RGB")

    def test_a_mask_is_as_large_as_its_image(self, memory_store: MemoryStore) -> None:
        image, mask = added(memory_store, png()), added(memory_store, png(mode="L", colour="white"), "mask")
        loaded = load_inputs(memory_store, row("inpaint", image=image, mask=mask), LIMITS)
        assert loaded.mask is not None
        assert (loaded.mask.size, loaded.mask.mode) == ((32, 16), "L")
        assert np.asarray(loaded.mask).min() == 255
        assert loaded.sha256 == {"image": image.sha256, "mask": mask.sha256}

    def test_a_row_without_inputs_asks_for_none(self, memory_store: MemoryStore) -> None:
        loaded = load_inputs(memory_store, planned(0), LIMITS)
        assert (loaded.row, loaded.image, loaded.mask, loaded.sha256) == (planned(0), None, None, {})
        assert memory_store.asked == []


class TestFaultsOfTheRow:
    def refused(self, store: ObjectStore, given: PlannedRow) -> str:
        with pytest.raises(InvalidInput) as caught:
            load_inputs(store, given, LIMITS)
        return caught.value.message

    def test_an_input_that_is_gone(self, memory_store: MemoryStore) -> None:
        image = InputImage(address="jobs/job/inputs/gone.png")
        assert "gone.png cannot be read" in self.refused(memory_store, row(image=image))

    def test_one_that_is_not_what_was_submitted(self, memory_store: MemoryStore) -> None:
        image = added(memory_store, png())
        memory_store.objects[image.address] = png(colour="blue")
        assert "sha256 differs" in self.refused(memory_store, row(image=image))

    def test_one_that_is_too_large(self, memory_store: MemoryStore) -> None:
        image = InputImage(address="s3://bucket/large.png")
        memory_store.objects["large.png"] = b"x" * 100_001
        assert "larger than 100,000 bytes" in self.refused(memory_store, row(image=image))
        assert "10,000 in all" in self.refused(memory_store, row(image=added(memory_store, png(101, 100))))

    @pytest.mark.parametrize("data", [b"", b"text", png()[:60], b"GIF89a"])
    def test_one_that_is_no_image(self, memory_store: MemoryStore, data: bytes) -> None:
        assert self.refused(memory_store, row(image=added(memory_store, data)))

    def test_a_mask_of_another_size(self, memory_store: MemoryStore) -> None:
        image, mask = added(memory_store, png()), added(memory_store, png(40, 32), "mask")
        assert "mask is 40 x 32" in self.refused(memory_store, row("inpaint", image=image, mask=mask))

    @pytest.mark.parametrize("error", [BucketMissing("no bucket"), StoreRefused("not allowed")])
    def test_a_bucket_of_the_users_that_cannot_be_read(self, memory_store: MemoryStore, error: ServiceError) -> None:
        memory_store.fault = lambda verb, key: error
        assert error.message in self.refused(memory_store, row(image=InputImage(address="s3://elsewhere/a.png")))


class TestForeign:
    @pytest.mark.parametrize(
        "key", ["a.png", "folder/a b.png", "photo#1.png", "what?.png", "100%25.png", "猫.png", "/slash.png", "a//b.png"]
    )
    def test_a_key_is_taken_as_it_is(self, memory_store: MemoryStore, key: str) -> None:
        memory_store.objects[key] = png()
        loaded = load_inputs(memory_store, row(image=InputImage(address=f"s3://bucket/{key}")), LIMITS)
        assert loaded.image is not None
        assert memory_store.asked == [("get_foreign", f"bucket/{key}")]

    def test_a_real_store_gives_it(self, store: ObjectStore) -> None:
        store.put("photo #1?.png", png())
        address = store.url("photo #1?.png")
        rules = InputRules(frozenset({store.bucket}))
        loaded = load_inputs(store, row(image=InputImage(address=address)), LIMITS, rules)
        assert loaded.sha256 == {"image": hashlib.sha256(png()).hexdigest()}


class TestFaultsOfTheStore:
    @pytest.mark.parametrize("address", ["jobs/job/inputs/image.png", "s3://bucket/a.png"])
    def test_an_outage_is_never_the_rows_fault(self, memory_store: MemoryStore, address: str) -> None:
        memory_store.fault = lambda verb, key: StoreUnavailable("away")
        with pytest.raises(StoreUnavailable):
            load_inputs(memory_store, row(image=InputImage(address=address)), LIMITS)

    @pytest.mark.parametrize("error", [BucketMissing("no bucket"), StoreRefused("expired")])
    def test_our_own_bucket_that_refuses_is_not_either(self, memory_store: MemoryStore, error: ServiceError) -> None:
        """Credentials that expire in mid-job must not fail every row that has an input."""
        image = added(memory_store, png())
        memory_store.fault = lambda verb, key: error
        with pytest.raises(type(error)):
            load_inputs(memory_store, row(image=image), LIMITS)


class TestRules:
    """The worker checks by its own settings: a plan is only an object in a store."""

    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("s3://theirs/a.png", "bucket 'theirs' is not allowed"),
            ("https://images.example/a.png", "web addresses are off"),
            ("/etc/passwd", "is no input that was uploaded"),
            ("file:///etc/passwd", "is no input that was uploaded"),
            ("a.png", "is no input that was uploaded"),
            ("jobs/job/inputs/../job.json", "is no input that was uploaded"),
            ("jobs/job/job.json", "is no input that was uploaded"),
            ("jobs/job/plan/part-00000.jsonl", "is no input that was uploaded"),
            ("http://169.254.169.254/", "is no input that was uploaded"),
        ],
    )
    def test_what_they_forbid_is_not_asked_for(self, memory_store: MemoryStore, address: str, told: str) -> None:
        image = InputImage(address=address)
        with pytest.raises(InvalidInput, match=told):
            load_inputs(memory_store, row(image=image), LIMITS)
        mask = added(memory_store, png())
        with pytest.raises(InvalidInput, match=told):
            load_inputs(memory_store, row("inpaint", image=mask, mask=image), LIMITS)
        assert [key for _, key in memory_store.asked if "inputs" not in key] == []

    def test_an_image_of_the_web_is_judged_like_any_other(self, memory_store: MemoryStore) -> None:
        class Web(WebImages):
            def read(self, address: str, limit: int) -> bytes:
                return png() if address.endswith("good") else b"GIF89a"

        rules = InputRules(https=True)
        source = InputSource(memory_store, rules, Web(rules))
        good, bad = (InputImage(address=f"https://images.example/{name}") for name in ("good", "bad"))
        assert load_inputs_of(source, row(image=good), LIMITS).sha256 == {"image": hashlib.sha256(png()).hexdigest()}
        with pytest.raises(InvalidInput, match="a GIF"):
            load_inputs_of(source, row(image=bad), LIMITS)

    def test_an_output_that_its_model_cannot_make_is_the_rows_fault(self) -> None:
        small = planned(0, width=64, height=64)
        check_output(small, {"tiny": 64 * 64})
        check_output(small, {})
        with pytest.raises(InvalidInput, match="the output would be 64 x 64; the limit of tiny is 4,095 pixels"):
            check_output(small, {"tiny": 64 * 64 - 1})

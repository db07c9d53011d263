"""A submit that was killed goes on where it stopped; another manifest under the same id is refused."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.manifests.options import ManifestOptions
from orchestrator.submit import submit
from schemas import keys
from schemas.errors import JobConflict, JobNotFound, ManifestError, StoreUnavailable
from services import jobs
from services.catalogue import Catalogue
from services.settings import Settings
from tests.memory_store import MemoryStore
from tests.submit_steps import ROWS, manifest, request, rows_of


class TestAgain:
    def test_the_same_again_sends_nothing_and_gives_the_same_job(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, ROWS)
        first = submit(memory_store, catalogue, settings, request(path))
        memory_store.asked.clear()
        assert submit(memory_store, catalogue, settings, request(path)) == first
        assert not [key for verb, key in memory_store.asked if verb == "put"]

    @pytest.mark.parametrize("killed_at", range(1, 6))
    def test_killed_at_any_upload_it_goes_on_where_it_stopped(
        self,
        memory_store: MemoryStore,
        catalogue: Catalogue,
        settings: Settings,
        tmp_path: Path,
        killed_at: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("orchestrator.planner.write.PART_IMAGES", 2)
        path = manifest(tmp_path, ROWS)
        whole = MemoryStore()
        submit(whole, catalogue, settings, request(path))
        puts = iter(range(100))

        def die(verb: str, key: str) -> StoreUnavailable | None:
            return StoreUnavailable("killed") if verb == "put" and next(puts) >= killed_at else None

        memory_store.fault = die
        with pytest.raises(StoreUnavailable):
            submit(memory_store, catalogue, settings, request(path))
        memory_store.fault = lambda verb, key: None
        with pytest.raises(JobNotFound):
            jobs.read_document(memory_store, "job")
        before = {key for key in memory_store.objects if "/plan/part" in key}
        memory_store.asked.clear()
        submit(memory_store, catalogue, settings, request(path))
        plan = {key: data for key, data in memory_store.objects.items() if "/plan/" in key}
        assert plan == {key: data for key, data in whole.objects.items() if "/plan/" in key}
        assert not before & {key for verb, key in memory_store.asked if verb == "put"}

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"rows": [*ROWS, {"prompt": "new"}]}, "manifest_sha256"),
            ({"name": "other.jsonl"}, "manifest_name"),
            ({"request": {"task_rows": 7}}, "task_rows"),
            ({"request": {"keep_going": True}}, "keep_going"),
            ({"request": {"options": ManifestOptions(defaults={"model": "tiny", "steps": 5})}}, "defaults"),
        ],
    )
    def test_another_manifest_or_other_options_are_refused_by_name(
        self,
        memory_store: MemoryStore,
        catalogue: Catalogue,
        settings: Settings,
        tmp_path: Path,
        change: dict[str, Any],
        named: str,
    ) -> None:
        submit(memory_store, catalogue, settings, request(manifest(tmp_path, ROWS)))
        before = dict(memory_store.objects)
        path = manifest(tmp_path, change.get("rows", ROWS), change.get("name", "m.jsonl"))
        told: list[str] = []
        with pytest.raises(JobConflict, match=named):
            submit(
                memory_store,
                catalogue,
                settings,
                request(path, **change.get("request", {})),
                on_job_id=told.append,
            )
        assert memory_store.objects == before
        assert told == []

    def test_defaults_of_every_type_are_recognized_as_the_same(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        defaults = {"model": "tiny", "steps": 4, "guidance_scale": 7.0, "negative_prompt": "猫", "seed": 2**60}
        options = ManifestOptions(
            defaults=defaults, column_map={"prompt": "prompt"}, extra_columns=frozenset({"b", "a"})
        )
        path = manifest(tmp_path, ROWS)
        first = submit(memory_store, catalogue, settings, request(path, options=options))
        assert submit(memory_store, catalogue, settings, request(path, options=options)) == first


class TestInputs:
    def rows(self, folder: Path) -> list[dict[str, Any]]:
        Image.new("RGB", (64, 48), "red").save(folder / "a.png")
        Image.new("RGB", (64, 48), "red").save(folder / "same.png")
        Image.new("L", (64, 48), 255).save(folder / "m.png")
        return [
            {"prompt": "1", "pipeline": "img2img", "image": "a.png"},
            {"prompt": "2", "pipeline": "img2img", "image": "same.png"},
            {"prompt": "3", "pipeline": "inpaint", "image": "a.png", "mask": "m.png"},
            {"prompt": "4", "pipeline": "img2img", "image": "s3://promptmill/k.png"},
        ]

    def test_each_content_goes_up_once_and_rows_name_it_by_its_hash(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        submit(memory_store, catalogue, settings, request(manifest(tmp_path, self.rows(tmp_path))))
        uploads = [key for verb, key in memory_store.asked if verb == "put" and "/inputs/" in key]
        assert len(uploads) == len(set(uploads)) == 2
        first, second, third, fourth = rows_of(memory_store)
        assert first.image == second.image == third.image
        for image in (first.image, third.mask):
            data = memory_store.get(image.address)
            assert hashlib.sha256(data).hexdigest() == image.sha256
            assert image.sha256 in image.address
        assert (first.width, first.height) == (64, 48)
        assert (fourth.image.address, fourth.image.sha256) == ("s3://promptmill/k.png", None)
        assert (fourth.width, fourth.height) == (None, None)

    def test_they_are_there_before_the_job_is(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        def refuse(verb: str, key: str) -> StoreUnavailable | None:
            return StoreUnavailable("full") if verb == "put" and "/inputs/" in key else None

        memory_store.fault = refuse
        with pytest.raises(StoreUnavailable):
            submit(memory_store, catalogue, settings, request(manifest(tmp_path, self.rows(tmp_path))))
        assert keys.job_document("job") not in memory_store.objects

    def test_an_image_that_changes_after_it_was_checked_ends_the_submit(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, self.rows(tmp_path))

        def spoil(job: str) -> None:
            (tmp_path / "a.png").write_text("no image any more")

        with pytest.raises(ManifestError) as caught:
            submit(memory_store, catalogue, settings, request(path), on_job_id=spoil)
        assert "changed" in caught.value.hint
        assert keys.job_document("job") not in memory_store.objects

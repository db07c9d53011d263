"""From a manifest to a job: nothing is sent while a fault stands, and a submit that was killed goes on."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.submit import SubmitProgress, new_job_id, submit, validate
from schemas import keys
from schemas.errors import ManifestError, SettingsError, StoreUnavailable
from services import jobs
from services.catalogue import Catalogue
from services.settings import Settings
from services.store import ObjectStore
from tests.memory_store import MemoryStore
from tests.submit_steps import ROWS, manifest, request, rows_of


class TestSubmit:
    def test_the_job_holds_the_manifest_and_its_plan(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, ROWS)
        document = submit(memory_store, catalogue, settings, request(path, priority=7, keep_going=True))
        assert jobs.read_document(memory_store, "job") == document
        assert (document.totals.rows, document.totals.images, document.totals.tasks) == (3, 4, 2)
        assert (document.priority, document.spec.keep_going, document.spec.task_rows) == (7, True, 2)
        assert document.spec.manifest_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert memory_store.get(keys.source("job", "m.jsonl")) == path.read_bytes()
        first, second, third = rows_of(memory_store)
        assert (first.id, second.id, third.id) == ("cat", "000001", "000002")
        assert (second.prompt, second.steps, second.extra) == ("猫 🐈", 2, {"note": {"nested": [1, None]}})
        assert (first.steps, first.model) == (4, "tiny")

    def test_the_document_is_written_after_everything_else(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        submit(memory_store, catalogue, settings, request(manifest(tmp_path, ROWS)))
        puts = [key for verb, key in memory_store.asked if verb == "put"]
        assert all(key.startswith(keys.claims_folder("job")) for key in puts[:2])
        assert puts[2] == keys.submission("job")
        assert puts[-1] == keys.job_document("job")

    def test_a_real_store_holds_the_same(
        self, store: ObjectStore, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, ROWS)
        submit(store, catalogue, settings, request(path))
        submit(memory_store, catalogue, settings, request(path))
        same = {key for key in memory_store.objects if "/plan/" in key or "/source/manifest/" in key}
        assert {key: store.get(key) for key in same} == {key: memory_store.get(key) for key in same}
        assert {self.name(found.key) for found in store.list("")} == {self.name(key) for key in memory_store.objects}

    def name(self, key: str) -> str:
        """A key without what is new every time."""
        return keys.claims_folder("job") if key.startswith(keys.claims_folder("job")) else key

    def test_the_id_is_told_before_the_first_upload_of_the_plan(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        told = []
        submit(
            memory_store,
            catalogue,
            settings,
            request(manifest(tmp_path, ROWS), job_id=None),
            on_job_id=lambda job: told.append((job, sum(verb == "put" for verb, _ in memory_store.asked))),
        )
        ((job, puts),) = told
        assert puts == 3, "two marks and the claim, which make the id ours"
        assert jobs.read_document(memory_store, job).job == job

    def test_progress_is_told_while_checking_and_while_uploading(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        told: list[SubmitProgress] = []
        submit(memory_store, catalogue, settings, request(manifest(tmp_path, ROWS)), on_progress=told.append)
        assert [(found.stage, found.total) for found in told] == [("checking", None), ("uploading", 3)]

    @pytest.mark.parametrize("task", [{"task_rows": 1}, {"task_units": 1e-9}])
    def test_a_request_can_cut_tasks_its_own_way(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path, task: dict[str, Any]
    ) -> None:
        document = submit(memory_store, catalogue, settings, request(manifest(tmp_path, ROWS), **task))
        assert document.totals.tasks == 3


class TestFaults:
    def test_all_are_told_with_their_lines_and_nothing_is_sent(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        rows = [{"prompt": "a"}, {"prompt": "b", "width": 513}, {"prompt": "c", "model": "nosuch"}, {"steps": 3}]
        rows += [{"prompt": "d", "width": 8192, "height": 8192}, {"prompt": "e", "pipeline": "upscale", "image": "x"}]
        with pytest.raises(ManifestError) as caught:
            submit(memory_store, catalogue, settings, request(manifest(tmp_path, rows)))
        assert [fault.line for fault in caught.value.faults] == [2, 3, 4, 5, 6]
        assert memory_store.asked == []

    def test_a_model_that_lacks_the_pipeline_is_a_fault(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
        row = {"prompt": "a", "pipeline": "depth2img", "image": "a.png", "model": "tiny-xl"}
        with pytest.raises(ManifestError) as caught:
            submit(memory_store, catalogue, settings, request(manifest(tmp_path, [row])))
        assert "depth2img" in caught.value.faults[0].message

    @pytest.mark.parametrize("job", ["A", "../x", "a b", "-a"])
    def test_an_id_that_is_none_is_refused(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path, job: str
    ) -> None:
        with pytest.raises(SettingsError, match="--job-id"):
            submit(memory_store, catalogue, settings, request(manifest(tmp_path, ROWS), job_id=job))
        assert memory_store.asked == []

    def test_a_store_that_is_away_is_told_before_an_id_is(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        memory_store.fault = lambda verb, key: StoreUnavailable("away")
        told: list[str] = []
        with pytest.raises(StoreUnavailable):
            submit(memory_store, catalogue, settings, request(manifest(tmp_path, ROWS)), on_job_id=told.append)
        assert told == []


class TestValidate:
    def test_it_tells_what_submit_would_make_and_sends_nothing(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, ROWS)
        report = validate(request(path), catalogue, settings)
        totals = submit(memory_store, catalogue, settings, request(path)).totals
        assert report.totals == totals.model_copy(update={"parts": 0})
        assert report.manifest.rows == 3

    def test_a_compressed_manifest_is_the_same(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, ROWS)
        packed = tmp_path / "m.jsonl.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert (
            validate(request(packed), catalogue, settings).totals == validate(request(path), catalogue, settings).totals
        )


class TestNewJobId:
    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("parti.tsv", "parti"),
            ("My Prompts (2).jsonl.gz", "my-prompts-2"),
            ("猫.txt", "job"),
            (".hidden", "job"),
            ("x" * 200 + ".csv", "x" * 30),
            ("a" * 29 + "-b.csv", "a" * 29),
            ("--.csv", "job"),
        ],
    )
    def test_it_is_a_job_id_made_of_the_manifests_name(self, name: str, stem: str) -> None:
        job = new_job_id(name)
        assert keys.is_job_id(job)
        assert job.startswith(f"{stem}-2")

    def test_two_at_the_same_time_differ(self) -> None:
        assert len({new_job_id("a.txt") for _ in range(20)}) == 20


def test_a_name_that_is_no_key_is_made_one(
    memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    path = manifest(tmp_path, ROWS)
    submit(memory_store, catalogue, settings, request(path, name="../../my prompts?#.jsonl"))
    assert [key for key in memory_store.objects if "/source/manifest/" in key] == [
        keys.source("job", ".._.._my_prompts_.jsonl")
    ]


@pytest.mark.parametrize("name", ["..", ".", "", "..."])
def test_a_name_of_dots_is_none(
    memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path, name: str
) -> None:
    manifest(tmp_path, ROWS).rename(tmp_path / "m.jsonl")
    submit(memory_store, catalogue, settings, request(tmp_path / "m.jsonl", name=name or None))
    (key,) = [key for key in memory_store.objects if "/source/manifest/" in key]
    assert key.rpartition("/")[2] in ("manifest", "m.jsonl")

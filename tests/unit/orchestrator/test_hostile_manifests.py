"""Manifests that mean harm: the settings of whoever submits them decide, and nothing is sent."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.submit import submit, validate
from schemas import keys
from schemas.errors import ManifestError
from services.catalogue import Catalogue
from services.settings import InputSettings, ManifestSettings, S3Settings, Settings
from tests.memory_store import MemoryStore
from tests.submit_steps import ROWS, manifest, request

S3_ROW = {"pipeline": "img2img", "prompt": "a", "model": "tiny", "image": "s3://theirs/a.png"}
WEB_ROW = S3_ROW | {"image": "https://images.example/a.png"}
THEN = [{"pipeline": "inpaint", "mask": "s3://theirs/m.png"}]


def refused(catalogue: Catalogue, settings: Settings, path: Path) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        validate(request(path), catalogue, settings)
    return [str(fault) for fault in caught.value.faults]


def with_settings(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


class TestAddresses:
    def test_of_buckets_only_the_jobs_own_and_listed_ones(
        self, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, [ROWS[0], S3_ROW])
        told = refused(catalogue, settings, path)
        assert told == [
            (
                "line 2, image = s3://theirs/a.png: bucket 'theirs' is not allowed: "
                "inputs.buckets names those that rows may read"
            )
        ]
        for allowed in (
            with_settings(settings, inputs=InputSettings(buckets="theirs")),
            with_settings(settings, s3=S3Settings(bucket="theirs")),
        ):
            assert validate(request(path), catalogue, allowed).totals.rows == 2

    def test_the_web_only_where_it_is_switched_on(
        self, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, [WEB_ROW])
        assert "web addresses are off here (inputs.https)" in refused(catalogue, settings, path)[0]
        allowed = with_settings(settings, inputs=InputSettings(https=True))
        assert validate(request(path), catalogue, allowed).totals.rows == 1

    def test_masks_and_masks_of_stages_too(self, catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
        mask = {"pipeline": "inpaint", "image": "s3://promptmill/a.png", "mask": "s3://theirs/m.png"}
        path = manifest(tmp_path, [S3_ROW | mask, ROWS[0] | {"then": THEN}])
        told = refused(catalogue, settings, path)
        assert told[0].startswith("line 1, mask = s3://theirs/m.png: bucket 'theirs'")
        assert any(line.startswith("line 2, then[0].mask = s3://theirs/m.png: bucket 'theirs'") for line in told)

    def test_nothing_is_sent(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        with pytest.raises(ManifestError):
            submit(memory_store, catalogue, settings, request(manifest(tmp_path, [*ROWS, S3_ROW])))
        assert keys.job_document("job") not in memory_store.objects


class TestLimits:
    def test_rows(self, catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
        path = manifest(tmp_path, ROWS)
        few = with_settings(settings, manifest=ManifestSettings(max_rows=2))
        assert refused(catalogue, few, path) == ["line 3: more than 2 rows: split the manifest (or manifest.max_rows)"]
        enough = with_settings(settings, manifest=ManifestSettings(max_rows=3))
        assert validate(request(path), catalogue, enough).totals.rows == 3

    def test_the_length_of_a_row(self, catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
        path = manifest(tmp_path, [ROWS[0] | {"note": "x" * 2000}])
        short = with_settings(settings, manifest=ManifestSettings(max_line_bytes=1000))
        assert "a line longer than 1,000 bytes" in refused(catalogue, short, path)[0]

    def test_bytes_in_all(self, catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
        path = manifest(tmp_path, ROWS)
        small = with_settings(settings, manifest=ManifestSettings(max_bytes=50))
        assert "too much" in refused(catalogue, small, path)[0]

    def test_rows_that_a_parameter_space_comes_to(
        self, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = tmp_path / "m.yaml"
        path.write_text(
            "defaults: {model: tiny, steps: 2}\nspace:\n  prompt: [a, b, c]\n  seed: [1, 2, 3, 4]\n", encoding="utf-8"
        )
        assert validate(request(path), catalogue, settings).totals.rows == 12
        few = with_settings(settings, manifest=ManifestSettings(max_rows=5))
        assert any("more than 5 rows" in line for line in refused(catalogue, few, path))


@pytest.mark.parametrize(
    "alias", ["../../etc/passwd", "/etc/passwd", "builtin:tiny", "owner/name", "tiny\x00", "t" * 10_000, "tíny", ""]
)
def test_a_model_is_an_alias_of_the_catalogue_and_nothing_else(
    catalogue: Catalogue, settings: Settings, tmp_path: Path, alias: str
) -> None:
    told = refused(catalogue, settings, manifest(tmp_path, [ROWS[0] | {"model": alias}]))
    assert told[0].startswith("line 1, model")

"""What a job will cost: counted from its plan, timed and weighed by what earlier jobs took, or as the user says."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.cost.estimate import Prices
from orchestrator.cost.measured import Measured, measured_here, measured_in_store, remember_here, size_name
from orchestrator.submit import ValidationReport, submit, validate
from schemas.errors import SettingsError
from schemas.job import FormatSize, ModelSpeed, Summary
from services import jobs
from services.catalogue import Catalogue
from services.settings import Settings
from tests.memory_store import MemoryStore
from tests.small_mill import SmallMill
from tests.submit_steps import manifest, request

# Half a unit, twice, and a quarter.
ROWS: list[dict[str, Any]] = [
    {"prompt": "a", "width": 512, "height": 512, "steps": 25, "num_images": 2},
    {"prompt": "b", "width": 512, "height": 256, "steps": 25, "format": "jpeg"},
]
MEASURED = Measured(
    place="of this store",
    jobs=2,
    speeds={"tiny": ModelSpeed(units=10, seconds=20)},
    sizes={"png": FormatSize(bytes=1000, pixels=1000)},
)


@pytest.fixture
def report(tmp_path: Path, catalogue: Catalogue, settings: Settings) -> Any:
    def check(rows: list[dict[str, Any]] = ROWS, **changes: Any) -> ValidationReport:
        return validate(request(manifest(tmp_path, rows)), catalogue, settings, **changes)

    return check


def test_units_follow_pixels_steps_and_images(report: Any) -> None:
    cost = report().cost
    assert (cost.units, cost.units_by_model) == (1.25, {"tiny": 1.25})


def test_nothing_is_said_of_time_and_money_where_nothing_is_known(report: Any) -> None:
    cost = report(prices=Prices(price_per_hour=1.8, workers=2)).cost
    assert (cost.gpu_seconds, cost.wall_seconds, cost.price) == (None, None, None)
    assert cost.speed_source == "no speed is known of tiny: --units-per-second gives it"


def test_what_the_user_says_goes_before_what_was_measured(report: Any) -> None:
    cost = report(measured=MEASURED, prices=Prices(units_per_second=0.01, price_per_hour=7.2, workers=5)).cost
    assert (cost.gpu_seconds, cost.wall_seconds, cost.price) == pytest.approx((125, 25, 0.25))
    assert cost.speed_source == "at 0.01 units/s, as given"


def test_what_earlier_jobs_took_is_used_and_said(report: Any) -> None:
    cost = report(measured=MEASURED).cost
    assert cost.gpu_seconds == pytest.approx(2.5)
    assert cost.speed_source == "at 0.5 units/s, measured in 2 jobs of this store"
    assert cost.bytes == round(2 * 512 * 512 * 1.0 + 512 * 256 * 0.45)
    assert cost.bytes_source == "bytes/pixel: 1 of png (measured), 0.45 of jpeg 95 (assumed)"


def test_one_model_without_a_speed_leaves_the_time_unknown(report: Any) -> None:
    cost = report([*ROWS, {"prompt": "c", "model": "tiny-2"}], measured=MEASURED).cost
    assert cost.gpu_seconds is None
    assert "tiny-2" in cost.speed_source


def test_an_input_of_unknown_size_is_counted_and_told(report: Any) -> None:
    row = {"prompt": "a", "pipeline": "img2img", "image": "s3://promptmill/a.png", "steps": 50}
    cost = report([row, row | {"id": "x"}]).cost
    assert (cost.units, cost.unknown_sizes) == (2, 2)


def test_memory_is_bounded_when_every_row_has_settings_of_its_own(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cost.tally._MOST_PROTOTYPES", 3)
    rows = [{"prompt": "a", "width": 512, "height": 512, "steps": steps} for steps in range(1, 51)]
    assert report(rows).cost.units == pytest.approx(sum(range(1, 51)) / 50)


@pytest.mark.parametrize(
    ("file_format", "quality", "name"),
    [("png", None, "png"), ("jpeg", 95, "jpeg 95"), ("webp", None, "webp lossless"), ("webp", 80, "webp 80")],
)
def test_images_are_weighed_by_format_and_quality(file_format: str, quality: int | None, name: str) -> None:
    assert size_name(file_format, quality) == name


class TestLimit:
    def test_a_job_that_would_cost_more_is_refused_before_anything_is_sent(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        over = request(manifest(tmp_path, ROWS), max_units=1.24)
        with pytest.raises(SettingsError, match=r"1\.25 units; --max-units is 1\.24"):
            submit(memory_store, catalogue, settings, over)
        assert memory_store.asked == []

    def test_one_that_does_not_carries_its_limit_and_goes_on_with_another(
        self, memory_store: MemoryStore, catalogue: Catalogue, settings: Settings, tmp_path: Path
    ) -> None:
        path = manifest(tmp_path, ROWS)
        document = submit(memory_store, catalogue, settings, request(path, max_units=1.25))
        assert document.spec.max_units == 1.25
        assert submit(memory_store, catalogue, settings, request(path, max_units=3)) == document


class TestMeasured:
    def rendered(self, mill: SmallMill, catalogue: Catalogue, settings: Settings, folder: Path) -> Summary:
        submit(mill.store, catalogue, settings, request(manifest(folder, ROWS)))
        mill.run(mill.dispatcher(), "job")
        summary = jobs.read_summary(mill.store, "job")
        assert summary is not None
        return summary

    def test_a_job_leaves_what_it_took_and_the_puts_are_those_that_were_estimated(
        self, small_mill: SmallMill, catalogue: Catalogue, settings: Settings, tmp_path: Path, report: Any
    ) -> None:
        expected = report().cost
        summary = self.rendered(small_mill, catalogue, settings, tmp_path)
        assert summary.speeds["tiny"].units == pytest.approx(summary.units)
        assert summary.speeds["tiny"].seconds > 0
        assert sum(size.bytes for size in summary.sizes.values()) == summary.bytes
        assert {name: size.pixels for name, size in summary.sizes.items()} == {
            "png": 2 * 512 * 512,
            "jpeg 95": 512 * 256,
        }
        written = [found.key for found in small_mill.store.list("jobs/job/")]
        assert len(written) == expected.puts, "\n".join(written)

    def test_the_next_estimate_of_the_store_uses_it(
        self, small_mill: SmallMill, catalogue: Catalogue, settings: Settings, tmp_path: Path, report: Any
    ) -> None:
        summary = self.rendered(small_mill, catalogue, settings, tmp_path)
        measured = measured_in_store(small_mill.store)
        assert (measured.jobs, measured.speeds) == (1, summary.speeds)
        assert report(measured=measured).cost.gpu_seconds == pytest.approx(summary.speeds["tiny"].seconds, rel=1e-3)

    def test_so_does_the_next_run_on_this_machine(self, tmp_path: Path) -> None:
        summary = Summary(
            **dict.fromkeys(["planned", "done", "failed", "cancelled", "images", "dropped", "flagged"], 1),
            job="job",
            state="done",
            bytes=1,
            units=1,
            speeds={"tiny": ModelSpeed(units=1, seconds=2)},
            submitted_at="",
            finished_at="",
        )
        folder = tmp_path / "data"
        assert measured_here(folder).units_per_second("tiny") is None
        for _ in range(2):
            remember_here(folder, summary)
        assert measured_here(folder).speeds == {"tiny": ModelSpeed(units=2, seconds=4)}
        (folder / "measured.json").write_text("{")
        assert measured_here(folder).jobs == 0

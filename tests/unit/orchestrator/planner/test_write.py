"""The plan as objects: byte offsets exact in any script, parts of bounded size, the same bytes every time."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.planner.write import PART_IMAGES, TASK_BYTES, PlanCounter, PlanWriter
from schemas import keys
from schemas.errors import StoreUnavailable
from schemas.planned import PlannedRow
from schemas.task import TaskMessage
from services import jobs
from services.store import ObjectStore
from tests.small_mill import JOB, planned, tasks_of

ROUND = "01J00000000000000000000000"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["\r\n", "\u2028", "\x85", "🐈" * 20, '"\\']
)


class Objects:
    """What a writer puts, kept in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.sent: list[str] = []

    def put(self, key: str, data: bytes, content_type: str = "", metadata: Any = None) -> None:
        self.sent.append(key)
        self.objects[key] = data

    def put_missing(self, key: str, data: bytes, content_type: str = "") -> bool:
        if self.objects.get(key) != data:
            self.put(key, data)
        return True

    def get(self, key: str) -> bytes:
        return self.objects[key]

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.objects[key][offset : offset + length]


def write(store: Any, tasks: list[list[PlannedRow]], **options: Any) -> Any:
    with PlanWriter(store, JOB, **options) as writer:
        for rows in tasks:
            writer.add(rows)
        return writer.finish()


def records(store: Any, round_id: str | None = None) -> list[Any]:
    table = jobs.read_tasks(store, JOB, round_id)
    return [jobs.task_record(table, place, round_id) for place in range(table.num_rows)]


def rows_of(store: Any, record: Any) -> list[PlannedRow]:
    message = TaskMessage(job=JOB, **record.model_dump(include={"task", "part", "offset", "length", "round_id"}))
    return jobs.read_rows(store, message)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.planner.write.PART_IMAGES", 5)


class TestOffsets:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
    @given(st.lists(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4), min_size=1, max_size=6))
    def test_every_task_reads_exactly_its_rows_in_any_script(
        self, small_parts: None, texts: list[list[tuple[str, str]]]
    ) -> None:
        places = iter(range(1000))
        tasks = [[planned(next(places), prompt or "x", extra={text: text}) for prompt, text in rows] for rows in texts]
        store = Objects()
        write(store, tasks)
        assert [rows_of(store, record) for record in records(store)] == tasks

    @pytest.mark.usefixtures("small_parts")
    def test_offsets_count_bytes_from_the_start_of_each_part_without_a_gap(self) -> None:
        store = Objects()
        totals = write(store, tasks_of(2, 2, 2, 3, 5, 1))
        places = [(record.part, record.offset, record.length) for record in records(store)]
        ends: dict[int, int] = {}
        for part, offset, length in places:
            assert offset == ends.get(part, 0)
            ends[part] = offset + length
        assert {part: len(store.get(keys.plan_part(JOB, part))) for part in range(totals.parts)} == ends


class TestParts:
    @pytest.mark.parametrize(
        ("sizes", "parts"),
        [([5], [0]), ([3, 2], [0, 0]), ([3, 3], [0, 1]), ([2, 2, 2, 5, 1], [0, 0, 1, 2, 3]), ([12, 1], [0, 1])],
    )
    @pytest.mark.usefixtures("small_parts")
    def test_a_part_holds_as_many_images_as_one_folder_may_and_whole_tasks(
        self, sizes: list[int], parts: list[int]
    ) -> None:
        store = Objects()
        totals = write(store, tasks_of(*sizes))
        assert [record.part for record in records(store)] == parts
        assert totals.parts == parts[-1] + 1

    def test_a_row_counts_with_all_its_images(self) -> None:
        tasks = [[planned(number, num_images=100)] for number in range(12)]
        store = Objects()
        assert write(store, tasks).parts == 2
        assert [record.part for record in records(store)] == [0] * (PART_IMAGES // 100) + [1, 1]

    def test_a_task_of_more_bytes_than_a_worker_should_hold_goes_as_several(self) -> None:
        store = Objects()
        rows = [planned(index, "x" * (TASK_BYTES // 3)) for index in range(7)]
        totals = write(store, [rows])
        assert [record.rows for record in records(store)] == [2, 2, 2, 1]
        assert totals.tasks == 4
        assert [row for record in records(store) for row in rows_of(store, record)] == rows

    def test_an_empty_plan_has_no_part(self) -> None:
        store = Objects()
        totals = write(store, [])
        assert (totals.parts, totals.tasks, totals.rows) == (0, 0, 0)
        assert records(store) == []


class TestTotals:
    def test_they_are_what_was_written(self) -> None:
        store = Objects()
        tasks = [[planned(0), planned(1, num_images=3)], [planned(2, width=32), planned(3, width=32)], [planned(4)]]
        totals = write(store, tasks)
        assert (totals.rows, totals.images, totals.tasks, totals.parts, totals.batches) == (5, 7, 3, 1, 3)
        assert totals.units == pytest.approx(sum(row.units() for rows in tasks for row in rows), abs=1e-6)
        assert sum(record.rows for record in records(store)) == totals.rows
        assert sum(record.images for record in records(store)) == totals.images

    def test_validate_counts_the_same(self) -> None:
        counter = PlanCounter()
        for rows in tasks_of(3, 4, 5):
            counter.add(rows)
        assert counter.totals(parts=1) == write(Objects(), tasks_of(3, 4, 5))


class TestAgain:
    @pytest.mark.usefixtures("small_parts")
    def test_planning_twice_gives_the_same_bytes(self) -> None:
        one, two = Objects(), Objects()
        write(one, tasks_of(3, 3, 3))
        write(two, tasks_of(3, 3, 3))
        assert one.objects == two.objects
        assert len(one.objects) == 4

    @pytest.mark.usefixtures("small_parts")
    def test_a_resumed_plan_sends_only_what_is_missing_or_different(self) -> None:
        store = Objects()
        write(store, tasks_of(3, 3, 3))
        del store.objects[keys.plan_part(JOB, 2)]
        store.objects[keys.plan_part(JOB, 0)] += b"cut"
        complete, store.sent = dict(store.objects), []
        write(store, tasks_of(3, 3, 3), resume=True)
        assert sorted(store.sent) == [keys.plan_part(JOB, 0), keys.plan_part(JOB, 2), keys.plan_tasks(JOB)]
        assert store.objects.keys() - complete.keys() == {keys.plan_part(JOB, 2)}

    @pytest.mark.usefixtures("small_parts")
    def test_a_retry_goes_on_numbering_and_touches_nothing_existing(self) -> None:
        store = Objects()
        totals = write(store, tasks_of(3, 3))
        before = dict(store.objects)
        write(store, tasks_of(4, 4), round_id=ROUND, first_task=totals.tasks, first_part=totals.parts)
        assert {key: store.objects[key] for key in before} == before
        found = records(store, ROUND)
        assert [(record.task, record.part, record.offset) for record in found] == [(2, 2, 0), (3, 3, 0)]
        assert [rows_of(store, record) for record in found] == tasks_of(4, 4)


class TestTrouble:
    @pytest.mark.usefixtures("small_parts")
    def test_a_part_that_cannot_be_sent_ends_the_plan_before_its_table_is_written(self) -> None:
        class Full(Objects):
            def put(self, key: str, data: bytes, content_type: str = "", metadata: Any = None) -> None:
                if key.endswith("part-00001.jsonl"):
                    raise StoreUnavailable("full")
                super().put(key, data)

        store = Full()
        with pytest.raises(StoreUnavailable):
            write(store, tasks_of(5, 5, 5))
        assert keys.plan_tasks(JOB) not in store.objects

    def test_memory_holds_a_few_parts_however_slow_the_store_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("orchestrator.planner.write.PART_IMAGES", 1)
        most = 0

        def tasks() -> Iterator[list[PlannedRow]]:
            for index in range(100):
                yield [planned(index)]

        with PlanWriter(Objects(), JOB) as writer:  # type: ignore[arg-type]
            for rows in tasks():
                writer.add(rows)
                most = max(most, len(writer._uploads))
            writer.finish()
        assert most <= 9


def test_the_plan_of_a_real_store_is_the_same(store: ObjectStore) -> None:
    memory = Objects()
    write(memory, tasks_of(2, 3))
    write(store, tasks_of(2, 3))
    assert {found.key: store.get(found.key) for found in store.list("")} == memory.objects

"""Control events fold to one state, in the order of their ULIDs, whoever reads them."""

import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.job import ControlEvent, ControlState, ControlVerb, JobDocument, JobSpec, RoundDocument, Totals, fold

SPEC = {"manifest_name": "m", "manifest_sha256": "0", "manifest_format": "text", "task_units": 1, "task_rows": 1}
TOTALS = Totals(rows=1, images=1, units=1, tasks=1, parts=1)


def events(*verbs: ControlVerb, **changes: Any) -> list[tuple[str, ControlEvent]]:
    return [(f"{place:026d}", ControlEvent(verb=verb, **changes)) for place, verb in enumerate(verbs, start=1)]


class TestFold:
    def test_without_events_a_job_runs_with_its_own_priority(self) -> None:
        assert fold(7, []) == ControlState(state="running", priority=7, last="")

    @pytest.mark.parametrize(
        ("verbs", "state"),
        [
            (["pause"], "paused"),
            (["pause", "resume"], "running"),
            (["resume", "pause"], "paused"),
            (["pause", "pause", "resume"], "running"),
            (["cancel"], "cancelled"),
            (["pause", "cancel"], "cancelled"),
            (["cancel", "resume"], "cancelled"),
            (["cancel", "pause", "resume"], "cancelled"),
        ],
    )
    def test_the_last_event_counts_and_a_cancel_is_final(self, verbs: list[ControlVerb], state: str) -> None:
        assert fold(1, events(*verbs)).state == state

    def test_events_count_by_their_ulid_in_whatever_order_they_are_read(self) -> None:
        three = events("pause", "resume", "pause")
        assert {fold(1, list(order)).state for order in itertools.permutations(three)} == {"paused"}

    def test_a_new_priority_changes_nothing_else(self) -> None:
        told = [
            *events("pause", reason="enough", automatic=True),
            ("2" * 26, ControlEvent(verb="priority", priority=5)),
        ]
        assert fold(100, told) == ControlState(
            state="paused", priority=5, reason="enough", automatic=True, last="2" * 26
        )

    def test_resuming_forgets_why_it_was_paused(self) -> None:
        told = [*events("pause", reason="enough", automatic=True), ("2" * 26, ControlEvent(verb="resume"))]
        assert fold(1, told) == ControlState(priority=1, last="2" * 26)

    def test_the_last_event_folded_is_named(self) -> None:
        assert fold(1, events("pause", "cancel", "resume")).last == f"{2:026d}"


class TestDocuments:
    def test_a_document_survives_its_json(self) -> None:
        spec = JobSpec.model_validate(SPEC | {"defaults": {"steps": 4, "prompt": "猫 🐈"}, "extra_columns": ["a"]})
        document = JobDocument(job="a", spec=spec, totals=TOTALS, submitted_at="now")
        assert JobDocument.model_validate_json(document.model_dump_json()) == document

    def test_an_unknown_field_is_an_error(self) -> None:
        with pytest.raises(ValidationError):
            JobSpec.model_validate(SPEC | {"task_row": 3})

    def test_a_document_is_immutable(self) -> None:
        document = JobDocument(job="a", spec=JobSpec.model_validate(SPEC), totals=TOTALS, submitted_at="now")
        with pytest.raises(ValidationError):
            document.priority = 5  # type: ignore[misc]

    @pytest.mark.parametrize("job", ["../a", "A", "", "a" * 65])
    def test_a_document_has_a_sound_job_id(self, job: str) -> None:
        with pytest.raises(ValidationError):
            JobDocument(job=job, spec=JobSpec.model_validate(SPEC), totals=TOTALS, submitted_at="now")

    @pytest.mark.parametrize("priority", [0, -1, 10_001])
    def test_a_weight_is_from_1_to_10000(self, priority: int) -> None:
        with pytest.raises(ValidationError):
            ControlEvent(verb="priority", priority=priority)

    @pytest.mark.parametrize("round_id", ["", "01J0", "../../../../../../etc/passwd", "01J0000000000000000000000I"])
    def test_a_round_is_named_by_a_ulid(self, round_id: str) -> None:
        with pytest.raises(ValidationError):
            RoundDocument(round_id=round_id, first_task=0, first_part=0, totals=TOTALS, created_at="now")

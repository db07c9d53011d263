"""Object keys: one formatter and one parser for each, inverse to each other."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import keys

NUMBERS = st.integers(0, 10**9)
JOBS = st.from_regex(keys.JOB_ID, fullmatch=True)
TOKENS = st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=16, max_size=16)
STAGES = st.none() | st.integers(0, 99)
ULID = "01J00000000000000000000000"


class TestJobId:
    @pytest.mark.parametrize("job", ["a", "7", "parti-2026", "a.b_c-d", "x" * 64, "0a"])
    def test_a_job_can_be_named(self, job: str) -> None:
        assert keys.is_job_id(job)

    @pytest.mark.parametrize(
        "job",
        ["", "-a", "a-", ".a", "a.", "a..b", "A", "a b", "a/b", "../a", "é", "x" * 65, "a\n", "a\0b", "_", "a%2fb"],
    )
    def test_what_could_leave_its_folder_or_hide_cannot(self, job: str) -> None:
        assert not keys.is_job_id(job)

    def test_the_folder_of_a_job_names_it(self) -> None:
        assert keys.parse_job_folder(keys.job_folder("parti")) == "parti"

    @pytest.mark.parametrize("key", ["parti/", "jobs/", "jobs/Parti/", "jobs/a/b/", "other/parti/", "jobs//"])
    def test_another_folder_is_not_a_jobs(self, key: str) -> None:
        with pytest.raises(ValueError, match="not a job"):
            keys.parse_job_folder(key)


class TestInverse:
    @given(JOBS, NUMBERS, NUMBERS, TOKENS, NUMBERS)
    def test_pieces(self, job: str, part: int, task: int, token: str, number: int) -> None:
        assert keys.parse_piece(keys.piece(job, part, task, token, number)) == (job, part, task, token, number)

    @given(
        JOBS,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        TOKENS,
        st.sampled_from(sorted(keys.EXTENSIONS)),
        st.none() | st.integers(0, 99),
    )
    def test_images(
        self, job: str, part: int, row: int, image: int, token: str, file_format: str, stage: int | None
    ) -> None:
        key = keys.image(job, part, row, image, token, file_format, stage=stage)
        assert keys.parse_image(key) == (job, part, row, image, token, keys.EXTENSIONS[file_format], stage)

    @given(JOBS, NUMBERS, st.sampled_from(["want", "take"]))
    def test_claims(self, job: str, number: int, step: Literal["want", "take"]) -> None:
        mark = keys.ClaimKey(job, number, ULID, step)
        assert keys.parse_claim(keys.claim(mark)) == mark
        assert mark.ballot < (number, ULID[:-1] + "1") < (number + 1, ULID)

    @pytest.mark.parametrize("name", [f"{ULID}.json", f"1-{ULID}-lost.json", f"x-{ULID}-want.json", "want.json"])
    def test_what_is_no_mark_of_a_ballot(self, name: str) -> None:
        assert keys.parse_claim(f"{keys.claims_folder('a')}{name}") is None

    @given(JOBS, st.sampled_from(["pause", "resume", "cancel", "priority"]))
    def test_control_events(self, job: str, verb: str) -> None:
        assert keys.parse_control(keys.control(job, ULID, verb)) == (job, ULID, verb)

    @given(JOBS)
    def test_rounds(self, job: str) -> None:
        assert keys.parse_round_folder(keys.round_document(job, ULID)) == ULID
        assert keys.parse_round_folder(keys.plan_part(job, 0, ULID)) == ULID


@pytest.mark.parametrize(
    "key",
    [
        "jobs/a/results/part-00000/000000/token-000.jsonl.tmp",
        "jobs/a/results/part-00000/token-000.jsonl",
        "jobs/a/b/results/part-00000/000000/token-000.jsonl",
        "other/jobs/a/results/part-00000/000000/token-000.jsonl",
        "jobs/a/results/part-x/000000/token-000.jsonl",
    ],
)
def test_what_is_no_piece_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a key of this kind"):
        keys.parse_piece(key)


def test_only_the_images_of_earlier_stages_carry_their_stage() -> None:
    token = "0" * 16
    assert keys.image("a", 0, 42, 0, token, "png") == f"jobs/a/images/part-00000/000042-0.{token}.png"
    assert keys.image("a", 0, 42, 0, token, "png", stage=0) == f"jobs/a/images/part-00000/000042-0-s0.{token}.png"


def test_each_key_lies_below_the_folder_that_lists_it() -> None:
    token = "0" * 16
    assert keys.piece("a", 1, 2, token, 3).startswith(keys.task_results_folder("a", 1, 2))
    assert keys.task_results_folder("a", 1, 2).startswith(keys.part_results_folder("a", 1))
    assert keys.part_results_folder("a", 1).startswith(keys.results_folder("a"))
    assert keys.image("a", 1, 2, 0, token, "png").startswith("jobs/a/images/")
    assert keys.control("a", ULID, "pause").startswith(keys.control_folder("a"))
    assert keys.round_document("a", ULID).startswith(keys.rounds_folder("a"))
    everything = [keys.job_document("a"), keys.submission("a"), keys.source("a", "m"), keys.plan_part("a", 0)]
    everything += [keys.plan_tasks("a"), keys.input_image("a", "f" * 64, "png"), keys.metadata_table("a")]
    everything += [keys.summary("a"), keys.gallery("a", "index.html"), keys.plan_tasks("a", ULID)]
    assert all(key.startswith(keys.job_folder("a")) for key in everything)
    assert len(set(everything)) == len(everything)


def test_a_jobs_folder_is_not_the_prefix_of_another_jobs() -> None:
    """`jobs/a/` and `jobs/ab/`: a listing of one never finds the other."""
    assert not keys.part_results_folder("ab", 1).startswith(keys.job_folder("a"))
    assert not keys.task_results_folder("a", 1, 10).startswith(keys.task_results_folder("a", 1, 1))


def test_the_layout_is_the_documented_one() -> None:
    token = "019b2c3d4e5fabcd"
    assert keys.image("parti", 0, 42, 0, token, "jpeg") == f"jobs/parti/images/part-00000/000042-0.{token}.jpg"
    assert keys.piece("parti", 0, 7, token, 2) == f"jobs/parti/results/part-00000/000007/{token}-002.jsonl"
    assert keys.plan_part("parti", 3, ULID) == f"jobs/parti/rounds/{ULID}/plan/part-00003.jsonl"
    assert keys.plan_part("parti", 3) == "jobs/parti/plan/part-00003.jsonl"
    assert keys.control("parti", ULID, "pause") == f"jobs/parti/control/{ULID}-pause.json"

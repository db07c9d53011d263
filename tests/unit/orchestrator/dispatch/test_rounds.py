"""A retry as the dispatcher sees it: whenever it comes, its rows are rendered and counted once."""

from orchestrator.retry import retry
from orchestrator.status import job_status
from services import jobs
from tests.small_mill import JOB, Later, SmallMill, with_failures, write_job


def counts(mill: SmallMill) -> tuple[int, int, int]:
    progress = mill.progress()
    return progress.done, progress.failed, progress.counted


class TestRetry:
    def test_the_failed_rows_are_rendered_again_and_the_counts_are_exact(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 3))
        dispatcher = small_mill.dispatcher()
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=3, failed=2)
        found = retry(small_mill.store, small_mill.ledger, JOB)
        assert found is not None
        assert found.totals.rows == 2
        small_mill.tick(dispatcher, 2)
        assert counts(small_mill) == (3, 0, 2)
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=3, failed=2)
        summary = jobs.read_summary(small_mill.store, JOB)
        assert summary is not None
        assert summary.rounds == (found.round_id,)

    def test_one_that_comes_while_the_job_is_finalized_is_not_passed_over(self, small_mill: SmallMill) -> None:
        """Its tasks were not done when finalize began, so finalize must not say that they were."""
        write_job(small_mill.store, with_failures(2, 1))
        dispatcher, background = small_mill.dispatcher(), Later()
        small_mill.tick(dispatcher, 2)
        while small_mill.progress().counted < 2:
            small_mill.work()
            small_mill.tick(dispatcher, background=background)
        assert len(background.waiting) == 2, "a list of the store's jobs, and finalize, are about to begin"
        found = retry(small_mill.store, small_mill.ledger, JOB)
        assert found is not None
        small_mill.tick(dispatcher, background=background)
        background.work()
        summary = jobs.read_summary(small_mill.store, JOB)
        assert summary is not None
        assert summary.rounds == ()
        assert job_status(small_mill.store, small_mill.ledger, JOB).state == "waiting"
        small_mill.tick(dispatcher, 3)
        assert small_mill.members() == ["2"], "its announcement was not forgotten meanwhile"
        small_mill.work()
        small_mill.tick(dispatcher, 3)
        small_mill.assert_exact(done=1, failed=2)
        assert jobs.read_summary(small_mill.store, JOB).rounds == (found.round_id,)  # type: ignore[union-attr]

    def test_one_whose_announcement_was_lost_is_found_in_the_end(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2))
        dispatcher = small_mill.dispatcher()
        small_mill.run(dispatcher)
        retry(small_mill.store, small_mill.ledger, JOB)
        small_mill.ledger.announced()
        for _ in range(65):  # ten minutes
            small_mill.tick(dispatcher)
            if small_mill.members():
                break
        assert small_mill.members() == ["1"]

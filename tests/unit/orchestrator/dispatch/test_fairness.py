"""Two jobs at once share the queue by their weights."""

from collections import Counter

from tests.small_mill import SmallMill, tasks_of, write_job


class TestFairness:
    def test_two_jobs_take_turns_by_their_weights(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(*[1] * 30), job="a", priority=100)
        write_job(small_mill.store, tasks_of(*[1] * 30), job="b", priority=200)
        small_mill.workers(12)
        small_mill.tick(small_mill.dispatcher(), 2)
        assert Counter(message.job for message in small_mill.messages()) == {"a": 4, "b": 8}

    def test_a_small_job_behind_a_large_one_comes_at_once(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(*[1] * 40), job="large")
        dispatcher = small_mill.dispatcher()
        for _ in range(10):
            small_mill.tick(dispatcher)
            small_mill.work()
        write_job(small_mill.store, tasks_of(1, 1), job="small")
        small_mill.ledger.announce("small")
        order = []
        for _ in range(8):
            small_mill.tick(dispatcher)
            order += [message.job for message in small_mill.messages()[:1]]
            small_mill.work()
        assert order.index("small") <= 2
        assert order.count("small") == 2

    def test_a_job_that_has_nothing_to_publish_leaves_the_queue_to_the_other(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1), job="a")
        write_job(small_mill.store, tasks_of(*[1] * 9), job="b")
        small_mill.workers(5)
        small_mill.tick(small_mill.dispatcher(), 2)
        assert Counter(message.job for message in small_mill.messages()) == {"a": 1, "b": 4}

    def test_no_more_wait_than_there_are_workers(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(*[1] * 9))
        small_mill.workers(3)
        small_mill.tick(small_mill.dispatcher(), 6)
        assert len(small_mill.messages()) == 3

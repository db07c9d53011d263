"""The guard with plain shell processes: what is started ends, in order, whatever ends its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from schemas.errors import LocalDiskError, ServiceError, SettingsError
from services.embedded.processes import Exit, GuardedProcesses, ProcessSpec

ROOT = Path(__file__).parents[4]
SLEEP = ["sleep", "300"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]


@pytest.fixture
def processes() -> Iterator[GuardedProcesses]:
    guarded = GuardedProcesses()
    yield guarded
    guarded.close(seconds=0)


def spec(tmp_path: Path, name: str, argv: list[str], **more: object) -> ProcessSpec:
    return ProcessSpec(name, argv, log=tmp_path / f"{name}.log", **more)  # type: ignore[arg-type]


def until(happened: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_started_process_logs_and_its_exit_is_reported_once(processes: GuardedProcesses, tmp_path: Path) -> None:
    pid = processes.start(spec(tmp_path, "job", ["sh", "-c", "echo out; echo err >&2; exit 3"]))

    assert processes.poll_exits(timeout=10) == [Exit("job", pid, 3)]
    assert processes.poll_exits() == []
    assert processes.pid("job") is None
    assert (tmp_path / "job.log").read_text() == "out\nerr\n"


def test_a_name_can_be_used_again_only_after_its_end(processes: GuardedProcesses, tmp_path: Path) -> None:
    first = processes.start(spec(tmp_path, "job", SLEEP))
    with pytest.raises(ServiceError, match="job cannot be started"):
        processes.start(spec(tmp_path, "job", SLEEP))
    assert processes.pid("job") == first

    assert processes.stop("job") == -signal.SIGTERM
    assert processes.start(spec(tmp_path, "job", SLEEP)) != first


def test_a_program_that_is_not_there_is_named(processes: GuardedProcesses, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"job cannot be started.*no-such-program"):
        processes.start(spec(tmp_path, "job", ["no-such-program"]))


def test_the_environment_is_the_given_one_and_on_no_command_line(processes: GuardedProcesses, tmp_path: Path) -> None:
    show = [sys.executable, "-c", "import os, time; print(sorted(os.environ), flush=True); time.sleep(300)"]
    pid = processes.start(spec(tmp_path, "job", show, env={"PASSWORD": "hunter2"}))

    log = tmp_path / "job.log"
    until(lambda: "\n" in log.read_text())
    assert "PASSWORD" in log.read_text()
    assert "HOME" not in log.read_text()
    assert not any("hunter2" in part for part in psutil.Process(pid).cmdline() + psutil.Process(guard(pid)).cmdline())


def guard(pid: int) -> int:
    return int(psutil.Process(pid).ppid())


def test_what_ignores_term_is_killed_after_its_grace(processes: GuardedProcesses, tmp_path: Path) -> None:
    processes.start(spec(tmp_path, "job", STUBBORN))
    until((tmp_path / "job.log").read_text)

    before = time.monotonic()
    assert processes.stop("job", 0.4) == -signal.SIGKILL
    assert 0.3 < time.monotonic() - before < 5


def test_what_a_process_leaves_behind_ends_with_it(processes: GuardedProcesses, tmp_path: Path) -> None:
    processes.start(spec(tmp_path, "job", ["sh", "-c", "sleep 300 & echo $!; wait"]))
    log = tmp_path / "job.log"
    until(lambda: "\n" in log.read_text())
    left_behind = int(log.read_text())

    pid = processes.pid("job")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    until(lambda: gone(left_behind))
    assert processes.poll_exits(timeout=10) == [Exit("job", pid, -signal.SIGKILL)]


def test_the_last_started_ends_first_and_a_group_together(tmp_path: Path) -> None:
    order = tmp_path / "order"

    def slow_to_end(name: str) -> list[str]:
        at_term = f"echo {name} told >>{order}; sleep 0.3; echo {name} ended >>{order}; exit"
        return ["sh", "-c", f"trap '{at_term}' TERM; echo up; while :; do sleep 0.02; done"]

    with GuardedProcesses() as processes:
        for name, group in (("service", ""), ("a", "workers"), ("b", "workers")):
            processes.start(spec(tmp_path, name, slow_to_end(name), group=group))
            until((tmp_path / f"{name}.log").read_text)

    said = order.read_text().split("\n")[:-1]
    assert {*said[:2]} == {"a told", "b told"}
    assert {*said[2:4]} == {"a ended", "b ended"}
    assert said[4:] == ["service told", "service ended"]


def test_close_with_no_patience_kills_at_once(tmp_path: Path) -> None:
    processes = GuardedProcesses()
    pids = [processes.start(spec(tmp_path, name, STUBBORN, stop_seconds=60)) for name in ("a", "b")]

    before = time.monotonic()
    processes.close(seconds=0)
    processes.close()

    assert time.monotonic() - before < 5
    assert all(gone(pid) for pid in pids)


def test_a_lock_is_held_until_the_last_process_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with GuardedProcesses() as first, GuardedProcesses() as second:
        first.lock(lock, "the folder")
        with pytest.raises(SettingsError, match=f"the folder is in use by process {os.getpid()}"):
            second.lock(lock, "the folder")
        first.close()
        second.lock(lock, "the folder")


def test_a_lock_that_cannot_be_written_says_so(processes: GuardedProcesses, tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError, match="cannot be locked"):
        processes.lock(tmp_path / "no" / "folder" / "lock", "the folder")


PARENT = """
import os, sys, time
from pathlib import Path
from services.embedded.processes import GuardedProcesses, ProcessSpec

folder = Path(sys.argv[1])
processes = GuardedProcesses()
processes.lock(folder / "lock", "the folder")
print(processes.start(ProcessSpec("job", {argv}, log=folder / "job.log", stop_seconds=1)), flush=True)
{then}
"""


def started_parent(tmp_path: Path, argv: list[str], then: str = "time.sleep(300)") -> tuple[subprocess.Popen[str], int]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(argv=argv, then=then), str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def killed(parent: subprocess.Popen[str]) -> None:
    parent.kill()
    parent.wait()
    if parent.stdout is not None:
        parent.stdout.close()


def test_a_killed_parent_takes_its_processes_and_then_the_lock_with_it(
    processes: GuardedProcesses, tmp_path: Path
) -> None:
    parent, pid = started_parent(tmp_path, STUBBORN)
    until((tmp_path / "job.log").read_text)

    killed(parent)
    assert not gone(pid)  # it ignores TERM for a second, and its folder is not free yet
    processes.lock(tmp_path / "lock", "the folder")
    assert gone(pid)


def test_a_forked_child_that_holds_the_pipe_open_does_not_hide_the_parents_death(tmp_path: Path) -> None:
    forks = "child = os.fork()\nif not child: time.sleep(300)\nprint(child, flush=True)\ntime.sleep(300)"
    parent, pid = started_parent(tmp_path, SLEEP, then=forks)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    killed(parent)
    until(lambda: gone(pid))
    os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_a_killed_guard_takes_its_processes_with_it(tmp_path: Path) -> None:
    with GuardedProcesses() as processes:
        pid = processes.start(spec(tmp_path, "job", SLEEP))
        os.kill(guard(pid), signal.SIGKILL)

        until(lambda: gone(pid))
        with pytest.raises(ServiceError, match="guard"):
            processes.poll_exits(timeout=10)


def test_the_guard_does_not_import_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with GuardedProcesses() as processes:
        assert processes.start(spec(tmp_path, "job", SLEEP))


def test_a_process_runs_in_the_folder_that_was_named(processes: GuardedProcesses, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    processes.start(spec(tmp_path, "job", ["pwd"], cwd=tmp_path / "there"))
    processes.poll_exits(timeout=10)
    assert (tmp_path / "job.log").read_text() == f"{tmp_path / 'there'}\n"

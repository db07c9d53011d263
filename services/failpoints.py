"""Places at which a test makes this process die, stand still or be slow.

`PROMPTMILL_FAILPOINTS="submit.claimed=kill, plan.part=kill@3"` with `PROMPTMILL_FAILPOINTS_FOLDER` naming a folder:
each point fires once in that folder, whatever process comes to it first, and leaves a file of its name there. That is
how a test knows that its fault happened, and why a process that is started again gets past the point.

| action     | what happens at the point                                          |
|------------|--------------------------------------------------------------------|
| `kill`     | kill -9 of this process                                            |
| `group`    | kill -9 of this process and its group: a worker process whole      |
| `stop`     | SIGSTOP of this process                                            |
| `sleep:S`  | it takes S seconds                                                 |

`@N` counts: at the N-th time that one process comes by. Without the variable a point costs one look into the
environment.
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path

VARIABLE = "PROMPTMILL_FAILPOINTS"
FOLDER = "PROMPTMILL_FAILPOINTS_FOLDER"
_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do here what the environment asks for; nothing, for everybody but a test.

    Raises:
        ValueError: an action that does not exist.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        for entry in asked.split(","):
            point, _, action = entry.strip().partition("=")
            if point == name:
                _reach(name, action)


def _reach(name: str, action: str) -> None:
    action, _, number = action.partition("@")
    _passed[name] += 1
    if _passed[name] < int(number or 1):
        return
    try:
        (Path(os.environ[FOLDER]) / name).touch(exist_ok=False)
    except FileExistsError:
        return  # fired already
    what, _, seconds = action.partition(":")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "group":
        os.killpg(os.getpgid(0), signal.SIGKILL)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "sleep":
        time.sleep(float(seconds))
    else:
        raise ValueError(f"{VARIABLE}: {name}: no action {what!r}")

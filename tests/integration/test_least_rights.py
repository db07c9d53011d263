"""What every role asks the object store for, against the policies in docs/security.md: no more, and nothing unused.

Each role has a proxy of its own, which writes down every request.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from PIL import Image

from services.embedded.processes import GuardedProcesses
from tests.faults.s3_proxy import S3Proxy, StoreFault
from tests.integration.mill import Mill

pytestmark = pytest.mark.integration

DOCUMENT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
ROLES = ("client", "orchestrator", "worker", "gc")
# Granted for what a test cannot bring about at will: an upload in parts that failed.
SELDOM = {"s3:AbortMultipartUpload"}
QUICK = {
    "PROMPTMILL_WORKER__LEASE_SECONDS": "1.5",
    "PROMPTMILL_DISPATCH__PUBLISH_GRACE_SECONDS": "2",
    "PROMPTMILL_DISPATCH__LOSSES_BEFORE_SPLIT": "1",
    "PROMPTMILL_DISPATCH__LOSSES_BEFORE_POISON": "1",
}
Mills = tuple[dict[str, Mill], "dict[str, Recorder]"]
Asked = tuple[str, str]
"""An action of S3, and the key below the prefix, or the prefix that was listed."""


class Recorder(S3Proxy):
    """Notes every request that passes."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.seen: set[tuple[str, str]] = set()

    def pick(self, method: str, path: str) -> StoreFault | None:
        self.seen.add((method, path))
        return super().pick(method, path)

    def asked(self, prefix: str) -> set[Asked]:
        return {asked_for(method, path, prefix) for method, path in self.seen}


def asked_for(method: str, path: str, prefix: str) -> Asked:
    """What a request is in the words of IAM."""
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    _, _, key = unquote(parts.path).removeprefix("/").partition("/")
    if not key:
        listed = query.get("prefix", [""])[0].removeprefix(f"{prefix}/")
        if "uploads" in query:
            return "s3:ListBucketMultipartUploads", listed
        return ("s3:DeleteObject", "jobs/") if "delete" in query else ("s3:ListBucket", listed)
    if method == "DELETE":
        action = "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"
    else:
        action = "s3:GetObject" if method in ("GET", "HEAD") else "s3:PutObject"
    return action, key.removeprefix(f"{prefix}/")


def granted(role: str) -> set[Asked]:
    """Action and pattern of everything that a role's policy allows, below the prefix."""
    found = re.search(rf"^### {role}\n.*?```json\n(.*?)```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found is not None, role
    grants = set()
    for statement in json.loads(found[1])["Statement"]:
        assert statement["Effect"] == "Allow"
        condition = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        for action in statement["Action"]:
            for pattern in condition or statement["Resource"]:
                below = pattern.removeprefix("arn:aws:s3:::BUCKET").lstrip("/").removeprefix("PREFIX/")
                grants.add((action, below or "*"))
    return grants


def covers(grant: Asked, asked: Asked) -> bool:
    return grant[0] == asked[0] and fnmatchcase(asked[1], grant[1])


@pytest.fixture
def mills(mill: Mill, guarded: GuardedProcesses, tmp_path: Path) -> Iterator[Mills]:
    port = urlsplit(mill.settings.s3.endpoint_url or "").port
    assert port is not None
    with ExitStack() as stack:
        recorders = {role: stack.enter_context(closing(Recorder(port))) for role in ROLES}
        mills = {}
        for role, recorder in recorders.items():
            s3 = mill.settings.s3.model_copy(update={"endpoint_url": f"http://127.0.0.1:{recorder.port}"})
            mills[role] = Mill(mill.settings.model_copy(update={"s3": s3}), guarded, tmp_path)
            stack.callback(mills[role].end_all)
        yield mills, recorders


def test_no_role_does_more_than_its_policy_and_no_policy_allows_more_than_its_role_does(
    mills: Mills, mill: Mill, tmp_path: Path
) -> None:
    by_role, recorders = mills
    live(by_role, mill, tmp_path)
    prefix = by_role["client"].settings.s3.prefix
    for role in ROLES:
        asked, grants = recorders[role].asked(prefix), granted(role)
        more = sorted(one for one in asked if not any(covers(grant, one) for grant in grants))
        assert more == [], f"{role} asked for what its policy does not allow"
        needed = {grant for grant in grants if grant[0] not in SELDOM}
        unused = sorted(grant for grant in needed if not any(covers(grant, one) for one in asked))
        assert unused == [], f"{role}'s policy allows what it never asked for"


@pytest.mark.parametrize("point", ["claim.marked", "claim.taken"])
def test_a_killed_submit_leaves_the_id_usable_without_a_right_to_delete(
    mills: Mills, tmp_path: Path, point: str
) -> None:
    job = point.replace(".", "-")  # tests share a bucket
    client, recorder = mills[0]["client"], mills[1]["client"]
    one, two = (client.manifest([{"prompt": name, "model": "tiny"}], f"{name}.jsonl") for name in ("one", "two"))
    failpoint = {"PROMPTMILL_FAILPOINTS": f"{point}=kill", "PROMPTMILL_FAILPOINTS_FOLDER": str(tmp_path)}
    refused = StoreFault("status", word="delete", status=403, code="AccessDenied")
    with recorder.during(refused):
        assert client.command("submit", str(one), "--job-id", job, check=False, **failpoint).returncode == -9
        if point == "claim.marked":
            client.command("submit", str(two), "--job-id", job)
            one, two = two, one
        else:
            client.command("submit", str(one), "--job-id", job)
        client.command("submit", str(one), "--job-id", job)
        other = client.command("submit", str(two), "--job-id", job, check=False)
    assert (other.returncode, "is taken" in other.stderr) == (3, True), other.stderr
    assert refused.fired == 0, "nothing was to be deleted"


def live(mills: dict[str, Mill], plain: Mill, tmp_path: Path) -> None:
    """A day in the life of an installation: jobs that fail, that are steered, that kill their worker."""
    mill, client = mills["client"], mills["client"].client
    Image.new("RGB", (64, 64)).save(tmp_path / "in.png")
    mills["orchestrator"].orchestrator(**QUICK)
    mill.submit([{"id": "kills", "prompt": "its worker is lost each time"}], "lost")
    mill.until(lambda: lost_again(plain, "lost"), what="a row that fails as poison")
    rows = [{"id": "a", "prompt": "a"}, {"id": "b", "prompt": "!raise"}]
    mill.submit([*rows, {"id": "c", "pipeline": "img2img", "prompt": "c", "image": "in.png"}], "day")
    # A worker that was here before left a piece, which its successor reads.
    plain.client.store.put("jobs/day/results/part-00000/000000/0123456789abzzzz-000.jsonl", b"")
    # A step that takes a moment, so that a job which only fails is paused before it ends.
    mills["worker"].worker(**QUICK, PROMPTMILL_FLAT_STEP_SECONDS="0.02")
    client.pause("day")
    client.resume("day")
    mill.submit([{"prompt": f"!raise {number}"} for number in range(40)], "failing")
    mill.wait_for("day")
    mill.until(lambda: client.status("failing").automatic or client.status("failing").ended, what="a pause by itself")
    client.retry("day", error_classes=["render_error"])
    mill.until(lambda: client.status("day").ended, what="the retry's end")
    assert len(list(client.jobs())) == 3
    assert client.failures("day").rows == 1
    client.history("day")
    client.history("day", "a")
    client.fetch("day", tmp_path / "out")
    assert len(list(client.links("day", expires_seconds=300))) == 2
    plain.client.store.put("jobs/day/images/part-00000/000000-0.0123456789abzzzz.png", b"orphan")
    for garbage in mills["gc"].client.collect_garbage(grace_seconds=0, remove_abandoned=True):
        assert (garbage.job, garbage.objects) in (("day", 1), ("failing", 0), ("lost", 0))


def lost_again(mill: Mill, job: str) -> bool:
    """Take what is published as a worker that dies at once; whether the job has ended."""
    ledger = mill.client.ledger
    for flight in ledger.flights(job):
        if not flight.token:
            ledger.lease(job, flight.member, worker="dead", seconds=0.05)
    return mill.client.status(job).ended

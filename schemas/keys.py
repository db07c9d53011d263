"""Every object key of promptmill, formatted and parsed here and nowhere else. Keys are below the prefix.

Part folders hold about a thousand objects each: a listing of one flat folder rescans all of it on simple stores.
"""

import re
from typing import Any, Literal, NamedTuple

JOBS = "jobs/"
JOB_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]|[a-z0-9]")
_PIECE = re.compile(r"jobs/([^/]+)/results/part-(\d+)/(\d+)/([0-9a-z]+)-(\d+)\.jsonl")
_IMAGE = re.compile(r"jobs/([^/]+)/images/part-(\d+)/(\d+)-(\d+)(?:-s(\d+))?\.([0-9a-z]+)\.(png|jpg|webp)")
_CONTROL = re.compile(r"jobs/([^/]+)/control/([0-9A-Z]{26})-([a-z]+)\.json")
_INPUT = re.compile(r"jobs/[a-z0-9][a-z0-9._-]*/inputs/[^/]+")
_LOSSES = re.compile(r"jobs/([^/]+)/losses/([0-9A-Z]{26})\.jsonl")
_CLAIM = re.compile(r"jobs/([^/]+)/source/claims/(\d+)-([0-9A-Z]{26})-(want|take)\.json")
_ROUND = re.compile(r"jobs/([^/]+)/rounds/([0-9A-Z]{26})/")

EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}


class PieceKey(NamedTuple):
    """Tokens sort by the time at which their lease was given out."""

    job: str
    part: int
    task: int
    token: str
    number: int


class ImageKey(NamedTuple):
    """`stage` is None for the last stage of a row, the number of an earlier one of a chain."""

    job: str
    part: int
    row: int
    image: int
    token: str
    extension: str
    stage: int | None = None


class ClaimKey(NamedTuple):
    """A submit's ballot for a job id, by its number and ULID, and how far it went with it (`orchestrator/claim.py`)."""

    job: str
    number: int
    ulid: str
    step: Literal["want", "take"]

    @property
    def ballot(self) -> tuple[int, str]:
        """Ballots are higher by their number, then by their ULID."""
        return self.number, self.ulid


def is_job_id(text: str) -> bool:
    """Whether a text can name a job: 1 to 64 of a-z 0-9 . _ - and no mark at either end."""
    return JOB_ID.fullmatch(text) is not None and ".." not in text


def job_folder(job: str) -> str:
    return f"{JOBS}{job}/"


def parse_job_folder(key: str) -> str:
    """The inverse of `job_folder`.

    Raises:
        ValueError: not the folder of a job.
    """
    name = key.removeprefix(JOBS).removesuffix("/")
    if not is_job_id(name) or not key.startswith(JOBS):
        raise ValueError(f"not a job's folder: {key!r}")
    return name


def job_document(job: str) -> str:
    return f"jobs/{job}/job.json"


def submission(job: str) -> str:
    """The claim on a job id, written first: which manifest is being submitted under it."""
    return f"jobs/{job}/source/submission.json"


def claims_folder(job: str) -> str:
    return f"jobs/{job}/source/claims/"


def claim(key: ClaimKey) -> str:
    """The mark of one submit that wants the job id, or has taken it for a manifest."""
    return f"jobs/{key.job}/source/claims/{key.number:06d}-{key.ulid}-{key.step}.json"


def parse_claim(key: str) -> ClaimKey | None:
    """The inverse of `claim`; None: not a mark of a ballot (0.1.0 wrote others; they bind nobody)."""
    match = _CLAIM.fullmatch(key)
    if match is None:
        return None
    job, number, ulid, step = match.groups()
    return ClaimKey(job, int(number), ulid, "want" if step == "want" else "take")


def source(job: str, name: str) -> str:
    return f"jobs/{job}/source/manifest/{name}"


def control_folder(job: str) -> str:
    return f"jobs/{job}/control/"


def control(job: str, ulid: str, verb: str) -> str:
    return f"jobs/{job}/control/{ulid}-{verb}.json"


def parse_control(key: str) -> tuple[str, str, str]:
    """Job, ULID and verb of a control event's key."""
    job, ulid, verb = _parse(_CONTROL, key)
    return job, ulid, verb


def losses_folder(job: str) -> str:
    return f"jobs/{job}/losses/"


def losses(job: str, ulid: str) -> str:
    """What a dispatcher wrote down at one look: a line for each lease that it found expired."""
    return f"jobs/{job}/losses/{ulid}.jsonl"


def parse_losses(key: str) -> tuple[str, str]:
    """Job and ULID of an object with losses."""
    return _parse(_LOSSES, key)


def plan_part(job: str, part: int, round_id: str | None = None) -> str:
    return f"{_plan_root(job, round_id)}plan/part-{part:05d}.jsonl"


def plan_tasks(job: str, round_id: str | None = None) -> str:
    return f"{_plan_root(job, round_id)}plan/tasks.parquet"


def _plan_root(job: str, round_id: str | None) -> str:
    return f"jobs/{job}/" if round_id is None else f"jobs/{job}/rounds/{round_id}/"


def rounds_folder(job: str) -> str:
    return f"jobs/{job}/rounds/"


def round_document(job: str, round_id: str) -> str:
    return f"jobs/{job}/rounds/{round_id}/round.json"


def parse_round_folder(key: str) -> str:
    """The ULID of a round from the key of its folder or of anything in it."""
    match = _ROUND.match(key)
    if match is None:
        raise ValueError(f"not the folder of a round: {key!r}")
    return match[2]


def input_image(job: str, sha256: str, extension: str) -> str:
    return f"jobs/{job}/inputs/{sha256}.{extension}"


def is_input_image(key: str) -> bool:
    """Whether a key is that of an uploaded input of some job."""
    return _INPUT.fullmatch(key) is not None


def image(
    job: str, part: int, index: int, image_number: int, token: str, file_format: str, *, stage: int | None = None
) -> str:
    """The key of an image. `stage`: an earlier one of a chain; None: the last."""
    name = f"{index:06d}-{image_number}{stage_suffix(stage)}.{token}.{EXTENSIONS[file_format]}"
    return f"jobs/{job}/images/part-{part:05d}/{name}"


def images_folder(job: str) -> str:
    return f"jobs/{job}/images/"


def row_images(job: str, part: int, index: int) -> str:
    """What the keys of all images of a row in a part begin with."""
    return f"jobs/{job}/images/part-{part:05d}/{index:06d}-"


def parse_image(key: str) -> ImageKey:
    job, part, index, number, stage, token, extension = _parse(_IMAGE, key)
    at = None if stage is None else int(stage)
    return ImageKey(job, int(part), int(index), int(number), token, extension, at)


def stage_suffix(stage: int | None) -> str:
    """What tells the images of an earlier stage from those of the last: `-s0`."""
    return "" if stage is None else f"-s{stage}"


def results_folder(job: str) -> str:
    return f"jobs/{job}/results/"


def part_results_folder(job: str, part: int) -> str:
    return f"jobs/{job}/results/part-{part:05d}/"


def task_results_folder(job: str, part: int, task: int) -> str:
    return f"jobs/{job}/results/part-{part:05d}/{task:06d}/"


def piece(job: str, part: int, task: int, token: str, number: int) -> str:
    return f"jobs/{job}/results/part-{part:05d}/{task:06d}/{token}-{number:03d}.jsonl"


def parse_piece(key: str) -> PieceKey:
    job, part, task, token, number = _parse(_PIECE, key)
    return PieceKey(job, int(part), int(task), token, int(number))


def metadata_table(job: str) -> str:
    return f"jobs/{job}/metadata.parquet"


def summary(job: str) -> str:
    return f"jobs/{job}/summary.json"


def probe(name: str) -> str:
    """A small object that `promptmill doctor` writes and deletes again; outside every job."""
    return f"doctor/{name}"


def gallery(job: str, name: str) -> str:
    return f"jobs/{job}/gallery/{name}"


def _parse(pattern: re.Pattern[str], key: str) -> tuple[Any, ...]:
    match = pattern.fullmatch(key)
    if match is None:
        raise ValueError(f"not a key of this kind: {key!r}")
    return match.groups()

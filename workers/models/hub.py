"""Models on the Hugging Face hub: only safetensors and configuration come down, into the hub's own cache.

HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE count as for every other tool of theirs.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from schemas.errors import ModelUnavailable
from workers.models.folders import INDEX, ModelFolder, needs_weights, pick_weights, read_folder

_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_folder(
    repository: str,
    revision: str | None,
    variant: str | None,
    *,
    pull_hint: str,
    on_progress: Callable[[], None] | None = None,
) -> ModelFolder:
    """A repository as a folder of the hub's cache, downloaded where needed.

    A commit that is complete in the cache is taken without asking the hub; a branch is asked for, and the cache
    counts where the hub cannot be reached.

    Args:
        repository: owner/name.
        revision: commit, tag or branch; None is main.
        variant: file variant to prefer, e.g. fp16.
        pull_hint: the command that brings the model, for messages.
        on_progress: called as bytes arrive.

    Raises:
        ModelUnavailable: not there, not allowed, not reachable and not in the cache, or no safetensors.
    """
    if revision and _COMMIT.fullmatch(revision):
        cached = _cached(repository, revision, variant)
        if cached is not None and not cached.faults():
            return cached
    try:
        path = _download(repository, revision, variant, on_progress)
    except ModelUnavailable:
        raise
    except Exception as error:  # its HTTP client, and so the errors of a network that is away, change with versions
        refusal = _refusal(repository, revision, error)
        if refusal is not None:
            raise refusal from None
        return _cached_or_not_at_all(repository, revision, variant, pull_hint, error)
    return read_folder(path, revision=path.name, variant=variant)


def hub_file(
    repository: str,
    name: str,
    revision: str | None,
    *,
    pull_hint: str,
    on_progress: Callable[[], None] | None = None,
) -> tuple[Path, str]:
    """One file of a repository in the hub's cache, downloaded where needed, and its commit.

    Raises:
        ModelUnavailable: not there, not allowed, or not reachable and not in the cache.
    """
    cached = cached_hub_file(repository, name, revision)
    if cached is not None and revision and _COMMIT.fullmatch(revision):
        return cached
    try:
        path = hf_hub_download(repository, name, revision=revision, tqdm_class=_ticking(on_progress))
    except Exception as error:  # as above
        refusal = _refusal(repository, revision, error, name)
        if refusal is not None:
            raise refusal from None
        if cached is None:
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            message = f"{repository}: no answer from the hub and {name} is not in the cache ({reason})"
            raise ModelUnavailable(message, hint=pull_hint) from None
        return cached
    return _with_commit(Path(path), name)


def cached_hub_file(repository: str, name: str, revision: str | None) -> tuple[Path, str] | None:
    """One file as the cache has it, without a network, and its commit; None where it has not."""
    try:
        return _with_commit(Path(hf_hub_download(repository, name, revision=revision, local_files_only=True)), name)
    except (EntryNotFoundError, OSError, ValueError):
        return None


def _with_commit(path: Path, name: str) -> tuple[Path, str]:
    """The cache keeps files below `snapshots/COMMIT/`."""
    return path, path.parents[name.count("/")].name


def _refusal(repository: str, revision: str | None, error: Exception, wanted: str = "") -> ModelUnavailable | None:
    """What the hub said no to, or None where it did not answer at all."""
    if isinstance(error, GatedRepoError):
        hint = f"accept its licence at huggingface.co/{repository} and set HF_TOKEN"
        return ModelUnavailable(f"{repository} is gated on the hub", hint=hint)
    if isinstance(error, RevisionNotFoundError):
        return ModelUnavailable(f"{repository} has no revision {revision}", hint="see revision in models.toml")
    if isinstance(error, RepositoryNotFoundError):
        message = f"{repository} is not on the hub, or it is private"
        return ModelUnavailable(message, hint="HF_TOKEN opens private repositories")
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        if wanted:
            return ModelUnavailable(f"{repository} has no file {wanted}", hint="see file in models.toml")
        return ModelUnavailable(f"{repository} has no {INDEX}: not in diffusers' format")
    return None


def cached_hub_folder(repository: str, revision: str | None, variant: str | None) -> ModelFolder | None:
    """The repository as the cache has it, complete or not, without a network; None where it has nothing."""
    return _cached(repository, revision, variant)


def _cached(repository: str, revision: str | None, variant: str | None) -> ModelFolder | None:
    try:
        path = Path(hf_hub_download(repository, INDEX, revision=revision, local_files_only=True)).parent
    except (EntryNotFoundError, OSError, ValueError):
        return None
    return read_folder(path, revision=path.name, variant=variant)


def _cached_or_not_at_all(
    repository: str, revision: str | None, variant: str | None, hint: str, error: Exception
) -> ModelFolder:
    cached = _cached(repository, revision, variant)
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    if cached is None:
        raise ModelUnavailable(f"{repository}: no answer from the hub and not in the cache ({reason})", hint=hint)
    faults = cached.faults()
    if faults:
        raise ModelUnavailable(f"{repository}: incomplete in the cache: {'; '.join(faults)} ({reason})", hint=hint)
    return cached


def _download(
    repository: str, revision: str | None, variant: str | None, on_progress: Callable[[], None] | None
) -> Path:
    ticking = _ticking(on_progress)
    siblings = HfApi().model_info(repository, revision=revision).siblings or []
    index = hf_hub_download(repository, INDEX, revision=revision, tqdm_class=ticking)
    folder = read_folder(Path(index).parent, variant=variant)
    files = wanted_files([sibling.rfilename for sibling in siblings], list(folder.components), variant)
    return Path(snapshot_download(repository, revision=revision, allow_patterns=files, tqdm_class=ticking))


def wanted_files(names: list[str], components: list[str], variant: str | None) -> list[str]:
    """Of a repository's files the ones that a model needs: its index, and of every component the
    configuration and the chosen safetensors. No pickles, no code, no single-file checkpoints."""
    wanted = [INDEX]
    for component in components:
        inside = [name.removeprefix(f"{component}/") for name in names if name.startswith(f"{component}/")]
        flat = [name for name in inside if "/" not in name]
        chosen = [name for name in flat if name.endswith((".json", ".txt"))]
        if needs_weights(component):
            chosen += pick_weights(flat, variant)
        wanted += [f"{component}/{name}" for name in chosen]
    return wanted


def _ticking(on_progress: Callable[[], None] | None) -> Any:
    """A progress bar class that also tells the caller, or None for the hub's own."""
    if on_progress is None:
        return None
    tell = on_progress

    class Ticking(tqdm):  # type: ignore[misc, type-arg, unused-ignore]
        def update(self, n: float | None = 1) -> Any:
            tell()
            return super().update(n)

    return Ticking

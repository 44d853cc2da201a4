"""The model hub: files from its cache or over the network, and plain words when neither works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import (
    constants,
    get_session,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from imagesearch.errors import WeightsUnavailableError

__all__ = ["fetch_from_hub"]


_logger = logging.getLogger("imagesearch")

_WAYS_OUT_FOR_TIMM = (
    (
        "a file, downloaded by any means: weights='model.safetensors' (or .pth), in Python or in the "
        "table [embedder] of a config file"
    ),
    (
        "a folder with config.json and model.safetensors: weights='local-dir:FOLDER', for example from "
        "ModelScope: modelscope download --model {repo} --local_dir FOLDER"
    ),
    (
        "no weights at all: the embedder 'descriptors' finds the same picture and the same colours, "
        "not the same kind of thing"
    ),
)


def fetch_from_hub(
    repo: str,
    filenames: Sequence[str],
    *,
    revision: str | None = None,
    what: str = "weights",
    ways_out: Sequence[str] = _WAYS_OUT_FOR_TIMM,
) -> Path:
    """Return the local path of a hub repository's file, downloading it the first time.

    A file that is in the cache is taken from there without any request. Otherwise the hub must
    answer within ``HF_HUB_ETAG_TIMEOUT`` (10 s); the download itself may take as long as it takes.
    The usual variables are honoured: ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_CACHE``,
    ``HF_HUB_OFFLINE``, ``HF_TOKEN`` and the proxy ones.

    Args:
        repo: Such as ``timm/resnet50.a1_in1k``.
        filenames: Alternatives, the best first.
        revision: A branch, tag or commit; None for the main branch.
        what: What the files are, for the message.
        ways_out: What else to do, after a mirror and another machine's cache; ``{repo}`` stands
            for the repository.

    Raises:
        WeightsUnavailableError: It is neither cached nor reachable, or the hub has no such file.
            The message lists the options.
    """
    for filename in filenames:
        cached = try_to_load_from_cache(repo, filename, revision=revision)
        if isinstance(cached, str):
            return Path(cached)

    def unavailable(reason: str) -> WeightsUnavailableError:
        return _unavailable(repo, reason, what, ways_out)

    if constants.HF_HUB_OFFLINE:
        raise unavailable("HF_HUB_OFFLINE is set, and the file is not in the cache")
    _require_answer(hf_hub_url(repo, filenames[0], revision=revision), unavailable)
    for filename in filenames:
        try:
            _logger.info("downloading %s of %s from %s", filename, repo, constants.ENDPOINT)
            return Path(hf_hub_download(repo, filename, revision=revision))
        # A network failure is a subclass of "no such file", so it must be asked for first.
        except LocalEntryNotFoundError as error:
            raise unavailable(_reason(error)) from _alone(error)
        except EntryNotFoundError:
            continue
        except GatedRepoError as error:
            raise WeightsUnavailableError(
                f"{repo} asks for an account: accept its terms on its page, then set HF_TOKEN"
            ) from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise WeightsUnavailableError(
                f"{constants.ENDPOINT} has no repository {repo!r}"
                f"{f' with revision {revision!r}' if revision else ''} that you may read: check "
                "the name; a private one needs HF_TOKEN"
            ) from error
        # The HTTP library below differs between versions of huggingface_hub, and so do its errors.
        except Exception as error:
            raise unavailable(_reason(error)) from error
    raise WeightsUnavailableError(
        f"{repo} on {constants.ENDPOINT} has none of the files {', '.join(filenames)}: it holds "
        f"no {what}, or holds them under another name"
    )


def _require_answer(url: str, unavailable: Callable[[str], WeightsUnavailableError]) -> None:
    """Ask once, with a total deadline: huggingface_hub itself retries for up to a minute."""
    seconds = float(constants.HF_HUB_ETAG_TIMEOUT)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            get_session().head(url, timeout=seconds)
        # See above: which class it is depends on the version of huggingface_hub.
        except Exception as error:  # noqa: BLE001  # handed to the asking thread
            failures.append(error)

    # No timeout of the HTTP library covers name resolution; waiting for a thread does.
    thread = threading.Thread(target=ask, name="imagesearch-hub-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise unavailable(f"no answer within {seconds:.0f} s")
    if failures:
        raise unavailable(_reason(failures[0])) from _alone(failures[0])


def _alone(error: Exception) -> Exception:
    """Leave out what the HTTP library did on the way: it hides the options under its frames."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _unavailable(
    repo: str, reason: str, what: str, ways_out: Sequence[str]
) -> WeightsUnavailableError:
    ways = (
        "a mirror: set HF_ENDPOINT to its address before starting Python",
        (
            "an earlier download: copy the cache of a machine that has it and set HF_HOME to its "
            "place, with HF_HUB_OFFLINE=1"
        ),
        *(way.replace("{repo}", repo) for way in ways_out),
    )
    return WeightsUnavailableError(
        f"the {what} {repo} cannot be had from {constants.ENDPOINT} ({reason}). Ways out:\n"
        + ";\n".join(f"  - {way}" for way in ways)
        + "."
    )

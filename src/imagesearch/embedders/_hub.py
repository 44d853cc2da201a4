"""Files of the model hub, from its cache or the network."""

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

_OPTIONS_FOR_TIMM = (
    (
        "a file, downloaded by any means: weights='model.safetensors' (or .pth), in Python or in the "
        "table [embedder] of a config file"
    ),
    (
        "a folder with config.json and model.safetensors: weights='local-dir:FOLDER', for example from "
        "ModelScope: modelscope download --model {repo} --local_dir FOLDER"
    ),
    (
        "no weights: the embedder 'descriptors' finds copies and similar colours, but not similar "
        "objects"
    ),
)


def fetch_from_hub(
    repo: str,
    filenames: Sequence[str],
    *,
    revision: str | None = None,
    what: str = "weights",
    options: Sequence[str] = _OPTIONS_FOR_TIMM,
) -> Path:
    """Return the local path of a hub repository's file, downloading it the first time.

    A cached file is used without any request. Otherwise the hub must respond within
    ``HF_HUB_ETAG_TIMEOUT`` (10 s); the download itself has no time limit. The environment variables
    ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE``, ``HF_TOKEN`` and those for
    proxies apply.

    Args:
        repo: The repository, such as ``timm/resnet50.a1_in1k``.
        filenames: Alternative names of the file, the best first.
        revision: A branch, tag or commit; None for the main branch.
        what: What the file contains, for the message.
        options: Remedies after a mirror and another machine's cache; ``{repo}`` stands for the
            repository.

    Raises:
        WeightsUnavailableError: The file is not cached, and the hub cannot be reached or does not
            have it. The remedy lists the options.
    """
    for filename in filenames:
        cached = try_to_load_from_cache(repo, filename, revision=revision)
        if isinstance(cached, str):
            return Path(cached)

    def unavailable(reason: str, *, retryable: bool = True) -> WeightsUnavailableError:
        return WeightsUnavailableError(
            f"could not download the {what} {repo} from {constants.ENDPOINT} ({reason})",
            repository=repo,
            remedy=_remedy(repo, options),
            retryable=retryable,
        )

    if constants.HF_HUB_OFFLINE:
        raise unavailable("not in the cache, and HF_HUB_OFFLINE is set", retryable=False)
    _require_response(hf_hub_url(repo, filenames[0], revision=revision), unavailable)
    for filename in filenames:
        try:
            _logger.info("downloading %s of %s from %s", filename, repo, constants.ENDPOINT)
            return Path(hf_hub_download(repo, filename, revision=revision))
        # A subclass of EntryNotFoundError, raised for a network failure.
        except LocalEntryNotFoundError as error:
            raise unavailable(_reason(error)) from _alone(error)
        except EntryNotFoundError:
            continue
        except GatedRepoError as error:
            raise WeightsUnavailableError(
                f"{repo} on {constants.ENDPOINT} is limited to approved accounts",
                remedy="accept its terms on its page, then set HF_TOKEN",
            ) from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise WeightsUnavailableError(
                f"{constants.ENDPOINT} has no repository {repo!r}"
                f"{f' with revision {revision!r}' if revision else ''}, or not for this account",
                remedy="check the name; a private repository needs HF_TOKEN",
            ) from error
        # The HTTP library and its errors differ between versions of huggingface_hub.
        except Exception as error:
            raise unavailable(_reason(error)) from error
    raise WeightsUnavailableError(
        f"{repo} on {constants.ENDPOINT} has none of the files {', '.join(filenames)}",
        remedy=f"choose a repository that contains {what}",
    )


def _require_response(url: str, unavailable: Callable[[str], WeightsUnavailableError]) -> None:
    """Send one request with a total deadline: huggingface_hub itself retries for up to a minute."""
    seconds = float(constants.HF_HUB_ETAG_TIMEOUT)
    failures: list[Exception] = []

    def request() -> None:
        try:
            get_session().head(url, timeout=seconds)
        # The class depends on the version of huggingface_hub, see above.
        except Exception as error:  # noqa: BLE001  # handed to the calling thread
            failures.append(error)

    # The HTTP library's timeouts do not cover name resolution; joining a thread does.
    thread = threading.Thread(target=request, name="imagesearch-hub-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise unavailable(f"no response within {seconds:.0f} s")
    if failures:
        raise unavailable(_reason(failures[0])) from _alone(failures[0])


def _alone(error: Exception) -> Exception:
    """Drop the HTTP library's own chain of errors, whose traceback would hide the options."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _remedy(repo: str, options: Sequence[str]) -> str:
    lines = (
        "a mirror: set HF_ENDPOINT to its address before starting Python",
        (
            "an earlier download: copy the cache of a machine that has it and set HF_HOME to the "
            "copy, with HF_HUB_OFFLINE=1"
        ),
        *(option.replace("{repo}", repo) for option in options),
    )
    return "Options:\n" + ";\n".join(f"  - {line}" for line in lines) + "."

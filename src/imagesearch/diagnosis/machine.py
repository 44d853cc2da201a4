"""The machine: where models run, which images can be read, and how much room there is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from imagesearch._cpus import available_cpus
from imagesearch.diagnosis.finding import Finding
from imagesearch.diagnosis.probe import Probe, ProbeError

__all__ = ["device_findings", "image_findings", "room_findings"]

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_WORDS = {"JPEG2000": "JPEG 2000", "WEBP": "WebP"}
# Less is a full disk by tomorrow: one million vectors of ResNet50 take 8 GB.
_SCARCE = 2**30
_NOTHING = 100 * 2**20


def device_findings(probe: Probe) -> Iterator[Finding]:
    """Say what the device ``auto`` means here."""
    topic = "device"
    try:
        seen = probe.ask("device")
    except ProbeError as error:
        yield Finding(topic, "problem", f"torch cannot be used: {error}", "mend the package torch")
        return
    processors = available_cpus()
    if seen["gpus"]:
        gpus = ", ".join(seen["gpus"])
        yield Finding(topic, "ok", f"auto means {seen['auto']}: {gpus}")
        return
    words = f"{processors} processor{'s' if processors > 1 else ''}"
    if seen["auto"] != "cpu":
        yield Finding(topic, "ok", f"auto means {seen['auto']}; {words}")
        return
    if _NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi"):
        why = (
            f"torch {seen['torch']} is built for CUDA {seen['built_for_cuda']} and sees no GPU"
            if seen["built_for_cuda"]
            else f"torch {seen['torch']} is built without CUDA"
        )
        yield Finding(
            topic,
            "warning",
            f"auto means cpu with {words}: there is an NVIDIA driver, but {why}",
            "install a torch that is built for this driver's CUDA version (see the install page of "
            "PyTorch), and check that nvidia-smi lists a GPU",
        )
        return
    yield Finding(topic, "ok", f"auto means cpu, with {words}; no GPU")


def image_findings(probe: Probe) -> Iterator[Finding]:
    """Say which image formats can be decoded, by decoding one of each."""
    topic = "images"
    try:
        seen = probe.ask("formats")
    except ProbeError as error:
        yield Finding(
            topic,
            "problem",
            f"Pillow cannot be used: {error}",
            "pip install --force-reinstall pillow",
        )
        return
    readable = [*seen["readable"], *(["HEIC"] if seen["heif"] else [])]
    yield Finding(topic, "ok", f"can be read: {_listed(readable)}")
    if seen["unreadable"]:
        yield Finding(
            topic,
            "warning",
            f"cannot be read: {_listed(seen['unreadable'])}, which this Pillow was built without",
            "pip install --upgrade --force-reinstall pillow (its wheels have all formats)",
        )
    if not seen["heif"]:
        yield Finding(
            topic, "info", "cannot be read: HEIC", 'pip install "imagesearch-index[heif]"'
        )


def room_findings(topic: str, what: str, folder: Path) -> Iterator[Finding]:
    """Say how much room there is for something, and whether it may be written.

    Args:
        topic: Of the findings.
        what: What shall be kept there, such as ``the index``.
        folder: Where; it need not exist.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        yield Finding(
            topic,
            "problem",
            f"{place}, for {what}, cannot be looked at: {error.strerror or error}",
            "check the path, and that its disk is mounted",
        )
        return
    text = f"{free / 2**30:.1f} GB free for {what} at {folder}"
    if free < _SCARCE:
        yield Finding(
            topic, "problem" if free < _NOTHING else "warning", text, "free some space there"
        )
    else:
        yield Finding(topic, "ok", text)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            topic,
            "warning",
            f"{place} may not be written: {what} cannot be made or changed",
            "give this account the right to write there, or choose another place",
        )


def _listed(formats: list[str]) -> str:
    return ", ".join(_WORDS.get(format, format) for format in formats)

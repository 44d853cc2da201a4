"""The machine and its packages: devices, image formats, room on the disk, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagesearch._cpus import available_cpus
from imagesearch.diagnosis._probe import Probe, ProbeError
from imagesearch.diagnosis.finding import Finding

__all__ = [
    "Requirement",
    "device_findings",
    "image_findings",
    "package_findings",
    "read_requirement",
    "room_findings",
]


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
        what: What is to be kept there, such as ``the index``.
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


_TOPIC = "packages"
_DISTRIBUTION = "imagesearch-index"
_MODULES = {
    "open-clip-torch": "open_clip",
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "typing-extensions": "typing_extensions",
}
_PURPOSES = {
    "clip": "searching by text",
    "heif": "HEIC photos",
    "hnsw": "fast searches in more than 5,000 records",
    "openvino": "faster embedding on a CPU",
    "tencent": "the store Tencent Cloud VectorDB",
    "ui": "the web page",
}
# Comes with timm; a wrong build of it is the commonest broken installation.
_INDIRECT = "torchvision"
_FOUNDATIONS = ("torch", _INDIRECT, "timm")
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?P<extras>\[[^]]*\])?\s*\(?(?P<range>[^;)]*)\)?"
    r"(?:;.*?extra\s*==\s*['\"](?P<extra>[\w-]+)['\"])?"
)
_BOUND = re.compile(r"(>=|<)\s*([\d.]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One package that this one asks for.

    Attributes:
        name: The distribution's name, normalised.
        extra: The optional extra that it belongs to; empty if it is always needed.
        bounds: Such as ``((">=", "6"), ("<", "7"))``.
    """

    name: str
    extra: str
    bounds: tuple[tuple[str, str], ...]

    @property
    def module(self) -> str:
        """The name that it is imported by."""
        return _MODULES.get(self.name, self.name.replace("-", "_"))

    def allows(self, version: str) -> bool:
        """Return whether a version lies within the bounds.

        Example:
            >>> read_requirement('gradio>=6,<7; extra == "ui"').allows("6.31.0")
            True
        """
        numbers = _numbers(version)
        return all(
            numbers >= _numbers(bound) if operator == ">=" else numbers < _numbers(bound)
            for operator, bound in self.bounds
        )

    @property
    def install_line(self) -> str:
        """What installs it."""
        if self.extra:
            return f'pip install "{_DISTRIBUTION}[{self.extra}]"'
        return f'pip install "{self.name}{",".join(f"{a}{b}" for a, b in self.bounds)}"'


def read_requirement(text: str) -> Requirement:
    """Read a requirement as it stands in a package's metadata.

    Example:
        >>> read_requirement('gradio>=6,<7; extra == "ui"')
        Requirement(name='gradio', extra='ui', bounds=(('>=', '6'), ('<', '7')))
    """
    match = _REQUIREMENT.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no requirement")
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    bounds = sorted(_BOUND.findall(match["range"]), reverse=True)
    return Requirement(name, match["extra"] or "", tuple(bounds))


def package_findings(probe: Probe) -> Iterator[Finding]:
    """Look at Python and at every package that this one asks for or can use."""
    machine = f"{platform.system()} {platform.machine()}"
    yield Finding(
        _TOPIC, "ok", f"Python {platform.python_version()} on {machine}, {sys.executable}"
    )
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            _TOPIC,
            "problem",
            f"{_DISTRIBUTION} is not installed, so its embedders and stores have no names",
            f'pip install "{_DISTRIBUTION}", or in a clone of it: pip install --editable .',
        )
        return
    yield Finding(_TOPIC, "ok", f"{_DISTRIBUTION} {distribution.version}")
    for requirement in _in_order(distribution.requires or []):
        yield from _one(requirement, probe)


def _in_order(texts: Sequence[str]) -> list[Requirement]:
    """Sort what is needed: the extras last, and each package behind those that can break it."""
    wanted = [read_requirement(text) for text in texts]
    # The extra "all" names again what others have.
    wanted = [each for each in wanted if each.extra != "all" and each.name != _DISTRIBUTION]
    wanted.append(Requirement(_INDIRECT, "", ()))
    return sorted(
        wanted,
        key=lambda each: (
            each.extra,
            _FOUNDATIONS.index(each.name) if each.name in _FOUNDATIONS else -1,
            each.name,
        ),
    )


def _one(requirement: Requirement, probe: Probe) -> Iterator[Finding]:
    name = requirement.name
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        yield _missing(requirement)
        return
    known = f"{name} {version}"
    if not requirement.allows(version):
        bounds = ", ".join(f"{operator} {bound}" for operator, bound in requirement.bounds)
        yield Finding(
            _TOPIC,
            "problem",
            f"{known}, but {_DISTRIBUTION} needs {bounds}",
            f"{requirement.install_line} --upgrade",
        )
    try:
        note = probe.ask("package", module=requirement.module)["note"]
    except ProbeError as error:
        yield Finding(
            _TOPIC,
            "problem",
            f"{known} is installed, but cannot be imported: {error}",
            f"install it again: {_again(requirement)}",
        )
        return
    if note:
        yield Finding(
            _TOPIC,
            "warning",
            f"{known} is built for another torch ({note}); imagesearch copes, other programs "
            "may not",
            "install torch and torchvision from the same index, for example both from PyTorch's "
            "CPU one (see the install page of PyTorch)",
        )
    elif requirement.allows(version):
        yield Finding(_TOPIC, "ok", known)


def _missing(requirement: Requirement) -> Finding:
    purpose = _PURPOSES.get(requirement.extra)
    if requirement.extra:
        needed = f"; needed for {purpose}" if purpose else ""
        compiler = " (compiles on this machine: needs a C++ compiler)"
        return Finding(
            _TOPIC,
            "info",
            f"{requirement.name} is not installed{needed}",
            requirement.install_line + (compiler if requirement.name == "hnswlib" else ""),
        )
    return Finding(
        _TOPIC,
        "problem",
        f"{requirement.name} is not installed, and imagesearch needs it",
        requirement.install_line,
    )


def _again(requirement: Requirement) -> str:
    line = f"pip install --force-reinstall --no-deps {requirement.name}"
    return f"HNSWLIB_NO_NATIVE=1 {line} --no-cache-dir" if requirement.name == "hnswlib" else line


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers, without what follows them (rc1, +cpu) and without final zeros."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)

"""The machine: versions of packages, the device, and the image formats that can be decoded."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from imagesearch._cpus import available_cpus
from imagesearch.diagnosis._probe import Probe, ProbeError
from imagesearch.types import CheckResult, CheckStatus

__all__ = ["Dependency", "check_device", "check_formats", "check_packages", "dependencies"]

_DISTRIBUTION = "imagesearch-index"
# Packages that are imported under another name than their own with underscores.
_MODULES = {
    "open-clip-torch": "open_clip",
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "typing-extensions": "typing_extensions",
}
_PURPOSES = {
    "clip": "searching by text",
    "heif": "HEIC photos",
    "hnsw": "another graph engine of the local store",
    "openvino": "faster embedding on a CPU",
    "parquet": "import and export of tables",
    "tencent": "the store Tencent Cloud VectorDB",
    "ui": "the web page",
}
# A dependency of timm; a build for another torch is the most common broken installation.
_TORCHVISION = "torchvision"
# Each is checked before those that it can break.
_ORDER = ("torch", _TORCHVISION, "timm")


@dataclass(frozen=True, slots=True)
class Dependency:
    """A package that this one needs or can use.

    Attributes:
        requirement: The requirement, as the metadata state it.
        extra: The optional extra that it belongs to; empty if it is always needed.
    """

    requirement: Requirement
    extra: str = ""

    @property
    def name(self) -> str:
        """The normalised name of the distribution."""
        return canonicalize_name(self.requirement.name)

    @property
    def module(self) -> str:
        """The name that it is imported by."""
        return _MODULES.get(self.name, self.name.replace("-", "_"))

    def allows(self, version: str) -> bool:
        """Return whether a version satisfies the requirement.

        Example:
            >>> Dependency(Requirement("gradio>=6,<7")).allows("6.31.0")
            True
        """
        try:
            return self.requirement.specifier.contains(version, prereleases=True)
        except InvalidVersion:
            return False

    @property
    def install_command(self) -> str:
        """The command that installs it."""
        if self.extra:
            return f'pip install "{_DISTRIBUTION}[{self.extra}]"'
        return f'pip install "{self.name}{self.requirement.specifier}"'


def dependencies(distribution: Distribution) -> list[Dependency]:
    """Return what an installed distribution needs on this machine, its extras last."""
    extras = distribution.metadata.get_all("Provides-Extra") or []
    needed = [Dependency(Requirement(_TORCHVISION))]
    for text in distribution.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}):
            needed.append(Dependency(requirement))
            continue
        # The extra "all" repeats the others; without it none may apply on this platform.
        of = [extra for extra in extras if marker.evaluate({"extra": extra}) and extra != "all"]
        needed += [Dependency(requirement, extra) for extra in of[:1]]
    return sorted(
        (dependency for dependency in needed if dependency.name != _DISTRIBUTION),
        key=lambda dependency: (
            dependency.extra,
            _ORDER.index(dependency.name) if dependency.name in _ORDER else -1,
            dependency.name,
        ),
    )


def check_packages(probe: Probe) -> Iterator[CheckResult]:
    """Check Python and every package that this one needs or can use."""
    machine = f"{platform.system()} {platform.machine()}"
    yield _package("ok", f"Python {platform.python_version()} on {machine}, {sys.executable}")
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        yield _package(
            "problem",
            f"{_DISTRIBUTION} is not installed, so its embedders and stores cannot be found",
            f'pip install "{_DISTRIBUTION}", or in a clone of it: pip install --editable .',
        )
        return
    yield _package("ok", f"{_DISTRIBUTION} {distribution.version}")
    for dependency in dependencies(distribution):
        yield from _check_dependency(dependency, probe)


def _check_dependency(dependency: Dependency, probe: Probe) -> Iterator[CheckResult]:
    name = dependency.name
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        yield _missing(dependency)
        return
    installed = f"{name} {version}"
    allowed = dependency.allows(version)
    if not allowed:
        yield _package(
            "problem",
            f"{installed} is installed, but {_DISTRIBUTION} needs "
            f"{name}{dependency.requirement.specifier}",
            f"{dependency.install_command} --upgrade",
        )
    try:
        note = probe.ask("package", module=dependency.module)["note"]
    except ProbeError as error:
        yield _package(
            "problem",
            f"{installed} is installed, but cannot be imported: {error}",
            f"reinstall it: {_reinstall_command(name)}",
        )
        return
    if note:
        yield _package(
            "warning",
            f"{installed} is built for another torch ({note}); imagesearch works around it, but "
            "other programs may fail",
            "install torch and torchvision from the same index, for example both from PyTorch's "
            "CPU index (see the install page of PyTorch)",
        )
    elif allowed:
        yield _package("ok", installed)


def _missing(dependency: Dependency) -> CheckResult:
    name, extra = dependency.name, dependency.extra
    if not extra:
        return _package(
            "problem",
            f"{name} is not installed, and imagesearch needs it",
            dependency.install_command,
        )
    purpose = f"; needed for {_PURPOSES[extra]}" if extra in _PURPOSES else ""
    compiler = " (compiles on this machine: needs a C++ compiler)" if name == "hnswlib" else ""
    return _package(
        "info", f"{name} is not installed{purpose}", f"{dependency.install_command}{compiler}"
    )


def _reinstall_command(name: str) -> str:
    command = f"pip install --force-reinstall --no-deps {name}"
    return f"HNSWLIB_NO_NATIVE=1 {command} --no-cache-dir" if name == "hnswlib" else command


def _package(status: CheckStatus, text: str, remedy: str = "") -> CheckResult:
    return CheckResult("packages", status, text, remedy)


_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def check_device(probe: Probe) -> CheckResult:
    """Return which device ``auto`` means here."""
    topic = "device"
    try:
        answer = probe.ask("device")
    except ProbeError as error:
        remedy = error.remedy or "fix the package torch"
        return CheckResult(topic, "problem", f"torch cannot be used: {error}", remedy)
    count = available_cpus()
    cpus = f"{count} processor{'s' if count > 1 else ''}"
    if answer["gpus"]:
        return CheckResult(topic, "ok", f"auto means {answer['auto']}: {', '.join(answer['gpus'])}")
    if answer["auto"] != "cpu":
        return CheckResult(topic, "ok", f"auto means {answer['auto']}; {cpus}")
    if _NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi"):
        version, cuda = answer["torch"], answer["built_for_cuda"]
        build = f"is built for CUDA {cuda} and finds no GPU" if cuda else "is built without CUDA"
        return CheckResult(
            topic,
            "warning",
            f"auto means cpu with {cpus}: there is an NVIDIA driver, but torch {version} {build}",
            "install a torch that is built for this driver's CUDA version (see the install page of "
            "PyTorch), and check that nvidia-smi lists a GPU",
        )
    return CheckResult(topic, "ok", f"auto means cpu, with {cpus}; no GPU")


_TITLES = {"JPEG2000": "JPEG 2000", "WEBP": "WebP"}


def check_formats(probe: Probe) -> Iterator[CheckResult]:
    """Check which image formats can be decoded, by decoding one image of each."""
    topic = "images"
    try:
        answer = probe.ask("formats")
    except ProbeError as error:
        remedy = "pip install --force-reinstall pillow"
        yield CheckResult(topic, "problem", f"Pillow cannot be used: {error}", remedy)
        return
    readable = [*answer["readable"], *(["HEIC"] if answer["heif"] else [])]
    yield CheckResult(topic, "ok", f"readable: {_listed(readable)}")
    if answer["unreadable"]:
        yield CheckResult(
            topic,
            "warning",
            f"not readable, because this Pillow was built without: {_listed(answer['unreadable'])}",
            "pip install --upgrade --force-reinstall pillow (its wheels support all formats)",
        )
    if not answer["heif"]:
        remedy = f'pip install "{_DISTRIBUTION}[heif]"'
        yield CheckResult(topic, "info", "not readable: HEIC", remedy)


def _listed(formats: list[str]) -> str:
    return ", ".join(_TITLES.get(format, format) for format in formats)

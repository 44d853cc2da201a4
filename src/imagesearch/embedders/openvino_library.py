"""The library OpenVINO, imported without its telemetry, or refused with the line to install it.

``import openvino`` reports itself to a web analytics service, from a forked process, unless a file
in the user's home folder declines. Where the package openvino_telemetry is missing, OpenVINO takes
a stub of its own and reports nothing: so that package is hidden while OpenVINO is imported. A
program that has imported OpenVINO before has made that choice itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from imagesearch.errors import MissingDependencyError

__all__ = ["TorchScriptPythonDecoder", "openvino"]


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    present = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name == package or name.startswith(f"{package}.")
    }
    # None is how Python marks a module that cannot be imported (reference, "The module cache").
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(present)


try:
    with _hidden("openvino_telemetry"):
        import openvino
        import openvino.frontend
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
except ImportError as error:
    raise MissingDependencyError(
        f"runtime='openvino' needs the package openvino ({error}): "
        'pip install "imagesearch-index[openvino]"'
    ) from error

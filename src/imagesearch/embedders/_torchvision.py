"""Import torchvision also where its compiled part does not fit the installed torch.

The public torchvision wheel for Linux is built for CUDA. Beside a torch without CUDA its compiled
operators cannot be loaded, that failure is swallowed, and the import then stops at
``RuntimeError: operator torchvision::nms does not exist`` because torchvision describes an operator
that was never declared. timm and open_clip import torchvision, but use none of these operators:
declaring the two is all that the import needs (pytorch/vision#9337).
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from types import ModuleType

import torch

__all__ = ["import_torchvision"]


_logger = logging.getLogger("imagesearch")
_lock = threading.Lock()
# A Library that is collected takes its declarations with it.
_declarations: list[torch.library.Library] = []

# torchvision/csrc/ops/nms.cpp and csrc/ops/quantized/cpu/qnms_kernel.cpp name them so.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> ModuleType:
    """Import torchvision, and repair the one failure that a torch without CUDA causes.

    Call it before importing timm or open_clip. On a healthy installation it is a plain import;
    calling it again costs nothing, and so does calling it from several threads.

    Returns:
        The module torchvision. After a repair its box operators (``torchvision.ops.nms`` and the
        like) still refuse to run, with torchvision's own message.

    Raises:
        ImportError: torchvision is not installed.
        Exception: Any other failure of the import, exactly as it came.

    Example:
        >>> import_torchvision().__name__
        'torchvision'
    """
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "operator torchvision::nms does not exist" not in str(error):
                raise
        _forget_half_imported()
        if not _declarations:
            # torch leaves these two unannotated.
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for schema in _SCHEMAS:
                library.define(schema)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _declarations.append(library)
        module = importlib.import_module("torchvision")
        # Not a warning: everything works, and this would be said again by every command.
        _logger.info(
            "torchvision %s is built for CUDA, but torch %s is not: its box operators are "
            "unavailable, and imagesearch does without them. The lasting remedy is to install "
            "torch and torchvision from the same index, the CPU one (see PyTorch's install page)",
            getattr(module, "__version__", "?"),
            torch.__version__,
        )
        return module


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]

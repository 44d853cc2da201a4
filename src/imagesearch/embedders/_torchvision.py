"""Import torchvision even if it was built for another torch.

The public torchvision wheel for Linux is built for CUDA. With a torch without CUDA its compiled
operators cannot be loaded. torchvision ignores that failure, and its import then fails with
``RuntimeError: operator torchvision::nms does not exist``, because it registers a fake kernel for an
undeclared operator. timm and open_clip import torchvision, but do not use these operators:
declaring two of them is enough (pytorch/vision#9337).
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
# Kept alive, because a Library's declarations end with it.
_declarations: list[torch.library.Library] = []

# From torchvision/csrc/ops/nms.cpp and csrc/ops/quantized/cpu/qnms_kernel.cpp.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> ModuleType:
    """Import torchvision, and repair the failure that a torch without CUDA causes.

    Call it before importing timm or open_clip. With a matching torch it is a plain import. It may
    be called repeatedly and from several threads.

    Returns:
        The module torchvision. After a repair its box operators (such as ``torchvision.ops.nms``)
        remain unavailable and raise torchvision's own error.

    Raises:
        ImportError: torchvision is not installed.
        Exception: Any other error of the import, unchanged.

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
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for schema in _SCHEMAS:
                library.define(schema)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _declarations.append(library)
        module = importlib.import_module("torchvision")
        # Not a warning, because everything works and every command would repeat it.
        _logger.info(
            "torchvision %s is built for CUDA, but torch %s is not: its box operators, which "
            "imagesearch does not use, are unavailable. To fix this, install torch and torchvision "
            "from the same index, the CPU one (see PyTorch's install page)",
            getattr(module, "__version__", "?"),
            torch.__version__,
        )
        return module


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]

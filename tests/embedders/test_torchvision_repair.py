"""A broken import of torchvision is repaired, and a working one is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest


def run(code, *, stub=None, tmp_path=None):
    environment = dict(os.environ)
    if stub is not None:
        package = tmp_path / "torchvision"
        package.mkdir()
        (package / "__init__.py").write_text(textwrap.dedent(stub))
        environment["PYTHONPATH"] = str(tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.split()


BROKEN = """
    import torch
    try:
        torch.library.register_fake("torchvision::nms")(lambda *_: None)
    except RuntimeError:
        import sys, types
        sys.modules["torchvision.leftover"] = types.ModuleType("torchvision.leftover")
        raise RuntimeError("operator torchvision::nms does not exist")
    __version__ = "0.0+stub"
"""


def test_a_torchvision_whose_operators_are_missing_is_imported_with_a_remedy(tmp_path):
    said = run(
        """
        import logging, sys, threading
        messages = []
        class Keep(logging.Handler):
            def emit(self, record):
                messages.append((record.levelname, record.getMessage()))
        logging.getLogger("imagesearch").addHandler(Keep())
        logging.getLogger("imagesearch").setLevel(logging.INFO)
        from imagesearch.embedders._torchvision import import_torchvision
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(import_torchvision())) for _ in range(8)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(found) == 8 and len(set(map(id, found))) == 1
        assert "torchvision.leftover" not in sys.modules
        [(level, message)] = messages
        # Everything works, so there is no warning.
        assert level == "INFO" and "from the same index" in message, messages
        import gc; gc.collect()
        import torch
        torch.ops.torchvision.nms
        print("repaired")
        """,
        stub=BROKEN,
        tmp_path=tmp_path,
    )
    assert said == ["repaired"]


@pytest.mark.slow
def test_the_installed_torchvision_and_timm_can_be_imported():
    said = run(
        """
        from imagesearch.embedders._torchvision import import_torchvision
        first = import_torchvision()
        assert import_torchvision() is first
        import timm
        from timm.data import create_transform
        create_transform(224)
        print(first.__name__)
        """
    )
    assert said == ["torchvision"]


@pytest.mark.slow
def test_a_healthy_torchvision_and_other_failures_are_left_alone(tmp_path):
    stubs = {
        "no operator": 'raise RuntimeError("operator torchvision::roi_align does not exist")',
        "no library": 'raise ImportError("libcuda.so.1: cannot open shared object file")',
        "healthy": "",
    }
    for name, stub in stubs.items():
        (tmp_path / name / "torchvision").mkdir(parents=True)
        (tmp_path / name / "torchvision" / "__init__.py").write_text(stub)
    said = run(
        f"""
        import sys
        import torch
        from imagesearch.embedders import _torchvision as torchvision_repair
        for name in {list(stubs)}:
            sys.path.insert(0, {str(tmp_path)!r} + "/" + name)
            try:
                print(torchvision_repair.import_torchvision().__name__)
            except Exception as error:
                print(type(error).__name__)
        print(torchvision_repair._declarations, hasattr(torch.ops.torchvision, "nms"))
        """
    )
    assert said == ["RuntimeError", "ImportError", "torchvision", "[]", "False"]

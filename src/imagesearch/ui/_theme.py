"""The theme of the page: colours, fonts, styles and scripts, all from this machine."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

__all__ = ["look"]


def look() -> dict[str, Any]:
    """Return the arguments of ``launch`` that decide how the page looks."""
    folder = resources.files("imagesearch.ui")
    scripts = [folder.joinpath(name).read_text("utf-8") for name in ("crop.js", "toasts.js")]
    # Fonts that come with Gradio, so that no browser asks anybody else for them.
    font: Any = [
        gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)),
        "system-ui",
        "sans-serif",
    ]
    theme = gr.themes.Default(primary_hue="teal", neutral_hue="slate", radius_size="md", font=font)
    return {
        "theme": theme,
        "css": folder.joinpath("style.css").read_text("utf-8"),
        "head": "".join(f"<script>{script}</script>" for script in scripts),
    }

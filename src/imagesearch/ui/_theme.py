"""Theme, styles and scripts of the page, all served from this machine."""

from __future__ import annotations

from importlib import resources
from typing import Any

import gradio as gr

__all__ = ["theme_options"]


def theme_options() -> dict[str, Any]:
    """Return the arguments of ``launch`` for the look of the page."""
    folder = resources.files("imagesearch.ui")
    scripts = [folder.joinpath(name).read_text("utf-8") for name in ("crop.js", "toasts.js")]
    # Fonts that come with Gradio, so that browsers load none from the internet.
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

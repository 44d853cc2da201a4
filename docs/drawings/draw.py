"""Draw the pictures of docs/concepts.md from real computations: ``python docs/drawings/draw.py``."""

from __future__ import annotations

import sys
from pathlib import Path

from angles import draw_angles
from layers import draw_breadth, draw_layers
from neighbourhood import draw_neighbourhood
from parts import draw_parts
from recall import draw_recall
from score_counts import draw_projected_scores, draw_scores

PICTURES = {
    "parts.svg": draw_parts,
    "neighbourhood.svg": draw_neighbourhood,
    "angles.svg": draw_angles,
    "scores.svg": draw_scores,
    "layers.svg": draw_layers,
    "breadth.svg": draw_breadth,
    "recall.svg": draw_recall,
    "projection.svg": draw_projected_scores,
}


def main() -> None:
    """Write every picture into the folder that is named, or into docs/images/concepts."""
    here = Path(__file__).parents[1] / "images" / "concepts"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw().save(folder / name)


if __name__ == "__main__":
    main()

"""Train the network on images in folders, one folder for each kind of thing.

python -m shopsearch.train PHOTOS WEIGHTS

Your own training goes here. All that the embedder needs of it is a saved state_dict.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from imagesearch.sources import open_image
from shopsearch.network import DIM, Network, pixels_of

__all__ = ["train"]


def train(photos: Path, weights: Path, *, epochs: int = 20) -> float:
    """Teach the network to tell the folders apart, and save it.

    Returns:
        The share of images whose folder it predicts correctly at the end.
    """
    paths = sorted(path for path in photos.glob("*/*") if path.is_file())
    kinds = sorted({path.parent.name for path in paths})
    pixels = torch.from_numpy(np.stack([pixels_of(open_image(path)) for path in paths]))
    labels = torch.tensor([kinds.index(path.parent.name) for path in paths])
    torch.manual_seed(0)
    network, head = Network(), nn.Linear(DIM, len(kinds))
    optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(epochs):
        network.train()
        for rows in torch.split(torch.randperm(len(paths)), 16):
            # Mirror the images in every second epoch.
            seen = pixels[rows].flip(2) if torch.rand(1) < 0.5 else pixels[rows]
            loss = nn.functional.cross_entropy(head(network(seen)), labels[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
    torch.save(network.state_dict(), weights)
    with torch.inference_mode():
        known = head(network.eval()(pixels)).argmax(1) == labels
    return float(known.float().mean())


if __name__ == "__main__":
    share = train(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"saved {sys.argv[2]}; {share:.0%} of the images classified correctly")

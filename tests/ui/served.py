"""A page to test, in a separate process that logs all its connections.

python -m tests.ui.served FOLDER PORT '{"read_only": true}'
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path

KINDS = ("balloon", "boat", "city", "trees")
EACH = 5


def note_connections(log: Path) -> None:
    """Log every address that this process looks up or connects to."""
    file = log.open("a", buffering=1, encoding="utf-8")

    def hook(event: str, arguments: tuple) -> None:
        if event in {"socket.connect", "socket.connect_ex", "socket.sendto"}:
            file.write(json.dumps([event, repr(arguments[1])]) + "\n")
        elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            file.write(json.dumps([event, repr(arguments[0])]) + "\n")

    sys.addaudithook(hook)


def draw(folder: Path) -> list:
    """Draw the images of the index, and three plain colours whose names the embedder embeds."""
    from PIL import Image

    from imagesearch import Item
    from imagesearch._demo_images import draw_scene
    from tests.small_embedder import SmallEmbedder

    folder.mkdir()
    items = []
    for place, kind in enumerate(KINDS):
        for number in range(EACH):
            path = folder / f"{kind}-{number}.png"
            draw_scene(kind, number).save(path)
            fields = {"kind": kind, "price": 10.5 * number + place / 4, "sold": number == 0}
            items.append(Item(path, id=path.stem, metadata=fields))
    for name, colour in SmallEmbedder.COLOURS.items():
        path = folder / f"{name}.png"
        Image.new("RGB", (320, 240), colour).save(path)
        items.append(Item(path, id=name, metadata={"kind": "colour"}))
    return items


def main() -> None:
    folder, port, options = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    logging.basicConfig(level=logging.WARNING)
    note_connections(folder / "connections.log")
    from imagesearch import ImageIndex, MemoryStore, Secret
    from imagesearch.ui import Login, PageSettings, serve
    from tests.small_embedder import SmallTextEmbedder

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "login" in options:
        options["logins"] = (Login("ada", Secret(options.pop("login"))),)
    settings = PageSettings(port=port, uploads=folder / "uploads", **options)
    with ImageIndex(embedder=SmallTextEmbedder(), store=MemoryStore()) as index:
        index.add(draw(folder / "pictures"), progress=False)
        serve(index, settings, opened=lambda address: print(address, flush=True))


if __name__ == "__main__":
    main()

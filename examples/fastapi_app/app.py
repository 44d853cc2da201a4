"""Image search as an HTTP service: ``uvicorn app:app``; README.md shows it at work."""

import hashlib
import io
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Form, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, Json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagesearch import Hits, ImageIndex, ImageSearchError, Item, Record, errors
from imagesearch.sources import open_image

CONFIG = os.environ.get("IMAGESEARCH_CONFIG", "imagesearch.toml")
UPLOADS = Path(os.environ.get("UPLOADS", "uploads")).absolute()
MAX_BYTES = 10 * 2**20
REFUSED = (errors.SourceError, errors.FilterError, errors.QueryError, errors.StoreRequestError)
UNAVAILABLE = (errors.StoreUnavailableError, errors.StoreLockedError)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    UPLOADS.mkdir(parents=True, exist_ok=True)
    with ImageIndex.from_config(CONFIG) as app.state.index:
        _ = app.state.index.embedder  # load the model at the start, not at a request
        yield


class BodyLimit:
    """Refuse a request as soon as it is too large, before it is stored anywhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BYTES:
                raise HTTPException(413, f"a request has at most {MAX_BYTES} bytes")
            return message

        await self.app(scope, limited, send)


app = FastAPI(title="Image search", lifespan=lifespan)
app.add_middleware(BodyLimit)


@app.exception_handler(ImageSearchError)
def answer_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, REFUSED):
        return JSONResponse({"detail": str(error)}, 422)
    # Logged, not returned: the message may name hosts and paths.
    logging.getLogger("uvicorn.error").error("%s", error, exc_info=error)
    status = 503 if isinstance(error, UNAVAILABLE) else 500
    return JSONResponse({"detail": "the index cannot answer now"}, status)


class Options(BaseModel):
    k: int = Field(10, ge=1, le=100)
    where: str | None = Field(None, max_length=1000)
    min_score: float | None = None


class Found(BaseModel):
    id: str
    score: float
    metadata: dict[str, Any]


async def opened(request: Request) -> ImageIndex:
    index: ImageIndex = request.app.state.index
    return index


Index = Annotated[ImageIndex, Depends(opened)]
Upload = Annotated[bytes, File()]
Asked = Annotated[Options, Query()]


# Functions without async run in threads: no request waits for the model of another.
@app.post("/search")
def search(index: Index, image: Upload, options: Asked) -> list[Found]:
    return found(index.search(image, **options.model_dump()))


@app.get("/search/{id:path}")
def more_like_this(index: Index, id: str, options: Asked) -> list[Found]:
    return found(index.search(id=existing(index, id).id, **options.model_dump()))


@app.post("/images", status_code=201)
def add(
    index: Index,
    image: Upload,
    id: Annotated[str | None, Form()] = None,
    metadata: Annotated[Json[dict[str, Any]] | None, Form()] = None,
) -> dict[str, str]:
    open_image(image, shrink_to=256)  # refuses files that are not images before they are stored
    digest = hashlib.sha256(image).hexdigest()
    id = id or digest[:32]
    item = Item(image, id, metadata or {}, uri=str(UPLOADS / digest))
    report = index.add(item, on_error="raise", progress=False)
    index.release()  # so that others may write between two uploads
    (UPLOADS / digest).write_bytes(image)
    outcome = "added" if report.added else "updated" if report.updated else "unchanged"
    return {"id": id, "outcome": outcome}


@app.get("/images/{id:path}/thumbnail", response_class=Response)
def thumbnail(index: Index, id: str) -> Response:
    try:
        image = open_image(existing(index, id).uri, shrink_to=256)
    except errors.SourceError as error:
        raise HTTPException(404, "the image file is gone") from error
    image.thumbnail((256, 256))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG")
    return Response(jpeg.getvalue(), media_type="image/jpeg")


def existing(index: ImageIndex, id: str) -> Record:
    try:
        return index.get(id)[id]
    except KeyError:
        raise HTTPException(404, f"no image has the id {id!r}") from None


def found(hits: Hits) -> list[Found]:
    return [Found(id=hit.id, score=hit.score, metadata=hit.metadata) for hit in hits]

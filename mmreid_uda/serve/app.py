"""The web application: routes, the page, and the door in front of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from mmreid_uda import __version__
from mmreid_uda.gallery import Gallery
from mmreid_uda.review import Review

from . import gallery_routes, review_routes, work_routes
from .docs_page import docs_page
from .errors import install_errors
from .guard import COOKIE, Guard, Sessions
from .schemas import Error, GalleryInfo, Health, Info, LimitsInfo, RunInfo, ThresholdInfo
from .service import Service
from .settings import ServerSettings

__all__ = ["create_app"]

_PAGE = Path(__file__).parent / "page"
_MOST_VALUES = 1000
_SECONDS_BETWEEN_EXPIRIES = 3600.0
_LOGGER = logging.getLogger("mmreid_uda.serve")
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": text}
    for status, text in (
        (401, "No token, or a wrong one."),
        (403, "Not allowed here."),
        (404, "Not there."),
        (409, "Not possible as the server was started."),
        (413, "Too large."),
        (422, "Not as described."),
        (429, "Too often; Retry-After tells when."),
    )
}


def create_app(
    gallery: Gallery | None,
    review: Review | None,
    inferencer: Any,
    settings: ServerSettings | None = None,
    folder: Path | None = None,
    run: Path | None = None,
) -> FastAPI:
    """Make the application of ``mmreid serve``.

    Args:
        gallery: What is searched, or None; closed with the application.
        review: What is looked at and corrected, a :class:`~mmreid_uda.review.Review`, or None.
        inferencer: The model of the gallery, or None: then only stored items and vectors can be searched for.
        settings: Who may do what. Defaults to everybody on this machine.
        folder: Where stored images, thumbnails and the audit lie. Defaults to that of the gallery, or ``serve`` in the
            run.
        run: The work dir of the run that is reviewed, from which a training may start.

    Returns:
        The application.
    """
    settings = settings or ServerSettings()
    if folder is None and gallery is not None:
        folder = gallery.folder
    if folder is None and run is not None:
        folder = run / "serve"
    service = Service(gallery, review, inferencer, settings, folder, run)
    sessions = Sessions(settings.tokens)

    async def expire_now_and_then() -> None:
        while True:
            try:
                await asyncio.to_thread(service.expire)
            except Exception:  # the next time may be better; requests go on
                _LOGGER.exception("items that are too old were not deleted")
            await asyncio.sleep(_SECONDS_BETWEEN_EXPIRIES)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        expiring = asyncio.create_task(expire_now_and_then())
        yield
        expiring.cancel()
        # A thread of its own: jobs that are stopped may take seconds.
        closing = threading.Thread(target=service.close)
        closing.start()
        closing.join()

    app = FastAPI(
        title="mmreid",
        version=__version__,
        description="Search in a gallery, and correction of clusters.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=lifespan,
        responses=_ERRORS,
    )
    app.state.service = service
    app.add_middleware(Guard, settings=settings, sessions=sessions)
    install_errors(app)
    for routes in (
        _common_routes(service, sessions),
        gallery_routes.router,
        review_routes.router,
        work_routes.router,
    ):
        app.include_router(routes, prefix="/v1")

    @app.get("/v1/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    if _PAGE.is_dir():
        app.mount("/", StaticFiles(directory=_PAGE, html=True), name="page")
    return app


def _common_routes(service: Service, sessions: Sessions) -> APIRouter:
    routes = APIRouter(tags=["server"])

    @routes.get("/health")
    def health() -> Health:
        """Whether the server is there; needs no token."""
        return Health(version=__version__)

    @routes.get("/info")
    def info(request: Request) -> Info:
        """What is served."""
        limits = service.settings.limits
        return Info(
            gallery=_gallery_info(service) if service.has_gallery else None,
            run=_run_info(service.review) if service.has_review else None,
            limits=LimitsInfo(**{name: getattr(limits, name) for name in LimitsInfo.model_fields}),
            training=service.settings.train,
            read_only=service.settings.read_only,
            who=request.state.who.partition("@")[0],
        )

    @routes.post("/login", response_class=RedirectResponse, status_code=303)
    def login(request: Request, token: Annotated[str, Form(max_length=1000)] = "") -> Response:
        """Exchange the token for a cookie of this browser."""
        name = sessions.name_of_token(token)
        if name is None:
            raise HTTPException(
                401,
                "found a wrong token, expected one that the server was started with; try again.",
            )
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            sessions.cookies[name],
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    return routes


def _gallery_info(service: Service) -> GalleryInfo:
    gallery = service.gallery
    threshold = gallery.settings.threshold
    return GalleryInfo(
        kind=gallery.kind,
        count=gallery.count(),
        dim=gallery.dim,
        cameras=_most_frequent(gallery.values("camera")),
        identities=_most_frequent(gallery.values("identity")),
        tracklets=len(set(gallery.values("tracklet")) - {""}),
        threshold=None
        if threshold is None
        else ThresholdInfo(similarity=threshold.similarity, far=threshold.far, tpr=threshold.tpr),
        retention_days=gallery.settings.retention_days,
        has_model=service.has_model,
    )


def _most_frequent(values: dict[str, int]) -> dict[str, int]:
    return dict(sorted(values.items(), key=lambda one: -one[1])[:_MOST_VALUES])


def _run_info(review: Review) -> RunInfo:
    labels = review.labels
    return RunInfo(
        name=review.name,
        images=len(labels),
        clusters=len(set(labels.tolist()) - {-1}),
        outliers=int((labels < 0).sum()),
        links_path=Path(review.links_path).name,
    )

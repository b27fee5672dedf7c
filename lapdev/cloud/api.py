"""The REST API under /api/v1: HTTP in, actions, HTTP out. Decisions live in `actions`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Response
from starlette.middleware import Middleware

from lapdev import __version__
from lapdev.cloud import schemas
from lapdev.cloud.actions import ApiService, EnvironmentView, InterceptWish, LogQuestion
from lapdev.cloud.api_guard import TokenGuard, install_error_handlers
from lapdev.cloud.catalog import WorkloadEdit
from lapdev.cloud.json_body import StrictRoute
from lapdev.cloud.logs import LogReaders, LogResponse
from lapdev.model import DeviceId, EnvironmentKind, Intercept, InterceptId, PortMap, PreviewUrl
from lapdev.store import PreviewWish
from lapdev.wire.control import MAX_LOG_LINES

PREFIX = "/api/v1"

_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": schemas.ErrorOut},
    "5XX": {"model": schemas.ErrorOut},
}


def create_api(service: ApiService, logs: LogReaders) -> FastAPI:
    """The API as an ASGI app. Every path needs a valid bearer token, the schema's too."""
    app = FastAPI(
        title="lapdev",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[Middleware(TokenGuard, token_valid=service.store.token_valid)],
    )
    install_error_handlers(app)
    router = APIRouter(prefix=PREFIX, route_class=StrictRoute, responses=_ERRORS)
    routes = _Routes(service)
    _add_environment_routes(router, routes)
    _add_log_routes(router, service, logs)
    _add_branch_routes(router, routes)
    _add_preview_routes(router, routes)
    _add_intercept_routes(router, routes)
    app.include_router(router)

    @app.get(PREFIX + "/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return _with_bearer_scheme(app.openapi())

    return app


class _Routes:
    """The service, and its answers as schemas."""

    def __init__(self, service: ApiService) -> None:
        self.service = service

    def detail(self, view: EnvironmentView) -> schemas.EnvironmentDetail:
        previews = [self.preview(preview) for preview in view.previews]
        intercepts = [self.intercept(intercept) for intercept in view.intercepts]
        return schemas.EnvironmentDetail.of_view(view, previews, intercepts)

    def preview(self, preview: PreviewUrl) -> schemas.PreviewOut:
        url = self.service.preview_url(preview)
        return schemas.PreviewOut.of(preview, url, self.service.link.preview_problem(preview))

    def intercept(self, intercept: Intercept) -> schemas.InterceptOut:
        connected = self.service.link.device_connected(intercept.device)
        return schemas.InterceptOut.of(intercept, connected)


def _add_environment_routes(router: APIRouter, routes: _Routes) -> None:
    service = routes.service

    @router.get("/clusters", tags=["clusters"])
    async def list_clusters() -> schemas.Clusters:
        clusters = await service.clusters()
        return schemas.Clusters(clusters=[schemas.ClusterOut.of(c) for c in clusters])

    @router.get("/environments", tags=["environments"])
    async def list_environments() -> schemas.Environments:
        found = await service.environments()
        return schemas.Environments(environments=[schemas.EnvironmentOut.of(s) for s in found])

    @router.post("/environments", tags=["environments"], status_code=201)
    async def create_environment(body: schemas.CreateEnvironment) -> schemas.EnvironmentDetail:
        kind = EnvironmentKind(body.kind)
        view = await service.create_environment(body.name, kind, body.cluster, body.manifests)
        return routes.detail(view)

    @router.put(
        "/environments/{name}", tags=["environments"], responses={201: {"model": schemas.PutOut}}
    )
    async def put_environment(
        name: str, body: schemas.PutEnvironment, response: Response
    ) -> schemas.PutOut:
        kind = None if body.kind is None else EnvironmentKind(body.kind)
        put = await service.put_environment(name, kind, body.cluster, body.manifests)
        if put.created:
            response.status_code = 201
        return schemas.PutOut.of_put(put, routes.detail(put.view))

    @router.get("/environments/{ref}", tags=["environments"])
    async def get_environment(ref: str) -> schemas.EnvironmentDetail:
        return routes.detail(await service.view(ref))

    @router.delete("/environments/{ref}", tags=["environments"], status_code=204)
    async def delete_environment(ref: str) -> None:
        await service.delete_environment(ref)


def _add_log_routes(router: APIRouter, service: ApiService, logs: LogReaders) -> None:
    lines_of = {"content": {LogResponse.media_type: {}}, "description": "One JSON object a line."}

    @router.get(
        "/environments/{ref}/logs",
        tags=["logs"],
        response_class=LogResponse,
        status_code=200,
        responses={200: lines_of},
    )
    async def read_logs(
        ref: str,
        workload: str = "",
        container: str = "",
        lines: Annotated[int, Query(ge=0, le=MAX_LOG_LINES)] = 100,
        follow: bool = False,
    ) -> LogResponse:
        question = LogQuestion(workload, container, lines, follow)
        return LogResponse(logs, await service.log_source(ref, question))


def _add_branch_routes(router: APIRouter, routes: _Routes) -> None:
    service = routes.service

    @router.post("/environments/{ref}/branches", tags=["branches"], status_code=201)
    async def create_branch(ref: str, body: schemas.CreateBranch) -> schemas.EnvironmentDetail:
        return routes.detail(await service.create_branch(ref, body.name))

    @router.put("/environments/{branch}/workloads/{workload}", tags=["branches"])
    async def change_workload(
        branch: str, workload: str, body: schemas.PutWorkload
    ) -> schemas.EnvironmentDetail:
        edit = WorkloadEdit(body.manifest, body.patch or {})
        return routes.detail(await service.change_workload(branch, workload, edit))

    @router.delete("/environments/{branch}/workloads/{workload}", tags=["branches"])
    async def reset_workload(branch: str, workload: str) -> schemas.EnvironmentDetail:
        return routes.detail(await service.reset_workload(branch, workload))


def _add_preview_routes(router: APIRouter, routes: _Routes) -> None:
    service = routes.service

    @router.get("/environments/{ref}/previews", tags=["previews"])
    async def list_previews(ref: str) -> schemas.Previews:
        found = await service.previews(ref)
        return schemas.Previews(previews=[routes.preview(preview) for preview in found])

    @router.post("/environments/{ref}/previews", tags=["previews"], status_code=201)
    async def create_preview(
        ref: str, body: schemas.CreatePreview, response: Response
    ) -> schemas.PreviewOut:
        wish = PreviewWish(
            body.service, body.port, tcp=body.tcp, answer_timeout=body.answer_timeout
        )
        preview, new = await service.create_preview(ref, wish)
        if not new:
            response.status_code = 200
        return routes.preview(preview)

    @router.delete("/previews/{label}", tags=["previews"], status_code=204)
    async def remove_preview(label: str) -> None:
        await service.remove_preview(label)


def _add_intercept_routes(router: APIRouter, routes: _Routes) -> None:
    service = routes.service

    @router.get("/intercepts", tags=["intercepts"])
    async def list_all_intercepts(device: str | None = None) -> schemas.Intercepts:
        found = await service.intercepts(device=None if device is None else DeviceId(device))
        return schemas.Intercepts(intercepts=[routes.intercept(i) for i in found])

    @router.get("/environments/{ref}/intercepts", tags=["intercepts"])
    async def list_intercepts(ref: str) -> schemas.Intercepts:
        found = await service.intercepts(environment=ref)
        return schemas.Intercepts(intercepts=[routes.intercept(i) for i in found])

    @router.post("/environments/{ref}/intercepts", tags=["intercepts"], status_code=201)
    async def create_intercept(ref: str, body: schemas.CreateIntercept) -> schemas.InterceptOut:
        wish = InterceptWish(
            service=body.service,
            device=DeviceId(body.device),
            ports=tuple(PortMap(port.service_port, port.local_port) for port in body.ports),
            include_branches=body.include_branches,
        )
        return routes.intercept(await service.create_intercept(ref, wish))

    @router.delete("/intercepts/{id}", tags=["intercepts"], status_code=204)
    async def remove_intercept(id: str) -> None:
        await service.remove_intercept(InterceptId(id))


def _with_bearer_scheme(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the credential every call needs: the guard stands outside the routes."""
    scheme = {"type": "http", "scheme": "bearer"}
    components = {**schema.get("components", {}), "securitySchemes": {"token": scheme}}
    return {**schema, "components": components, "security": [{"token": []}]}

"""The shop's page as text: one template, no external assets."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

TEMPLATE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
EXPLAINED = {
    "web": "this page",
    "api": "prices and checkout",
    "search": "finds products",
    "redis": "counts visits",
}


def read_links(path: str) -> dict[str, str]:
    """Name → URL of the shop's other previews, from the file the deployment mounted, if any."""
    try:
        links = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return {str(name): str(url) for name, url in links.items()}


def render(state: dict[str, Any], query: str, links: dict[str, str], host: str) -> str:
    current = next((name for name, url in links.items() if urlsplit(url).netloc == host), "")
    return TEMPLATE.substitute(
        title=escape(current or "shop"),
        previews="".join(_preview(name, url, name == current) for name, url in links.items()),
        hops="".join(_hop(hop) for hop in state["hops"]),
        items="".join(_item(item) for item in state["items"]) or _nothing(query),
        query=escape(query, quote=True),
        checkout=escape(str(state.get("checkout", "unavailable"))),
        visits=escape(str(state.get("visits") or "unknown")),
    )


def _preview(name: str, url: str, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    return f'<a href="{escape(url, quote=True)}"{mark}>{escape(name)}</a>'


def _hop(hop: dict[str, Any]) -> str:
    service, error = str(hop["service"]), hop.get("error")
    kind = "down" if error else _kind(service, str(hop["version"]))
    version = "no answer" if error else str(hop["version"])
    note = str(error or EXPLAINED.get(service, ""))
    runtime = "" if error else f"runs on {hop.get('runtime', '')}"
    return (
        f'<li class="{kind}"><span class="service">{escape(service)}</span>'
        f'<strong>{escape(version)}</strong><span class="note">{escape(note)}</span>'
        f'<span class="note">{escape(runtime)}</span></li>'
    )


def _kind(service: str, version: str) -> str:
    if version == "laptop":
        return "laptop"
    return "base" if version == "v1" or service == "redis" else "changed"


def _item(item: dict[str, Any]) -> str:
    return f"<li><span>{escape(str(item['name']))}</span><b>€ {escape(str(item['price']))}</b></li>"


def _nothing(query: str) -> str:
    return f'<li class="nothing">Nothing found for “{escape(query)}”.</li>'

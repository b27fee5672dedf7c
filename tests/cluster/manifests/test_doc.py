"""What is read is what docs/your-application.md says."""

from __future__ import annotations

import pytest

from lapdev.cluster.manifests.command import COMMAND_ANNOTATION, PYTHON_ANNOTATION
from lapdev.cluster.manifests.left_out import IGNORED_KINDS
from lapdev.cluster.manifests.objects import SUPPORTED_KINDS
from lapdev.cluster.manifests.workload_parts import UPDATE_ANNOTATION
from tests.support.needs import PROJECT

TEXT = (PROJECT / "docs" / "your-application.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", sorted({*SUPPORTED_KINDS, *IGNORED_KINDS}))
def test_every_kind_is_documented(kind: str) -> None:
    assert kind in TEXT.replace("|", ",").replace("`", "").replace(",", " ").split() or (
        f"kind: {kind}" in TEXT
    )


@pytest.mark.parametrize("name", [COMMAND_ANNOTATION, PYTHON_ANNOTATION, UPDATE_ANNOTATION])
def test_every_annotation_is_documented(name: str) -> None:
    assert f"`{name}" in TEXT

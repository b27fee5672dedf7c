"""Applications from files: what they are is seen from their content."""

from __future__ import annotations

from pathlib import Path

from lapdev.client.application_files import read_application

OBJECTS = "kind: ConfigMap\nmetadata: {name: a}\n"


def test_kubernetes_yaml_is_taken_as_it_is_and_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop_2"
    folder.mkdir()
    one, two = folder / "one.yaml", folder / "two.yaml"
    one.write_text(OBJECTS)
    two.write_text(OBJECTS.replace("a}", "b}"))
    application = read_application([str(one), str(two)], {})
    assert application.name == "my-shop-2"
    assert [item["metadata"]["name"] for item in application.objects] == ["a", "b"]
    assert application.files == {str(one), str(two)}
    assert application.notes == ()

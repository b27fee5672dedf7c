"""The files a pod sees instead of the machine's."""

from __future__ import annotations

from pathlib import Path

from lapdev.cluster.pod_files import hosts_text, kept_paths, rewrite, write_pod_files


def test_services_are_found_under_all_their_names() -> None:
    text = hosts_text("web-x", "198.18.0.2", "shop", {"b": "198.18.2.2", "api": "198.18.2.1"})
    assert text.splitlines()[2:] == [
        "198.18.0.2 web-x",
        "198.18.2.1 api api.shop api.shop.svc api.shop.svc.cluster.local",
        "198.18.2.2 b b.shop b.shop.svc b.shop.svc.cluster.local",
    ]


def test_every_file_has_a_placeholder_for_machines_without_it(tmp_path: Path) -> None:
    files = write_pod_files(tmp_path, "web-x", "198.18.0.1", "hosts\n")
    assert set(files) == {"/etc/hosts", "/etc/resolv.conf", "/etc/hostname"}
    assert Path(files["/etc/hosts"]).read_text() == "hosts\n"
    assert "nameserver 198.18.0.1\n" in Path(files["/etc/resolv.conf"]).read_text()
    placeholders = {path.name for path in (tmp_path / "placeholders").iterdir()}
    assert placeholders == {"hosts", "resolv.conf", "hostname"}


def test_a_rewritten_file_is_still_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("a longer text\n")
    with file.open() as reader:
        rewrite(file, "short\n")
        assert reader.read() == "short\n"


def test_only_what_a_covered_folder_would_hide_is_kept(tmp_path: Path) -> None:
    script = tmp_path / "app" / "main.py"
    script.parent.mkdir()
    script.touch()
    words = ["/bin/sh", "relative", str(script), f"{tmp_path}/does/not/exist", str(tmp_path)]
    assert kept_paths(words, ["/usr"], [str(tmp_path)]) == [str(script.parent)]
    assert kept_paths(words, ["/usr"], ["/elsewhere"]) == []


def test_a_folder_inside_a_kept_folder_is_not_kept_twice() -> None:
    always = ["/tmp/a/b", "/tmp/a", "/dev/shm/c", "/tmp"]
    assert kept_paths([], always, ["/tmp", "/dev/shm"]) == ["/dev/shm/c", "/tmp/a"]

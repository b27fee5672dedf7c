"""The files a pod sees instead of the machine's."""

from __future__ import annotations

from pathlib import Path

from lapdev.cluster.pod_files import (
    PodNames,
    hosts_text,
    kept_paths,
    resolver_text,
    switch_text,
    write_pod_files,
)

NAMED = {"hosts", "resolv.conf", "hostname", "nsswitch.conf"}
NAMES = PodNames("web-x", "198.18.0.2", "shop", "198.18.0.1")


def test_a_pod_knows_itself_and_its_aliases_without_asking() -> None:
    aliases = (("127.0.0.1", ("db", "cache")), ("192.0.2.1", ("legacy.example",)))
    names = PodNames("web-x", "198.18.0.2", "shop", "198.18.0.1", host_aliases=aliases)
    assert hosts_text(names).splitlines() == [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        "198.18.0.2 web-x",
        "127.0.0.1 db cache",
        "192.0.2.1 legacy.example",
    ]


def test_a_pod_of_a_headless_service_has_that_name_first() -> None:
    names = PodNames("db-0", "198.18.0.2", "shop", "198.18.0.1", subdomain="db")
    assert hosts_text(names).splitlines()[2] == ("198.18.0.2 db-0.db.shop.svc.cluster.local db-0")


def test_short_names_are_completed_as_in_a_cluster() -> None:
    assert resolver_text(NAMES).splitlines()[:2] == [
        "nameserver 198.18.0.1",
        "search shop.svc.cluster.local svc.cluster.local cluster.local",
    ]


def test_names_come_from_the_pods_files_whatever_the_machine_asks() -> None:
    machines = "passwd: files systemd\n# hosts: dns\nhosts: resolve [!UNAVAIL=return] files\nx: y\n"
    assert switch_text(machines).splitlines() == [
        "passwd: files systemd",
        "# hosts: dns",
        "x: y",
        "hosts: files dns",
    ]
    assert switch_text("") == "hosts: files dns\n"


def test_every_file_has_a_placeholder_for_machines_without_it(tmp_path: Path) -> None:
    (tmp_path / "switch").write_text("hosts: mdns\n")
    files = write_pod_files(tmp_path, NAMES, tmp_path / "switch")
    assert set(files) == {f"/etc/{name}" for name in NAMED}
    assert Path(files["/etc/hosts"]).read_text() == hosts_text(NAMES)
    assert Path(files["/etc/resolv.conf"]).read_text() == resolver_text(NAMES)
    assert Path(files["/etc/hostname"]).read_text() == "web-x\n"
    placeholders = {path.name for path in (tmp_path / "placeholders").iterdir()}
    assert placeholders == NAMED
    assert Path(files["/etc/nsswitch.conf"]).read_text() == "hosts: files dns\n"
    without = write_pod_files(tmp_path / "other", NAMES, tmp_path / "none")
    assert set(without) == set(files) - {"/etc/nsswitch.conf"}


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


def test_what_is_refused_is_not_kept_because_a_command_names_it(tmp_path: Path) -> None:
    private, link = tmp_path / "data", tmp_path / "link"
    (private / "volumes" / "other").mkdir(parents=True)
    (private / "volumes" / "other" / "key").touch()
    link.symlink_to(private / "volumes")
    words = [f"{private}/volumes/other", f"{private}/volumes/other/key", f"{link}/other"]
    assert kept_paths(words, [], [str(tmp_path), str(private)], [str(private)]) == []
    # What lapdev itself runs from is, wherever it is.
    own = f"{private}/python"
    assert kept_paths([], [own], [str(private)], [str(private)]) == [own]

"""A supervisor with a certificate: what its cloud and this machine's clients are told."""

from __future__ import annotations

import json
from pathlib import Path

from lapdev.embedded.files import DataDir
from lapdev.embedded.supervisor import Supervisor, cloud_flags
from lapdev.serve import parse_flags
from lapdev.settings import EmbeddedSettings


def test_the_cloud_gets_the_certificate_and_https_urls(tmp_path: Path) -> None:
    settings = EmbeddedSettings(data_dir=str(tmp_path), tls_cert="/c.pem", tls_key="/k.pem")
    supervisor = Supervisor(settings)
    flags = parse_flags("cloud", cloud_flags(supervisor, 7, 8443))
    assert (flags["tls_cert"], flags["tls_key"]) == ("/c.pem", "/k.pem")
    assert flags["public_url"] == "https://lapdev.localhost:8443"
    # The certificate is for the domain's names, not for the address that is listened on.
    assert supervisor.server.startswith("https://lapdev.localhost:")


def test_clients_of_this_machine_believe_the_certificate(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.write_client_file("https://lapdev.localhost:8443", "/c.pem")
    assert json.loads(data.client_file.read_text())["ca_file"] == "/c.pem"

"""Each tunnel as it is started: the settings its own documentation recommends, TCP forwarding.

All have one server end, where the visitors' ports are, and one client end beside the backends.
Within a class the ciphers are of one kind: AES-GCM, or none.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.tunnel.machine import ENDS_CPU, READY_TIMEOUT, Place, Started, python
from benchmarks.tunnel.peers import find

ENCRYPTED, PLAIN = "encrypted", "plain"
SSH_CIPHER = "aes128-gcm@openssh.com"


@dataclass(slots=True)
class Site:
    """Where one tunnel is set up."""

    started: Started
    folder: Path
    near: Place
    far: Place
    port: int
    """Where the server end listens, on the near address, for the client end."""
    visit: int
    """The port on the server's 127.0.0.1."""
    backend: int
    """The port on the client's."""
    keys: Keys

    @property
    def tunnel(self) -> str:
        return f"{self.near.address}:{self.port}"

    def server(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        return self.started.run(self.near, arguments, cpu=ENDS_CPU)

    def client(
        self, arguments: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        return self.started.run(self.far, arguments, cpu=ENDS_CPU, environment=environment)

    def wait_listening(self) -> None:
        """The server end accepts the client's.

        Raises:
            OSError: not within `READY_TIMEOUT`.
        """
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            self.started.check()
            try:
                with self.near.entered():
                    socket.create_connection((self.near.address, self.port), timeout=2.0).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def write(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(text)
        return str(file)


@dataclass(frozen=True, slots=True)
class Keys:
    """A certificate that signs itself, and an SSH key: made for one run."""

    folder: Path
    certificate: str = field(init=False)
    key: str = field(init=False)
    ssh: str = field(init=False)

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "ssh"):
            object.__setattr__(self, name, str(self.folder / f"{name}.pem"))

    def make(self, addresses: list[str]) -> None:
        names = ",".join(f"IP:{address}" for address in addresses)
        command = [find("openssl"), "req", "-x509", "-newkey", "ec"]
        command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        command += ["-subj", "/CN=benchmark", "-addext", f"subjectAltName={names}"]
        command += ["-keyout", self.key, "-out", self.certificate]
        subprocess.run(command, check=True, capture_output=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.ssh]
        subprocess.run(command, check=True)


Ends = tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    kind: str
    """The class it is compared in: ratios are to lapdev of the same class."""
    start: Callable[[Site], Ends]
    paths_only: bool = False
    """Of no interest where no packet is late or lost."""


def _lapdev(site: Site, *, tls: bool, links: int = 1) -> Ends:
    """`lapdev serve --role cloud` and `lapdev expose --tcp`, as anybody would run them."""
    token = site.write("token", secrets.token_urlsafe())
    Path(token).chmod(0o600)
    cloud = python("lapdev", "serve", "--role", "cloud", "--listen", site.tunnel)
    cloud += ["--data-dir", str(site.folder), "--bootstrap-token-file", token, "--admin", ""]
    cloud += ["--tcp-previews", f"127.0.0.1:{site.visit}-{site.visit}", "--log-level", "error"]
    expose = python("lapdev", "expose", "--tcp", "--port", str(site.visit), "--json")
    expose += [f"127.0.0.1:{site.backend}", "--token-file", token]
    url, environment = f"http://{site.tunnel}", {"XDG_STATE_HOME": str(site.folder)}
    environment["LAPDEV_TUNNEL_LINKS"] = str(links)
    if tls:
        url = f"https://{site.tunnel}"
        cloud += ["--tls-cert", site.keys.certificate, "--tls-key", site.keys.key]
        environment["LAPDEV_CA_FILE"] = site.keys.certificate
    server = site.server([*cloud, "--public-url", url])
    site.wait_listening()
    return server, site.client([*expose, "--server", url], environment)


def _bare(site: Site, *, tls: bool) -> Ends:
    """The same tunnel without the cloud around it."""
    route = f"{site.visit}:{site.backend}"
    cloud = python("benchmarks.tunnel.ends", "cloud", site.tunnel, route)
    url, environment = f"http://{site.tunnel}", {}
    if tls:
        cloud += ["--cert", site.keys.certificate, "--key", site.keys.key]
        url, environment = f"https://{site.tunnel}", {"SSL_CERT_FILE": site.keys.certificate}
    server = site.server(cloud)
    return server, site.client(python("benchmarks.tunnel.ends", "laptop", url), environment)


def _lapdev_plain(site: Site) -> Ends:
    return _lapdev(site, tls=False)


def _lapdev_tls(site: Site) -> Ends:
    return _lapdev(site, tls=True)


def _lapdev_links(site: Site) -> Ends:
    return _lapdev(site, tls=False, links=4)


def _bare_plain(site: Site) -> Ends:
    return _bare(site, tls=False)


def _bare_tls(site: Site) -> Ends:
    return _bare(site, tls=True)


def _chisel(site: Site) -> Ends:
    """SSH inside a websocket is its own encryption; TLS around that would be a second one."""
    listen = ["--host", site.near.address, "--port", str(site.port)]
    server = site.server([find("chisel"), "server", "--reverse", *listen])
    remote = f"R:127.0.0.1:{site.visit}:127.0.0.1:{site.backend}"
    retry = ["--max-retry-interval", "1s"]
    return server, site.client([find("chisel"), "client", *retry, f"http://{site.tunnel}", remote])


def _frp(site: Site, *, tls: bool) -> Ends:
    """Multiplexing is on and five connections wait in the pool: its default, and the most that a
    server allows unless told otherwise."""
    server = [f'bindAddr = "{site.near.address}"', f"bindPort = {site.port}"]
    server += ['proxyBindAddr = "127.0.0.1"', 'log.level = "error"']
    client = [f'serverAddr = "{site.near.address}"', f"serverPort = {site.port}"]
    client += ['log.level = "error"', "loginFailExit = false", "transport.poolCount = 5"]
    client += [f"transport.tls.enable = {str(tls).lower()}"]
    client += ["[[proxies]]", 'name = "backend"', 'type = "tcp"', 'localIP = "127.0.0.1"']
    client += [f"localPort = {site.backend}", f"remotePort = {site.visit}"]
    frps = site.server([find("frps"), "-c", site.write("frps.toml", "\n".join(server))])
    return frps, site.client([find("frpc"), "-c", site.write("frpc.toml", "\n".join(client))])


def _frp_tls(site: Site) -> Ends:
    return _frp(site, tls=True)


def _frp_plain(site: Site) -> Ends:
    return _frp(site, tls=False)


def _ssh(site: Site) -> Ends:
    Path("/run/sshd").mkdir(exist_ok=True)
    keys = site.keys
    authorized = site.write("authorized_keys", Path(f"{keys.ssh}.pub").read_text())
    config = [f"ListenAddress {site.tunnel}", f"HostKey {keys.ssh}", "UsePAM no"]
    config += [f"AuthorizedKeysFile {authorized}", "StrictModes no", "PermitRootLogin yes"]
    config += ["PidFile none", f"Ciphers {SSH_CIPHER}", "LogLevel ERROR"]
    sshd = site.server([find("sshd"), "-D", "-e", "-f", site.write("sshd", "\n".join(config))])
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", f"Ciphers={SSH_CIPHER}"]
    options += ["ExitOnForwardFailure=yes", "ConnectionAttempts=20", "LogLevel=ERROR"]
    command = [find("ssh"), "-N", "-F", "none", "-i", keys.ssh, "-p", str(site.port)]
    for option in options:
        command += ["-o", option]
    command += ["-R", f"127.0.0.1:{site.visit}:127.0.0.1:{site.backend}"]
    return sshd, site.client([*command, f"root@{site.near.address}"])


def _rathole(site: Site) -> Ends:
    server = ["[server]", f'bind_addr = "{site.tunnel}"', 'default_token = "benchmark"']
    client = ["[client]", f'remote_addr = "{site.tunnel}"', 'default_token = "benchmark"']
    client += ["retry_interval = 1"]
    server += ["[server.services.backend]", f'bind_addr = "127.0.0.1:{site.visit}"']
    client += ["[client.services.backend]", f'local_addr = "127.0.0.1:{site.backend}"']
    program = find("rathole")
    far = [program, "--client", site.write("rathole-client.toml", "\n".join(client))]
    near = [program, "--server", site.write("rathole-server.toml", "\n".join(server))]
    return site.server(near), site.client(far)


CONTESTANTS = (
    Contestant("lapdev wss", ENCRYPTED, _lapdev_tls),
    Contestant("bare wss", ENCRYPTED, _bare_tls),
    Contestant("chisel", ENCRYPTED, _chisel),
    Contestant("frp", ENCRYPTED, _frp_tls),
    Contestant("ssh -R", ENCRYPTED, _ssh),
    Contestant("lapdev ws", PLAIN, _lapdev_plain),
    Contestant("lapdev ws 4 links", PLAIN, _lapdev_links, paths_only=True),
    Contestant("bare ws", PLAIN, _bare_plain),
    Contestant("frp no tls", PLAIN, _frp_plain),
    Contestant("rathole", PLAIN, _rathole),
)
OURS = {ENCRYPTED: "lapdev wss", PLAIN: "lapdev ws"}

"""Objects: 64 MB in and out beside nginx, 1 KB beside MiniStack and moto.

`python -m bench objects` needs nginx (Debian's nginx-light) and wrk, and about 2 GB of disk for a while.
"""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from bench import peers, requests
from tests.running import Cloudlet, free_port, free_public_cidr

LARGE_BYTES, CLIENTS, LARGE_ROUNDS, EACH = 64 << 20, 4, 15, 4
SMALL_BYTES, SMALL_KEYS, SMALL_ROUNDS, SMALL_S = 1024, 1000, 7, 2
NEW_KEYS = 15_000  # more than any server takes in a round, so that none is put twice
BUCKET = "bench"
KEYS = Credentials("test", "test")
PIECE = 1 << 20


# ── The client, the same for all servers ─────────────────────────────────────────────────────────────────────────────

class Client:
    """One connection that is kept; it costs as little as can be."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(PIECE)

    def put(self, target: str, data: bytes) -> None:
        """Uploads; fails unless that was answered with success."""
        self.socket.sendall(f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        self.socket.sendall(data)
        self._answer(target)

    def get(self, target: str, size: int | None = None) -> None:
        """Downloads and forgets; fails where there are not so many bytes."""
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        found = self._answer(target)
        if size is not None and found != size:
            raise AssertionError(f"{target}: {found} bytes instead of {size}")

    def _answer(self, target: str) -> int:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.socket.recv(65536)
            if not piece:
                raise AssertionError(f"{target}: the connection ended")
            head += piece
        head, _, rest = head.partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 2",)):
            raise AssertionError((head + rest).decode("latin-1"))
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        size = int(found[1]) if found else 0
        left = size - len(rest)
        while left > 0:
            left -= self.socket.recv_into(self.buffer, min(left, PIECE))
        return size


def presigned(port: int, method: str, key: str) -> str:
    """The target of a request that a presigned URL allows; its body is not signed."""
    request = AWSRequest(method, f"http://127.0.0.1/{BUCKET}/{key}")
    S3SigV4QueryAuth(KEYS, "s3", "us-east-1", 3600).add_auth(request)
    return str(request.url).removeprefix("http://127.0.0.1")


def plain(port: int, method: str, key: str) -> str:
    """The same without a signature, for nginx."""
    return f"/{BUCKET}/{key}"


Target = Callable[[int, str, str], str]


def large_rate(port: int, target: Target, method: str, data: bytes, clients: int = CLIENTS, each: int = EACH) -> float:
    """MB a second while all clients move the data so many times."""
    def run(number: int) -> None:
        client = Client(port)
        where = target(port, method, f"large-{number}")
        for _ in range(each):
            client.put(where, data) if method == "PUT" else client.get(where, len(data))
        client.socket.close()
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(run, range(clients)))
    return len(data) * clients * each / (time.perf_counter() - started) / 1e6


# ── The servers ──────────────────────────────────────────────────────────────────────────────────────────────────────

@contextmanager
def nginx(directory: Path) -> Iterator[int]:
    """nginx with a worker for each processor, files by sendfile, uploads by WebDAV; its port."""
    port, root = free_port(), directory / "nginx"
    for name in ("files", "temporary"):
        (root / name).mkdir(parents=True)
        (root / name).chmod(0o777)
    root.chmod(0o755)
    directory.chmod(0o755)
    settings = root / "nginx.conf"
    settings.write_text(f"""
        daemon off; worker_processes auto; pid {root}/pid; error_log {root}/error.log;
        events {{ worker_connections 256; }}
        http {{ access_log off; sendfile on; tcp_nopush on; client_max_body_size 0; client_body_buffer_size 1m;
          client_body_temp_path {root}/temporary; proxy_temp_path {root}/t1; fastcgi_temp_path {root}/t2;
          uwsgi_temp_path {root}/t3; scgi_temp_path {root}/t4;
          server {{ listen 127.0.0.1:{port}; root {root}/files; dav_methods PUT DELETE; create_full_put_path on; }} }}
        """)
    process = subprocess.Popen(["nginx", "-c", str(settings), "-e", f"{root}/error.log"], stdin=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def s3_of(port: int) -> Any:
    """A client of any of the servers that speak S3."""
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                        aws_access_key_id="test", aws_secret_access_key="test",
                        config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 0}))


# ── Small objects, under wrk ─────────────────────────────────────────────────────────────────────────────────────────

def script(port: int, method: str, body: bytes, keys: list[str]) -> str:
    """A wrk script that goes round these keys with signed requests."""
    lines = ["local requests = {"]
    for key in keys:
        target = f"/{BUCKET}/{key}"
        request = AWSRequest(method, f"http://127.0.0.1:{port}{target}", data=body)
        S3SigV4Auth(KEYS, "s3", "us-east-1").add_auth(request)
        headers = ", ".join(f"[{json.dumps(name)}]={json.dumps(value)}" for name, value in request.headers.items())
        lines.append(f"{{{json.dumps(target)}, {{{headers}}}}},")
    given = json.dumps(body.decode()) if body else "nil"
    return "\n".join([*lines, "}", "local at = 0", "request = function()", "  at = at % #requests + 1",
                      f'  return wrk.format("{method}", requests[at][1], requests[at][2], {given})', "end"])


SMALL, AGAIN = b"x" * SMALL_BYTES, [f"small-{number}" for number in range(SMALL_KEYS)]


def measure_small() -> None:
    """1 KB in and out, one core for the servers and one for the load.

    The servers run side by side, and are asked for seconds in turn: on a machine whose speed drifts only what was
    measured one right after the other can be compared.
    """
    found: dict[tuple[str, str], list[float]] = {}
    peers.install()
    with (tempfile.TemporaryDirectory() as directory, requests.ours(Path(directory)) as cloudlet,
          peers.ministack(requests.SERVER_CPU) as ministack, peers.moto(requests.SERVER_CPU) as moto):
        requests.pin(cloudlet)
        ports = {"cloudlet": cloudlet.port, "ministack": ministack.port, "moto": moto.port}
        scripts: dict[str, dict[str, str]] = {"PUT of 1 KB, new keys": {}, "PUT of 1 KB again": {}, "GET of 1 KB": {}}
        new, again, gets = scripts.values()
        for server, port in ports.items():
            s3_of(port).create_bucket(Bucket=BUCKET)
            again[server], gets[server] = script(port, "PUT", SMALL, AGAIN), script(port, "GET", b"", AGAIN)
            requests.rate(port, again[server])
        for number in range(SMALL_ROUNDS):
            keys = [f"new-{number}-{key}" for key in range(NEW_KEYS)]
            new.update({server: script(port, "PUT", SMALL, keys) for server, port in ports.items()})
            for what, of_server in scripts.items():
                for server in ports if number % 2 else reversed(ports):
                    rate = requests.rate(ports[server], of_server[server], SMALL_S)
                    found.setdefault((server, what), []).append(rate)
    for what in scripts:
        medians = {server: statistics.median(found[server, what]) for server in ports}
        times = {server: statistics.median(ours / theirs for ours, theirs in zip(
            found["cloudlet", what], found[server, what], strict=True)) for server in ports}
        print(f"{what}: " + ", ".join(f"{server} {median:,.0f}/s" for server, median in medians.items())
              + f"; {times['ministack']:.1f} × MiniStack (2 wanted), {times['moto']:.1f} × moto (5 wanted)", flush=True)


def measure_large() -> None:
    """64 MB in and out with four clients, in turn here and on nginx."""
    data = os.urandom(LARGE_BYTES)
    ratios: dict[str, list[float]] = {"PUT": [], "GET": []}
    rates: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        cloudlet = Cloudlet(directory / "data", free_port(), free_public_cidr())
        with cloudlet, nginx(directory) as port:
            s3_of(cloudlet.port).create_bucket(Bucket=BUCKET)
            for number in range(LARGE_ROUNDS):
                for method in ("PUT", "GET"):
                    sides = [("ours", cloudlet.port, presigned), ("nginx", port, plain)]
                    found = {}
                    for side, at, target in sides if number % 2 else reversed(sides):
                        os.sync()
                        found[side] = large_rate(at, target, method, data)
                        rates.setdefault((side, method), []).append(found[side])
                    ratios[method].append(found["ours"] / found["nginx"])
    for method in ("PUT", "GET"):
        ours, theirs = (statistics.median(rates[side, method]) for side in ("ours", "nginx"))
        print(f"{method} of 64 MB, {CLIENTS} clients: {ours:,.0f} MB/s, nginx {theirs:,.0f} MB/s:"
              f" {statistics.median(ratios[method]):.2f} × (median of {LARGE_ROUNDS} rounds; at least 0.7 wanted)",
              flush=True)


def main() -> None:
    """What there are programs for."""
    if shutil.which("nginx"):
        measure_large()
    else:
        print("64 MB: not measured, needs nginx")
    if shutil.which("wrk"):
        measure_small()
    else:
        print("1 KB: not measured, needs wrk")

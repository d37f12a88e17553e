"""The registry behind the real server: large bodies both ways on one connection, and clients that leave."""

import os

from cloudlet.store.blobs import digest_of
from tests.services.ecr.counter import Client, Counter

DATA = os.urandom(9_000_001)
DIGEST = digest_of(DATA)


def test_push_and_pull_on_one_connection(client: Client) -> None:
    started = client.ask("POST", "/v2/app/blobs/uploads/")
    assert (started.status, started.read()) == (202, b"")
    location = started.headers["location"]
    pieces = (DATA[at:at + 100_000] for at in range(0, len(DATA), 100_000))
    patched = client.ask("PATCH", location, pieces)  # an iterator is sent chunked
    assert (patched.status, patched.read()) == (202, b"")
    assert patched.headers["range"] == f"0-{len(DATA) - 1}"
    status = client.ask("GET", location)
    assert (status.status, status.read(), status.headers["content-length"]) == (204, b"", None)
    finished = client.ask("PUT", f"{location}?digest={DIGEST}")
    assert (finished.status, finished.read()) == (201, b"")
    for wanted, expected in (("", DATA), ("bytes=1-8000000", DATA[1:8_000_001]), ("bytes=-5", DATA[-5:])):
        got = client.ask("GET", f"/v2/app/blobs/{DIGEST}", **({"range": wanted} if wanted else {}))
        assert got.read() == expected
    head = client.ask("HEAD", f"/v2/app/blobs/{DIGEST}")
    assert (head.read(), head.headers["content-length"]) == (b"", str(len(DATA)))
    assert client.ask("GET", "/v2/").read() == b"{}"


def test_a_client_that_leaves_during_a_pull_harms_nobody(counter: Counter, client: Client, port: int) -> None:
    client.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", DATA).read()
    for _ in range(3):
        leaver = Client(port, counter.password)
        response = leaver.ask("GET", f"/v2/app/blobs/{DIGEST}")
        response.read(1000)
        response.close()
        leaver.close()
    assert client.ask("GET", f"/v2/app/blobs/{DIGEST}").read() == DATA


def test_a_client_that_leaves_during_a_push_can_resume(counter: Counter, client: Client, port: int) -> None:
    location = client.ask("POST", "/v2/app/blobs/uploads/").headers["location"]
    client.close()
    leaver = Client(port, counter.password)
    leaver.putrequest("PATCH", location)
    for name, value in (("authorization", leaver.authorization), ("content-length", str(len(DATA)))):
        leaver.putheader(name, value)
    leaver.endheaders()
    leaver.send(DATA[:5_000_000])
    leaver.close()
    while True:
        status = client.ask("GET", location)
        status.read()
        offset = int(status.headers["range"].partition("-")[2]) + 1
        resumed = client.ask("PATCH", location, DATA[offset:], **{"content-range": f"{offset}-{len(DATA) - 1}"})
        resumed.read()
        if resumed.status == 202:
            break
        assert resumed.status in (409, 416)  # the first request is still being noticed as gone
    assert 0 < offset <= 5_000_000
    assert client.ask("PUT", f"{location}?digest={DIGEST}").status == 201

"""The live report's server: who gets an answer, and when the page is made anew."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvdtrain.collect.report.serve import HOST, ReportServer
from hvdtrain.errors import InputError
from tests.collect.records import make_record, write_record


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReportServer]:
    write_record(tmp_path, make_record("first"))
    with ReportServer(tmp_path, 0, lambda state: f"<p>page {state}</p>") as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join(30)
        assert not thread.is_alive()


def ask(
    server: ReportServer, path: str, host: str | None = None, verb: str = "GET"
) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=30)
    connection.request(verb, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, answer.headers


def test_it_listens_on_loopback_alone(server: ReportServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.address.startswith(f"http://127.0.0.1:{server.server_port}/")
    assert len(server.path) > 16


def test_the_page_is_made_anew_when_a_run_has_written(server: ReportServer, tmp_path: Path) -> None:
    status, before, _ = ask(server, server.path)
    assert status == 200
    assert ask(server, server.path)[1] == before
    assert ask(server, f"{server.path}state")[1] in before
    write_record(tmp_path, make_record("second"))
    after = ask(server, server.path)[1]
    assert after != before
    assert ask(server, f"{server.path}state")[1] in after


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil:80", "127.0.0.1.evil", "1127.0.0.1:80", ""],
)
def test_another_name_gets_nothing(server: ReportServer, host: str) -> None:
    status, body, _ = ask(server, server.path, host)
    assert status == 403
    assert "page" not in body


def test_its_own_names_get_the_page(server: ReportServer) -> None:
    for name in ("127.0.0.1", "localhost", "[::1]"):
        assert ask(server, server.path, f"{name}:{server.server_port}")[0] == 200
        # ssh -L has given it another port on the machine of the browser.
        assert ask(server, server.path, f"{name}:8080")[0] == 200
        assert ask(server, server.path, name)[0] == 200


@pytest.mark.parametrize("path", ["/", "/state", "/../../etc/passwd", "/x/state"])
def test_who_does_not_know_the_address_gets_nothing(server: ReportServer, path: str) -> None:
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize(("verb", "status"), [("HEAD", 200), ("POST", 501), ("OPTIONS", 501)])
def test_nothing_but_reading_is_answered(server: ReportServer, verb: str, status: int) -> None:
    answered, _, _ = ask(server, server.path, verb=verb)
    assert answered == status


def test_no_other_site_may_hold_the_page(server: ReportServer) -> None:
    headers = ask(server, server.path)[2]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_port_that_is_taken_is_wrong_input(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(InputError) as caught:
            ReportServer(tmp_path, taken.getsockname()[1], str)
    assert caught.value.field == "--serve"

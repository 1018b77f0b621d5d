"""Other sites' pages get nothing, and every answer tells browsers to be strict."""

import socket

import pytest

from tests.served import SECONDS, app_served
from utils.web import hosts
from utils.web.guard import HEADERS


@pytest.fixture(scope="module")
def app():
    with app_served() as served:
        yield served


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/app.js", 200),
        ("GET", "/world.json", 200),
        ("GET", "/api/health", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/api/jobs/away", 404),
        ("GET", "/away", 404),
        ("HEAD", "/", 200),
        ("HEAD", "/api/health", 200),
        ("HEAD", "/api/options", 200),
        ("HEAD", "/openapi.json", 200),
        ("HEAD", "/api/jobs/away", 404),
        ("HEAD", "/api/jobs/away/ranking", 404),
        ("HEAD", "/api/jobs/away/report", 404),
        ("HEAD", "/api/jobs/away/shown", 404),
        ("HEAD", "/api/locate", 405),
        ("GET", "/api/jobs", 405),
        ("PUT", "/api/locate", 405),
        ("POST", "/api/locate", 415),
    ],
)
def test_every_answer_has_the_headers(app, method, path, status):
    response = app.client.request(method, path)
    assert response.status_code == status
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert "server" not in response.headers
    if method == "HEAD":  # as GET, without a body
        assert response.content == b""
        assert response.headers["content-type"] == app.client.get(path).headers["content-type"]
        assert int(response.headers["content-length"]) == len(app.client.get(path).content)
    assert "access-control-allow-origin" not in response.headers
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy.pop("img-src") == "'self' data: blob:"
    assert (policy["default-src"], policy["frame-ancestors"]) == ("'none'", "'none'")
    assert set(policy.values()) == {"'none'", "'self'"}  # nothing inline, nothing evaluated, no other host


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("[::1]:{port}", 200),
        ("evil.example", 400),
        ("evil.example:{port}", 400),
        ("localhost.evil.example", 400),
        ("localhost@evil.example", 400),
        ("evil.example/localhost", 400),
        ("127.0.0.1.evil.example", 400),
        ("10.0.0.7:{port}", 400),
        ("localhost:port", 400),
        ("", 400),
    ],
)
def test_a_request_names_the_app(app, host, status):
    port = app.url.rsplit(":", 1)[1]
    response = app.client.get("/api/health", headers={"host": host.format(port=port)})
    assert response.status_code == status
    assert response.json().keys() == ({"status", "waiting"} if status == 200 else {"error"})
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("hosts", ["", "Host: 127.0.0.1\r\nHost: evil.example\r\n"], ids=["none", "two"])
def test_one_host_is_named(app, hosts):
    with socket.create_connection(("127.0.0.1", int(app.url.rsplit(":", 1)[1])), timeout=SECONDS) as raw:
        raw.sendall(f"GET /api/health HTTP/1.1\r\n{hosts}\r\n".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "{url}"}, 200),
        ({"origin": "{url}", "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "{url}.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "{url}", "sec-fetch-site": "same-site"}, 403),
    ],
)
def test_only_its_own_page_may_send(app, headers, status):
    headers = {name: value.format(url=app.url) for name, value in headers.items()}
    asked = len(app.finder.asked)
    files = {"photo": ("a.png", b"no photo")}
    response = app.client.post("/api/locate", files=files, headers=headers)
    assert response.status_code == (422 if status == 200 else status)
    assert app.client.delete("/api/jobs/away", headers=headers).status_code == (404 if status == 200 else status)
    assert len(app.finder.asked) == asked


def test_no_other_origin_is_invited(app):
    headers = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    response = app.client.options("/api/locate", headers=headers)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_behind_a_wildcard_any_address_will_do():
    with app_served(host="0.0.0.0") as app:
        assert app.url.startswith("http://127.0.0.1:")
        answers = {host: app.client.get("/api/health", headers={"host": host}) for host in ("10.0.0.7", "evil.example")}
        assert [answer.status_code for answer in answers.values()] == [200, 400]


@pytest.mark.parametrize(
    ("own", "shown"),
    [("10.1.2.3", "http://10.1.2.3:80/"), ("fd00::7", "http://[fd00::7]:80/"), ("127.0.0.1", None), (None, None)],
)
def test_the_address_for_others(monkeypatch, own, shown):
    """The one that this machine has on its way to them, if there is a way."""

    class Probe:
        def __init__(self, family, kind):
            assert (family, kind) == (socket.AF_INET6 if own and ":" in own else socket.AF_INET, socket.SOCK_DGRAM)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def connect(self, peer):
            if own is None:
                raise OSError("Network is unreachable")

        def getsockname(self):
            return own, 50_000

    monkeypatch.setattr(hosts.socket, "socket", Probe)
    assert hosts.url_for_others("::" if own and ":" in own else "0.0.0.0", 80) == shown


def test_hosts_and_addresses():
    assert hosts.host_name("Name.Example:80") == "name.example"
    assert hosts.host_name("[::1]:8000") == "::1"
    assert {hosts.host_name(text) for text in ("", "a:b", "a/b", "a b@c", "[::1", "a:70000")} == {None}
    assert hosts.url("::1", 80) == "http://[::1]:80/"
    assert hosts.names("192.168.1.5")[-1] == "192.168.1.5"

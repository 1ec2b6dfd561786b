"""The door: Host, Origin, token, sizes, rates, headers, log."""

import logging

import pytest
from serving import picture_bytes

from mmreid_uda.serve import Limits, ServerSettings
from mmreid_uda.serve.guard import COOKIE
from mmreid_uda.utils import InputError

TOKEN = "a-token-of-two-words-and-more"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


def error(response, status):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"} and response.json()["error"].startswith("found ")
    return response.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
def test_a_server_of_this_machine_goes_by_its_names(client, host):
    assert client.get("/v1/health", headers={"host": host}).json()["status"] == "ok"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.7",
        "",
        "localhost@evil.example",
        "a b",
        "[::1",
    ],
)
def test_a_name_that_was_pointed_here_is_refused(client, host):
    assert "--name" in error(client.get("/v1/health", headers={"host": host}), 421)


def test_other_names_are_those_it_was_started_for(serve):
    client = serve(names=("search.example.org",), tokens={"ann": TOKEN}, host="10.0.0.7")
    for host, status in (("search.example.org", 200), ("10.0.0.7:80", 200), ("localhost", 421)):
        assert client.get("/v1/health", headers={"host": host}).status_code == status
    everywhere = ServerSettings(host="0.0.0.0", tokens={"ann": TOKEN})
    assert everywhere.is_called("10.0.0.7", "10.0.0.7")
    assert not everywhere.is_called("10.0.0.8", "10.0.0.7")
    assert not everywhere.is_called("localhost", "10.0.0.7")
    assert everywhere.is_called("localhost", "127.0.0.1")


def test_other_machines_need_a_token():
    with pytest.raises(InputError, match="--token-file"):
        ServerSettings(host="0.0.0.0")
    assert TOKEN not in repr(ServerSettings(host="0.0.0.0", tokens={"ann": TOKEN}))


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
    ],
)
def test_acts_come_from_the_own_page_or_from_no_page(client, gallery, headers, status):
    body = {"ids": next(gallery.scan()).ids[:1], "identity": "x"}
    assert client.patch("/v1/items", json=body, headers=headers).status_code == status
    assert gallery.count() == 60 and gallery.values("identity").get("x", 0) == (status == 200)


def test_a_link_from_elsewhere_opens_the_page_but_no_form_of_elsewhere_is_taken(client):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/v1/docs", headers=headers).status_code == 200
    assert client.get("/v1/docs", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    # What a form can send without asking first is no JSON.
    body = b'{"where": {}, "everything": true}'
    sent = client.post("/v1/items/delete", content=body, headers={"content-type": "text/plain"})
    assert sent.status_code == 422


def test_all_of_the_api_but_health_and_login_needs_the_token(serve):
    client = serve(tokens={"ann": TOKEN, "bob": TOKEN + "2"})
    assert client.get("/v1/health").status_code == 200
    for path in ("/v1/info", "/v1/openapi.json", "/v1/docs", "/v1/nothing"):
        assert "Bearer" in error(client.get(path), 401)
    for wrong in ("Bearer x", "Basic " + TOKEN, TOKEN, "Bearer", "Bearer é"):
        headers = {"authorization": wrong.encode()}
        assert client.get("/v1/info", headers=headers).status_code == 401
    assert client.get("/v1/info", headers=AUTHORIZED).json()["who"] == "ann"
    headers = {"authorization": f"bearer {TOKEN}2"}
    assert client.get("/v1/info", headers=headers).json()["who"] == "bob"


def test_a_login_gives_a_cookie_that_is_not_the_token(serve):
    client = serve(tokens={"ann": TOKEN})
    error(client.post("/v1/login", data={"token": "wrong"}), 401)
    assert not client.cookies
    entered = client.post("/v1/login", data={"token": TOKEN}, follow_redirects=False)
    cookie = entered.headers["set-cookie"]
    assert entered.status_code == 303 and entered.headers["location"] == "/"
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert client.get("/v1/info").json()["who"] == "ann"
    value = client.cookies[COOKIE]
    other = serve(tokens={"ann": TOKEN})
    assert other.get("/v1/info", headers={"cookie": f"{COOKIE}={value}"}).status_code == 401
    assert other.get("/v1/info", headers={"cookie": "\x00=;;,"}).status_code == 401


def test_every_response_has_the_headers_that_hold_a_browser_back(serve):
    client = serve(tokens={"ann": TOKEN})
    responses = [
        client.get("/v1/health"),
        client.get("/v1/info"),
        client.get("/v1/nothing", headers=AUTHORIZED),
        client.get("/v1/docs", headers=AUTHORIZED),
        client.get("/v1/health", headers={"host": "evil.example"}),
    ]
    for response in responses:
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in response.headers
    preflight = client.options("/v1/items", headers={**AUTHORIZED, "origin": "http://evil.example"})
    assert preflight.status_code == 403


def test_a_body_is_refused_by_what_it_says_or_as_soon_as_it_is_too_long(serve):
    client = serve(limits=Limits(rate=0, image_bytes=2000, images=2, body_bytes=1000))
    read = []

    def parts(num, size):
        for number in range(num):
            read.append(number)
            yield b"x" * size

    form = {"content-type": "multipart/form-data; boundary=b"}
    said = error(client.post("/v1/search", content=b"x" * 6000, headers=form), 413)
    assert "5000 bytes" in said
    # In parts and without a length: the rest is not asked for.
    error(client.post("/v1/search", content=parts(1000, 1000), headers=form), 413)
    json = {"content-type": "application/json"}
    error(client.post("/v1/search/items", content=parts(5, 300), headers=json), 413)
    error(client.post("/v1/search/items", content=b"1" * 1001, headers=json), 413)


def test_a_client_that_asks_too_often_is_told_when_to_come_back(serve):
    client = serve(limits=Limits(rate=0.01, burst=3))
    statuses = [client.get("/v1/info").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = client.get("/v1/info")
    assert "--rate" in error(refused, 429) and 60 < int(refused.headers["retry-after"]) <= 100


def test_the_log_holds_no_query_no_token_and_no_foreign_lines(serve, caplog):
    client = serve(tokens={"ann": TOKEN})
    with caplog.at_level(logging.INFO, "mmreid_uda.serve"):
        client.get("/v1/items?cameras=secret", headers=AUTHORIZED)
        client.post("/v1/login", data={"token": TOKEN}, follow_redirects=False)
        client.get("/v1/x%0Aforged%1b", headers=AUTHORIZED)
    lines = [record.getMessage() for record in caplog.records if record.name == "mmreid_uda.serve"]
    assert [line.split()[1:4] for line in lines] == [
        ["GET", "/v1/items", "200"],
        ["POST", "/v1/login", "303"],
        ["GET", "/v1/x%0Aforged%1B", "404"],
    ]
    assert TOKEN not in caplog.text and "secret" not in caplog.text


def test_a_fault_of_the_server_is_a_sentence_and_its_reason_is_in_the_log(serve, caplog):
    class Broken:
        fingerprint = "c" * 64
        cfg = type("cfg", (), {"test_pipeline": []})

        def extract(self, images):
            raise RuntimeError(f"no such kernel {TOKEN}")

    client = serve(inferencer=Broken())
    files = [("file", ("a.jpg", picture_bytes(1), "image/jpeg"))]
    response = client.post("/v1/embed", files=files)
    assert TOKEN not in error(response, 500) and "no such kernel" in caplog.text
    assert response.headers["x-content-type-options"] == "nosniff"

"""Nothing that is sent makes the server fail: requests made of its own description, and of noise."""

import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from serving import picture_bytes

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
QUICK = settings(
    max_examples=4,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def operations(serve, review):
    """All routes of a server, as its own description has them."""
    client = serve(review=review, names=("testserver",))
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", client.app)
    found = [one.ok() for one in schema.get_all_operations()]
    assert len(found) > 20
    return found


@pytest.mark.slow
def test_requests_made_of_the_description_get_what_it_says(operations):
    for operation in operations:

        @QUICK
        @given(case=operation.as_strategy())
        def run(case):
            case.call_and_validate(checks=CHECKS)

        run()


POSTS = (
    "embed",
    "search",
    "search/vector",
    "search/items",
    "items",
    "items/delete",
    "acts",
    "acts/x/undo",
    "recluster",
    "trainings",
    "login",
)
TYPES = (
    "application/json",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "text/plain; charset=utf-7",
    "\u00ff",
)
# JSON of anything, also of what JSON has no words for; and parts of a form around noise.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
FORMS = st.builds(
    lambda name, content: (
        b'--b\r\nContent-Disposition: form-data; name="'
        + name
        + b'"; filename="a"\r\n\r\n'
        + content
        + b"\r\n--b--"
    ),
    st.sampled_from([b"image", b"file", b"query", b"payload", b"token", b"\xff", b'"']),
    st.binary(max_size=60) | st.just(picture_bytes(1)) | st.just(picture_bytes(1)[:300]),
)
BODIES = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode()), FORMS, st.binary(max_size=60)
)


@settings(QUICK, max_examples=60)
@given(path=st.sampled_from(POSTS), kind=st.sampled_from(TYPES), body=BODIES)
def test_noise_is_refused_in_the_one_shape_of_all_errors(fuzzed, path, kind, body):
    headers = {"content-type": kind.encode("latin-1")}
    response = fuzzed.post(f"/v1/{path}", content=body, headers=headers, follow_redirects=False)
    assert response.status_code < 500, (response.text, body)
    if not response.is_success:
        assert set(response.json()) == {"error"}
    assert "NaN" not in response.text and "Infinity" not in response.text


@settings(QUICK, max_examples=40)
@given(
    path=st.text(st.characters(codec="utf-8"), max_size=30),
    query=st.text(st.characters(codec="ascii"), max_size=30),
    route=st.sampled_from(["items", "clusters", "images", "jobs", "acts", "questions", ""]),
)
def test_addresses_are_noise_too(fuzzed, path, query, route):
    address = f"/v1/{route}/{quote(path, safe='/%')}?{quote(query, safe='&=%')}"
    response = fuzzed.get(address, headers={"authorization": quote(query)})
    assert response.status_code < 500, response.text


@pytest.fixture
def fuzzed(serve, review):
    return serve(review=review)

"""The HTTP API of a gallery, held against the gallery itself."""

import io
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image
from serving import DIM, ColorModel, picture_bytes

from mmreid_uda.gallery import Filter, content_id
from mmreid_uda.serve import Limits

in_a_folder = pytest.mark.parametrize("gallery", ["gallery"], indirect=True)
both = pytest.mark.parametrize("gallery", ["gallery.npz", "gallery"], indirect=True)


def refused(response, status, part=""):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"} and part in response.json()["error"]


def upload(content, name="a.jpg"):
    return (name, content, "image/jpeg")


def audit(client):
    text = client.app.state.service.audit_log.path.read_text()
    return [json.loads(line) for line in text.splitlines()]


@in_a_folder
def test_info_says_what_is_served(client):
    info = client.get("/v1/info").json()
    gallery = info["gallery"]
    assert (gallery["kind"], gallery["count"], gallery["dim"]) == (
        client.app.state.service.gallery.kind,
        60,
        DIM,
    )
    assert gallery["cameras"] == {"cam0": 20, "cam1": 20, "cam2": 20}
    assert len(gallery["identities"]) == 12 and gallery["tracklets"] == 30
    assert gallery["has_model"] and gallery["threshold"] is None and info["run"] is None
    assert not info["training"] and not info["read_only"] and info["who"] == "local"
    assert info["limits"]["images"] == 8


def test_embedded_features_are_those_of_the_model(client):
    contents = [picture_bytes(one, 3, "PNG") for one in (100, 101)]
    files = [("file", upload(one)) for one in contents]
    answer = client.post("/v1/embed", files=files).json()
    pixels = [np.asarray(Image.open(io.BytesIO(one)))[:, :, ::-1] for one in contents]
    np.testing.assert_allclose(answer["features"], ColorModel().extract(pixels), atol=1e-6)
    assert answer["fingerprint"] == "c" * 64


@both
def test_a_search_by_image_gives_what_the_gallery_finds(client, gallery):
    content = picture_bytes(200, 4, "PNG")
    options = {"topk": 7, "not_cameras": ["cam1"], "since": 0}
    answer = client.post(
        "/v1/search", files={"image": upload(content)}, data={"query": json.dumps(options)}
    ).json()
    pixels = np.asarray(Image.open(io.BytesIO(content)))[:, :, ::-1]
    [expected] = gallery.search(
        ColorModel().extract([pixels]), 7, Filter(not_cameras=("cam1",), since=0)
    )
    assert [one["id"] for one in answer["matches"]] == [one.id for one in expected]
    found = [one["similarity"] for one in answer["matches"]]
    np.testing.assert_allclose(found, [one.similarity for one in expected], atol=1e-5)
    assert answer["exact"] and answer["took_ms"] > 0
    assert {one["identity"] for one in answer["matches"][:3]} == {"p4"}
    assert all("/" not in one["path"] and one["camera"] != "cam1" for one in answer["matches"])
    assert answer["matches"][0]["score"] is None


def test_several_images_are_one_query_and_groups_have_sizes(client, gallery):
    files = [("image", upload(picture_bytes(one, 5))) for one in (300, 301, 302)]
    query = json.dumps({"topk": 4, "group_by": "identity", "threshold": 0.0})
    found = client.post("/v1/search", files=files, data={"query": query}).json()["matches"]
    assert found[0]["identity"] == "p5" and found[0]["group_size"] == 5
    assert len({one["identity"] for one in found}) == len(found) <= 4


def test_stored_items_and_vectors_are_queries_too(client, gallery):
    items = next(gallery.scan(Filter(identities=("p3",))))
    body = {"ids": items.ids[:2], "topk": 3, "cameras": ["cam0", "cam1", "cam2"]}
    found = client.post("/v1/search/items", json=body).json()["matches"]
    assert {one["id"] for one in found} == set(items.ids[2:])
    body = {"features": items.features[:2].tolist(), "topk": 5, "rerank": True, "center": True}
    found = client.post("/v1/search/vector", json=body).json()["matches"]
    assert {one["identity"] for one in found[:3]} == {"p3"} and found[0]["score"] is not None


@pytest.mark.parametrize(
    "path, body, part",
    [
        ("vector", {"features": [[1.0] * 3]}, "(N, 48)"),
        ("vector", {"features": [[0.0] * DIM]}, "features"),
        ("vector", {"features": [[1.0] * DIM, [1.0]]}, "features of [1, 48] numbers"),
        ("vector", {"features": []}, "features"),
        ("vector", {"features": [["NaN"] * DIM]}, "features"),
        ("vector", {"features": [[1e30] * DIM]}, "features"),
        ("vector", {"features": [[1.0] * DIM], "topk": 0}, "topk"),
        ("vector", {"features": [[1.0] * DIM], "topk": 1001}, "topk=1001"),
        ("vector", {"features": [[1.0] * DIM], "tpok": 3}, "tpok"),
        ("vector", {"features": [[1.0] * DIM], "cameras": ["a\0b"]}, "cameras"),
        ("vector", {"features": [[1.0] * DIM], "cameras": ["a" * 201]}, "cameras"),
        ("vector", {"features": [[1.0] * DIM], "fields": {"a": {}}}, "fields"),
        ("items", {"ids": ["../../etc/passwd"]}, "ids"),
        ("items", {"ids": []}, "ids"),
    ],
)
def test_what_cannot_be_searched_is_a_sentence(client, path, body, part):
    refused(client.post(f"/v1/search/{path}", json=body), 422, part)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", '"x"'])
def test_numbers_that_are_none_are_refused(client, number):
    row = ",".join([number] + ["1"] * (DIM - 1))
    for text in (f'{{"features": [[{row}]]}}', f'{{"features": [[1]], "since": {number}}}'):
        headers = {"content-type": "application/json"}
        refused(client.post("/v1/search/vector", content=text, headers=headers), 422)
    files = {"image": upload(picture_bytes(1))}
    query = f'{{"until": {number}}}'
    refused(client.post("/v1/search", files=files, data={"query": query}), 422)
    refused(client.get(f"/v1/items?since={number}"), 422)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b'"\\ud800"', b"", b"null"])
def test_what_is_no_json_is_a_sentence(client, content):
    headers = {"content-type": "application/json"}
    for path in ("/v1/search/vector", "/v1/items/delete"):
        response = client.post(path, content=content, headers=headers)
        assert response.status_code in (400, 422) and set(response.json()) == {"error"}
    files = {"image": upload(picture_bytes(1))}
    text = content.decode("latin-1")
    if text:
        refused(client.post("/v1/search", files=files, data={"query": text}), 422, "query")


def test_items_are_listed_in_pages(client, gallery):
    every = next(gallery.scan())
    first = client.get("/v1/items?limit=25&cameras=cam0&cameras=cam1").json()
    second = client.get("/v1/items?limit=25&offset=25&cameras=cam0&cameras=cam1").json()
    mask = np.isin(every.cameras, ["cam0", "cam1"])
    assert first["total"] == second["total"] == 40
    ids = [one["id"] for one in first["items"] + second["items"]]
    assert ids == every.take(mask).ids
    unknown = next(one for one in first["items"] + second["items"] if one["time"] is None)
    assert unknown["path"] == "000.jpg" and unknown["added"] > 1e9 and unknown["fields"] == {}
    one = client.get(f"/v1/items/{ids[3]}").json()
    assert one == first["items"][3]
    refused(client.get(f"/v1/items/{'0' * 32}"), 404, "search again")
    refused(client.get("/v1/items/7"), 422)
    others = client.get("/v1/items?not_cameras=cam0&not_cameras=cam1").json()
    assert others["total"] == len(every) - 40
    refused(client.get("/v1/items?camera=cam0"), 422, "camera")
    refused(client.get("/v1/items?limit=0"), 422, "limit")


def test_pictures_are_served_by_id_and_may_be_kept(client, gallery, pictures):
    id_ = content_id(pictures[7])
    image = client.get(f"/v1/items/{id_}/image")
    assert image.content == pictures[7].read_bytes()
    assert image.headers["content-type"] == "image/jpeg"
    assert image.headers["cache-control"] == "private, max-age=300"
    mark = image.headers["etag"]
    again = client.get(f"/v1/items/{id_}/image", headers={"if-none-match": mark})
    assert again.status_code == 304 and not again.content
    small = client.get(f"/v1/items/{id_}/thumbnail?size=64")
    assert Image.open(io.BytesIO(small.content)).size == (32, 64)
    assert small.headers["content-type"] == "image/jpeg"
    tiny = client.get(f"/v1/items/{id_}/thumbnail", headers={"if-none-match": mark})
    assert tiny.status_code == 200
    refused(client.get(f"/v1/items/{id_}/thumbnail?size=257"), 422, "size")
    pictures[7].unlink()
    refused(client.get(f"/v1/items/{id_}/image"), 404, "restore it")
    refused(client.get(f"/v1/items/{id_}/thumbnail?size=64"), 404, "restore it")


def test_a_file_that_is_no_image_is_not_served_whatever_the_gallery_says(client, gallery, pictures):
    pictures[8].write_bytes(b"root:x:0:0:root")
    for what in ("image", "thumbnail"):
        refused(client.get(f"/v1/items/{content_id(pictures[8])}/{what}"), 404)


@in_a_folder
def test_an_added_image_is_there_with_what_is_known_and_without_its_metadata(client, gallery):
    exif = Image.Exif()
    exif[0x010E] = "the garden of somebody"
    content = picture_bytes(400, 20, exif=exif)
    payload = {"camera": "door", "time": 12.5, "tracklet": "t", "fields": {"coat": "red", "n": 3}}
    data = {"payload": json.dumps(payload)}
    answer = client.post("/v1/items", files={"image": upload(content)}, data=data)
    assert answer.status_code == 201 and answer.json()["ids"] == [content_id(content)]
    [id_] = answer.json()["ids"]
    item = client.get(f"/v1/items/{id_}").json()
    assert {**payload, "identity": ""}.items() <= item.items()
    stored = client.get(f"/v1/items/{id_}/image").content
    assert b"garden" in content and b"garden" not in stored
    assert Image.open(io.BytesIO(stored)).size == (32, 64)
    found = client.post("/v1/search", files={"image": upload(content)}).json()["matches"]
    assert found[0]["id"] == id_ and found[0]["similarity"] > 0.9999
    # The same image again is the same item, with what is known now.
    client.post(
        "/v1/items", files={"image": upload(content)}, data={"payload": '{"camera": "hall"}'}
    )
    assert gallery.count() == 61
    assert client.get(f"/v1/items/{id_}").json()["camera"] == "hall"


@pytest.mark.parametrize(
    "payload", ['{"camera": 3}', '{"cam": "x"}', '{"time": Infinity}', "[]", "{"]
)
def test_a_wrong_payload_adds_nothing(client, gallery, payload):
    files = {"image": upload(picture_bytes(1, 20))}
    refused(client.post("/v1/items", files=files, data={"payload": payload}), 422, "payload")
    assert gallery.count() == 60


@both
def test_deleting_takes_image_and_thumbnails_along_but_no_file_of_others(client, gallery, pictures):
    content = picture_bytes(400, 20)
    [id_] = client.post("/v1/items", files={"image": upload(content)}).json()["ids"]
    service = client.app.state.service
    stored = service.images / f"{id_}.jpg"
    for one in (id_, content_id(pictures[0])):
        client.get(f"/v1/items/{one}/thumbnail")
    assert stored.exists() and len(list(service.thumbnails.folder.glob("*.jpg"))) == 2
    refused(client.post("/v1/items/delete", json={"where": {}}), 422, "everything=true")
    where = {"ids": [id_, content_id(pictures[0])]}
    assert client.post("/v1/items/delete", json={"where": where}).json() == {"count": 2}
    assert not stored.exists() and pictures[0].exists() and service.thumbnails.total == 0
    assert not list(service.thumbnails.folder.glob("*.jpg")) and gallery.count() == 59
    body = {"where": {}, "everything": True}
    assert client.post("/v1/items/delete", json=body).json() == {"count": 59}
    assert client.post("/v1/search", files={"image": upload(content)}).json()["matches"] == []


def test_items_get_one_identity_everywhere(client, gallery, pictures):
    ids = [content_id(one) for one in pictures[:3]]
    body = {"ids": ids, "identity": "anna", "fields": {"coat": "red"}}
    assert client.patch("/v1/items", json=body).json() == {"count": 3}
    assert gallery.values("identity")["anna"] == 3
    assert client.get("/v1/info").json()["gallery"]["identities"]["anna"] == 3
    assert client.get("/v1/items?identities=anna").json()["items"][0]["fields"] == {"coat": "red"}
    body["ids"].append("0" * 32)
    refused(client.patch("/v1/items", json={**body, "identity": "eve"}), 404)
    assert "eve" not in gallery.values("identity")


def test_nothing_changes_what_is_served_read_only(serve, gallery):
    client = serve(read_only=True)
    ids = next(gallery.scan()).ids[:1]
    files = {"image": upload(picture_bytes(1, 20))}
    refused(client.post("/v1/items", files=files), 403, "--read-only")
    refused(client.patch("/v1/items", json={"ids": ids, "identity": "x"}), 403)
    refused(client.post("/v1/items/delete", json={"where": {"ids": ids}}), 403)
    assert client.post("/v1/search/items", json={"ids": ids}).status_code == 200
    assert gallery.count() == 60


def test_without_a_model_stored_items_are_searched_for(serve, gallery):
    client = serve(inferencer=None)
    files = {"image": upload(picture_bytes(1))}
    for path in ("/v1/search", "/v1/items"):
        refused(client.post(path, files=files), 409, "--checkpoint")
    ids = next(gallery.scan()).ids[:1]
    assert client.post("/v1/search/items", json={"ids": ids}).status_code == 200


def test_who_did_what_is_written_down_without_images_and_vectors(serve, gallery):
    client = serve(tokens={"ann": "sixteen-letters-and-more"})
    client.headers["authorization"] = "Bearer sixteen-letters-and-more"
    content = picture_bytes(400, 20)
    query = json.dumps({"topk": 3, "cameras": ["cam1"]})
    client.post("/v1/search", files={"image": upload(content)}, data={"query": query})
    client.post("/v1/search/vector", json={"features": [[1.0] * DIM]})
    [id_] = client.post("/v1/items", files={"image": upload(content)}).json()["ids"]
    client.patch("/v1/items", json={"ids": [id_], "identity": "x"})
    client.post("/v1/items/delete", json={"where": {"ids": [id_]}})
    lines = audit(client)
    assert [one["what"] for one in lines] == ["search", "search", "add", "change", "delete"]
    assert {one["who"] for one in lines} == {"ann@testclient"}
    assert lines[0]["options"]["cameras"] == ["cam1"] and lines[0]["matches"] == 3
    assert len(lines[0]["images"][0]) == 64 and lines[1]["vectors"] == 1
    assert lines[4]["where"] == {"ids": [id_]} and lines[4]["items"] == 1
    assert "features" not in json.dumps(lines)


def test_a_server_settles_what_a_killed_one_and_deletions_elsewhere_have_left(
    serve, gallery, pictures
):
    folder = gallery.folder / "images"
    (folder / "arriving").mkdir(parents=True)
    there, gone = content_id(pictures[0]), content_id(b"gone")
    for name in (f"{there}.{'1' * 32}.jpg", f"{gone}.{'2' * 32}.jpg", f".1.{there}.{'3' * 32}.jpg"):
        (folder / "arriving" / name).write_bytes(b"x")
    (folder / f"{gone}.jpg").write_bytes(picture_bytes(1))
    before = serve()
    assert [one.name for one in folder.rglob("*.jpg")] == [f"{there}.jpg"]
    for one in pictures[1:3]:
        before.get(f"/v1/items/{content_id(one)}/thumbnail")
    thumbnails = before.app.state.service.thumbnails
    assert len(list(thumbnails.folder.iterdir())) == 2
    gallery.delete(Filter(ids=(content_id(pictures[1]), there)))
    thumbnails = serve().app.state.service.thumbnails
    assert [one.name for one in thumbnails.folder.iterdir()] == [thumbnails._name(pictures[2], 128)]
    assert not list(folder.rglob("*.jpg"))


@in_a_folder
def test_what_is_kept_too_long_goes_while_the_server_runs(serve, gallery, monkeypatch):
    monkeypatch.setattr("mmreid_uda.serve.app._SECONDS_BETWEEN_EXPIRIES", 0.05)
    gallery.change_settings(retention_days=2)
    [items] = gallery.scan()
    with serve() as client:
        client.get(f"/v1/items/{items.ids[7]}/thumbnail")
        old = items.take([7]).with_columns(added=items.added[[7]] - 86400 * 2.1)
        gallery.upsert(old)
        log = gallery.folder / "audit.jsonl"
        for _ in range(200):  # written last
            if log.exists() and "retention" in log.read_text():
                break
            time.sleep(0.05)
        assert json.loads(log.read_text().splitlines()[-1])["deleted"] == 1
        assert client.get(f"/v1/items/{items.ids[7]}").status_code == 404 and len(gallery) == 59
        assert not list((gallery.folder / "thumbnails").iterdir())


@in_a_folder
def test_many_clients_at_once_get_their_own_answers(client, gallery):
    contents = [picture_bytes(500 + one, one % 12, "PNG") for one in range(24)]
    results = {}

    def ask(number):
        files = {"image": upload(contents[number])}
        if number % 2:
            results[number] = client.post("/v1/items", files=files).json()["ids"]
        else:
            query = json.dumps({"topk": 1, "identities": [f"p{one}" for one in range(12)]})
            found = client.post("/v1/search", files=files, data={"query": query}).json()
            results[number] = found["matches"][0]["identity"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, found in results.items():
        assert found == ([content_id(contents[number])] if number % 2 else f"p{number % 12}")
    assert gallery.count() == 72 and sum(client.model.batches) == 24


def test_files_of_somebody_else_in_the_folders_of_a_server_stay(serve, gallery, pictures):
    own = [gallery.folder / one for one in ("images/holiday.jpg", "images/arriving/x.jpg")]
    own += [gallery.folder / "thumbnails" / one for one in ("mine.jpg", ".mine", ".tool/x")]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(1))
    client = serve()
    assert client.get(f"/v1/items/{content_id(pictures[0])}/thumbnail").status_code == 200
    serve()
    client.post("/v1/items/delete", json={"where": {}, "everything": True})
    assert all(path.exists() for path in own)


def test_a_server_that_reads_only_removes_nothing(serve, gallery):
    left = gallery.folder / "images" / f"{content_id(b'gone')}.jpg"
    left.parent.mkdir(parents=True)
    left.write_bytes(picture_bytes(1))
    gallery.change_settings(retention_days=1e-9)
    with serve(read_only=True):
        time.sleep(0.2)
        assert left.exists() and gallery.count() == 60


def test_of_an_item_that_is_deleted_while_it_is_added_no_image_stays(client, gallery, monkeypatch):
    before = set(next(gallery.scan()).ids)

    def deleted():
        ids = {one for part in gallery.scan() for one in part.ids} - before
        gallery.delete(Filter(ids=tuple(ids)))

    monkeypatch.setattr(gallery, "flush", deleted)
    sent = client.post("/v1/items", files={"image": upload(picture_bytes(1, 20))})
    assert sent.status_code == 201 and gallery.count() == 60
    assert not list(client.app.state.service.images.rglob("*.jpg"))


def test_a_device_is_no_picture(client, gallery, pictures, tmp_path):
    endless = tmp_path / "endless.jpg"
    endless.symlink_to("/dev/zero")
    items = gallery.get([content_id(pictures[0])], features=True)
    gallery.upsert(items.with_columns(paths=[str(endless)]))
    for kind in ("image", "thumbnail"):
        refused(client.get(f"/v1/items/{items.ids[0]}/{kind}"), 404, "no image file")


@in_a_folder
def test_one_image_that_many_send_at_once_is_one_item(client, gallery):
    content, statuses = picture_bytes(600, 3), []

    def ask():
        sent = client.post("/v1/items", files={"image": upload(content)})
        [id_] = sent.json()["ids"]
        seen = client.get(f"/v1/items/{id_}/thumbnail?size=64")
        statuses.append((sent.status_code, seen.status_code))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    service = client.app.state.service
    assert statuses == [(201, 200)] * 12 and gallery.count() == 61
    assert [one.name for one in service.images.iterdir() if one.is_file()] == [
        f"{content_id(content)}.jpg"
    ]
    assert not list((service.images / "arriving").iterdir())
    assert len(list(service.thumbnails.folder.iterdir())) == 1


def test_the_list_of_the_api_needs_no_script_and_names_every_route(client):
    page = client.get("/v1/docs").text
    description = client.get("/v1/openapi.json").json()
    assert "<script" not in page and "http://" not in page and "https://" not in page
    for path, methods in description["paths"].items():
        assert all(f"{method.upper()} {path}" in page for method in methods)
    for name in description["components"]["schemas"]:
        assert f'id="{name}"' in page
    assert {"401", "422", "429"} <= set(description["paths"]["/v1/search"]["post"]["responses"])


def test_addresses_that_are_not_there_have_the_shape_of_all_errors(client):
    refused(client.get("/v1/nothing"), 404)
    refused(client.put("/v1/items"), 405)
    refused(client.get("/v1/items/../../etc/passwd"), 404)
    refused(client.post("/v1/search", files={"other": upload(b"x")}), 422, "image")
    refused(client.post("/v1/search", data={"image": "x"}), 422, "image")
    headers = {"content-type": "multipart/form-data; boundary=b"}
    refused(client.post("/v1/search", content=b"--x", headers=headers), 400)
    files = {"image": upload(b"x")}
    refused(client.post("/v1/search", files=files, data={"query": "x" * 100_001}), 422)


def test_limits_of_a_page_hold(serve):
    client = serve(limits=Limits(rate=0, topk=3))
    body = {"features": [[1.0] * DIM], "topk": 4}
    refused(client.post("/v1/search/vector", json=body), 422, "at most 3")

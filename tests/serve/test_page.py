"""The page in a real browser: searching, filtering, saving; names that are markup; a token; many images."""

import csv

import numpy as np
import pytest
from browsing import READY, Visit
from serving import DIM, ColorModel, picture_bytes

from mmreid_uda.gallery import GallerySettings, Items, Threshold, content_id, open_gallery
from mmreid_uda.serve import Limits, ServerSettings, create_app
from mmreid_uda.utils.browser import find_chromium, open_browser, serving

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this system"),
]

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def browser():
    with open_browser("this test") as browser:
        yield browser


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    files = [folder / f"{number:03}.jpg" for number in range(60)]
    for number, path in enumerate(files):
        path.write_bytes(picture_bytes(number, number // 5))
    return files


@pytest.fixture(scope="module")
def features(pictures):
    from PIL import Image

    return ColorModel().extract([np.asarray(Image.open(path))[:, :, ::-1] for path in pictures])


@pytest.fixture
def visit(browser, tmp_path, pictures, features):
    """Open the page of a gallery of twelve subjects, five pictures each; no page may have a problem at the end."""
    visits, servers = [], []

    def open_page(cameras=("north", "south", "yard"), copies=1, options=None, **settings):
        gallery = open_gallery(
            tmp_path / "gallery.npz",
            create=GallerySettings(
                fingerprint=ColorModel.fingerprint,
                threshold=Threshold(0.9, 0.01, 0.8, 60, 600, 0.01),
            ),
            dim=DIM,
        )
        numbers = np.arange(copies * len(pictures))
        files = pictures * copies
        names = [f"{content_id(path)[:-12]}{number:012x}" for number, path in zip(numbers, files)]
        gallery.add(
            Items.of(
                np.tile(features, (copies, 1)),
                [str(path) for path in files],
                ids=names,
                cameras=[cameras[number % len(cameras)] for number in numbers],
                times=[10.0 * number for number in numbers],
                tracklets=[f"t{number // 2}" for number in numbers],
                identities=[f"p{number % 60 // 5}" for number in numbers],
            )
        )
        settings = ServerSettings(limits=Limits(rate=0), **settings)
        server = serving(create_app(gallery, None, ColorModel(), settings))
        servers.append(server)
        one = Visit(browser, server.__enter__(), **(options or {}))
        visits.append(one)
        return one

    yield open_page
    for one in visits:
        one.page.close()
    for server in servers:
        server.__exit__(None, None, None)
    for one in visits:
        assert one.problems == []


def shown(one):
    """Files on the wall, by a saved table."""
    with one.page.expect_download() as download:
        one.button("Save CSV").click()
    with open(download.value.path(), newline="") as file:
        return list(csv.DictReader(file))


def test_an_upload_finds_its_subject_and_filters_hold(visit, pictures):
    one = visit()
    one.wall()
    assert one.text(".bar h2") == "Gallery: 60 images"
    one.page.set_input_files("#files", [pictures[7], pictures[8]])
    one.page.get_by_text("Save CSV").wait_for()
    rows = shown(one)
    assert {row["identity"] for row in rows[:5]} == {"p1"} and len(rows) == 50
    assert [row["rank"] for row in rows[:2]] == ["1", "2"]
    headings = one.page.locator(".wall-heading").all_inner_texts()
    above = sum(float(row["similarity"]) >= 0.9 for row in rows)
    assert headings[0].endswith(f"(from 0.900): {above}") and above >= 5
    one.page.get_by_role("checkbox", name="south").check()
    one.page.wait_for_function("location.hash.includes('cameras=south')")
    one.page.get_by_text("Save CSV").wait_for()
    assert {row["camera"] for row in shown(one)} == {"south"}


def test_filters_hold_for_what_is_looked_through(visit):
    one = visit()
    one.wall()
    one.page.get_by_role("checkbox", name="south").check()
    one.page.get_by_text("Gallery: 20 images").wait_for()
    one.page.get_by_role("combobox", name="Identity").fill("p3")
    one.press("Enter")
    one.page.get_by_text("Gallery: 2 images").wait_for()
    one.page.get_by_role("combobox", name="Identity").fill("nobody")
    one.press("Enter")
    one.page.get_by_text("No image passes the filters").wait_for()


def test_arrows_and_enter_search_and_the_address_goes_back(visit):
    one = visit()
    one.wall()
    one.press("ArrowRight", "ArrowDown", "ArrowLeft", "Enter")
    one.page.get_by_text("Save CSV").wait_for()
    asked = one.page.url
    assert asked.count("item=") == 1
    one.wall()
    one.press("ArrowRight", "a")
    one.page.wait_for_function("location.hash.split('item=').length === 3")
    one.page.locator(".query-images figure").nth(1).wait_for()
    one.page.go_back()
    one.page.wait_for_function("location.hash.split('item=').length === 2")
    assert one.page.url == asked
    one.page.reload()
    one.page.get_by_text("Save CSV").wait_for()
    assert len(shown(one)) == 50


def test_a_name_is_written_where_the_image_is(visit):
    one = visit()
    one.wall()
    one.page.get_by_label("Name this subject").fill("Ada")
    one.button("Save").click()
    one.page.get_by_text("Named Ada.").wait_for()
    one.page.reload()
    one.wall()
    assert "Ada" in one.text(".panel dl")


def test_names_stay_text(visit):
    one = visit(cameras=(HOSTILE, "south"))
    one.wall()
    labels = one.page.locator(".checks").inner_text()
    assert HOSTILE in labels and HOSTILE in one.page.locator(".tile").first.inner_text() + labels
    one.press("Enter")
    one.page.get_by_text("Save CSV").wait_for()
    assert one.page.evaluate("document.querySelectorAll('[onerror], img[src=x]').length") == 0
    with one.page.expect_download() as download:
        one.button("Save HTML").click()
    saved = download.value.path().read_text()
    assert (
        "<img src=x" not in saved and "&lt;img src=x" in saved and saved.count("data:image/") == 51
    )
    assert one.page.title() == "Search · mmreid"


def test_an_upload_that_is_no_image_is_said_where_one_looks(visit, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    one = visit()
    one.wall()
    one.page.set_input_files("#files", tmp_path / "broken.jpg")
    said = one.page.locator(".wall-box .problem")
    said.wait_for()
    assert "found" in said.inner_text().lower() and said.get_by_role("button").count() == 1


def test_pictures_that_cannot_be_shown_say_so(visit, pictures):
    one = visit()
    lost = [path.rename(path.with_suffix(".gone")) for path in pictures]
    try:
        one.page.reload()
        one.wall()
        one.press("Enter")
        one.page.locator(".query-images .missing").wait_for()
        one.page.locator(".panel .missing.large").wait_for()
        one.page.locator(".tile .missing").first.wait_for()
    finally:
        for path in lost:
            path.rename(path.with_suffix(".jpg"))


def test_nothing_that_changes_is_offered_where_nothing_may_be_changed(visit):
    one = visit(read_only=True)
    one.wall()
    one.button("Search this").wait_for()
    assert one.text("#facts").endswith("read-only")
    assert not one.page.get_by_label("Name this subject").is_visible()


def test_only_a_search_has_an_order(visit):
    one = visit()
    one.page.locator(".tile[data-full]").first.wait_for()  # the wall has the focus by itself
    assert one.page.get_by_text("Re-rank").count() == 0
    one.press("Enter")
    one.page.get_by_text("Save CSV").wait_for()
    one.page.get_by_label("Re-rank").check()
    one.page.get_by_text("ranked anew").wait_for()


def test_a_server_with_a_token_asks_for_it(visit):
    one = visit(tokens={"ada": "a" * 32})
    one.page.get_by_label("Token").fill("wrong")
    one.page.get_by_role("button", name="Enter").click()
    one.page.get_by_label("Token").wait_for()
    one.page.goto(one.address)
    one.page.get_by_label("Token").fill("a" * 32)
    one.page.get_by_role("button", name="Enter").click()
    one.wall()
    assert "a" * 32 not in one.page.url and one.page.evaluate("document.cookie") == ""
    one.page.context.clear_cookies()
    one.page.evaluate("location.hash = '#/search?cameras=north'")
    one.page.locator("form.login").wait_for()
    one.page.get_by_label("Token").fill("a" * 32)
    one.button("Enter").click()
    one.page.locator(READY).first.wait_for()


def test_many_images_are_few_elements(visit):
    one = visit(copies=150)
    one.wall()
    count = "document.getElementsByTagName('*').length"
    few = one.page.evaluate(count)
    one.page.mouse.move(600, 500)
    for _ in range(30):
        one.page.mouse.wheel(0, 9000)
        one.page.wait_for_timeout(20)
        assert one.page.evaluate(count) < few + 120
    one.press("End")
    one.page.locator(".tile[aria-posinset='9000'][data-full]").wait_for()
    assert one.page.evaluate("frameTimes.length") > 20


def test_keys_are_told_and_empty_views_say_what_to_do(visit):
    one = visit()
    one.wall()
    one.press("?")
    assert "search for the current image" in one.text("dialog")
    one.press("Escape")
    for number, view in enumerate(("clusters", "map", "questions", "history"), 2):
        one.press(str(number))
        one.page.wait_for_function(f"location.hash === '#/{view}'")
        assert "mmreid serve --run" in one.text(".empty")


@pytest.mark.parametrize("options", [dict(color_scheme="dark"), dict(color_scheme="light")])
def test_text_can_be_read(visit, options):
    """Contrast of at least 4.5 between text and ground (WCAG AA)."""
    one = visit(options=options)
    one.wall()
    for selector in ("body", "nav a[aria-current]", ".quiet", ".caption", "button.primary"):
        assert one.page.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector


CONTRAST = """(element) => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (one) => {
    const found = numbers(getComputedStyle(one).backgroundColor);
    return found.length === 4 && found[3] === 0 ? ground(one.parentElement) : found;
  };
  const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""

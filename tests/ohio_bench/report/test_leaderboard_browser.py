"""The page in a real browser: sort, filter, open a cell, go back, reload; nothing of a run file runs; narrow, dark and light."""

import json
import shutil
from pathlib import Path

import pytest
from ohio_bench.report import leaderboard

from tests.ohio_bench import boards
from tests.ohio_bench.pages import errors

pytestmark = pytest.mark.slow
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'ohio-jax[browser]'")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no Chromium: none of {', '.join(BROWSERS)} is on the path")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder: Path = tmp_path_factory.mktemp("board")
    boards.fill(folder / "results")
    boards.fill_finetuning(folder / "results")
    source = folder / "evil.json"
    source.write_text(json.dumps(boards.submission(boards.EVIL)))
    leaderboard.submit(source, folder / "results")
    return leaderboard.rebuild(folder / "results")[0].as_uri()


@pytest.fixture(params=[("light", 1400), ("dark", 1400), ("light", 400), ("dark", 400)], ids=lambda p: f"{p[0]}{p[1]}")
def page(browser, address, request):
    scheme, width = request.param
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    opened.goto(address)
    yield opened
    assert said == []
    opened.close()


def column(page, name: str) -> list[str]:
    return page.locator(f'#cells [data-label="{name}"]').all_inner_texts()


def test_sorting(page):
    head = page.get_by_role("columnheader", name="Score").get_by_role("button")
    means = lambda: [float(text.split(" ±")[0]) for text in column(page, "Score")]
    head.click()
    assert means() == sorted(means(), reverse=True) and len(means()) == 8
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Score")
    head.focus()
    page.keyboard.press("Enter")
    assert means() == sorted(means())
    page.get_by_role("columnheader", name="Paper", exact=True).get_by_role("button").click()
    assert [bool(text) for text in column(page, "Paper")] == [True] + [False] * 7  # unknown ones last


def test_filters(page):
    count = page.get_by_role("status")
    page.get_by_label("Learner").select_option("IQL")
    assert count.inner_text().startswith("3 of 8")
    page.get_by_label("Source").select_option("submitted")
    assert count.inner_text().startswith("1 of 8")
    page.get_by_role("button", name="Show all").click()
    assert count.inner_text().startswith("8 of 8")
    page.get_by_label("Search").fill("analytical mixed")
    assert column(page, "Data set") == ["Reacher-Mixed"] * 2
    page.get_by_label("Search").fill("no such thing")
    assert count.inner_text().startswith("0 of 8")


def test_filters_order_and_table_are_in_the_address(page):
    count = page.get_by_role("status")
    page.get_by_label("Learner").select_option("IQL")
    page.locator("[name=data-set]").select_option("Reacher-Mixed")
    page.get_by_label("Search").fill("analytical")
    page.get_by_role("columnheader", name="Score").get_by_role("button").click()
    page.locator("#which").select_option("finetune-cpu")
    query = "?learner=IQL&data-set=Reacher-Mixed&search=analytical&sort=-score&table=finetune-cpu"
    assert page.url.endswith(query)

    def restored() -> bool:
        fields = [page.locator(f"[name={name}]").input_value() for name in ("learner", "data-set", "search")]
        assert fields == ["IQL", "Reacher-Mixed", "analytical"]
        assert page.locator("th[aria-sort=descending]").inner_text() == "Score" and page.locator("#finetuning").is_visible()
        return count.inner_text() == "1 of 8 results, by Score"

    page.reload()
    assert restored()
    page.get_by_role("link", name="OHIO analytical IQL").click()
    assert page.get_by_role("heading", name="OHIO analytical IQL on Reacher-Mixed").is_visible() and query in page.url
    page.reload()
    page.get_by_role("link", name="← Board").click()
    assert restored()
    for _ in range(2):
        page.go_back()
    assert restored() and "#" not in page.url
    page.go_back()
    assert page.locator("#over-sets").is_visible() and page.locator("#which").input_value() == "reacher-cpu"
    for _ in range(2):  # the order, then the data set; letters of a search are no steps
        page.go_back()
    assert count.inner_text() == "3 of 8 results" and page.url.endswith("?learner=IQL")
    page.go_forward()
    assert count.inner_text() == "1 of 8 results" and page.get_by_label("Search").input_value() == "analytical"


def test_what_an_address_asks_for_in_vain_is_ignored(page, address):
    page.goto(f"{address}?learner=SARSA&source=submitted&task=chess&sort=-nothing&table=none")
    assert page.get_by_role("status").inner_text() == "1 of 8 results"
    assert page.locator("[name=learner]").input_value() == "" and page.locator("[name=source]").input_value() == "submitted"
    assert page.locator("th[aria-sort]").count() == 0 and page.locator("#over-sets").is_visible()


def test_claims_and_fine_tuning(page):
    line = page.locator("#lines li").first
    assert line.inner_text().startswith("Reacher. OHIO least squares IQL compared with End-to-end, 5-step IQL")
    page.locator("#which").select_option("Offline-to-online fine-tuning, cpu")
    rows = page.locator("#finetuned tbody tr").all_inner_texts()
    assert [row.split("\t")[1:7] for row in rows] == [
        ["OHIO IQL", "40.0", "100", "50.0 (43.6 to 56.4)", "60.0 (60.0 to 60.0)", "70.0 (63.6 to 76.4)"],
        ["E2E (fair) IQL", "40.0", "100", "50.0 (43.6 to 56.4)", "20.0 (20.0 to 20.0)", "30.0 (23.6 to 36.4)"],
    ]
    assert page.get_by_role("link", name="figure").get_attribute("href") == "finetune-cpu.png"
    assert not page.locator("#aggregates").is_visible()


def test_nothing_is_wider_than_the_window(page):
    """Whichever part is shown; what scrolls has its bar within the window's height."""
    width = page.viewport_size["width"]
    fits = lambda: page.evaluate("document.documentElement.scrollWidth") <= width
    assert fits() and page.locator("#which").bounding_box()["width"] <= width
    if width > 640:
        assert page.locator(".box").bounding_box()["height"] <= page.viewport_size["height"]
    page.locator("#which").select_option("finetune-cpu")
    assert fits()
    page.get_by_role("link", name="End-to-end BC", exact=True).first.click()
    assert fits()


def test_opening_a_cell_and_going_back(page):
    page.get_by_role("link", name="OHIO analytical BC", exact=True).first.click()
    title = page.get_by_role("heading", name="OHIO analytical BC on Reacher-Expert")
    assert title.is_visible() and title.evaluate("(e) => e === document.activeElement")
    assert page.title().startswith("OHIO analytical BC on Reacher-Expert")
    assert page.get_by_text("ohio-jax bench reacher --preset cpu --only reacher-expert.ohio-analytical-bc --force").is_visible()
    assert page.locator("pre", has_text="ohio-jax collect reacher").locator("code").all_inner_texts() == [
        "ohio-jax collect reacher --out logs.npz",
        "ohio-jax evaluate --checkpoint run",
    ]
    assert page.get_by_role("img", name="actor_loss from 2.5 to 0.375").is_visible()
    assert page.get_by_text("jax 0.10.2").is_visible() and not page.locator("#board").is_visible()
    page.get_by_role("link", name="← Board").click()
    link = page.get_by_role("link", name="OHIO analytical BC", exact=True).first
    assert link.is_visible() and link.evaluate("(e) => e === document.activeElement")
    page.go_back()
    assert title.is_visible()


def test_a_script_in_a_name_is_shown_and_never_run(page):
    assert page.get_by_role("link", name=boards.EVIL).inner_text() == boards.EVIL
    page.get_by_role("link", name=boards.EVIL).click()
    assert page.get_by_role("heading", name=f"{boards.EVIL} on Reacher-Expert").is_visible()
    assert page.title() != "run" and page.locator("script").count() == 2
    assert page.get_by_role("link", name="https://example.org/code").get_attribute("rel").startswith("noopener")


def test_ticking_a_method_draws_it(page):
    lines = page.locator("#profile polyline")
    before = lines.count()
    page.get_by_role("checkbox", name="End-to-end BC").uncheck()
    assert lines.count() == before - 1 > 0


def test_what_was_drawn_is_valid_and_fits(page):
    assert errors(page.evaluate("'<!doctype html>' + document.documentElement.outerHTML")) == []
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")
    before = ground()
    page.get_by_role("button", name="Dark" if before == "rgb(251, 251, 249)" else "Light").click()
    assert {before, ground()} == {"rgb(251, 251, 249)", "rgb(20, 23, 26)"}

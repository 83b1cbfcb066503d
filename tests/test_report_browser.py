"""The pages of a report as a browser shows them: without a network, by mouse and by keyboard, wide and narrow, light
and dark, and on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import expect

from tests.contrast import faint_text
from tests.made_pages import DRAWN, PAGES, all_pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

LEADERBOARD = "toy/index.html"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDE, NARROW = (1280, 900), (390, 800)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium to open the pages with; Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The written pages, where links between them work."""
    folder = tmp_path_factory.mktemp("pages")
    for name, content in all_pages().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


class Watched:
    """A tab, and what it asked for or complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: Path, fragment: str = "") -> Page:
        self.page.goto(path.as_uri() + fragment)
        return self.page


@pytest.fixture
def tab(browser: Browser) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": WIDE[0], "height": WIDE[1]})
    yield Watched(page)
    page.close()


@pytest.mark.parametrize("name", PAGES + DRAWN)
def test_every_page_opens_alone_is_legible_and_fits(name: str, tab: Watched, folder: Path) -> None:
    page = tab.open(folder / name)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert faint_text(page) == [], scheme
    for width, height in (NARROW, WIDE):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert page.evaluate(SPILLED) == [], width
    assert tab.requests == [(folder / name).as_uri()]
    assert tab.complaints == []


# Figures without a size, marks that lie outside their figure, and names that run into values.
SPILLED = """() => {
  const rect = (one) => one.getBoundingClientRect();
  const isOut = (one, box) => rect(one).left < box.left - 1 || rect(one).right > box.right + 1
    || rect(one).top < box.top - 4 || rect(one).bottom > box.bottom + 1;
  return [...document.querySelectorAll("svg[role=img]")].flatMap((figure) => {
    const box = rect(figure);
    if (box.width < 60 || box.height < 10) return [`too small: ${figure.outerHTML.slice(0, 80)}`];
    return [...figure.querySelectorAll("circle, text, polyline, path, rect")]
      .filter((mark) => isOut(mark, box)).map((mark) => mark.outerHTML.slice(0, 80));
  }).concat([...document.querySelectorAll(".row:has(.value)")]
    .filter((row) => row.querySelector(".value").textContent
      && rect(row.querySelector(".name")).right > rect(row.querySelector(".value")).left)
    .map((row) => row.textContent.trim()));
}"""


def methods(page: Page) -> list[str]:
    found: list[str] = page.locator("table[data-sortable] tbody th.name > :first-child").all_inner_texts()
    return found


def values(page: Page, heading: str) -> list[str]:
    """What the cells below a heading of the leaderboard are sorted by, from top to bottom."""
    found: list[str] = page.evaluate(
        """(heading) => {
          const table = document.querySelector("table[data-sortable]");
          const column = [...table.tHead.rows[0].cells].findIndex((one) => one.textContent === heading);
          return [...table.tBodies[0].rows].filter((row) => !row.hasAttribute("data-companion"))
            .map((row) => row.cells[column].dataset.value);
        }""",
        heading,
    )
    return found


def sort(page: Page, heading: str) -> Locator:
    button: Locator = page.locator("table[data-sortable]").first.get_by_role("button", name=heading, exact=True)
    return button


def test_a_click_on_a_heading_sorts_and_another_reverses(tab: Watched, folder: Path) -> None:
    page = tab.open(folder / LEADERBOARD)
    before = page.locator("table[data-sortable] tbody").first.inner_html()
    for clicks in range(2):
        sort(page, "ECE").click()
        known = [float(value) for value in values(page, "ECE") if value]
        assert len(set(known)) > 3
        assert known == sorted(known, reverse=clicks == 1)
        assert values(page, "ECE")[len(known) :] == ["", "", ""], "what is not known comes last either way"
    status = page.get_by_role("status").first
    assert "Sorted by ECE, descending." in status.inner_text()
    heading = page.locator("table[data-sortable] th[aria-sort]")
    assert (heading.count(), heading.get_attribute("aria-sort")) == (1, "descending")
    # the reasons of a failed row stay with it
    assert page.locator("tr:has-text('dmil_pid') + tr.reasons").inner_text().strip().startswith("seed 2: loss is nan")
    sort(page, "Test acc. %").click()
    assert heading.get_attribute("aria-sort") == "descending", "of accuracies the highest first"
    status.get_by_role("button", name="Default order").click()
    assert heading.count() == 0
    assert page.evaluate("document.querySelector('table[data-sortable] tbody').innerText.split('\\n').length") > 5
    assert squeezed(page.locator("table[data-sortable] tbody").first.inner_html()) == squeezed(before)


def squeezed(html: str) -> str:
    return "".join(html.split())


def wait_until_led_to(page: Page, row: str) -> None:
    """Until the page's script, which hears of a new address a little after the browser, has focused the row's name."""
    # expect, since the pages' policy forbids the eval behind Page.wait_for_function
    expect(page.locator(f"details:has(#{row}) > summary")).to_be_focused()


def test_the_keyboard_sorts_opens_a_row_and_goes_back(tab: Watched, folder: Path) -> None:
    page = tab.open(folder / LEADERBOARD)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    sort(page, "Method").focus()
    page.keyboard.press("Enter")
    assert methods(page) == sorted(methods(page))
    page.keyboard.press("Space")
    assert methods(page) == sorted(methods(page), reverse=True)
    page.get_by_role("link", name="joint", exact=True).first.focus()
    page.keyboard.press("Enter")
    wait_until_led_to(page, "row-joint")
    assert page.locator("#row-joint").is_visible()
    assert page.evaluate("document.activeElement.textContent").startswith("joint")
    assert page.url.endswith("#row-joint")
    page.go_back()
    assert page.url == (folder / LEADERBOARD).as_uri()
    expect(sort(page, "Method")).to_be_in_viewport()


def test_a_click_on_a_row_opens_all_that_is_known_of_it(tab: Watched, folder: Path) -> None:
    page = tab.open(folder / LEADERBOARD)
    row = page.locator("tr:has(a[href='#row-dmil'])").first
    row.locator("td").nth(3).click()
    opened = page.locator("#row-dmil")
    wait_until_led_to(page, "row-dmil")
    summary = page.locator("details:has(#row-dmil) > summary")
    box = summary.bounding_box()
    assert box
    assert 0 <= box["y"] < WIDE[1] / 3, "in sight"
    assert opened.locator("svg.learning").count() == 2
    text = opened.inner_text()
    for part in (
        "c0ffee",
        "5ha12ed",
        "abc1234",
        "encoder.width",
        "python -m benchmarks run --dataset toy",
        "64 configur",
    ):
        assert part in text
    assert opened.locator("table").first.locator("tbody tr").count() == 3
    # closed by hand, the same click opens it again
    summary.click()
    assert not opened.is_visible()
    row.locator("td").nth(3).click()
    expect(opened).to_be_visible()


def test_an_address_leads_to_a_row(tab: Watched, folder: Path) -> None:
    page = tab.open(folder / LEADERBOARD, "#row-dmil_pid")
    assert page.locator("#row-dmil_pid").is_visible()
    assert not page.locator("#row-joint").is_visible()
    assert page.locator("details:has(#row-dmil_pid) > summary").evaluate("(one) => one === document.activeElement")
    assert tab.complaints == []


def test_the_page_reads_without_its_script(browser: Browser, folder: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto((folder / LEADERBOARD).as_uri() + "#row-joint")
    assert page.locator("button").count() == 0
    assert page.locator("#row-joint").is_visible(), "the browser itself opens what an address names"
    page.close()


def test_colours_can_be_switched(tab: Watched, folder: Path) -> None:
    page = tab.open(folder / LEADERBOARD)
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.emulate_media(media="print")
    assert page.evaluate(ground) == light, "paper is white"
    page.emulate_media(media="screen", color_scheme="dark")
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(ground) == light


def test_paper_shows_everything_and_cuts_nothing(tab: Watched, folder: Path) -> None:
    page = tab.open(folder / LEADERBOARD)
    page.set_viewport_size({"width": 1040, "height": 720})  # A4 landscape within its margins
    page.emulate_media(media="print")
    assert page.locator("#row-joint").evaluate("(one) => one.getBoundingClientRect().height") > 100
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 1040
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_faint_text_is_found(tab: Watched) -> None:
    # against white #777777 has 4.48 and #767676 has 4.54; on #444444 the first has 2.2
    tab.page.set_content(
        "<body style='background: #fff'><p style='color: #777777'>faint</p><p style='color: #767676'>clear</p>"
        "<p style='color: #777777; font-size: 24px'>large</p><p style='color: #000; opacity: 0.4'>pale</p>"
        "<p style='background: rgb(0 0 0 / 50%); color: #767676'>on grey</p><p hidden style='color: #fff'>hidden</p>"
        "<svg width=90 height=90><rect width=90 height=90 fill='#444444'/><text y=40 fill='#777777'>drawn</text>"
        "<text y=60 fill='#767676' style='paint-order: stroke; stroke: #fff; stroke-width: 4px'>outlined</text></svg>"
    )
    assert [text.partition(": ")[2] for text in faint_text(tab.page)] == ["faint", "pale", "on grey", "drawn"]

"""The built website in headless Chromium: it stands alone, works narrow and dark, draws everything once, and moves.

``make test`` builds the site before it runs these tests. Chromium gets no name of any host outside this machine, so a
page that needs the network fails here.
"""

from __future__ import annotations

import functools
import gzip
import io
import itertools
import json
import re
import threading
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from answers import answers
from axe_core_python.selenium import Axe
from conftest import PATIENCE, ROOT, pages_of_the_book
from ipywidgets.embed import dependency_state, embed_minimal_html
from narrow_figures import narrow_forms
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from test_widgets import growing, predictions, rock_salt, sweep, training, trios

from course_lib.teaching.explorers.crystal import graph_explorer
from course_lib.teaching.explorers.late_fusion import alpha_explorer, live_alpha
from course_lib.teaching.explorers.learning import learning_explorer
from course_lib.teaching.explorers.line_graph import line_graph_explorer
from course_lib.teaching.explorers.multitask import lambda_explorer
from course_lib.teaching.explorers.training_size import training_size_explorer

SITE = ROOT / "_build" / "html"
PAGES = pages_of_the_book()
NARROW = 390  # CSS pixels, a phone
HEAVIEST = 3_000_000  # bytes that a page and all it loads may have
HEAVIEST_WIDGETS = 2_000_000  # characters of widgets, with all their frames, that a page may have
WIDGET_VIEWS = 'script[type="application/vnd.jupyter.widget-view+json"]'


# --- the site and the browser -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def site() -> Path:
    """Return the folder of the built site, after making sure that it is not older than its sources."""
    home = SITE / f"{PAGES[0]}.html"  # index.html, which leads there, is copied with its old date
    assert home.exists(), "the site is not built: run `make site`"
    folders = (ROOT / "pages", ROOT / "pages/_static")
    sources = [ROOT / "_toc.yml", *(path for folder in folders for path in folder.iterdir() if path.is_file())]
    sources += [path for page in PAGES for path in ROOT.glob(f"{page}.*") if path.suffix == ".ipynb"]
    newer = [str(path.relative_to(ROOT)) for path in sources if path.stat().st_mtime > home.stat().st_mtime]
    assert not newer, f"the site is older than {newer}: run `make site`"
    return SITE


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:  # after a failed test as well: the thread would keep the process alive
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def address(site) -> Iterator[str]:
    """Serve the site and yield its address."""
    with served(site) as address:
        yield address


def set_width(browser: Chrome, width: int) -> None:
    """Lay pages out ``width`` CSS pixels wide; Chromium's own window does not get as narrow as a phone."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width <= 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def wait_for(browser: Chrome, script: str, what: str) -> object:
    """Run ``script`` until it returns something true, and return that."""
    return WebDriverWait(browser, PATIENCE).until(lambda driver: driver.execute_script(script), message=what)


def open_page(browser: Chrome, address: str, page: str, width: int = 1280) -> None:
    """Open a page and wait until its formulas and widgets are drawn."""
    set_width(browser, width)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(f"{address}/{page}.html")
    wait_for(browser, "return document.readyState === 'complete'", "the page to load")
    if browser.find_elements(By.CSS_SELECTOR, "span.math, div.math"):
        wait_for(browser, "return !!(window.MathJax && MathJax.startup)", "MathJax to load")
        browser.execute_async_script("MathJax.startup.promise.then(arguments[0])")
    views = len(browser.find_elements(By.CSS_SELECTOR, WIDGET_VIEWS))
    wait_for(browser, f"return document.querySelectorAll('.widget-subarea > *').length >= {views}", "the widgets")


class Opened(NamedTuple):
    """A page in the browser, and what the browser noted while it was opened."""

    page: str
    messages: list[dict]
    events: list[dict]


@pytest.fixture(scope="module", params=PAGES)
def opened_once(request, browser, address) -> Opened:
    """Open a page for all tests that only look at it; pytest runs those of a page in a row."""
    open_page(browser, address, request.param)
    return Opened(request.param, browser.get_log("browser"), browser.get_log("performance"))


@pytest.fixture
def opened(opened_once, browser, address) -> Opened:
    """Make sure that the page is still the one in the browser."""
    assert browser.current_url == f"{address}/{opened_once.page}.html"
    return opened_once


@pytest.fixture(scope="module", params=PAGES)
def opened_once_on_a_phone(request, browser, address) -> str:
    """Open a page as narrow as on a phone, for all tests that only look at it."""
    open_page(browser, address, request.param, width=NARROW)
    return request.param


@pytest.fixture
def opened_on_a_phone(opened_once_on_a_phone, browser, address) -> str:
    """Make sure that the page is still the one in the browser, and as narrow."""
    assert browser.current_url == f"{address}/{opened_once_on_a_phone}.html"
    assert browser.execute_script("return innerWidth") == NARROW
    return opened_once_on_a_phone


# --- without a browser ------------------------------------------------------------------------------


class Loads(HTMLParser):
    """Collects the addresses of everything that a page loads (not of what it links to)."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        loads = {"stylesheet", "preload", "modulepreload", "icon", "preconnect", "dns-prefetch", "manifest"}
        if tag == "link" and not loads.isdisjoint((values.get("rel") or "").split()):
            self.addresses.append(values.get("href") or "")
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.addresses += [values.get("src") or "", values.get("srcset") or ""]


def leaves_the_site(address: str) -> bool:
    return re.match(r"\s*(https?:)?//", address) is not None


def test_no_page_loads_anything_from_another_host(site):
    foreign = []
    for file in site.rglob("*.html"):
        loads = Loads()
        loads.feed(file.read_text(encoding="utf-8"))
        foreign += [(file.name, address) for address in loads.addresses if leaves_the_site(address)]
    for file in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s]+)", file.read_text(encoding="utf-8"))
        foreign += [(file.name, address) for address in found if leaves_the_site(address)]
    assert foreign == []


def test_tables_have_one_header_row(site):
    headers = [
        (file.name, header)
        for file in site.rglob("*.html")
        for header in re.findall("<thead>(.*?)</thead>", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    ]
    assert len(headers) > 50
    assert [(name, header) for name, header in headers if header.count("<tr") != 1] == []


def test_loads_from_other_hosts_are_noticed():
    loads = Loads()
    loads.feed(
        '<link rel="stylesheet" href="//a.org/x.css"><script src="https://b.org/y.js"></script><a href="http://c.org">'
    )
    assert [address for address in loads.addresses if leaves_the_site(address)] == [
        "//a.org/x.css",
        "https://b.org/y.js",
    ]


def test_favicon_and_social_card_are_there(site):
    text = (site / f"{PAGES[0]}.html").read_text(encoding="utf-8")
    assert 'rel="icon" href="../_static/favicon.svg"' in text
    assert '/_static/social-card.png" />' in text
    assert (site / "_static/favicon.svg").exists()
    assert (site / "_static/social-card.png").exists()


# --- in the browser ---------------------------------------------------------------------------------

in_browser = pytest.mark.browser


@in_browser
def test_page_opens_cleanly_and_asks_no_other_host(address, opened):
    errors = [entry["message"] for entry in opened.messages if entry["level"] == "SEVERE"]
    events = [json.loads(entry["message"])["message"] for entry in opened.events]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked, "the performance log is empty, so it tells nothing"
    assert errors == []
    assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []


@in_browser
def test_page_is_light(browser, address, site, opened):
    asked = browser.execute_script("return performance.getEntries().map(entry => entry.name)")
    files = {site / url.removeprefix(f"{address}/").split("?")[0] for url in asked if url.startswith(f"{address}/")}
    assert site / f"{opened.page}.html" in files
    # Web servers compress text on its way, GitHub Pages too.
    weights = {file.name: len(gzip.compress(file.read_bytes())) for file in files}
    assert sum(weights.values()) < HEAVIEST, sorted(weights.items(), key=lambda item: -item[1])[:5]


@in_browser
def test_every_picture_has_alt_text(browser, opened):
    pictures = browser.execute_script("return [...document.images].map(i => [i.getAttribute('src'), i.alt])")
    # Sphinx puts the file's name where an alt text is missing.
    nameless = [src[:80] for src, alt in pictures if not alt.strip() or re.search(r"_images/|\.(png|svg|jpe?g)$", alt)]
    assert nameless == []


@in_browser
def test_page_fits_a_narrow_screen(browser, opened_on_a_phone):
    assert browser.execute_script("return document.documentElement.scrollWidth") <= NARROW
    stored = ROOT / f"{opened_on_a_phone}.ipynb"
    forms = list(narrow_forms(stored.read_text(encoding="utf-8"))) if stored.exists() else []
    pictures = "[...document.querySelectorAll('.cell_output picture img')]"
    shown = f"return {pictures}.map(image => [image.currentSrc, image.getBoundingClientRect().right])"
    assert len(images := browser.execute_script(shown)) == len(forms)
    assert all(source.endswith("-narrow.png") and right <= NARROW for source, right in images)


def cut_off(browser: Chrome, selector: str) -> list[str]:
    """Return the texts that are wider than the box they stand in, among those of a selector."""
    script = "[...document.querySelectorAll(arguments[0])].filter(pre => pre.scrollWidth > pre.clientWidth)"
    return browser.execute_script(f"return {script}.map(pre => pre.textContent)", selector)


@in_browser
def test_code_of_notebooks_fits_a_laptop(browser, opened):
    assert cut_off(browser, ".cell_input pre") == []


OUTPUTS = ".bd-article pre:not(.cell_input pre)"  # what cells and the text show, the code of the library too


@in_browser
def test_no_output_and_no_command_is_cut(browser, opened):
    assert cut_off(browser, OUTPUTS) == []


@in_browser
def test_no_output_and_no_command_is_cut_on_a_phone(browser, opened_on_a_phone):
    assert cut_off(browser, OUTPUTS) == []


@in_browser
def test_formulas_and_widgets_are_drawn_once(browser, opened):
    selectors = ["span.math, div.math", ".math mjx-container", WIDGET_VIEWS, ".widget-subarea"]
    formulas, drawn, views, widgets = (len(browser.find_elements(By.CSS_SELECTOR, s)) for s in selectors)
    assert drawn >= formulas
    assert widgets == views
    assert browser.find_elements(By.CSS_SELECTOR, "mjx-merror, .jp-RenderedText[data-mime-type$=stderr]") == []


@in_browser
def test_every_question_of_check_yourself_has_a_form(browser, opened):
    notebook = ROOT / f"{opened.page}.py"
    asked = notebook.exists() and "check_yourself_" in notebook.read_text(encoding="utf-8")
    questions = browser.find_elements(By.CSS_SELECTOR, "section[id=check-yourself] > ol > li")
    assert all(len(question.find_elements(By.CSS_SELECTOR, ".answer-form")) == 1 for question in questions if asked)
    assert len(questions) >= 3 * asked


@in_browser
def test_axe_finds_nothing_to_improve(browser, opened):
    """axe-core: names, roles, landmarks, headers of tables and contrast, in light and dark mode."""
    browser.execute_script(
        "document.head.insertAdjacentHTML('beforeend', '<style>* {transition: none !important}</style>')"
    )
    for mode, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):  # in which nothing else differs
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", mode)
        violations = Axe().run(browser, options={"resultTypes": ["violations"]} | rules)["violations"]
        found = [(one["id"], node["html"][:200]) for one in violations for node in one["nodes"]]
        assert not found, mode


@in_browser
def test_menu_works_on_a_narrow_screen(browser, address):
    open_page(browser, address, PAGES[0], width=NARROW)
    links = browser.find_elements(By.CSS_SELECTOR, ".bd-sidebar-primary a.reference.internal, #pst-primary-sidebar a")
    assert not any(link.is_displayed() for link in links), "the menu is open from the start"

    buttons = browser.find_elements(By.CSS_SELECTOR, "button.primary-toggle")
    next(button for button in buttons if button.is_displayed()).click()
    chapter = f"a[href$='{PAGES[1]}.html']"
    link = WebDriverWait(browser, PATIENCE).until(
        lambda driver: next(
            (a for a in driver.find_elements(By.CSS_SELECTOR, f"dialog[open] {chapter}") if a.is_displayed()), None
        ),
        message="the menu to open",
    )
    link.click()
    wait_for(browser, f"return location.pathname.endsWith('/{PAGES[1]}.html')", "the link to be followed")


@in_browser
def test_dark_mode_changes_the_page(browser, address):
    open_page(browser, address, PAGES[0])

    def colours() -> tuple[float, float]:
        found = browser.execute_script(
            """const style = getComputedStyle(document.querySelector('.bd-article p'));
            return [style.color, getComputedStyle(document.documentElement).backgroundColor,
                    getComputedStyle(document.body).backgroundColor]"""
        )
        text, *grounds = ([float(number) for number in re.findall(r"[\d.]+", colour)] for colour in found)
        ground = next(g for g in grounds if len(g) == 3 or g[3] > 0)
        return tuple(sum(colour[:3]) / 3 for colour in (text, ground))

    seen = {}
    for _ in range(3):  # the button goes round automatic, light and dark
        browser.find_element(By.CSS_SELECTOR, "button.theme-switch-button").click()
        seen[browser.execute_script("return document.documentElement.dataset.theme")] = colours()
    assert set(seen) == {"light", "dark"}
    (light_text, light_ground), (dark_text, dark_ground) = seen["light"], seen["dark"]
    assert light_ground - light_text > 120
    assert dark_text - dark_ground > 120


@in_browser
@pytest.mark.parametrize(
    ("page", "picture"),
    [("notebooks/02_early_fusion", ".cell_output img"), ("notebooks/05_alignn", ".explorer .widget-gridbox")],
)
def test_a_figure_is_dark_in_dark_mode(browser, address, page, picture):
    open_page(browser, address, page)
    brightness = {}
    for mode in ("light", "dark"):
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", mode)
        # Selenium's screenshot of an element scrolls to it first, and on a busy machine that may not end in time.
        box = browser.execute_script(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height, scale: 1}",
            picture,
        )
        asked = {"clip": box, "captureBeyondViewport": True}
        shown = b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
        brightness[mode] = np.median(plt.imread(io.BytesIO(shown))[..., :3])
    assert brightness["light"] > 0.95
    assert brightness["dark"] < 0.2


@in_browser
def test_the_first_notebook_leads_to_the_cards_of_the_home_page(browser, address):
    """It does not repeat them as a picture, on which nothing can be clicked."""
    open_page(browser, address, "notebooks/00_start_here")
    glance = browser.find_element(By.CSS_SELECTOR, "section[id=the-course-at-a-glance]")
    assert not glance.find_elements(By.TAG_NAME, "img")
    glance.find_element(By.CSS_SELECTOR, "a[href$='pages/index.html']").send_keys(Keys.ENTER)
    wait_for(browser, "return location.pathname.endsWith('/pages/index.html')", "the home page")
    links = browser.find_elements(By.CSS_SELECTOR, ".sd-card a[href*='notebooks/']")
    targets = {link.get_attribute("href") for link in links}
    assert {f"{address}/{page}.html" for page in PAGES if re.match(r"notebooks/\d\d_", page)} <= targets


@in_browser
def test_search_finds_a_word_without_network(browser, address):
    open_page(browser, address, "search")
    browser.get(f"{address}/search.html?q=crystal")
    wait_for(browser, "return document.querySelectorAll('#search-results li').length > 0", "search results")


@in_browser
def test_address_of_the_site_leads_to_the_home_page(browser, site):
    browser.get((site / "index.html").as_uri())
    home = (site / f"{PAGES[0]}.html").as_uri()
    WebDriverWait(browser, PATIENCE).until(lambda driver: driver.current_url == home, message="the home page")
    wait_for(browser, "return document.readyState === 'complete'", "the page to load")
    assert browser.find_elements(By.CSS_SELECTOR, "picture.overview"), "it is not the home page"


@in_browser
def test_next_leads_through_the_book(browser, address):
    open_page(browser, address, PAGES[0])
    for page in PAGES[1:]:
        following = browser.find_element(By.CSS_SELECTOR, ".prev-next-footer a.right-next").get_attribute("href")
        assert following == f"{address}/{page}.html"
        browser.get(following)


# --- explorers --------------------------------------------------------------------------------------

TABLE_OF_VALUES = "explorer-values"  # next to every explorer, and nowhere else


def n_explorers(page: str) -> int:
    """Return how many explorers the stored notebook of a page shows."""
    notebook = ROOT / f"{page}.ipynb"
    return notebook.read_text(encoding="utf-8").count(TABLE_OF_VALUES) if notebook.exists() else 0


MADE_UP = "made_up"  # a page with all kinds of explorers on made-up data, whatever the notebooks show
EXPLORER_PAGES = [MADE_UP, *(page for page in PAGES if n_explorers(page))]
every_explorer_page = pytest.mark.parametrize("page", EXPLORER_PAGES)


@pytest.fixture(scope="session")
def explorer_address(site, address, tmp_path_factory) -> Iterator[dict[str, str]]:
    """Yield the address under which each page with explorers is served; the made-up page has the site's own scripts."""
    folder = tmp_path_factory.mktemp("explorers")
    for name in ("_static", "vendor"):
        (folder / name).symlink_to(site / name)
    y, tables = predictions()
    explorers = [
        graph_explorer(rock_salt()),
        line_graph_explorer(*trios()),
        learning_explorer(*training(), ["AB", "CD"]),
        alpha_explorer(y, tables, unit="eV/atom", stops=5),
        lambda_explorer(*sweep(), {"energy": ("formation energy", "eV/atom"), "gap": ("band gap", "eV")}),
        training_size_explorer(growing(), "cgcnn"),
    ]
    table = tables["random", "out of fold"]
    live = live_alpha(y, table["random_forest"], table["cgcnn"])
    template = (
        '<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="_static/custom.css"><script src="_static/widgets.js"></script></head><body>'
        '<article class="bd-article"><h1>Made up</h1>{snippet}WITHOUT_SCRIPT</article></body></html>'
    )
    embed_minimal_html(
        folder / f"{MADE_UP}.html",
        [*explorers, live],
        "Made up",
        template,
        state=dependency_state([*explorers, live]),
        embed_url="vendor/ipywidgets/embed.js",
        requirejs=False,
    )
    page = (folder / f"{MADE_UP}.html").read_text(encoding="utf-8")
    stand_ins = "".join(made.beside() for made in [*explorers, live])
    (folder / f"{MADE_UP}.html").write_text(page.replace("WITHOUT_SCRIPT", stand_ins), encoding="utf-8")
    with served(folder) as made_up_address:
        yield dict.fromkeys(EXPLORER_PAGES, address) | {MADE_UP: made_up_address}


def source_of(page: str, address: str) -> str:
    """Return the HTML of a page as it is served."""
    with urllib.request.urlopen(f"{address}/{page}.html") as answer:
        return answer.read().decode()


def tables_of_values(html: str) -> list[pd.DataFrame]:
    """Return the table next to each explorer, all cells as they are written."""
    tables = []
    for folded in re.findall(f'<details class="{TABLE_OF_VALUES}">.*?</details>', html, flags=re.DOTALL):
        rows = re.findall("<tr.*?</tr>", folded, flags=re.DOTALL)
        header, *cells = [[unescape(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]
        tables.append(pd.DataFrame(cells, columns=header))
    return tables


SHOWN = """
const explorer = document.querySelectorAll(".explorer")[arguments[0]];
const readout = [...explorer.querySelectorAll(".explorer-readout strong")];
return {
  readout: readout.map(value => [value.previousSibling.textContent.replace("·", "").trim(), value.textContent]),
  said: [...explorer.querySelectorAll("[role=slider]")].map(s => [s.ariaLabel, s.ariaValueText]),
  alts: [...explorer.querySelectorAll("img, svg")].map(p => p.alt || p.getAttribute("aria-label")),
  tables: [...explorer.querySelectorAll(".widget-gridbox table")].map(p => p.innerText),
  layers: [...explorer.querySelectorAll(".widget-gridbox")].map(p => p.querySelectorAll("img, svg, table").length),
  pictures: [...explorer.querySelectorAll(".widget-gridbox :is(img, svg, table)")].map(p => p.outerHTML).join("")}
"""


def wait_for_readout(browser: Chrome, index: int, name: str, value: str) -> dict:
    """Wait until the readout of an explorer says so, and return what it shows (`SHOWN`)."""

    def shown(driver: Chrome) -> dict | None:
        seen = driver.execute_script(SHOWN, index)
        return seen if (name, value) in map(tuple, seen["readout"]) else None

    return WebDriverWait(browser, PATIENCE).until(shown, message=f"{name} to be {value}")


def controls_of(explorer: WebElement) -> tuple[dict[str, list[WebElement]], WebElement]:
    """Return the radio buttons by the name of their group, and the handle of the slider."""
    groups = {
        group.find_element(By.CSS_SELECTOR, ".widget-label").text: group.find_elements(By.CSS_SELECTOR, "input")
        for group in explorer.find_elements(By.CSS_SELECTOR, ".widget-radio")
    }
    return groups, explorer.find_element(By.CSS_SELECTOR, "[role=slider]")


def move_through(browser: Chrome, index: int, table: pd.DataFrame) -> None:
    """Set an explorer to all its settings with the keyboard, and compare what it shows with the table of values."""
    groups, slider = controls_of(browser.find_elements(By.CSS_SELECTOR, ".explorer")[index])
    by_slider = slider.get_attribute("aria-label")
    seen = {}
    for chosen in itertools.product(*groups.values()):
        settings = dict(zip(groups, (button.find_element(By.XPATH, "..").text for button in chosen), strict=True))
        rows = table[(table[list(settings)] == pd.Series(settings, dtype=object)).all(axis=1)]
        for button in chosen:
            button.send_keys(Keys.SPACE)
        off = len(rows) == 1
        is_off = f"document.querySelectorAll('.explorer')[{index}].querySelector('.widget-slider').inert"
        wait_for(browser, f"return {is_off} === {json.dumps(off)}", "the slider to be off only where it does nothing")
        if not off:
            slider.send_keys(Keys.HOME)
        for step, (_, row) in enumerate(rows.iterrows()):
            if step:
                slider.send_keys(Keys.ARROW_RIGHT)
            shown = wait_for_readout(browser, index, by_slider, row[by_slider])
            assert dict(shown["readout"]) == row.to_dict()
            assert shown["said"] == [[by_slider, row[by_slider]]]
            layers = 1 if shown["tables"] else 2  # a picture has one that stays and one that changes
            assert set(shown["layers"]) == {layers}, "a picture is drawn twice, or not at all"
            assert all(shown["alts"])
            if shown["tables"]:
                assert all(row["result"] in text for text in shown["tables"])
            else:
                assert any(row[by_slider] in alt for alt in shown["alts"])
            seen[tuple(row)] = shown["pictures"]
    assert len(seen) == len(table), "some settings are not reached"
    assert len(set(seen.values())) == len(table), "two settings show the same pictures"


@in_browser
@every_explorer_page
def test_explorers_follow_the_keyboard(browser, explorer_address, page):
    address = explorer_address[page]
    open_page(browser, address, page)
    tables = tables_of_values(source_of(page, address))
    assert tables
    assert len(browser.find_elements(By.CSS_SELECTOR, ".explorer")) == len(tables)
    for index, table in enumerate(tables):
        wait_for(browser, f"return document.querySelectorAll('.explorer img')[{index}]", "the explorers")
        move_through(browser, index, table)
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []


@in_browser
@every_explorer_page
def test_explorers_are_reached_with_the_tab_key(browser, explorer_address, page):
    open_page(browser, explorer_address[page], page)
    wait_for(browser, "return document.querySelector('.explorer img')", "the explorers")
    reachable = browser.execute_script(
        """return [...document.querySelectorAll('.explorer [role=slider], .explorer input')]
            .every(control => control.tabIndex === 0 && control.getClientRects().length)"""
    )
    assert reachable
    named = "return [...document.querySelectorAll('.explorer .widget-radio-box')].every(box => box.ariaLabel)"
    assert browser.execute_script(named)
    live = browser.execute_script("return [...document.querySelectorAll('.explorer-readout')].map(r => r.ariaLive)")
    assert set(live) == {"polite"}


@in_browser
@every_explorer_page
def test_explorers_fit_a_narrow_screen(browser, explorer_address, page):
    open_page(browser, explorer_address[page], page, width=NARROW)
    wait_for(browser, "return document.querySelector('.explorer img')", "the explorers")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= NARROW
    places = browser.execute_script(
        """return [...document.querySelectorAll('.explorer .widget-gridbox')].map(panel =>
            [...panel.querySelectorAll('img, svg')].map(layer => {
                const {x, y, width, height} = layer.getBoundingClientRect(); return [x, y, width, height]}))"""
    )
    for picture, layer in filter(None, places):  # a table has neither
        assert picture == pytest.approx(layer, abs=1.5), "a layer does not lie on its picture"
        assert picture[2] > 0.75 * NARROW, "a picture is too small to read"


@in_browser
@pytest.mark.parametrize("page", EXPLORER_PAGES[1:])  # the made-up page has no bar at its top
def test_the_slider_stays_in_sight_on_a_phone(browser, explorer_address, page):
    """While the last picture is looked at, the controls are just below the bar of the page."""
    open_page(browser, explorer_address[page], page, width=NARROW)
    wait_for(browser, "return document.querySelector('.explorer img')", "the explorers")
    for index in range(n_explorers(page)):
        bar, slider, picture = browser.execute_script(
            """const explorer = document.querySelectorAll('.explorer')[arguments[0]];
            const place = (part) => part.getBoundingClientRect();
            scrollBy({top: place(explorer).bottom - 600, behavior: 'instant'});
            return [place(document.querySelector('.bd-header-article')).bottom,
                    place(explorer.querySelector('[role=slider]')).top,
                    place([...explorer.querySelectorAll('.widget-gridbox')].at(-1)).top]""",
            index,
        )
        assert bar <= slider < 200, "the slider has left the screen, or too much stands above it"
        assert slider < picture < 600


@in_browser
def test_what_needs_a_kernel_shows_a_sentence_instead(browser, explorer_address):
    open_page(browser, explorer_address[MADE_UP], MADE_UP)
    wait_for(browser, "return document.querySelector('.without-kernel p')", "the live part")
    assert browser.find_element(By.CSS_SELECTOR, ".without-kernel").is_displayed()
    assert not browser.find_element(By.CSS_SELECTOR, ".needs-kernel").is_displayed()


@in_browser
@every_explorer_page
def test_without_scripts_the_first_frame_and_all_values_are_there(browser, explorer_address, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        set_width(browser, NARROW)
        browser.get(f"{explorer_address[page]}/{page}.html")
        document = browser.execute_cdp_cmd("DOM.getDocument", {"depth": 0})["root"]["nodeId"]

        def visible(selector: str) -> int:
            found = browser.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": document, "selector": selector})
            boxes = [browser.execute_cdp_cmd("DOM.getBoxModel", {"nodeId": node})["model"] for node in found["nodeIds"]]
            return sum(box["width"] > 0.75 * NARROW and box["height"] > 0 for box in boxes)

        tables = tables_of_values(source_of(page, explorer_address[page]))
        assert visible(f".{TABLE_OF_VALUES} summary") == len(tables)
        assert visible("noscript img") == visible("noscript svg") >= len(tables)
        assert visible("noscript p") == len(tables)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@every_explorer_page
def test_widgets_of_a_page_are_light(explorer_address, page):
    html = source_of(page, explorer_address[page])
    state = re.search(r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>', html, re.DOTALL)[1]
    assert "selected_index" in state
    assert len(state) < HEAVIEST_WIDGETS


@in_browser
@pytest.mark.parametrize("page", [page for page in PAGES if re.match(r"notebooks/ex\d", page)])
def test_buttons_of_an_exercise_lead_to_the_copy_without_solutions(browser, address, site, page):
    open_page(browser, address, page)
    links = browser.find_elements(By.CSS_SELECTOR, ".article-header-buttons a[href*='.ipynb']")
    targets = [link.get_attribute("href") for link in links]
    copy = f"notebooks/exercises/{page.removeprefix('notebooks/')}.ipynb"
    assert len(targets) == 3
    assert sum(target.endswith(copy) for target in targets) == 2, "Binder and Colab"
    downloaded = next(target for target in targets if target.startswith(address))
    given = (site / downloaded.removeprefix(f"{address}/")).read_bytes()
    assert given == (ROOT / copy).read_bytes()


# --- guesses ------------------------------------------------------------------------------------------


def test_a_guess_is_kept_and_shown_with_the_result(browser, address):
    """By mouse and by keyboard; after a reload it is still there, on this page only."""
    open_page(browser, address, "notebooks/01_two_views")
    browser.execute_script("localStorage.clear()")
    open_page(browser, address, "notebooks/01_two_views")
    boxes = browser.find_elements(By.CSS_SELECTOR, "blockquote .guess-form")
    assert len(boxes) == len(
        [quote for quote in browser.find_elements(By.TAG_NAME, "blockquote") if "Predict." in quote.text]
    )
    asked = [browser.find_element(By.ID, box.get_attribute("aria-describedby")).text for box in boxes]
    assert all(words.startswith("Predict.") for words in asked), "a screen reader tells the boxes apart"
    assert len(set(asked)) == len(boxes)
    first = boxes[0].find_elements(By.TAG_NAME, "input")
    assert [choice.get_attribute("value") for choice in first] == [
        "about 0.01 eV/atom", "about 0.1 eV/atom", "about 1 eV/atom",
    ]  # fmt: skip
    first[1].send_keys(Keys.SPACE)
    result = browser.find_element(By.CSS_SELECTOR, ".measured[data-prediction=polymorphs]")
    assert result.text.startswith("Your guess: about 0.1 eV/atom. Measured: 0.")
    assert "Noted" in boxes[0].text
    open_page(browser, address, "notebooks/01_two_views")
    result = browser.find_element(By.CSS_SELECTOR, ".measured[data-prediction=polymorphs]")
    assert result.text.startswith("Your guess: about 0.1 eV/atom.")
    assert (
        browser.find_element(By.CSS_SELECTOR, ".guess-form input:checked").get_attribute("value") == "about 0.1 eV/atom"
    )
    open_page(browser, address, "notebooks/02_early_fusion")
    assert not browser.find_elements(By.CSS_SELECTOR, ".guess-form input:checked")


# --- answers on the page ------------------------------------------------------------------------------


def answer_forms(browser) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, ".answer-form")


def press(form: WebElement, name: str) -> str:
    """Press a button of the form and return what the form says then."""
    next(button for button in form.find_elements(By.TAG_NAME, "button") if button.text == name).send_keys(Keys.ENTER)
    return form.find_element(By.TAG_NAME, "output").text


def write_small_page(folder: Path, *calls: str) -> None:
    """Write a page that has nothing but cells with these calls of checkers, and the forms that belong to them."""
    cells = "".join(f'<div class="cell"><div class="cell_input">{call}</div></div>' for call in calls)
    html = f'<article class="bd-article">{cells}</article>'
    html += '<script src="answers.js"></script><script src="exercises.js"></script>'
    (folder / "index.html").write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    (folder / "answers.js").write_text(f"window.ANSWERS = {json.dumps(answers())}", encoding="utf-8")
    (folder / "exercises.js").write_bytes((ROOT / "pages/_static/exercises.js").read_bytes())


@in_browser
def test_an_option_is_chosen_in_each_row(browser, tmp_path):
    """On a small page: an unfinished form, a wrong row with its hint, the answer on request, then right."""
    write_small_page(tmp_path, "check_culprits(culprits)", "check_choices(choices, runs, board)")

    def choose(form: WebElement, **options: str) -> str:
        for label in form.find_elements(By.TAG_NAME, "label"):
            if option := options.get(label.find_element(By.TAG_NAME, "span").text.replace(" ", "_").replace(",", "")):
                Select(label.find_element(By.TAG_NAME, "select")).select_by_visible_text(option)
        return press(form, "Check")

    kept = dict.fromkeys(("orientation", "origin", "order_of_atoms", "choice_of_cell"), "kept")
    with served(tmp_path) as place:
        browser.get(f"{place}/index.html")
        culprits, choices = answer_forms(browser)
        assert choose(culprits, **kept, supercell="summary") == "1 still to choose."
        told = choose(culprits, rest_of_the_batch="scores")
        assert told.startswith("5 of 6 are right. Think again about “rest of the batch”: The score of an atom")
        assert press(culprits, "Show the answer").endswith("rest of the batch: weights")
        assert choose(culprits, rest_of_the_batch="weights").startswith("All right. Two promises are broken")
        reasons = {"A_reason": "holds and fits", "B_reason": "large data", "C_reason": "no new training"}
        told = choose(choices, **reasons, A_method="alignn", B_method="alignn", C_method="cgcnn")
        assert told.startswith("5 of 6 are right. Think again about “C, method”: CGCNN alone")
        assert choose(choices, C_method="late_fusion").startswith("All right. Three situations")


@in_browser
def test_numbers_with_commas_are_read_and_the_end_is_shown(browser, tmp_path):
    """On a small page: commas between thousands and decimal ones; once all is right, what the checker says of it."""
    write_small_page(tmp_path, "check_dimensions(n, m)", "check_quest_8(q)")

    def say(form: WebElement, text: str) -> str:
        field = form.find_element(By.TAG_NAME, "input")
        field.clear()
        field.send_keys(text)
        return press(form, "Check")

    with served(tmp_path) as place:
        browser.get(f"{place}/index.html")
        inputs, weights, distance = answer_forms(browser)
        assert say(weights, "51,456") == "Right."
        assert say(weights, "51,328").startswith("Nearly: those are the entries of the matrix.")
        assert press(weights, "Show the answer") == "n_weights = 51456"
        assert say(weights, "1,000,000").startswith("1000000 is not right. Picture one of")
        assert say(inputs, "401") == "Right."
        assert say(weights, "51456").startswith("Right. 145 + 256 = 401 inputs, and 51,456 numbers")
        assert say(inputs, "4O1") == "Give a number, such as 0.25 or 1/4."
        assert say(distance, "1,003").startswith("Right. The bond is as long as the two radii together.")
        assert say(distance, "1,158").startswith("That is half of the lattice constant")
        assert say(distance, "0,701").startswith("0.701 is not right.")


def test_a_number_is_checked_on_the_page(browser, address):
    """Wrong, with the hint of the checker; then the answer on request; then right; in three ways of writing it."""
    open_page(browser, address, "notebooks/ex4_task_weights")
    form = answer_forms(browser)[0]
    field = form.find_element(By.CSS_SELECTOR, "input")
    assert press(form, "Check") == "Give a number, such as 0.25 or 1/4."
    field.send_keys("6")
    assert "how many times larger the band gap's part is" in press(form, "Check")
    assert press(form, "Show the answer") == "share_loss = 0.8571"
    for text in ("0.857", "0,857", "6/7"):
        field.clear()
        field.send_keys(text)
        assert press(form, "Check") == "Right."


def test_statements_are_judged_on_the_page(browser, address):
    open_page(browser, address, "notebooks/ex4_task_weights")
    form = next(form for form in answer_forms(browser) if form.find_elements(By.CSS_SELECTOR, ".answer-row"))
    rows = form.find_elements(By.CSS_SELECTOR, ".answer-row")
    assert all(len(row.find_element(By.TAG_NAME, "legend").text) > 40 for row in rows), "the statements are there"
    assert "still to judge" in press(form, "Check")
    for row in rows:
        row.find_elements(By.TAG_NAME, "input")[0].send_keys(Keys.SPACE)  # all true
    assert "2 of 5 are right. Look at the shares" in (hint := press(form, "Check"))
    assert press(form, "Show which one") == f"{hint} Think again about “larger error”."
    answer = press(form, "Show the answer")
    for row in rows:
        key = row.find_element(By.TAG_NAME, "code").text
        row.find_elements(By.TAG_NAME, "input")[f"{key}: False" in answer].send_keys(Keys.SPACE)
    assert press(form, "Check").startswith("All right. If nobody thinks about the units")


def test_check_yourself_is_answered_on_the_page(browser, address):
    """Each question has its form, with the keyboard: a hint, the answer on request, then right."""
    open_page(browser, address, "notebooks/02_early_fusion")
    questions = browser.find_elements(By.CSS_SELECTOR, "section[id=check-yourself] > ol > li")
    assert len(questions) == 4
    number, scaling, *_ = (question.find_element(By.CSS_SELECTOR, ".answer-form") for question in questions)
    number.find_element(By.TAG_NAME, "input").send_keys("273")
    assert press(number, "Check") == "That is the number with 128."
    assert press(number, "Show the answer") == "question 1 = 401"
    assert press(scaling, "Check") == "Choose an answer first."
    choices = scaling.find_elements(By.CSS_SELECTOR, ".answer-choice")
    assert [choice.text[0] for choice in choices] == ["a", "b", "c"]
    assert all(len(choice.text) > 40 for choice in choices), "the answers are there"
    choices[2].find_element(By.TAG_NAME, "input").send_keys(Keys.SPACE)
    assert "What has travelled" in press(scaling, "Check")
    choices[1].find_element(By.TAG_NAME, "input").send_keys(Keys.SPACE)
    assert press(scaling, "Check") == "Right."
    assert not browser.find_elements(By.XPATH, "//summary[contains(., 'JupyterLab')]")

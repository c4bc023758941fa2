"""The page: what it says, that it needs nothing else, and how a real browser shows it."""

import itertools
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from hpcrefine.cli import main
from hpcrefine.errors import InputError
from hpcrefine.record.reader import read
from hpcrefine.report import markup, render, report
from hpcrefine.report.tables import summarise
from hpcrefine.report.writing import Grid

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
# Shows a page in a frame and writes down what became of it there.
FRAME = """<!DOCTYPE html><meta charset="utf-8">
<iframe width="400" height="800" src="{page}"></iframe><pre id="found"></pre><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, all = s => Array.from(page.querySelectorAll(s));
  document.querySelector("#found").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    resources: frame.contentWindow.performance.getEntriesByType("resource").map(e => e.name),
    cells: all("td, th").map(e => e.textContent),
    headings: all("h1, h2, h3").map(e => e.tagName + " " + e.textContent),
    pictures: all("svg").map(e => Math.round(e.getBoundingClientRect().width)),
    broken: all("[href^='#']").filter(e => !page.getElementById(e.getAttribute("href").slice(1)))
      .length,
    mode: page.compatMode,
  }});
}};
</script>"""


class Elements(HTMLParser):
    """The elements of a page with their attributes, in order; what is open is closed again."""

    VOID = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID and tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


@pytest.fixture
def page(tmp_path):
    """Write the page of records and return its text."""

    def make(*paths, name="page.html", **options):
        report(paths, html=tmp_path / name, **options)
        return (tmp_path / name).read_text()

    return make


def check_whole(text):
    """Nothing is loaded, ids are unique and referred to, tables and figures say what they are."""
    elements = Elements(text)
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    for _, attributes in elements.found:
        for name in ("href", "xlink:href", "src"):
            assert attributes.get(name, "#")[0] == "#"
            assert attributes.get(name, "#")[1:] in ("", *ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert not re.search(r"url\((?!#)|@import|<script|<style type", text)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert {"http-equiv": "Content-Security-Policy", "content": policy} in elements.named("meta")
    assert elements.named("html") == [{"lang": "en"}]
    assert {each.get("scope") for each in elements.named("th")} <= {"row", "col"}
    pictures = elements.named("svg")
    assert {each["role"] for each in pictures} <= {"img"}
    assert all(each["aria-label"] for each in pictures)
    assert len(elements.named("figcaption")) == len(elements.named("figure")) == len(pictures)
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(text.encode()) < 1_000_000
    return elements


def test_the_page_of_a_record(page, point):
    path = point()
    text = page(path)
    elements = check_whole(text)
    assert len(elements.named("svg")) == 3
    assert "<h1>product &lt;b&gt;</h1>" in text
    assert "name = &quot;product &lt;b&gt;&quot;" in text
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert titles == [
        *("What, where, when", "Error against time", "Results", "Distributions", "Timelines"),
        *("How it was computed", "Job files"),
    ]
    (grid,) = [line for line in render.lines(summarise(read(path))) if isinstance(line, Grid)]
    assert markup.table(grid) in text


def test_warnings_come_first_and_interruptions_among_them(page, point):
    text = page(point(repeats=3, complete=False))
    box = text[text.index('class="warnings"') : text.index("</ul></section>")]
    assert "interrupted: " in box
    assert "fewer than 6 times" in box
    assert text.index('class="warnings"') < text.index("What, where, when</h2>")
    check_whole(text)


@pytest.fixture(scope="module")
def study(tmp_path_factory, study_writer):
    """The folder of a study, with its page against a slower one in the folder above."""
    folder = study_writer(tmp_path_factory.mktemp("study") / "strong", workers=(1, 2))
    slower = study_writer(folder.with_name("slower"), workers=(1, 2), speed=1.5)
    report([folder], against=[slower], html=folder.with_name("page.html"))
    return folder


def test_the_page_of_a_study(study):
    text = study.with_name("page.html").read_text()
    elements = check_whole(text)
    assert "<h1>strong</h1>" in text
    assert "missing point: ranks=9: no record yet" in text
    assert text.count('<td class="text">faster</td>') == 6
    labels = [each["aria-label"] for each in elements.named("svg")]
    kinds = [label.split(": ")[0] for label in labels]
    records = [f"{i:03}-ranks-{w + 1}" for i, w in enumerate((1, 2))]
    assert kinds == [
        *("strong-anytime", "strong-scaling", "strong-comparison"),
        *(f"{name}-distribution" for name in records),
        *(f"{name}-timeline" for name in records),
    ]


def test_pages_of_streams_and_of_inference(page, write_streams, write_inference, inference_jobs):
    stream = write_streams({"redundancy": 1.0}, {"redundancy": 1.5}, name="s.h5")
    text = page(stream, write_inference(*inference_jobs, name="i.h5"))
    elements = check_whole(text)
    assert "simulated and measured records" in text
    kinds = [each["aria-label"].split(": ")[0] for each in elements.named("svg")]
    assert sorted(kinds) == ["i-accuracy", "i-gray", "i-operations", "i-tradeoff", "s-delay"]
    assert "Error against time" not in text


def test_nothing_to_show_is_no_obstacle(page, write_streams):
    check_whole(page(write_streams({"warmup": True})))


def test_codes_stand_side_by_side(page, write, jobs):
    other = [({"variant": "mds"}, [{"ready": 0.02, "error_bound": 1.0}])] * 6
    text = page(write([*jobs, *other]))
    assert "Codes side by side</h2>" in text
    assert '<th scope="row" class="number">0</th>' in text
    check_whole(text)


def test_a_file_is_only_replaced_by_force(point, tmp_path, capsys):
    path, target = point(), tmp_path / "page.html"
    target.write_text("mine")
    arguments = ["report", str(path), "--html", str(target)]
    assert main(arguments) == 2
    assert "exists already, expected a new file, or --force" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert main([*arguments, "--force", "--job", "2"]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {target}\n")
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "point.h5"]
    before = path.read_bytes()
    assert main(["report", str(path), "--html", str(path), "--force"]) == 2
    assert "found an HDF5 file, expected another place" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_where_no_page_can_be(point, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        report([point()], html=tmp_path / "point.h5" / "page.html")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Run a browser without a window; return what it prints, and what it complains about."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        if os.environ.get("HPCREFINE_REQUIRE_BROWSER") == "1":
            pytest.fail("no chromium, and HPCREFINE_REQUIRE_BROWSER is 1")
        pytest.skip("no chromium")
    home = tmp_path_factory.mktemp("browser")

    def browse(path, *flags):
        command = [found, *FLAGS, f"--user-data-dir={home}", *flags, path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return browse


def framed(browser, path):
    """Load a page in a frame 400 pixels wide."""
    frame = path.with_name("frame.html")
    frame.write_text(FRAME.format(page=path.name))
    dom, complaints = browser(frame, "--allow-file-access-from-files", "--dump-dom")
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL).group(1)
    found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return json.loads(found), complaints


def test_a_browser_shows_it_all_and_loads_nothing(browser, study):
    page = study.with_name("page.html")
    found, complaints = framed(browser, page)
    assert complaints == []
    assert found["resources"] == []
    assert found["mode"] == "CSS1Compat"
    assert found["broken"] == 0
    assert found["width"] == 400
    assert len(found["pictures"]) == 7
    assert min(found["pictures"]) > 400  # they scroll in boxes of their own
    assert found["headings"][0] == "H1 strong"
    grids = [
        line
        for path in sorted(study.glob("*.h5"))
        for line in render.lines(summarise(read(path)))
        if isinstance(line, Grid)
    ]
    missing = Counter(cell for grid in grids for row in grid.rows for cell in row)
    missing.subtract(Counter(found["cells"]))
    assert [cell for cell, times in missing.items() if times > 0] == []
    for scheme, dark in ((1, False), (0, True)):
        shot = page.with_name(f"{scheme}.png")
        flags = ("--window-size=1200,2400", f"--screenshot={shot}")
        browser(page, f"--blink-settings=preferredColorScheme={scheme}", *flags)
        pixels = imread(shot)[..., :3]
        assert (pixels[0, 0].mean() < 0.3) == dark
        assert len(np.unique((pixels[::3, ::3] * 255).astype(np.uint8).reshape(-1, 3), axis=0)) > 50


def test_the_browser_does_tell_what_is_wrong(browser, tmp_path):
    path = tmp_path / "wrong.html"
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    wide = "<div style='width: 900px'><a href='#nowhere'>x</a></div>"
    path.write_text(f"<!DOCTYPE html>{policy}{wide}<img src='there.png'>")
    found, complaints = framed(browser, path)
    assert any("Content Security Policy" in line for line in complaints)
    assert found["broken"] == 1
    path.write_text(f"<!DOCTYPE html>{wide}<img src='http://nowhere.invalid/there.svg'>")
    found, _ = framed(browser, path)
    assert found["width"] > 800
    assert any(name.endswith("there.svg") for name in found["resources"])

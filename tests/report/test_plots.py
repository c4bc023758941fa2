"""Figures: what is drawn for which records, and the files they go to."""

import math
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hpcrefine.cli import main
from hpcrefine.errors import InputError
from hpcrefine.record.reader import read
from hpcrefine.report import report
from hpcrefine.report.anytime import anytime
from hpcrefine.report.figures import BOUND, distribution, draw, splits
from hpcrefine.report.streams import COLUMNS
from hpcrefine.report.streams import summarise as summarise_streams
from hpcrefine.report.tables import summarise

WORKERS = ((6, 0.25), (2, 1.0))
ONESHOT = {"variant": "oneshot", "minijobs": (4,), "delays": [(2.5,)], "estimates": WORKERS}
LAYERED = {"estimates": WORKERS}


@pytest.fixture
def source(write_streams):
    def make(*streams, **options):
        return summarise_streams(read(write_streams(*streams, **options), COLUMNS))

    return make


def drawn(*sources):
    ((end, figure),) = draw(sources)
    (axes,) = figure.axes
    return end, axes


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def lines(axes):
    """The labelled lines with data: x and y of each."""
    named = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    return {k: (list(v.get_xdata()), list(v.get_ydata())) for k, v in named.items()}


def test_delays_against_redundancy_with_both_bounds(source):
    ratios = {1.0: 3.0, 1.25: 2.0, 1.5: 2.25}
    streams = [
        kind | {"redundancy": r} | ({} if kind is ONESHOT else {"delays": [(1.0, d)]})
        for kind in (LAYERED, ONESHOT)
        for r, d in ratios.items()
    ]
    end, axes = drawn(source(*streams))
    assert end == "delay"
    assert axes.get_xlabel() == r"redundancy ratio $\Omega$ (coded tasks / tasks needed)"
    assert axes.get_ylabel() == "mean delay, arrival to resolution [s]"
    assert axes.get_title(loc="left") == "scaling [bold]x"
    assert labels(axes) == ["resolution 0", "resolution 1", "one-shot", BOUND]
    assert lines(axes)["resolution 1"] == (list(ratios), list(ratios.values()))
    assert lines(axes)["one-shot"] == (list(ratios), [2.5] * 3)
    dashed = [line.get_ydata() for line in axes.lines if line.is_dashed() and len(line.get_xdata())]
    waiting = 0.1 * 0.8**2 / (2 * 0.92)
    assert [float(y[0]) for y in dashed] == pytest.approx([waiting + s for s in (0.2, 0.8, 0.8)])


def test_success_against_deadlines(source):
    streams = [
        LAYERED | {"deadline": d, "met": (100, 10 * i)} for i, d in enumerate((0.5, 1.0, 2.0))
    ]
    end, axes = drawn(source(*streams))
    assert end == "success"
    assert axes.get_xlabel() == "deadline [s]"
    assert axes.get_ylabel() == "share of jobs with the resolution in time"
    assert lines(axes)["resolution 1"] == ([0.5, 1.0, 2.0], [0.0, 0.1, 0.2])
    assert axes.get_ylim()[0] == 0


def test_success_against_redundancy_at_a_deadline(source):
    streams = [{"deadline": 3.0, "redundancy": r, "met": (100, 90)} for r in (1.0, 2.0)]
    end, axes = drawn(source(*streams))
    assert end == "success"
    assert axes.get_title(loc="left") == "scaling [bold]x, deadline 3 s"
    assert lines(axes)["resolution 1"] == ([1.0, 2.0], [0.9, 0.9])
    assert 0.8 <= axes.get_ylim()[0] < 0.9


def test_splits_beside_each_other(source):
    streams = [
        LAYERED | {"split": s, "delays": [(1.0, d)]}
        for s, d in (("uniform", 4.0), ("optimal", 2.0))
    ]
    end, axes = drawn(source(*streams))
    assert end == "splits"
    assert [bar.get_height() for bar in axes.patches] == [1.0, 1.0, 4.0, 2.0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["resolution 0", "resolution 1"]
    assert set(labels(axes)) == {"uniform", "optimal", BOUND}


def test_measured_points_over_simulated_bars(source):
    streams = [LAYERED | {"split": s} for s in ("uniform", "optimal")]
    simulated, measured = (
        source(*streams, name="s.h5"),
        source(*streams, name="m.h5", kind="measured"),
    )
    figure = splits([measured, simulated])
    (axes,) = figure.axes
    assert len(axes.patches) == 4
    assert len(axes.get_xticks()) == 2
    assert set(labels(axes)) == {"uniform", "optimal", "measured", BOUND}


def test_distributions_reach_the_share_that_has_the_resolution(source):
    times = np.linspace(1.0, 3.0, 100)
    delay = np.stack([times, np.where(times > 2.5, np.nan, times + 1)], axis=1)
    end, axes = drawn(source(LAYERED | {"layers": {"delay": delay, "ready": delay}}))
    assert end == "distribution"
    assert axes.get_xlabel() == "delay, arrival to resolution [s]"
    x, y = lines(axes)["resolution 0"]
    assert (x[0], x[-1], y[0], y[-1]) == pytest.approx((1.0, 3.0, 0.01, 1.0))
    x, y = lines(axes)["resolution 1"]
    assert (x[-1], y[-1]) == pytest.approx((delay[np.isfinite(delay)].max(), 0.75), abs=0.03)
    assert labels(axes) == ["resolution 0", "resolution 1", "mean", BOUND]


def test_measured_are_points_and_simulated_lines(source):
    fast = {"delays": [(0.001, 0.002)]}
    streams = [LAYERED | fast | {"redundancy": r} for r in (1.0, 2.0)]
    simulated = source(*streams, name="s.h5")
    end, axes = drawn(source(*streams, name="m.h5", kind="measured"), simulated)
    assert end == "delay"
    assert "[ms]" in axes.get_ylabel()
    kinds = [f"resolution {i}, {kind}" for kind in ("measured", "simulated") for i in (0, 1)]
    assert sorted(labels(axes)) == sorted([*kinds, BOUND])
    assert list(lines(axes))[:2] == ["resolution 0, simulated", "resolution 1, simulated"]
    points = [bars.get_label() for bars in axes.containers]
    assert points == ["resolution 0, measured", "resolution 1, measured"]


def test_settings_beside_the_one_on_the_axis_have_series_of_their_own(source):
    streams = [
        {"redundancy": r, "split": s, "variant": v}
        for v in ("mds", "lt")
        for s in ("uniform", "dynamic")
        for r in (1.0, 2.0)
    ]
    _, axes = drawn(source(*streams))
    found = [label for label in labels(axes) if label.startswith("resolution 0")]
    assert sorted(found) == sorted(
        f"resolution 0, {v}, {s}" for v in ("mds", "lt") for s in ("uniform", "dynamic")
    )


def test_a_baseline_without_redundancy_is_a_point(source):
    oneshot = {"variant": "oneshot", "minijobs": (0,), "delays": [(2.5,)]}
    _, axes = drawn(source(*[LAYERED | {"redundancy": r} for r in (1.0, 2.0)], oneshot))
    (line,) = [line for line in axes.lines if line.get_label() == "one-shot"]
    assert (line.get_xdata().tolist(), line.get_marker()) == ([1.0], "o")


def test_what_differs_between_variants_alone_is_no_axis(source):
    oneshot = {"variant": "oneshot", "minijobs": (0,), "delays": [(2.5,)]}
    end, axes = drawn(source(LAYERED | {"redundancy": 1.5}, oneshot))
    assert end == "distribution"
    assert labels(axes)[:3] == ["resolution 0", "resolution 1", "one-shot"]


def test_nothing_released_is_no_obstacle(source):
    never = {"delays": [(math.nan, math.nan)], "met": (0, 0), "deadline": 1.0}
    figure = distribution([source(never)])
    assert figure.axes[0].get_ylim() == pytest.approx((0, 1.02))
    drawn(source(never, never | {"deadline": 2.0}, name="2.h5"))


def test_single_products_have_an_anytime_curve(write, jobs):
    table = summarise(read(write(jobs)))
    (axes,) = anytime(table).axes
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "time since the job's start [ms]"
    assert axes.get_ylabel() == "error of the product (absolute, max norm)"
    x, y = lines(axes)["error bound, until the next one"]
    assert x == pytest.approx([10.0, 10.0, 50.0, axes.get_xlim()[1]])
    exact = y[-1]
    assert y[1:] == pytest.approx([1.25e-3 * 1.001, exact, exact])
    assert axes.get_ylim()[0] < exact < 1e-3
    (oneshot,) = [line for line in axes.lines if line.get_color() == "#000000"]
    assert list(oneshot.get_xdata()) == pytest.approx([40.0, 40.0])
    said = [text.get_text() for text in axes.texts]
    assert said == ["0", "1", "one-shot\n40 ms", "0: exact"]


def check_files(folder, stem):
    png, svg = (folder / f"{stem}.{form}" for form in ("png", "svg"))
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert png.read_bytes().endswith(b"IEND\xaeB`\x82")
    assert ET.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_files_of_figures(write_streams, write, jobs, tmp_path):
    out = tmp_path / "deep/out"
    kinds = {
        name: write_streams(LAYERED, ONESHOT, name=f"{name}.h5", kind=kind)
        for name, kind in (("one", "measured"), ("two", "simulated"))
    }
    other = write_streams(LAYERED, name="other.h5", job_text='[job]\nname = "other"\n')
    text = report([*kinds.values(), other, write(jobs)], plot=out)
    stems = ["one-distribution", "other-distribution", "run-anytime", "run-distribution"]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        f"{stem}.{form}" for stem in stems for form in ("png", "svg")
    )
    assert f"wrote {out / 'one-distribution.svg'}\n" in text
    for stem in stems:
        check_files(out, stem)


def test_the_same_record_gives_the_same_files(write_streams, tmp_path):
    path = write_streams(LAYERED)
    for folder in ("a", "b"):
        report([path], plot=tmp_path / folder)
    name = "run-distribution.svg"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_command_line(write_streams, tmp_path, capsys):
    assert main(["report", str(write_streams(LAYERED)), "--plot", str(tmp_path / "out")]) == 0
    assert "run-distribution.png" in capsys.readouterr().out
    check_files(tmp_path / "out", "run-distribution")


def test_codes_are_drawn_too(write, jobs, tmp_path):
    assert "run-anytime.png" in report([write(jobs)], codes=True, plot=tmp_path / "out")


def test_a_study_has_figures_of_its_own(make_study, tmp_path):
    folder = make_study(workers=(1, 2))
    text = report([folder], plot=tmp_path / "out")
    records = [f"{i:03}-ranks-{w + 1}" for i, w in enumerate((1, 2))]
    kinds = ("anytime", "distribution", "timeline")
    stems = [f"{stem}-{kind}" for stem in records for kind in kinds]
    stems += ["strong-anytime", "strong-scaling"]
    assert {p.stem for p in (tmp_path / "out").iterdir()} == set(stems)
    assert f"wrote {tmp_path / 'out/strong-scaling.svg'}\n" in text


def test_an_empty_record_is_not_drawn(write_streams, tmp_path):
    text = report([write_streams({"warmup": True})], plot=tmp_path / "out")
    assert "wrote" not in text


def test_figures_of_one_name(write, jobs, tmp_path):
    (tmp_path / "sub").mkdir()
    paths = [write(jobs), write(jobs, "sub/run.h5")]
    with pytest.raises(
        InputError, match="several figures would be written to run-anytime, run-dis"
    ):
        report(paths, plot=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_figures_where_no_directory_can_be(write_streams):
    path = write_streams(LAYERED)
    with pytest.raises(InputError, match="cannot write figures"):
        report([path], plot=path)


def test_without_matplotlib(write_streams, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"--plot: found no matplotlib.*hpcrefine\[report\]"):
        report([write_streams(LAYERED)], plot=tmp_path / "out")
    assert "mean delay" in report([tmp_path / "run.h5"])

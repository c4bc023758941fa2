"""Figures of inference: what is drawn for which records."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hpcrefine.record.reader import read
from hpcrefine.report import report, style
from hpcrefine.report.inference import COLUMNS, summarise
from hpcrefine.report.inferencefigures import accuracy, draw, gray, operations, tradeoff


def table_of(path):
    return summarise(read(path, COLUMNS))


def lines(axes):
    """The labelled lines with data: x and y of each."""
    named = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    return {k: (list(v.get_xdata()), list(v.get_ydata())) for k, v in named.items()}


def legend(figure):
    (found,) = figure.legends or [figure.axes[0].get_legend()]
    return [text.get_text() for text in found.get_texts()]


@pytest.fixture
def table(write_inference, inference_jobs):
    return table_of(write_inference(*inference_jobs))


def test_accuracy_and_agreement_beside_one_shot(table):
    figure = accuracy(table)
    left, right = figure.axes
    assert lines(left)["adaptive"] == ([0, 1], pytest.approx([0.85, 0.89]))
    assert lines(left)["one-shot float32"][1] == pytest.approx([0.9, 0.9])
    assert lines(right)["all"] == ([0, 1], pytest.approx([0.93, 1.0]))
    assert legend(figure) == ["adaptive", "all", "one-shot float32"]
    assert figure.get_suptitle() == "scaling [bold]x"
    assert left.get_xlabel() == "upgrade"


def test_without_labels_there_is_agreement_alone(write_inference):
    upgrades = [{"accuracy": math.nan, "agreement": share} for share in (0.5, 1.0)]
    table = table_of(write_inference({"upgrades": upgrades}))
    (axes,) = accuracy(table).axes
    assert lines(axes) == {"all": ([0, 1], [0.5, 1.0])}
    assert [end for end, _ in draw(table)] == ["accuracy", "gray", "operations"]


def test_the_gray_zone(table):
    (axes,) = gray(table).axes
    assert lines(axes) == {
        "adaptive": ([0, 1], pytest.approx([0.2, 0.0])),
        "all": ([0, 1], [1.0, 0.0]),
    }
    assert axes.get_ylim() == pytest.approx((-0.02, 1.02))


def test_accuracy_against_operations_and_time(table):
    figure = tradeoff(table)
    left, right = figure.axes
    assert lines(left)["adaptive"] == (pytest.approx([0.4, 0.52]), pytest.approx([0.85, 0.89]))
    assert lines(right)["adaptive"][0] == pytest.approx([10, 16])
    assert lines(left)["one-shot float32"] == ([1.0], pytest.approx([0.9]))
    assert lines(right)["one-shot float32"][0] == pytest.approx([40])
    assert right.get_xlabel() == "median time since the job's start [ms]"
    assert legend(figure) == ["adaptive", "all", "one-shot float32"]


def test_operations_by_upgrade_and_one_shot_last(table):
    figure = operations(table)
    (axes,) = figure.axes
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ["adaptive", "all", "one-shot"]
    bars = [(bar.get_x() + 0.3, bar.get_y(), bar.get_height()) for bar in axes.patches]
    expected = [(0, 0, 40), (1, 0, 40), (0, 40, 12), (1, 40, 60), (2, 0, 100)]
    assert [tuple(map(float, bar)) for bar in bars] == [pytest.approx(bar) for bar in expected]
    assert [text.get_text() for text in axes.texts] == ["0.52", "1.00", "1.00"]
    assert legend(figure) == ["upgrade 0", "upgrade 1", "one-shot float32"]


def samples(upgrade, scores, labels, errors):
    n = len(scores)
    columns = {"upgrade": upgrade, "sample": np.arange(n), "label": labels, "error": errors}
    return columns | {"score": scores}


@pytest.fixture
def binary(write_inference):
    """A binary network: the first upgrade says nothing, the second the truth."""
    labels = np.tile([0, 1], 50)
    truth = 0.25 + 0.5 * labels
    errors = np.linspace(0.01, 1, 100)
    tables = [samples(0, truth * 0, labels, errors), samples(1, truth, labels, 0.0)]
    layered = {"p": 1, "upgrades": [{}, {}], "predictions": tables}
    oneshot = {"p": 1, "upgrades": [{}], "predictions": [samples(0, truth, labels, math.nan)]}
    return write_inference(
        layered, layered | {"variant": "published"}, oneshot | {"variant": "oneshot"}
    )


def test_roc_of_each_variant_with_its_area(binary):
    figure = dict(draw(table_of(binary)))["roc"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["all", "published"]
    for axes in figure.axes:
        assert lines(axes) == {
            "upgrade 0: AUC 0.5000": ([0, 1], [0, 1]),
            "upgrade 1: AUC 1.0000": ([0, 0, 1], [0, 1, 1]),
            "one-shot: AUC 1.0000": ([0, 0, 1], [0, 1, 1]),
        }


def test_distribution_of_score_errors(binary):
    figure = dict(draw(table_of(binary)))["errors"]
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert legend(figure) == ["upgrade 0"]  # the last one has none
    x, y = lines(axes)["upgrade 0"]
    assert (x[0], x[-1], y[0], y[-1]) == pytest.approx((0.01, 1.0, 0.01, 1.0))


def test_files(write_inference, inference_jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    text = report([write_inference(*inference_jobs)], plot=tmp_path / "out")
    names = [f"run-{end}.svg" for end in ("accuracy", "gray", "operations", "tradeoff")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for name in names:
        assert f"wrote {tmp_path / 'out' / name}\n" in text
        assert ET.parse(tmp_path / "out" / name).getroot().tag.endswith("}svg")


def test_one_shot_alone_has_no_curves(write_inference):
    table = table_of(write_inference({"variant": "oneshot", "upgrades": [{"operations": 1e6}]}))
    assert [end for end, _ in draw(table)] == ["operations"]

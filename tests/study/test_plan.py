"""From study files to points."""

import json
import re

import pytest

from hpcrefine.errors import InputError
from hpcrefine.jobfile import load
from hpcrefine.record.manifest import Manifest
from hpcrefine.study.plan import plan, select, settle

INFERENCE = """
[job]
kind = "inference"
[network]
file = "dense.npz"
[samples]
images = { file = "i.npy", rows = [100, 200] }
labels = { file = "l.npy", rows = [100, 200] }
"""


def settings(study):
    return [(point.ranks, point.settings) for point in study.manifest.points]


def test_every_combination_is_a_point(study_file):
    study = plan(study_file("ranks = [2, 3]\nresolution.digits = [1, 2]\ncode.tasks = [1, 2]"))
    assert settings(study) == [
        (ranks, {"resolution.digits": digits, "code.tasks": tasks})
        for ranks in (2, 3)
        for digits in (1, 2)
        for tasks in (1, 2)
    ]
    assert [point.nodes for point in study.manifest.points] == [0] * 8
    assert len({point.file for point in study.manifest.points}) == 8
    assert study.manifest.points[3].file == ("0003-ranks=2_resolution.digits=2_code.tasks=2.h5")


def test_tables_at_a_section_are_swept_together(study_file):
    codes = '[{ scheme = "uncoded" }, { scheme = "mds", redundancy = 1.5 }]'
    study = plan(study_file(f"ranks = [3]\ncode = {codes}"))
    assert settings(study) == [
        (3, {"code.scheme": "uncoded"}),
        (3, {"code.scheme": "mds", "code.redundancy": 1.5}),
    ]


def test_a_table_deeper_down_is_one_value(study_file, tmp_path):
    operands = '[{ random = "uniform", shape = [8, 24] }]'
    path = study_file(f"ranks = [2]\noperands.a = {operands}")
    (point,) = plan(path).manifest.points
    assert load(path, point.overrides).operands.a.random == "uniform"


def test_sizes(study_file):
    path = study_file("ranks = [2]\nsizes = [16, [8, 24, 20]]")
    points = plan(path).manifest.points
    assert [point.settings for point in points] == [{"size": 16}, {"size": [8, 24, 20]}]
    shapes = [load(path, point.overrides).operands for point in points]
    assert [(each.a.shape, each.b.shape) for each in shapes] == [
        ((16, 16), (16, 16)),
        ((8, 24), (24, 20)),
    ]


@pytest.mark.parametrize(
    ("what", "a", "b", "tasks"),
    [("n", (96, 24), (24, 20), 12), ("p", (32, 24), (24, 60), 4)],
)
def test_weak_scaling_grows_with_the_workers(study_file, what, a, b, tasks):
    path = study_file(f'scaling = "weak"\ngrow = "{what}"\nranks = [2, 4]')
    study = plan(path)
    small, large = (load(path, point.overrides) for point in study.manifest.points)
    assert (small.operands.a.shape, small.operands.b.shape) == ((32, 24), (24, 20))
    assert (large.operands.a.shape, large.operands.b.shape) == (a, b)
    assert (small.code.tasks, large.code.tasks) == (4, tasks)
    assert study.manifest.scaling == "weak"


def test_weak_scaling_takes_tasks_as_they_are_by_default(study_file):
    job = "[operands]\na={random='normal', shape=[32, 24]}\nb={random='normal', shape=[24, 20]}\n"
    path = study_file('scaling = "weak"\nranks = [2, 3]', job)
    small, large = (load(path, point.overrides) for point in plan(path).manifest.points)
    assert large.code.tasks == 2 * small.code.tasks


def test_weak_scaling_grows_from_swept_sizes(study_file):
    path = study_file('scaling = "weak"\nranks = [3, 5]\nsizes = [8]\ncode.tasks = [2]')
    _, large = (load(path, point.overrides) for point in plan(path).manifest.points)
    assert large.operands.a.shape == (16, 8)
    assert large.code.tasks == 4


def test_each_run_is_in_random_order_of_the_seed(study_file):
    lines = "ranks = [2, 3, 4, 5]\nruns = 3\nresolution.digits = [1, 2]\n"
    order = plan(study_file(lines)).manifest.order
    assert sorted(order) == list(range(24))
    runs = [{number % 3 for number in order[start : start + 8]} for start in (0, 8, 16)]
    assert runs == [{0}, {1}, {2}]
    assert order != sorted(order)
    assert plan(study_file(lines)).manifest.order == order
    assert plan(study_file(lines + "seed = 1")).manifest.order != order


def test_points_keep_their_numbers_when_a_study_grows(study_file, tmp_path):
    folder = tmp_path / "records"
    before = plan(study_file("ranks = [3, 4]"), folder=folder)
    settle(before)
    after = plan(study_file("ranks = [2, 3, 4]"), folder=folder)
    assert after.manifest.points[:2] == before.manifest.points
    assert [point.ranks for point in after.manifest.points] == [3, 4, 2]
    assert after.manifest.points[2].file == "0002-ranks=2.h5"
    assert sorted(after.manifest.order) == [0, 1, 2]
    settle(after)
    again = plan(study_file("ranks = [2, 3, 4]"), folder=folder)
    assert again.manifest == after.manifest == Manifest.read(folder)


def test_a_manifest_of_another_job_is_refused(study_file, tmp_path):
    folder = tmp_path / "records"
    path = study_file("ranks = [2, 3]")
    settle(plan(path, folder=folder))
    plan(study_file("ranks = [2, 3]  # a comment"), folder=folder)
    with pytest.raises(InputError, match=r"study\.json: found points that the file no longer has"):
        plan(study_file("ranks = [2]"), folder=folder)
    with pytest.raises(InputError, match="no longer has"):
        plan(path, ["job.repeats=7"], folder=folder)
    path.write_text(path.read_text().replace("repeats = 2", "repeats = 3"))
    with pytest.raises(InputError, match=r"study\.json: found points of another job"):
        plan(path, folder=folder)


def test_overrides_hold_for_all_points(study_file):
    path = study_file("ranks = [2, 3]\nresolution.digits = [1, 3]")
    points = plan(path, ["job.repeats=7", "code.tasks=2"]).manifest.points
    jobs = [load(path, point.overrides) for point in points]
    assert {job.job.repeats for job in jobs} == {7}
    assert {job.code.tasks for job in jobs} == {2}
    assert [job.resolution.digits for job in jobs] == [1, 3, 1, 3]


def test_the_order_of_some_points(study_file):
    study = plan(study_file("ranks = [2, 3, 4, 5]"))
    chosen = [point.number for point in select(study, [3, 0])]
    assert chosen == [number for number in study.manifest.order if number in (0, 3)]
    with pytest.raises(InputError, match=r"--point: found 4, expected a number of .*, 0\.\.3"):
        select(study, [4])


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("", "ranks: found nothing, expected a list of numbers of ranks, each at least 2"),
        ("ranks = [1, 2]", "ranks: found [1, 2], expected a list of numbers of ranks"),
        ("ranks = [2, 2]", "ranks: found [2, 2], expected each number of ranks once"),
        ("ranks = [2]\nscaling = 'weak'", "expected at least two numbers of ranks for weak"),
        ("ranks = [2]\nscaling = 'odd'", 'found "odd", expected "strong" or "weak"'),
        ("ranks = [2, 3]\nnodes = [1]", "nodes: found [1], expected 2 numbers, one for each"),
        ("ranks = [2, 3]\nnodes = 3", "nodes: found 3, expected no more nodes than ranks"),
        ("ranks = [2]\nrank = 3", '[sweep] rank: unknown key; did you mean "ranks"?'),
        ("ranks = [2]\nresolutoin.digits = [1]", 'unknown key; did you mean "resolution"?'),
        ("ranks = [2]\nzebra = [1]", "zebra: unknown key; expected a section of a job file"),
        (
            "ranks = [2]\nresolution.digitz = [1]",
            'with [sweep] resolution.digitz=1: [resolution] digitz: unknown key; did you mean "dig',
        ),
        (
            "ranks = [2]\nresolution.digits = [1, 9]",
            "with [sweep] resolution.digits=9: [resolution] digits: found 9, expected",
        ),
        ("ranks = [2]\nresolution.digits = 2", "resolution.digits: found no list of values"),
        ("ranks = [2]\ncode = ['mds']", "[sweep] code: found no list of values"),
        ("ranks = [2]\nsizes = []", "sizes: found [], expected a list of lengths"),
        ("ranks = [2]\nslurm.notice = 0", "slurm.notice: found 0, expected >= 1"),
        ("ranks = [2]\nslurm.time = [3]", "slurm.time: found [3], expected"),
        ("ranks = [2]\noperands.b = ['a.T']\nsizes = [8]", "sizes: found [operands] b that is"),
    ],
)
def test_mistakes_name_file_and_key(study_file, sweep, message):
    if "a.T" in sweep:
        sweep = sweep.replace("operands.b = ['a.T']\n", "")
        path = study_file(sweep)
        path.write_text(re.sub("^b = .*$", 'b = "a.T"', path.read_text(), flags=re.M))
    else:
        path = study_file(sweep)
    with pytest.raises(InputError) as caught:
        plan(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("replaced", "by", "message"),
    [
        ("b = {.*}", 'b = "a.T"', "the work grows as the square"),
        ("a = {.*}", 'a = { file = "a.npy" }', "found [operands] a without rows"),
        ("tasks = 4", "[compare]\ncodes = [{ tasks = 3 }]", "codes with tasks of their own"),
    ],
)
def test_what_cannot_grow(study_file, replaced, by, message):
    path = study_file('scaling = "weak"\nranks = [2, 3]')
    path.write_text(re.sub(replaced, by, path.read_text()))
    with pytest.raises(InputError, match=re.escape(message)):
        plan(path)


def test_samples_grow(study_file):
    from hpcrefine.errors import InputError as Refused
    from hpcrefine.jobfile import parse
    from hpcrefine.study.growth import grow

    path = study_file('scaling = "weak"\nranks = [2, 4]', INFERENCE)
    _, data = parse(path)
    rows = {"samples.images.rows": [100, 400], "samples.labels.rows": [100, 400]}
    assert grow(data, "n", 3.0) == rows
    with pytest.raises(Refused, match="of a network the samples grow"):
        grow(data, "p", 3.0)


def test_a_job_file_is_no_study(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text("[job]\n")
    with pytest.raises(InputError, match=r"job\.toml: found no \[sweep\], expected a study file"):
        plan(path)


def test_a_study_file_is_a_job_file(study_file):
    assert load(study_file("ranks = [2, 3]")).job.name == "small"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version: Input should be 1, expected a manifest of version 1"),
        ({"points": 3}, "points: Input should be a valid array"),
        ({"format": "other"}, "format: Input should be 'hpcrefine-study'"),
    ],
)
def test_manifests_of_others(study_file, tmp_path, change, message):
    study = plan(study_file("ranks = [2]"), folder=tmp_path)
    settle(study)
    path = tmp_path / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")):
        Manifest.read(tmp_path)


def test_a_damaged_manifest(tmp_path):
    (tmp_path / "study.json").write_text('{"format":')
    with pytest.raises(InputError, match=r"study\.json: its text: Invalid JSON"):
        Manifest.read(tmp_path)
    with pytest.raises(InputError, match=r"none: found no study\.json, expected a study's folder"):
        Manifest.read(tmp_path / "none")
    (tmp_path / "study.json").unlink()
    (tmp_path / "study.json").mkdir()
    with pytest.raises(InputError, match=r"study\.json: found Is a directory, expected the manif"):
        Manifest.read(tmp_path)

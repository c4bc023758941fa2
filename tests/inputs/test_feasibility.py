"""What is refused of operands whose shapes are known, and the memory they need."""

from pathlib import Path

import pytest

from hpcrefine.errors import InputError
from hpcrefine.inputs import feasibility
from hpcrefine.inputs.feasibility import check, memory_available, memory_needed
from hpcrefine.jobfile import load


@pytest.fixture
def job(tmp_path):
    """Load a job file with overrides; the operands are 7 x 5 and 5 x 7 unless these say more."""

    def loader(*overrides):
        path = tmp_path / "j.toml"
        path.write_text(
            '[operands]\na = {random = "normal", shape = [7, 5]}\nb = "a.T"\n[code]\ntasks = 2\n'
        )
        return load(path, overrides)

    return loader


def refusal(made, *shape):
    with pytest.raises(InputError) as caught:
        check(made, *shape)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{made.path}: ")


@pytest.mark.parametrize(
    ("scheme", "fits", "too_small", "complaint"),
    [
        ("mds", (15, 1, 1), (14, 1, 1), "14 rows of a into 15 parts, expected at most 14"),
        ("polynomial", (5, 1, 3), (4, 1, 3), "4 rows of a into 5 parts, expected at most 4"),
        ("polynomial", (5, 1, 3), (5, 1, 2), "2 columns of b into 3 parts, expected at most 2"),
        ("matdot", (1, 8, 1), (1, 7, 1), "7 columns of a into 8 parts, expected at most 7"),
    ],
)
def test_a_code_cuts_no_finer_than_entries(job, scheme, fits, too_small, complaint):
    made = job(f"code.scheme={scheme}", "code.tasks=15")
    check(made, *fits)
    assert refusal(made, *too_small) == (
        f"[code] tasks: found 15, which cuts the {complaint} parts"
    )


def test_every_compared_code_is_checked(job):
    codes = "{tasks=7}, {scheme='lt', tasks=2}, {scheme='matdot', tasks=11}"
    made = job(f"compare.codes=[{codes}]", "code.tasks=900")
    check(made, 7, 6, 7)
    assert refusal(made, 7, 5, 7) == (
        "[compare] codes[2].tasks: found 11, which cuts the 5 columns of a into 6 parts, "
        "expected at most 5 parts"
    )


def test_results_must_fit_int64(job):
    polynomial = ("code.scheme=polynomial", "code.tasks=14", "code.redundancy=2")
    made = job(*polynomial)
    check(made, 7, 2**17, 2)
    assert refusal(made, 7, 2**18, 2) == (
        "[code] tasks: found 14 with results of up to 1.7e+19, expected at most 9.2e+18: "
        "fewer tasks or digit_bits make them smaller"
    )
    check(job("resolution.digit_bits=7", *polynomial), 7, 2**18, 2)


def test_verification_must_fit_int64(job):
    polynomial = "scheme='polynomial', tasks=14, redundancy=2"
    plain, checked = f"{{name='plain', {polynomial}}}", f"{{{polynomial}, verify='freivalds'}}"
    check(job(f"compare.codes=[{plain}]"), 7, 2**17, 2)
    made = job(f"compare.codes=[{plain}, {checked}]")
    check(made, 7, 2**16, 2)
    assert refusal(made, 7, 2**17, 2) == (
        "[compare] codes[1].verify: found results of up to 8.7e+18, expected at most 4.6e18: "
        "fewer tasks or digit_bits make them smaller"
    )


def test_too_little_memory(job, monkeypatch):
    made = job()
    needed = memory_needed(made, 7, 5, 7)
    monkeypatch.setattr(feasibility, "memory_available", lambda: needed)
    check(made, 7, 5, 7)
    monkeypatch.setattr(feasibility, "memory_available", lambda: needed - 1)
    assert refusal(made, 7, 5, 7) == (
        "[operands] a, b: found 7 x 5 times 5 x 7, which needs about 0.00 GiB on the master, "
        "expected at most the 0.00 GiB available"
    )
    monkeypatch.setattr(feasibility, "memory_available", lambda: 3 * 2**30)
    message = refusal(made, *3 * [2**31 - 1])
    assert message.startswith("[operands] a, b: found 2147483647 x 2147483647 times")
    assert message.endswith("GiB on the master, expected at most the 3.00 GiB available")


@pytest.mark.parametrize(
    ("overrides", "buffers", "layers", "checked"),
    [
        ([], 3, 3, 4 * 49),
        (["resolution.layering=square", "resolution.digits=2"], 3, 2, 4 * 49),
        (["resolution.truncate=1"], 2, 2, 3 * 49),
        (["code.unit=minijob"], 4, 3, 5 * 49),
        (["code.scheme=mds", "code.redundancy=2"], 6, 3, 4 * 49),
        (["code.scheme=matdot", "code.tasks=3"], 9, 3, 4 * 49),
        (
            ["compare.codes=[{}, {scheme='replication', redundancy=3}]"],
            9,
            3,
            4 * 49,
        ),
        (["compare.codes=[{}, {name='x', tasks=7, unit='minijob'}]"], 4, 3, 5 * 49),
        (["verify.exact=off"], 3, 3, 0),
        (["verify.limit=1"], 3, 3, 0),
    ],
)
def test_memory_needed(job, overrides, buffers, layers, checked):
    made = job(*overrides)
    planes = (7 * 5 + 5 * 7) * (8 + 2) + 8 * 7 * 5
    assert memory_needed(made, 7, 5, 7) == (
        planes + buffers * 4 * 49 + 8 * (layers + 1) * 49 + 8 * checked
    )


def test_long_sums_take_twice_as_much(job):
    made = job("code.scheme=mds", "code.redundancy=2", "verify.exact=off")
    rest = (7 + 7) * 2**15 * 10 + 8 * 7 * 2**15 + 8 * 4 * 49
    # Of the two plain blocks int32 holds all sums, of the two combinations it does not.
    assert memory_needed(made, 7, 2**15, 7) - rest == 3 * (2 * 4 + 2 * 8) * 49 // 2


def test_memory_available_is_plausible(monkeypatch):
    there = memory_available()
    assert 2**20 < there < 2**60

    def unreadable(path):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert memory_available() >= there // 2


@pytest.fixture
def system(tmp_path):
    """Write files of /proc and /sys below a root of their own; return it."""

    def writer(**files):
        files["proc/meminfo"] = "MemFree: 9 kB\nMemAvailable: 1000 kB"
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return writer


def limited(folder, version, limit, used):
    """Return the files of a control group."""
    names = {1: ("limit_in_bytes", "usage_in_bytes"), 2: ("max", "current")}[version]
    folder = f"sys/fs/cgroup{'/memory' * (version == 1)}{folder}"
    return {f"{folder}/memory.{names[0]}": limit, f"{folder}/memory.{names[1]}": used}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [
        (5000, 2000, 3000),
        (5000, 5001, 0),
        (2**40, 2000, 1024000),
        ("max", 2000, 1024000),
        (2**63 - 4096, 2000, 1024000),
    ],
)
class TestControlGroups:
    def test_of_a_container(self, system, version, limit, used, left):
        assert memory_available(system(**limited("", version, limit, used))) == left

    def test_of_a_batch_job(self, system, version, limit, used, left):
        membership = {1: "5:cpu:/\n4:hugetlb,memory:/job_1/step_0", 2: "0::/job_1/step_0"}[version]
        root = system(
            **{"proc/self/cgroup": membership},
            **limited("/job_1", version, limit, used),
            **limited("/job_1/step_0", version, 900000, 0),
            **limited("/job_2", version, 1, 0),
        )
        assert memory_available(root) == min(left, 900000)

    def test_seen_under_names_of_the_host(self, system, version, limit, used, left):
        membership = {1: "4:memory:/docker/1", 2: "0::/../docker/1"}[version]
        files = limited("", version, limit, used)
        assert memory_available(system(**{"proc/self/cgroup": membership}, **files)) == left


def test_a_limit_without_its_use_is_passed_over(system):
    assert memory_available(system(**{"sys/fs/cgroup/memory.max": 5000})) == 1024000


@pytest.mark.parametrize(("version", "prefix"), [(1, "total_"), (2, "")])
def test_file_cache_counts_as_free(system, version, prefix):
    group = limited("", version, 5000, 4000)
    statistics = f"anon 1500\n{prefix}inactive_file 2500"
    folder = next(iter(group)).rpartition("/")[0]
    assert memory_available(system(**group, **{f"{folder}/memory.stat": statistics})) == 3500

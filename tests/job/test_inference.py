"""Jobs that run a network: what is accepted, and what each mistake is answered with."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hpcrefine.errors import InputError
from hpcrefine.experiment.turns import InferenceTurn, inference_turns
from hpcrefine.inference.precision import Precision
from hpcrefine.job import (
    AdaptiveSection,
    InferenceJob,
    Job,
    PrecisionSection,
    SamplesSection,
    StopSection,
)
from hpcrefine.jobfile import load, load_product

BASIC = """
[job]
kind = "inference"
[network]
file = "net.npz"
[samples]
images = {file = "images.npy", rows = [0, 5]}
labels = {file = "labels.npy"}
[calibration]
images = {file = "more.npy"}
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Load a job file of what is basic and some more, with overrides."""
    monkeypatch.chdir(tmp_path)

    def loaded(more="", *overrides, basic=BASIC):
        Path("net.toml").write_text(f"{basic}\n{more}")
        return load("net.toml", overrides)

    return loaded


def test_what_is_not_given(job):
    given = job()
    assert isinstance(given, InferenceJob)
    assert given.job.name == "net"
    assert given.samples.images.rows == (0, 5)
    assert (given.samples.classes, given.calibration.labels) == ("given", None)
    assert given.precision.precision() == Precision()
    assert given.adaptive.rule == "calibrated"
    assert (given.schedule.distribute, given.stop, given.compare) == ("samples", None, None)
    assert [label for label, _ in given.settings] == ["adaptive"]
    assert given.settings[0][1] == given.setting
    assert (given.path, given.base) == (Path("net.toml"), Path())
    assert 'kind = "inference"' in given.text


def test_everything_given(job):
    given = job(
        """
[precision]
digits = "truncate"
upgrades = 4
digit_bits = 1
grid = -6
leading = [-1, 0, 1]
input_leading = 0
[adaptive]
rule = "interval"
interval = [0.25, 0.75]
[stop]
decided = 0.99
upgrade = 2
[schedule]
distribute = "products"
block = 100
deadline = 0.5
[code]
scheme = "mds"
redundancy = 1.5
[workers]
timeout = 3.0
[faults]
stragglers = 1
[kernel]
name = "float32"
[record]
tasks = false
[baseline]
oneshot = true
all = true
"""
    )
    assert given.precision.precision() == Precision("truncate", 4, 1, 8, -6, (-1, 0, 1), 0)
    assert given.adaptive.interval == (0.25, 0.75)
    assert given.stop == StopSection(decided=0.99, upgrade=2)
    assert given.stragglers == (1,)
    labels = dict(given.settings)
    assert labels.keys() == {"adaptive", "all"}
    assert labels["all"].adaptive == AdaptiveSection(rule="none")
    assert labels["all"].precision == given.precision


COMPARED = """
[precision]
grid_bits = 7
[adaptive]
epsilon = 0.01
[schedule]
deadline = 2.0
[[compare.settings]]
name = "published"
digits = "truncate"
upgrades = 4
digit_bits = 1
rule = "margin"
[[compare.settings]]
name = "strict"
epsilon = 0.002
deadline = 1.0
"""


def test_compared_settings_differ_in_what_they_say(job):
    given = job(COMPARED)
    settings = dict(given.settings)
    published, strict = settings["published"], settings["strict"]
    assert published.precision == PrecisionSection(digits="truncate", upgrades=4, digit_bits=1)
    assert published.adaptive == AdaptiveSection(rule="margin")
    assert published.schedule.deadline == 2.0
    assert strict.precision == given.precision
    assert (strict.adaptive.rule, strict.adaptive.epsilon) == ("calibrated", 0.002)
    assert strict.schedule.deadline == 1.0
    assert given.where_setting("strict", "adaptive", "epsilon") == (
        "net.toml: [compare] settings[1].epsilon"
    )
    assert given.where_setting("published", "precision") == "net.toml: [compare] settings[0]"
    assert given.where_setting("adaptive", "precision", "grid") == "net.toml: [precision] grid"


def test_every_variant_of_every_repeat(job):
    given = job(COMPARED, "baseline.oneshot=true", "baseline.all=true", "job.repeats=20")
    plan = inference_turns(given)
    every = [*given.settings, ("oneshot", None)]
    assert [label for label, _ in every] == ["adaptive", "all", "published", "strict", "oneshot"]
    assert plan[:5] == [InferenceTurn(*variant, 0, True) for variant in every]
    orders = set()
    for repeat in range(20):
        part = plan[5 * (repeat + 1) : 5 * (repeat + 2)]
        assert {(turn.repeat, turn.warmup) for turn in part} == {(repeat, False)}
        assert {turn.variant: turn.setting for turn in part} == dict(every)
        orders.add(tuple(turn.variant for turn in part))
    assert len(orders) > 5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[operands]\na = 1", '[operands]: unknown key; it belongs to [job] kind = "matmul"'),
        ("[stream]\nrate = 1.0", '[stream]: unknown key; it belongs to [job] kind = "matmul"'),
        (
            "[schedule]\nsplit = 'optimal'",
            '[schedule] split: unknown key; it belongs to [job] kind = "matmul"',
        ),
        ("[workers]\nrates = 1.0", "[workers] rates: unknown key; it belongs to [job] kind"),
        ("[adaptve]\nrule = 'none'", '[adaptve]: unknown key; did you mean "adaptive"?'),
        (
            "[precision]\nepsilon = 0.1",
            "[precision] epsilon: unknown key; it belongs in [adaptive]",
        ),
        ("[precision]\nupgrades = 0", "[precision] upgrades: found 0, expected 1..30"),
        ("[precision]\nupgrades = 5", "upgrades: found 5, expected 1..4 with digit_bits = 7"),
        ("[precision]\ndigit_bits = 1", 'found 1, expected 2..7 with digits = "balanced"'),
        ("[precision]\ngrid = -4", 'grid: found -4, expected no such key with digits = "balanced"'),
        (
            "[precision]\ndigits = 'truncate'\ngrid_bits = 8",
            'grid_bits: found 8, expected no such key with digits = "truncate"',
        ),
        (
            "[precision]\ndigits = 'truncate'\nleading = [0, 'a']",
            '[precision] leading: found [0, "a"], expected a list of integers -32..32',
        ),
        ("[precision]\ndigits = 'rounded'", 'found "rounded", expected "balanced" or "truncate"'),
        ("[adaptive]\nrule = 'best'", '[adaptive] rule: found "best", expected "calibrated" or'),
        ("[adaptive]\nepsilon = 0.0", "[adaptive] epsilon: found 0.0, expected > 0 and < 1"),
        ("[adaptive]\nmargin = 1.0", 'found 1.0, expected no such key with rule = "calibrated"'),
        (
            "[adaptive]\nrule = 'interval'\ninterval = [0.6, 0.3]",
            "[adaptive] interval: found [0.6, 0.3], expected two probabilities [low, high]",
        ),
        ("[stop]", "[stop]: found {}, expected decided or upgrade"),
        ("[stop]\nupgrade = 2", "[stop] upgrade: found 2, expected 0..1, the upgrades there are"),
        ("[stop]\ndecided = 1.5", "[stop] decided: found 1.5, expected > 0 and <= 1"),
        ("[schedule]\nblock = 0", "[schedule] block: found 0, expected >= 1"),
        (
            "[schedule]\ndistribute = 'layers'",
            '[schedule] distribute: found "layers", expected "samples" or "products"',
        ),
        (
            "[code]\ntasks = 4",
            '[code]: found {tasks = 4}, expected no such section with [schedule] distribute = "sam',
        ),
        (
            "[schedule]\ndistribute = 'products'\n[code]\nunit = 'layer'",
            '[code] unit: found "layer", expected no such key with networks',
        ),
        ("[baseline]\ncoded = true", "[baseline] coded: unknown key; it belongs to [job] kind"),
        ("[compare]\ncodes = []", "[compare] codes: unknown key; it belongs to [job] kind"),
        (
            "[[compare.settings]]\nupgrades = 2",
            "[compare] settings[0].name: found nothing, expected a label of 1..24 bytes",
        ),
        (
            "[[compare.settings]]\nname = 'all'",
            '[compare] settings[0].name: found "all", expected a label that nothing else has',
        ),
        (
            "[[compare.settings]]\nname = 'x'\nmargin = 0.1",
            '[compare] settings[0].margin: found 0.1, expected no such key with rule = "ca',
        ),
        (
            "[[compare.settings]]\nname = 'x'\nupgrade = 1",
            '[compare] settings[0].upgrade: unknown key; did you mean "upgrades"?',
        ),
        (
            "[[faults.worker]]\nrank = 1\nsilent = {at = 0.0}",
            "[workers] timeout: found nothing, expected a number > 0 with [faults] worker[0].s",
        ),
    ],
)
def test_mistakes(job, more, message):
    with pytest.raises(InputError) as caught:
        job(more)
    assert message in str(caught.value)
    assert str(caught.value).startswith("net.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["network", "samples", "calibration"])
def test_what_a_job_must_have(job, missing):
    basic = "\n[".join(part for part in BASIC.split("\n[") if not part.startswith(missing))
    with pytest.raises(InputError, match=rf"\[{missing}\]: found nothing, expected a table"):
        job(basic=basic)


def test_kinds(job, tmp_path):
    product = '[operands]\na = {random = "normal", shape = [4, 4]}\nb = "a.T"\n'
    assert isinstance(job(basic=product), Job)
    assert isinstance(load_product("net.toml"), Job)
    with pytest.raises(InputError, match=r'kind: found "both", expected "matmul" or "inference"'):
        job("", 'job.kind="both"')
    with pytest.raises(InputError) as caught:
        job("[network]\nfile = 'x.npz'", basic=product)
    assert '[network]: unknown key; it belongs to [job] kind = "inference"' in str(caught.value)
    job()
    with pytest.raises(InputError, match=r'\[job\] kind: found "inference", expected "matmul"'):
        load_product("net.toml")


def test_sections_are_frozen():
    section = SamplesSection(images={"file": "x.npy"})
    with pytest.raises(ValidationError, match="frozen"):
        section.classes = "even"

"""Suites: what a file says of each of its datasets, by itself, by pattern and by its base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import suite
from benchmarks.errors import UserError
from benchmarks.methods import FIELD, METHODS
from benchmarks.plan import check_suite
from benchmarks.registry import DEFAULT_DATASET
from benchmarks.run import Options, make_benches
from benchmarks.suite import DEFAULT_SUITE, load_suite, suite_datasets, suite_names
from dmil.settings import override

PLAIN = "methods: [joint]\nseeds: 3\nbudget: {epochs: 9, patience: 4}\n"
MIXTURES = ("r", "u", "s", "u50r50", "r50s50", "u50s50", "u25r75", "mixed")
UNEQUAL = ("mixed", "r50s50", "u50r50")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """``write("mine", text)`` makes the suite ``mine``; no other suite is there but those written."""
    monkeypatch.setattr(suite, "SUITES_DIR", tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.yaml").write_text(text)

    return write


Write = Callable[[str, str], None]


def protocol(one: suite.Suite) -> tuple[object, ...]:
    return one.methods, one.seeds, one.settings, one.budget


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_resolves_for_all_that_it_names(name: str) -> None:
    datasets = suite_datasets(name)
    assert datasets
    for dataset in datasets:
        check_suite(load_suite(name, dataset))


@pytest.mark.parametrize("name", [name for name in suite_names() if name != DEFAULT_SUITE])
def test_experiments_train_as_the_leaderboard_does(name: str) -> None:
    for dataset in suite_datasets(name):
        mine, its = load_suite(name, dataset), load_suite(DEFAULT_SUITE, dataset)
        shared = {who: values for who, values in mine.settings.items() if who not in FIELD}
        assert (mine.budget, shared, mine.seeds) == (its.budget, its.settings, its.seeds)


@pytest.mark.parametrize("dataset", ["interactions-s", "interactions-mixed-unequal", "avdigits-mixed"])
def test_heads_that_may_be_deep_are_so_on_mixtures(dataset: str) -> None:
    """Without a search a linear one would decide what they can learn."""
    fields = {name: METHODS[name].Settings.__dataclass_fields__.get("head_depth") for name in FIELD}
    may = {name for name, one in fields.items() if one and 0 in one.metadata["choices"]}
    settings = load_suite("field", dataset).settings
    depths = [vars(override(METHODS[name].Settings(), settings.get(name, {})))["head_depth"] for name in may]
    assert depths == [1] * 7


def test_deficits_is_every_mixture_with_one_setting_for_all() -> None:
    named = suite_datasets("deficits")
    assert set(named) == {
        *(f"interactions-{mixture}" for mixture in MIXTURES),
        *(f"interactions-{mixture}-unequal" for mixture in UNEQUAL),
    }
    resolved = [load_suite("deficits", dataset) for dataset in named]
    assert all(protocol(one)[:3] == protocol(resolved[0])[:3] for one in resolved)
    budgets = {one.dataset.endswith("-unequal"): one.budget for one in resolved}
    assert all(one.budget == budgets[one.dataset.endswith("-unequal")] for one in resolved)
    assert resolved[0].seeds == 5
    wanted = {"ensemble", "late_fusion", "joint", "joint_mlp", "dmil", "dmil_fc", "dmil_id", "dmil_cd", "dmil_pid"}
    assert wanted & set(METHODS) <= set(resolved[0].methods)


def test_ablation_has_every_dmil() -> None:
    dmils = {name for name in METHODS if name.startswith("dmil")}
    found = [set(load_suite("ablation", dataset).methods) for dataset in suite_datasets("ablation")]
    assert found == [dmils | {"lsmi"}] * 4


def test_any_mixture_runs_with_the_settings_of_its_family() -> None:
    asked = load_suite(DEFAULT_SUITE, "interactions-u60s40")
    assert "interactions-u60s40" not in suite_datasets(DEFAULT_SUITE)
    assert (asked.settings, asked.budget) == protocol(load_suite(DEFAULT_SUITE, DEFAULT_DATASET))[2:]
    assert asked.settings["all"]["batch_size"] == 128


def test_an_alias_is_stored_under_the_full_name() -> None:
    assert load_suite(DEFAULT_SUITE, "interactions") == load_suite(DEFAULT_SUITE, "interactions-mixed")
    assert load_suite(DEFAULT_SUITE, "interactions").dataset == "interactions-mixed"


def test_a_name_overrules_its_pattern_value_by_value(write: Write) -> None:
    write(
        "mine",
        PLAIN + "settings: {all: {width: 8, lr: 0.1}, joint: {width: 4}}\n"
        "datasets:\n"
        "  digits: {budget: {epochs: 2}}\n"
        "  interactions-mixed: {budget: {epochs: 3}, settings: {all: {width: 32}}, seeds: 1}\n"
        "  interactions-*: {budget: {epochs: 5, patience: 2}, settings: {all: {width: 16}}, methods: [dmil]}\n",
    )
    assert suite_datasets("mine") == ["digits", "interactions-mixed"]
    exact, family, other = (load_suite("mine", name) for name in ("interactions", "interactions-r", "digits"))
    assert (exact.methods, exact.seeds, exact.budget) == (("dmil",), 1, {"epochs": 3, "patience": 2})
    assert exact.settings == {"all": {"width": 32, "lr": 0.1}, "joint": {"width": 4}}
    assert (family.seeds, family.budget) == (3, {"epochs": 5, "patience": 2})
    assert family.settings["all"] == {"width": 16, "lr": 0.1}
    assert (other.methods, other.budget) == (("joint",), {"epochs": 2, "patience": 4})


def test_a_suite_overrules_its_base_even_where_that_speaks_of_one_dataset(write: Write) -> None:
    digits = "{budget: {epochs: 5, patience: 1}, settings: {all: {lr: 0.2}}}"
    write("below", PLAIN + f"datasets: {{digits: {digits}, mosi: }}\n")
    write(
        "mine",
        "base: below\nmethods: [dmil]\nbudget: {epochs: 7}\nsettings: {all: {width: 8}}\ntheorem: true\n"
        "datasets: {digits: , utd_mhad: {theorem: false}}\n",
    )
    assert suite_datasets("mine") == ["digits", "utd_mhad"]
    mine, new = load_suite("mine", "digits"), load_suite("mine", "utd_mhad")
    assert (mine.methods, mine.seeds, mine.budget) == (("dmil",), 3, {"epochs": 7, "patience": 1})
    assert mine.settings == {"all": {"lr": 0.2, "width": 8}}
    assert (mine.theorem, new.theorem, load_suite("below", "digits").theorem) == (True, False, False)
    assert (new.budget, new.settings) == ({"epochs": 7, "patience": 4}, {"all": {"width": 8}})
    with pytest.raises(UserError, match=r"unknown dataset of suite mine.yaml: 'mosi'; .*known: digits, utd_mhad"):
        load_suite("mine", "mosi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: nowhere\ndatasets: {digits: }\n", "unknown suite: 'nowhere'"),
        ("base: mine\ndatasets: {digits: }\n", "suite mine.yaml is its own base: mine -> mine"),
        ("base: [a]\ndatasets: {digits: }\n", r"base must be text, but got \['a'\]"),
        ("base: mine\n", "suite mine.yaml lacks datasets"),
        (PLAIN + "theorem: often\ndatasets: {digits: }\n", "theorem must be true or false, but got 'often'"),
        (PLAIN + "tuned: 1\ndatasets: {digits: }\n", "tuned must be true or false, but got 1"),
        (PLAIN + "datasets: {digits: {base: mine}}\n", "unknown key of suite mine.yaml, dataset digits: 'base'"),
        (PLAIN + "datasets: {digts: }\n", "suite mine.yaml: unknown dataset 'digts': did you mean 'digits'"),
        (PLAIN + "datasets: {interactions: , interactions-mixed: }\n", "names dataset 'interactions-mixed' twice"),
        (PLAIN + "datasets: {digits: 3}\n", "must be a mapping"),
        (PLAIN + "transfer: {classes: 0.5}\ndatasets: {digits: }\n", "transfer must say train_classes and no more"),
        (PLAIN + "transfer: 0.5\ndatasets: {digits: }\n", "transfer must be a mapping"),
    ],
)
def test_faulty_suites(text: str, message: str, write: Write) -> None:
    write("mine", text)
    with pytest.raises(UserError, match=message):
        load_suite("mine", "digits")


def test_a_suite_of_patterns_alone_needs_a_dataset(write: Write) -> None:
    write("mine", PLAIN + "datasets: {interactions-*: }\n")
    assert load_suite("mine", "interactions-s").seeds == 3
    with pytest.raises(UserError, match="names no dataset, only patterns; say which one"):
        suite_datasets("mine")


def test_without_a_dataset_a_suite_runs_on_all_that_it_names(write: Write, tmp_path: Path) -> None:
    write("mine", PLAIN + "datasets: {digits: , interactions-r: , interactions-*: }\n")
    write(DEFAULT_SUITE, PLAIN + "datasets: {digits: , interactions-*: }\n")

    def planned(options: Options) -> list[tuple[str, str]]:
        return [(bench.plan.suite, bench.plan.dataset) for bench in make_benches(options, tmp_path / "results")]

    assert planned(Options(suite="mine")) == [("mine", "digits"), ("mine", "interactions-r")]
    assert planned(Options(suite="mine", dataset="digits")) == [("mine", "digits")]
    assert planned(Options(dataset="digits")) == [(DEFAULT_SUITE, "digits")]
    assert planned(Options()) == [(DEFAULT_SUITE, DEFAULT_DATASET)]
    assert not (tmp_path / "results").exists()


def test_theorem_and_transfer_are_part_of_the_key_where_they_are_asked_for(write: Write, tmp_path: Path) -> None:
    keys = set()
    for extra in ("", "theorem: true\n", "transfer: {train_classes: 0.5}\n", "transfer: {train_classes: [0, 1, 2]}\n"):
        write("mine", PLAIN + extra + "datasets: {digits: }\n")
        (bench,) = make_benches(Options("digits", "mine"), tmp_path / "results")
        content = bench.specs[0].content
        assert [key for key in ("theorem", "transfer") if key in content] == ([extra.split(":")[0]] if extra else [])
        keys.add(bench.specs[0].key)
    assert len(keys) == 4


def test_encoders_join_by_modality(write: Write) -> None:
    write("base", PLAIN + "encoders: {left: mlp}\ndatasets:\n  digits:\n")
    write("mine", "base: base\ndatasets:\n  digits:\n    encoders: {right: {name: gru, inner: 0.2}}\n  mosi:\n")
    found = load_suite("mine", "digits").encoders
    assert found == {"left": {"name": "mlp"}, "right": {"name": "gru", "inner": 0.2}}
    assert load_suite("mine", "mosi").encoders == {"left": {"name": "mlp"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoders: [mlp]", "encoders must be a mapping, but got \\['mlp'\\]"),
        ("encoders: {left: 3}", "the encoder of 'left' must be a name, or a mapping with a name .*, but got 3"),
        ("encoders: {left: {heads: 3}}", "must be a name, or a mapping with a name and options, but got {'heads': 3}"),
    ],
)
def test_encoders_of_another_form(write: Write, text: str, message: str) -> None:
    write("mine", PLAIN + text + "\ndatasets:\n  digits:\n")
    with pytest.raises(UserError, match=message):
        load_suite("mine", "digits")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{left: gru}", "encoders: encoder 'gru' reads sequence or tokens, but 'left' is features: mlp"),
        ("{left: resnet}", "encoders: unknown encoder 'resnet' for 'left'; did you mean 'resnet18'?"),
        ("{middle: mlp}", "encoders: an encoder is chosen for 'middle', but there are left, right"),
    ],
)
def test_encoders_that_do_not_fit_the_data(write: Write, tmp_path: Path, text: str, message: str) -> None:
    write("mine", PLAIN + f"encoders: {text}\ndatasets:\n  digits:\n")
    with pytest.raises(UserError, match=message):
        make_benches(Options(dataset="digits", suite="mine", device="cpu"), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_run_depends_on_the_encoders_of_its_own_modalities(
    write: Write, tmp_path: Path, data_root: Path, require: Callable[[Path], Path]
) -> None:
    require(data_root / "utd_mhad")
    common = "methods: [unimodal, joint]\nseeds: 1\nbudget: {epochs: 9}\ndatasets:\n  utd_mhad-seq:\n"
    keys = []
    for encoder in ("gru", "transformer"):
        write(encoder, f"{common}    encoders: {{skeleton: {encoder}}}\n")
        (bench,) = make_benches(Options(dataset="utd_mhad-seq", suite=encoder, device="cpu"), tmp_path)
        keys.append({spec.row.name: spec.key for spec in bench.specs})
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"unimodal_skeleton", "joint"}

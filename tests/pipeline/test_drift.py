"""From records to a baseline to windows of traffic, with real encoders. The days are compared on a real local
Ray, all else in this process."""

import json

import pytest
import ray

from auditor.errors import BadInput
from auditor.lab.world import lab_items
from auditor.measures.families import DEPENDENCES, MODALITIES
from auditor.measures.verdict import EXIT_CODES
from auditor.pipeline.bars import Bars
from auditor.pipeline.baseline import build
from auditor.pipeline.drift import drift
from auditor.report.store import Store
from auditor.shifts import apply_shift
from schemas.config import BaselineConfig, DriftConfig
from schemas.record import Image, Record
from schemas.report import WHERE

N = 120
ENCODERS = {"image": "efficientnet-lite0", "text": "minilm"}
CRITIC = {"seeds": 2, "steps": 60, "hidden": 16, "batch": 64}
HERE = {"executor": "serial"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Lab records with images by path: a baseline of the first N, and the N after them."""
    root = tmp_path_factory.mktemp("world")
    (root / "images").mkdir()
    rows = []
    for i, item in enumerate(lab_items(2 * N, seed=5)):
        (root / "images" / f"{i}.png").write_bytes(item.image)
        rows.append(
            {
                "record_id": item.record_id,
                "image": f"{i}.png",
                "query": item.query,
                "responses": {"m": item.reference if i % 3 else "I cannot tell."},
                "reference": item.reference,
            }
        )
    write(root / "id.jsonl", rows[:N])
    build(config(root, {"media_root": str(root / "images")}), root / "baseline", Bars())
    return root, rows[N:]


def config(root, data=(), **settings):
    return BaselineConfig(
        data={"id": str(root / "id.jsonl")} | dict(data),
        encoders=ENCODERS,
        critic=CRITIC,
        workers=HERE,
        **settings,
    )


def write(path, rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))


def run(world, rows, folder, **settings):
    root, _ = world
    folder.mkdir(exist_ok=True)
    path = folder / "traffic.jsonl"
    write(path, rows)
    data = {"traffic": str(path), "media_root": str(root / "images")}
    given = {"baseline": str(root / "baseline"), "data": data, "workers": HERE, **settings}
    return drift(DriftConfig(**given), folder, Bars())


def on(day, rows, **change):
    """The rows on that day, with new ids and with changed fields (None: left out)."""
    out = []
    for row in rows:
        new = row | {"record_id": f"{day}-{row['record_id']}", "timestamp": f"2026-03-0{day}T12:00:00"}
        new |= {key: value(row) if callable(value) else value for key, value in change.items()}
        out.append({key: value for key, value in new.items() if value is not None})
    return out


@pytest.fixture(scope="module")
def blurred(world):
    root, _ = world

    def blur(row):
        image = Image(data=(root / "images" / row["image"]).read_bytes())
        (moved,) = apply_shift([Record("r", "r", (image,), "q")], [("blur", 5)], 0)
        name = f"blurred-{row['image']}"
        (root / "images" / name).write_bytes(moved.images[0].data)
        return name

    return blur


def poem(row):
    return f"Please write a long poem about {row['query'].lower()}"


def contract(row):
    return f"Summarise clause {row['record_id'][-2:]} of this rental contract for the tenant."


@pytest.fixture(scope="module")
def days(world, blurred):
    """Day by day: as the baseline, other questions, other images, no answers, no images, few; one undated."""
    rows = world[1]
    return [
        *on(1, rows),
        *on(2, rows, query=poem),
        *on(3, rows, image=blurred),
        *on(4, rows, responses=None, reference=None),
        *on(6, rows, image=None),
        *on(7, rows[:20]),
        rows[0] | {"record_id": "undated"},
    ]


@pytest.fixture(scope="module")
def report(world, days, tmp_path_factory, quiet_ray):
    quiet_ray(2)
    try:
        workers = {"executor": "ray", "cpu": 2}
        return run(world, days, tmp_path_factory.mktemp("days") / "out", window="1d", workers=workers)
    finally:
        ray.shutdown()


def p_values(row):
    return {name: d.p_adjusted for name, d in row.divergences.items()}


def test_windows_by_day(report):
    assert [w.start[:10] for w in report.windows] == [f"2026-03-0{d}" for d in (1, 2, 3, 4, 6, 7)]
    assert [w.scenario for w in report.windows] == [w.start[:10] for w in report.windows]
    assert report.windows[0].end == report.windows[1].start and report.windows[0].n == N
    assert report.quarantine == {"bad_timestamp": 1}
    assert [finding.kind for finding in report.feed] == ["gap"] and report.verdict.because.endswith(
        report.feed[0].because
    )
    assert report.verdict.status == "fail" and EXIT_CODES[report.verdict.status] == 1
    assert report.run.job == "drift" and "Ray" in report.run.executor
    assert report.run.thresholds["p_value"] == 0.01


def test_unshifted_traffic_passes(report):
    row = report.windows[0]
    print("unshifted", p_values(row))
    assert row.verdict.status == "pass"
    assert set(row.divergences) == {*MODALITIES, *DEPENDENCES}
    assert row.family == "window" and row.n == row.n_labelled == N and row.model == "m"
    partial = sum(row.divergences[m].value ** 0.5 for m in ("image", "text"))
    assert row.bounds["partial"].value == pytest.approx(partial) and row.bounds["partial"].complete
    assert row.bounds["scaled"].complete and row.emi is not None and row.mi_model is not None
    assert row.label_free is not None and row.label_free.reason
    assert row.bounds["sound"].complete and "codebook" in row.bounds["sound"].entropy_source
    assert row.bounds["measured"].value is None and "greedy" not in row.missing["bounds.measured.value"]
    assert any("fewer than 10 times" in note for note in row.notes)


def test_only_the_questions_changed(report):
    row = report.windows[1]
    print("questions", p_values(row))
    assert max(p_values(row)["text"], p_values(row)["joint"]) < 0.01
    assert min(p_values(row)["image"], p_values(row)["response"]) > 0.01
    assert row.verdict.because.startswith("joint, text moved") and row.divergences["text"].excess > 0


def test_only_the_images_changed(report):
    row = report.windows[2]
    print("images", p_values(row))
    assert max(p_values(row)["image"], p_values(row)["joint"]) < 0.01
    assert min(p_values(row)["text"], p_values(row)["response"]) > 0.01
    assert row.verdict.because.startswith("image, joint moved")
    assert "Holm-adjusted over 7 tests" in row.verdict.because
    assert {line["slice"] for line in report.tables[WHERE] if line["scenario"] == row.scenario} == {
        "cluster",
        "record",  # nobody gave tags
    }


def test_where_the_drift_is(world, tmp_path):
    """The new kind of question comes first, by its tag and as a cluster; the others' tags do not."""
    rows = [
        row | {"tags": ["truth:red", f"site:{i % 3}", "all", *(["new"] if i < 24 else [])]}
        for i, row in enumerate(world[1])
    ]
    some = [*on(1, rows[:24], query=contract), *on(1, rows[24:])]
    report = run(world, [*some, *on(2, rows)], tmp_path / "out", window="1d")
    moved, quiet = report.windows
    assert moved.divergences["text"].p_adjusted <= 0.01 < min(p_values(quiet).values())
    lines = report.tables[WHERE]
    print(*lines, sep="\n")
    assert {(line["scenario"], line["modality"], line["model"]) for line in lines} == {
        (moved.scenario, "text", None)
    }
    by = {kind: [line for line in lines if line["slice"] == kind] for kind in ("tag", "cluster", "record")}
    first = by["tag"][0]
    assert (first["name"], first["rows"], first["share_of_rows"]) == ("new", 24, 0.2)
    assert first["share_of_divergence"] > 0.2 and first["share_of_id_rows"] is None
    assert all(line["excess"] < first["excess"] / 4 for line in by["tag"][1:])
    assert by["cluster"][0]["name"].endswith(", mostly new") and len(by["record"]) == 3
    assert "all" not in str(by["tag"]) and "truth" not in str(lines)

    assert Store(tmp_path / "out").load_report().tables[WHERE] == lines
    assert json.loads((tmp_path / "out" / "report.json").read_text())["tables"][WHERE] == lines
    assert 'id="where"' in (tmp_path / "out" / "report.html").read_text()


def test_without_responses_and_references(report):
    row = report.windows[3]
    assert set(row.divergences) == {"image", "text", "joint", "text_given_image"}
    assert row.verdict.status == "fail"
    assert row.verdict.because.startswith(
        "On 2026-03-04 none of 120 rows has an answer; 100% in the baseline"
    )
    assert row.missing["divergences.response"] == "no row has a response"
    assert row.mi_model is None and row.emi is None and row.bounds["partial"].complete
    assert row.bounds["scaled"].terms == ["d_v", "d_t", "delta_p"] and not row.bounds["scaled"].complete
    assert {"emi", "emid", "mi_model", "bounds.scaled", "delta", "label_free"} <= set(row.missing)


def test_without_images_in_one_window(report):
    row = report.windows[4]
    assert set(row.divergences) == {"text", "response"} and row.emi is not None
    assert "too few to learn" in row.missing["divergences.response_given_input"]
    assert row.missing["divergences.image"] == row.missing["divergences.joint"] == "no row has an image"
    assert row.bounds["partial"].terms == ["d_t"] and not row.bounds["partial"].complete
    assert row.verdict.status == "warn"
    assert row.verdict.because.startswith("On 2026-03-06 0 of 120 rows (0%) have an image; 100% in")


def test_few_rows_are_undecided(report):
    assert report.windows[5].n == 20 and report.windows[5].verdict.status == "undecided"
    assert report.windows[5].verdict.because.startswith("On 2026-03-07 21 rows came, where 120 are usual")


def test_no_window_depends_on_the_others_or_on_the_workers(world, days, report, tmp_path):
    alone = [row for row in days if row.get("timestamp", "").startswith("2026-03-01")]
    one = run(world, alone, tmp_path / "out", window="1d", workers=HERE | {"cpu": 1})
    assert one.windows == report.windows[:1]
    assert one.verdict.status == "pass" and EXIT_CODES[one.verdict.status] == 0

    by_rows = run(world, alone, tmp_path / "out", window_rows=100)  # resumes: nothing is embedded again
    assert [(w.scenario, w.n) for w in by_rows.windows] == [("rows 0-99", 100), ("rows 100-119", 20)]
    assert by_rows.verdict.status == "undecided"
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [w["scenario"] for w in written["windows"]] == ["rows 0-99", "rows 100-119"]
    assert (tmp_path / "out" / "report.html").is_file()
    assert Store(tmp_path / "out").load_report().windows == by_rows.windows


def test_bad_rows_are_counted_and_traffic_without_any_image(world, tmp_path):
    good = [{k: v for k, v in row.items() if k != "image"} for row in world[1][:30]]
    outside = good[1] | {"record_id": "y", "image": "../id.jsonl"}
    report = run(world, [*good, "{", good[0], {"record_id": "x"}, outside], tmp_path / "out")
    (row,) = report.windows
    reasons = ("unreadable_line", "duplicate_id", "missing_input", "image_outside_root")
    assert report.quarantine == dict.fromkeys(reasons, 1)
    assert row.n == 30 and row.quarantined == 4 and set(row.divergences) == {"text", "response"}
    assert row.emi is None and "lacks a modality" in row.missing["emi"]
    assert report.verdict.status == "undecided" and EXIT_CODES[report.verdict.status] == 4


def test_whose_responses_must_be_clear(world, tmp_path):
    rows = [r | {"responses": {"m": "yes", "other": "no"}} for r in world[1][:5]]
    with pytest.raises(BadInput, match=r"several models \(m, other\); choose one with --model"):
        run(world, rows, tmp_path / "out")
    with pytest.raises(BadInput, match="no responses of third; the records have m, other"):
        run(world, rows, tmp_path / "out", model="third")


def test_nothing_to_compare(world, tmp_path):
    with pytest.raises(BadInput, match="nothing to compare; unreadable_line: 1"):
        run(world, ["{"], tmp_path / "out")
    with pytest.raises(BadInput, match="is no baseline"):
        run(world, ["{"], tmp_path / "out", baseline="nowhere")


def test_a_baseline_of_texts_alone_without_answers(world, tmp_path):
    rows = [{"record_id": r["record_id"], "query": r["query"]} for r in world[1]]
    write(tmp_path / "id.jsonl", rows[:60])
    folder = tmp_path / "b"
    made = build(config(tmp_path), folder, Bars())
    assert made.critics == () and made.manifest.model is None and set(made.manifest.encoders) == {"text"}
    (row,) = run(world, rows[60:], tmp_path / "out", baseline=str(folder)).windows
    assert set(row.divergences) == {"text"} and row.missing["emi"].startswith("the baseline has 0 pairs")
    assert row.missing["divergences.image"] == "no row has an image"

    described = json.loads((folder / "baseline.json").read_text())
    (folder / "baseline.json").write_text(json.dumps(described | {"encoders": {"text": "another"}}))
    with pytest.raises(BadInput, match="was made with another text encoder"):
        run(world, rows[60:], tmp_path / "out", baseline=str(folder))

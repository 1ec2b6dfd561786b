"""Curves: all starts of a run are one line, iterations and epochs are kept apart."""

import json

import numpy as np
import pytest

from mmreid_uda.utils import InputError
from mmreid_uda.visualization import draw_curves, figure_pixels, read_scalars


def write(folder, start, records):
    path = folder / start / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def run(tmp_path):
    write(
        tmp_path / "run",
        "20260101_000000",
        [{"one/mAP": 10.0, "step": 0}]
        + [{"loss": value, "iter": step, "epoch": 1, "step": step} for step, value in ((5, 3.0), (10, 9.0))],
    )  # fmt: skip
    # Iteration 10 was cut off and done again.
    write(tmp_path / "run", "20260102_000000", [{"loss": 2.0, "iter": 10, "epoch": 1, "step": 10}])
    return tmp_path / "run"


def test_a_resumed_run_is_one_curve(run):
    curves = read_scalars(run)
    assert curves.keys() == {"one/mAP", "loss"}
    assert curves["loss"].axis == "iteration" and curves["one/mAP"].axis == "epoch"
    assert curves["loss"].points == {5: 3.0, 10: 2.0}


def test_each_quantity_has_a_panel_and_each_run_a_line(run):
    curves = read_scalars(run)
    figure = draw_curves({"a": curves, "b": {"loss": curves["loss"]}}, ["loss", "*/mAP", "none"])
    loss, accuracy = figure.axes
    assert [len(panel.lines) for panel in (loss, accuracy)] == [2, 1]
    assert loss.lines[0].get_xydata().tolist() == [[5, 3], [10, 2]]
    assert loss.get_xlabel() == "iteration" and accuracy.get_xlabel() == "epoch"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_runs_without_the_quantity_are_named(run):
    with pytest.raises(
        InputError, match=r"found one/mAP, loss in the logs of a, expected .* speed"
    ):
        draw_curves({"a": read_scalars(run)}, ["speed"])


def test_a_run_has_one_color_also_where_another_has_no_curve(run):
    curves = read_scalars(run)
    figure = draw_curves({"a": {"loss": curves["loss"]}, "b": curves}, ["loss", "*/mAP"])
    loss, accuracy = figure.axes
    assert accuracy.lines[0].get_color() == loss.lines[1].get_color() != loss.lines[0].get_color()


def test_the_half_line_of_a_run_that_is_being_written_is_left_out(run):
    second = max(run.glob("*/vis_data/scalars.json"))
    before = read_scalars(run)
    with second.open("a") as file:
        file.write('{"loss": 1.0, "iter": 15, "st')
    assert read_scalars(run) == before
    (second.parent / "scalars.json").write_text('{"lo\n{"loss": 1.0, "iter": 15, "step": 15}\n')
    with pytest.raises(InputError, match=r"line 1 of .*scalars\.json' is no record"):
        read_scalars(run)


@pytest.mark.parametrize(
    "line",
    ["[1]", "3", "null", '{"loss": 1}', '{"loss": 1, "step": "a"}', '{"step": NaN}', "", "\0"],
)
def test_a_line_that_is_no_record_is_named_but_for_the_last(tmp_path, line):
    log = tmp_path / "start" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    whole = '{"loss": 2.0, "step": 4}\n'
    log.write_text(f"{whole}{line}\n{whole}")
    with pytest.raises(InputError, match=r"line 2 of .* is no record"):
        read_scalars(tmp_path)
    log.write_bytes(f"{whole}{line}".encode() + b"\xff")
    assert read_scalars(tmp_path)["loss"].points == {4: 2.0}


def test_what_is_no_number_is_no_curve_and_what_is_not_finite_a_gap(tmp_path):
    records = [
        {"step": 1, "loss": 3.0, "note": "warm-up", "lr": [1, 2]},
        {"step": 2, "loss": float("nan")},
        {"step": 3, "loss": float("-inf")},
        {"step": 4, "loss": 1e308},
        {"step": 5, "loss": 10**400},
        {"step": 6, "loss": 1.0},
    ]
    write(tmp_path, "start", records)
    curves = read_scalars(tmp_path)
    assert curves.keys() == {"loss"}
    figure = draw_curves({"run": curves}, ["loss"])
    assert np.isfinite(figure.axes[0].lines[0].get_ydata()).tolist() == [True, *[False] * 4, True]
    assert figure_pixels(figure).any()

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn import metrics as sk

from pneumoscope.data.predictions import Predictions
from pneumoscope.report.evaluation_figures import (
    compare_roc_figure,
    confusion_figure,
    draw_figures,
    figure_png,
    histogram_figure,
    learning_curves,
    reliability_figure,
    roc_figure,
    show,
)


def lines(axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what is drawn in axes, by the first word of its label."""
    return {
        str(line.get_label()).split()[0].strip(":"): (line.get_xdata(), line.get_ydata())
        for line in axes.get_lines()
    }


def test_every_figure_is_drawn_and_is_a_picture(evaluation, predictions, history) -> None:
    figures = draw_figures(evaluation, predictions, history)
    assert list(figures) == ["learning-curves", "roc", "precision-recall", "reliability",
                             "probabilities", "confusion-balanced", "confusion-sensitive",
                             "confusion-0.5"]  # fmt: skip
    for figure in figures.values():
        for axes in figure.axes:
            assert axes.get_xlabel() or axes.get_ylabel()
    png = figure_png(figures["confusion-0.5"], dpi=40)
    assert png == figure_png(confusion_figure(evaluation.point("0.5")), dpi=40)
    with Image.open(io.BytesIO(png)) as picture:
        assert np.asarray(picture).std() > 10  # not an empty sheet


def test_without_a_history_the_other_figures_remain(evaluation, predictions) -> None:
    figures = draw_figures(evaluation, predictions, None)
    assert "learning-curves" not in figures
    assert len(figures) == 7


def test_roc_is_scikit_learns_and_points_lie_where_their_figures_say(
    evaluation, predictions
) -> None:
    figure = roc_figure(predictions, evaluation.operating_points, auroc=0.91)
    drawn = lines(figure.axes[0])
    x, y, _ = sk.roc_curve(predictions.target, predictions.probability, drop_intermediate=False)
    assert np.interp(np.linspace(0, 1, 201), *drawn["AUROC"]) == pytest.approx(
        np.interp(np.linspace(0, 1, 201), x, y)
    )
    for point in evaluation.operating_points:
        call = predictions.probability >= point.threshold
        (right, up) = drawn[point.name]
        assert up[0] == pytest.approx(sk.recall_score(predictions.target, call))
        assert 1 - right[0] == pytest.approx(sk.recall_score(predictions.target, call, pos_label=0))


@pytest.mark.parametrize(("selected", "epoch"), [("best", 2), ("last", 3)])
def test_the_evaluated_epoch_is_marked(evaluation, predictions, history, selected, epoch) -> None:
    run = evaluation.run.model_copy(update={"selected_checkpoint": selected})
    figures = draw_figures(evaluation.model_copy(update={"run": run}), predictions, history)
    for axes, name in zip(figures["learning-curves"].axes, ("loss", "accuracy"), strict=True):
        drawn = lines(axes)
        assert list(drawn["epoch"][0]) == [epoch, epoch]
        assert list(drawn["training"][1]) == history[f"training_{name}"].to_list()
        assert list(drawn["tuning"][1]) == history[f"tuning_{name}"].to_list()


def test_a_run_that_diverged_still_has_learning_curves(history) -> None:
    broken = history.with_columns(tuning_loss=pl.Series([0.5, None, float("nan")]))
    assert len(learning_curves(broken, chosen=None).axes) == 2


def test_reliability_shows_how_many_radiographs_each_bin_holds(predictions) -> None:
    figure = reliability_figure(predictions)
    counts = [bar.get_height() for bar in figure.axes[1].patches]
    oracle, _ = np.histogram(predictions.probability, bins=np.arange(11) / 10)
    assert counts == oracle.tolist()


def test_histogram_counts_each_class(evaluation, predictions) -> None:
    figure = histogram_figure(predictions, evaluation.operating_points)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "normal (n = 16)" in texts
    assert "pneumonia (n = 24)" in texts
    assert "threshold balanced (0.620)" in texts


def test_confusion_matrix_has_the_reference_standard_in_rows(evaluation) -> None:
    point = evaluation.point("balanced")
    axes = confusion_figure(point).axes[0]
    counts = point.confusion
    texts = {text.get_position(): int(text.get_text().split("\n")[0]) for text in axes.texts}
    assert texts == {
        (0, 0): counts.true_negative,
        (1, 0): counts.false_positive,
        (0, 1): counts.false_negative,
        (1, 1): counts.true_positive,
    }
    assert axes.get_ylabel() == "Reference standard"
    shares = np.asarray(axes.images[0].get_array())
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    assert shares[1, 1] == pytest.approx(point.figures["sensitivity"].value)


def test_all_answers_alike_can_be_drawn(evaluation, predictions) -> None:
    alike = Predictions(predictions.table.with_columns(probability=pl.lit(1.0)))
    for figure in draw_figures(evaluation, alike, None).values():
        assert figure_png(figure, dpi=30)


def test_recipes_share_one_roc_figure(predictions) -> None:
    curves = [(f"r{i}", predictions.logit * (-1) ** i, predictions.target) for i in range(9)]
    drawn = lines(compare_roc_figure(curves).axes[0])
    assert set(drawn) == {"chance", *(f"r{i}" for i in range(9))}


def test_nan_is_shown_as_undefined() -> None:
    assert show(float("nan")) == "undefined"
    assert show(0.98765) == "0.988"

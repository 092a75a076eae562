import pytest

from opensam.eval.comparison import dataset_table, mean_table, size_table
from opensam.eval.metrics import DatasetScores, MethodScores, SizeScores


def ours(**changed):
    few = {"iou@1": 0.5, "oracle@1": 0.7, "noc@90": 3.0, "box": 0.8} | changed
    many = {"iou@1": 0.3, "oracle@1": 0.5, "noc@90": 10.5, "box": 0.6}
    return MethodScores("tiny", {"few": DatasetScores(1, 2, 2.0, few), "many": DatasetScores(3, 40, 6.0, many)})


def theirs():
    return MethodScores(
        "GrabCut",
        {"few": DatasetScores(1, 2, 1.0, {"box": 0.4}), "many": DatasetScores(3, 40, 1.0, {"box": 0.5})},
    )


def test_the_table_has_a_row_per_data_set_and_their_mean():
    assert dataset_table([ours()]).markdown() == (
        "| data set | images | masks | 1 click | 1 click, best of 3 | box | NoC@90 |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| few | 1 | 2 | 0.500 | 0.700 | 0.800 | 3.00 |\n"
        "| many | 3 | 40 | 0.300 | 0.500 | 0.600 | 10.50 |\n"
        "| mean of 2 data sets | 4 | 42 | 0.400 | 0.600 | 0.700 | 6.75 |\n"
    )


def test_two_methods_stand_side_by_side_where_both_have_a_score():
    lines = dataset_table([ours(), theirs()]).markdown().splitlines()
    assert lines[0] == (
        "| data set | images | masks | 1 click | 1 click, best of 3 | tiny: box | GrabCut: box | NoC@90 |"
    )
    assert lines[2] == "| few | 1 | 2 | 0.500 | 0.700 | 0.800 | 0.400 | 3.00 |"
    assert lines[-1] == "| mean of 2 data sets | 4 | 42 | 0.400 | 0.600 | 0.700 | 0.450 | 6.75 |"


def by_size(method, score):
    return MethodScores(
        method, theirs().datasets, [SizeScores(0.002, 3, {"box": score}), SizeScores(1.0, 39, {"box": 0.5})]
    )


def test_the_table_by_size_has_a_row_per_size():
    assert size_table([by_size("tiny", 0.25), by_size("GrabCut", 0.125)]).markdown() == (
        "| size of the mask | masks | tiny: box | GrabCut: box |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| up to 0.2 % of the picture | 3 | 0.250 | 0.125 |\n"
        "| up to 100 % of the picture | 39 | 0.500 | 0.500 |\n"
    )


def fewer_masks():
    return MethodScores("GrabCut", {**theirs().datasets, "many": DatasetScores(3, 39, 1.0, {"box": 0.5})})


def other_datasets():
    return MethodScores("GrabCut", {"few": theirs().datasets["few"]})


@pytest.mark.parametrize(
    "methods", [[], [MethodScores("tiny", {})], [ours(), fewer_masks()], [ours(), other_datasets()]]
)
@pytest.mark.parametrize("table", [dataset_table, size_table])
def test_what_cannot_be_compared_is_refused(methods, table):
    with pytest.raises(ValueError, match="a report expects"):
        table(methods)


def test_the_means_stand_under_the_names_of_the_methods():
    table = mean_table([ours(), theirs()])
    assert table.heads == ("score", "tiny", "GrabCut")
    assert ["1 click", "0.400", ""] in table.texts()
    assert ["box", "0.700", "0.450"] in table.texts()

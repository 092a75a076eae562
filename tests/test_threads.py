"""Tasks in several Python threads: the answers are the same, and torch's numbers of threads stay as they were."""

import threading

import pytest
import torch

from opensam.threads import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def where(_=None):
    """Which thread this is, and with how many torch computes in it."""
    return threading.get_ident(), torch.get_num_threads()


def in_new_thread(function):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join()
    return answers[0]


def test_answers_come_in_the_order_of_the_tasks():
    done = [threading.Event() for _ in range(3)]

    def work(number):
        if number < 2:
            assert done[number + 1].wait(10)  # so the last is done first
        done[number].set()
        return number

    assert side_by_side(work, range(3), CPU) == [0, 1, 2]
    assert side_by_side(abs, [], CPU) == []


def test_torch_computes_with_one_thread_in_each():
    together = threading.Barrier(3)

    def work(_):
        together.wait(10)
        return where()

    found = side_by_side(work, range(6), CPU)
    assert {count for _, count in found} == {1}
    assert len({thread for thread, _ in found}) == 3
    assert threading.get_ident() not in {thread for thread, _ in found}


def test_every_other_thread_keeps_its_number():
    together = threading.Barrier(3)  # all have begun

    def work(_):
        together.wait(10)
        return in_new_thread(where)[1]

    assert set(side_by_side(work, range(3), CPU)) == {3}
    assert where()[1] == in_new_thread(where)[1] == 3


def test_an_error_ends_the_work_and_numbers_stay():
    begun = []

    def work(number):
        begun.append(number)
        if number == 1:
            raise ZeroDivisionError("of task 1")
        threading.Event().wait(0.05)

    with pytest.raises(ZeroDivisionError, match="of task 1"):
        side_by_side(work, range(100), CPU)
    assert len(begun) < 100
    assert where()[1] == in_new_thread(where)[1] == 3


def test_several_threads_may_spread_work_at_once():
    together = threading.Barrier(4)
    found = []

    def caller():
        together.wait(10)
        found.append((side_by_side(where, range(20), CPU), where()[1]))

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert len(found) == 4
    assert {count for answers, _ in found for _, count in answers} == {1}
    assert {count for _, count in found} == {3}
    assert in_new_thread(where)[1] == 3


@pytest.mark.parametrize(("count", "device"), [(1, "cpu"), (3, "meta")])
def test_one_thread_or_another_device_leaves_the_work_where_it_is(count, device):
    torch.set_num_threads(count)
    assert side_by_side(where, range(3), torch.device(device)) == [(threading.get_ident(), count)] * 3

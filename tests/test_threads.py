"""Who works with how many threads: the caller's settings stay, and so do those of threads that come and go."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  loads the library whose threads are looked at
import torch

from sunaug.threads import in_order, one_thread, worker_count


@pytest.fixture(autouse=True)
def _three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def elsewhere(call, *arguments):
    """The result of a call in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *arguments).result()


def test_one_thread_is_the_calling_threads_alone_and_is_restored():
    begun = threading.Event()
    go = threading.Event()

    def other():
        before = torch.get_num_threads()
        begun.set()
        go.wait(10)
        return before, torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other)
        begun.wait(10)
        with one_thread():
            assert torch.get_num_threads() == 1
            assert worker_count() == 3
            assert elsewhere(torch.get_num_threads) == 3
            with one_thread():
                assert worker_count() == 3
            assert torch.get_num_threads() == 1
            go.set()
            assert waiting.result() == (3, 3)
    assert (torch.get_num_threads(), worker_count()) == (3, 3)
    assert elsewhere(torch.get_num_threads) == 3


def test_it_is_restored_after_an_error_and_where_threads_overlap():
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 3

    inside = threading.Barrier(4)

    @one_thread()
    def work(number):
        inside.wait(10)
        return torch.get_num_threads()

    def all_of_it(number):
        torch.set_num_threads(number)
        return work(number), torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(all_of_it, (2, 3, 4, 5))) == [(1, number) for number in (2, 3, 4, 5)]
    assert torch.get_num_threads() == 3


def test_items_are_done_by_one_thread_each_and_come_in_order():
    seen = set()

    def work(number):
        seen.add(threading.get_ident())
        return number, torch.get_num_threads(), worker_count()

    assert list(in_order(work, range(20))) == [(number, 1, 1) for number in range(20)]
    assert threading.get_ident() not in seen
    assert 1 <= len(seen) <= 3
    assert (torch.get_num_threads(), elsewhere(torch.get_num_threads)) == (3, 3)
    with one_thread():
        seen.clear()
        assert len(list(in_order(work, range(20)))) == 20
        assert threading.get_ident() not in seen


def test_one_worker_is_the_caller():
    torch.set_num_threads(1)
    assert set(in_order(lambda _: threading.get_ident(), range(5))) == {threading.get_ident()}
    assert list(in_order(lambda number: number, [])) == []


def test_few_items_are_begun_before_they_are_taken():
    begun = []
    results = in_order(lambda number: begun.append(number) or number, range(100), ahead=2)
    assert next(results) == 0
    assert len(begun) <= 6
    results.close()
    assert len(begun) <= 6


def test_an_error_is_the_callers():
    def work(number):
        if number == 3:
            raise ValueError("three")
        return number

    results = in_order(work, range(50))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_linear_algebra_has_one_thread_too_and_its_setting_back():
    control = pytest.importorskip("threadpoolctl")

    def counts():
        return {one["num_threads"] for one in control.threadpool_info() if one["user_api"] == "blas"}

    np.linalg.eigh(np.eye(3))
    with control.threadpool_limits(2, user_api="blas"):
        outer, inner = one_thread(blas=True), one_thread(blas=True)
        outer.__enter__()
        inner.__enter__()
        assert counts() == {1}
        outer.__exit__(None, None, None)
        assert counts() == {1}
        inner.__exit__(None, None, None)
        assert counts() == {2}


def test_linear_algebra_of_one_thread_has_the_same_bits_under_any_setting():
    control = pytest.importorskip("threadpoolctl")
    values = np.random.default_rng(0).normal(size=(900, 300))

    @one_thread(blas=True)
    def work():
        return np.linalg.eigh(values.T @ values)[0], values @ values.T, np.linalg.lstsq(values, values[:, 0])[0]

    found = []
    for threads in (1, 2, 4):
        with control.threadpool_limits(threads, user_api="blas"):
            found.append(work())
    for again in found[1:]:
        for one, other in zip(found[0], again, strict=True):
            np.testing.assert_array_equal(one, other)

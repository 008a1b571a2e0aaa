"""Which reads are taken for a row, for equal steps, and for neither."""

from __future__ import annotations

from random import Random

import pytest

from smbfs.vfs.courses import COURSES_MAX, DENSE_READS, STEPS_AHEAD, WINDOW_BLOCKS_MAX, Courses

BLOCK = 1 << 20
PIECE = BLOCK // 8


def read_row(courses: Courses, start: int, pieces: int) -> int:
    """Read pieces in a row; return the window at the end."""
    window = 0
    for offset in range(start, start + pieces * PIECE, PIECE):
        course = courses.follow(offset, PIECE)
        if course is not None:
            window = course.window
            if course.expected % BLOCK == 0:
                courses.passed_block(course)
    return window


def test_the_window_grows_with_the_course() -> None:
    courses = Courses(BLOCK)
    assert read_row(courses, 0, 8) == 1
    assert read_row(courses, BLOCK, 8) == 2
    assert read_row(courses, 2 * BLOCK, 40) == WINDOW_BLOCKS_MAX


def test_a_jump_is_no_course_and_what_follows_it_is_one() -> None:
    courses = Courses(BLOCK)
    assert courses.follow(50 * BLOCK, PIECE) is None
    assert courses.follow(50 * BLOCK + PIECE, PIECE) is not None


@pytest.mark.parametrize("readers", [2, COURSES_MAX])
def test_several_readers_of_one_handle_keep_their_courses(readers: int) -> None:
    courses = Courses(BLOCK)
    starts = [reader * 100 * BLOCK for reader in range(readers)]
    for start in starts:
        read_row(courses, start, 1)
    for turn in range(1, 30):
        for start in starts:
            assert read_row(courses, start + turn * PIECE, 1)
    assert courses.share(80) == 80 // readers


def test_the_kernel_may_reorder_what_a_program_reads() -> None:
    courses = Courses(BLOCK)
    read_row(courses, 0, 24)
    random = Random(1)
    offsets = [24 * PIECE + n * PIECE for n in range(32)]
    for pair in range(0, 32, 2):
        if random.random() < 0.5:
            offsets[pair : pair + 2] = reversed(offsets[pair : pair + 2])
    assert all(courses.follow(offset, PIECE) is not None for offset in offsets)


@pytest.mark.parametrize("step", [10 * BLOCK, -10 * BLOCK])
def test_equal_steps_are_seen(step: int) -> None:
    courses = Courses(BLOCK)
    start = 100 * BLOCK
    for count in range(2):
        courses.follow(start + count * step, 4096)
        assert courses.next_steps() == []
    courses.follow(start + 2 * step, 4096)
    expected = [start + count * step for count in range(3, 3 + STEPS_AHEAD)]
    assert courses.next_steps() == expected


def test_steps_do_not_lead_before_the_beginning() -> None:
    courses = Courses(BLOCK)
    for count in (5, 4, 3):
        courses.follow(count * 10 * BLOCK, 4096)
    assert courses.next_steps() == [20 * BLOCK, 10 * BLOCK, 0]


def test_random_reads_have_no_next_steps() -> None:
    courses = Courses(BLOCK)
    random = Random(2)
    for _ in range(100):
        courses.follow(random.randrange(1 << 40), 4096)
        assert courses.next_steps() == []


def test_a_block_that_is_asked_for_often_is_worth_having() -> None:
    courses = Courses(BLOCK)
    assert [courses.is_dense(7) for _ in range(DENSE_READS)] == [False] * (DENSE_READS - 1) + [True]
    for index in range(1000):
        assert not courses.is_dense(100 + index)
    assert not courses.is_dense(7)

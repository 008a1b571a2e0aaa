"""Telling the kernel: also of inodes that it has not heard of yet."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from smbfs.fuse.answers import encode_inode_changed
from smbfs.fuse.invalidate import REPEAT_S, REPEATS_MAX, Invalidator
from smbfs.vfs.attributes import AttributeQuestions

DEVICE = -7


@pytest.mark.parametrize(
    ("unknown_for", "told_at_least", "told_at_most"),
    [(0, 1, 1), (3, 4, 4), (10**6, REPEATS_MAX, REPEATS_MAX + 2)],
    ids=["known", "not looked at the answer yet", "forgotten"],
)
async def test_what_the_kernel_does_not_know_is_told_again(
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    unknown_for: int,
    told_at_least: int,
    told_at_most: int,
) -> None:
    """What it has not looked at would be believed for long, what it has forgotten will not."""
    told: list[bytes] = []
    write = os.write

    def tell(device: int, notice: bytes) -> int:
        if device != DEVICE:
            return write(device, notice)
        told.append(notice)
        if len(told) <= unknown_for:
            raise FileNotFoundError
        return len(notice)

    monkeypatch.setattr(os, "write", tell)
    invalidator = Invalidator(DEVICE, AttributeQuestions())
    nursery.start_soon(invalidator.run)
    invalidator.attributes_changed(7)
    await trio.sleep(100)
    assert set(told) == {encode_inode_changed(7, attributes_only=True)}
    assert told_at_least <= len(told) <= told_at_most


async def test_what_will_change_is_told_when_the_kernel_has_looked(
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However soon after another such piece of news."""
    told_s: list[float] = []
    write = os.write

    def tell(device: int, notice: bytes) -> int:
        if device != DEVICE:
            return write(device, notice)
        told_s.append(trio.current_time())
        return len(notice)

    monkeypatch.setattr(os, "write", tell)
    invalidator = Invalidator(DEVICE, AttributeQuestions())
    nursery.start_soon(invalidator.run)
    began_s = trio.current_time()
    invalidator.attributes_will_change(7)
    await trio.sleep(REPEAT_S * 0.9)
    invalidator.attributes_will_change(8)
    await trio.sleep(1)
    first_s, second_s = (told - began_s for told in told_s)
    assert REPEAT_S <= first_s <= 3 * REPEAT_S
    assert REPEAT_S * 1.9 <= second_s <= 4 * REPEAT_S


async def test_what_will_change_is_not_told_while_the_kernel_asks(
    monkeypatch: pytest.MonkeyPatch,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It would not take in the answer; but it is told at last."""
    told: list[bytes] = []
    write = os.write

    def tell(device: int, notice: bytes) -> int:
        if device != DEVICE:
            return write(device, notice)
        told.append(notice)
        return len(notice)

    monkeypatch.setattr(os, "write", tell)
    questions = AttributeQuestions()
    invalidator = Invalidator(DEVICE, questions)
    nursery.start_soon(invalidator.run)
    with questions.asking(7):
        invalidator.attributes_will_change(7)
        await trio.sleep(REPEAT_S * 10)
        assert not told
    await trio.sleep(REPEAT_S * 2)
    assert told == [encode_inode_changed(7, attributes_only=True)]
    with questions.asking(7):
        invalidator.attributes_will_change(7)
        await trio.sleep(REPEAT_S * REPEATS_MAX * 2)
        assert len(told) == 2
    assert 7 not in questions

"""The inode table: single rules, then any sequence of events against a model."""

from __future__ import annotations

from collections.abc import Callable
from stat import S_IFDIR, S_IFREG

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from smbfs.vfs.inode_numbers import ROOT_NUMBER
from smbfs.vfs.inodes import Inode, InodeTable, check_invariants
from smbfs.vfs.refusals import Refusal, Refused


def new_table() -> InodeTable:
    return InodeTable(S_IFDIR)


def directory(table: InodeTable, parent: Inode, name: bytes, file_id: int) -> Inode:
    inode = table.admit(parent, name, file_id=file_id, file_type=S_IFDIR)
    table.remember(inode)
    return inode


def file(table: InodeTable, parent: Inode, name: bytes, file_id: int, links: int = 1) -> Inode:
    inode = table.admit(parent, name, file_id=file_id, file_type=S_IFREG, link_count=links)
    table.remember(inode)
    return inode


def test_numbers_are_the_servers_ids() -> None:
    table = new_table()
    inode = file(table, table.root, b"a", 4711)
    assert inode.number == 4711
    assert table.get(4711) is inode
    assert file(table, table.root, b"a", 4711) is inode
    check_invariants(table)


@pytest.mark.parametrize("file_id", [0, 0xFFFF_FFFF_FFFF_FFFF])
def test_without_ids_numbers_follow_from_the_name(file_id: int) -> None:
    table = new_table()
    inode = file(table, table.root, b"a", file_id)
    other = file(table, table.root, b"b", file_id)
    assert inode.number != other.number
    assert inode.number not in {0, ROOT_NUMBER}
    assert file(table, table.root, b"a", file_id) is inode
    number = inode.number
    table.forget(number, 2)
    assert file(table, table.root, b"a", file_id).number == number
    check_invariants(table)


def test_an_id_that_means_the_root_to_the_kernel_gets_another_number() -> None:
    table = new_table()
    table.numbers.set_root_id(table.root, 99)
    inode = file(table, table.root, b"a", ROOT_NUMBER)
    assert inode.number != ROOT_NUMBER
    assert file(table, table.root, b"a", ROOT_NUMBER) is inode
    assert table.get(ROOT_NUMBER) is table.root
    check_invariants(table)


def test_a_made_up_number_does_not_shadow_a_file_id() -> None:
    table = new_table()
    without_id = file(table, table.root, b"a", 0)
    with_id = file(table, table.root, b"b", without_id.number)
    assert with_id is not without_id
    assert file(table, table.root, b"b", without_id.number) is with_id
    check_invariants(table)


def test_forgetting_as_often_as_told_removes() -> None:
    table = new_table()
    inode = file(table, table.root, b"a", 5)
    table.remember(inode)
    table.forget(5, 1)
    assert table.get(5) is inode
    table.forget(5, 1)
    with pytest.raises(Refused) as refused:
        table.get(5)
    assert refused.value.reason is Refusal.STALE
    assert len(table) == 1
    assert table.root.children is None


def test_a_directory_stays_while_it_has_children_here() -> None:
    table = new_table()
    above = directory(table, table.root, b"d", 5)
    child = file(table, above, b"f", 6)
    table.forget(5, 1)
    assert table.path(child) == (b"d", b"f")
    table.forget(6, 1)
    assert len(table) == 1


def test_a_renamed_directory_takes_everything_below_along() -> None:
    table = new_table()
    outer = directory(table, table.root, b"a", 5)
    inner = directory(table, outer, b"b", 6)
    leaf = file(table, inner, b"c", 7)
    table.move(table.root, b"a", table.root, b"z", None)
    assert table.path(leaf) == (b"z", b"b", b"c")
    table.move(outer, b"b", table.root, b"b", None)
    assert table.path(leaf) == (b"b", b"c")
    check_invariants(table)


def test_a_file_that_was_found_where_it_went_keeps_its_name() -> None:
    """Who looks may hear of a rename before who renames does."""
    table = new_table()
    moved = file(table, table.root, b"a", 5)
    assert file(table, table.root, b"b", 5) is moved
    assert table.move(table.root, b"a", table.root, b"b", moved) is moved
    assert table.path(moved) == (b"b",)
    check_invariants(table)


def test_a_rename_over_a_file_takes_its_name() -> None:
    table = new_table()
    moved = file(table, table.root, b"a", 5)
    replaced = file(table, table.root, b"b", 6)
    assert table.move(table.root, b"a", table.root, b"b", moved) is moved
    assert table.path(moved) == (b"b",)
    with pytest.raises(Refused):
        table.path(replaced)
    assert table.get(6) is replaced
    check_invariants(table)


def test_hard_links_are_names_of_one_inode() -> None:
    table = new_table()
    inode = file(table, table.root, b"a", 5, links=2)
    assert file(table, table.root, b"b", 5, links=2) is inode
    table.remove(table.root, b"b")
    assert table.path(inode) == (b"a",)
    table.remove(table.root, b"a")
    with pytest.raises(Refused):
        table.path(inode)
    check_invariants(table)


def test_a_file_with_one_name_seen_under_another_has_moved() -> None:
    table = new_table()
    inode = file(table, table.root, b"a", 5)
    file(table, table.root, b"b", 5)
    assert table.path(inode) == (b"b",)
    assert table.child(table.root, b"a") is None
    check_invariants(table)


def test_another_file_under_a_known_name_takes_it() -> None:
    table = new_table()
    before = file(table, table.root, b"a", 5)
    after = file(table, table.root, b"a", 6)
    assert table.child(table.root, b"a") is after
    with pytest.raises(Refused):
        table.path(before)
    check_invariants(table)


def test_names_that_differ_in_case_are_one_where_the_server_says_so() -> None:
    table = InodeTable(S_IFDIR, fold=bytes.lower)
    inode = file(table, table.root, b"README", 5)
    assert file(table, table.root, b"readme", 5) is inode
    assert table.path(inode) == (b"readme",)
    assert list(inode.names()) == [(table.root, b"readme")]
    assert table.find(table.root, b"README") == (inode, b"readme")
    table.move(table.root, b"README", table.root, b"Readme", None)
    assert table.path(inode) == (b"Readme",)
    table.remove(table.root, b"rEADME")
    assert not inode.is_attached
    check_invariants(table)


def test_each_spelling_of_a_name_has_a_number_of_its_own() -> None:
    table = InodeTable(S_IFDIR, fold=bytes.lower)
    inode = file(table, table.root, b"README", 5)
    assert table.number_as(inode, table.root, b"README") == 5
    number = table.number_as(inode, table.root, b"readme")
    assert number not in {5, table.number_as(inode, table.root, b"Readme")}
    assert table.number_as(inode, table.root, b"readme") == number
    assert table.get(number) is inode
    table.remember(inode)
    table.forget(5, 1)
    assert table.get(number) is inode
    check_invariants(table)
    table.forget(number, 1)
    assert len(table) == 1
    with pytest.raises(Refused):
        table.get(number)
    check_invariants(table)


def test_a_directory_below_itself_is_refused() -> None:
    table = new_table()
    outer = directory(table, table.root, b"a", 5)
    inner = directory(table, outer, b"b", 6)
    with pytest.raises(Refused):
        table.admit(inner, b"a", file_id=5, file_type=S_IFDIR)
    with pytest.raises(Refused):
        table.admit(inner, b"b", file_id=6, file_type=S_IFDIR)
    check_invariants(table)


def test_a_pinned_inode_outlives_the_kernels_memory() -> None:
    table = new_table()
    inode = file(table, table.root, b"a", 5)
    table.pin(inode)
    table.forget(5, 1)
    assert table.path(inode) == (b"a",)
    table.unpin(inode)
    assert len(table) == 1


NAMES = st.sampled_from([b"a", b"b", b"c", b"A"])
NUMBERS = st.integers(min_value=0, max_value=9)
LINKS = st.integers(min_value=0, max_value=2)


class TableMachine(RuleBasedStateMachine):
    """A server that renames, links and reuses ids while we look."""

    fold: Callable[[bytes], bytes] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.table = InodeTable(S_IFDIR, fold=self.fold)
        self.counts: dict[int, int] = {}

    def directories(self) -> list[Inode]:
        inodes = [self.table.root, *(self.table.get(n) for n in self.counts)]
        return [inode for inode in inodes if inode.file_type == S_IFDIR and inode.is_attached]

    def pick(self, data: st.DataObject) -> Inode:
        return data.draw(st.sampled_from(self.directories()))

    @rule(data=st.data(), name=NAMES, file_id=NUMBERS, links=LINKS, is_dir=st.booleans())
    def look_up(
        self, data: st.DataObject, name: bytes, file_id: int, links: int, is_dir: bool
    ) -> None:
        parent = self.pick(data)
        file_type = S_IFDIR if is_dir else S_IFREG
        try:
            inode = self.table.admit(
                parent, name, file_id=file_id, file_type=file_type, link_count=links
            )
        except Refused:
            return
        self.table.remember(inode)
        self.counts[inode.number] = self.counts.get(inode.number, 0) + 1
        assert self.table.child(parent, name) is inode
        assert (parent, name) in list(inode.names())

    @rule(data=st.data(), name=NAMES)
    def remove(self, data: st.DataObject, name: bytes) -> None:
        parent = self.pick(data)
        child = self.table.child(parent, name)
        if child is None or not child.children:
            self.table.remove(parent, name)
            assert self.table.child(parent, name) is None
            assert child is None or (parent, name) not in list(child.names())

    @rule(data=st.data(), name=NAMES, new_name=NAMES)
    def move(self, data: st.DataObject, name: bytes, new_name: bytes) -> None:
        source, target = self.pick(data), self.pick(data)
        found = self.table.find(source, name)
        inode = found[0] if found else None
        at: Inode | None = target
        while at is not None:
            if at is inode:
                return  # The kernel refuses to move a directory below itself.
            at = at.parent
        assert self.table.move(source, name, target, new_name, inode) is inode
        if inode is not None:
            assert self.table.child(target, new_name) is inode

    @precondition(lambda self: bool(self.counts))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.counts)))
        count = data.draw(st.integers(1, self.counts[number]))
        self.table.forget(number, count)
        self.counts[number] -= count
        if not self.counts[number]:
            del self.counts[number]

    @invariant()
    def books_are_right(self) -> None:
        check_invariants(self.table)
        for number, count in self.counts.items():
            assert self.table.get(number).lookup_count == count

    def teardown(self) -> None:
        for number, count in self.counts.items():
            self.table.forget(number, count)
        check_invariants(self.table)
        assert len(self.table) == 1


TestTable = TableMachine.TestCase


class FoldingTableMachine(TableMachine):
    """The same on a server that ignores case."""

    fold = staticmethod(bytes.lower)


TestFoldingTable = FoldingTableMachine.TestCase
TestTable.settings = TestFoldingTable.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None
)

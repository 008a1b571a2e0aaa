"""Programs that people use, on a mount: they work, and find what they left there."""

from __future__ import annotations

import mmap
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beds.mounted import Mounted
from tests.beds.samba_folder import ROOT
from tests.t6_peers.conftest import MountShare

PATIENCE_S = 120
PROGRAM_C = (
    '#include <stdio.h>\n#include "part.h"\nint main(void) { return !printf("%d\\n", part()); }\n'
)
MAKEFILE = """\
program: main.o part.o
\tgcc -o $@ $^
%.o: %.c part.h
\tgcc -c -o $@ $<
clean:
\trm -f program *.o
"""


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a program that must be installed and must succeed; return what it printed."""
    name = str(command[0])
    if shutil.which(name) is None:
        pytest.fail(f"{name} is not installed: run `./dev setup` as root, or install it")
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A local tree: files of many sizes, folders, a link, an executable, odd names."""
    root = tmp_path / "tree"
    for number in range(60):
        folder = root / f"folder{number % 7}" / f"deeper{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number}.txt").write_bytes(os.urandom(number * number * 37))
    (root / "ümläut — 日本語").write_text("names travel as UTF-16")
    (root / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("folder1/deeper1")
    (root / "empty").mkdir()
    return root


# --- git and C --------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return run("git", *identity, "-c", "safe.directory=*", *arguments, cwd=folder)


@pytest.fixture
def repository(tmp_path: Path, tree: Path) -> Path:
    """A small local repository with some history."""
    root = tmp_path / "repository"
    shutil.copytree(tree, root, symlinks=True)
    git(root, "init", "--quiet", "--initial-branch", "main")
    for number in range(3):
        (root / "run.sh").write_text(f"#!/bin/sh\necho ran {number}\n")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", f"change {number}")
    return root


def test_git_clone_status_commit(work: Path, repository: Path) -> None:
    git(work, "clone", "--quiet", "--no-local", str(repository), "clone")
    clone = work / "clone"
    assert git(clone, "status", "--porcelain") == ""
    assert (clone / "run.sh").read_text() == "#!/bin/sh\necho ran 2\n"
    (clone / "new").write_text("new")
    (clone / "run.sh").write_text("changed")
    assert git(clone, "status", "--porcelain").split() == ["M", "run.sh", "??", "new"]
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "on the mount")
    git(clone, "gc", "--quiet", "--prune=now")
    git(clone, "fsck", "--strict")
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "log", "--oneline").count("\n") == 4
    git(clone, "push", "--quiet", "origin", "HEAD:pushed")
    git(clone, "checkout", "--quiet", "HEAD~2")
    assert (clone / "run.sh").read_text() == "#!/bin/sh\necho ran 1\n"
    assert not (clone / "new").exists()


def test_a_c_program_is_built_and_runs(work: Path) -> None:
    (work / "main.c").write_text(PROGRAM_C)
    (work / "part.h").write_text("int part(void);\n")
    (work / "part.c").write_text('#include "part.h"\nint part(void) { return 42; }\n')
    (work / "Makefile").write_text(MAKEFILE)
    assert "gcc -o program" in run("make", "-j2", cwd=work)
    assert run(work / "program") == "42\n"
    assert "up to date" in run("make", cwd=work)
    (work / "part.c").write_text('#include "part.h"\nint part(void) { return 43; }\n')
    assert run("make", cwd=work).count("gcc") == 2
    assert run(work / "program") == "43\n"
    run("make", "clean", cwd=work)
    assert sorted(path.name for path in work.iterdir()) == [
        "Makefile",
        "main.c",
        "part.c",
        "part.h",
    ]


# --- copies -----------------------------------------------------------------------------------


def rsync(source: Path, target: Path) -> list[str]:
    """What ``rsync -a`` says it changed."""
    said = run("rsync", "-a", "--itemize-changes", f"{source}/", f"{target}/")
    return said.splitlines()


def test_a_second_rsync_sends_nothing(work: Path, tree: Path) -> None:
    target = work / "copy"
    assert len(rsync(tree, target)) > 60
    run("diff", "-r", "--no-dereference", tree, target)
    assert rsync(tree, target) == []
    (tree / "run.sh").write_text("#!/bin/sh\necho other\n")
    assert [line.split()[-1] for line in rsync(tree, target)] == ["run.sh"]


def test_a_second_rsync_from_the_mount_sends_nothing(
    work: Path, tree: Path, tmp_path: Path
) -> None:
    rsync(tree, work / "copy")
    rsync(work / "copy", tmp_path / "back")
    run("diff", "-r", "--no-dereference", tree, tmp_path / "back")
    assert rsync(work / "copy", tmp_path / "back") == []


def test_rsync_as_the_administrator_keeps_owners(mount_share: MountShare, tree: Path) -> None:
    if os.geteuid() == 0:  # others own all their files themselves
        os.chown(tree / "run.sh", 12_345, 54_321)
        os.chown(tree / "folder1", 12_345, 54_321)
    target = mount_share(user=ROOT).path / "administered"
    rsync(tree, target)
    for name in ("run.sh", "folder1"):
        here, there = (tree / name).stat(), (target / name).stat()
        assert (here.st_uid, here.st_gid, here.st_mode) == (
            there.st_uid,
            there.st_gid,
            there.st_mode,
        )
    assert rsync(tree, target) == []


def test_tar_both_ways(work: Path, tree: Path, tmp_path: Path) -> None:
    run("tar", "cf", tmp_path / "out.tar", "-C", tree, ".")
    (work / "unpacked").mkdir()
    run("tar", "xpf", tmp_path / "out.tar", "-C", work / "unpacked")
    assert run("tar", "--compare", "-f", tmp_path / "out.tar", "-C", work / "unpacked") == ""
    run("tar", "cf", work / "back.tar", "-C", work / "unpacked", ".")
    with tarfile.open(tmp_path / "out.tar") as sent, tarfile.open(work / "back.tar") as back:
        assert described(sent) == described(back)
    (tmp_path / "again").mkdir()
    run("tar", "xf", work / "back.tar", "-C", tmp_path / "again")
    run("diff", "-r", "--no-dereference", tree, tmp_path / "again")


def described(archive: tarfile.TarFile) -> set[tuple[str, bytes, int, int, int, str]]:
    return {
        (each.name, each.type, each.size, each.mode, int(each.mtime), each.linkname)
        for each in archive
    }


# --- databases, environments, mappings --------------------------------------------------------


def test_sqlite_with_a_rollback_journal(work: Path) -> None:
    path = work / "database.sqlite"
    with sqlite3.connect(path, isolation_level=None) as database:
        assert database.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
        database.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, text BLOB)")
        for number in range(120):
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO t VALUES (?, ?)", (number, os.urandom(number * 50)))
            database.execute("DELETE FROM t WHERE number = ?", (number - 60,))
            database.execute("ROLLBACK" if number % 10 == 9 else "COMMIT")
        database.execute("VACUUM")
    database.close()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (count,) = database.execute("SELECT count(*) FROM t").fetchone()
    database.close()
    assert count == 54  # 60..119 without the six that were rolled back
    assert [each.name for each in work.iterdir()] == ["database.sqlite"]


def test_a_python_environment(work: Path) -> None:
    run(sys.executable, "-m", "venv", work / "venv")
    python = work / "venv" / "bin" / "python"
    assert run(python, "-c", "import sys; print(sys.prefix)").strip() == str(work / "venv")
    assert "pip" in run(python, "-m", "pip", "--version")


def test_a_mapped_file_is_the_file(work: Path) -> None:
    contents = os.urandom(3_000_001)
    (work / "mapped").write_bytes(contents)
    with (
        (work / "mapped").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
    ):
        assert view[:] == contents
        assert view.find(contents[2_500_000:2_500_100]) == 2_500_000


def test_what_is_written_through_a_mapping_arrives(
    work: Path, mounted: Mounted, on_server: Callable[[Path], Path]
) -> None:
    del mounted
    (work / "mapped").write_bytes(bytes(100_000))
    with (work / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[50_000:50_005] = b"hello"
        view.flush()
        assert os.pread(file.fileno(), 5, 50_000) == b"hello"
    assert on_server(work / "mapped").read_bytes()[50_000:50_005] == b"hello"

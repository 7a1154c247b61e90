"""The power fails: what a disk may hold when a program was killed that ran with powercut.c.

The model, which is as strict as POSIX is, and ext4 and XFS are in their usual modes:

- A completed fsync() or fdatasync() of a file covers its bytes and its size as they were when
  it began. It does not cover the file's name.
- A completed fsync() of a directory covers the names in it, those that came, went and moved. It
  does not cover the directory's own name, nor what is in its files.
- What is not covered may be on the disk or not, each sector of 512 bytes (or each page) by
  itself, in any state that it has had since the last sync. The size of a file may be any that it
  has had since; where its bytes did not make it, there are zeros, never bytes of others.
- Names that are not covered: on half of the cuts they are as a journal keeps them, the first so
  many changes of all, in order. On the others each name is for itself, in any state that it
  has had. Only a rename never loses its file: it has one of the names, or both.
- What is below a directory that has lost its name is gone.

With journal=True it is less strict than POSIX, as ext4, XFS and Btrfs are: names are kept in order,
and the fsync() of a file keeps those that came before it. Who may not open a directory has no
other way to keep a name in it.

Not in the model: sectors that tear, bits that flip, syncs that lie, and syncs that fail.
"""

import collections
import os
import shutil
import struct
from pathlib import Path

WRITE, TRUNCATE, SYNC, CREATE, MKDIR, RENAME, UNLINK, DONE, CANCEL = range(1, 10)
ENTRY = struct.Struct("=7Q")

SECTOR, PAGE = 512, 4096


class Unexplained(Exception):
    """The log and the files differ: something has bypassed the layer."""


class Entry:
    __slots__ = ("type", "sequence", "inode", "a", "b", "bytes1", "bytes2")

    def __init__(self, fields, bytes1, bytes2):
        self.type, self.sequence, self.inode, self.a, self.b = fields
        self.bytes1, self.bytes2 = bytes1, bytes2


def is_volatile(name):
    """As in powercut.c."""
    return name.endswith(("-shm", ".lock", "ballast"))


def read_log(path):
    """The entries that are whole; one that was being written when the program died is not."""
    entries = []
    data = memoryview(path.read_bytes())
    at = 0
    while at + ENTRY.size <= len(data):
        *fields, len1, len2 = ENTRY.unpack_from(data, at)
        at += ENTRY.size
        if at + len1 + len2 > len(data):
            break
        entries.append(Entry(fields, data[at:at + len1], data[at + len1:at + len1 + len2]))
        at += len1 + len2
    return entries


class Tree:
    """Names: directory -> name -> inode. Directories are inodes too."""

    def __init__(self, top):
        self.names, self.paths = {}, {}
        self.top = os.stat(top).st_ino
        self._walk(top, self.top)

    def _walk(self, path, inode):
        entries = self.names[inode] = {}
        with os.scandir(path) as listing:
            for entry in listing:
                if is_volatile(entry.name):
                    continue
                number = entry.inode()
                entries[entry.name] = number
                self.paths[number] = entry.path
                if entry.is_dir(follow_symlinks=False):
                    self._walk(entry.path, number)


class Change:
    """Of one name in one directory. other: where a rename has put the inode."""

    def __init__(self, entry, directory, name, inode, other=None):
        self.sequence, self.directory, self.name = entry.sequence, directory, name
        self.inode = inode  # 0: the name is gone
        self.other = other


def undo(data, entry):
    """Take a write or truncation back, in a bytearray."""
    at = entry.a
    if entry.type == WRITE:
        data[at:at + len(entry.bytes1)] = entry.bytes1
        del data[entry.b:]
    else:
        del data[at:]
        data += entry.bytes1
        data += bytes(entry.b - len(data))


def explains(data, entry):
    """Whether the data is what the entry has left."""
    if entry.type == WRITE:
        end = entry.a + len(entry.bytes2)
        return len(data) == max(entry.b, end) and data[entry.a:end] == entry.bytes2
    return len(data) == entry.a


class Disk:
    """A directory, and what has been logged of it since the last time that all was on the disk.

    A process that dies without the power takes nothing with it: what it has not synced is still
    to be synced by somebody, through any number of lives of the process.
    """

    def __init__(self, directory, shim, journal=False):
        self._journal = journal
        self.directory = Path(directory).resolve()
        self.log = self.directory.with_name(self.directory.name + ".log")
        self.grave = self.directory.with_name(self.directory.name + ".grave")
        self.shim = shim
        self._restart()

    def _restart(self):
        """All is on the disk as it stands."""
        self.log.unlink(missing_ok=True)
        shutil.rmtree(self.grave, ignore_errors=True)
        self.grave.mkdir()
        self._before = self._now = Tree(self.directory)
        self._sequence = 0
        self._writes = collections.defaultdict(list)  # inode -> entries
        self._changes = []
        self._covered = collections.defaultdict(int)  # inode -> the last entry that is
        self._directories = set(self._before.names)

    def environment(self, pause_us=0, lie="", fatal=("", 0)):
        """Of a program with the layer; powercut.c tells what all of this is."""
        return {
            "LD_PRELOAD": str(self.shim),
            "POWERCUT_DIRECTORY": str(self.directory),
            "POWERCUT_LOG": str(self.log),
            "POWERCUT_GRAVE": str(self.grave),
            "POWERCUT_PAUSE_US": str(pause_us),
            "POWERCUT_LIE": lie,
            "POWERCUT_FATAL_FILE": fatal[0],
            "POWERCUT_FATAL_WRITE": str(fatal[1]),
        }

    # ---- what has happened ----

    def collect(self):
        """The process has ended: sort its log by file and by name."""
        self._now = Tree(self.directory)
        entries = read_log(self.log) if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        for i, entry in enumerate(entries):
            following = entries[i + 1] if i + 1 < len(entries) else None
            entry.sequence += self._sequence
            if following and following.type == CANCEL:
                continue
            if entry.type == SYNC:
                self._covered[entry.inode] = max(self._covered[entry.inode],
                                                 entry.a + self._sequence)
            elif entry.type in (WRITE, TRUNCATE):
                self._note_write(entry, following is None)
            elif entry.type not in (DONE, CANCEL):
                self._note_change(entry, following)
        self._sequence += len(entries) + 1

    def _path(self, inode):
        buried = self.grave / str(inode)
        return buried if buried.exists() else Path(self._now.paths[inode])

    def _note_write(self, entry, is_last):
        if is_last and not self._finish_write(entry):
            return
        self._writes[entry.inode].append(entry)

    def _finish_write(self, entry):
        """The last of all may have been done in part, or not at all; it is put down as it was."""
        data = self._path(entry.inode).read_bytes()
        if entry.type == TRUNCATE:
            return len(data) == entry.a
        there = data[entry.a:entry.a + len(entry.bytes2)]
        if len(data) == entry.b and there == entry.bytes1:
            return False
        entry.bytes2 = there
        return True

    def _note_change(self, entry, following):
        name = bytes(entry.bytes1).decode()
        there = self._now.names.get(entry.a, {}).get(name, 0)
        if entry.type in (CREATE, MKDIR):
            inode = following.inode if following else there
            if not inode:
                return
            if entry.type == MKDIR:
                self._directories.add(inode)
            self._changes.append(Change(entry, entry.a, name, inode))
        elif entry.type == UNLINK:
            if following or not there:
                self._changes.append(Change(entry, entry.a, name, 0))
        else:
            name2 = bytes(entry.bytes2).decode()
            if not following and there == entry.inode:
                return
            place = (entry.b, name2)
            self._changes.append(Change(entry, *place, entry.inode))
            self._changes.append(Change(entry, entry.a, name, 0, other=place))

    # ---- whether that is all ----

    def _check_names(self):
        names = {inode: dict(entries) for inode, entries in self._before.names.items()}
        for inode in self._directories:
            names.setdefault(inode, {})
        for change in self._changes:
            if change.inode:
                names[change.directory][change.name] = change.inode
            else:
                names[change.directory].pop(change.name, None)
        for inode, entries in self._now.names.items():
            if names.get(inode) != entries:
                raise Unexplained(f"directory {inode} has {entries}, not {names.get(inode)}")

    def _check_writes(self):
        """Back to the beginning: each state must be the one that the entry before has left."""
        for inode, entries in self._writes.items():
            data = bytearray(self._path(inode).read_bytes())
            for entry in reversed(entries):
                if not explains(data, entry):
                    raise Unexplained(f"{self._path(inode)}: entry {entry.sequence} wrote "
                                      f"{len(entry.bytes2)} bytes at {entry.a}; "
                                      f"they are not there in {len(data)} bytes")
                undo(data, entry)

    # ---- what is left of it ----

    def cut(self, rng):
        """The power fails, and comes back. Returns what was drawn, in words."""
        self.collect()
        self._check_names()
        self._check_writes()
        share = rng.choice((0, 0, 1, 0.1, 0.5, 0.9))
        unit = rng.choice((SECTOR, PAGE))
        is_ordered = rng.random() < 0.5 or self._journal
        names = self._draw_names(rng, share, is_ordered)
        for inode, entries in self._writes.items():
            left = [e for e in entries if e.sequence > self._covered_of(inode)]
            if left:
                path = self._path(inode)
                path.write_bytes(draw_bytes(rng, share, unit, path.read_bytes(), left))
        self._rebuild(names, rng)
        self._restart()
        return f"kept {share} of what was not synced, by {unit} bytes, names " + (
            "in order" if is_ordered else "each for itself")

    def _draw_names(self, rng, share, is_ordered):
        names = {inode: dict(entries) for inode, entries in self._before.names.items()}
        for inode in self._directories:
            names.setdefault(inode, {})
        keep = self._draw_prefix(rng, share) if is_ordered else self._draw_each(rng, share)
        for change in self._changes:
            if change not in keep:
                continue
            if change.inode:
                names[change.directory][change.name] = change.inode
            else:
                names[change.directory].pop(change.name, None)
        return names

    def _covered_of(self, inode):
        """Inode 0: a sync of the whole file system."""
        return max(self._covered[inode], self._covered[0])

    def _is_covered(self, change):
        if self._journal:
            return change.sequence <= max(self._covered.values(), default=0)
        return change.sequence <= self._covered_of(change.directory)

    def _draw_prefix(self, rng, share):
        """As a journal does it."""
        sequences = sorted({c.sequence for c in self._changes})
        last = max((c.sequence for c in self._changes if self._is_covered(c)), default=0)
        for sequence in sequences:
            if sequence > last and rng.random() < share:
                last = sequence
            elif sequence > last:
                break
        return {c for c in self._changes if c.sequence <= last}

    def _draw_each(self, rng, share):
        """The first so many changes of each name, at least those that are covered."""
        of_name = collections.defaultdict(list)
        for change in self._changes:
            of_name[change.directory, change.name].append(change)
        keep = set()
        for changes in of_name.values():
            for change in changes:
                if not self._is_covered(change) and rng.random() >= share:
                    break
                keep.add(change)
        # A rename that has taken the old name away has put the new one there, and so on.
        for change in reversed(self._changes):
            if change in keep and change.other:
                keep.update(c for c in of_name[change.other] if c.sequence <= change.sequence)
        return keep

    def _rebuild(self, names, rng):
        """A new tree of links to the files of the old one."""
        old = self.directory.with_name(self.directory.name + ".old")
        new = self.directory.with_name(self.directory.name + ".new")
        paths = {inode: str(self._path(inode)) for entries in names.values()
                 for inode in entries.values()}
        self._build(new, self._before.top, names, paths)
        self._keep_volatile(new, rng)
        self.directory.rename(old)
        new.rename(self.directory)
        shutil.rmtree(old)

    def _build(self, path, inode, names, paths):
        path.mkdir(mode=0o700)
        for name, number in names[inode].items():
            if number in names:
                self._build(path / name, number, names, paths)
            else:
                os.link(paths[number], path / name)

    def _keep_volatile(self, new, rng):
        """Shared memory may have reached the disk, as it was, in part, or not."""
        for path in self.directory.rglob("ballast"):
            if (new / path.relative_to(self.directory)).parent.is_dir():
                path.rename(new / path.relative_to(self.directory))
        for path in self.directory.rglob("*-shm"):
            to = new / path.relative_to(self.directory)
            if to.parent.is_dir() and rng.random() < 0.5:
                data = path.read_bytes()
                to.write_bytes(data if rng.random() < 0.5 else data[:rng.randrange(len(data) + 1)])


def sizes_of(size, entries):
    """All that the file has had."""
    sizes = [size]
    for entry in entries:
        end = entry.a + len(entry.bytes2)
        sizes.append(max(entry.b, end) if entry.type == WRITE else entry.a)
    return sizes


def units_of(entry, unit):
    """Numbers of the units that an entry has changed."""
    if entry.type == WRITE:
        first, end = min(entry.a, entry.b), entry.a + len(entry.bytes2)
    else:
        first, end = min(entry.a, entry.b), max(entry.a, entry.b)
    return range(first // unit, (end + unit - 1) // unit)


def apply(piece, start, entry):
    """Do the part of an entry that falls into a piece of a file which begins at start."""
    end = start + len(piece)
    if entry.type == TRUNCATE:
        cut = min(max(entry.a, start), end)
        piece[cut - start:] = bytes(end - cut)
        return
    first, last = max(entry.a, start), min(entry.a + len(entry.bytes2), end)
    if first < last:
        piece[first - start:last - start] = entry.bytes2[first - entry.a:last - entry.a]


def draw_bytes(rng, share, unit, data, entries):
    """What may be in a file, when these entries, its last ones, are not synced."""
    if share == 1:
        return data
    old = bytearray(data)
    for entry in reversed(entries):
        undo(old, entry)
    if share == 0:
        return old
    sizes = sizes_of(len(old), entries)
    size = rng.choice(sizes)
    image = bytearray(old) + bytes(max(sizes) + unit - len(old))
    of_unit = collections.defaultdict(list)
    for entry in entries:
        for number in units_of(entry, unit):
            of_unit[number].append(entry)
    for number, changes in of_unit.items():
        piece = image[number * unit:(number + 1) * unit]
        for entry in changes:
            if rng.random() >= share:
                break
            apply(piece, number * unit, entry)
        image[number * unit:number * unit + len(piece)] = piece
    return image[:size]

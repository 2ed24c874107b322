"""A sync that fails may have lost what it was to write, and the next one says that all is well.

So what a failed sync was about is not trusted again, whatever can still be read of it: that is the kernel's memory.
"""

from __future__ import annotations

import os

import pytest
from test_folder_staging import csv_batch, order

from filemill.durable import Durable, Failpoints
from filemill.model.runs import ChunkRange
from filemill.ports.sink import SinkContext
from filemill.sinks.folder import FolderSink
from filemill.sinks.folder_options import FolderOptions

pyrage = pytest.importorskip("pyrage")
IDENTITY = pyrage.x25519.Identity.generate()


def make(root, fail, encrypt=""):
    context = SinkContext(
        "out",
        FolderOptions(folder=str(root), **({"encrypt": encrypt} if encrypt else {})),
        "UTC",
        Durable(Failpoints("server", fail)),
    )
    context.keepers = (str(IDENTITY.to_public()),) if encrypt else ()
    sink = FolderSink(context)
    sink.prepare()
    return sink


def join(sink):
    """Two parts, joined; how far it is behind the first, and the joining."""
    joining = sink.joining(7)
    for number in range(2):
        stager = sink.stager([order(0, chunk=ChunkRange(number, 0, 0, 1, 1))])
        stager.write(csv_batch([(0, f"{number},x")]))
        ((made,),) = stager.finish().values()
        received = sink.receive(made)
        stager.release()
        joining.append(received)
        sink.forget([received.staged])
    return joining.mark(), joining


@pytest.mark.parametrize("point", ["sync_file:1", "sync_directory:3"])
def test_what_was_joined_is_joined_anew(tmp_path, point):
    sink = make(tmp_path, "")
    mark, joining = join(sink)
    joining.leave()
    failing = make(tmp_path, f"{point}:EIO")
    joining = failing.joining(7, mark)
    with pytest.raises(OSError, match="injected"):
        joining.finish()
    joining.leave()
    assert sink.joining(7, mark) is None
    assert os.listdir(tmp_path / ".filemill") == []


def test_what_was_encrypted_is_encrypted_anew(tmp_path):
    from filemill.encryption.age import Opener

    sink = make(tmp_path, "", str(IDENTITY.to_public()))
    mark, joining = join(sink)
    joining.leave()
    failing = make(tmp_path, "sync_file:1:EIO", str(IDENTITY.to_public()))
    joining = failing.joining(7, mark)
    opener = Opener(str(IDENTITY))

    def encrypted(joining):
        joined = joining.joined()

        def pour(out):
            with open(joined.path, "rb") as spool:
                opener.stream(spool, out, ours=True)

        joining.sealed(sink.seal_up(pour, joined.target))
        return joined.target

    target = encrypted(joining)
    with pytest.raises(OSError, match="injected"):
        joining.finish()
    assert not os.path.exists(target)
    joining.leave()
    again = sink.joining(7, mark)
    encrypted(again)
    output = again.finish()
    with open(output.staged, "rb") as made:
        assert pyrage.decrypt(made.read(), [IDENTITY]) == b"a,b\n0,x\n1,x\n"

"""A throw-away Ceph cluster with an S3 gateway, for the store's tests.

    python radosgw.py PORT FOLDER KEY

One monitor, one object store in memory and one gateway on 127.0.0.1:PORT, with everything they write in
FOLDER (a short path: their sockets lie in it). KEY is the access key and the secret key of the one user.
Runs until SIGTERM, which ends all three. Needs ceph-mon, ceph-osd, ceph-common and radosgw.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from types import FrameType

from tests.support.waiting import PATIENCE

_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{monitor}
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
# The gateway asks for encryption, which is not to be had without cephx.
ms mon client mode = crc
run dir = {folder}
admin socket = {folder}/$cluster-$name.asok
pid file =
log file = {folder}/$cluster-$name.log
mon cluster log file = {folder}/cluster.log
crash dir = {folder}
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon data avail crit = 1
mon max pg per osd = 1000
mon warn on pool no redundancy = false
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 64
"""


class Cluster:
    """The programs of one cluster and the folder that they share."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.fsid = str(uuid.uuid4())
        self.monitor = _free_port()
        self.configuration = folder / "ceph.conf"
        text = _CONFIGURATION.format(fsid=self.fsid, monitor=self.monitor, folder=folder, port=port)
        self.configuration.write_text(text, "utf-8")
        for name in ("mon", "osd", "rgw"):
            (folder / name).mkdir()
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of Ceph to its end."""
        command = [program, "--conf", str(self.configuration), *arguments]
        subprocess.run(command, check=True, timeout=PATIENCE)

    def start(self, program: str, *arguments: str) -> None:
        """Start a daemon of Ceph as a child."""
        self.running.append(
            subprocess.Popen([program, "--conf", str(self.configuration), "--foreground", *arguments])
        )

    def up(self, key: str) -> None:
        """Start all daemons, in the order in which they need each other."""
        monmap = str(self.folder / "monmap")
        address = f"[v2:127.0.0.1:{self.monitor}]"
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", address, monmap)
        self.run("ceph-mon", "--mkfs", "--id", "a", "--monmap", monmap)
        self.start("ceph-mon", "--id", "a")
        osd = str(uuid.uuid4())
        self.run("ceph", "--connect-timeout", f"{PATIENCE:.0f}", "osd", "new", osd)
        self.run("ceph-osd", "--mkfs", "--id", "0", "--osd-uuid", osd)
        self.start("ceph-osd", "--id", "0")
        user = ["user", "create", "--uid", "farm", "--display-name", "farm"]
        self.run("radosgw-admin", *user, "--access-key", key, "--secret-key", key)
        self.start("radosgw", "--name", "client.rgw")

    def down(self) -> None:
        """End all daemons; nothing is kept, so nothing needs time to be written."""
        for process in reversed(self.running):
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit


def main(port: int, folder: Path, key: str) -> None:
    """Run the cluster until this process is told to end, or the gateway ends."""
    signal.signal(signal.SIGTERM, _end)
    cluster = Cluster(folder, port)
    try:
        cluster.up(key)
        cluster.running[-1].wait()
    finally:
        cluster.down()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

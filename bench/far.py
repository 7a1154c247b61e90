"""far - a link with a long round trip, from here to somebody far away

The calling process moves into a network namespace of its own, and another one
is at the far end. Neither has a name: both are gone when the last process in
them is, however it ended. The delay is made by tc netem, or by slowlink where
the kernel has no netem.
"""

import ctypes
import fcntl
import os
import struct
import subprocess

NEAR, FAR = "192.0.2.1", "192.0.2.2"  # TEST-NET-1 (RFC 5737)
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN = 1
QUEUE_LENGTH = 10000  # packets; the 500 of a TUN device would drop what a fast sender sends


def new_namespace():
    """Into a network namespace of our own; os.unshare() came with Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(),
                      "a network namespace is needed, which only root can make")


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                            check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.stderr.strip()}")


def open_tun(name):
    """None where there are none."""
    if not os.path.exists("/dev/net/tun"):
        return None
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN))
    return descriptor


class FarLink:
    """One end is here: processes that are started from now on are at the near end."""

    def __init__(self, options):
        self.one_way_ms = options.round_trip / 2
        self.slowlink = None
        new_namespace()
        self.far = os.open("/proc/self/ns/net", os.O_RDONLY)
        far_tun = open_tun("link")
        new_namespace()
        self.enter_far = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.far}")
        try:
            self.use_netem()
            self.how = "tc netem"
        except RuntimeError:
            self.use_slowlink(options.tools / "slowlink", far_tun)
            self.how = "slowlink, as this kernel has no netem"
        if far_tun is not None:
            os.close(far_tun)
        run("ip", "link", "set", "lo", "up")

    def use_netem(self):
        run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far",
            "netns", f"/proc/{os.getpid()}/fd/{self.far}")
        try:
            for prefix, name in (((), "near"), (self.enter_far, "far")):
                run(*prefix, "tc", "qdisc", "add", "dev", name, "root", "netem",
                    "delay", f"{self.one_way_ms}ms", "limit", 10 * QUEUE_LENGTH)
        except RuntimeError:
            run("ip", "link", "delete", "near")
            raise
        self.bring_up("near", "far")

    def use_slowlink(self, program, far_tun):
        near_tun = open_tun("link")
        if near_tun is None:
            raise RuntimeError("neither tc netem nor /dev/net/tun is here to make a delay")
        self.slowlink = subprocess.Popen(
            [program, str(round(self.one_way_ms)), str(near_tun), str(far_tun)],
            pass_fds=(near_tun, far_tun))
        os.close(near_tun)
        self.bring_up("link", "link")

    def bring_up(self, near, far):
        for prefix, name, here, there in (((), near, NEAR, FAR),
                                          (self.enter_far, far, FAR, NEAR)):
            run(*prefix, "ip", "address", "add", here, "peer", there, "dev", name)
            run(*prefix, "ip", "link", "set", "dev", name, "txqueuelen", QUEUE_LENGTH, "up")

    def close(self):
        if self.slowlink:
            self.slowlink.kill()
            self.slowlink.wait()
        os.close(self.far)

"""Where the hosts of a how-to stand: at its addresses and ports, or, where only root may, elsewhere."""

import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000

PORTS = {"smtp": 25, "smtps": 465, "submission": 587, "imap": 143, "imaps": 993, "pop3": 110,
         "pop3s": 995}


class Network:
    """
    As root a network namespace with these addresses, and the ports of the services. Processes
    started from now on are in it; it goes with the process of the test. Else addresses of
    loopback, and free ports.
    """

    def __init__(self, site, addresses):
        self._site, self._ports = site, {}
        self.is_private = os.geteuid() == 0
        if self.is_private:
            self._enter(addresses)
        self._addresses = dict(zip(addresses, addresses if self.is_private else
                                   [f"127.16.108.{100 + i}" for i in range(len(addresses))]))

    def _enter(self, addresses):
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            self.is_private = False
            return
        commands = ["link set lo up"] + [f"address add {a}/32 dev lo" for a in addresses]
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)

    def address(self, address):
        """Where a host of the how-to is here."""
        return self._addresses[address]

    def port(self, address, service):
        if self.is_private:
            return PORTS[service]
        key = (address, service)
        if key not in self._ports:
            self._ports[key] = self._site.port(self.address(address))
        return self._ports[key]

    def at(self, address, service):
        """"ADDRESS:PORT", for s_client."""
        return f"{self.address(address)}:{self.port(address, service)}"

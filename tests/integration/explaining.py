"""Configurations to ask `posthouse explain` about; no server runs."""

import json


class Explained:
    """A directory with a configuration; text(ADDRESS...), json(ADDRESS...)."""

    def __init__(self, directory, posthouse, certs):
        self.directory, self.config = directory, directory / "main.conf"
        self._posthouse, self._certs = posthouse, certs

    def configure(self, mode, files, **parameters):
        """The lines of parameters are in the order given here: queue_directory is line 4."""
        defaults = {
            "mode": mode,
            "myhostname": "mta.vm1.vm",
            "mydomain": "vm1.vm",
            "queue_directory": "queue",
            "run_directory": "run",
            "smtpd_tls_cert_file": f"{self._certs}/hub.pem",
            "smtpd_tls_key_file": f"{self._certs}/hub.key",
            "smtpd_tls_CAfile": f"{self._certs}/ca.pem",
        }
        self.parameters = {**defaults, **parameters}
        self.config.write_text("".join(f"{name} = {value}\n"
                                       for name, value in self.parameters.items()))
        for name, text in files.items():
            (self.directory / name).write_text(text)
            (self.directory / name).chmod(0o600)
        return self

    def hub(self, routes="", **parameters):
        return self.configure("hub", {"ts": routes}, transport_maps="hash:ts",
                              **{"relay_domains": "vm2.vm, .vm2.vm", **parameters})

    def edge(self, **parameters):
        return self.configure("edge", {"users": "alice@vm1.vm:{PLAIN}alice::::::\n"}, **parameters)

    def line(self, parameter):
        """Where it stands: "main.conf:7"."""
        return f"{self.config}:{list(self.parameters).index(parameter) + 1}"

    def run(self, *arguments):
        return self._posthouse("explain", *arguments, config=self.config)

    def text(self, *arguments):
        got = self.run(*arguments)
        assert got.returncode == 0, got.stderr
        return got.stdout

    def json(self, *arguments):
        return [json.loads(line) for line in self.text("--json", *arguments).splitlines()]


def words(text):
    """Lines with their columns joined by single spaces, to look for."""
    return [" ".join(line.split()) for line in text.splitlines()]

"""servers - the hubs that are compared, each set up in a directory of its own

A server takes mail for bench.test on its port and passes all of it to the
sink, unless it is given other next hops. Each is used from the same generator with the same certificates, is
asked for the same TLS in and out, and syncs before its 250.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HOST = "127.0.0.1"
DOMAIN = "bench.test"
START_S = 20
STOP_S = 30


def free_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


class Server:
    """What starting, waiting for and stopping a server have in common."""

    name = None
    poll_s = 0.05

    def __init__(self, options, group):
        self.directory = options.directory / self.name
        self.directory.mkdir()
        self.tls = options.tls  # none, starttls or implicit
        self.certs = options.certs
        self.group = group
        self.port = free_port()
        self.sink_host = options.sink_host
        self.sink_port = free_port()
        self.next_hops = {DOMAIN: (self.sink_host, self.sink_port)}
        self.process = None
        self.log = self.directory / "log"

    @staticmethod
    def problem(_options):
        """Why it cannot be run here, or None."""
        return None

    def pids(self):
        return self.group.pids()

    def cpu_seconds(self):
        return self.group.cpu_seconds()

    def launch(self, command):
        """In a session of its own: Postfix's master signals its whole process group."""
        with open(self.directory / "output", "wb") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, preexec_fn=self.group.enter)
        self.group.first = self.process.pid
        deadline = time.monotonic() + START_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start:\n{self.last_words()}")
            time.sleep(self.poll_s)

    def answers(self):
        try:
            with socket.create_connection((HOST, self.port), timeout=1):
                return True
        except OSError:
            return False

    def last_words(self):
        text = ""
        for path in (self.directory / "output", self.log):
            if path.exists():
                text += "".join(path.read_text(errors="replace").splitlines(True)[-10:])
        return text

    def terminate(self):
        self.process.terminate()

    def complaints(self):
        """The log's last lines on mail that did not get through; both servers use these words."""
        if not self.log.exists():
            return ""
        with open(self.log, errors="replace") as lines:
            bad = [line for line in lines if "status=deferred" in line or "status=bounced" in line]
        return "".join(bad[-3:])

    def stop(self):
        """Ends every process of the server, by force those that do not go by themselves."""
        try:
            if self.process and self.process.poll() is None:
                self.terminate()
                self.process.wait(STOP_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{self.name} does not stop: {error}")
        if self.process:
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.group.remove()


class Direct(Server):
    """No server: the generator straight into the sink shows what these two can do."""

    name = "direct"

    def __init__(self, options, group):
        super().__init__(options, group)
        self.port = self.sink_port

    def start(self):
        pass

    def pids(self):
        return []

    def cpu_seconds(self):
        return 0.0


class Posthouse(Server):
    """build/posthouse in mode hub."""

    name = "posthouse"

    def __init__(self, options, group):
        super().__init__(options, group)
        self.binary = options.build / "posthouse"
        self.config = self.directory / "posthouse.conf"
        self.extra = "\n".join(options.posthouse_extra)  # more lines of its configuration

    @staticmethod
    def problem(options):
        binary = options.build / "posthouse"
        return None if binary.exists() else f"{binary} is not there"

    def start(self):
        listener = "smtps" if self.tls == "implicit" else "smtp"
        transport = "relay-smtps" if self.tls == "implicit" else "relay"
        routes = ", ".join(f"{{ {domain} = {transport}:[{host}]:{port} }}"
                           for domain, (host, port) in self.next_hops.items())
        level = "none" if self.tls == "none" else "encrypt"
        user = "root" if os.geteuid() == 0 else ""  # it would become one that may not exist here
        self.config.write_text(f"""\
mode = hub
myhostname = hub.test
listen = {listener}://{HOST}:{self.port}
user = {user}
queue_directory = {self.directory}/queue
run_directory = {self.directory}/run
log_destination = file:{self.log}
relay_domains = {" ".join(self.next_hops)}
transport_maps = inline:{{ {routes} }}
smtpd_tls_security_level = {level}
smtpd_tls_cert_file = {self.certs.cert}
smtpd_tls_key_file = {self.certs.key}
smtp_tls_security_level = {level}
smtp_tls_CAfile = {self.certs.ca}
{self.extra}
""")
        for name in ("queue", "run"):
            (self.directory / name).mkdir(exist_ok=True)
        self.launch([str(self.binary), "-c", str(self.config), "run"])


class Postfix(Server):
    """Postfix with a configuration, a queue and processes of its own."""

    name = "postfix"
    MASTER = """\
{service}  inet  n - n - -    smtpd{smtpd_options}
cleanup    unix  n - n - 0    cleanup
qmgr       unix  n - n 300 1  qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - -    trivial-rewrite
bounce     unix  - - n - 0    bounce
defer      unix  - - n - 0    bounce
trace      unix  - - n - 0    bounce
anvil      unix  - - n - 1    anvil
scache     unix  - - n - 1    scache
tlsproxy   unix  - - n - 0    tlsproxy
smtp       unix  - - n - -    smtp
relay      unix  - - n - -    smtp{smtp_options}
error      unix  - - n - -    error
retry      unix  - - n - -    error
postlog    unix-dgram n - n - 1 postlogd
"""

    def __init__(self, options, group):
        super().__init__(options, group)
        self.config = self.directory / "etc"
        self.extra = "\n".join(options.postfix_extra)

    @staticmethod
    def problem(_options):
        if not os.access("/usr/sbin/postfix", os.X_OK):
            return "it is not installed; on Debian: apt-get install postfix"
        if os.geteuid() != 0:
            return "only root can start it"
        return None

    def start(self):
        wrapper = self.tls == "implicit"
        data = self.directory / "data"
        for directory in (self.config, self.directory / "spool", data):
            directory.mkdir()
        shutil.chown(data, "postfix")
        (self.config / "main.cf").write_text(self.main_cf(data))
        (self.config / "master.cf").write_text(self.MASTER.format(
            service=f"{HOST}:{self.port}",
            smtpd_options="\n  -o smtpd_tls_wrappermode=yes" if wrapper else "",
            smtp_options="\n  -o smtp_tls_wrappermode=yes" if wrapper else ""))
        (self.config / "transport").write_text("".join(
            f"{domain} relay:[{host}]:{port}\n"
            for domain, (host, port) in self.next_hops.items()))
        self.launch(["/usr/sbin/postfix", "-c", str(self.config), "start-fg"])

    def main_cf(self, data):
        """As an operator who wants it fast would have it, with nothing that risks mail."""
        level = "none" if self.tls == "none" else "encrypt"
        return f"""\
compatibility_level = 3.6
queue_directory = {self.directory}/spool
data_directory = {data}
maillog_file = {self.log}
maillog_file_prefixes = {self.directory}
myhostname = hub.test
mydestination =
inet_interfaces = {HOST}
inet_protocols = ipv4
mynetworks = {HOST}
message_size_limit = 52428800
relay_domains = {" ".join(self.next_hops)}
relay_recipient_maps =
local_recipient_maps =
local_transport = error:5.1.1 nobody here
alias_maps =
alias_database =
transport_maps = texthash:{self.config}/transport
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
in_flow_delay = 0
notify_classes =
smtpd_tls_security_level = {level}
smtpd_tls_cert_file = {self.certs.cert}
smtpd_tls_key_file = {self.certs.key}
smtp_tls_security_level = {level}
smtp_tls_CAfile = {self.certs.ca}
smtp_tls_connection_reuse = yes
smtp_tls_session_cache_database = btree:{data}/smtp_scache
{self.extra}
"""

    def terminate(self):
        """The command in the foreground waits for master, and it is master that stops the rest."""
        pid_file = self.directory / "spool/pid/master.pid"
        os.kill(int(pid_file.read_text()), signal.SIGTERM)

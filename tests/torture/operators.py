"""An operator who acts on the queue and on the configuration while mail comes and servers die.

One command at a time, and the book knows of each before it begins. When the server is killed,
the command that runs is cut off with it, or goes on by itself: with no server it may act on the
queue alone. Where that is not wanted (there is a layer around the server, and none around the
command), the command has a configuration with which it can only ask.
"""

import contextlib
import json
import random
import signal
import subprocess
import threading

PAUSE_S = 0.06  # between two commands, on average
PATIENCE_S = 60
KINDS = {"delete": 4, "bounce": 4, "hold": 4, "release": 4, "retry": 3, "reroute": 3,
         "reload": 4, "SIGHUP": 3, "list": 1, "stats": 1}
SENDERS = "back.*"  # notifications are nobody's to delete: their sender is empty
REFUSED = (74, 77, 78)


class Operators:
    def __init__(self, place, book, seed, may_act_alone):
        self._place, self._book = place, book
        self._command = place.command(may_act_alone)
        self._rng = random.Random(seed)
        self._may_act, self._is_over = threading.Event(), threading.Event()
        self._is_steady = False
        self._acts = threading.Lock()  # held while a command runs
        self._process, self._server = None, None
        self.actions, self.reloads = 0, 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # ---- when ----

    def resume(self, server, is_steady=True):
        """is_steady: nothing but a kill that settle() is told of ends the server."""
        self._server, self._is_steady = server, is_steady
        self._may_act.set()

    def pause(self):
        """Returns when no command runs any more."""
        self._may_act.clear()
        with self._acts:
            pass

    def unsettle(self):
        """From now on commands may fail, as the server is about to end."""
        self._is_steady = False

    def settle(self, is_cut_off):
        """The server is gone: so is, when this returns, what runs."""
        self._may_act.clear()
        while not self._acts.acquire(timeout=0.01):
            process = self._process
            if process and is_cut_off:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        self._acts.release()

    def finish(self):
        self._is_over.set()
        self._may_act.set()
        self._thread.join(PATIENCE_S)

    # ---- what ----

    def _run(self):
        while not self._is_over.is_set():
            self._may_act.wait()
            self._is_over.wait(2 * PAUSE_S * self._rng.random())
            with self._acts:
                if self._may_act.is_set() and not self._is_over.is_set():
                    self._act(self._rng.choices(list(KINDS), KINDS.values())[0])

    def act(self, before_wait):
        """One command of the caller's; he kills the server meanwhile. The thread is paused."""
        with self._acts:
            kind = self._rng.choice([kind for kind in KINDS if kind != "SIGHUP"])
            self._act(kind, before_wait)

    def release_all(self):
        """What some action has held."""
        with self._acts:
            self._change("release", None)

    def _act(self, kind, before_wait=None):
        if kind in ("reload", "SIGHUP"):
            self._reload(kind, before_wait)
        elif kind in ("list", "stats"):
            self._call(("queue", kind), before_wait)
        elif kind in ("delete", "bounce") or self._rng.random() < 0.5:
            ids = self._book.choose_open(self._rng, self._rng.choice((1, 5, 40)))
            if ids:
                self._change(kind, ids, before_wait)
        else:
            self._change(kind, None, before_wait)

    def _change(self, kind, ids, before_wait=None):
        domain = self._rng.choice(("", "", "@vm2.vm")) if ids else ""
        arguments = list(ids or ("--all",))
        if kind == "bounce":
            arguments += ["--sender", SENDERS]
        if domain:
            arguments += ["--recipient", domain]
        order = self._book.begin_order(kind, ids, domain)
        _, output = self._call(("queue", kind, "--json", *arguments), before_wait)
        is_answered = is_result(output)
        self._book.end_order(order, is_answered)
        self.actions += is_answered

    def _reload(self, kind, before_wait):
        changes, is_valid = self._place.configurations(self._rng)
        was_steady = self._is_steady
        self._place.configure(**changes)
        if kind == "SIGHUP":
            self._server.send_signal(signal.SIGHUP)
            return
        code, _ = self._call(("reload",), before_wait)
        self.reloads += code == 0 or code in REFUSED
        if was_steady and self._is_steady and (code != 0 if is_valid else code not in REFUSED):
            self._book.note(f"reload with {changes} ends with {code}")

    def _call(self, arguments, before_wait=None):
        """The exit code, and what it says."""
        process = subprocess.Popen([*self._command, *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._process = process
        try:
            if before_wait:
                before_wait(process)
            output, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            self._book.note(f"{arguments} does not end")
        finally:
            self._process = None
        return process.returncode, output


def is_result(output):
    """A cut off command has printed none."""
    with contextlib.suppress(ValueError):
        return "matched" in json.loads(output)
    return False

"""What operators have ordered for messages in the queue, and what must follow from it.

An order is a command for some pairs of an ID and a recipient. It has been answered, or was cut
off by a kill: then it has happened or not, but for all of its pairs or for none.

    delete      answered: the pair waits no more, and does not arrive in a later life, nor is it
                returned by a notification that was made in one
    bounce      answered: the pair does not arrive in a later life; as all the others it has a
                fate at the end, so it is returned unless it has arrived
    hold        answered, and nothing that releases was begun since: the pair is held if it still
                waits, and does not arrive in a later life

In the life of the order itself a pair may still arrive, by an attempt that ran already.
"""

RELEASING = ("release", "bounce", "delete")


class Violation(Exception):
    """A promise was broken."""


class Order:
    def __init__(self, kind, life, pairs):
        self.kind, self.life, self.pairs = kind, life, pairs


class Orders:
    def __init__(self):
        self.answered = {"delete": {}, "bounce": {}, "hold": {}}  # pair -> life
        self._cut_off = {"delete": set(), "bounce": set()}
        self._fresh = []  # (order, pairs of no earlier one), cut off in the life that ends
        self._left = {}  # life -> IDs that were in the queue at its end

    # ---- as it happens ----

    def begin(self, kind, life, pairs, is_for_all):
        if kind in RELEASING and is_for_all:
            self.answered["hold"].clear()  # also of what seemed to be done
        elif kind in RELEASING:
            for pair in pairs:
                self.answered["hold"].pop(pair, None)
        return Order(kind, life, pairs)

    def end(self, order, is_answered):
        if order.kind not in self.answered:
            return
        if is_answered:
            for pair in order.pairs:
                self.answered[order.kind].setdefault(pair, order.life)
        elif order.kind in self._cut_off:
            fresh = [pair for pair in order.pairs if not self.is_ordered(order.kind, pair)]
            self._fresh.append((order, fresh))
            self._cut_off[order.kind].update(order.pairs)

    def is_ordered(self, kind, pair):
        """Whether it may have happened."""
        return pair in self.answered[kind] or pair in self._cut_off[kind]

    def may_be_returned(self, pair, life, report_id):
        """By a notification that the sender receives now."""
        since = self.answered["delete"].get(pair, life)
        return since >= life or report_id in self._left.get(since, ())

    # ---- afterwards ----

    def check(self, queue, life, arrivals, has_fate):
        """has_fate: whether a pair has arrived, or was returned, or is about to be."""
        for kind, orders in self.answered.items():
            for pair, since in orders.items():
                late = [arrived for arrived in arrivals.get(pair, ()) if arrived > since]
                if late:
                    raise Violation(f"{pair} arrived in lives {late}; {kind} was answered in life "
                                    f"{since}")
        for pair, since in self.answered["delete"].items():
            if queue.is_waiting(*pair):
                raise Violation(f"{pair} waits; it was deleted in life {since}")
        for pair, since in self.answered["hold"].items():
            if queue.is_waiting(*pair) and queue.status(*pair) != "held":
                raise Violation(f"{pair} is {queue.status(*pair)}; it was held in life {since}")
        self._check_nobodys(queue)
        self._check_cut_off(queue, has_fate)
        self._left[life] = frozenset(queue.recipients)

    def _check_nobodys(self, queue):
        for message_id, recipients in queue.recipients.items():
            for recipient, status in recipients.items():
                pair = (message_id, recipient)
                if status == "deleted" and not self.is_ordered("delete", pair):
                    raise Violation(f"{pair} was deleted, by nobody")
                if queue.is_returning(*pair) and not self.is_ordered("bounce", pair):
                    raise Violation(f"{pair} is to be returned, as nobody said")

    def _check_cut_off(self, queue, has_fate):
        for order, pairs in self._fresh:
            waiting = [pair for pair in pairs if queue.is_waiting(*pair)]
            if order.kind == "delete":
                done = [pair for pair in pairs if not queue.is_waiting(*pair)
                        and not has_fate(pair)]
                undone = waiting
            else:
                done = [pair for pair in waiting if queue.is_returning(*pair)]
                undone = [pair for pair in waiting if not queue.is_returning(*pair)]
            if done and undone:
                raise Violation(f"half of an action: {order.kind} of {len(pairs)} pairs happened "
                                f"for {done[:3]}, and not for {undone[:3]}")
        self._fresh = []

# SPDX-License-Identifier: Apache-2.0
"""One user who asks for too much: flood HOW COUNT [PID].

Prints what came of it as JSON: how many answers there were of each kind, and whatever else can be counted.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosts.crowd.wire_client import BUS, DOCUMENT, OBJECTS, PEER, TASKS, Client, options
from missiond.bus.wire import message

Result = dict[str, Any]
APPS = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice"
RULE = "type='signal',sender='org.missiond.Agent1'"
LISTENERS = 100
BLOCK = 100
READERS = 12
STORMING, UNANSWERED = 200, 100
"""Connections, and calls on each; the bus allows 256 and 128."""
WAITING = 8
"""As many calls of one connection as may wait for polkit."""


def pipelined(count: int, _pid: int) -> Result:
    """Calls sent without waiting for a single answer."""
    client = Client()
    data = b"".join(client.frame(TASKS, "GetTransientTaskInfo") for _ in range(count))
    sender = threading.Thread(target=client.send, args=(data,))
    sender.start()
    answers = client.answers(count)
    sender.join()
    return {"answers": answers}


def documents(count: int, _pid: int) -> Result:
    """Long answers, asked for on many connections without waiting, and read as fast as can be."""
    clients = [Client() for _ in range(READERS)]
    answers: Counter[str] = Counter()
    readers = []
    for client in clients:
        each = count // READERS
        data = b"".join(client.frame(DOCUMENT, "Introspect") for _ in range(each))
        readers.append(
            threading.Thread(target=lambda client=client, each=each: answers.update(client.answers(each)))
        )
        readers.append(threading.Thread(target=client.send, args=(data,)))
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return {"answers": answers}


def storm(count: int, _pid: int) -> Result:
    """As many calls as the bus lets wait, on each of many connections."""
    clients = [Client() for _ in range(STORMING)]
    answers: Counter[str] = Counter()
    for _ in range(count // (STORMING * UNANSWERED)):
        for client in clients:
            frames = (client.frame(TASKS, "GetTransientTaskInfo") for _ in range(UNANSWERED))
            client.send(b"".join(frames))
        for client in clients:
            answers += client.answers(UNANSWERED)
    return {"answers": answers}


def connections(count: int, _pid: int) -> Result:
    """As many connections as the bus allows, each with a call under way."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64,) * 2)
    clients: list[Client] = []
    refused = ""
    for _ in range(count):
        try:
            clients.append(Client())
        except (OSError, EOFError) as error:
            refused = type(error).__name__
            break
    for client in clients:
        client.send(client.frame(TASKS, "RequestSuspendDelay", "sa{sv}", ("flood", {})))
    answers = sum((client.answers(1) for client in clients), Counter[str]())
    return {"connections": len(clients), "refused": refused, "answers": answers}


def vanish(count: int, _pid: int) -> Result:
    """Connect, call, and be gone before the answer comes."""
    done = 0
    for _ in range(count):
        try:
            client = Client()
        except (OSError, EOFError):  # the bus has not noticed yet how many of us are gone
            time.sleep(0.01)
            continue
        client.send(client.frame(TASKS, "RequestSuspendDelay", "sa{sv}", ("flood", {})))
        client.close()
        done += 1
    return {"vanished": done}


def descriptors(count: int, _pid: int) -> Result:
    """Messages with file descriptors, which the agent takes from nobody who was not asked for one."""
    client = Client(fds=True)
    spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    body = tuple(range(len(spare)))
    answers: Counter[str] = Counter()
    for start in range(0, count, BLOCK):
        for _ in range(min(BLOCK, count - start)):
            client.send(client.frame(PEER, "Ping", "hhhh", body, fd_count=len(spare)), spare)
        answers += client.answers(min(BLOCK, count - start))
    return {"answers": answers}


def deaf(count: int, _pid: int) -> Result:
    """Subscribers that never read, and signals for them."""
    subscribers = [Client() for _ in range(LISTENERS)]
    for each in subscribers:
        each.call(BUS, "AddMatch", "s", (RULE,))
    client = Client()
    answers: Counter[str] = Counter()
    for _ in range(count):
        answer = client.call(TASKS, "RequestSuspendDelay", "sa{sv}", ("x" * 1024, {}))
        answers["" if answer.type == message.RETURN else "refused"] += 1
        client.call(TASKS, "CancelSuspendDelay", "u", (answer.body[0],))
    return {"answers": answers, "subscribers": len(subscribers)}


def tasks(count: int, pid: int) -> Result:
    """Continuous tasks, all of one process; what was granted stays."""
    client = Client()
    answers: Counter[str] = Counter()
    for start in range(0, count, WAITING):
        block = range(start, min(start + WAITING, count))
        for number in block:
            chosen = options(context=str(number), pid=pid)
            client.send(client.frame(TASKS, "StartBackgroundRunning", "asa{sv}", (["taskKeeping"], chosen)))
        answers += client.answers(len(block))
    for _ in range(count // 10):
        client.send(client.frame(TASKS, "RequestSuspendDelay", "sa{sv}", ("flood", options(pid=pid))))
        answers += client.answers(1)
    return {"answers": answers}


def herd(count: int, _pid: int) -> Result:
    """Continuous tasks, each of a process of its own, and all of these die at once."""
    client = Client()
    children = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(count)]
    answers: Counter[str] = Counter()
    for start in range(0, count, WAITING):
        block = children[start : start + WAITING]
        for child in block:
            chosen = options(context=str(child.pid), pid=child.pid)
            client.send(client.frame(TASKS, "StartBackgroundRunning", "asa{sv}", (["taskKeeping"], chosen)))
        answers += client.answers(len(block))
    for child in children:
        child.kill()
        child.wait()
    return {"answers": answers}


def listing(count: int, _pid: int) -> Result:
    """The longest answers there are, asked for and never read."""
    client = Client()
    for _ in range(count):
        client.send(client.frame(OBJECTS, "GetManagedObjects"))
    return {"sent": count}


def groups(count: int, _pid: int) -> Result:
    """Control groups that look like units, made as fast as can be, and removed again."""
    made = [Path(APPS, f"u{number}.scope") for number in range(count)]
    for group in made:
        group.mkdir()
    seconds = time.monotonic()
    for group in made:
        group.rmdir()
    return {"made": count, "removed in": time.monotonic() - seconds}


def freeze(count: int, _pid: int) -> Result:
    """Freeze the owners in all groups of that name, again and again, for so many seconds."""
    groups = list(Path(APPS).glob("app-frozen-*.scope"))
    end, times = time.monotonic() + count, 0
    while time.monotonic() < end:
        for group in groups:
            (group / "cgroup.freeze").write_text("1")
        times += 1
    return {"groups": len(groups), "times": times}


KINDS: dict[str, Callable[[int, int], Result]] = {
    kind.__name__: kind
    for kind in (
        pipelined,
        documents,
        storm,
        connections,
        vanish,
        descriptors,
        deaf,
        tasks,
        herd,
        listing,
        groups,
        freeze,
    )
}


def main() -> None:
    """Do it."""
    how, count, *pid = sys.argv[1:]
    begun = time.monotonic()
    found = KINDS[how](int(count), int(pid[0]) if pid else 0)
    print(json.dumps({**found, "seconds": time.monotonic() - begun}))


if __name__ == "__main__":
    main()

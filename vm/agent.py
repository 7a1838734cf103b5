#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's side of a session.

Says when the machine is ready (the host takes the snapshot then), takes one
job from the host, does its steps in order, streams what happens as JSON lines
and hands the evidence back as a tar stream. Three virtio-serial ports, each
in one direction:

    in        host to guest: a JSON line with the size of a tar, then the tar
    protocol  guest to host: JSON lines, one event each
    out       guest to host: a JSON line with the size of a tar, then the tar

The host never answers while a job runs: an idle guest's clock leaps in
virtual time, so a round trip would cost it minutes.
"""

import ctypes
import errno
import glob
import io
import json
import os
import runpy
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import traceback

sys.path.insert(0, "/patchbench/lib")
import lab  # noqa: F401  imported here so that the snapshot holds it warm
import lan  # noqa: F401
import probes

JOB = "/run/job"
EVIDENCE = "/run/evidence"
LIVEPATCH = "/sys/kernel/livepatch"
# What a reproducer may leave at the most; the guest's memory holds it twice.
KTAP_LIMIT = 8 << 20
EVIDENCE_LIMIT = 128 << 20

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
SYS_FINIT_MODULE = 313
SYS_DELETE_MODULE = 176


class StepFailed(Exception):
    """A step could not be done; the text is for the user."""


def main():
    # When a reproducer eats the memory, it is the one to go.
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("-1000")
    ports = find_ports("in", "protocol", "out")
    protocol = open(ports["protocol"], "wb", buffering=0)
    inward = open(ports["in"], "rb", buffering=0)
    kernel_log = KernelLog()

    def say(event, **fields):
        left = json.dumps({"event": event, **fields}).encode() + b"\n"
        while left:
            left = left[protocol.write(left) :]

    # The boot's own log belongs to the snapshot, not to a variant.
    boot_log = kernel_log.read()
    say("ready", release=os.uname().release, log=boot_log)

    job = receive_job(inward)
    time.clock_settime(time.CLOCK_REALTIME, job["time"])
    say("start")
    clocks = []
    for index, step in enumerate(job["steps"]):
        folder = os.path.join(EVIDENCE, step["name"])
        os.makedirs(folder)
        say("step", index=index, name=step["name"])
        failure = None
        started, real = time.monotonic(), time.time()
        try:
            result = OPERATIONS[step["op"]](step, folder, say)
        except StepFailed as reason:
            failure = str(reason)
        except Exception:
            failure = "the guest agent failed: " + traceback.format_exc()
        seconds = time.monotonic() - started
        # The kernel log counts from boot and packets are stamped by the calendar: this tells how they lie.
        clocks.append({"name": step["name"], "monotonic": started, "real": real, "seconds": seconds})
        with open(os.path.join(folder, "kernel.log"), "w") as log:
            log.write(kernel_log.read())
        if failure is not None:
            say("failed", index=index, reason=failure)
            break
        say("done", index=index, seconds=round(seconds, 3), **(result or {}))
    with open(os.path.join(EVIDENCE, "steps.json"), "w") as file:
        json.dump(clocks, file)
    limit_evidence()
    decode_captures()
    send_evidence(ports["out"])
    say("end")
    # The host ends the machine once it has the evidence.
    while True:
        signal.pause()


def find_ports(*names):
    found = {}
    deadline = time.monotonic() + 10
    while set(names) - set(found):
        if time.monotonic() > deadline:
            raise SystemExit(f"virtio-serial ports {sorted(set(names) - set(found))} are missing")
        for path in glob.glob("/sys/class/virtio-ports/*/name"):
            with open(path) as file:
                found[file.read().strip()] = "/dev/" + path.split("/")[-2]
    return found


def read_exactly(port, size):
    """Reads size bytes; a port reads as empty while the host is not connected."""
    chunks = []
    while size:
        chunk = port.read(min(size, 1 << 16))
        if not chunk:
            time.sleep(0.01)
            continue
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def receive_job(port):
    header = b""
    while not header.endswith(b"\n"):
        header += read_exactly(port, 1)
    archive = io.BytesIO(read_exactly(port, json.loads(header)["size"]))
    os.makedirs(JOB)
    os.makedirs(EVIDENCE)
    # Of its own, so that a full one leaves the rest of the guest room.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40%", "tmpfs", EVIDENCE], check=True)
    with tarfile.open(fileobj=archive) as tar:
        tar.extractall(JOB)
    with open(os.path.join(JOB, "job.json")) as file:
        return json.load(file)


def limit_evidence():
    """Takes the largest files out of evidence that is too large, and says which."""
    files = [path for path in glob.glob(EVIDENCE + "/**", recursive=True) if os.path.isfile(path) and not os.path.islink(path)]
    sizes = {path: os.path.getsize(path) for path in files}
    left_out = []
    while sum(sizes.values()) > EVIDENCE_LIMIT:
        largest = max(sizes, key=sizes.get)
        left_out.append(f"{os.path.relpath(largest, EVIDENCE)}: {sizes.pop(largest)} bytes\n")
        os.unlink(largest)
    if left_out:
        with open(EVIDENCE + "/left-out", "w") as file:
            file.write(f"more than {EVIDENCE_LIMIT >> 20} MiB of evidence; these did not come home:\n" + "".join(left_out))


def send_evidence(port):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(EVIDENCE, arcname=".")
    with open(port, "wb", buffering=0) as out:
        out.write(json.dumps({"size": archive.tell()}).encode() + b"\n")
        # The driver takes no more than it has room for, and says how much that was.
        left = archive.getbuffer()
        while left:
            left = left[out.write(left[: 1 << 16]) :]


def decode_captures():
    """
    The reviewer reads packets as text, so tcpdump says what each frame is. One
    process reads all files: starting one takes longer than reading them.
    """
    captures = sorted(glob.glob(EVIDENCE + "/*/*.pcap"))
    if not captures:
        return
    with open("/run/captures", "w") as file:
        file.writelines(path + "\n" for path in captures)
    command = ["tcpdump", "-Z", "root", "-nn", "-e", "-v", "-l", "-V", "/run/captures"]
    decoded = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    # It says on standard error which file comes next, and writes line by line.
    for part in (b"\n" + decoded).split(b"\nreading from file ")[1:]:
        head, _, text = part.partition(b"\n")
        path = head.decode().split(", link-type")[0]
        with open(path.removesuffix(".pcap") + ".txt", "wb") as file:
            file.write(text if text.endswith(b"\n") or not text else text + b"\n")


class KernelLog:
    """Follows /dev/kmsg (Documentation/ABI/testing/dev-kmsg), dmesg's way of writing."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)

    def read(self):
        lines = []
        while True:
            try:
                record = os.read(self.fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return "".join(lines)
            except OSError as error:
                if error.errno == errno.EPIPE:
                    lines.append("[patchbench: the ring buffer overran here]\n")
                    continue
                raise
            head, _, text = record.partition(";")
            stamp = int(head.split(",")[2])
            message = text.split("\n")[0]
            lines.append(f"[{stamp // 1000000:5d}.{stamp % 1000000:06d}] {unescape(message)}\n")


def unescape(text):
    return text.replace("\\x09", "\t").replace("\\x0a", "\n").replace("\\x5c", "\\")


def modprobe(step, folder, say):
    for module in step["modules"]:
        run = subprocess.run(["modprobe", module], capture_output=True, text=True)
        if run.returncode:
            raise StepFailed(f"modprobe {module}: {run.stderr.strip()}")


def reproduce(step, folder, say):
    """Runs the reproducer, with the probes that the step has; its KTAP goes to the evidence and, line by line, to the host."""
    environment = dict(step["environment"])
    with probes.recorded(step.get("probes"), folder, environment):
        return run_to_end(step | {"environment": environment}, folder, say)


def run_to_end(step, folder, say):
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        run_reproducer(step, folder, write_end)
    os.close(write_end)
    pidfd = os.pidfd_open(child)
    deadline = time.monotonic() + step["deadline"] if step.get("deadline") else None
    with open(os.path.join(folder, "ktap"), "wb") as ktap:
        # A child of the reproducer may hold the pipe for ever: its own end counts.
        try:
            timed_out = follow(read_end, pidfd, deadline, lambda data: forward(data, ktap, say))
        except StepFailed:
            kill_session(child)
            raise
    if timed_out:
        with open(os.path.join(folder, "stacks"), "w") as file:
            file.write(stacks_of_session(child))
    kill_session(child)
    _, status = os.waitpid(child, 0)
    if timed_out:
        raise StepFailed(f"the reproducer did not end within {step['deadline']} s of guest time")
    return {"exit": os.waitstatus_to_exitcode(status)}


def forward(data, ktap, say):
    ktap.write(data)
    for line in data.decode(errors="replace").splitlines():
        say("ktap", line=line)


def follow(stream, pidfd, deadline, take):
    """Passes on complete lines until the process behind pidfd ends; True when the deadline came first."""
    os.set_blocking(stream, False)
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    pending = b""
    size = 0
    while True:
        left = None if deadline is None else (deadline - time.monotonic()) * 1000
        if left is not None and left <= 0:
            return True
        ready = dict(poll.poll(left))
        if stream in ready:
            try:
                chunk = os.read(stream, 1 << 16)
            except BlockingIOError:
                chunk = b""
            if not chunk:
                poll.unregister(stream)
            size += len(chunk)
            if size > KTAP_LIMIT:
                raise StepFailed(f"the reproducer printed more than {KTAP_LIMIT >> 20} MiB")
            lines, newline, pending = (pending + chunk).rpartition(b"\n")
            if newline:
                take(lines + newline)
        elif pidfd in ready or not ready:
            if pending:
                take(pending + b"\n")
            return not ready


def run_reproducer(step, folder, stdout):
    """In the child: becomes the reproducer. Python ones start in this warm interpreter."""
    try:
        os.setsid()
        scratch = os.path.join("/tmp", "reproducer")
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(scratch)
        os.chdir(scratch)
        stderr = os.open(os.path.join(folder, "stderr"), os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.environ.update(step["environment"], PATCHBENCH_EVIDENCE=folder, PATCHBENCH_VARIANT=step["name"])
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("0")
        program = os.path.join(JOB, step["program"])
        os.chmod(program, 0o755)
        with open(program, "rb") as file:
            first_line = file.readline()
        if first_line.startswith(b"#!") and b"python3" in first_line:
            sys.argv = [program]
            sys.path.insert(0, os.path.dirname(program))
            runpy.run_path(program, run_name="__main__")
            sys.stdout.flush()
            os._exit(0)
        os.execv(program, [program])
    except SystemExit as end:
        sys.stdout.flush()
        if isinstance(end.code, str):
            os.write(2, end.code.encode() + b"\n")
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(1)


def session_members(session):
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            yield int(path.split("/")[2])


def kill_session(session):
    for pid in session_members(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def stacks_of_session(session):
    return "".join(describe_task(pid) for pid in session_members(session))


def describe_task(pid):
    return f"{read_text(f'/proc/{pid}/comm').strip()}/{pid}\n{read_text(f'/proc/{pid}/stack')}"


def read_text(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def load(step, folder, say):
    """Inserts a livepatch module and waits for its transition (Documentation/livepatch/livepatch.rst)."""
    with open(os.path.join(JOB, step["module"]), "rb") as module:
        failed = libc.syscall(
            ctypes.c_long(SYS_FINIT_MODULE), module.fileno(), " ".join(step["parameters"]).encode(), 0
        )
    if failed:
        raise StepFailed(f"the kernel refused {step['livepatch']}: {os.strerror(ctypes.get_errno())}")
    state = os.path.join(LIVEPATCH, step["livepatch"])
    if not os.path.isdir(state):
        raise StepFailed(f"{step['livepatch']} was loaded but is no livepatch: {state} is missing")
    if not wait_until(lambda: read_text(state + "/transition").strip() == "0", step["deadline"]):
        report = stalled_tasks("patched")
        with open(os.path.join(folder, "stalled"), "w") as file:
            file.write(report)
        reverse(state, step)
        raise StepFailed(f"the transition stalled for {step['deadline']} s and was reverted; stalled tasks:\n{report}")


def unload(step, folder, say):
    """Disables a livepatch, waits until the kernel let go of it, and removes the module."""
    state = os.path.join(LIVEPATCH, step["livepatch"])
    disable(state)
    if not wait_until(lambda: not os.path.exists(state), step["deadline"]):
        report = stalled_tasks("unpatched")
        with open(os.path.join(folder, "stalled"), "w") as file:
            file.write(report)
        raise StepFailed(f"the unload stalled for {step['deadline']} s; stalled tasks:\n{report}")
    remove_module(step)


def reverse(state, step):
    disable(state)
    if wait_until(lambda: not os.path.exists(state), step["deadline"]):
        remove_module(step)


def disable(state):
    with open(state + "/enabled", "w") as enabled:
        enabled.write("0")


def remove_module(step):
    def gone():
        if libc.syscall(ctypes.c_long(SYS_DELETE_MODULE), step["livepatch"].encode(), os.O_NONBLOCK) == 0:
            return True
        if ctypes.get_errno() == errno.ENOENT:
            return True
        return False

    if not wait_until(gone, step["deadline"]):
        raise StepFailed(f"{step['livepatch']} could not be removed: {os.strerror(ctypes.get_errno())}")


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def stalled_tasks(goal):
    """Names the tasks that have not reached the goal yet, with their kernel stacks (/proc/PID/patch_state)."""
    wanted = {"patched": "1", "unpatched": "0"}[goal]
    stalled = []
    for path in glob.glob("/proc/[0-9]*/task/[0-9]*/patch_state"):
        if read_text(path).strip() not in (wanted, "-1", ""):
            task = os.path.dirname(path)
            stalled.append(f"{read_text(task + '/comm').strip()}/{task.split('/')[-1]}\n{read_text(task + '/stack')}")
    return "".join(stalled) or "(none is left: the transition ended while it was looked at)\n"


def shell(step, folder, say):
    """An interactive shell on the serial console, in the state the steps before it made."""
    say("shell")
    console = os.open("/dev/ttyS0", os.O_RDWR)
    child = os.fork()
    if child == 0:
        os.setsid()
        for fd in (0, 1, 2):
            os.dup2(console, fd)
        libc.ioctl(0, 0x540E, 1)  # TIOCSCTTY
        os.environ.update(step["environment"])
        os.chdir("/root")
        subprocess.run(["stty", "sane", "rows", str(step["rows"]), "cols", str(step["columns"])])
        os.execv("/usr/bin/bash", ["bash", "--rcfile", os.path.join(JOB, "bashrc")])
    os.waitpid(child, 0)


OPERATIONS = {"modprobe": modprobe, "reproduce": reproduce, "load": load, "unload": unload, "shell": shell}

if __name__ == "__main__":
    main()

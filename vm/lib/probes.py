# SPDX-License-Identifier: GPL-2.0-only
"""Kernel probes around a reproducer's run, recorded through tracefs.

Documentation/trace/kprobetrace.rst and ftrace.rst. What cannot be recorded is
written down with its reason and never ends the run: a trace is evidence, no test.
"""

import json
import os
import re
import time
from contextlib import contextmanager

TRACEFS = "/sys/kernel/tracing"
GROUP = "patchbench"
INSTANCE = f"{TRACEFS}/instances/{GROUP}"
# Of memory per CPU, and of text: a stack of 30 functions takes 300 bytes there and 1.5 KiB as text.
BUFFER_KIB = 4096
TEXT_LIMIT = 8 << 20
CLOCKS = {"tai": time.CLOCK_TAI, "mono": time.CLOCK_MONOTONIC}


@contextmanager
def recorded(probes, folder, environment):
    """Records probes while the block runs: FOLDER/trace as tracefs prints it, FOLDER/trace.json about it."""
    if not probes:
        yield
        return
    about = {"clock": None, "probes": [], "notes": []}
    try:
        start(probes, about, environment)
    except OSError as error:
        about["notes"].append(f"nothing was traced: {error}")
    try:
        yield
    finally:
        try:
            stop(about, folder)
        except OSError as error:
            about["notes"].append(f"the trace was not read to its end: {error}")
        with open(f"{folder}/trace.json", "w") as file:
            json.dump(about, file)


def start(probes, about, environment):
    if not os.path.isdir(f"{TRACEFS}/instances"):
        about["notes"].append("nothing was traced: this kernel has no tracefs (CONFIG_FTRACE)")
        return
    if not os.path.exists(f"{TRACEFS}/kprobe_events"):
        about["notes"].append("nothing was traced: this kernel has no kprobe events (CONFIG_KPROBE_EVENTS)")
        return
    os.mkdir(INSTANCE)
    write("tracing_on", "0")
    # The oldest events are kept where there are too many: causes come first.
    write("options/overwrite", "0")
    write("options/sym-offset", "1")
    write("buffer_size_kb", str(BUFFER_KIB))
    clock = next(name for name in CLOCKS if name in read(f"{INSTANCE}/trace_clock").replace("[", " ").replace("]", " ").split())
    write("trace_clock", clock)
    about["clock"] = {"name": clock, "before": offset(CLOCKS[clock])}
    about["probes"] = [install(probe) for probe in probes]
    environment["PATCHBENCH_TRACE_MARKER"] = f"{INSTANCE}/trace_marker"
    write("tracing_on", "1")


def stop(about, folder):
    if not os.path.isdir(INSTANCE):
        return
    write("tracing_on", "0")
    if about["clock"]:
        about["clock"]["after"] = offset(CLOCKS[about["clock"]["name"]])
    installed = [probe for probe in about["probes"] if "event" in probe]
    missed = kprobe_misses()
    for probe in installed:
        write(f"events/{GROUP}/{probe['name']}/enable", "0")
        probe["missed"] = missed.get(probe["name"], 0)
    about["lost"] = lost_events()
    about["cut"] = copy_trace(f"{folder}/trace")
    for probe in installed:
        if probe["stack"]:
            write(f"events/{GROUP}/{probe['name']}/trigger", "!stacktrace")
    os.rmdir(INSTANCE)
    for probe in installed:
        define(f"-:{GROUP}/{probe['name']}")


def install(probe):
    """Installs one probe on the first of its functions that is there; says what it is, or why it is not."""
    name = probe["name"]
    about = {"name": name, "stack": probe["stack"], "return": probe["return"]}
    complaints = []
    for function in probe["functions"]:
        complaint = install_on(function, probe)
        if complaint is None:
            complaint = arm(probe)
            if complaint is None:
                event = next((line for line in read(f"{TRACEFS}/kprobe_events").splitlines() if f":{GROUP}/{name} " in line), "")
                waits = bool(probe["module"]) and not is_loaded(probe["module"]) and f" {probe['module']}:" in event
                return about | {"function": function, "event": event, "waits": waits, "passed_over": complaints}
            define(f"-:{GROUP}/{name}")
        complaints.append(f"{function}: {complaint}")
    return about | {"error": "; ".join(complaints)}


def install_on(function, probe):
    """Defines the event; None, or the kernel's complaint."""
    head = f"{'r' if probe['return'] else 'p'}:{GROUP}/{probe['name']}"
    module, tail = probe["module"], " ".join(probe["fetch"])
    loaded = module and is_loaded(module)
    complaint = define(f"{head} {module + ':' if loaded else ''}{function} {tail}".rstrip())
    # MODULE:FUNCTION of a module that is not there yet waits for it; that it
    # is no part of the image either is known by now.
    if complaint and module and not loaded and not symbols(function):
        complaint = define(f"{head} {module}:{function} {tail}".rstrip())
    return complaint and explained(complaint, function)


def is_loaded(module):
    return any(line.startswith(module + " ") for line in read("/proc/modules").splitlines())


def arm(probe):
    """Sets filter and stack, and switches the event on; None, or the kernel's complaint."""
    event = f"events/{GROUP}/{probe['name']}"
    condition = probe["filter"]
    try:
        if condition:
            write(f"{event}/filter", condition)
    except OSError:
        return f"the filter '{condition}' is refused: {last_line(read(f'{INSTANCE}/{event}/filter'))}"
    try:
        if probe["stack"]:
            # A trigger does not see the event's filter.
            write(f"{event}/trigger", f"stacktrace if {condition}" if condition else "stacktrace")
        write(f"{event}/enable", "1")
    except OSError as error:
        return f"cannot be switched on: {error.strerror}"
    return None


def define(command):
    """Writes to kprobe_events; None, or what the kernel has against it."""
    try:
        append(f"{TRACEFS}/kprobe_events", command + "\n")
    except OSError as error:
        logged = re.findall(r"^\[.*?\] trace_kprobe: error: (.*)\n\s*Command: (.*)$", read(f"{TRACEFS}/error_log"), re.MULTILINE)
        # The log has only what the command's text is to blame for.
        return logged[-1][0] if logged and logged[-1][1].strip() == command else error.strerror
    return None


def explained(complaint, function):
    """A complaint with what kallsyms says of the function."""
    found = symbols(function)
    if not found:
        return f"this kernel has no function of that name ({complaint})"
    if function not in found:
        return f"this kernel has it only as {', '.join(found)}, whose arguments may differ ({complaint})"
    if found.count(function) > 1:
        return f"this kernel has {found.count(function)} functions of that name ({complaint})"
    return complaint


def symbols(function):
    """The names in kallsyms that a function has: its own, and those that the compiler made of it (.isra.0, .constprop.0)."""
    pattern = re.compile(rf"^\S+ [tTwW] ({re.escape(function)}(?:\.(?:isra|constprop|part|cold|llvm)\.?\d*)*)\b(?![.\w])", re.MULTILINE)
    return [name for name in pattern.findall(read("/proc/kallsyms")) if not name.endswith(".cold")]


def offset(clock):
    """How far a clock is ahead of CLOCK_REALTIME, and how exactly that is known; in ns."""
    best = None
    for _ in range(20):
        before = time.clock_gettime_ns(clock)
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(clock)
        if best is None or after - before < best[1]:
            best = ((before + after) // 2 - real, after - before)
    return {"ahead": best[0], "uncertainty": (best[1] + 1) // 2}


def kprobe_misses():
    """Hits that the kernel could not take, by event (kprobe_profile)."""
    lines = (line.split() for line in read(f"{TRACEFS}/kprobe_profile").splitlines())
    return {words[0]: int(words[2]) for words in lines if len(words) == 3}


def lost_events():
    """Events that found no room in the buffers."""
    per_cpu = f"{INSTANCE}/per_cpu"
    text = "".join(read(f"{per_cpu}/{cpu}/stats") for cpu in os.listdir(per_cpu))
    return sum(map(int, re.findall(r"^(?:overrun|dropped events): (\d+)$", text, re.MULTILINE)))


def copy_trace(path):
    """The trace as text; True when there was more of it than is kept."""
    with open(f"{INSTANCE}/trace", "rb") as source, open(path, "wb") as target:
        left = TEXT_LIMIT
        while left and (chunk := source.read(min(left, 1 << 16))):
            target.write(chunk)
            left -= len(chunk)
        return not left and bool(source.read(1))


def write(name, text):
    append(f"{INSTANCE}/{name}", text)


def append(path, text):
    """One write(2): truncating these files means something, and they cannot be seeked."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def last_line(text):
    return text.strip().split("\n")[-1]

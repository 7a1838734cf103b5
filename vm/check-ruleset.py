#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""
Loads each form of the variant's ruleset into an empty namespace, where the
devices that case.yaml names are dummies. One that does not load ends it with
the loader's own words.
"""

import os

from lab import RULESET_LOADERS, Lab, ruleset_path

with Lab() as lab:
    for form in filter(ruleset_path, RULESET_LOADERS):
        namespace = lab.namespace(f"ruleset-{form}")
        for device in os.environ.get("PATCHBENCH_DEVICES", "").split():
            namespace.ip(f"link add {device} type dummy")
        namespace.load_ruleset(form)
        namespace.save_ruleset(form)

#!/usr/bin/env python3
"""Prints a Terraform v4 state of about SIZE bytes with SECRETS marked secrets, the same for the same SEED.

It makes the loads that leasehold is compared under with its peers; here they are what its tests search for planted secrets.

usage: make-state.py SIZE SECRETS [SEED] [SERIAL] [CHANGED]
CHANGED=n gives the n-th resource new attribute values, as one apply would. Every marked secret is the `password` of its
resource; every tenth resource repeats it unmarked in a connection URL, every fifth one inside an innocently named text. With
LEASEHOLD_PEM=1 the secrets are multi-line keys of about 3 KB. The output is at least SIZE bytes.
"""
import json
import os
import random
import sys

size, secrets = int(sys.argv[1]), int(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
serial = int(sys.argv[4]) if len(sys.argv) > 4 else 1
changed = int(sys.argv[5]) if len(sys.argv) > 5 else None
TYPES = ["aws_db_instance", "aws_instance", "aws_security_group", "aws_iam_role", "aws_subnet", "aws_lb_listener", "aws_s3_bucket"]


def text(rng, n):
    return "".join(rng.choice("0123456789abcdef") for _ in range(n))


def resource(index, secret):
    rng = random.Random(f"{seed}/{index}" + ("/changed" if index == changed else ""))
    kind = TYPES[index % len(TYPES)]
    attributes = {
        "arn": f"arn:aws:rds:eu-west-1:{rng.randrange(10**11, 10**12)}:{kind}/{text(rng, 17)}",
        "availability_zone": rng.choice(["eu-west-1a", "eu-west-1b", "eu-west-1c"]),
        "cidr_blocks": [f"10.{rng.randrange(256)}.{rng.randrange(256)}.0/24" for _ in range(3)],
        "created": f"2026-0{rng.randrange(1, 9)}-1{rng.randrange(9)}T0{rng.randrange(9)}:17:0{rng.randrange(9)}Z",
        "description": "managed by terraform, owned by the platform team",
        "id": f"{kind[4:7]}-{text(rng, 17)}",
        "monitoring_interval": rng.randrange(60),
        "ratio": rng.random(),
        "tags": {"Name": f"{kind}-{index}", "cost-center": str(rng.randrange(9999)), "team": rng.choice(["core", "edge", "data"])},
        "timeouts": None,
        "vpc_security_group_ids": [f"sg-{text(rng, 17)}" for _ in range(2)],
    }
    marks = []
    if secret:
        value = text(rng, rng.randrange(16, 40))
        if os.environ.get("LEASEHOLD_PEM"):
            body = "\n".join(text(rng, 64) for _ in range(48))
            value = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
        attributes["password"] = value
        marks = [[{"type": "get_attr", "value": "password"}]]
        if index % 5 == 0:
            attributes["bootstrap"] = f"#!/bin/sh\nexport APP_DSN='{value}'\nexec app --verbose\n"
        if index % 10 == 0:
            attributes["connection"] = f"postgres://app:{value}@db-{index}.internal:5432/app"
    return {
        "mode": "managed", "type": kind, "name": f"r{index}", "provider": 'provider["registry.terraform.io/hashicorp/aws"]',
        "instances": [{"schema_version": 1, "attributes": attributes, "sensitive_attributes": marks,
                       "private": "eyJzY2hlbWFfdmVyc2lvbiI6IjEifQ==", "dependencies": [f"aws_subnet.r{max(0, index - 7)}"]}],
    }


def width(item):  # bytes it takes inside the printed document
    printed = json.dumps(item, indent=2)
    return len(printed) + 4 * (printed.count("\n") + 1) + 2


resources, written, left = [], 0, secrets
every = max(1, int(size / (sum(width(resource(i, i % 2 == 0)) for i in range(70)) / 70)) // secrets) if secrets else 0
while written < size:
    index = len(resources)
    resources.append(resource(index, left > 0 and index % every == 0))
    left -= left > 0 and index % every == 0
    written += width(resources[-1])
state = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "6f2c1d1e-0000-4000-8000-%012d" % seed,
         "outputs": {}, "resources": resources, "check_results": None}
json.dump(state, sys.stdout, indent=2)
sys.stdout.write("\n")

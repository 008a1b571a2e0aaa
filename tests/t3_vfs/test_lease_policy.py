"""What may be believed, and for how long."""

from __future__ import annotations

import math

from smbfs.config.model import MountOptions
from smbfs.vfs.lease_policy import (
    GATHER,
    WRITE_BEHIND,
    WRITE_THROUGH,
    Version,
    lease_policy,
)


def test_actimeo_is_how_long_names_and_attributes_are_believed() -> None:
    policy = lease_policy(MountOptions(actimeo_s=3.5))
    assert policy.entry_timeout_s == policy.attribute_timeout_s == 3.5
    assert policy.negative_timeout_s == 3.5


def test_without_a_cache_nothing_is_believed() -> None:
    policy = lease_policy(MountOptions(cache="none", actimeo_s=60))
    assert policy.entry_timeout_s == policy.attribute_timeout_s == policy.negative_timeout_s == 0
    assert not policy.use_page_cache
    assert not policy.may_keep_pages(Version(1, 2, 0), Version(1, 2, 0))


def test_pages_are_kept_only_of_the_same_version() -> None:
    policy = lease_policy(MountOptions())
    assert policy.may_keep_pages(Version(1, 2, 0), Version(1, 2, 0))
    assert not policy.may_keep_pages(None, Version(1, 2, 0))
    assert not policy.may_keep_pages(Version(1, 2, 0), Version(2, 2, 0))
    assert not policy.may_keep_pages(Version(1, 2, 0), Version(1, 3, 0))


def test_a_loose_cache_needs_no_lease() -> None:
    policy = lease_policy(MountOptions(cache="loose"), leases_granted=True)
    assert policy.block_timeout_s == math.inf
    assert policy.write_rule(is_ours=False) == WRITE_BEHIND
    assert policy.attribute_timeout_s == 1.0


def test_writes_are_as_patient_as_nobody_can_look() -> None:
    policy = lease_policy(MountOptions())
    assert policy.write_rule(is_ours=True) == WRITE_BEHIND
    assert policy.write_rule(is_ours=False) == GATHER
    assert lease_policy(MountOptions(cache="none")).write_rule(is_ours=True) == WRITE_THROUGH

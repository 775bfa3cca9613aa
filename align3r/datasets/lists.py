"""Sequences that papers use, where a list is too long for a line of the table."""

from __future__ import annotations

KITTI_VALIDATION = tuple(
    f"{day}_drive_{drive}_sync"
    for day, drives in (
        ("2011_09_26", "0002 0005 0013 0020 0023 0036 0079 0095 0113"),
        ("2011_09_28", "0037"),
        ("2011_09_29", "0026"),
        ("2011_09_30", "0016"),
        ("2011_10_03", "0047"),
    )
    for drive in drives.split()
)
"""The 13 drives of the validation split of KITTI's depth data."""

SEVEN_SCENES_TEST = tuple(
    f"{scene}/seq-{number}"
    for scene, sequences in (
        ("chess", "03 05"),
        ("fire", "03 04"),
        ("heads", "01"),
        ("office", "02 06 07 09"),
        ("pumpkin", "01 07"),
        ("redkitchen", "03 04 06 12 14"),
        ("stairs", "01 04"),
    )
    for number in sequences.split()
)
"""The sequences in the TestSplit.txt of the scenes of 7-Scenes."""

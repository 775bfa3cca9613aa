"""Sequences that papers use, where a list is too long for a line of the table."""

from __future__ import annotations

SINTEL_DEPTH = tuple(
    "alley_1 alley_2 ambush_2 ambush_4 ambush_5 ambush_6 ambush_7 bamboo_1 bamboo_2 bandage_1 "
    "bandage_2 cave_2 cave_4 market_2 market_5 market_6 mountain_1 shaman_2 shaman_3 sleeping_1 "
    "sleeping_2 temple_2 temple_3".split()
)
"""All training sequences of MPI-Sintel."""

SINTEL_POSE = tuple(
    "alley_2 ambush_4 ambush_5 ambush_6 cave_2 cave_4 market_2 market_5 market_6 shaman_3 "
    "sleeping_1 sleeping_2 temple_2 temple_3".split()
)
"""Those with a moving camera, on which MonST3R and its successors compare paths."""

TUM_DYNAMIC = tuple(
    f"rgbd_dataset_freiburg3_{what}_{path}"
    for what in ("sitting", "walking")
    for path in ("halfsphere", "rpy", "static", "xyz")
)
"""The eight sequences of TUM RGB-D in which people sit or walk, and the camera does four things."""

BONN_DEPTH = tuple(
    f"rgbd_bonn_{name}"
    for name in ("balloon2", "crowd2", "crowd3", "person_tracking2", "synchronous")
)
"""The five sequences of Bonn that MonST3R and its successors measure depth on."""

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

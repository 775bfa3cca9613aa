"""Every data set that can be read: one row each."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from align3r.datasets.depth_sample import DepthSample
from align3r.datasets.image_pair import ImagePair
from align3r.datasets.lists import KITTI_VALIDATION, SEVEN_SCENES_TEST
from align3r.datasets.sequence import Sequence
from align3r.errors import InputError, UsageError


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set, and where its reader is.

    The module has two functions: `names(root, **settings)` gives the names of what is there,
    sorted, and `read(root, name, **settings)` gives what has one of them. What that is, says
    `kind`; each kind has a method of its own here.

    | kind | a name is | it gives | method |
    |---|---|---|---|
    | `video` | a sequence | a `Sequence` | `read` |
    | `pairs` | a scene | a list of `ImagePair` | `read_pairs` |
    | `samples` | an image | a `DepthSample` | `read_sample` |
    | `images` | a shard | images one after the other, with their names | `stream` |
    """

    name: str
    """As it is asked for: `sintel`."""
    title: str
    """As people write it: `MPI-Sintel`."""
    module: str
    """Of `align3r.datasets`."""
    layout: str
    """What a root holds, in one line, for those who have another folder."""
    kind: Literal["video", "pairs", "samples", "images"] = "video"
    """What has a name."""
    terms: str
    """Under which terms it is published."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the reader is called with besides."""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Sequences that papers use, by the name of the list."""

    def names(self, root: Path) -> list[str]:
        """The sequences under a root, sorted; or scenes, samples or shards, by the kind.

        Raises:
            InputError: There are none: it is another folder, or nothing of what is needed.
        """
        if not root.is_dir():
            raise InputError(
                f"there is no folder {root}", hint=f"{self.title} has the layout {self.layout}"
            )
        found: list[str] = self._reader().names(root, **self.settings)
        if not found:
            raise InputError(
                f"{root} holds no sequence of {self.title}", hint=f"its layout is {self.layout}"
            )
        return found

    def read(self, root: Path, name: str) -> Sequence:
        """One sequence.

        Raises:
            InputError: It is not there, is not whole, or a file of it cannot be read; what is
                missing is named.
            UsageError: The data set is of another kind.
        """
        sequence: Sequence = self._read("video", root, name)
        return sequence

    def read_pairs(self, root: Path, name: str) -> list[ImagePair]:
        """The pairs of one scene.

        Raises:
            InputError, UsageError: As `read`.
        """
        pairs: list[ImagePair] = self._read("pairs", root, name)
        return pairs

    def read_sample(self, root: Path, name: str) -> DepthSample:
        """One image with its depth.

        Raises:
            InputError, UsageError: As `read`.
        """
        sample: DepthSample = self._read("samples", root, name)
        return sample

    def stream(self, root: Path, name: str) -> Iterator[tuple[str, np.ndarray]]:
        """The images of one shard: what each is called, and (H, W, 3) uint8 RGB.

        Raises:
            InputError, UsageError: As `read`; also later, when an image is asked for.
        """
        images: Iterator[tuple[str, np.ndarray]] = self._read("images", root, name)
        return images

    def missing(self, root: Path, wanted: str) -> list[str]:
        """Sequences of the list `wanted` that are not under a root."""
        there = set(self.names(root))
        return [name for name in self.lists[wanted] if name not in there]

    def _read(self, kind: str, root: Path, name: str) -> Any:
        if self.kind != kind:
            raise UsageError(
                f"{self.title} holds {self.kind}, not {kind}",
                hint="choose another data set, or read this one as what it is",
            )
        return self._reader().read(root, name, **self.settings)

    def _reader(self) -> Any:
        return importlib.import_module(f"align3r.datasets.{self.module}")


_SINTEL = {
    # Those with a moving camera, on which MonST3R and its successors compare paths.
    "pose": tuple(
        "alley_2 ambush_4 ambush_5 ambush_6 cave_2 cave_4 market_2 market_5 market_6 shaman_3 "
        "sleeping_1 sleeping_2 temple_2 temple_3".split()
    ),
    "depth": tuple(
        "alley_1 alley_2 ambush_2 ambush_4 ambush_5 ambush_6 ambush_7 bamboo_1 bamboo_2 bandage_1 "
        "bandage_2 cave_2 cave_4 market_2 market_5 market_6 mountain_1 shaman_2 shaman_3 "
        "sleeping_1 sleeping_2 temple_2 temple_3".split()
    ),
}
_TUM = {
    "dynamic": tuple(
        f"rgbd_dataset_freiburg3_{what}_{path}"
        for what in ("sitting", "walking")
        for path in ("halfsphere", "rpy", "static", "xyz")
    )
}
_BONN = {
    "depth": tuple(
        f"rgbd_bonn_{name}"
        for name in ("balloon2", "crowd2", "crowd3", "person_tracking2", "synchronous")
    )
}
_SINTEL_LAYOUT = "training/{clean,final,depth,camdata_left,flow}/alley_2"
_STAMPED = "{rgb,depth,rgb.txt,depth.txt,groundtruth.txt}"

ROWS: tuple[Dataset, ...] = (
    Dataset(
        name="sintel",
        title="MPI-Sintel",
        module="sintel",
        layout=_SINTEL_LAYOUT,
        terms="the film is CC BY 3.0; see its page",
        lists=_SINTEL,
    ),
    Dataset(
        name="sintel-final",
        title="MPI-Sintel, final pass",
        module="sintel",
        layout=_SINTEL_LAYOUT,
        terms="the film is CC BY 3.0; see its page",
        settings={"rendering": "final"},
        lists=_SINTEL,
    ),
    Dataset(
        name="tum",
        title="TUM RGB-D",
        module="tum",
        layout=f"rgbd_dataset_freiburg3_walking_xyz/{_STAMPED}",
        terms="CC BY 4.0",
        lists=_TUM,
    ),
    Dataset(
        name="tum-pose",
        title="TUM RGB-D, frames without depth too",
        module="tum",
        layout=f"rgbd_dataset_freiburg3_walking_xyz/{_STAMPED}",
        terms="CC BY 4.0",
        settings={"need": "pose"},
        lists=_TUM,
    ),
    Dataset(
        name="tum-align3r",
        title="TUM RGB-D, paired by row as Align3R's released code does",
        module="tum",
        layout=f"rgbd_dataset_freiburg3_walking_xyz/{_STAMPED}",
        terms="CC BY 4.0",
        settings={"association": "rows"},
        lists=_TUM,
    ),
    Dataset(
        name="bonn",
        title="Bonn RGB-D Dynamic",
        module="bonn",
        layout=f"rgbd_bonn_balloon2/{_STAMPED}",
        terms="see its page",
        lists=_BONN,
    ),
    Dataset(
        name="sceneflow",
        title="SceneFlow: FlyingThings3D, Driving or Monkaa",
        module="sceneflow",
        layout="{frames_finalpass,disparity,camera_data}/TEST/A/0000",
        terms="for research only, no commercial use",
    ),
    Dataset(
        name="pointodyssey",
        title="PointOdyssey",
        module="pointodyssey",
        layout="train/ani/{rgbs,depths,anno.npz}",
        terms="see its page",
    ),
    Dataset(
        name="vkitti2",
        title="Virtual KITTI 2",
        module="vkitti2",
        layout="vkitti_2.0.3_{rgb,depth,textgt}/Scene01/clone",
        terms="CC BY-NC-SA 3.0",
    ),
    Dataset(
        name="tartanair",
        title="TartanAir",
        module="tartanair",
        layout="<environment>/{Easy,Hard}/P000/{image_left,depth_left,flow,pose_left.txt}",
        terms="CC BY 4.0",
    ),
    Dataset(
        name="spring",
        title="Spring",
        module="spring",
        layout="train/0001/{frame_left,disp1_left,cam_data}",
        terms="CC BY 4.0",
    ),
    Dataset(
        name="hypersim",
        title="Hypersim",
        module="hypersim",
        layout="metadata_camera_parameters.csv, ai_001_001/{_detail,images}",
        terms="CC BY-SA 3.0",
    ),
    Dataset(
        name="kitti",
        title="KITTI depth",
        module="kitti",
        layout="{val,train}/<drive>/proj_depth/groundtruth/image_02, <date>/<drive>/image_02/data",
        terms="CC BY-NC-SA 3.0",
        lists={"validation": KITTI_VALIDATION},
    ),
    Dataset(
        name="davis",
        title="DAVIS",
        module="davis",
        layout="JPEGImages/480p/<video>, Annotations/480p/<video>, ImageSets/2017",
        terms="see its page",
    ),
    Dataset(
        name="7scenes",
        title="7-Scenes",
        module="seven_scenes",
        layout="<scene>/seq-01/frame-000000.{color.png,depth.png,pose.txt}",
        terms="Microsoft's, non-commercial research only",
        lists={"test": SEVEN_SCENES_TEST},
    ),
    Dataset(
        name="scannet",
        title="ScanNet",
        module="scannet",
        layout="{.,scans,scans_test}/scene0000_00/{color,depth,pose,intrinsic}",
        terms="ScanNet Terms of Use, non-commercial research and education only",
    ),
    Dataset(
        name="co3d",
        title="CO3Dv2",
        module="co3d",
        layout="<category>/{frame_annotations.jgz, sequence_annotations.jgz, set_lists}, "
        "<category>/<sequence>/{images, depths, depth_masks}",
        terms="CC BY-NC 4.0",
    ),
    Dataset(
        name="co3d-evaluation",
        title="CO3Dv2 with the annotations of PoseDiffusion",
        module="co3d_evaluation",
        layout="<category>_test.jgz, <category>/<sequence>/images",
        terms="CC BY-NC 4.0; of the annotations: see their page",
    ),
    Dataset(
        name="re10k",
        title="RealEstate10K",
        module="re10k",
        layout="{train,test}/<id>.txt, frames/{train,test}/<id>/<microseconds>.{jpg,png}",
        terms="CC BY 4.0; the videos are of others",
    ),
    Dataset(
        name="scannet1500",
        title="ScanNet-1500",
        module="scannet1500",
        layout="test.npz, intrinsics.npz, scannet_test_1500/<scene>/{color, intrinsic}",
        kind="pairs",
        terms="ScanNet's terms of use: research alone",
    ),
    Dataset(
        name="moge",
        title="evaluation samples of MoGe",
        module="moge_samples",
        layout=".index.txt, <sample>/{image.jpg, depth.png, meta.json}; a root for each data set",
        kind="samples",
        terms="those of each data set: see its page",
    ),
    Dataset(
        name="sa1b",
        title="SA-1B",
        module="sa1b",
        layout="sa_<shard>.tar, or sa_<shard>/sa_<id>.jpg",
        kind="images",
        terms="SA-1B's licence: research alone",
    ),
    Dataset(
        name="rgbd",
        title="sequences of your own in TUM layout",
        module="rgbd",
        layout="<sequence>/{camera.json, rgb.txt, depth.txt, groundtruth.txt}",
        terms="yours",
    ),
)

DATASETS: dict[str, Dataset] = {row.name: row for row in ROWS}


def dataset(name: str) -> Dataset:
    """The row of a data set.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise UsageError(
            f"there is no data set {name!r}", hint=f"those known are {', '.join(DATASETS)}"
        ) from None

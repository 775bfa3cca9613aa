"""Every data set that can be read: one row each."""

from __future__ import annotations

from align3r.datasets.dataset import Dataset as Dataset
from align3r.datasets.lists import (
    BONN_DEPTH,
    KITTI_VALIDATION,
    SEVEN_SCENES_TEST,
    SINTEL_DEPTH,
    SINTEL_POSE,
    TUM_DYNAMIC,
)
from align3r.errors import UsageError

_SINTEL_LAYOUT = "training/{clean,final,depth,camdata_left,flow}/alley_2"
_STAMPED = "{rgb,depth,rgb.txt,depth.txt,groundtruth.txt}"

ROWS: tuple[Dataset, ...] = (
    Dataset(
        name="sintel",
        title="MPI-Sintel",
        module="sintel",
        layout=_SINTEL_LAYOUT,
        terms="the film is CC BY 3.0; see its page",
        lists={"pose": SINTEL_POSE, "depth": SINTEL_DEPTH},
    ),
    Dataset(
        name="tum",
        title="TUM RGB-D",
        module="tum",
        layout=f"rgbd_dataset_freiburg3_walking_xyz/{_STAMPED}",
        terms="CC BY 4.0",
        lists={"dynamic": TUM_DYNAMIC},
    ),
    Dataset(
        name="bonn",
        title="Bonn RGB-D Dynamic",
        module="bonn",
        layout=f"rgbd_bonn_balloon2/{_STAMPED}",
        terms="see its page",
        lists={"depth": BONN_DEPTH},
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
        name="7scenes-depth",
        title="7-Scenes, as its depth camera",
        module="seven_scenes",
        layout="<scene>/seq-01/frame-000000.{color.png,depth.png,pose.txt}",
        terms="Microsoft's, non-commercial research only",
        settings={"camera": "depth"},
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
    Dataset(
        name="rendered",
        title="rendered sequences of this project",
        module="rendered_sequences",
        layout="an empty folder: sequences are rendered into it when they are first read",
        terms="Apache-2.0, as this project",
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

"""From views of one size to tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from align3r.train.data.values import Batch, Sample, View


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch.

    Args:
        samples: At least one; as many views in each, all of one size, and either all with a point
            map or none.

    Raises:
        ValueError: They are not.
    """
    views = [view for sample in samples for view in sample.views]
    if len({len(sample.views) for sample in samples}) != 1:
        raise ValueError("samples of one batch have equally many views")
    if len({view.image.shape for view in views}) != 1:
        raise ValueError("views of one batch have one size")
    mapped = {view.point_map is not None for view in views}
    if len(mapped) != 1:
        raise ValueError("either all views of a batch have a point map, or none")

    def stacked(part: Callable[[View], np.ndarray | None]) -> Tensor:
        whole = np.stack([np.asarray(part(view), np.float32) for view in views])
        return torch.from_numpy(whole.reshape(len(samples), -1, *whole.shape[1:]))

    images = stacked(lambda view: view.image).div_(255).permute(0, 1, 4, 2, 3)
    return Batch(
        images=images.contiguous(),
        depth=stacked(lambda view: view.depth),
        label=stacked(lambda view: view.label),
        intrinsics=stacked(lambda view: view.intrinsics),
        world_from_cam=stacked(lambda view: view.world_from_cam),
        point_maps=stacked(lambda view: view.point_map) if mapped == {True} else None,
        is_multi_view=torch.tensor([sample.is_multi_view for sample in samples]),
        names=tuple(tuple(view.name for view in sample.views) for sample in samples),
    )

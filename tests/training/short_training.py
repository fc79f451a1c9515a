"""How much nearer to real frames a short training brings a generator, judged by months that it has not seen."""

import numpy as np
import torch

from pipelines.ingest import ingest
from sunaug.cube import open_cube
from sunaug.fidelity.backbones import inception_backbone
from sunaug.fidelity.judge import Judge
from sunaug.networks import make_generator
from sunaug.training.loop import train


def distances(real_data, folder, recipe):
    """FID-768 of 32x32 pixels before and after a training on a third of the real frames."""
    files = sorted((real_data / "sdo2012" / "images").glob("*.jpg"))[::3]
    catalogue = real_data / "flares" / "goes_flares_1996_2022.csv"
    cube = open_cube(ingest(files, folder / "cube.zarr", size=32, flares=catalogue).cube)
    judge = Judge.of(cube, n=128, backbone=inception_backbone(None), cache=None, conditions=recipe.labels)
    trained = train(cube, folder / "run", recipe, accelerator="cpu")
    torch.manual_seed(recipe.seed)

    def distance(generator):
        random = torch.Generator().manual_seed(0)
        condition = torch.from_numpy(generator.config.encode(judge.fluxes))
        z = torch.randn(len(condition), generator.config.z_dim, generator=random)
        noise = torch.randn(len(condition), generator.noise_size, generator=random)
        with torch.inference_mode():
            generator.eval().settle(condition)
            images = trained.scaling.unscale(generator(z, condition, noise).numpy())
        return judge.judge(np.maximum(images, np.asarray(trained.scaling.low, np.float32)[:, None, None]))["frechet"]

    return distance(make_generator(trained.config)), distance(trained.generator)

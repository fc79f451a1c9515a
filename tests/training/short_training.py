"""How much nearer to real frames a short training brings a generator, judged by months that it has not seen."""

from benchmarks.trained_runs import make, untrained
from pipelines.ingest import ingest
from sunaug.cube import open_cube
from sunaug.fidelity.backbones import inception_backbone
from sunaug.fidelity.judge import Judge
from sunaug.training.loop import train


def distances(real_data, folder, recipe):
    """FID-768 of 32x32 pixels before and after a training on a third of the real frames."""
    files = sorted((real_data / "sdo2012" / "images").glob("*.jpg"))[::3]
    catalogue = real_data / "flares" / "goes_flares_1996_2022.csv"
    cube = open_cube(ingest(files, folder / "cube.zarr", size=32, flares=catalogue).cube)
    judge = Judge.of(cube, n=128, backbone=inception_backbone(None), cache=None, conditions=recipe.labels)
    trained = train(cube, folder / "run", recipe, accelerator="cpu")
    after = judge.judge(make(trained.generator, judge.fluxes, trained.scaling))
    return untrained(cube, recipe, [judge])[judge.label]["frechet"], after["frechet"]

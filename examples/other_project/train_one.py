"""One run of the experiment's, from Python."""

from functools import partial

from my_project.nets import Wide
from my_project.optim import SignSGD

from mnist_lightning import train

result = train(
    model=partial(Wide, width=32),
    optimizer=SignSGD,
    data={"_target_": "my_project.data.bars", "noise": 0.3, "batch_size": 32},
    trainer={"max_epochs": 3},
    directory="outputs/one",
)
print(result)

"""Every key of the configuration, with its type, default, range and meaning; imports no torch."""

from mnist_lightning.config.data_keys import DATASETS as DATASETS
from mnist_lightning.config.data_keys import DataConfig as DataConfig
from mnist_lightning.config.files import conf_dir as conf_dir
from mnist_lightning.config.files import fresh_directory as fresh_directory
from mnist_lightning.config.keys import LOSSES as LOSSES
from mnist_lightning.config.keys import OPTIMIZERS as OPTIMIZERS
from mnist_lightning.config.keys import ModelConfig as ModelConfig
from mnist_lightning.config.keys import OptimizerConfig as OptimizerConfig
from mnist_lightning.config.keys import RunConfig as RunConfig
from mnist_lightning.config.keys import fingerprint_of as fingerprint_of
from mnist_lightning.config.keys import suggest_key as suggest_key
from mnist_lightning.config.keys import takes_list as takes_list
from mnist_lightning.config.parse import parse as parse
from mnist_lightning.config.parse import schema as schema
from mnist_lightning.config.parse import too_large as too_large
from mnist_lightning.config.parse import wrong_type as wrong_type
from mnist_lightning.config.plain import unresolved as unresolved
from mnist_lightning.config.section import check_values as check_values
from mnist_lightning.config.shapes import IMAGE_SIZE as IMAGE_SIZE
from mnist_lightning.config.shapes import MNIST as MNIST
from mnist_lightning.config.shapes import NUM_CLASSES as NUM_CLASSES
from mnist_lightning.config.shapes import ImageSize as ImageSize
from mnist_lightning.config.shapes import Shape as Shape
from mnist_lightning.config.shapes import vanishing as vanishing
from mnist_lightning.config.trainer_keys import TrainerConfig as TrainerConfig

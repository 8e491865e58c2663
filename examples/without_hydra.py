"""A grid from Python: nine small networks, their table, and the best one asked about a digit. No Hydra, no download."""

from mnist_lightning import MNISTClassifier, MNISTDataModule, RunConfig, sweep

base = RunConfig(model={"num_channels": 2}, data={"name": "synthetic", "train_size": 640}, trainer={"max_epochs": 2})
grid = {"optimizer": ["adam", "sgd", "rmsprop"], "lr": [0.1, 0.01, 0.001]}

done = sweep(base, grid, "outputs/nine")  # interrupted or repeated, it goes on where it was
print(done.frame.groupby("optimizer")["accuracy_test"].max())
print("page:", done.paths["report.html"])

best = max(done.results, key=lambda result: result.accuracy_test)
network = MNISTClassifier.load_from_checkpoint(f"outputs/nine/{best.run_name}/checkpoints/best.ckpt")
images = MNISTDataModule("synthetic", test_size=5).dataset.test.images
print("the first five digits:", network(images).argmax(-1).tolist())

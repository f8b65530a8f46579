"""A recipe small enough for tests, with every part of training in it: loaded with runpy."""

TINY = {
    "name": "tiny",
    "title": "A network small enough for tests",
    "source": {"title": "None"},
    "input": {"size_px": 32, "channels": 1},
    "network": {
        "kind": "scratch",
        "conv_padding": "same",
        "blocks": [
            {"filters": [4], "dropout": 0.1, "batch_norm": True},
            {"filters": [8], "batch_norm": True},
        ],
        "dense": [{"units": 8, "dropout": 0.2}],
        "regularisation": {"kernel_l2": 0.0001},
    },
    "augmentation": {"rotation_deg": 10, "horizontal_flip": True, "noise_sd": 0.02},
    "split": {"tuning_fraction": 0.3},
    "training": {
        "epochs": 4,
        "batch_size": 8,
        "optimizer": {"name": "rmsprop", "learning_rate": 0.003},
        "plateau": {"monitor": "tuning_loss", "factor": 0.5, "patience_epochs": 1},
        "precision": "fp32",
    },
}

"""The exception tree: whatever goes wrong for a reason that a user can mend is one of these.

PneumoscopeError
├── UsageError                  the call's own words are wrong (exit status 2)
├── MissingExtraError           an optional dependency is not installed
├── RadiographError             one image could not be used
│   ├── UnreadableImageError    not an image, damaged, or of a kind that has no fixed gray meaning
│   └── ImageTooLargeError      more pixels than is safe to decode
├── DatasetError                a dataset as a whole could not be used
│   ├── ManifestError           its table is wrong: column, value, or a path outside its root
│   └── SplitError              a split is empty, has one class, or mixes origins
├── DownloadError               fetching failed, or what came is not what was asked for
├── RecipeError                 an experiment's recipe is impossible (exit status 2)
├── RunError                    a run folder is missing, damaged, or in use by another recipe
│   ├── DivergedError           the loss became NaN or infinite
│   ├── InUseError              another process is at work in it
│   └── NoDetectorError         it holds a DCGAN
├── WeightsError                pretrained weights are missing, damaged, or of another architecture
├── BundleError                 a bundle is missing, damaged, of another schema, or was changed
├── ExportError                 a bundle would not answer as the network does, so none is written
└── StorageError                the disk is full or refuses to be written
"""


class PneumoscopeError(Exception):
    """Base of every error that this package raises on purpose. ``str(error)`` is for people."""


class UsageError(PneumoscopeError):
    """The caller asked for something that does not exist or does not fit together."""


class MissingExtraError(PneumoscopeError):
    """An optional dependency is missing; the message names the extra to install."""


class RadiographError(PneumoscopeError):
    """One image could not be used; the others can."""


class UnreadableImageError(RadiographError):
    """The bytes are not an image that has one meaning as a gray picture."""


class ImageTooLargeError(RadiographError):
    """The image claims more pixels than is safe to decode."""


class DatasetError(PneumoscopeError):
    """A dataset could not be used as a whole."""


class ManifestError(DatasetError):
    """A manifest lacks a column, or a value in it is wrong."""


class SplitError(DatasetError):
    """A split is empty, has one class, or mixes origins."""


class DownloadError(PneumoscopeError):
    """A download failed, or what arrived is not what was asked for."""


class RecipeError(PneumoscopeError):
    """A recipe is impossible; the message has the key's path and the reason."""


class RunError(PneumoscopeError):
    """A run folder is missing, damaged, or belongs to another experiment."""


class DivergedError(RunError):
    """The loss became NaN or infinite, so further training is worthless."""


class InUseError(RunError):
    """Another process is training or measuring the run; it is not this one's to fail."""


class NoDetectorError(RunError):
    """The folder holds a DCGAN, which tells nothing of a radiograph."""


class WeightsError(PneumoscopeError):
    """Pretrained weights are missing, damaged, or belong to another architecture."""


class BundleError(PneumoscopeError):
    """A bundle is missing, damaged, newer than this version reads, or not what its hash says."""


class ExportError(PneumoscopeError):
    """The exported graph and the trained network disagree, so no bundle is written."""


class StorageError(PneumoscopeError):
    """A file could not be written; nothing half-written was left behind."""

"""A dataset: a manifest, and how to get at the image of each of its rows."""

from abc import ABC, abstractmethod
from pathlib import Path

from pneumoscope.core.errors import UnreadableImageError
from pneumoscope.core.types import Radiograph
from pneumoscope.data.generated_note import mark_generated
from pneumoscope.data.manifest import Manifest


class Dataset(ABC):
    """Images in the order of ``manifest.table``. Can be pickled, for worker processes."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.source: Path = manifest.root  # what `open_dataset` was given, to open it again

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.manifest)

    @property
    def name(self) -> str:
        """What people call the dataset."""
        return self.manifest.name

    @abstractmethod
    def read(self, row: int) -> Radiograph:
        """Decode one image.

        Raises: RadiographError: this image cannot be used; others may be fine.
        """

    @abstractmethod
    def read_bytes(self, row: int) -> bytes:
        """Return the image's content as it is stored, to hash it.

        Raises: UnreadableImageError: the content cannot be read.
        """

    @abstractmethod
    def describe_row(self, row: int) -> str:
        """Return where the image is, for a message to people."""


class FileDataset(Dataset):
    """A dataset with one file an image, below the manifest's root.

    A PNG in which `gan sample` has noted that it drew it has the ``origin`` generated, whatever the
    manifest that is given says.
    """

    def __init__(self, manifest: Manifest) -> None:
        # Here, not where folders and manifests are listed: no way to a dataset goes past it.
        super().__init__(mark_generated(manifest))

    def path(self, row: int) -> Path:
        """Return the image's file."""
        return self.manifest.root / str(self.manifest.table["path"][row])

    def read(self, row: int) -> Radiograph:
        """Decode one file.

        Raises: RadiographError: the file is missing, damaged, or not a radiograph.
        """
        # Here, not above: listing and splitting a dataset then need no image library.
        from pneumoscope.imaging.read import read_radiograph

        path = self.path(row)
        try:
            return read_radiograph(path, name=self.describe_row(row))
        except OSError as error:
            raise self._unreadable(row, error) from error

    def read_bytes(self, row: int) -> bytes:
        """Return the file's bytes.

        Raises: RadiographError: the file is missing, cannot be read, has no bytes, is no file
            (a pipe), or is larger than any that is read.
        """
        from pneumoscope.imaging.source import read_source

        return read_source(self.path(row), name=self.describe_row(row))[0]

    def describe_row(self, row: int) -> str:
        """Return the file's path."""
        return str(self.path(row))

    def _unreadable(self, row: int, error: OSError) -> UnreadableImageError:
        return UnreadableImageError(
            f"{self.describe_row(row)}: cannot be read ({error.strerror or error}). "
            "Restore the file, or take it out of the dataset."
        )

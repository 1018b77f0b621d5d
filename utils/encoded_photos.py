"""Photos of a store as the model takes them, by their ids."""

from utils.images import ImageError, ImageStore
from utils.packing import EncodedImage, Packer


class EncodedPhotos:
    """Photos of a store by id, decoded and cut into patches when asked for.

    Raises ``ImageError``, naming the photo, for one that cannot be decoded or that the model cannot take.
    """

    def __init__(self, store: ImageStore, packer: Packer) -> None:
        self.store = store
        self.packer = packer

    def __contains__(self, image_id: str) -> bool:
        """Whether there is such a photo, readable or not."""
        return image_id in self.store

    def __getitem__(self, image_id: str) -> EncodedImage:
        image = self.store.open(image_id)
        try:
            return self.packer.encode(image)
        except ValueError as error:
            raise ImageError(f"{image_id}: {error}") from error

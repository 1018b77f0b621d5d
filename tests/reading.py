"""Photos of a store as a loader's workers read them."""

from torch.utils.data import Dataset

from utils.photos.store import ImageStore


class Pixels(Dataset):
    """The bytes of the photos named."""

    def __init__(self, store: ImageStore, names: list[str]) -> None:
        self.store, self.names = store, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> bytes:
        return self.store.open(self.names[index]).tobytes()

"""A photo and its settings out of a request's body: into memory, within limits, and never onto the disk."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from utils.web.problems import TOO_SLOW, Problem
from utils.web.settings import Settings

FIELDS, FIELD_BYTES = 16, 1024  # of a form, beside its photo
FORM_BYTES = 64_000  # what a form may have beside the photo's own bytes
BODY_SECONDS = 120  # in which a body arrives
NAME_CHARACTERS = 120


@dataclass(frozen=True)
class Upload:
    """What somebody sent."""

    name: str  # what they call the photo
    data: bytes
    settings: Settings


class _InMemory(MultiPartParser):
    """Starlette's parser; its files would go to the disk from 1 MB on."""

    spool_max_size = 0  # of a SpooledTemporaryFile: any size


async def read_upload(request: Request, most_bytes: int) -> Upload:
    """The form in the body of ``request``, whose photo has at most ``most_bytes``.

    Raises ``Problem`` for a body that is too large or too slow, that is no such form, or that breaks off.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "the body must be multipart/form-data with the file `photo`")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _parsed(request, most_bytes)
    except TimeoutError:
        raise Problem(TOO_SLOW, f"the body took longer than {BODY_SECONDS} s") from None
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message}") from None
    except UnicodeError:  # of what an odd charset in the content type makes of a name
        raise Problem(400, "the form cannot be read: its text is not in the charset that it names") from None
    except ClientDisconnect:
        raise Problem(400, "the body broke off") from None


async def _parsed(request: Request, most_bytes: int) -> Upload:
    limits = {"max_files": 1, "max_fields": FIELDS, "max_part_size": FIELD_BYTES}
    form = await _InMemory(request.headers, _body(request, most_bytes + FORM_BYTES), **limits).parse()
    try:
        files = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
        if [name for name, _ in files] != ["photo"]:
            raise Problem(422, "the form must have one file, `photo`")
        ((_, photo),) = files
        if photo.size > most_bytes:
            raise _too_large(most_bytes)
        fields = [(name, part) for name, part in form.multi_items() if isinstance(part, str)]
        return Upload(shown_name(photo.filename or ""), await photo.read(), Settings.of_form(fields))
    finally:
        await form.close()


async def _body(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    """Its parts as they arrive; no more than so many bytes are ever held."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most_bytes:
        raise _too_large(most_bytes - FORM_BYTES)
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise _too_large(most_bytes - FORM_BYTES)
        yield part


def _too_large(most_bytes: int) -> Problem:
    return Problem(413, f"the photo is larger than {most_bytes / 2**20:g} MB")


def shown_name(name: str) -> str:
    """A file's name as it can be shown: no folders, nothing that is not printed, and not too long."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    printed = "".join(letter for letter in last if letter.isprintable()).strip(" .")
    return printed[:NAME_CHARACTERS] or "photo"

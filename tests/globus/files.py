"""Looking at a collection and changing it at once: ls, stat, mkdir, rename."""

from __future__ import annotations

import os
import posixpath
import stat
from datetime import UTC, datetime
from pathlib import Path

from tests.globus import filters
from tests.globus.auth import Auth
from tests.globus.collections import Collection, FileFault, fault
from tests.globus.scopes import TRANSFER
from tests.globus.wire import Answer, Document, Problem, Request, Route, document, transfer_problem

_KEYS = ("name", "type", "size", "last_modified", "permissions", "user", "group")
_MOST = 100_000


class Files:
    """The pages under /operation/endpoint/<id>."""

    def __init__(self, auth: Auth, collections: dict[str, Collection]) -> None:
        self._auth = auth
        self._collections = collections

    def routes(self) -> list[Route]:
        """The pages of this part."""
        return [
            ("GET", "/v0.10/operation/endpoint/{}/ls", self._list),
            ("GET", "/v0.10/operation/endpoint/{}/stat", self._stat),
            ("POST", "/v0.10/operation/endpoint/{}/mkdir", self._mkdir),
            ("POST", "/v0.10/operation/endpoint/{}/rename", self._rename),
        ]

    def _list(self, request: Request, name: str) -> Answer:
        collection = self._open(request, name, "DirListingFailed")
        path = request.query.get("path", collection.home)
        limit, offset = request.number("limit", _MOST), request.number("offset", 0)
        hidden = request.query.get("show_hidden", "1") not in ("0", "false")
        try:
            place = self._place(request, collection, path, write=False)
            if not place.is_dir():
                os.stat(place)
                raise transfer_problem(
                    request,
                    502,
                    "ExternalError.DirListingFailed.NotDirectory",
                    self._say("list", collection, "not a directory"),
                )
            with os.scandir(place) as entries:
                shown = [_entry(one.path, one.name) for one in entries if hidden or not one.name.startswith(".")]
        except (FileFault, OSError) as error:
            raise self._problem(request, "list", collection, error) from error
        found = filters.matching(request, sorted(shown, key=lambda one: one["name"]), _KEYS)
        rows = filters.ordered(request, found)[offset : offset + min(limit, _MOST)]
        return document({
            "DATA": [filters.thinned(request, one) for one in rows], "DATA_TYPE": "file_list", "absolute_path": None,
            "endpoint": collection.id, "length": len(rows), "limit": limit, "offset": offset,
            "path": path if path.endswith("/") else path + "/", "rename_supported": True, "symlink_supported": False,
            "total": len(found),
        })  # fmt: skip

    def _stat(self, request: Request, name: str) -> Answer:
        collection = self._open(request, name, "StatFailed")
        path = request.query.get("path", collection.home)
        try:
            place = self._place(request, collection, path, write=False)
            return document(_entry(str(place), posixpath.basename(posixpath.normpath(path)) or "/"))
        except (FileFault, OSError) as error:
            raise self._problem(request, "list", collection, error) from error

    def _mkdir(self, request: Request, name: str) -> Answer:
        collection = self._open(request, name, "MkdirFailed")
        try:
            self._place(request, collection, str(request.json().get("path", "")), write=True).mkdir()
        except FileExistsError as error:
            message = self._say("mkdir", collection, "File exists")
            raise transfer_problem(request, 502, "ExternalError.MkdirFailed.Exists", message) from error
        except (FileFault, OSError) as error:
            raise self._problem(request, "mkdir", collection, error) from error
        return _result(request, "mkdir_result", "DirectoryCreated", "The directory was created successfully")

    def _rename(self, request: Request, name: str) -> Answer:
        """Onto what is there: refused, as the safest that a client may meet."""
        collection, sent = self._open(request, name, "RenameFailed"), request.json()
        try:
            old, new = (
                self._place(request, collection, str(sent.get(key, "")), write=True) for key in ("old_path", "new_path")
            )
            if os.path.lexists(new):
                message = self._say("rename", collection, "File exists")
                raise transfer_problem(request, 502, "ExternalError.RenameFailed.Exists", message)
            old.rename(new)
        except (FileFault, OSError) as error:
            raise self._problem(request, "rename", collection, error) from error
        return _result(request, "result", "FileRenamed", "File or directory renamed successfully")

    def _open(self, request: Request, name: str, failing: str) -> Collection:
        """The collection, if the caller may use it now. Raises Problem."""
        token = self._auth.caller(request, TRANSFER)
        found = self._collections.get(name)
        if found is None:
            raise transfer_problem(request, 404, "EndpointNotFound", f"No such endpoint '{name}'")
        if found.needs_data_access:
            self._auth.require_consent(request, token, found.id)
        if found.session_policy:
            code = f"ExternalError.{failing}.LoginFailed"
            self._auth.require_session(request, token, found.session_policy, 502, code)
        if found.paused is not None:
            raise transfer_problem(request, 409, "OperationPaused", f"paused by an administrator: {found.paused}")
        if not found.connected:
            message = f"The Globus Connect Personal endpoint {found.display_name} is not currently connected to Globus"
            raise transfer_problem(request, 502, f"ExternalError.{failing}.GCDisconnected", message)
        return found

    def _place(self, request: Request, collection: Collection, path: str, *, write: bool) -> Path:
        if "\n" in path or "\r" in path or not path:
            raise transfer_problem(request, 400, "ClientError.BadRequest.InvalidPath", f"no path: {path!r}")
        caller = self._auth.caller(request, TRANSFER).identity
        groups = self._auth.directory.groups_of(caller)
        whole = path if path.startswith("/") else posixpath.join(collection.home, path)
        return collection.open(caller, groups, whole, write=write)

    def _problem(self, request: Request, doing: str, collection: Collection, error: FileFault | OSError) -> Problem:
        found = fault(error) if isinstance(error, OSError) else error
        if found.code == "FILE_NOT_FOUND":
            message = f"Path not found, {self._say(doing, collection, found.message)}"
            return transfer_problem(request, 404, "ClientError.NotFound", message)
        if found.code == "PERMISSION_DENIED":
            message = f"Denied by endpoint, {self._say(doing, collection, found.message)}"
            return transfer_problem(request, 403, "EndpointPermissionDenied", message)
        return transfer_problem(request, 502, "EndpointError", self._say(doing, collection, found.message))

    def _say(self, doing: str, collection: Collection, message: str) -> str:
        where = f"Endpoint: {collection.display_name} ({collection.id})\nServer: 127.0.0.1:443"
        return f"Error ({doing})\n{where}\nMessage: {message}\n"


def _entry(place: str, name: str) -> Document:
    """A file as ls and stat show it: what a link points to, or the link if that is nothing."""
    link = os.lstat(place)
    linked = stat.S_ISLNK(link.st_mode)
    try:
        found = os.stat(place) if linked else link
    except OSError:  # a link to nothing, which has its own type
        found, kind = link, "invalid_symlink"
    else:
        kinds = {
            stat.S_IFDIR: "dir",
            stat.S_IFREG: "file",
            stat.S_IFCHR: "chr",
            stat.S_IFBLK: "blk",
            stat.S_IFIFO: "pipe",
        }
        kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    return {
        "DATA_TYPE": "file", "group": str(found.st_gid), "last_modified": _when(found.st_mtime),
        "link_group": str(link.st_gid) if linked else None, "link_last_modified": _when(link.st_mtime) if linked else None,
        "link_size": link.st_size if linked else None, "link_target": os.readlink(place) if linked else None,
        "link_user": str(link.st_uid) if linked else None, "name": name,
        "permissions": f"{stat.S_IMODE(found.st_mode):04o}", "size": found.st_size, "type": kind, "user": str(found.st_uid),
    }  # fmt: skip


def _when(mtime: float) -> str:
    return datetime.fromtimestamp(int(mtime), UTC).isoformat(" ")


def _result(request: Request, kind: str, code: str, message: str) -> Answer:
    return document(
        {"DATA_TYPE": kind, "code": code, "message": message, "request_id": "ShbIUzrWT", "resource": request.path}
    )

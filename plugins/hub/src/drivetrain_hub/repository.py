"""A repository of the Hub: made or found, and committed to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

import drivetrain
from drivetrain.plugin import UsageError
from drivetrain_hub.contents import Contents, stale

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

logger = logging.getLogger(__name__)

_SECONDS_FOR_LICENSE = 10.0


class Repository:
    """The repository that the arguments name.

    Nothing is asked of the Hub before `create`. Each method takes a token to use instead of
    ``hub_token``; without either, it is that of `huggingface_hub`.

    Args:
        args: The arguments of the run.

    Attributes:
        wanted: The name that they ask for, with or without its owner.
    """

    def __init__(self, args: TrainingArguments) -> None:
        self._args = args
        self._api = HfApi(library_name="drivetrain", library_version=drivetrain.__version__)
        self._id: str | None = None
        self.wanted = args.hub_model_id or Path(args.output_dir).resolve().name
        self._branches: set[str] = {"main"}
        self._licenses: dict[str, str | None] = {}

    def create(self, token: str | None = None) -> str:
        """Make the repository and its branch unless they are there; return its name with its owner.

        Raises:
            UsageError: That did not work; the message has the Hub's own words.
        """
        token = self._token(token)
        try:
            url = self._api.create_repo(
                self.wanted, token=token, private=self._args.hub_private_repo, exist_ok=True
            )
            self._id = url.repo_id
            self._make_branch(self._args.hub_revision, token)
        except Exception as error:
            raise UsageError(
                f"`hub_model_id`: the repository {self.wanted!r} can be neither made nor found: {error}\n"
                "Log in with `hf auth login` or pass `hub_token`, name a repository that you may write to, "
                "or leave out `push_to_hub`."
            ) from error
        return self._id

    def commit(
        self, contents: Contents, message: str, token: str | None = None, revision: str | None = None
    ) -> Any:
        """Push contents as one commit: the repository has all of it, or nothing.

        Returns:
            What `huggingface_hub` tells of the commit, its address among that.
        """
        assert self._id is not None, "`commit` before `create`"
        token, revision = self._token(token), revision or self._args.hub_revision
        self._make_branch(revision, token)
        operations = [
            CommitOperationAdd(name, file if isinstance(file, bytes) else str(file))
            for name, file in contents.files.items()
        ]
        deletions = [
            CommitOperationDelete(name) for name in self._stale_files(contents, token, revision)
        ]
        return self._api.create_commit(
            self._id, [*operations, *deletions], commit_message=message, token=token, revision=revision
        )

    def later(self, function: Callable[[], Any]) -> Future[Any]:
        """Call a function in the background, after those that were given before."""
        future: Future[Any] = self._api.run_as_future(function)
        return future

    def find_license(self, model_id: str) -> str | None:
        """The licence that the card of a model on the Hub states; None if it cannot be read."""
        if model_id not in self._licenses:
            self._licenses[model_id] = self._ask_for_license(model_id)
        return self._licenses[model_id]

    def _ask_for_license(self, model_id: str) -> str | None:
        try:
            info = self._api.model_info(model_id, timeout=_SECONDS_FOR_LICENSE, token=self._token(None))
        except Exception as error:  # a card without a licence is no reason to stop
            logger.info("The licence of %r could not be looked up: %s", model_id, error)
            return None
        stated = getattr(info.card_data, "license", None)
        return stated if isinstance(stated, str) else None

    def _stale_files(self, contents: Contents, token: str | None, revision: str | None) -> list[str]:
        assert self._id is not None
        there: list[str] = []
        for folder in sorted(contents.replaced):
            try:
                tree = self._api.list_repo_tree(
                    self._id, folder, recursive=True, revision=revision, token=token
                )
                there += [entry.path for entry in tree if isinstance(entry, RepoFile)]
            except EntryNotFoundError:  # it is pushed for the first time
                continue
        return stale(there, contents)

    def _make_branch(self, revision: str | None, token: str | None) -> None:
        if revision is None or revision in self._branches or revision.startswith("refs/"):
            return
        assert self._id is not None
        self._api.create_branch(self._id, branch=revision, token=token, exist_ok=True)
        self._branches.add(revision)

    def _token(self, token: str | None) -> str | None:
        chosen = token or self._args.hub_token
        for problem in check_token(chosen, "token" if token else "hub_token"):
            raise UsageError(problem)
        return chosen


def check_name(name: str) -> Iterator[str]:
    """What is wrong with the name of a repository."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        yield (
            f"`hub_model_id`: {name!r} is no name of a repository: 'owner/name' or 'name', of letters, "
            "digits, '-', '_' and '.', at most 96 characters. Type hub_model_id='my-model', say; by default "
            "it is the name of `output_dir`."
        )


def check_token(token: str | None, option: str) -> Iterator[str]:
    """What is wrong with the form of a token; it is not shown."""
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        yield (
            f"`{option}`: it has a space, a line break or another sign that no token has. Type the token "
            "alone, or log in with `hf auth login` and leave it out."
        )

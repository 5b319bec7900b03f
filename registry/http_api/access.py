"""Access: what the HTTP side needs of the accounts, where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry.access.rule import Rule
from registry.http_api.admission import Admission
from registry.http_api.sessions import Sessions
from registry.metrics.figure import Figure
from registry.usecases.accounts import Accounts
from registry.usecases.everywhere import Everywhere
from registry.usecases.lockouts import Lockouts
from registry.usecases.logins import Logins
from registry.usecases.principals import Principals


@dataclass(slots=True)
class Access:
    admission: Admission
    accounts: Accounts
    logins: Logins
    lockouts: Lockouts
    everywhere: Everywhere
    sessions: Sessions

    def guards(self, rule: Rule) -> Principals | None:
        """Who may ask for operations with this rule; None: everybody may."""
        principals = self.admission.principals
        return principals if rule.applies(principals.scope) else None

    def figures(self) -> Sequence[Figure]:
        """All that is to be said of it in numbers. Names of accounts are not among it."""
        view, stats = self.accounts.view, self.logins.stats
        return (
            Figure("accounts", "Accounts.", len(view.accounts)),
            Figure("roles", "Roles, without the built-in ones.", len(view.roles)),
            Figure("machine_tokens", "Tokens of machines.", len(view.machines)),
            Figure("logins_total", "Right passwords.", stats.succeeded, True),
            Figure("logins_failed_total", "Wrong passwords.", stats.failed, True),
            Figure("logins_blocked_total", "Refused because there were too many wrong ones.", stats.blocked, True),
            Figure("accounts_behind", "1 while it refuses tokens.", float(self.everywhere.behind)),
            Figure("accounts_replicas_late", "Replicas that do not keep up.", len(self.everywhere.late())),
            *self.admission.figures(),
        )

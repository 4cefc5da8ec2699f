"""Which states can come to an end, and which can go on for ever: what discount 1 depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order

if TYPE_CHECKING:
    from mprl.agents.tabular.mdp import TabularMDP


def steps_to_end(mdp: TabularMDP, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """(S,), the least number of steps after which an episode can have ended; 0 in terminal states, inf where it cannot end.

    Args:
        mdp: the model.
        allowed: (S, A), which actions may be taken; by default all that are available.
    """
    allowed = mdp.available if allowed is None else allowed
    states = mdp.num_states
    # backwards: row s′ lists the states that can step there; one row more, the end, those that can end at once
    back = mdp.transitions.tocsc()
    before, data, first = back.indices // mdp.num_actions, back.data, back.indptr
    if not allowed.all():
        wanted = allowed.ravel()[back.indices]
        before, data, first = before[wanted], data[wanted], np.concatenate(([0], wanted.cumsum()))[first]
    ending = np.flatnonzero(((mdp.termination > 0) & allowed).any(1) & ~mdp.terminal)
    graph = sp.csr_array(
        (np.append(data, np.ones(len(ending))), np.append(before, ending), np.append(first, first[-1] + len(ending))),
        shape=(states + 1, states + 1),
    )
    order, parent = breadth_first_order(graph, states, directed=True)
    # the depth of each in the tree: from ancestor to ancestor, twice as far each time
    steps = np.full(states + 1, np.inf)
    steps[order] = 1.0
    steps[states] = 0.0
    ancestor = np.where(parent < 0, states, parent)
    while (ancestor != states).any():
        steps += steps[ancestor]
        ancestor = ancestor[ancestor]
    steps[:-1][mdp.terminal] = 0.0
    return steps[:-1]


def edges(mdp: TabularMDP, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """From which state to which it can go on, by the allowed actions; (E,) and (E,)."""
    actions = mdp.num_actions
    row = np.repeat(np.arange(mdp.transitions.shape[0], dtype=np.int32), np.diff(mdp.transitions.indptr))
    possible = (mdp.transitions.data > 0) & allowed.ravel()[row]
    return row[possible] // np.int32(actions), mdp.transitions.indices[possible].astype(np.int32, copy=False)


def can_stay(mdp: TabularMDP, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(S,), the states from which some policy of allowed actions (S, A) never comes to an end, nor to a state without such an action."""
    going_on = allowed & (mdp.termination == 0) & ~mdp.terminal[:, None]
    inside = going_on.any(1)
    while inside.any():
        leaving = (mdp.transitions @ (~inside).astype(np.float64)).reshape(allowed.shape)
        rest = inside & (going_on & (leaving == 0)).any(1)
        if (rest == inside).all():
            break
        inside = rest
    return inside

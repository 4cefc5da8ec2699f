"""Memory for policies: an LSTM, GRU or plain recurrent network that forgets where an episode begins.

While acting it goes step by step; learning takes a whole chunk of steps at once and gives the same outputs. There the episodes in a
chunk are cut apart, each a sequence of its own, so that one call of torch's runs them all, however many begin on the way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from mprl.errors import SettingError

KINDS = ("lstm", "gru", "rnn")
State = tuple[Tensor, ...]  # (h, c) of an LSTM, (h,) of the others, each (W, hidden_size)


class Recurrent(nn.Module):
    """A recurrent layer over W worlds.

    Args:
        kind: "lstm" (Hochreiter & Schmidhuber 1997), "gru" (Cho et al. 2014) or "rnn" (Elman 1990; tanh).
        inputs: numbers in an input.
        hidden_size: numbers in an output, and in each tensor of the state.

    Raises:
        SettingError: another kind.
    """

    layer: Any  # nn.LSTM, nn.GRU or nn.RNN

    def __init__(self, kind: str, inputs: int, hidden_size: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise SettingError(f"a recurrent layer must be one of {', '.join(KINDS)}, found '{kind}'")
        self.kind, self.inputs, self.hidden_size = kind, inputs, hidden_size
        self.layer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind](inputs, hidden_size)
        for name, weight in self.layer.named_parameters():
            if name.startswith("weight"):
                for gate in weight.split(hidden_size):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(weight)
        if kind == "lstm":  # it begins by remembering (Jozefowicz et al. 2015); the gates are input, forget, cell, output
            nn.init.ones_(self.layer.bias_ih_l0.data[hidden_size : 2 * hidden_size])

    def initial_state(self, worlds: int) -> State:
        """The state of an episode's beginning: zeros."""
        weight = self.layer.weight_hh_l0
        return tuple(
            torch.zeros(worlds, self.hidden_size, dtype=weight.dtype, device=weight.device) for _ in range(1 + (self.kind == "lstm"))
        )

    def step(self, inputs: Tensor, state: State, reset: Tensor | None = None) -> tuple[Tensor, State]:
        """One step.

        Args:
            inputs: (W, n).
            state: after the step before.
            reset: where an episode begins, (W,) bool; None: nowhere.

        Returns:
            Outputs (W, hidden_size), and the state after the step.
        """
        if reset is not None:
            state = forget(state, reset)
        layer = self.layer
        weights = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
        if self.kind != "lstm":
            hidden = (torch.gru_cell if self.kind == "gru" else torch.rnn_tanh_cell)(inputs, state[0], *weights)
            return hidden, (hidden,)
        hidden, cell = torch.lstm_cell(inputs, state, *weights)
        return hidden, (hidden, cell)

    def forward(self, inputs: Tensor, state: State, episode_start: Tensor) -> tuple[Tensor, State]:
        """A chunk of T steps. The gradient does not reach beyond its beginning, nor from one episode into the one before.

        Args:
            inputs: (T, W, n).
            state: before the chunk.
            episode_start: where a step is the first of its episode, (T, W) bool.

        Returns:
            Outputs (T, W, hidden_size), and the state after the chunk.
        """
        state = forget(tuple(part.detach() for part in state), episode_start[0])
        if episode_start[1:].any():
            return self._apart(inputs, state, episode_start)
        outputs, after = self.layer(inputs, self._joined(tuple(part.unsqueeze(0) for part in state)))
        return outputs, tuple(part.squeeze(0) for part in self._parts(after))

    def _apart(self, inputs: Tensor, state: State, episode_start: Tensor) -> tuple[Tensor, State]:
        """As a packed sequence: first the first steps of all pieces of episodes, the longest piece first, then their second steps, ..."""
        steps, worlds = episode_start.shape
        begins = episode_start.clone()
        begins[0] = True
        # all that follows counts steps world after world, (W T,)
        begins = begins.T.reshape(-1)
        piece = begins.cumsum(0) - 1
        first = begins.nonzero().squeeze(-1)
        length = torch.diff(first, append=first.new_tensor([steps * worlds]))
        rank = torch.empty_like(length)
        rank[length.argsort(descending=True, stable=True)] = torch.arange(len(length), device=length.device)
        place = torch.arange(steps * worlds, device=first.device) - first[piece]  # in the piece
        at_place = place.bincount()  # pieces that have so many steps
        packed = (at_place.cumsum(0) - at_place)[place] + rank[piece]
        source = torch.empty_like(packed)
        source[packed] = torch.arange(steps * worlds, device=packed.device)

        data = inputs.transpose(0, 1).reshape(steps * worlds, -1)[source]
        of_world = torch.arange(worlds, device=first.device) * steps
        before = tuple(part.new_zeros(1, len(length), self.hidden_size) for part in state)
        for pieces, part in zip(before, state, strict=True):
            pieces[0, rank[piece[of_world]]] = part
        outputs, after = self.layer(PackedSequence(data, at_place.cpu()), self._joined(before))
        last = rank[piece[of_world + steps - 1]]
        return (
            outputs.data[packed].unflatten(0, (worlds, steps)).transpose(0, 1),
            tuple(part[0, last] for part in self._parts(after)),
        )

    def _joined(self, state: State) -> Tensor | State:
        """As torch's layer takes it."""
        return state if self.kind == "lstm" else state[0]

    def _parts(self, state: Tensor | State) -> State:
        return (state,) if isinstance(state, Tensor) else tuple(state)


def forget(state: State, reset: Tensor) -> State:
    """The state with zeros in the worlds where an episode begins, (W,) bool."""
    keep = ~reset.unsqueeze(-1)
    return tuple(part * keep for part in state)

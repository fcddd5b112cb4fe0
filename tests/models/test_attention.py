import pytest
import torch
from torch import Tensor

from eos.config import SoftmaxMixer
from eos.errors import CompositionError
from eos.models.attention import SoftmaxAttention

WIDTH, LENGTH = 24, 19


def naive(layer: SoftmaxAttention, x: Tensor, reset: Tensor | None = None) -> Tensor:
    """Every query and key one by one, with positions as complex numbers."""
    mixer, size = layer.mixer, layer.size
    groups = mixer.groups or mixer.heads
    rows = []
    for row in range(x.shape[0]):
        q, k, v = (projection(x[row]).view(LENGTH, -1, size) for projection in (layer.query, layer.key, layer.value))
        heads = []
        for head in range(mixer.heads):
            group = head // (mixer.heads // groups)
            steps = []
            for t in range(LENGTH):
                seen = [s for s in range(t + 1) if mixer.window is None or t - s < mixer.window]
                begins = [0, *([] if reset is None else reset[row].nonzero().flatten().tolist())]
                start = max(begin for begin in begins if begin <= t)
                block = mixer.block or LENGTH
                seen = [s for s in seen if s >= start and (s - start) // block == (t - start) // block]
                scores = torch.stack([_score(mixer, q[t, head], k[s, group], t - s) for s in seen]) / size**0.5
                weights = scores.softmax(0) if mixer.score == "softmax" else scores.clamp(min=0)
                steps.append(weights @ v[seen, group])
            heads.append(torch.stack(steps))
        y = torch.cat(heads, -1)
        if mixer.norm == "simple_rms":
            y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        rows.append(layer.output(y))
    return torch.stack(rows)


def _score(mixer: SoftmaxMixer, q: Tensor, k: Tensor, distance: int) -> Tensor:
    if not mixer.rope:
        return q @ k
    half = q.shape[0] // 2
    theta = mixer.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
    q, k = torch.complex(q[:half], q[half:]), torch.complex(k[:half], k[half:])
    return (q * k.conj() * torch.exp(1j * distance * theta)).sum().real


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rope": False},
        {"groups": 2},
        {"groups": 1, "window": 5},
        {"window": 1},
        {"window": LENGTH},
        {"bias": True},
        {"block": 4},
        {"block": 1, "rope": False},
        {"block": 7, "window": 3},
        {"block": 4, "score": "relu", "norm": "simple_rms"},
        {"block": LENGTH},
        {"score": "relu"},
    ],
    ids=str,
)
def test_attention_equals_naive_form(options: dict[str, object], packed: bool) -> None:
    torch.manual_seed(0)
    layer = SoftmaxAttention(SoftmaxMixer(kind="softmax", heads=4, rope_base=100.0, **options), WIDTH).double()
    x = torch.randn(2, LENGTH, WIDTH, dtype=torch.float64)
    reset = torch.zeros(2, LENGTH, dtype=torch.bool)
    reset[0, 4], reset[1, 11] = True, True
    given = reset if packed else None
    wanted = naive(layer, x, given)
    torch.testing.assert_close(layer(x, reset=given), wanted, atol=1e-10, rtol=0)

    cache = layer.cache(2)
    parts = [slice(0, 7), *(slice(t, t + 1) for t in range(7, 14)), slice(14, LENGTH)]
    decoded = [layer(x[:, part], reset=None if given is None else given[:, part], cache=cache) for part in parts]
    torch.testing.assert_close(torch.cat(decoded, 1), wanted, atol=1e-10, rtol=0)


def test_a_window_bounds_the_cache() -> None:
    layer = SoftmaxAttention(SoftmaxMixer(kind="softmax", heads=4, window=6), WIDTH)
    cache = layer.cache(1)
    layer(torch.randn(1, LENGTH, WIDTH), cache=cache)
    assert cache.keys.shape[2] == cache.values.shape[2] == 5
    # nor does a view keep more alive
    assert cache.keys.untyped_storage().nbytes() == cache.keys.numel() * 4


@pytest.mark.parametrize("options", [{"window": 4}, {"block": 4}], ids=str)
def test_what_is_near_is_all_that_is_weighed(options: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """No scores of all tokens by all tokens: twice the reach of them for every query."""
    layer = SoftmaxAttention(SoftmaxMixer(kind="softmax", heads=4, **options), WIDTH)
    weighed = []
    weigh = layer._weigh

    def counted(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        weighed.append(mask.numel())
        return weigh(q, k, v, mask)

    monkeypatch.setattr(layer, "_weigh", counted)
    layer(torch.randn(1, 1000, WIDTH))
    assert weighed == [1000 * 2 * 4]


def test_gradients_of_a_partial_last_piece_are_finite() -> None:
    layer = SoftmaxAttention(SoftmaxMixer(kind="softmax", heads=4, window=4), WIDTH)
    x = torch.randn(1, LENGTH, WIDTH, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_angles_stay_exact_far_out() -> None:
    layer = SoftmaxAttention(SoftmaxMixer(kind="softmax", heads=4), WIDTH).double()
    x = torch.randn(1, 8, WIDTH, dtype=torch.float64)
    far = layer.cache(1)
    far.seen = 1_000_000
    torch.testing.assert_close(layer(x, cache=far), layer(x), atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("heads", "groups", "said"), [(5, None, "do not divide"), (4, 3, "multiple of groups"), (8, None, "even")]
)
def test_sizes_that_do_not_divide_are_refused(heads: int, groups: int | None, said: str) -> None:
    with pytest.raises(CompositionError, match=said):
        SoftmaxAttention(SoftmaxMixer(kind="softmax", heads=heads, groups=groups), WIDTH)

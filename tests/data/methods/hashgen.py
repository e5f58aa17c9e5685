"""Deterministic logit / hidden-state generator for the test vectors (numpy only).

Bit-exact on every IEEE-754 platform: 64-bit integer hashing (splitmix64) followed by
+, -, *, / and one cast to float32.  No libm call, no numpy RNG stream is involved.

  u(seed, i)  = splitmix64(seed * 0x9E3779B97F4A7C15 + i) >> 11, times 2**-53       in [0, 1)
  g(seed, i)  = (u(seed,4i) + u(seed,4i+1) + u(seed,4i+2) + u(seed,4i+3) - 2) * 1.7320508075688772
                (Irwin-Hall of order 4: mean 0, variance 1, |g| <= 3.47)
"""

import hashlib
import numpy as np

_G = np.uint64(0x9E3779B97F4A7C15)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)
SQ3 = 1.7320508075688772


def splitmix(x):
    with np.errstate(over="ignore"):
        z = x + _G
        z = (z ^ (z >> np.uint64(30))) * _A
        z = (z ^ (z >> np.uint64(27))) * _B
        return z ^ (z >> np.uint64(31))


def u(seed, idx):
    idx = np.asarray(idx, dtype=np.uint64)
    with np.errstate(over="ignore"):
        base = np.uint64(seed % (1 << 64)) * _G
        z = splitmix(base + idx)
    return (z >> np.uint64(11)).astype(np.float64) * (2.0**-53)


def g(seed, n, start=0):
    i = (np.arange(start, start + n, dtype=np.uint64)) * np.uint64(4)
    return (u(seed, i) + u(seed, i + np.uint64(1)) + u(seed, i + np.uint64(2)) + u(seed, i + np.uint64(3)) - 2.0) * SQ3


def bf16_round(x32):
    """round-to-nearest-even to bfloat16, returned as float32"""
    b = np.ascontiguousarray(x32, dtype=np.float32).view(np.uint32).astype(np.uint64)
    b = ((b + np.uint64(0x7FFF) + ((b >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)) << np.uint64(16)
    return b.astype(np.uint32).view(np.float32)


def logits(kind, seed, T, V):
    """-> float32 [T, V].  Row t uses hash seed  seed*1000003 + t."""
    out = np.empty((T, V), dtype=np.float32)
    for t in range(T):
        s = seed * 1000003 + t
        if kind == "uniform":
            row = np.zeros(V)
        else:
            par = u(s + 500009, np.arange(16))  # per-row parameters
            sigma = 0.5 + 3.0 * par[0]
            row = g(s, V) * sigma
            nspike = min(V, 1 + int(par[1] * 12))
            pos = (u(s + 700001, np.arange(nspike)) * V).astype(np.int64)
            amp = 4.0 + 20.0 * u(s + 900001, np.arange(nspike))
            if kind in ("gauss", "bf16", "offset", "masked", "padded"):
                for q, a in zip(pos, amp):
                    row[q] = row[q] + a
            if kind == "dominant":
                row = g(s, V)
                row[pos[0]] = row[pos[0]] + 60.0
            elif kind == "ties":
                row = g(s, V)
                hi = float(np.float32(row.max() + 5.0))
                row[pos[0]] = hi
                row[(pos[0] + 1) % V] = hi
            elif kind == "offset":
                row = row + 10000.0
            elif kind == "tiny":
                row = g(s, V) * 1e-3
            elif kind == "huge":
                row = g(s, V) * 10000.0
            elif kind == "masked":
                keep = u(s + 110017, np.arange(V)) < 0.25
                keep[pos[0]] = True
                keep[(pos[0] + 1) % V] = True
                row = np.where(keep, row, -np.inf)
            elif kind == "padded":  # config vocab larger than the tokenizer
                npad = max(1, V // 560)
                row[V - npad :] = 0.0
        out[t] = row.astype(np.float32)
    if kind == "bf16":
        out = bf16_round(out)
    return out


def chosen(seed, lg):
    """a sampled-token id per row: half the rows the arg-max (lowest id on ties), half a hashed finite id"""
    T, V = lg.shape
    ids = []
    for t in range(T):
        r = u(seed * 1000003 + t + 330047, np.arange(3))
        if r[0] < 0.5:
            ids.append(int(np.argmax(lg[t])))
        else:
            j = int(r[1] * V)
            while not np.isfinite(lg[t, j]):
                j = (j + 1) % V
            ids.append(j)
    return np.array(ids, dtype=np.int64)


def hidden(seed, n_pos, n_layers1, d, drift=0.35, sink=0.0):
    """float32 [n_pos, n_layers+1, d]: residual-stream-like random walk; position 0 gets a huge
    'attention sink' norm in the middle layers when sink > 0."""
    h = np.empty((n_pos, n_layers1, d), dtype=np.float64)
    for p in range(n_pos):
        x = g(seed * 7919 + p, d) * 0.5
        for l in range(n_layers1):
            if l > 0:
                x = x * (1.0 + 0.05 * l / n_layers1) + g(seed * 7919 + 100003 * l + p, d) * drift * (1.0 + 0.1 * l)
            h[p, l] = x
        if sink > 0.0 and p == 0:
            v = g(seed * 7919 + 999983, d)
            for l in range(2, n_layers1 - 1):
                h[0, l] = h[0, l] + sink * v
    return h.astype(np.float32)


def sha(a):
    return hashlib.sha256(np.ascontiguousarray(a).astype(a.dtype.newbyteorder("<")).tobytes()).hexdigest()

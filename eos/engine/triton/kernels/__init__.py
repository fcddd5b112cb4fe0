"""The kernels: what runs on the device.

The chunked ones serve every record with writes of rank one and decays over K, over V or both.
Inside a chunk of C steps, with D the products of decays over intervals and m the memory before it,

    A_rj = Σ_k s_rk D_rjk e_jk          B_rj = Σ_v dy_rv D_rjv i_jv                 the scores
    y_r  = Σ_j A_rj D_rj ∘ i_j + D_r ∘ (s_r ∘ D_r) m                                  rows of V
    ds_r = Σ_j B_rj D_rj ∘ e_j + D_r ∘ (dy_r ∘ D_r) mᵀ                                rows of K
    di_j = Σ_r A_rj D_rj ∘ dy_r + D_j ∘ (e_j ∘ D_j) λ                                 columns of V
    de_j = Σ_r B_rj D_rj ∘ s_r + D_j ∘ (i_j ∘ D_j) λᵀ                                 columns of K

with λ the gradient of the memory after the chunk. K and V stand in these formulas alike, so one backward kernel makes
the gradients of either axis; y are the rows of V. Memories are carried by one loop over the chunks, forward for m and
in reverse for λ, whose writes are (s, dy).

A decay is of kind 0 (none), 1 (one number a head) or 2 (one of every entry of its axis). ``Role`` says where a tensor
lies; its batch stride stands apart, in units of ``unit`` entries, because it grows with T.
"""

// Included like ../common/vectors.h: between rows of a batch and packed activations.

// from[i][j] to to[j][i], for up to a vector's width of i and j. The lanes of `to` that are not
// there become zero with `pad`, and are left alone without.
template <class E, bool round>
INLINE void transpose_square(const E *from, int64_t from_stride, int64_t rows, int64_t columns,
                             E *to, int64_t to_stride, bool pad) {
    constexpr int w = Vectors<E>::width;
    Vec<E> square[w];
    if (rows == w && columns == w) {
        for (int i = 0; i < w; ++i) square[i] = load(from + i * from_stride);
    } else {
        E part[w * w] = {};
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j) part[i * w + j] = from[i * from_stride + j];
        for (int i = 0; i < w; ++i) square[i] = load(part + i * w);
    }
    transpose<E>(square);
    if (round)
        for (int j = 0; j < w; ++j) square[j] = to_bfloat16(square[j]);
    if (columns == w && (rows == w || pad)) {
        for (int j = 0; j < w; ++j) store(to + j * to_stride, square[j]);
    } else {
        E part[w * w];
        for (int j = 0; j < w; ++j) store(part + j * w, square[j]);
        for (int64_t j = 0; j < columns; ++j)
            for (int64_t i = 0; i < (pad ? w : rows); ++i) to[j * to_stride + i] = part[j * w + i];
    }
}

// The rows of one tile of the batch that there are.
INLINE int64_t filled(const Chain &chain, int64_t tile) {
    const int64_t left = chain.batch - tile * chain.lanes;
    return left < chain.lanes ? left : chain.lanes;
}

INLINE int64_t tiles_of(const Chain &chain) {
    return (chain.batch + chain.lanes - 1) / chain.lanes;
}

static const int64_t PACKED_AT_ONCE = 256;  // features of a task

// A piece of a tile, in squares. Those along the features of one group of rows follow one another:
// so few rows are written or read at a time that they do not push each other out of the cache.
template <class E, bool forward, bool round>
INLINE void move_piece(E *row_major, int64_t features, int64_t rows, int64_t count, E *packed,
                       int64_t lanes) {
    constexpr int w = Vectors<E>::width;
    for (int64_t i = 0; i < rows; i += w)
        for (int64_t j = 0; j < count; j += w) {
            const int64_t m = rows - i < w ? rows - i : w, n = count - j < w ? count - j : w;
            E *const row = row_major + i * features + j, *const lane = packed + j * lanes + i;
            if (forward)
                transpose_square<E, round>(row, features, m, n, lane, lanes, true);
            else
                transpose_square<E, false>(lane, lanes, n, m, row, features, false);
        }
}

// Between x [batch, features] and packed.
template <class E, bool forward, bool round>
static void move_batch(const Chain &chain, E *x, int64_t features, E *packed) {
    const int64_t pieces = (features + PACKED_AT_ONCE - 1) / PACKED_AT_ONCE, lanes = chain.lanes;
    parallel(tiles_of(chain) * pieces, chain.threads, [=, &chain](int64_t task) {
        const int64_t tile = task / pieces, first = task % pieces * PACKED_AT_ONCE;
        const int64_t left = features - first, rows = filled(chain, tile);
        const int64_t count = left < PACKED_AT_ONCE ? left : PACKED_AT_ONCE;
        E *const there = packed + (tile * features + first) * lanes;
        if (forward && rows < lanes)
            std::memset(there, 0, sizeof(E) * static_cast<std::size_t>(count * lanes));
        move_piece<E, forward, round>(x + tile * lanes * features + first, features, rows, count,
                                      there, lanes);
    });
}

template <class E>
static void pack(const Chain &chain, const void *x, int64_t features, void *packed) {
    E *const from = static_cast<E *>(const_cast<void *>(x)), *const to = static_cast<E *>(packed);
    if (chain.type == 2)
        move_batch<E, true, true>(chain, from, features, to);
    else
        move_batch<E, true, false>(chain, from, features, to);
}

template <class E>
static void unpack(const Chain &chain, void *packed, int64_t features, void *x) {
    move_batch<E, false, false>(chain, static_cast<E *>(x), features, static_cast<E *>(packed));
}

// Lanes that the batch does not fill are zero again: a bias, or an infinite weight times zero,
// would otherwise go on into gradients.
template <class E>
INLINE void clear_unfilled(const Chain &chain, int64_t tile, E *rows, int64_t count) {
    const int64_t full = filled(chain, tile);
    if (full == chain.lanes) return;
    for (int64_t i = 0; i < count; ++i)
        for (int64_t lane = full; lane < chain.lanes; ++lane) rows[i * chain.lanes + lane] = 0;
}

// sums[i]: over the batch, of feature i.
template <class E, int V>
static void sum_batch(const Chain &chain, const E *packed, int64_t features, E *sums) {
    constexpr int w = Vectors<E>::width;
    constexpr int64_t lanes = V * w, at_once = 16 * w;
    const int64_t pieces = (features + at_once - 1) / at_once, tiles = tiles_of(chain);
    parallel(pieces, chain.threads, [=](int64_t piece) {
        const int64_t end = piece * at_once + at_once < features ? (piece + 1) * at_once : features;
        for (int64_t first = piece * at_once; first < end; first += w) {
            const int64_t count = end - first < w ? end - first : w;
            Vec<E> rows[w] = {};
            for (int64_t tile = 0; tile < tiles; ++tile)
                for (int64_t i = 0; i < count; ++i)
                    for (int q = 0; q < V; ++q)
                        rows[i] += load(packed + (tile * features + first + i) * lanes + q * w);
            const Vec<E> total = sums_of<E>(rows);
            std::memcpy(sums + first, &total, sizeof(E) * static_cast<std::size_t>(count));
        }
    });
}

// Sparse layers in panels on one observation, or two at once in a forward pass.
//
// A panel of the input fits into a few vector registers, where its columns are looked up by
// permutation (AVX-512), or into the nearest cache. Rows of a panel are short and begin anywhere,
// so much is done on whole vectors of entries, whatever their rows, and put aside. Runs of rows
// are so short that what was put aside stays in the nearest cache; meanwhile the weights of the
// next run are fetched.

constexpr int64_t RUN_ROWS = 64, RUN_ENTRIES = 4096;  // a row of a panel has at most 256 entries
constexpr int64_t AHEAD = 1024;

// Room for the entries of a run; whole vectors may reach beyond the last one.
struct Aside {
    alignas(64) float entries[RUN_ENTRIES + LANES];
};

#if VECTOR_BYTES == 64
INLINE __mmask16 up_to(int64_t n) {
    return n >= LANES ? 0xffff : static_cast<__mmask16>((1u << n) - 1);
}
// The first n entries, which are all that is read or written; 0 in the other lanes.
INLINE Floats some(const float *from, int64_t n) {
    return (Floats)_mm512_maskz_loadu_ps(up_to(n), from);
}
INLINE void put(float *to, Floats values, int64_t n) {
    _mm512_mask_storeu_ps(to, up_to(n), (__m512)values);
}
// sum + a b in the first n lanes
INLINE Floats added(Floats sum, Floats a, Floats b, int64_t n) {
    return (Floats)_mm512_mask3_fmadd_ps((__m512)a, (__m512)b, (__m512)sum, up_to(n));
}
// A table of 16 `parts` numbers, held in registers, and columns to be looked up in it.
template <int parts>
struct Table {
    __m512 part[parts];
    INLINE_MEMBER explicit Table(const float *x) {
        for (int i = 0; i < parts; ++i) part[i] = _mm512_loadu_ps(x + LANES * i);
    }
    INLINE_MEMBER void look_up(const uint8_t *, int64_t, Aside &) const {}
    // What is at the next of n columns.
    INLINE_MEMBER Floats at(const uint8_t *columns, const float *, int64_t n) const {
        // (The outer mask is not needed, but for GCC's header, which warns without one.)
        const __m512i at =
            _mm512_maskz_cvtepu8_epi32(0xffff, _mm_maskz_loadu_epi8(up_to(n), columns));
        __m512 found[parts / 2];
        for (int i = 0; i < parts / 2; ++i)
            found[i] = _mm512_permutex2var_ps(part[2 * i], at, part[2 * i + 1]);
        for (int left = parts / 4, bit = 32; left > 0; left /= 2, bit *= 2) {
            const __mmask16 upper = _mm512_test_epi32_mask(at, _mm512_set1_epi32(bit));
            for (int i = 0; i < left; ++i)
                found[i] = _mm512_mask_mov_ps(found[2 * i], upper, found[2 * i + 1]);
        }
        return (Floats)found[0];
    }
};
#else
INLINE Floats some(const float *from, int64_t n) {
    if (n >= LANES) return load(from);
    Floats values = {};
    for (int64_t i = 0; i < n; ++i) values[i] = from[i];
    return values;
}
INLINE void put(float *to, Floats values, int64_t n) {
    if (n >= LANES) return store(to, values);
    for (int64_t i = 0; i < n; ++i) to[i] = values[i];
}
// A table of 16 `parts` numbers, in memory: all columns of a run are looked up beforehand.
template <int parts>
struct Table {
    const float *x;
    INLINE_MEMBER explicit Table(const float *from) : x(from) {}
    INLINE_MEMBER void look_up(const uint8_t *columns, int64_t n, Aside &found) const {
        for (int64_t i = 0; i < n; ++i) found.entries[i] = x[columns[i]];
    }
    INLINE_MEMBER Floats at(const uint8_t *, const float *found, int64_t) const {
        return load(found);
    }
};
alignas(64) static const int32_t FIRST[2 * LANES] = {
    -1, -1, -1, -1,
#if VECTOR_BYTES == 32
    -1, -1, -1, -1,
#endif
};
// The first n entries, where reading a whole vector is no harm; 0 in the other lanes.
INLINE Floats first_of(const float *from, int64_t n) {
    Ints mask;
    std::memcpy(&mask, FIRST + LANES - n, sizeof mask);
    return (Floats)((Ints)load(from) & mask);
}
#endif

struct Panel {
    const int32_t *starts;   // [rows + 1]
    const uint8_t *columns;  // of the layer
    int64_t first, width;
    INLINE_MEMBER Panel(const Pattern &layer, int64_t number)
        : starts(layer.starts + number * (layer.outputs + 1)),
          columns(static_cast<const uint8_t *>(layer.columns)),
          first(number * layer.panel),
          width(layer.panel < layer.inputs - first ? layer.panel : layer.inputs - first) {}
    INLINE_MEMBER void copy_of(const float *x, float *table, int64_t size) const {
        std::memcpy(table, x + first, bytes(width));
        for (int64_t i = width; i < size; ++i) table[i] = 0;
    }
    // The end of a run of rows that begins at `row`.
    INLINE_MEMBER int64_t run(int64_t row, int64_t last) const {
        int64_t end = row + RUN_ROWS < last ? row + RUN_ROWS : last;
        while (starts[end] - starts[row] > RUN_ENTRIES) end = row + (end - row) / 2;
        return end;
    }
};

// --- forward ----------------------------------------------------------------------------

#if VECTOR_BYTES == 64
// output += W x for a run of rows, a vector of a row's entries at a time.
template <int parts, bool both>
INLINE void multiply_run(const Step &step, const Pass &pass, const Panel &panel, int64_t first,
                         int64_t last, const Table<parts> &table, const Table<parts> &second) {
    Floats sums[1 + both][LANES];
    for (int64_t row = first; row < last; row += LANES) {
        const int64_t rows = last - row < LANES ? last - row : LANES;
        for (int64_t r = 0; r < rows; ++r) {
            Floats sum{}, other{};
            const int64_t end = panel.starts[row + r + 1];
            __builtin_prefetch(step.weight + end + AHEAD);
            for (int64_t at = panel.starts[row + r]; at < end; at += LANES) {
                const int64_t n = end - at;
                const uint8_t *columns = panel.columns + at;
                const Floats weight = some(step.weight + at, n);
                sum = added(sum, weight, table.at(columns, nullptr, n), n);
                if (both) other = added(other, weight, second.at(columns, nullptr, n), n);
            }
            sums[0][r] = sum;
            if (both) sums[both][r] = other;
        }
        for (int which = 0; which <= both; ++which) {
            for (int64_t r = rows; r < LANES; ++r) sums[which][r] = Floats{};
            float *y = step.output + which * pass.other + row;
            put(y, some(y, rows) + sums_of<float>(sums[which]), rows);
        }
    }
}
#else
// The products of a run, whatever their rows.
template <int parts>
INLINE void multiply_some(const Table<parts> &table, const uint8_t *columns, const float *weight,
                          int64_t size, Aside &products) {
    table.look_up(columns, size, products);
    for (int64_t i = 0; i < size; i += LANES) {
        float *product = products.entries + i;
        store(product, load(product) * some(weight + i, size - i));
    }
}

// output += the sums of the products of each row.
INLINE void add_up(const int32_t *starts, int64_t rows, const float *products, float *output) {
    for (int64_t row = 0; row < rows; row += LANES) {
        const int64_t some_rows = rows - row < LANES ? rows - row : LANES;
        Floats sums[LANES] = {};
        for (int64_t r = 0; r < some_rows; ++r) {
            const int64_t end = starts[row + r + 1] - starts[0];
            int64_t at = starts[row + r] - starts[0];
            for (; at + LANES < end; at += LANES) sums[r] += load(products + at);
            sums[r] += first_of(products + at, end - at);
        }
        put(output + row, some(output + row, some_rows) + sums_of<float>(sums), some_rows);
    }
}

// output += W x for a run of rows.
template <int parts, bool both>
INLINE void multiply_run(const Step &step, const Pass &pass, const Panel &panel, int64_t first,
                         int64_t last, const Table<parts> &table, const Table<parts> &second) {
    const int64_t from = panel.starts[first], size = panel.starts[last] - from;
    const float *weight = step.weight + from;
    Aside products;
    for (int which = 0; which <= both; ++which) {
        multiply_some(which ? second : table, panel.columns + from, weight, size, products);
        add_up(panel.starts + first, last - first, products.entries,
               step.output + which * pass.other + first);
    }
}
#endif

template <int parts, bool both>
INLINE void forward_panel(const Step &step, const Pass &pass, const Panel &panel, int64_t first,
                          int64_t last) {
    alignas(64) float inputs[1 + both][parts * 16];
    for (int which = 0; which <= both; ++which)
        panel.copy_of(step.input + which * pass.other, inputs[which], parts * 16);
    const Table<parts> table(inputs[0]), second(inputs[both]);
    for (int64_t row = first, end; row < last; row = end) {
        end = panel.run(row, last);
        multiply_run<parts, both>(step, pass, panel, row, end, table, second);
    }
}

template <int parts>
INLINE void forward_panels(const Step &step, const Pass &pass, int64_t first, int64_t last) {
    const Pattern &layer = *step.pattern;
    for (int64_t number = 0; number * layer.panel < layer.inputs; ++number) {
        const Panel panel(layer, number);
        pass.rows == 2 ? forward_panel<parts, true>(step, pass, panel, first, last)
                       : forward_panel<parts, false>(step, pass, panel, first, last);
    }
}

// --- backward ---------------------------------------------------------------------------

// below[column] += product, entry by entry: a column may come again in the next row.
INLINE void scatter(float *below, const uint8_t *columns, const float *products, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t packed;
        std::memcpy(&packed, columns + i, 8);
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j)
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            below[(packed >> (56 - 8 * j)) & 0xff] += products[i + j];
#else
            below[(packed >> 8 * j) & 0xff] += products[i + j];
#endif
    }
    for (; i < n; ++i) below[columns[i]] += products[i];
}

// Every entry's gradient of its row's output; the last vector of a row reaches into the next.
INLINE void spread(const int32_t *starts, int64_t rows, const float *gradient, float *entries) {
    for (int64_t r = 0; r < rows; ++r) {
        const Floats g = all(gradient[r]);
        const int64_t end = starts[r + 1] - starts[0];
        for (int64_t at = starts[r] - starts[0]; at < end; at += LANES) store(entries + at, g);
    }
}

template <int parts, bool descend>
INLINE double accumulate_panel(const Step &step, const Pass &pass, const Panel &panel,
                               float *below) {
    alignas(64) float input[parts * 16];
    Aside gradients, found;  // and what goes down
    panel.copy_of(step.input, input, parts * 16);
    const Table<parts> table(input);
    const Floats decay = all(pass.scale);
    double sum = 0;
    for (int64_t row = 0, end; row < step.outputs; row = end) {
        end = panel.run(row, step.outputs);
        const int64_t from = panel.starts[row], size = panel.starts[end] - from;
        const uint8_t *columns = panel.columns + from;
        const float *weight = step.weight + from;
        float *trace = pass.trace + step.offset + from;
        spread(panel.starts + row, end - row, step.output_gradient + row, gradients.entries);
        table.look_up(columns, size, found);
        Floats norm{};
        for (int64_t i = 0; i < size; i += LANES) {
            const int64_t n = size - i;
            const Floats g = load(gradients.entries + i);
            __builtin_prefetch(trace + i + AHEAD, 1);
            Floats value = g * table.at(columns + i, found.entries + i, n);
            value = traced(some(trace + i, n), decay, value);
            put(trace + i, value, n);
            norm += n >= LANES ? magnitude(value) : magnitude(some(trace + i, n));
            if (descend) {
                __builtin_prefetch(weight + i + AHEAD);
                store(found.entries + i, g * some(weight + i, n));
                // The vector before: adding it up keeps other units busy than this one does.
                if (i > 0) scatter(below + panel.first, columns + i - LANES,
                                   found.entries + i - LANES, LANES);
            }
        }
        sum += static_cast<double>(total(norm));
        const int64_t left = size > 0 ? (size - 1) / LANES * LANES : 0;
        if (descend) scatter(below + panel.first, columns + left, found.entries + left, size - left);
    }
    return sum;
}

template <int parts>
INLINE double accumulate_panels(const Step &step, const Pass &pass, int64_t number) {
    const Panel panel(*step.pattern, number);
    float *below = step.input_gradient;
    return below ? accumulate_panel<parts, true>(step, pass, panel, below)
                 : accumulate_panel<parts, false>(step, pass, panel, below);
}

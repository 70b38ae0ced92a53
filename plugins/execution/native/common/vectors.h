// Included once per instruction set, inside a namespace, with VECTOR_BYTES and REGISTERS defined:
// vectors of the compiler's own kind, and what moves entries between their lanes.

template <class E>
struct Vectors {
    static constexpr int width = VECTOR_BYTES / sizeof(E);
    typedef E vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(E)), may_alias));
};
template <class E>
using Vec = typename Vectors<E>::vector;

template <class E>
INLINE Vec<E> load(const E *from) {
    return *reinterpret_cast<const Vec<E> *>(from);
}

// The same address, in one register: compilers otherwise spread address sums over many, in the
// innermost loops.
template <class E>
INLINE const E *in_register(const E *address) {
    asm("" : "+r"(address));
    return address;
}

// The same vector, in a register: loaded once, where compilers would rather read memory twice.
template <class E>
INLINE Vec<E> held(Vec<E> value) {
#if defined(__x86_64__)
    asm("" : "+v"(value));
#elif defined(__aarch64__)
    asm("" : "+w"(value));
#endif
    return value;
}

template <class E>
INLINE void store(E *to, Vec<E> value) {
    *reinterpret_cast<Vec<E> *>(to) = value;
}

// Lanes of a and b (those of b counted on from a's) in a given order.
#if defined(__clang__)
template <class E, std::size_t... lanes>
INLINE Vec<E> shuffled(Vec<E> a, Vec<E> b, std::index_sequence<lanes...>) {
    return __builtin_shufflevector(a, b, lanes...);
}
#else
template <std::size_t bytes>
struct Integer;
template <>
struct Integer<4> {
    typedef int32_t type;
};
template <>
struct Integer<8> {
    typedef int64_t type;
};
template <class E, std::size_t... lanes>
INLINE Vec<E> shuffled(Vec<E> a, Vec<E> b, std::index_sequence<lanes...>) {
    typedef typename Integer<sizeof(E)>::type I;
    typedef I order __attribute__((vector_size(VECTOR_BYTES)));
    return __builtin_shuffle(a, b, order{static_cast<I>(lanes)...});
}
#endif

// Lane l of `low` is a[l] where bit s of l is clear, else b[l - s]; that of `high` is a[l + s] where
// it is clear, else b[l]. With it a matrix of vectors is transposed, or summed across lanes.
template <class E, int s, std::size_t... l>
INLINE Vec<E> low_half(Vec<E> a, Vec<E> b, std::index_sequence<l...>) {
    constexpr int w = Vectors<E>::width;
    return shuffled<E>(a, b, std::index_sequence<(l & s ? w + l - s : l)...>());
}
template <class E, int s, std::size_t... l>
INLINE Vec<E> high_half(Vec<E> a, Vec<E> b, std::index_sequence<l...>) {
    constexpr int w = Vectors<E>::width;
    return shuffled<E>(a, b, std::index_sequence<(l & s ? w + l : l + s)...>());
}

template <class E>
using Lanes = std::make_index_sequence<Vectors<E>::width>;

template <class E, int s>
INLINE void transpose_steps(Vec<E> *rows) {
    if constexpr (s > 0) {
#pragma GCC unroll 16
        for (int i = 0; i < Vectors<E>::width; ++i) {
            if (i & s) continue;
            const Vec<E> a = rows[i], b = rows[i | s];
            rows[i] = low_half<E, s>(a, b, Lanes<E>());
            rows[i | s] = high_half<E, s>(a, b, Lanes<E>());
        }
        transpose_steps<E, s / 2>(rows);
    }
}

// Lane j of row i becomes lane i of row j.
template <class E>
INLINE void transpose(Vec<E> *rows) {
    transpose_steps<E, Vectors<E>::width / 2>(rows);
}

template <class E, int s>
INLINE Vec<E> sum_steps(Vec<E> *rows) {
    if constexpr (s == 0) {
        return rows[0];
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < s; ++i)
            rows[i] = low_half<E, s>(rows[i], rows[i + s], Lanes<E>()) +
                      high_half<E, s>(rows[i], rows[i + s], Lanes<E>());
        return sum_steps<E, s / 2>(rows);
    }
}

// Lane i is the sum of the lanes of row i.
template <class E>
INLINE Vec<E> sums_of(const Vec<E> *from) {
    constexpr int w = Vectors<E>::width;
    Vec<E> rows[w];
    for (int i = 0; i < w; ++i) rows[i] = held<E>(from[i]);
    return sum_steps<E, w / 2>(rows);
}

// max(v, 0), NaN where v is; and v where `of` is not at most 0: so PyTorch has it.
template <class E>
INLINE Vec<E> rectified(Vec<E> v, Vec<E> of) {
    return of <= 0 ? Vec<E>{} : v;
}

// The nearest bfloat16 of each lane, ties to even, NaN stays one; as float.
INLINE Vec<float> to_bfloat16(Vec<float> value) {
    typedef uint32_t bits __attribute__((vector_size(VECTOR_BYTES), may_alias));
    const bits b = (bits)value;
    const bits rounded = (b + 0x7fff + ((b >> 16) & 1)) & 0xffff0000u;
    return value == value ? (Vec<float>)rounded : value;
}
INLINE Vec<double> to_bfloat16(Vec<double> value) { return value; }

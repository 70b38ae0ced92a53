// Adam, and the average of a target network, in one pass over each parameter's memory. Called
// through ctypes by ../kernels.py, which owns all memory; nothing here allocates, throws or keeps
// state. For GCC and Clang; in several threads where the compiler has OpenMP.
//
// To the last bit the numbers of PyTorch's fused Adam followed by its lerp, on a CPU that has the
// instruction set: a product and a sum are rounded once where PyTorch's kernels round once. They
// take 32 bytes at a time and the rest of each parameter one by one, and round the second moment
// differently there. Compile with -ffp-contract=off.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#define INLINE static inline __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))

// Mirrored by ctypes structures in ../kernels.py; raise ABI with every change of either, and
// whenever what the exported function does changes.
static const int64_t ABI = 1;

struct Parameter {
    void *weight, *first, *second;  // and its moments
    void *target;                   // or null
    float *step;
    int64_t count;
};

struct Rule {
    double lr, beta1, beta2, eps, decay, tau;
    int64_t decoupled;  // decay of the weights, not a penalty in the gradients
    int64_t is_double;  // the elements' type
};

// --- one element -----------------------------------------------------------------------

template <bool once>
INLINE float product_sum(float a, float b, float c) {
    return once ? __builtin_fmaf(a, b, c) : a * b + c;
}

template <bool once>
INLINE double product_sum(double a, double b, double c) {
    return once ? __builtin_fma(a, b, c) : a * b + c;
}

INLINE float root(float x) { return __builtin_sqrtf(x); }
INLINE double root(double x) { return __builtin_sqrt(x); }

// A share of the way from one number to another, counted from the nearer of the two.
template <typename T>
struct Share {
    bool near;
    T factor;
};

template <typename T>
INLINE Share<T> share_of(double value) {
    const T share = static_cast<T>(value);
    const bool near = std::fabs(share) < T(0.5);
    return {near, near ? share : share - T(1)};
}

template <bool once, typename T>
INLINE T between(T from, T to, Share<T> share) {
    return product_sum<once>(share.factor, to - from, share.near ? from : to);
}

// What all elements of a parameter have in common.
template <typename T>
struct Factors {
    Share<T> first, target;
    T beta2, second, keep, penalty, size, correction, eps;
};

template <typename T, bool once>
INLINE Factors<T> factors_at(const Rule &rule, double step) {
    Factors<T> f;
    f.first = share_of<T>(1 - rule.beta1);
    f.target = share_of<T>(rule.tau);
    f.beta2 = static_cast<T>(rule.beta2);
    f.second = static_cast<T>(1 - rule.beta2);
    f.keep = static_cast<T>(product_sum<once>(-rule.lr, rule.decay, 1.0));
    f.penalty = static_cast<T>(rule.decay);
    f.size = static_cast<T>(-(rule.lr / (1 - std::pow(rule.beta1, step))));
    f.correction = static_cast<T>(std::sqrt(1 - std::pow(rule.beta2, step)));
    f.eps = static_cast<T>(rule.eps);
    return f;
}

template <typename T>
struct Arrays {
    T *weight, *first, *second, *target;
    const T *gradient;
};

template <typename T, bool once, bool decoupled, bool averaged, bool rest>
INLINE void move_one(const Arrays<T> &a, const Factors<T> &f, int64_t i) {
    const T weight = decoupled ? a.weight[i] * f.keep : a.weight[i];
    const T gradient = decoupled || f.penalty == 0
                           ? a.gradient[i]
                           : product_sum<once>(weight, f.penalty, a.gradient[i]);
    const T first = between<once>(a.first[i], gradient, f.first);
    const T gain = f.second * gradient;
    const T second = rest ? product_sum<once>(a.second[i], f.beta2, gain * gradient)
                          : product_sum<once>(gain, gradient, a.second[i] * f.beta2);
    const T moved = weight + f.size * first / (root(second) / f.correction + f.eps);
    a.first[i] = first;
    a.second[i] = second;
    a.weight[i] = moved;
    if (averaged) a.target[i] = between<once>(a.target[i], moved, f.target);
}

// --- a range of one parameter ----------------------------------------------------------

template <typename T, bool once, bool decoupled, bool averaged>
INLINE void move_range(const Arrays<T> &a, const Factors<T> &f, int64_t from, int64_t whole,
                       int64_t to) {
#pragma omp simd
    for (int64_t i = from; i < whole; ++i) move_one<T, once, decoupled, averaged, false>(a, f, i);
    for (int64_t i = whole; i < to; ++i) move_one<T, once, decoupled, averaged, true>(a, f, i);
}

template <typename T, bool once>
INLINE void average_range(const Arrays<T> &a, Share<T> share, int64_t from, int64_t to) {
#pragma omp simd
    for (int64_t i = from; i < to; ++i) a.target[i] = between<once>(a.target[i], a.weight[i], share);
}

template <typename T, bool once>
INLINE void range(const Arrays<T> &a, const Rule &rule, const Factors<T> &f, int64_t from,
                  int64_t to, int64_t count) {
    const int64_t lanes = 32 / sizeof(T), whole = std::min(to, count - count % lanes);
    if (!a.gradient) {
        if (a.target) average_range<T, once>(a, f.target, from, to);
    } else if (rule.decoupled) {
        a.target ? move_range<T, once, true, true>(a, f, from, whole, to)
                 : move_range<T, once, true, false>(a, f, from, whole, to);
    } else {
        a.target ? move_range<T, once, false, true>(a, f, from, whole, to)
                 : move_range<T, once, false, false>(a, f, from, whole, to);
    }
}

// --- all parameters --------------------------------------------------------------------

struct Work {
    const Parameter *parameters;
    const void *const *gradients;
    int64_t count;
    const Rule *rule;
};

// Elements `begin` to `end` of all parameters one after the other, rounded down to whole cache
// lines within each (and an end beyond a parameter to all of it). One thread's end is the next
// one's begin, so no two write one place, and where they meet changes no number.
template <typename T, bool once>
INLINE void part(const Work &work, int64_t begin, int64_t end) {
    const int64_t line = 64 / sizeof(T);
    float known = -1;
    Factors<T> factors{};
    for (int64_t k = 0, offset = 0; k < work.count; offset += work.parameters[k++].count) {
        const Parameter &p = work.parameters[k];
        if (begin - offset >= p.count) continue;  // all of its last line is the one before's
        const int64_t low = std::max<int64_t>(begin - offset, 0) / line * line;
        const int64_t high = end - offset >= p.count ? p.count : (end - offset) / line * line;
        if (low >= high) continue;
        if (*p.step != known) factors = factors_at<T, once>(*work.rule, known = *p.step);
        const Arrays<T> arrays{static_cast<T *>(p.weight), static_cast<T *>(p.first),
                               static_cast<T *>(p.second), static_cast<T *>(p.target),
                               static_cast<const T *>(work.gradients[k])};
        range<T, once>(arrays, *work.rule, factors, low, high, p.count);
    }
}

template <bool once>
INLINE void part_of_either(const Work &work, int64_t begin, int64_t end) {
    work.rule->is_double ? part<double, once>(work, begin, end)
                         : part<float, once>(work, begin, end);
}

// --- one version per instruction set ---------------------------------------------------
//
// Everything above is inlined into each and compiled for it.

typedef void (*Version)(const Work &, int64_t, int64_t);

#if defined(__x86_64__)
static void part_plain(const Work &w, int64_t a, int64_t b) { part_of_either<false>(w, a, b); }
__attribute__((target("avx2,fma"))) static void part_avx2(const Work &w, int64_t a, int64_t b) {
    part_of_either<true>(w, a, b);
}
static const Version VERSIONS[] = {part_plain, part_avx2};

static int64_t best_version() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
}
#else
#if defined(__ARM_FEATURE_FMA)
static const bool ONCE = true;
#else
static const bool ONCE = false;
#endif
static void part_plain(const Work &w, int64_t a, int64_t b) { part_of_either<ONCE>(w, a, b); }
static const Version VERSIONS[] = {part_plain};
static int64_t best_version() { return 0; }
#endif

static Version version = VERSIONS[best_version()];

// --- what Python calls -----------------------------------------------------------------

// Whether a library that was built earlier still fits the Python side.
EXPORT int64_t openwork_adam_abi(std::size_t parameter_size, std::size_t rule_size) {
    return parameter_size == sizeof(Parameter) && rule_size == sizeof(Rule) ? ABI : -1;
}

// For tests: use the instruction set of this number, or the machine's best if that is lower.
EXPORT int64_t openwork_adam_use(int64_t wanted) {
    const int64_t chosen = std::min(wanted, best_version());
    version = VERSIONS[chosen];
    return chosen;
}

// One step of every parameter that has a gradient (`gradients[k]` is not null), and of every
// target one towards its parameter.
EXPORT void openwork_adam_step(Parameter *parameters, const void *const *gradients, int64_t count,
                               const Rule *rule, int64_t threads) {
    int64_t total = 0;
    for (int64_t k = 0; k < count; ++k) {
        total += parameters[k].count;
        if (gradients[k]) *parameters[k].step += 1;
    }
    const Work work{parameters, gradients, count, rule};
    const Version run = version;
    // below this a thread costs more than it saves
    const int64_t parts = std::max<int64_t>(std::min(threads, total / 32768), 1);
#pragma omp parallel for num_threads(static_cast<int>(parts)) schedule(static, 1) if (parts > 1)
    for (int64_t i = 0; i < parts; ++i) run(work, total * i / parts, total * (i + 1) / parts);
}

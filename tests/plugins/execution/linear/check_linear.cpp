// All kernels on odd shapes and batches, against loops over dense matrices. For sanitizers: every
// array has exactly the size that the kernels may touch. Prints what is wrong, and returns 1.

#include "../../../../plugins/execution/native/linear/linear.cpp"

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

static std::mt19937 generator(1);

static double number() { return std::uniform_real_distribution<double>(-1, 1)(generator); }

// Exactly so many bytes past the start, unlike a vector's capacity.
template <class T>
struct Array {
    std::unique_ptr<T[]> data;
    int64_t size = 0;
    Array() = default;
    explicit Array(int64_t n) : data(new T[static_cast<std::size_t>(n)]()), size(n) {}
    explicit Array(const std::vector<T> &from) : Array(static_cast<int64_t>(from.size())) {
        for (int64_t i = 0; i < size; ++i) data[i] = from[i];
    }
    T &operator[](int64_t i) { return data[i]; }
};

struct Layer {
    int64_t outputs, inputs;
    std::vector<int64_t> places;  // of each value in the dense matrix
    Array<int32_t> starts, t_starts, block_columns, block_rows, block_places;
    Array<uint8_t> columns, t_rows;
    Array<uint16_t> t_places;
    Pattern layer;
};

static std::unique_ptr<Layer> panels(int64_t n, int64_t k, double density, int64_t panel,
                                     int64_t block) {
    auto made = std::make_unique<Layer>();
    std::vector<char> mask(static_cast<std::size_t>(n * k));
    for (char &kept : mask) kept = (number() + 1) / 2 < density;
    std::vector<int32_t> starts, t_starts;
    std::vector<uint8_t> columns, t_rows;
    std::vector<uint16_t> t_places;
    std::vector<int32_t> value(mask.size());
    for (int64_t first = 0; first < k; first += panel)
        for (int64_t i = 0; i <= n; ++i) {
            starts.push_back(static_cast<int32_t>(columns.size()));
            for (int64_t j = first; i < n && j < k && j < first + panel; ++j) {
                if (!mask[i * k + j]) continue;
                value[i * k + j] = static_cast<int32_t>(columns.size());
                columns.push_back(static_cast<uint8_t>(j - first));
                made->places.push_back(i * k + j);
            }
        }
    for (int64_t top = 0; top < n; top += block)
        for (int64_t j = 0; j <= k; ++j) {
            t_starts.push_back(static_cast<int32_t>(t_rows.size()));
            for (int64_t i = top; j < k && i < n && i < top + block; ++i) {
                if (!mask[i * k + j]) continue;
                t_rows.push_back(static_cast<uint8_t>(i - top));
                const int32_t base = starts[j / panel * (n + 1) + top];
                t_places.push_back(static_cast<uint16_t>(value[i * k + j] - base));
            }
        }
    made->starts = Array<int32_t>(starts), made->t_starts = Array<int32_t>(t_starts);
    made->columns = Array<uint8_t>(columns), made->t_rows = Array<uint8_t>(t_rows);
    made->t_places = Array<uint16_t>(t_places);
    made->outputs = n, made->inputs = k;
    made->layer = {n, k, static_cast<int64_t>(columns.size()), 0, panel, block,
                   made->starts.data.get(), made->columns.data.get(), made->t_starts.data.get(),
                   made->t_rows.data.get(), made->t_places.data.get()};
    return made;
}

static std::unique_ptr<Layer> blocks(int64_t rows, int64_t columns, double density) {
    auto made = std::make_unique<Layer>();
    std::vector<int32_t> starts{0}, others, t_starts{0}, t_rows, places;
    std::vector<int32_t> found(static_cast<std::size_t>(rows * columns), -1);
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
            if ((number() + 1) / 2 >= density) continue;
            found[i * columns + j] = static_cast<int32_t>(others.size());
            others.push_back(static_cast<int32_t>(j));
            for (int64_t a = 0; a < 256; ++a)
                made->places.push_back((i * 16 + a / 16) * columns * 16 + j * 16 + a % 16);
        }
        starts.push_back(static_cast<int32_t>(others.size()));
    }
    for (int64_t j = 0; j < columns; ++j) {
        for (int64_t i = 0; i < rows; ++i) {
            if (found[i * columns + j] < 0) continue;
            t_rows.push_back(static_cast<int32_t>(i));
            places.push_back(found[i * columns + j]);
        }
        t_starts.push_back(static_cast<int32_t>(t_rows.size()));
    }
    made->starts = Array<int32_t>(starts), made->t_starts = Array<int32_t>(t_starts);
    made->block_columns = Array<int32_t>(others), made->block_rows = Array<int32_t>(t_rows);
    made->block_places = Array<int32_t>(places);
    made->outputs = rows * 16, made->inputs = columns * 16;
    made->layer = {rows * 16, columns * 16, static_cast<int64_t>(others.size()) * 256, 1, 16, 16,
                   made->starts.data.get(), made->block_columns.data.get(),
                   made->t_starts.data.get(), made->block_rows.data.get(),
                   made->block_places.data.get()};
    return made;
}

// --- a chain, by the kernels and by loops ----------------------------------------------

typedef std::vector<double> Matrix;

// a [rows, inner] times b [inner, columns]
static Matrix product(const Matrix &a, const Matrix &b, int64_t rows, int64_t inner,
                      int64_t columns) {
    Matrix c(static_cast<std::size_t>(rows * columns));
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < inner; ++j)
            for (int64_t k = 0; k < columns; ++k)
                c[i * columns + k] += a[i * inner + j] * b[j * columns + k];
    return c;
}

static Matrix turned(const Matrix &a, int64_t rows, int64_t columns) {
    Matrix b(a.size());
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) b[j * rows + i] = a[i * columns + j];
    return b;
}

template <class E>
static double difference(const Array<E> &got, const Matrix &wanted) {
    double most = 0, scale = 1;
    for (int64_t i = 0; i < got.size; ++i) {
        most = std::fmax(most, std::fabs(got.data[i] - wanted[i]));
        scale = std::fmax(scale, std::fabs(wanted[i]));
    }
    return most / scale;
}

template <class E>
static Array<E> numbers(int64_t n) {
    Array<E> made(n);
    for (int64_t i = 0; i < n; ++i) made[i] = static_cast<E>(number());
    return made;
}

template <class E>
static Matrix exactly(const Array<E> &a) {
    return Matrix(a.data.get(), a.data.get() + a.size);
}

template <class E>
static double check(const std::vector<Layer *> &layers, int64_t batch, int64_t lanes, bool relu,
                    int64_t threads) {
    const std::size_t n = layers.size();
    const int64_t rows = (batch + lanes - 1) / lanes * lanes;
    std::vector<Link> links(n);
    std::vector<Array<E>> weights, biases, dweights, dbiases, packed, gradients;
    int64_t most = 0;
    packed.emplace_back(rows * layers[0]->inputs), gradients.emplace_back(rows * layers[0]->inputs);
    for (Layer *layer : layers) {
        weights.push_back(numbers<E>(layer->layer.count));
        biases.push_back(numbers<E>(layer->outputs));
        dweights.emplace_back(layer->layer.count), dbiases.emplace_back(layer->outputs);
        packed.emplace_back(rows * layer->outputs), gradients.emplace_back(rows * layer->outputs);
        most = layer->layer.count > most ? layer->layer.count : most;
    }
    for (std::size_t i = 0; i < n; ++i)
        links[i] = {&layers[i]->layer, weights[i].data.get(), biases[i].data.get(),
                    dweights[i].data.get(), dbiases[i].data.get(), packed[i].data.get(),
                    packed[i + 1].data.get(), gradients[i].data.get(),
                    gradients[i + 1].data.get(), relu};
    Array<E> x = numbers<E>(batch * layers[0]->inputs), y(batch * layers[n - 1]->outputs);
    Array<E> dy = numbers<E>(y.size), dx(x.size), scratch(most);
    const Chain chain = {links.data(), static_cast<int64_t>(n), batch, lanes, sizeof(E) == 8,
                         threads, x.data.get(), y.data.get(), dy.data.get(), dx.data.get(),
                         scratch.data.get()};
    openwork_linear_forward(&chain);
    openwork_linear_backward(&chain);

    std::vector<Matrix> inputs{exactly(x)}, dense;
    for (std::size_t i = 0; i < n; ++i) {
        const int64_t out = layers[i]->outputs, in = layers[i]->inputs;
        dense.emplace_back(static_cast<std::size_t>(out * in));
        for (int64_t e = 0; e < layers[i]->layer.count; ++e)
            dense[i][layers[i]->places[e]] = weights[i][e];
        inputs.push_back(product(inputs[i], turned(dense[i], out, in), batch, in, out));
        for (int64_t j = 0; j < batch * out; ++j) {
            double &value = inputs[i + 1][j];
            value += biases[i][j % out];
            if (relu && value < 0) value = 0;
        }
    }
    double worst = difference(y, inputs[n]);
    Matrix gradient = exactly(dy);
    for (std::size_t i = n; i-- > 0;) {
        const int64_t out = layers[i]->outputs, in = layers[i]->inputs;
        Matrix sums(static_cast<std::size_t>(out));
        for (int64_t j = 0; j < batch * out; ++j) {
            if (relu && inputs[i + 1][j] <= 0) gradient[j] = 0;
            sums[j % out] += gradient[j];
        }
        const Matrix outer = product(turned(gradient, batch, out), inputs[i], out, batch, in);
        Matrix kept;
        for (int64_t place : layers[i]->places) kept.push_back(outer[place]);
        worst = std::fmax(worst, difference(dweights[i], kept));
        worst = std::fmax(worst, difference(dbiases[i], sums));
        gradient = product(gradient, dense[i], batch, out, in);
    }
    return std::fmax(worst, difference(dx, gradient));
}

int main() {
    std::vector<std::unique_ptr<Layer>> all;
    const auto keep = [&all](std::unique_ptr<Layer> layer) {
        all.push_back(std::move(layer));
        return all.back().get();
    };
    const std::vector<std::vector<Layer *>> chains = {
        {keep(panels(1, 1, 1, 64, 64))},
        {keep(panels(7, 300, 0.1, 256, 256)), keep(panels(13, 7, 1, 64, 5))},
        {keep(panels(70, 33, 0.5, 16, 32)), keep(panels(5, 70, 0.02, 64, 64)),
         keep(panels(3, 5, 0, 256, 128))},
        {keep(blocks(3, 2, 0.6)), keep(panels(33, 48, 0.3, 7, 9))},
        {keep(panels(64, 9, 0.4, 4, 50)), keep(blocks(1, 4, 0.8)), keep(blocks(2, 1, 0.5))}};
    int failures = 0;
#if defined(OPENWORK_ONE_LEVEL)
    const int64_t batches[] = {1, 65, 130};
#else
    const int64_t batches[] = {1, 2, 15, 16, 17, 33, 64, 65, 127, 300};
#endif
    for (int64_t level = 0; level <= best_version(); ++level) {
        openwork_linear_use(level);
        for (const auto &chain : chains)
            for (int64_t batch : batches)
                for (int64_t lanes = 16; lanes <= 64; lanes *= 2)
                    for (int relu = 0; relu < 2; ++relu) {
                        const double single = check<float>(chain, batch, lanes, relu, 3);
                        const double twice = check<double>(chain, batch, lanes, relu, 3);
                        if (single < 1e-4 && twice < 1e-13) continue;
                        ++failures;
                        std::printf("level %d, batch %d, lanes %d, relu %d: %g %g\n", int(level),
                                    int(batch), int(lanes), relu, single, twice);
                    }
    }
    return failures > 0;
}

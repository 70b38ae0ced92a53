// Included like ../common/vectors.h: a chain of layers, forward and backward.

template <class E, int V>
static void forward_chain(const Chain &chain) {
    const Link *const links = chain.links;
    pack<E>(chain, chain.x, links[0].layer->inputs, links[0].input);
    for (int64_t i = 0; i < chain.count; ++i) {
        const Link &link = links[i];
        const Ending ending = {link.relu != 0, chain.type == 2 && i + 1 < chain.count};
        if (link.layer->kind == 0)
            forward_panels<E, V>(chain, link, ending);
        else
            multiply_blocks<E, V>(chain, forward_direction(*link.layer),
                                  static_cast<const E *>(link.weight),
                                  static_cast<const E *>(link.bias),
                                  static_cast<const E *>(link.input),
                                  static_cast<E *>(link.output), static_cast<const E *>(nullptr),
                                  ending);
    }
    const Link &last = links[chain.count - 1];
    unpack<E>(chain, last.output, last.layer->outputs, chain.y);
}

// The gradient of the linear part, in place, of that after the ReLU.
template <class E, int V>
static void mask_gradient(const Chain &chain, const Link &link) {
    const int64_t size = link.layer->outputs * chain.lanes;
    const E *const output = static_cast<const E *>(link.output);
    E *const gradient = static_cast<E *>(link.output_gradient);
    parallel(tiles_of(chain), chain.threads, [=](int64_t tile) {
        for (int64_t i = tile * size; i < (tile + 1) * size; i += Vectors<E>::width)
            store(gradient + i, rectified<E>(load(gradient + i), load(output + i)));
    });
}

template <class E, int V>
static void backward_link(const Chain &chain, const Link &link, Ending ending) {
    if (link.layer->kind == 0) {
        if (link.input_gradient && link.weight_gradient)
            backward_panels<E, V, true, true>(chain, link, ending);
        else if (link.weight_gradient)
            backward_panels<E, V, false, true>(chain, link, ending);
        else if (link.input_gradient)
            backward_panels<E, V, true, false>(chain, link, ending);
    } else {
        if (link.weight_gradient) gradient_blocks<E, V>(chain, link);
        if (link.input_gradient)
            multiply_blocks<E, V>(chain, backward_direction(*link.layer),
                                  static_cast<const E *>(link.weight),
                                  static_cast<const E *>(nullptr),
                                  static_cast<const E *>(link.output_gradient),
                                  static_cast<E *>(link.input_gradient),
                                  static_cast<const E *>(link.input), ending);
    }
    if (link.bias_gradient)
        sum_batch<E, V>(chain, static_cast<const E *>(link.output_gradient), link.layer->outputs,
                        static_cast<E *>(link.bias_gradient));
}

template <class E, int V>
static void backward_chain(const Chain &chain) {
    const Link *const links = chain.links;
    const Link &last = links[chain.count - 1];
    pack<E>(chain, chain.dy, last.layer->outputs, last.output_gradient);
    if (last.relu) mask_gradient<E, V>(chain, last);
    for (int64_t i = chain.count; i-- > 0;) {
        const bool below = i > 0;
        backward_link<E, V>(chain, links[i],
                            {below && links[i - 1].relu, below && chain.type == 2});
    }
    if (chain.dx)
        unpack<E>(chain, links[0].input_gradient, links[0].layer->inputs, chain.dx);
}

template <class E, bool backward, int lanes>
static void run_lanes(const Chain &chain) {
    constexpr int V = lanes / Vectors<E>::width;
    if constexpr (backward)
        backward_chain<E, V>(chain);
    else
        forward_chain<E, V>(chain);
}

template <class E, bool backward>
static void run(const Chain &chain) {
    switch (chain.lanes) {
        case 16: return run_lanes<E, backward, 16>(chain);
        case 32: return run_lanes<E, backward, 32>(chain);
        default: return run_lanes<E, backward, 64>(chain);
    }
}

static const Version VERSION = {run<float, false>, run<float, true>, run<double, false>,
                                run<double, true>};

"""Compact layers under functional calls, vmap, torch.compile, TensorDict and TorchRL."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.pattern.build import pattern_of
from tests.plugins.execution.linear.sparse_pairs import WAYS, InTurn, chains, kept, pair
from tests.support.fake_cuda import CUDA, LAZY, NoTransfers, claim, claim_module, fake_device

torch.set_num_threads(1)
DOUBLE = torch.float64


def mask_of(outputs, inputs, count, seed):
    """Exactly ``count`` kept weights, so that layers with different masks stack."""
    places = torch.randperm(outputs * inputs, generator=torch.Generator().manual_seed(seed))[:count]
    mask = torch.zeros(outputs * inputs, dtype=torch.bool)
    mask[places] = True
    return mask.view(outputs, inputs)


def critic(seed, native):
    """A network of two compact layers, and its dense twin."""
    torch.manual_seed(seed)
    first, last = (pair(mask_of(*size, seed), native=native) for size in ((9, 8, 30), (1, 9, 4)))
    return tuple(InTurn([first[i], nn.ReLU(), last[i]]) for i in (0, 1))


def both(native, count=3):
    dense, compact = zip(*(critic(seed, native) for seed in range(count)), strict=True)
    return list(dense), list(compact)


def stacked(modules):
    parameters, buffers = stack_module_state(modules)
    base = copy.deepcopy(modules[0]).to("meta")
    return (parameters, buffers), lambda p, b, x: functional_call(base, (p, b), (x,))


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("shared", [True, False])
def test_vmap_over_stacked_networks_with_masks_of_their_own(native, shared):
    dense, compact = both(native)
    assert len({m.layers[0].pattern.number for m in compact}) == 3
    x = torch.randn(*(() if shared else (3,)), 6, 8, dtype=DOUBLE, requires_grad=True)
    found = []
    for modules in (dense, compact):
        state, call = stacked(modules)
        y = vmap(call, in_dims=(0, 0, None if shared else 0))(*state, x)
        found.append((y, torch.autograd.grad(y.pow(2).sum(), [x, *state[0].values()]), state[0]))
    (want_y, (want_x, *want), _), (y, (dx, *got), names) = found
    torch.testing.assert_close(y, want_y)
    torch.testing.assert_close(dx, want_x)
    for name, a, b in zip(names, got, want, strict=True):
        for i, module in enumerate(compact):
            torch.testing.assert_close(a[i], kept(module, name, b[i]))


@pytest.mark.parametrize("native", WAYS)
def test_a_stack_made_of_one_pattern_would_be_wrong(native):
    """What the buffer of each layer is for: its number must travel with its weights."""
    _, compact = both(native)
    (parameters, buffers), call = stacked(compact)
    x = torch.randn(6, 8, dtype=DOUBLE)
    right = vmap(call, in_dims=(0, 0, None))(parameters, buffers, x)
    first = {name: value[:1].expand_as(value) for name, value in buffers.items()}
    wrong = vmap(call, in_dims=(0, 0, None))(parameters, first, x)
    torch.testing.assert_close(wrong[0], right[0])
    assert not torch.allclose(wrong[1], right[1])


@pytest.mark.parametrize("native", WAYS)
def test_gradients_of_every_row(native):
    (dense, *_), (compact, *_) = both(native)
    x = torch.randn(6, 8, dtype=DOUBLE)

    def rows(module):
        parameters = list(module.parameters())
        y = module(x).squeeze(-1)
        return torch.autograd.grad(y, parameters, torch.eye(6, dtype=DOUBLE), is_grads_batched=True)

    def samples(module):
        def objective(parameters, row):
            return functional_call(module, parameters, (row[None],)).sum()

        parameters = dict(module.named_parameters())
        return tuple(vmap(grad(objective), in_dims=(None, 0))(parameters, x).values())

    names = [name for name, _ in compact.named_parameters()]
    for of in (rows, samples):
        for name, got, want in zip(names, of(compact), of(dense), strict=True):
            torch.testing.assert_close(got, kept(compact, name, want), msg=f"{of.__name__} {name}")


@pytest.mark.parametrize("native", WAYS)
def test_values_jacobians_and_gradients_of_functions(native):
    (dense, *_), (compact, *_) = both(native)
    x = torch.randn(4, 8, dtype=DOUBLE)
    for of in (torch.func.jacrev, lambda f: grad(lambda x: f(x).pow(2).sum())):
        torch.testing.assert_close(of(compact)(x), of(dense)(x))


@pytest.mark.parametrize(
    ("native", "backend"),
    [
        pytest.param(*way.values, backend, marks=way.marks, id=f"{way.id}, {backend}")
        for way, backend in zip(WAYS, ("inductor", "aot_eager"), strict=True)
    ],
)
def test_compiled_in_one_graph(native, backend):
    torch._dynamo.reset()
    torch.manual_seed(0)
    _, compact = chains([6, 9, 4], [True, False], [0.5, 0.5], native=native)

    def objective(x):
        return compact(x).sigmoid().sum()

    compiled = torch.compile(objective, backend=backend, fullgraph=True)
    for batch in (5, 5, 18, 70):
        x = torch.randn(batch, 6, dtype=DOUBLE, requires_grad=True)
        wanted = [x, *compact.parameters()]
        got, want = (torch.autograd.grad(of(x), wanted) for of in (compiled, objective))
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), objective(x))
    counters = torch._dynamo.utils.counters
    assert not counters["graph_break"]
    # Other masks, so other sizes and another number: no stale graph.
    pattern = pattern_of(mask_of(9, 6, 20, 1))
    compact.layers[0].exchange_pattern(pattern)
    compact.layers[0].weight = nn.Parameter(torch.randn(20, dtype=DOUBLE))
    torch.testing.assert_close(compiled(x), objective(x))
    torch._dynamo.reset()


@pytest.mark.parametrize("device", [CUDA, LAZY])
def test_on_a_device_nothing_meets_the_cpu_and_nothing_is_read(device):
    """The products there are densified; the pattern's number stays where it is read."""
    _, compact = chains([6, 9, 4], [True, False], [0.5, 0.5], dtype=torch.float32)
    numbers = [layer.pattern_id for layer in compact.layers[::2]]
    with fake_device(device) as mode, NoTransfers():
        claim_module(mode, compact)
        x = claim(mode, torch.randn(5, 6))
        with torch.no_grad():
            assert compact(x).device == device
        if device == LAZY:
            parameters = list(compact.parameters())
            found = torch.autograd.grad(compact(x).sum(), parameters)
            assert {g.device for g in found} == {device}
            assert [g.shape for g in found] == [p.shape for p in parameters]
    assert all(number.device.type == "cpu" for number in numbers)


# --- TensorDict and TorchRL ---------------------------------------------------------------


@pytest.mark.parametrize("native", WAYS)
def test_functional_calls_of_tensordict(native):
    dense, compact = both(native)
    x = torch.randn(6, 8, dtype=DOUBLE)
    alone = TensorDict.from_module(compact[0])
    with alone.to_module(compact[0]):
        torch.testing.assert_close(compact[0](x), dense[0](x))
    doubled = alone.apply(lambda t: t * 2 if t.is_floating_point() else t)
    with doubled.to_module(compact[0]):
        assert not torch.allclose(compact[0](x), dense[0](x))
    stack = TensorDict.from_modules(*compact, as_module=True)
    base = copy.deepcopy(compact[0]).to("meta")

    def call(parameters):
        with parameters.to_module(base):
            return base(x)

    got = vmap(call)(stack)
    torch.testing.assert_close(got, torch.stack([module(x) for module in dense]))


def sac(modules, actor, **options):
    from torchrl.modules import NormalParamExtractor, ProbabilisticActor, TanhNormal, ValueOperator
    from torchrl.objectives import SACLoss

    head = nn.Sequential(copy.deepcopy(actor), NormalParamExtractor())
    module = TensorDictModule(head, ["observation"], ["loc", "scale"])
    policy = ProbabilisticActor(module, ["loc", "scale"], distribution_class=TanhNormal)

    class Joined(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, observation, action):
            return self.inner(torch.cat((observation, action), -1))

    values = [ValueOperator(Joined(m), in_keys=["observation", "action"]) for m in modules]
    torch.manual_seed(3)
    # A list: of one network, TorchRL would draw the second's weights anew.
    return SACLoss(policy, values, num_qvalue_nets=len(values), target_entropy=-2.0, **options)


def hold_at_zero(parameters, compact):
    """Zero the gradients of the dense twin's removed weights."""
    for i, module in enumerate(compact):
        for path, layer in module.named_modules():
            if type(layer) is SparseLinear:
                mask = layer.expanded(torch.ones_like(layer.weight.detach()))
                (name,) = [n for n, _ in parameters.items() if n.endswith(f"inner.{path}.weight")]
                parameters[name].grad[i] *= mask


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize("looped", [False, True], ids=["vmap", "loop"])
def test_torchrls_sac_has_the_losses_and_gradients_of_its_dense_twin(native, looped):
    from torchrl.objectives import SoftUpdate

    dense, compact = both(native, count=2)
    torch.manual_seed(0)
    actor = nn.Linear(6, 4, dtype=DOUBLE)
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=DOUBLE)

    flags = {name: torch.zeros(16, 1, dtype=torch.bool) for name in ("done", "terminated")}
    following = {"observation": draw(16, 6), "reward": draw(16, 1), **flags}
    batch = TensorDict(
        {"observation": draw(16, 6), "action": draw(16, 2).tanh(), "next": following}, [16]
    )
    found = []
    for modules in (dense, compact):
        loss = sac(modules, actor, deactivate_vmap=looped)
        loss.make_value_estimator(gamma=0.9)
        update = SoftUpdate(loss, eps=0.9)
        parameters = loss.qvalue_network_params.flatten_keys(".")
        optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2, eps=1e-2)
        seen = []
        for step in range(3):
            torch.manual_seed(step)
            values = loss(batch.clone())
            total = values["loss_qvalue"] + values["loss_actor"] + values["loss_alpha"]
            optimizer.zero_grad()
            total.backward()
            if modules is dense:
                hold_at_zero(parameters, compact)
            gradients = {n: p.grad.clone() for n, p in parameters.items() if p.is_floating_point()}
            seen.append((total.detach(), gradients))
            optimizer.step()
            update.step()
        found.append(seen)
    want, got = found
    for (total, gradients), (dense_total, dense_gradients) in zip(got, want, strict=True):
        torch.testing.assert_close(total, dense_total)
        checked = 0
        for name, gradient in gradients.items():
            inner = name.partition("inner.")[2]
            for i, module in enumerate(compact):
                expected = kept(module, inner, dense_gradients[name][i])
                torch.testing.assert_close(gradient[i], expected, msg=name)
                checked += 1
        assert checked == 8


def test_a_functional_module_is_saved_and_copied():
    _, compact = both(False, count=1)
    module = TensorDictSequential(TensorDictModule(compact[0], ["x"], ["y"]))
    x = torch.randn(6, 8, dtype=DOUBLE)
    want = compact[0](x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        twin.load_state_dict(torch.load(file, weights_only=True))
        file.seek(0)
        torch.testing.assert_close(twin(TensorDict({"x": x}, [6]))["y"], want)
    assert type(compact[0].layers[0]) is SparseLinear

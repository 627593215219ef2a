"""The steps that accelerators get hold nothing that the compilers refuse, and the compilers take them.

The compilers are no dependencies. NGE_PLUGINS_DIR names the folder with the compilers for `compile_ahead.py`.
"""

import os
import re

import jax
import pytest

import compile_ahead
from ahead import chips
from ahead.kernels import DEPTHWISE, ONE_IMAGE, Kernel, list_kernels
from ahead.launches import DEFAULT, count_launches
from ahead.programs import PROGRAMS, Size
from nge_jax.devices import parallel

# The smallest sizes with a cell behind a reduction cell and all parts of an atrous network.
CELLS = {
    "search_weights": 2,
    "search_embedding": 2,
    "gumbel_weights": 2,
    "gumbel_embedding": 2,
    "partial_weights": 2,
    "partial_embedding": 2,
    "sampled_weights": 2,
    "segmentation": 4,
}
# A slice of any type with a step that is not 1, such as [0:64, 0:32:2].
STRIDED = re.compile(r"stablehlo\.slice [^\n]*\[[^\]\n]*\d+:\d+:\d+")


def test_a_strided_slice_is_told_from_others():
    for pixels, count in ((slice(None, None, 2), 1), (slice(1, 3), 0)):
        lowered = jax.jit(lambda x, pixels=pixels: x[:, pixels]).lower(jax.numpy.ones((4, 4, 3)))
        assert "stablehlo.slice" in lowered.as_text()
        assert len(STRIDED.findall(lowered.as_text())) == count


@pytest.mark.whole
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_product_reads_a_strided_slice(name):
    """XLA's GPU compiler may pull a slice into a product, and aborts on a strided slice: see `strided_pointwise`."""
    size = Size(
        CELLS.get(name, 3),
        channels=8 if name.startswith("partial") else 4,  # a quarter of the channels is even
        batch_size=2,
        image_size=97 if name == "segmentation" else None,
    )
    traced = PROGRAMS[name](size).trace(jax.devices()[:1])
    program = traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
    assert "stablehlo.dot_general" in program
    assert STRIDED.findall(program) == []


@pytest.mark.parametrize(
    "name, shapes",
    [
        # Searches draw images of their own, and cells share the images.
        ("search_weights", ((), (3, 2, 14, 7), (3, 2, 32, 32, 3))),
        ("search_embedding", ((), (3, 2, 32, 32, 3), (3, 2))),
        ("any_cell", ((), (2, 32, 32, 3), (2,))),
    ],
)
def test_searches_and_cells_stand_side_by_side(name, shapes):
    one = PROGRAMS[name](Size(cells=1, channels=4, batch_size=2))
    several = one.side_by_side(3)
    state, *others = jax.eval_shape(several.make_arguments)
    found = (state.step, *(jax.tree.leaves(argument)[0] for argument in others))
    assert tuple(array.shape for array in found)[:3] == shapes
    first = jax.tree.leaves(jax.eval_shape(one.make_arguments)[0].params)
    assert [(3, *a.shape) for a in first] == [a.shape for a in jax.tree.leaves(state.params)]
    with pytest.raises(ValueError, match="only steps of a search"):
        PROGRAMS["train_cifar"](Size(cells=1, channels=4, batch_size=2)).side_by_side(2)


@pytest.mark.parametrize("image_size", [8, 32])
def test_a_training_on_images_too_small_for_the_auxiliary_head_has_none(image_size):
    size = Size(cells=3, channels=4, batch_size=2, image_size=image_size)
    state, *_ = jax.eval_shape(PROGRAMS["train_cifar"](size).make_arguments)
    assert ("auxiliary" in state.params) == (image_size == 32)


# These sizes are not tiny, because the compiler compiles programs with few channels differently.
SEARCH = "--cells=2", "--channels=16", "--batch_size=64"
COMPILED = {
    **{("h100", name): SEARCH for name in compile_ahead.PROGRAMS[:10]},
    ("h100", "nas_bench_201_weights"): ("--cells=1", "--batch_size=64"),
    ("h100", "nas_bench_201_embedding"): ("--cells=1", "--batch_size=64"),
    ("h100", "train_cifar"): ("--cells=4", "--channels=16", "--batch_size=64"),
    ("h100", "train_imagenet"): ("--cells=4", "--channels=16", "--batch_size=16"),
    # The image size is odd, as for an atrous network.
    ("h100", "segmentation"): ("--cells=4", "--channels=4", "--batch_size=2", "--image_size=97"),
    ("h100", "predict"): ("--cells=4", "--channels=16", "--batch_size=16"),
    # The TPU's compiler takes minutes for a single mixed cell. There is only time for a small network.
    ("v5e", "predict"): ("--cells=3", "--channels=4", "--batch_size=4"),
}


@pytest.mark.whole
@pytest.mark.parametrize("chip, program", COMPILED)
def test_the_accelerators_compiler_takes_the_program(python, chip, program):
    folder = os.environ.get("NGE_PLUGINS_DIR")
    if not folder:
        pytest.skip("NGE_PLUGINS_DIR is not set: no compilers of accelerators here")
    done = python(
        "experiments/benchmarks/compile_ahead.py",
        f"--plugins={folder}",
        f"--chips={chip}",
        f"--programs={program}",
        *COMPILED[chip, program],
        timeout=1200,
        XLA_FLAGS="",  # the flags that make the CPU's compiler fast make the GPU's compiler slow
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {program} | {chip} |" in done.stdout
    # XLA took no gradient for a convolution of one image, and nothing adds in any order.
    assert f"{program}, {chip}: " not in done.stderr


def test_every_program_can_be_compiled_ahead():
    assert set(compile_ahead.PROGRAMS) == set(PROGRAMS)


@pytest.mark.whole
def test_a_program_that_does_not_compile_leaves_the_other_rows(python, tmp_path):
    """No program compiles here, because the compilers are missing."""
    done = python(
        "experiments/benchmarks/compile_ahead.py",
        f"--plugins={tmp_path}",
        "--chips=h100,v5e",
        "--programs=predict",
        "--cells=1",
        "--channels=2",
        "--batch_size=1",
        "--image_size=32",
    )
    assert done.returncode == 1
    rows = [line for line in done.stdout.splitlines() if line.startswith("| predict | ")]
    assert [row.split(" | ")[1] for row in rows] == ["h100", "v5e"]
    assert all("exit code 1: " in row for row in rows)


def test_a_row_has_the_flags_that_make_it_again():
    size = {"cells": 1, "channels": None, "dtype": "float32", "remat": True}
    assert compile_ahead.words(size | {"devices": 4}) == "`--cells=1 --remat --devices=4`"
    assert compile_ahead.words({"dtype": "float32", "devices": 1, "side_by_side": 1}) == ""


def test_a_file_keeps_one_row_for_each_program_chip_and_flags(tmp_path):
    file = tmp_path / "table.md"
    rows = [
        ("predict", "h100", "", "old"),
        ("predict", "v5e", "", ""),
        ("predict", "h100", "`-x`", ""),
    ]
    for texts in [*rows, ("predict", "h100", "", "new")]:
        compile_ahead.keep(file, compile_ahead.row(*texts))
    title, header, separator, *kept = file.read_text().rstrip().rsplit("\n", 5)
    assert title.startswith("# ") and title.endswith("\n")
    assert header == compile_ahead.row(*compile_ahead.COLUMNS) and set(separator) == set("| -")
    assert kept == [
        compile_ahead.row(*texts) for texts in [("predict", "h100", "", "new"), *rows[1:]]
    ]


def test_the_kept_table_is_of_this_form():
    lines = (compile_ahead.HERE.parent / "figures" / "compile_ahead.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[0] == compile_ahead.row(*compile_ahead.COLUMNS)
    keys = [tuple(line.split(" | ")[:3]) for line in table[2:]]
    assert len(set(keys)) == len(keys) > 40
    assert {program.strip("| ") for program, *_ in keys} == set(compile_ahead.PROGRAMS)
    assert {chip for _, chip, _ in keys} <= set(chips.CHIPS)


def test_the_compilers_are_asked_for(python):
    done = python("experiments/benchmarks/compile_ahead.py", "--programs=predict")
    assert done.returncode == 1
    assert done.stderr.startswith("--plugins: expected the folder")


def test_what_a_compiler_died_of_is_told():
    errors = "F1 tiling.cc:627] Check failed: a == b (256 vs. 32)\n*** Check failure stack trace: ***\n  @ 0x7f a()\n"
    assert compile_ahead.reason(errors) == "F1 tiling.cc:627] Check failed: a == b (256 vs. 32)"
    assert compile_ahead.reason("Traceback:\nValueError: no\n") == "ValueError: no"
    assert compile_ahead.reason("") == "nothing said"


# A loop of three rounds holds a fused sum and a product. Then come a library's convolution and a sum over devices.
HLO = """HloModule step

%fused (p: f32[8,4]) -> f32[8,4] {
  %p = f32[8,4]{1,0} parameter(0)
  ROOT %twice = f32[8,4]{1,0} add(%p, %p)
}

%product (a: bf16[8,4], b: bf16[4,2]) -> bf16[8,2] {
  %a = bf16[8,4]{1,0} parameter(0)
  %b = bf16[4,2]{1,0} parameter(1)
  ROOT %dot = bf16[8,2]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (s: (f32[8,4], bf16[8,4], bf16[4,2])) -> (f32[8,4], bf16[8,4], bf16[4,2]) {
  %s = (f32[8,4]{1,0}, bf16[8,4]{1,0}, bf16[4,2]{1,0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%s), index=0
  %y = bf16[8,4]{1,0} get-tuple-element(%s), index=1
  %z = bf16[4,2]{1,0} get-tuple-element(%s), index=2
  %sum = f32[8,4]{1,0} fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="step/add" stack_frame_id=7}
  %gemm = bf16[8,2]{1,0} fusion(%y, %z), kind=kCustom, calls=%product
  ROOT %t = (f32[8,4]{1,0}, bf16[8,4]{1,0}, bf16[4,2]{1,0}) tuple(%sum, %y, %z)
}

%less (s: (f32[8,4], bf16[8,4], bf16[4,2])) -> pred[] {
  %s.1 = (f32[8,4]{1,0}, bf16[8,4]{1,0}, bf16[4,2]{1,0}) parameter(0)
  ROOT %never = pred[] constant(false)
}

ENTRY %main (s: (f32[8,4], bf16[8,4], bf16[4,2]), i: f32[2,8,8,6], k: f32[4,3,3,3]) -> f32[2,8,8,4] {
  %s.2 = (f32[8,4]{1,0}, bf16[8,4]{1,0}, bf16[4,2]{1,0}) parameter(0)
  %i = f32[2,8,8,6]{3,2,1,0} parameter(1)
  %k = f32[4,3,3,3]{3,2,1,0} parameter(2)
  %steps = (f32[8,4]{1,0}, bf16[8,4]{1,0}, bf16[4,2]{1,0}) while(%s.2), condition=%less, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %conv = (f32[2,8,8,4]{3,2,1,0}, u8[0]{0}) custom-call(%i, %k), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, feature_group_count=2, custom_call_target="__cudnn$convForward"
  %y.1 = f32[2,8,8,4]{3,2,1,0} get-tuple-element(%conv), index=0
  ROOT %all = f32[2,8,8,4]{3,2,1,0} all-reduce(%y.1), to_apply=%less
}
"""  # noqa: E501


def test_kernels_count_as_often_as_a_step_runs_them():
    output = 4 * 2 * 8 * 8 * 4
    read = 4 * (2 * 8 * 8 * 6 + 4 * 3 * 3 * 3)
    both = "(f32[2,8,8,4], u8[0])"
    assert list_kernels(HLO) == [
        Kernel("sum", 3.0, "fusion", 0.0, 2 * 4 * 32, "f32", 0, "f32[8,4]", "step/add"),
        Kernel(
            "gemm", 3.0, "product", 2.0 * 8 * 4 * 2, 2 * (32 + 8 + 16), "bf16", 0, "bf16[8,2]", ""
        ),
        Kernel(
            "conv",
            1.0,
            "convolution",
            2.0 * 2 * 8 * 8 * 4 * 3 * 3 * 3,
            output + read,
            "f32",
            0,
            both,
            "",
            DEPTHWISE,
            2,
            27,
        ),
        Kernel("all", 1.0, "collective", 0.0, 2 * output, "f32", 0, "f32[2,8,8,4]", ""),
    ]


# A TPU's program computes a batch of four products as a convolution. Its windows lie on padding except for one tap. The
# result lies in on-chip memory, and the program copies a part of the result to the HBM.
TPU_HLO = """HloModule step

ENTRY %main (a: bf16[4,32,32,1,1], b: bf16[64,16,16,4,32]) -> bf16[2,32,64,16,16] {
  %a = bf16[4,32,32,1,1]{2,1,4,3,0:T(8,128)(2,1)} parameter(0)
  %b = bf16[64,16,16,4,32]{0,4,2,1,3:T(8,128)(2,1)} parameter(1)
  %c = bf16[4,32,64,16,16]{2,1,4,3,0:T(8,128)(2,1)S(1)} convolution(%a, %b), window={size=4x16x16 stride=3x1x1 pad=0_0x15_15x15_15 lhs_dilate=4x1x1 rhs_reversal=0x1x1}, dim_labels=0fb12_o120i->0bf12, backend_config={"window_config":{"estimated_cycles":"1832"}}
  %s = ((bf16[4,32,64,16,16]{2,1,4,3,0:T(8,128)(2,1)S(1)}), bf16[2,32,64,16,16]{2,1,4,3,0:T(8,128)(2,1)}, s32[]{:S(2)}) slice-start(%c), slice={[0:2], [0:32], [0:64], [0:16], [0:16]}
  ROOT %d = bf16[2,32,64,16,16]{2,1,4,3,0:T(8,128)(2,1)} slice-done(%s)
}
"""  # noqa: E501


def test_a_tpus_products_are_counted_without_padding_and_its_arrays_with_tiles():
    image = 2 * 32 * 128 * 16 * 16  # a batch of 64 fills half of a tile's 128 columns
    on_board = 2 * 4 * 32 * 128 + 4 * image
    product, copy = list_kernels(TPU_HLO)
    assert product.flops == 2.0 * 4 * 32 * 64 * 16 * 16 * 32
    assert product.nbytes == pytest.approx(on_board + 4 * image / 22)
    assert (product.cycles, copy.cycles) == (1832, 0)
    assert (copy.times, copy.kind, copy.flops, copy.nbytes) == (1.0, "other", 0.0, 2 * image)


def make_kernel(flops, nbytes, dtype="f32", form="", groups=1, terms=0):
    return Kernel("k", 1.0, "fusion", flops, nbytes, dtype, 0, "", "", form, groups, terms)


def test_a_kernel_takes_what_bounds_it():
    h100 = chips.CHIPS["h100"]
    assert h100.least(make_kernel(1e9, 3.35e9)) == pytest.approx(1e-3)
    assert h100.least(make_kernel(67e9, 8)) == pytest.approx(1e-3)
    assert h100.least(make_kernel(0, 8, "bf16")) == h100.launch


def test_an_estimate_has_the_rates_that_kernels_reach():
    h100, v5e = chips.CHIPS["h100"], chips.CHIPS["v5e"]
    assert h100.seconds(make_kernel(1e9, 0.65 * 3.35e9)) == pytest.approx(1e-3)
    assert h100.seconds(make_kernel(67e9, 8)) == pytest.approx(1e-3)
    assert h100.seconds(make_kernel(5e9, 8, form=DEPTHWISE)) == pytest.approx(1e-3)
    assert h100.seconds(make_kernel(8e9, 8, "bf16", DEPTHWISE)) == pytest.approx(1e-3)
    one_image = make_kernel(8, 8, form=ONE_IMAGE, groups=133, terms=65_536)
    assert h100.seconds(one_image) == pytest.approx(2 * 3.2e-3)
    assert h100.seconds(one_image._replace(groups=132)) == pytest.approx(3.2e-3)
    assert h100.seconds(one_image._replace(form=DEPTHWISE)) == h100.launch
    assert v5e.seconds(one_image) == v5e.least(one_image)


ONE = """HloModule step

ENTRY %main (x: f32[1,4,4,512], g: f32[512,4,4,2]) -> f32[1,5,5,512] {
  %x = f32[1,4,4,512]{3,2,1,0} parameter(0)
  %g = f32[512,4,4,1]{3,2,1,0} parameter(1)
  %bad = (f32[1,5,5,512]{3,2,1,0}, u8[0]{0}) custom-call(%x, %g), window={size=4x4 pad=2_2x2_2}, dim_labels=b01f_o01i->b01f, feature_group_count=512, custom_call_target="__cudnn$convForward"
  %good = (f32[512,5,5,1]{3,2,1,0}, u8[0]{0}) custom-call(%x, %x), window={size=5x5 pad=2_2x2_2}, dim_labels=b01f_o01i->b01f, feature_group_count=512, custom_call_target="__cudnn$convBackwardFilter"
  ROOT %dense = (f32[1,4,4,512]{3,2,1,0}, u8[0]{0}) custom-call(%x, %g), window={size=4x4 pad=2_2x2_2}, dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convForward"
}
"""  # noqa: E501


def test_a_gradient_that_is_taken_for_a_convolution_of_one_image_is_told():
    forms = {kernel.name: kernel[-3:] for kernel in list_kernels(ONE)}
    assert forms == {"bad": (ONE_IMAGE, 512, 16), "good": (DEPTHWISE, 512, 16), "dense": ("", 1, 0)}
    said = compile_ahead.warnings({"one_image": 1, "scatters": 2})
    assert said[0].startswith("1 gradients") and said[1].startswith("2 scatters")
    assert compile_ahead.warnings({"one_image": 0, "scatters": 0}) == []


def test_the_hosts_launches_are_command_buffers_and_lone_kernels():
    """The loop's body has two kernels, and the host waits for the loop's condition in each of three rounds."""
    assert count_launches(HLO, DEFAULT) == 3 * (1 + 2) + 2
    assert count_launches(HLO, parallel.GPU_OPTIONS) == 3 * (1 + 1) + 2
    with_convolution = DEFAULT | {
        "xla_gpu_enable_command_buffer": "FUSION,CONVOLUTION,COLLECTIVES",
        "xla_gpu_graph_min_graph_size": 2,
    }
    assert count_launches(HLO, with_convolution) == 3 * (1 + 1) + 1

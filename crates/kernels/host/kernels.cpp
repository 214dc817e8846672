// The kernels of cu/, compiled for a CPU, behind one entry point with the arguments of cuLaunchKernel.
#define PEEL_HOST
#include "../cu/attention.cu"
#include "../cu/conv.cu"
#include "../cu/linear.cu"
#include "../cu/norm.cu"
#include "../cu/pictures.cu"
#include "../cu/paint.cu"
#include "../cu/plate.cu"
#ifdef PEEL_PLANTED
#include "planted.cu"
#endif

namespace {

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(arguments[I])...);
}

template <class... P>
const char* run(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, uint64_t seed, void** arguments) {
    return emulate::launch(grid, block, shared, seed, [=] { call(kernel, arguments, std::index_sequence_for<P...>()); });
}

}  // namespace

// Runs a kernel by name; null, or what was found wrong. Not for several threads at once.
extern "C" const char* peel_emulate(const char* name, const unsigned* grid, const unsigned* block, size_t shared,
                                    uint64_t seed, void** arguments) {
    const dim3 g(grid[0], grid[1], grid[2]), b(block[0], block[1], block[2]);
#define KERNEL(kernel) \
    if (strcmp(name, #kernel) == 0) return run(kernel, g, b, shared, seed, arguments);
    KERNEL(attention_32)
    KERNEL(attention_64)
    KERNEL(attention_96)
    KERNEL(attention_128)
    KERNEL(qk_norm)
    KERNEL(conv3x3_bf16)
    KERNEL(conv3x3_f32)
    KERNEL(linear_bf16)
    KERNEL(linear_int8)
    KERNEL(linear_gated_bf16)
    KERNEL(linear_gated_int8)
    KERNEL(norm_modulate)
    KERNEL(group_moments)
    KERNEL(group_norm_silu)
    KERNEL(patchify)
    KERNEL(unpatchify)
    KERNEL(planes)
    KERNEL(combine)
    KERNEL(consistency)
    KERNEL(light_encode)
    KERNEL(light_decode)
    KERNEL(unshadow)
    KERNEL(over)
    KERNEL(recompose)
    KERNEL(view)
    KERNEL(paint)
#ifdef PEEL_PLANTED
    KERNEL(planted_missing_barrier)
    KERNEL(planted_off_by_one)
    KERNEL(planted_divergent_barrier)
    KERNEL(planted_shared_overrun)
#endif
    return "no kernel of this name";
}

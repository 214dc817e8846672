// CUDA on a CPU, for correctness: every thread of a block is a fiber, blocks run one after another, in one OS thread.
//
// What it checks that a card does not tell:
//   - fibers run in an order shuffled from a seed, so results that depend on the order differ between seeds;
//   - shared memory is seen through `Shared<T>`: each element remembers who touched it since the last barrier, so a missing
//     barrier is found even where the values happen to come out right;
//   - a barrier that not all threads of a block reach, an index past the shared memory, a shuffle by part of a warp: reported;
//   - shared memory starts as NaN.
// Global memory is guarded by whoever allocates it (see `src/host.rs`).
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

namespace emulate {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 128 << 10;

enum class Waits { no, block, warp, memory };

// A fiber is entered once through its context, and from then on through jumps: changing contexts asks the system to change signal
// masks as well, which took nine tenths of the time.
struct Fiber {
    ucontext_t context;
    jmp_buf place_to_go_on;
    bool started = false;
    std::vector<char> stack;
    Waits waits = Waits::no;
    bool done = false;
    dim3 place;
};

// Who touched an element of shared memory in this epoch of its block.
struct Touch {
    uint32_t block_epoch = 0;
    int32_t writer = -1, reader = -1;
    bool readers = false, readers_of_warps = false;  // several threads read; of several warps
    uint32_t writer_warp_epoch = 0, reader_warp_epoch = 0;
};

struct State {
    std::vector<Fiber> fibers;
    jmp_buf scheduler;
    Fiber* current = nullptr;
    std::function<void()> body;
    std::string fault;
    dim3 block, block_size, grid;
    std::vector<char> shared;
    std::vector<Touch> touches;
    uint32_t block_epoch = 1;
    std::vector<uint32_t> warp_epoch;
    // What each thread of a warp shows the others in a shuffle or a matrix product.
    std::vector<uint32_t> slots;
    uint64_t seed = 1;
};

inline State& state() {
    static State s;
    return s;
}

inline uint64_t shuffle_next() {
    uint64_t& s = state().seed;
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return s;
}

inline void fault(const std::string& what) {
    State& s = state();
    if (!s.fault.empty()) return;
    char where[160];
    const dim3 t = s.current ? s.current->place : dim3(0, 0, 0);
    snprintf(where, sizeof where, " (block %u,%u,%u thread %u,%u,%u)", s.block.x, s.block.y, s.block.z, t.x, t.y, t.z);
    s.fault = what + where;
}

inline unsigned thread_index() {
    State& s = state();
    const dim3 t = s.current->place;
    return t.x + s.block_size.x * (t.y + s.block_size.y * t.z);
}

inline void wait(Waits how) {
    State& s = state();
    s.current->waits = how;
    if (_setjmp(s.current->place_to_go_on) == 0) _longjmp(s.scheduler, 1);
}

inline void enter() {
    State& s = state();
    s.body();
    s.current->done = true;
    _longjmp(s.scheduler, 1);
}

// Runs the current fiber until it waits or ends.
__attribute__((noinline)) inline void go_on() {
    State& s = state();
    if (_setjmp(s.scheduler) != 0) return;
    if (s.current->started) _longjmp(s.current->place_to_go_on, 1);
    s.current->started = true;
    setcontext(&s.current->context);
}

inline bool release_warps() {
    State& s = state();
    const unsigned n = s.fibers.size();
    bool released = false;
    for (unsigned w = 0; w < n; w += WARP) {
        const unsigned end = w + WARP < n ? w + WARP : n;
        unsigned live = 0, plain = 0, memory = 0, done = 0;
        for (unsigned i = w; i < end; i++) {
            const Fiber& f = s.fibers[i];
            done += f.done;
            live += !f.done;
            plain += !f.done && f.waits == Waits::warp;
            memory += !f.done && f.waits == Waits::memory;
        }
        if (live == 0 || plain + memory != live) continue;
        if (done || (plain && memory)) {
            s.current = &s.fibers[w];
            fault("not every thread of a warp takes part in a shuffle, matrix product or __syncwarp");
            return false;
        }
        if (memory) s.warp_epoch[w / WARP]++;
        for (unsigned i = w; i < end; i++) s.fibers[i].waits = Waits::no;
        released = true;
    }
    return released;
}

inline bool release_block() {
    State& s = state();
    unsigned live = 0, waiting = 0;
    for (const Fiber& f : s.fibers) {
        live += !f.done;
        waiting += !f.done && f.waits == Waits::block;
    }
    if (waiting == 0 || waiting != live) return false;
    if (live != s.fibers.size()) {
        fault("threads left the kernel before a __syncthreads that others wait at");
        return false;
    }
    s.block_epoch++;
    for (Fiber& f : s.fibers) f.waits = Waits::no;
    return true;
}

// Runs one block; false after a fault.
inline bool run_block() {
    State& s = state();
    const unsigned n = s.block_size.x * s.block_size.y * s.block_size.z;
    if (s.fibers.size() != n) {
        s.fibers.clear();
        s.fibers.resize(n);
    }
    s.slots.assign(size_t(n) * 8, 0);
    s.warp_epoch.assign((n + WARP - 1) / WARP, 1);
    std::vector<unsigned> order(n);
    for (unsigned i = 0; i < n; i++) {
        order[i] = i;
        Fiber& f = s.fibers[i];
        f.done = f.started = false;
        f.waits = Waits::no;
        f.place = dim3(i % s.block_size.x, i / s.block_size.x % s.block_size.y, i / s.block_size.x / s.block_size.y);
        if (f.stack.empty()) f.stack.resize(STACK);
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.data();
        f.context.uc_stack.ss_size = f.stack.size();
        f.context.uc_link = nullptr;
        makecontext(&f.context, enter, 0);
    }
    for (;;) {
        for (unsigned i = n; i > 1; i--) std::swap(order[i - 1], order[shuffle_next() % i]);
        bool ran = false, alive = false;
        for (unsigned i : order) {
            Fiber& f = s.fibers[i];
            if (f.done) continue;
            alive = true;
            if (f.waits != Waits::no) continue;
            s.current = &f;
            go_on();
            ran = true;
            if (!s.fault.empty()) return false;
        }
        if (!alive) return true;
        if (!release_warps() && s.fault.empty() && !release_block() && s.fault.empty() && !ran) {
            fault("deadlock: threads of a block wait at different barriers");
        }
        if (!s.fault.empty()) return false;
    }
}

template <class Body>
const char* launch(dim3 grid, dim3 block, size_t shared, uint64_t seed, Body body) {
    State& s = state();
    s.grid = grid;
    s.block_size = block;
    s.body = body;
    s.fault.clear();
    s.seed = seed * 0x9e3779b97f4a7c15ull + 1;
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                s.block = dim3(x, y, z);
                s.shared.assign(shared, char(0xff));
                s.touches.assign(shared / 2 + 1, Touch());
                s.block_epoch = 1;
                if (!run_block()) return s.fault.c_str();
            }
    return nullptr;
}

// Notes an access to bytes at..at+size of the shared memory, in cells of two bytes.
inline void touch(size_t at, size_t size, bool writes) {
    State& s = state();
    if (at + size > s.shared.size()) {
        fault("access past the shared memory");
        return;
    }
    const int32_t me = int32_t(thread_index());
    const uint32_t mine = s.warp_epoch[me / WARP];
    // Another's access clashes unless a barrier lies between: of the block, or of the warp where both belong to it.
    const auto apart = [&](int32_t other, uint32_t other_epoch) {
        if (other == me || other == -1) return true;
        return other >= 0 && other / int32_t(WARP) == me / int32_t(WARP) && other_epoch != mine;
    };
    for (size_t cell = at / 2; cell <= (at + size - 1) / 2; cell++) {
        Touch& t = s.touches[cell];
        if (t.block_epoch != s.block_epoch) {
            t = Touch();
            t.block_epoch = s.block_epoch;
        }
        if (!apart(t.writer, t.writer_warp_epoch)) {
            fault(writes ? "race: two threads write a shared element without a barrier between"
                         : "race: a shared element is read that another thread wrote without a barrier between");
        }
        if (!writes) {
            const bool same_warp = t.reader >= 0 && t.reader / int32_t(WARP) == me / int32_t(WARP);
            t.readers_of_warps |= t.reader >= 0 && !same_warp;
            t.readers = t.reader >= 0 && t.reader != me && (!same_warp || t.reader_warp_epoch == mine || t.readers);
            t.reader = me;
            t.reader_warp_epoch = mine;
            continue;
        }
        const bool same_epoch = t.reader >= 0 && t.readers && t.reader_warp_epoch == mine;
        if (t.readers_of_warps || same_epoch || !apart(t.reader, t.reader_warp_epoch)) {
            fault("race: a shared element is written that another thread read without a barrier between");
        }
        t.writer = me;
        t.writer_warp_epoch = mine;
    }
}

template <class T>
T shuffle_xor(T value, int mask) {
    static_assert(sizeof(T) == 4, "shuffles move 32 bits");
    State& s = state();
    const unsigned i = thread_index();
    memcpy(&s.slots[size_t(i) * 8], &value, 4);
    wait(Waits::warp);
    const unsigned from = (i & ~(WARP - 1)) | ((i & (WARP - 1)) ^ unsigned(mask));
    T result;
    memcpy(&result, &s.slots[size_t(from) * 8], 4);
    wait(Waits::warp);
    return result;
}

}  // namespace emulate

#define threadIdx (emulate::state().current->place)
#define blockIdx (emulate::state().block)
#define blockDim (emulate::state().block_size)
#define gridDim (emulate::state().grid)
#define __syncthreads() emulate::wait(emulate::Waits::block)
#define __syncwarp() emulate::wait(emulate::Waits::memory)
#define __shfl_xor_sync(all, value, mask) emulate::shuffle_xor(value, mask)

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline float __expf(float x) { return expf(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline uint32_t __float_as_uint(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
inline float __uint_as_float(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

// The upper half of an f32.
struct bf16 {
    uint16_t bits;
};
inline float to_float(bf16 v) { return __uint_as_float(uint32_t(v.bits) << 16); }
inline bf16 to_bf16(float v) {
    const uint32_t u = __float_as_uint(v);
    if ((u & 0x7fffffff) > 0x7f800000) return bf16{uint16_t(u >> 16 | 64)};
    return bf16{uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16)};
}

// An array in shared memory, `offset` bytes from its start.
template <class T>
struct Shared {
    size_t offset;
    explicit Shared(size_t bytes) : offset(bytes) {}
    T get(int i) const {
        const size_t at = offset + size_t(i) * sizeof(T);
        emulate::touch(at, sizeof(T), false);
        T v{};
        if (emulate::state().fault.empty()) memcpy(&v, emulate::state().shared.data() + at, sizeof(T));
        return v;
    }
    void set(int i, T v) const {
        const size_t at = offset + size_t(i) * sizeof(T);
        emulate::touch(at, sizeof(T), true);
        if (emulate::state().fault.empty()) memcpy(emulate::state().shared.data() + at, &v, sizeof(T));
    }
};

// Two bf16 side by side, as the matrix unit takes them.
inline uint32_t get_pair(const Shared<bf16>& s, int i) {
    return uint32_t(s.get(i).bits) | uint32_t(s.get(i + 1).bits) << 16;
}

// Eight bf16.
struct Eight {
    bf16 v[8];
};
inline Eight load_eight(const bf16* from) {
    Eight e;
    memcpy(&e, from, sizeof e);
    return e;
}
inline void store_eight(const Shared<bf16>& to, int at, const Eight& e) {
    for (int i = 0; i < 8; i++) to.set(at + i, e.v[i]);
}

// Eight whole numbers.
struct Bytes {
    uint8_t v[8];
    uint32_t at(int i) const { return v[i]; }
};
inline Bytes load_bytes(const uint8_t* from) {
    Bytes b;
    memcpy(b.v, from, 8);
    return b;
}

// d (16x8) += a (16x16) b (16x8), spread over a warp as `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32` spreads them.
inline void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulate::State& s = emulate::state();
    const unsigned me = emulate::thread_index(), lane = me % emulate::WARP, first = me - lane;
    for (int i = 0; i < 4; i++) s.slots[size_t(me) * 8 + i] = a[i];
    for (int i = 0; i < 2; i++) s.slots[size_t(me) * 8 + 4 + i] = b[i];
    emulate::wait(emulate::Waits::warp);
    const auto half = [](uint32_t pair, unsigned which) { return to_float(bf16{uint16_t(pair >> (16 * which))}); };
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + (i / 2) * 8, column = lane % 4 * 2 + i % 2;
        float sum = 0;
        for (unsigned k = 0; k < 16; k++) {
            const unsigned pair = k % 8 / 2, upper = k / 8;
            const unsigned owner_a = first + row % 8 * 4 + pair, owner_b = first + column * 4 + pair;
            sum += half(s.slots[size_t(owner_a) * 8 + row / 8 + upper * 2], k % 2) *
                   half(s.slots[size_t(owner_b) * 8 + 4 + upper], k % 2);
        }
        d[i] += sum;
    }
    emulate::wait(emulate::Waits::warp);
}

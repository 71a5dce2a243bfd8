/* Compiled sweeps over one tile of similarities: C11, no dependencies, no state, no threads.
 *
 * sweeps.h has the sweeps.  It is included once for every instruction set that the compiler can
 * target, with the set's name at the end of every exported function; the caller asks
 * cl_analyze_best() which of them this processor can run.
 *
 * Tiles are float32, row by row.  Sums leave a sweep as float64: partial sums in float32 never take
 * more than PANEL_COLS entries of a row or PANEL_ROWS entries of a column (over all lanes of a
 * vector), so that a thousand equal entries lose nothing.  What hard_negatives adds up for columns
 * stays float32 over the rows of one strip.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

#define PANEL_COLS 256
#define PANEL_ROWS 32
#define NEVER INT32_MAX

/* The tile, and which of its pairs count. */
typedef struct {
    const void *s;            /* n_rows x n_cols similarities: float, or double where a sweep says so */
    int64_t n_rows, n_cols;
    const int32_t *cuts;      /* n_rows x 2, ascending: columns that never count; NEVER: none */
    const int32_t *row_class; /* class codes, negative: no label; NULL without labels */
    const int32_t *col_class;
} tile_t;

/* Sets of pairs. */
enum { ALL_PAIRS = 0, SAME_CLASS = 1, OTHER_CLASS = 2 };

/* What softmax_sums adds up for a temperature: for each set the exponentials, and exponentials times
 * 1 - s; and squares of the exponentials of all pairs.  Slots of the output have the same order. */
enum {
    ALL_MASS = 1, ALL_GAP = 2,
    SAME_MASS = 4, SAME_GAP = 8,
    OTHER_MASS = 16, OTHER_GAP = 32,
    ALL_SQUARES = 64
};
#define N_SETS_SUMS 6
#define N_ROW_SUMS 7
#define TAUS_AT_ONCE 8

/* exp(s / tau) = 2^(s hi + s lo), hi + lo = log2(e) / tau beyond float32; hi = top + rest, where top
 * has 12 bits, for processors that round a product before they add to it. */
typedef struct { float hi, lo, top, rest; } scale_t;

/* Statistics whose gains leave_one_out sums up, and their number. */
enum { N_GAINS = 5 }; /* entropy, exp(entropy), same-class share, top 1, top 10 */

/* One anchor's statistics, or one line of statistics of many anchors: see leave_one_out. */
enum { OF_SCALE = 0, OF_LEVEL, OF_SHARE, OF_TOP1, OF_TOP10, OF_EXP_ENTROPY, N_OF_ANCHOR };

typedef struct { float entropy, growth, ratio; } gain_t;

#define SMALL_SHARE 0.03125f
#define MOST_VERSIONS 16
#define MOST_THRESHOLDS 16

enum { LOG_KERNEL = 0, IMQ_KERNEL = 1 };

/* The first 12 bits of a number: products of two such are exact. */
ALWAYS_INLINE float top_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= 0xfffff000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static scale_t scale_of(double inverse_tau)
{
    const double exact = inverse_tau * 1.4426950408889634074;
    scale_t scale;
    scale.hi = (float)exact;
    scale.lo = (float)(exact - (double)scale.hi);
    scale.top = top_bits(scale.hi);
    scale.rest = scale.hi - scale.top;
    return scale;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The pieces of columns [start, stop) that a row's cuts leave: returns how many, at most 4. */
static int segments(const int32_t *cuts, int32_t third, int64_t start, int64_t stop, int64_t out[4][2])
{
    int32_t sorted[3] = {NEVER, NEVER, NEVER};
    int n = 0;
    if (cuts) { sorted[0] = cuts[0]; sorted[1] = cuts[1]; }
    if (third >= 0) {
        sorted[2] = third;
        for (int p = 2; p > 0 && sorted[p] < sorted[p - 1]; p--) {
            const int32_t swap = sorted[p]; sorted[p] = sorted[p - 1]; sorted[p - 1] = swap;
        }
    }
    for (int p = 0; p < 3; p++) {
        if (sorted[p] < start || sorted[p] >= stop) continue;
        if (sorted[p] > start) { out[n][0] = start; out[n][1] = sorted[p]; n++; }
        start = (int64_t)sorted[p] + 1;
    }
    if (start < stop) { out[n][0] = start; out[n][1] = stop; n++; }
    return n;
}

static const int32_t *cuts_of(const tile_t *tile, int64_t row)
{
    return tile->cuts ? tile->cuts + 2 * row : NULL;
}

/* A similarity's bits in ascending order, as in neighbours.pack. */
static uint32_t ascending(float value)
{
    uint32_t bits;
    value += 0.0f; /* minus zero is zero */
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float value_of(uint32_t key)
{
    const uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Put a key into k ascending keys in place of the least. */
static void insert(uint64_t *best, int64_t k, uint64_t key)
{
    int64_t p = 0;
    while (p + 1 < k && best[p + 1] < key) { best[p] = best[p + 1]; p++; }
    best[p] = key;
}

static int counts(const tile_t *tile, int set, int64_t i, int64_t j)
{
    const int32_t *cuts = cuts_of(tile, i);
    if (cuts && (cuts[0] == j || cuts[1] == j)) return 0;
    if (set == ALL_PAIRS) return 1;
    const int32_t a = tile->row_class[i], b = tile->col_class[j];
    return a >= 0 && b >= 0 && (a == b) == (set == SAME_CLASS);
}

#ifndef SOURCE_DIGEST
#define SOURCE_DIGEST ""
#endif

/* SHA-256 of the sources that this library was made from. */
EXPORT const char *cl_analyze_source(void) { return SOURCE_DIGEST; }

/* ---- what needs no vector instructions, once */

/* The best k of two lists of n rows of k ascending keys. */
EXPORT void merge_keys(int64_t n, int64_t k, const uint64_t *a, const uint64_t *b, uint64_t *out)
{
    for (int64_t i = 0; i < n; i++, a += k, b += k, out += k) {
        int64_t p = k - 1, q = k - 1;
        for (int64_t at = k - 1; at >= 0; at--)
            out[at] = a[p] >= b[q] ? a[p--] : b[q--];
    }
}

/* Put keys into the lists of k ascending keys of the rows that own them. */
EXPORT void insert_keys(
    int64_t n_keys, int64_t k, const int64_t *owners, const uint64_t *keys, uint64_t *best)
{
    for (int64_t p = 0; p < n_keys; p++) {
        uint64_t *of_owner = best + owners[p] * k;
        if (keys[p] > of_owner[0]) insert(of_owner, k, keys[p]);
    }
}

/* The value of the first of k ascending keys of n rows; minus infinity where there is none. */
EXPORT void least_values(int64_t n, int64_t k, const uint64_t *best, double *values)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = best[i * k] ? (double)value_of((uint32_t)(best[i * k] >> 32)) : -HUGE_VAL;
}

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(name) JOIN(name, ISA)

#if defined(__x86_64__) && defined(__GNUC__) && !defined(_WIN32) && !defined(BASELINE_ALONE)

#define ISA baseline
#define FUSED 0
#include "sweeps.h"
#undef ISA
#undef FUSED
#define FUSED 1 /* a product and a sum round once */

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define ISA avx2
#include "sweeps.h"
#undef ISA
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
#endif
#define ISA avx512
#include "sweeps.h"
#undef ISA
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

EXPORT int cl_analyze_best(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
}

#else

#define ISA baseline
#if defined(__aarch64__) && defined(__GNUC__)
#define FUSED 1
#else
#define FUSED 0
#endif
#include "sweeps.h"
#undef ISA

EXPORT int cl_analyze_best(void) { return 0; }

#endif

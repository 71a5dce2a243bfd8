/* The sweeps, for one instruction set: see kernels.c, which includes this file.
 *
 * Loops over columns are written so that a compiler turns them into vector instructions: no
 * branches, no calls that are not inlined, sums named in `omp simd reduction`.
 */

/* exp(s / tau) for |s / tau| < 87: 2^n from the exponent's bits, 2^f by a polynomial. */
ALWAYS_INLINE float NAME(exp_scaled)(float s, scale_t scale)
{
    const float rounding = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float z = s * scale.hi + rounding;
    const float n = z - rounding;
#if FUSED
    float f = s * scale.hi - n;
#else
    const float top = top_bits(s);
    float f = top * scale.top - n; /* exact */
    f += top * scale.rest + (s - top) * scale.hi;
#endif
    f = s * scale.lo + f;
    float p = 1.54614446986e-4f;
    p = p * f + 1.34004281776e-3f;
    p = p * f + 9.61805667852e-3f;
    p = p * f + 5.55032722667e-2f;
    p = p * f + 2.40226509223e-1f;
    p = p * f + 6.93147206703e-1f;
    p = p * f + 1.0f;
    uint32_t bits, whole;
    memcpy(&whole, &z, sizeof whole);
    memcpy(&bits, &p, sizeof bits);
    bits += whole << 23;
    memcpy(&p, &bits, sizeof p);
    return p;
}

/* exp(x) - 1 for |x| < 80, exact to float32 near 0 too. */
ALWAYS_INLINE float NAME(expm1_)(float x)
{
    const float rounding = 12582912.0f;
    const float z = x * 1.44269504f + rounding;
    const float n = z - rounding;
    float f = x - n * 0.693145752f;
    f = f - n * 1.42860677e-6f;
    float p = 1.39269180559e-3f;
    p = p * f + 8.36376702329e-3f;
    p = p * f + 4.16665501627e-2f;
    p = p * f + 1.66665734239e-1f;
    p = p * f + 0.5f;
    p = p * f * f + f;
    uint32_t whole;
    float power;
    memcpy(&whole, &z, sizeof whole);
    whole = (whole << 23) + 0x3f800000u;
    memcpy(&power, &whole, sizeof power);
    return power * p + (power - 1.0f);
}

/* ---- softmax masses */

/* Sums over a piece of a row for one temperature; the columns' sums go to cols (stride PANEL_COLS). */
ALWAYS_INLINE void NAME(softmax_piece)(
    const float *restrict s, const int32_t *restrict classes, int32_t own, int64_t n, scale_t scale,
    const int sums, const int both, float *restrict cols, double *restrict rows)
{
    float *restrict c0 = cols;
    float *restrict c1 = cols + PANEL_COLS;
    float *restrict c2 = cols + 2 * PANEL_COLS;
    float *restrict c3 = cols + 3 * PANEL_COLS;
    float *restrict c4 = cols + 4 * PANEL_COLS;
    float *restrict c5 = cols + 5 * PANEL_COLS;
    float r0 = 0, r1 = 0, r2 = 0, r3 = 0, r4 = 0, r5 = 0, r6 = 0;
#pragma omp simd reduction(+ : r0, r1, r2, r3, r4, r5, r6)
    for (int64_t j = 0; j < n; j++) {
        const float e = NAME(exp_scaled)(s[j], scale);
        const float gap = 1.0f - s[j];
        if (sums & ALL_MASS) { r0 += e; if (both) c0[j] += e; }
        if (sums & ALL_GAP) { const float g = e * gap; r1 += g; if (both) c1[j] += g; }
        if (sums & (SAME_MASS | SAME_GAP)) {
            const float m = classes[j] == own ? e : 0.0f;
            if (sums & SAME_MASS) { r2 += m; if (both) c2[j] += m; }
            if (sums & SAME_GAP) { const float g = m * gap; r3 += g; if (both) c3[j] += g; }
        }
        if (sums & (OTHER_MASS | OTHER_GAP)) {
            const float known = classes[j] >= 0 ? e : 0.0f;
            const float m = classes[j] != own ? known : 0.0f;
            if (sums & OTHER_MASS) { r4 += m; if (both) c4[j] += m; }
            if (sums & OTHER_GAP) { const float g = m * gap; r5 += g; if (both) c5[j] += g; }
        }
        if (sums & ALL_SQUARES) r6 += e * e;
    }
    if (sums & ALL_MASS) rows[0] += r0;
    if (sums & ALL_GAP) rows[1] += r1;
    if (sums & SAME_MASS) rows[2] += r2;
    if (sums & SAME_GAP) rows[3] += r3;
    if (sums & OTHER_MASS) rows[4] += r4;
    if (sums & OTHER_GAP) rows[5] += r5;
    if (sums & ALL_SQUARES) rows[6] += r6;
}

#define PIECE(sums) \
    case sums: \
        if (both) NAME(softmax_piece)(s, classes, own, n, scale, sums, 1, cols, rows); \
        else NAME(softmax_piece)(s, classes, own, n, scale, sums, 0, cols, rows); \
        break;

/* The combinations that passes ask for have code of their own; others take everything. */
static void NAME(softmax_row)(
    const float *s, const int32_t *classes, int32_t own, int64_t n, scale_t scale, int sums, int both,
    float *cols, double *rows)
{
    switch (sums) {
        PIECE(ALL_MASS)
        PIECE(ALL_MASS | ALL_GAP)
        PIECE(ALL_MASS | ALL_SQUARES)
        PIECE(ALL_MASS | ALL_GAP | ALL_SQUARES)
        PIECE(SAME_MASS)
        PIECE(OTHER_MASS)
        PIECE(OTHER_MASS | OTHER_GAP)
        PIECE(ALL_MASS | SAME_MASS)
        PIECE(ALL_MASS | ALL_GAP | SAME_MASS)
        PIECE(ALL_MASS | SAME_MASS | OTHER_MASS)
        PIECE(ALL_MASS | ALL_GAP | SAME_MASS | OTHER_MASS)
        PIECE(ALL_SQUARES)
    default:
        NAME(softmax_piece)(s, classes, own, n, scale,
            ALL_MASS | ALL_GAP | SAME_MASS | SAME_GAP | OTHER_MASS | OTHER_GAP | ALL_SQUARES,
            1, cols, rows);
    }
}
#undef PIECE

/* Sums of exp(s / tau) over the pairs of each row and, where both, of each column, for all
 * temperatures in one sweep.
 *
 * inverse_taus, sums: n_taus, |1 / tau| <= 60; which sums of each (ALL_MASS | ...).
 * rows: n_taus x N_ROW_SUMS x n_rows; cols: n_taus x N_SETS_SUMS x n_cols, zero on entry; slots of
 * sums that nobody asked for have no meaning.
 */
EXPORT void NAME(softmax_sums)(
    const tile_t *tile, int64_t n_taus, const double *inverse_taus, const int32_t *sums, int64_t both,
    double *rows, double *cols)
{
    float panel[TAUS_AT_ONCE][N_SETS_SUMS][PANEL_COLS];
    scale_t scales[TAUS_AT_ONCE];
    const int64_t n_rows = tile->n_rows, n_cols = tile->n_cols;
    for (int64_t first = 0; first < n_taus; first += TAUS_AT_ONCE) {
        const int64_t n_now = least(TAUS_AT_ONCE, n_taus - first);
        for (int64_t t = 0; t < n_now; t++) scales[t] = scale_of(inverse_taus[first + t]);
        for (int64_t col0 = 0; col0 < n_cols; col0 += PANEL_COLS) {
            const int64_t col1 = least(col0 + PANEL_COLS, n_cols);
            for (int64_t row0 = 0; row0 < n_rows; row0 += PANEL_ROWS) {
                const int64_t row1 = least(row0 + PANEL_ROWS, n_rows);
                memset(panel, 0, (size_t)n_now * sizeof panel[0]);
                for (int64_t i = row0; i < row1; i++) {
                    int64_t pieces[4][2];
                    const int n_pieces = segments(cuts_of(tile, i), -1, col0, col1, pieces);
                    const int32_t own = tile->row_class ? tile->row_class[i] : -1;
                    for (int piece = 0; piece < n_pieces; piece++) {
                        const int64_t start = pieces[piece][0], stop = pieces[piece][1];
                        const int32_t *classes = tile->col_class ? tile->col_class + start : NULL;
                        for (int64_t t = 0; t < n_now; t++) {
                            double row[N_ROW_SUMS] = {0};
                            int wanted = sums[first + t];
                            if (own < 0) wanted &= ALL_MASS | ALL_GAP | ALL_SQUARES;
                            if (!wanted) continue;
                            NAME(softmax_row)((const float *)tile->s + i * n_cols + start, classes, own, stop - start,
                                scales[t], wanted, (int)both, &panel[t][0][start - col0], row);
                            for (int slot = 0; slot < N_ROW_SUMS; slot++)
                                if (wanted >> slot & 1)
                                    rows[((first + t) * N_ROW_SUMS + slot) * n_rows + i] += row[slot];
                        }
                    }
                }
                if (!both) continue;
                for (int64_t t = 0; t < n_now; t++)
                    for (int slot = 0; slot < N_SETS_SUMS; slot++) {
                        if (!(sums[first + t] >> slot & 1)) continue;
                        double *out = cols + ((first + t) * N_SETS_SUMS + slot) * n_cols + col0;
                        for (int64_t j = 0; j < col1 - col0; j++) out[j] += panel[t][slot][j];
                    }
            }
        }
    }
}

/* ---- nearest neighbours */

ALWAYS_INLINE int NAME(reaches)(
    const float *restrict s, const float *restrict limits, const int32_t *restrict classes,
    int32_t own, float limit, int64_t n, const int both, const int set)
{
    int any = 0;
#pragma omp simd reduction(| : any)
    for (int64_t j = 0; j < n; j++) {
        int hit = s[j] >= limit;
        if (both) hit |= s[j] >= limits[j];
        if (set == SAME_CLASS) hit &= classes[j] == own;
        if (set == OTHER_CLASS) hit &= classes[j] != own;
        any |= hit;
    }
    return any;
}

#define REACHES(set) \
    (both ? NAME(reaches)(s, col_limits + start, classes, own, limit, n, 1, set) \
          : NAME(reaches)(s, NULL, classes, own, limit, n, 0, set))

/* The k best entries of every row and, where col_best is given, of every column.
 *
 * row_ids, col_ids: what keys name.  row_limits, col_limits: entries below these do not matter; they
 * rise on the way.  row_best, col_best: n x k ascending keys, zero on entry.
 */
EXPORT void NAME(neighbours)(
    const tile_t *tile, int64_t set, int64_t k, const int64_t *row_ids, const int64_t *col_ids,
    float *row_limits, float *col_limits, uint64_t *row_best, uint64_t *col_best)
{
    enum { CHUNK = 64 };
    const int both = col_best != NULL;
    const int64_t n_cols = tile->n_cols;
    for (int64_t i = 0; i < tile->n_rows; i++) {
        float limit = row_limits[i];
        uint64_t *best = row_best + i * k;
        const int32_t own = tile->row_class ? tile->row_class[i] : -1;
        if (set != ALL_PAIRS && own < 0) continue;
        for (int64_t start = 0; start < n_cols; start += CHUNK) {
            const int64_t n = least(CHUNK, n_cols - start);
            const float *s = (const float *)tile->s + i * n_cols + start;
            const int32_t *classes = set == ALL_PAIRS ? NULL : tile->col_class + start;
            const int any = set == ALL_PAIRS    ? REACHES(ALL_PAIRS)
                            : set == SAME_CLASS ? REACHES(SAME_CLASS)
                                                : REACHES(OTHER_CLASS);
            if (!any) continue;
            for (int64_t j = 0; j < n; j++) {
                const int for_row = s[j] >= limit, for_col = both && s[j] >= col_limits[start + j];
                if (!(for_row || for_col) || !counts(tile, (int)set, i, start + j)) continue;
                const uint64_t high = (uint64_t)ascending(s[j]) << 32;
                if (for_row) {
                    const uint64_t key = high | (0xffffffffu - (uint64_t)col_ids[start + j]);
                    if (key > best[0]) {
                        insert(best, k, key);
                        const float worst = value_of((uint32_t)(best[0] >> 32));
                        if (best[0] && worst > limit) limit = worst;
                    }
                }
                if (for_col) {
                    uint64_t *of_col = col_best + (start + j) * k;
                    const uint64_t key = high | (0xffffffffu - (uint64_t)row_ids[i]);
                    if (key > of_col[0]) {
                        insert(of_col, k, key);
                        const float worst = value_of((uint32_t)(of_col[0] >> 32));
                        if (of_col[0] && worst > col_limits[start + j]) col_limits[start + j] = worst;
                    }
                }
            }
        }
        row_limits[i] = limit;
    }
}
#undef REACHES

/* ---- bins of similarity */

ALWAYS_INLINE void NAME(bins)(const float *restrict s, int64_t n, int32_t n_bins, int32_t *restrict out)
{
    const float half = 0.5f * (float)n_bins, top = (float)n_bins - 1.0f;
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        float scaled = (s[j] + 1.0f) * half;
        scaled = scaled > 0.0f ? scaled : 0.0f;
        scaled = scaled < top ? scaled : top;
        out[j] = (int32_t)scaled;
    }
}

/* 1 where the pair is of the set, else 0; the pieces' cuts are the caller's. */
ALWAYS_INLINE void NAME(members)(
    const int32_t *restrict classes, int32_t own, int64_t n, int set, float *restrict out)
{
    if (set == ALL_PAIRS) {
        for (int64_t j = 0; j < n; j++) out[j] = 1.0f;
    } else if (own < 0) {
        memset(out, 0, (size_t)n * sizeof *out);
    } else if (set == SAME_CLASS) {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) out[j] = classes[j] == own ? 1.0f : 0.0f;
    } else {
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            const float known = classes[j] >= 0 ? 1.0f : 0.0f;
            out[j] = classes[j] != own ? known : 0.0f;
        }
    }
}

/* Pairs of a set in n equal bins on [-1, 1].  work: 4 x n_bins, zero on entry. */
EXPORT void NAME(histogram)(
    const tile_t *tile, int64_t set, int64_t n_bins, uint32_t *work, double *out)
{
    int32_t bins[PANEL_COLS];
    for (int64_t i = 0; i < tile->n_rows; i++) {
        const int32_t own = tile->row_class ? tile->row_class[i] : -1;
        if (set != ALL_PAIRS && own < 0) continue;
        for (int64_t col0 = 0; col0 < tile->n_cols; col0 += PANEL_COLS) {
            int64_t pieces[4][2];
            const int64_t col1 = least(col0 + PANEL_COLS, tile->n_cols);
            const int n_pieces = segments(cuts_of(tile, i), -1, col0, col1, pieces);
            for (int piece = 0; piece < n_pieces; piece++) {
                const int64_t start = pieces[piece][0], n = pieces[piece][1] - start;
                NAME(bins)((const float *)tile->s + i * tile->n_cols + start, n, (int32_t)n_bins, bins);
                if (set == ALL_PAIRS) {
                    /* equal bins one after the other do not wait for each other */
                    for (int64_t j = 0; j < n; j++) work[(j & 3) * n_bins + bins[j]]++;
                    continue;
                }
                for (int64_t j = 0; j < n; j++) {
                    const int32_t other = tile->col_class[start + j];
                    const int is_member = other >= 0 && (other == own) == (set == SAME_CLASS);
                    work[(j & 3) * n_bins + bins[j]] += (uint32_t)is_member;
                }
            }
        }
    }
    for (int64_t b = 0; b < n_bins; b++)
        out[b] = (double)work[b] + work[n_bins + b] + work[2 * n_bins + b] + work[3 * n_bins + b];
}

/* Weighted sums in bins: line 0 adds weights[0][i] for every pair of row i, line 1 + t adds
 * weights[1 + t][i] exp(s / tau_t).
 *
 * weights: (1 + n_taus) x n_rows.  work: 2 x (1 + n_taus) x n_bins, zero on entry.
 * out: (1 + n_taus) x n_bins.
 */
EXPORT void NAME(penalty_histogram)(
    const tile_t *tile, int64_t set, int64_t n_bins, int64_t n_taus, const double *inverse_taus,
    const float *weights, double *work, double *out)
{
    int32_t bins[PANEL_COLS];
    float is_member[PANEL_COLS], values[PANEL_COLS];
    const int64_t n_rows = tile->n_rows, line = (1 + n_taus) * n_bins;
    for (int64_t i = 0; i < n_rows; i++) {
        const int32_t own = tile->row_class ? tile->row_class[i] : -1;
        if (set != ALL_PAIRS && own < 0) continue;
        for (int64_t col0 = 0; col0 < tile->n_cols; col0 += PANEL_COLS) {
            int64_t pieces[4][2];
            const int64_t col1 = least(col0 + PANEL_COLS, tile->n_cols);
            const int n_pieces = segments(cuts_of(tile, i), -1, col0, col1, pieces);
            for (int piece = 0; piece < n_pieces; piece++) {
                const int64_t start = pieces[piece][0], n = pieces[piece][1] - start;
                const float *s = (const float *)tile->s + i * tile->n_cols + start;
                const int32_t *classes = tile->col_class ? tile->col_class + start : NULL;
                NAME(bins)(s, n, (int32_t)n_bins, bins);
                NAME(members)(classes, own, n, (int)set, is_member);
                for (int64_t m = 0; m <= n_taus; m++) {
                    const float weight = weights[m * n_rows + i];
                    if (m == 0) {
#pragma omp simd
                        for (int64_t j = 0; j < n; j++) values[j] = weight * is_member[j];
                    } else {
                        const scale_t scale = scale_of(inverse_taus[m - 1]);
#pragma omp simd
                        for (int64_t j = 0; j < n; j++)
                            values[j] = weight * (NAME(exp_scaled)(s[j], scale) * is_member[j]);
                    }
                    double *even = work + m * n_bins, *odd = even + line;
                    int64_t j = 0;
                    for (; j + 1 < n; j += 2) {
                        even[bins[j]] += values[j];
                        odd[bins[j + 1]] += values[j + 1];
                    }
                    if (j < n) even[bins[j]] += values[j];
                }
            }
        }
    }
    for (int64_t b = 0; b < line; b++) out[b] = work[b] + work[line + b];
}

/* ---- the jackknife of the penalty */

/* The gains when a row is deleted that has the share r < 1 of an anchor's penalty:
 * exponent = r' (H + log r) = r' (s / tau + level), with r' = r / (1 - r).
 * small: r <= SMALL_SHARE, where five terms of the series of r' and of log(1 - r) are enough. */
ALWAYS_INLINE gain_t NAME(gain)(float r, float s_over_tau, float level, const int small)
{
    const float rest = 1.0f - r;
    float ratio, log_rest;
    if (small) {
        ratio = r * (1.0f + r * (1.0f + r * (1.0f + r * (1.0f + r))));
        float series = 1.0f / 5.0f;
        series = series * r + 1.0f / 4.0f;
        series = series * r + 1.0f / 3.0f;
        series = series * r + 1.0f / 2.0f;
        log_rest = -(series * r * r + r);
    } else {
        const float inverse = 1.0f / (rest * (2.0f - r));
        ratio = r * (2.0f - r) * inverse;
        /* log(1 - r) = -2 artanh(z), z = r / (2 - r) */
        const float z = r * rest * inverse, zz = z * z;
        float series = 1.0f / 13.0f;
        series = series * zz + 1.0f / 11.0f;
        series = series * zz + 1.0f / 9.0f;
        series = series * zz + 1.0f / 7.0f;
        series = series * zz + 1.0f / 5.0f;
        series = series * zz + 1.0f / 3.0f;
        log_rest = -2.0f * (z + z * zz * series);
    }
    const float exponent = (s_over_tau + level) * ratio;
    gain_t result;
    result.entropy = exponent + log_rest;
    result.growth = NAME(expm1_)(exponent) * rest - r;
    result.ratio = ratio;
    return result;
}

/* Shares of a piece of a row: anchors in rows have one factor, anchors in columns one each.  Returns
 * the largest. */
ALWAYS_INLINE float NAME(shares)(
    const float *restrict s, const int32_t *restrict classes, int32_t own, int64_t n, scale_t scale,
    const float *restrict factors, const int32_t *restrict skips, int32_t row, const int of_rows,
    const int set, float *restrict out)
{
    float top = 0;
    const float factor = factors[0];
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < n; j++) {
        float r = (of_rows ? factors[j] : factor) * NAME(exp_scaled)(s[j], scale);
        if (of_rows) r = skips[j] == row ? 0.0f : r;
        if (set == SAME_CLASS) r = classes[j] == own ? r : 0.0f;
        if (set == OTHER_CLASS) {
            const float known = classes[j] >= 0 ? r : 0.0f;
            r = classes[j] != own ? known : 0.0f;
        }
        out[j] = r;
        top = r > top ? r : top;
    }
    return top;
}

/* Anchors in rows: the columns get the gains (stride PANEL_COLS). */
ALWAYS_INLINE void NAME(gains_of_columns)(
    const float *restrict s, const float *restrict shares, const int32_t *restrict classes,
    int32_t own, int64_t n, float inverse_tau, const float *restrict anchor, const int small,
    const int labelled, float *restrict cols)
{
    const float level = anchor[OF_LEVEL], share = anchor[OF_SHARE];
    const float top1 = anchor[OF_TOP1], top10 = anchor[OF_TOP10], number = anchor[OF_EXP_ENTROPY];
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        const gain_t gain = NAME(gain)(shares[j], s[j] * inverse_tau, level, small);
        cols[j] += gain.entropy;
        cols[PANEL_COLS + j] += number * gain.growth;
        if (labelled) {
            const float same = classes[j] == own ? 1.0f : 0.0f;
            cols[2 * PANEL_COLS + j] += gain.ratio * (share - same);
        }
        cols[3 * PANEL_COLS + j] += gain.ratio * top1;
        cols[4 * PANEL_COLS + j] += gain.ratio * top10;
    }
}

/* Anchors in columns (stride between their statistics): the row gets the gains. */
ALWAYS_INLINE void NAME(gains_of_row)(
    const float *restrict s, const float *restrict shares, const int32_t *restrict classes,
    int32_t own, int64_t n, float inverse_tau, const float *restrict anchors, int64_t stride,
    const int small, const int labelled, double *restrict out)
{
    const float *restrict level = anchors + OF_LEVEL * stride;
    const float *restrict share = anchors + OF_SHARE * stride;
    const float *restrict top1 = anchors + OF_TOP1 * stride;
    const float *restrict top10 = anchors + OF_TOP10 * stride;
    const float *restrict number = anchors + OF_EXP_ENTROPY * stride;
    float g0 = 0, g1 = 0, g2 = 0, g3 = 0, g4 = 0;
#pragma omp simd reduction(+ : g0, g1, g2, g3, g4)
    for (int64_t j = 0; j < n; j++) {
        const gain_t gain = NAME(gain)(shares[j], s[j] * inverse_tau, level[j], small);
        g0 += gain.entropy;
        g1 += number[j] * gain.growth;
        if (labelled) {
            const float same = classes[j] == own ? 1.0f : 0.0f;
            g2 += gain.ratio * (share[j] - same);
        }
        g3 += gain.ratio * top1[j];
        g4 += gain.ratio * top10[j];
    }
    out[0] += g0; out[1] += g1; out[2] += g2; out[3] += g3; out[4] += g4;
}

#define SHARES(of_rows, set, ...) NAME(shares)(__VA_ARGS__, of_rows, set, shares)
#define SHARES_OF(set, ...) \
    (of_rows ? SHARES(1, set, __VA_ARGS__) : SHARES(0, set, __VA_ARGS__))
#define GAINS(function, to, ...) \
    if (is_small && labelled) NAME(function)(__VA_ARGS__, 1, 1, to); \
    else if (is_small) NAME(function)(__VA_ARGS__, 1, 0, to); \
    else if (labelled) NAME(function)(__VA_ARGS__, 0, 1, to); \
    else NAME(function)(__VA_ARGS__, 0, 0, to);

/* Sums over anchors of the gains of their statistics when a row is deleted.
 *
 * of_rows: whether rows are deleted, and columns are the anchors.
 * anchors: N_OF_ANCHOR x n_anchors: exp(-log Z) or 0 for a row that is no anchor, H - log Z, the
 * anchor's same-class share, shares of the nearest and of the ten nearest, exp(H).
 * skips: (n_anchors,) position of the row that is not deleted for this anchor; negative: none.
 * out: N_GAINS x n_deleted, zero on entry.
 * labelled: same-class shares; only for the set of all pairs.
 */
EXPORT void NAME(leave_one_out)(
    const tile_t *tile, int64_t set, double inverse_tau, int64_t labelled, int64_t of_rows,
    const float *anchors, const int32_t *skips, double *out)
{
    const int64_t n_rows = tile->n_rows, n_cols = tile->n_cols;
    const scale_t scale = scale_of(inverse_tau);
    const float over_tau = (float)inverse_tau;
    float panel[N_GAINS * PANEL_COLS], shares[PANEL_COLS];
    for (int64_t col0 = 0; col0 < n_cols; col0 += PANEL_COLS) {
        const int64_t col1 = least(col0 + PANEL_COLS, n_cols);
        for (int64_t row0 = 0; row0 < n_rows; row0 += PANEL_ROWS) {
            memset(panel, 0, sizeof panel);
            for (int64_t i = row0; i < least(row0 + PANEL_ROWS, n_rows); i++) {
                int64_t pieces[4][2];
                int32_t own = tile->row_class ? tile->row_class[i] : -1;
                if (own < 0) own = INT32_MIN; /* no label: the class of no column */
                if (set != ALL_PAIRS && own < 0) continue;
                const int n_pieces = segments(
                    cuts_of(tile, i), of_rows ? -1 : skips[i], col0, col1, pieces);
                float anchor[N_OF_ANCHOR] = {0};
                for (int g = 0; g < N_OF_ANCHOR && !of_rows; g++) anchor[g] = anchors[g * n_rows + i];
                for (int piece = 0; piece < n_pieces; piece++) {
                    const int64_t start = pieces[piece][0], n = pieces[piece][1] - start;
                    const float *s = (const float *)tile->s + i * n_cols + start;
                    const int32_t *classes = tile->col_class ? tile->col_class + start : NULL;
                    const float *factors = of_rows ? anchors + start : anchor;
                    const int32_t *of_piece = skips + (of_rows ? start : 0);
                    const int32_t row = (int32_t)i;
                    const float top =
                        set == ALL_PAIRS
                            ? SHARES_OF(ALL_PAIRS, s, classes, own, n, scale, factors, of_piece, row)
                        : set == SAME_CLASS
                            ? SHARES_OF(SAME_CLASS, s, classes, own, n, scale, factors, of_piece, row)
                            : SHARES_OF(OTHER_CLASS, s, classes, own, n, scale, factors, of_piece, row);
                    const int is_small = top <= SMALL_SHARE;
                    if (of_rows) {
                        double to[N_GAINS] = {0};
                        GAINS(gains_of_row, to, s, shares, classes, own, n, over_tau,
                            anchors + start, n_cols)
                        for (int g = 0; g < N_GAINS; g++) out[g * n_rows + i] += to[g];
                    } else {
                        float *to = panel + (start - col0);
                        GAINS(gains_of_columns, to, s, shares, classes, own, n, over_tau, anchor)
                    }
                }
            }
            if (of_rows) continue;
            for (int g = 0; g < N_GAINS; g++)
                for (int64_t j = col0; j < col1; j++)
                    out[g * n_cols + j] += panel[g * PANEL_COLS + j - col0];
        }
    }
}
#undef GAINS
#undef SHARES_OF
#undef SHARES

/* ---- weights received from the softmaxes of others */

/* For each version v: sum over the anchors of weights[v][anchor] exp(s / tau) over the pairs of a set;
 * with gaps, as many sums of weights[v][anchor] exp(s / tau) (1 - s) follow.
 *
 * of_rows: whether rows receive, and columns are the anchors.
 * weights: n_versions x n_anchors, n_versions <= MOST_VERSIONS.
 * out: n_versions (twice as many with gaps) x n_receivers, zero on entry.
 */
EXPORT void NAME(received)(
    const tile_t *tile, int64_t set, double inverse_tau, int64_t n_versions, int64_t gaps,
    const float *weights, int64_t of_rows, double *out)
{
    const int64_t n_rows = tile->n_rows, n_cols = tile->n_cols;
    const int64_t n_sums = gaps ? 2 * n_versions : n_versions;
    const scale_t scale = scale_of(inverse_tau);
    float panel[2 * MOST_VERSIONS][PANEL_COLS], plain[PANEL_COLS], with_gap[PANEL_COLS];
    float is_member[PANEL_COLS];
    for (int64_t col0 = 0; col0 < n_cols; col0 += PANEL_COLS) {
        const int64_t col1 = least(col0 + PANEL_COLS, n_cols), n = col1 - col0;
        for (int64_t row0 = 0; row0 < n_rows; row0 += PANEL_ROWS) {
            memset(panel, 0, (size_t)n_sums * sizeof panel[0]);
            for (int64_t i = row0; i < least(row0 + PANEL_ROWS, n_rows); i++) {
                const float *restrict s = (const float *)tile->s + i * n_cols + col0;
                const int32_t *classes = tile->col_class ? tile->col_class + col0 : NULL;
                const int32_t own = tile->row_class ? tile->row_class[i] : -1;
                const int32_t *cuts = cuts_of(tile, i);
                NAME(members)(classes, own, n, (int)set, is_member);
                for (int cut = 0; cuts && cut < 2; cut++)
                    if (cuts[cut] >= col0 && cuts[cut] < col1) is_member[cuts[cut] - col0] = 0.0f;
#pragma omp simd
                for (int64_t j = 0; j < n; j++) {
                    plain[j] = NAME(exp_scaled)(s[j], scale) * is_member[j];
                    with_gap[j] = plain[j] * (1.0f - s[j]);
                }
                for (int64_t sum = 0; sum < n_sums; sum++) {
                    const float *from = sum < n_versions ? plain : with_gap;
                    const int64_t version = sum < n_versions ? sum : sum - n_versions;
                    if (of_rows) {
                        const float *restrict weight = weights + version * n_cols + col0;
                        float total = 0;
#pragma omp simd reduction(+ : total)
                        for (int64_t j = 0; j < n; j++) total += from[j] * weight[j];
                        out[sum * n_rows + i] += total;
                    } else {
                        const float weight = weights[version * n_rows + i];
                        float *restrict to = panel[sum];
#pragma omp simd
                        for (int64_t j = 0; j < n; j++) to[j] += from[j] * weight;
                    }
                }
            }
            if (of_rows) continue;
            for (int64_t sum = 0; sum < n_sums; sum++)
                for (int64_t j = 0; j < n; j++) out[sum * n_cols + col0 + j] += panel[sum][j];
        }
    }
}

/* ---- kernels of the distance */

/* log(1 + y) for y >= 0. */
ALWAYS_INLINE float NAME(log1p_)(float y)
{
    const float u = 1.0f + y;
    const float lost = (y - (u - 1.0f)) / u;
    uint32_t bits;
    memcpy(&bits, &u, sizeof bits);
    const uint32_t shifted = bits - 0x3f3504f3u; /* sqrt(1/2): the mantissa ends up around 1 */
    const int32_t exponent = (int32_t)shifted >> 23;
    bits = (shifted & 0x007fffffu) + 0x3f3504f3u;
    float m;
    memcpy(&m, &bits, sizeof m);
    const float z = (m - 1.0f) / (m + 1.0f), zz = z * z;
    float series = 1.0f / 9.0f;
    series = series * zz + 1.0f / 7.0f;
    series = series * zz + 1.0f / 5.0f;
    series = series * zz + 1.0f / 3.0f;
    const float log_m = 2.0f * (z + z * zz * series);
    const float e = (float)exponent;
    return e * 0.693145752f + (e * 1.42860677e-6f + (log_m + lost));
}

ALWAYS_INLINE void NAME(kernel_piece)(
    const float *restrict s, int64_t n, float t, float floor, const int kernel, float *restrict c0,
    float *restrict c1, double *restrict out)
{
    float r0 = 0, r1 = 0;
#pragma omp simd reduction(+ : r0, r1)
    for (int64_t j = 0; j < n; j++) {
        float d2 = 2.0f - 2.0f * s[j];
        d2 = d2 > 0.0f ? d2 : 0.0f;
        float k = kernel == LOG_KERNEL ? -0.5f * NAME(log1p_)(t * d2) : t / __builtin_sqrtf(t * t + d2);
        k = d2 >= floor ? k : 0.0f;
        r0 += k;
        r1 += k * k;
        c0[j] += k;
        c1[j] += k * k;
    }
    out[0] += r0;
    out[1] += r1;
}

/* Sums over all pairs of each row and column of k(d2) and of its square, d2 = 2 - 2 s; pairs with d2
 * under the floor are left out.  rows: 2 x n_rows, cols: 2 x n_cols, zero on entry. */
EXPORT void NAME(kernel_sums)(
    const tile_t *tile, int64_t kernel, double t, double floor, double *rows, double *cols)
{
    const int64_t n_rows = tile->n_rows, n_cols = tile->n_cols;
    float panel[2][PANEL_COLS];
    for (int64_t col0 = 0; col0 < n_cols; col0 += PANEL_COLS) {
        const int64_t col1 = least(col0 + PANEL_COLS, n_cols);
        for (int64_t row0 = 0; row0 < n_rows; row0 += PANEL_ROWS) {
            memset(panel, 0, sizeof panel);
            for (int64_t i = row0; i < least(row0 + PANEL_ROWS, n_rows); i++) {
                int64_t pieces[4][2];
                const int n_pieces = segments(cuts_of(tile, i), -1, col0, col1, pieces);
                for (int piece = 0; piece < n_pieces; piece++) {
                    const int64_t start = pieces[piece][0], n = pieces[piece][1] - start;
                    const float *s = (const float *)tile->s + i * n_cols + start;
                    float *c0 = panel[0] + (start - col0), *c1 = panel[1] + (start - col0);
                    double to[2] = {0};
                    if (kernel == LOG_KERNEL)
                        NAME(kernel_piece)(s, n, (float)t, (float)floor, LOG_KERNEL, c0, c1, to);
                    else
                        NAME(kernel_piece)(s, n, (float)t, (float)floor, IMQ_KERNEL, c0, c1, to);
                    rows[i] += to[0];
                    rows[n_rows + i] += to[1];
                }
            }
            for (int sum = 0; sum < 2; sum++)
                for (int64_t j = col0; j < col1; j++)
                    cols[sum * n_cols + j] += panel[sum][j - col0];
        }
    }
}

/* ---- log(1 + exp(z)) */

/* Of z = s / tau + bias: max(z, 0) + log(1 + exp(-|z|)); 1 / tau and bias in two parts each. */
ALWAYS_INLINE void NAME(softplus_piece)(
    const float *restrict s, int64_t n, const float *restrict slope, const float *restrict bias,
    scale_t one, float *restrict cols, double *restrict row)
{
    const float slope_hi = slope[0], slope_lo = slope[1], bias_hi = bias[0], bias_lo = bias[1];
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < n; j++) {
        const float z = (s[j] * slope_hi + bias_hi) + (s[j] * slope_lo + bias_lo);
        const float size = __builtin_fabsf(z);
        const float capped = size < 87.0f ? size : 87.0f;
        const float e = size < 87.0f ? NAME(exp_scaled)(-capped, one) : 0.0f;
        const float value = (z > 0.0f ? z : 0.0f) + NAME(log1p_)(e);
        total += value;
        cols[j] += value;
    }
    row[0] += total;
}

/* Sums over all pairs of each row and column of log(1 + exp(s / tau + bias)) for each temperature.
 * rows: n_taus x n_rows, cols: n_taus x n_cols, zero on entry. */
EXPORT void NAME(softplus_sums)(
    const tile_t *tile, int64_t n_taus, const double *inverse_taus, double bias, double *rows,
    double *cols)
{
    const int64_t n_rows = tile->n_rows, n_cols = tile->n_cols;
    const scale_t one = scale_of(1.0);
    const float biases[2] = {(float)bias, (float)(bias - (double)(float)bias)};
    float panel[PANEL_COLS];
    for (int64_t col0 = 0; col0 < n_cols; col0 += PANEL_COLS) {
        const int64_t col1 = least(col0 + PANEL_COLS, n_cols);
        for (int64_t row0 = 0; row0 < n_rows; row0 += PANEL_ROWS) {
            for (int64_t t = 0; t < n_taus; t++) {
                const double exact = inverse_taus[t];
                const float slope[2] = {(float)exact, (float)(exact - (double)(float)exact)};
                memset(panel, 0, sizeof panel);
                for (int64_t i = row0; i < least(row0 + PANEL_ROWS, n_rows); i++) {
                    int64_t pieces[4][2];
                    const int n_pieces = segments(cuts_of(tile, i), -1, col0, col1, pieces);
                    for (int piece = 0; piece < n_pieces; piece++) {
                        const int64_t start = pieces[piece][0], n = pieces[piece][1] - start;
                        const float *s = (const float *)tile->s + i * n_cols + start;
                        NAME(softplus_piece)(s, n, slope, biases, one, panel + (start - col0),
                            rows + t * n_rows + i);
                    }
                }
                for (int64_t j = col0; j < col1; j++) cols[t * n_cols + j] += panel[j - col0];
            }
        }
    }
}

/* Sums over the pairs of a set, of each row and column: of s and of s^2, then for each threshold of
 * the pairs with s <= threshold.  moments: whether the first two are wanted.
 * rows: (2 + n_thresholds) x n_rows, cols: likewise, zero on entry; n_thresholds <= MOST_THRESHOLDS. */
EXPORT void NAME(moments)(
    const tile_t *tile, int64_t set, int64_t moments, int64_t n_thresholds, const double *thresholds,
    double *rows, double *cols)
{
    const int64_t n_rows = tile->n_rows, n_cols = tile->n_cols;
    float panel[2 + MOST_THRESHOLDS][PANEL_COLS], is_member[PANEL_COLS];
    for (int64_t col0 = 0; col0 < n_cols; col0 += PANEL_COLS) {
        const int64_t col1 = least(col0 + PANEL_COLS, n_cols), n = col1 - col0;
        const int32_t *classes = tile->col_class ? tile->col_class + col0 : NULL;
        for (int64_t row0 = 0; row0 < n_rows; row0 += PANEL_ROWS) {
            memset(panel, 0, (size_t)(2 + n_thresholds) * sizeof panel[0]);
            for (int64_t i = row0; i < least(row0 + PANEL_ROWS, n_rows); i++) {
                const float *restrict s = (const float *)tile->s + i * n_cols + col0;
                const int32_t *cuts = cuts_of(tile, i);
                NAME(members)(classes, tile->row_class ? tile->row_class[i] : -1, n, (int)set, is_member);
                for (int cut = 0; cuts && cut < 2; cut++)
                    if (cuts[cut] >= col0 && cuts[cut] < col1) is_member[cuts[cut] - col0] = 0.0f;
                if (moments) {
                    float *restrict first = panel[0], *restrict second = panel[1];
                    float r0 = 0, r1 = 0;
#pragma omp simd reduction(+ : r0, r1)
                    for (int64_t j = 0; j < n; j++) {
                        const float counted = is_member[j] * s[j], square = counted * s[j];
                        r0 += counted;
                        r1 += square;
                        first[j] += counted;
                        second[j] += square;
                    }
                    rows[i] += r0;
                    rows[n_rows + i] += r1;
                }
                for (int64_t t = 0; t < n_thresholds; t++) {
                    const float threshold = (float)thresholds[t];
                    float *restrict below = panel[2 + t];
                    float r = 0;
#pragma omp simd reduction(+ : r)
                    for (int64_t j = 0; j < n; j++) {
                        const float counted = s[j] <= threshold ? is_member[j] : 0.0f;
                        r += counted;
                        below[j] += counted;
                    }
                    rows[(2 + t) * n_rows + i] += r;
                }
            }
            for (int64_t sum = moments ? 0 : 2; sum < 2 + n_thresholds; sum++)
                for (int64_t j = 0; j < n; j++) cols[sum * n_cols + col0 + j] += panel[sum][j];
        }
    }
}

/* Sums over all pairs of each row and column of k(d2) = d2^(-power / 2) and of its square, without the
 * pairs with d2 = 2 - 2 s under the floor; of similarities in double.  rows: 2 x n_rows, cols: 2 x
 * n_cols, zero on entry. */
EXPORT void NAME(riesz_sums)(
    const tile_t *tile, int64_t power, double floor, double *restrict rows, double *restrict cols)
{
    const int64_t n_rows = tile->n_rows, n_cols = tile->n_cols;
    const int64_t n_squares = power / 2;
    for (int64_t i = 0; i < n_rows; i++) {
        int64_t pieces[4][2];
        const int n_pieces = segments(cuts_of(tile, i), -1, 0, n_cols, pieces);
        for (int piece = 0; piece < n_pieces; piece++) {
            const int64_t start = pieces[piece][0], n = pieces[piece][1] - start;
            const double *restrict s = (const double *)tile->s + i * n_cols + start;
            double *restrict c0 = cols + start, *restrict c1 = cols + n_cols + start;
            double r0 = 0, r1 = 0;
#pragma omp simd reduction(+ : r0, r1)
            for (int64_t j = 0; j < n; j++) {
                double d2 = 2.0 - 2.0 * s[j];
                d2 = d2 > 0.0 ? d2 : 0.0;
                const double counted = d2 >= floor ? 1.0 : 0.0;
                const double inverse = counted / (d2 >= floor ? d2 : 1.0);
                double k = power & 1 ? __builtin_sqrt(inverse) : counted;
                for (int64_t p = 0; p < n_squares; p++) k *= inverse;
                r0 += k;
                r1 += k * k;
                c0[j] += k;
                c1[j] += k * k;
            }
            rows[i] += r0;
            rows[n_rows + i] += r1;
        }
    }
}

/* Positions of the pairs with a similarity, in double, of at least a limit: returns how many there
 * are; the first `most` of them are written. */
EXPORT int64_t NAME(near_pairs)(
    const tile_t *tile, double limit, int64_t most, int64_t *out_rows, int64_t *out_cols)
{
    enum { CHUNK = 64 };
    int64_t found = 0;
    for (int64_t i = 0; i < tile->n_rows; i++) {
        const double *restrict s = (const double *)tile->s + i * tile->n_cols;
        for (int64_t start = 0; start < tile->n_cols; start += CHUNK) {
            const int64_t stop = least(start + CHUNK, tile->n_cols);
            int any = 0;
#pragma omp simd reduction(| : any)
            for (int64_t j = start; j < stop; j++) any |= s[j] >= limit;
            for (int64_t j = start; any && j < stop; j++) {
                if (!(s[j] >= limit) || !counts(tile, ALL_PAIRS, i, j)) continue;
                if (found < most) { out_rows[found] = i; out_cols[found] = j; }
                found++;
            }
        }
    }
    return found;
}

/* ---- the hardest negatives of whole rows */

/* The k-th largest of n values, 1 <= k <= n, by three counts of their bits.  keys: n, overwritten. */
static float NAME(kth_largest)(const float *restrict s, int64_t n, int64_t k, uint32_t *restrict keys)
{
    static const int shifts[3] = {21, 10, 0}, widths[3] = {11, 11, 10};
    uint32_t counts_of[2048];
    int64_t left = n;
    for (int64_t j = 0; j < n; j++) {
        uint32_t bits;
        memcpy(&bits, &s[j], sizeof bits);
        keys[j] = bits ^ ((uint32_t)(-(int32_t)(bits >> 31)) | 0x80000000u);
    }
    uint32_t prefix = 0;
    for (int digit = 0; digit < 3; digit++) {
        const int shift = shifts[digit];
        const uint32_t mask = (1u << widths[digit]) - 1u;
        memset(counts_of, 0, sizeof counts_of);
        for (int64_t j = 0; j < left; j++) counts_of[keys[j] >> shift & mask]++;
        uint32_t bucket = mask;
        while (counts_of[bucket] < k) { k -= counts_of[bucket]; bucket--; }
        prefix |= bucket << shift;
        int64_t kept = 0;
        for (int64_t j = 0; j < left; j++) {
            keys[kept] = keys[j];
            kept += (keys[j] >> shift & mask) == bucket;
        }
        left = kept;
    }
    return value_of(prefix);
}

/* exp(d / tau) for d <= 0; what is under the range of float32 comes out as its edge, 1e-37. */
ALWAYS_INLINE float NAME(exp_below)(float d, scale_t scale, float least_d)
{
    return NAME(exp_scaled)(d > least_d ? d : least_d, scale);
}

/* Sums over the k hardest negatives of every row of a strip, whose names pairs/strips.py explains.
 *
 * s: n_rows x n, -2 at the columns that are no negatives; 1 <= k < n.
 * positives: (n_rows,) similarity of the positive, whose exponential is added to the kept mass in the
 * denominator of the weights; -infinity: no positive.
 * work: 4 x n words of four bytes.
 * threshold, peak, similarity: n_rows; mass: n_taus x n_rows, kept sum of exp((s - peak) / tau).
 * received: n_taus x n, excess: n, histogram: n_taus x n_bins, all zero on entry.
 */
EXPORT void NAME(hard_negatives)(
    const float *s, int64_t n_rows, int64_t n, int64_t k, int64_t n_taus, const double *inverse_taus,
    const double *positives, int64_t n_bins, void *work, double *threshold, double *peak,
    double *similarity, double *mass, float *received, float *excess, double *histogram)
{
    uint32_t *keys = work;
    int32_t *at = (int32_t *)work + n, *bins = (int32_t *)work + 3 * n;
    float *above = (float *)work + 2 * n;
    for (int64_t i = 0; i < n_rows; i++, s += n) {
        const float q = NAME(kth_largest)(s, n, k, keys);
        float *values = (float *)work; /* the keys are not needed any more */
        float top = q;
        int64_t n_above = 0;
        double sum = 0;
        for (int64_t j = 0; j < n; j++) {
            at[n_above] = (int32_t)j;
            above[n_above] = s[j];
            n_above += s[j] > q;
        }
        for (int64_t p = 0; p < n_above; p++) {
            const double beyond = (double)above[p] - q;
            top = above[p] > top ? above[p] : top;
            sum += beyond;
            excess[at[p]] += (float)beyond;
        }
        threshold[i] = q;
        peak[i] = top;
        similarity[i] = sum + (double)k * q;
        int32_t bin_of_q = 0;
        if (n_bins) {
            NAME(bins)(above, n_above, (int32_t)n_bins, bins);
            NAME(bins)(&q, 1, (int32_t)n_bins, &bin_of_q);
        }
        for (int64_t t = 0; t < n_taus; t++) {
            const scale_t scale = scale_of(inverse_taus[t]);
            const float least_d = (float)(-85.0 / inverse_taus[t]);
            const float lowest = NAME(exp_below)(q - top, scale, least_d);
            double beyond = 0;
#pragma omp simd reduction(+ : beyond)
            for (int64_t p = 0; p < n_above; p++) {
                values[p] = NAME(exp_below)(above[p] - top, scale, least_d) - lowest;
                beyond += values[p];
            }
            const double total = beyond + (double)k * lowest;
            const double ahead = positives[i] - top, most = 85.0 / inverse_taus[t];
            const double clipped = ahead > most ? most : ahead < -most ? -most : ahead;
            const double of_positive = NAME(exp_scaled)((float)clipped, scale);
            const float weight = (float)(1.0 / (total + of_positive));
            float *to = received + t * n;
            mass[t * n_rows + i] = total;
            for (int64_t p = 0; p < n_above; p++) to[at[p]] += weight * values[p];
            if (!n_bins) continue;
            double *line = histogram + t * n_bins;
            for (int64_t p = 0; p < n_above; p++) line[bins[p]] += (values[p] + lowest) / total;
            line[bin_of_q] += (double)(k - n_above) * lowest / total; /* those that tie */
        }
    }
}

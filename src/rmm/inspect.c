/* SPDX-License-Identifier: Apache-2.0 */
/* Members one by one as far as they open, then their parts side by side. */
#include "rmm/inspect.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

const double ww_inspect_errors[WW_INSPECT_ERRORS] = {0.05, 0.1, 0.2, 0.4, 0.6};

static void release_tensor(struct ww_inspect_tensor *t)
{
    ww_free(t->name);
    ww_free(t->lengths);
    ww_free(t->cosines);
}

void ww_pack_inspection_release(struct ww_pack_inspection *r)
{
    for (size_t i = 0; r->members && i < r->n_members; i++) {
        ww_free(r->members[i].name);
        ww_free(r->members[i].why);
        ww_free(r->members[i].spectrum);
        ww_free(r->members[i].rates);
    }
    for (size_t i = 0; i < r->n_tensors; i++) {
        release_tensor(&r->tensors[i]);
    }
    ww_free(r->members);
    ww_free(r->tensors);
    ww_free(r->cosines);
    ww_free(r->rows);
    ww_free(r->no_rows);
    ww_free(r->base);
    memset(r, 0, sizeof(*r));
}

/* Room for spectrum and rates. */
static enum ww_err member_init(struct ww_inspect_member *m, struct ww_error *err)
{
    m->spectrum = ww_calloc(WW_INSPECT_SPECTRUM, sizeof(*m->spectrum));
    m->rates = ww_calloc(WW_INSPECT_ERRORS, sizeof(*m->rates));
    return m->spectrum && m->rates ? WW_OK
                                   : WW_FAIL_MEMORY(err, "looking into a package");
}

static const double shares[] = {0.5, 0.9, 0.99};

/* Singular values that hold a share of the squared length. */
static double rank_of(const double *squares, size_t n, double total, double share)
{
    double sum = 0;
    size_t k = 0;

    while (k < n && sum < share * total) {
        sum += squares[k++];
    }
    return (double)k;
}

void ww_inspect_spectrum(struct ww_inspect_member *m, const double *squares, size_t n)
{
    double total = 0;

    for (size_t k = 0; k < n; k++) {
        total += squares[k];
    }
    if (!(total > 0)) {
        return;
    }
    for (size_t k = 0; k < n && k < WW_INSPECT_SPECTRUM; k++) {
        m->spectrum[k] += squares[k] / total;
        m->n_spectrum = k + 1 > m->n_spectrum ? k + 1 : m->n_spectrum;
    }
    double *const ranks[] = {&m->rank_50, &m->rank_90, &m->rank_99};
    for (size_t i = 0; i < WW_LEN(ranks); i++) {
        const double rank = rank_of(squares, n, total, shares[i]);
        *ranks[i] += rank;
        m->rank_errors[i] += rank * rank; /* until they are means */
    }
    m->matrices++;
}

/* The standard error of a mean of n out of `of` numbers, from their squares' sum. */
static double error_of(double mean, double squares, double n, double of)
{
    const double spread = squares / n - mean * mean;

    return n > 1 && of > n && spread > 0 ? sqrt(spread / (n - 1) * (1 - n / of)) : 0;
}

static void mean_spectrum(struct ww_inspect_member *m)
{
    const double n = m->matrices > 0 ? (double)m->matrices : 1;
    double *const ranks[] = {&m->rank_50, &m->rank_90, &m->rank_99};

    for (size_t k = 0; k < m->n_spectrum; k++) {
        m->spectrum[k] /= n;
    }
    m->of_matrices = ww_max_u64(m->of_matrices, m->matrices);
    for (size_t i = 0; i < WW_LEN(ranks); i++) {
        *ranks[i] /= n;
        m->rank_errors[i] =
            error_of(*ranks[i], m->rank_errors[i], n, (double)m->of_matrices);
    }
}

static void cosines_of(const double *gram, size_t n, double *cosines)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            const double both = sqrt(gram[i * n + i]) * sqrt(gram[j * n + j]);
            cosines[i * n + j] = both > 0 ? gram[i * n + j] / both : 0;
        }
    }
}

enum ww_err ww_inspect_add(struct ww_inspecting *x, const char *name, const double *gram,
                           struct ww_error *err)
{
    struct ww_pack_inspection *r = x->report;
    const size_t n = r->n_members;
    struct ww_inspect_tensor t = {.name = ww_strdup(name),
                                  .lengths = ww_calloc(n, sizeof(double)),
                                  .cosines = ww_calloc(n, n * sizeof(double))};
    struct ww_inspect_tensor *more =
        ww_realloc_array(r->tensors, r->n_tensors + 1, sizeof(*more));

    if (more) {
        r->tensors = more;
    }
    if (!more || !t.name || !t.lengths || !t.cosines) {
        release_tensor(&t);
        return WW_FAIL_MEMORY(err, "looking into a package");
    }
    cosines_of(gram, n, t.cosines);
    for (size_t i = 0; i < n; i++) {
        t.lengths[i] = sqrt(gram[i * n + i]);
    }
    for (size_t i = 0; i < n * n; i++) {
        x->gram[i] += gram[i];
    }
    r->tensors[r->n_tensors++] = t;
    return WW_OK;
}

/* What a member cannot be looked into for is said, not failed for. */
static bool is_a_reason(enum ww_err rc)
{
    switch ((int)rc) {
    case WW_E_NOMEM:
    case WW_E_IO:
    case WW_E_CANCELLED:
    case WW_E_TAMPERED:
    case WW_E_MALFORMED:
    case WW_E_UNRELATED:
    case WW_E_NOT_SIGNED:
    case WW_E_UNTRUSTED:
    case WW_E_SIGNATURE:
        return false;
    default:
        return rc != WW_OK;
    }
}

/* A change is the difference of what both have. */
static enum ww_err check_base(const struct ww_peek *peek, struct ww_error *err)
{
    for (uint32_t t = 0; t < peek->n_tensors; t++) {
        if (peek->tensors[t].base != WW_NONE) {
            return WW_OK;
        }
    }
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "a model of which no tensor is one of the base's by name, shape and dtype");
}

static enum ww_err open_member(struct ww_inspecting *x, const char *path, size_t i,
                               const struct ww_pack_inspect_options *options,
                               struct ww_error *err)
{
    struct ww_inspect_member *m = &x->report->members[i];
    const struct ww_unpack_options how = {.base = m->adapter ? NULL : options->base,
                                          .unsealer = options->unsealer,
                                          .public_key = options->public_key};
    struct ww_error reason = {0};
    enum ww_err rc = WW_OK;

    if (m->why) {
        return WW_OK;
    }
    if (!m->adapter && !options->base) {
        m->why = ww_strdup("a model, and no base was named to compare it with");
        return m->why ? WW_OK : WW_FAIL_MEMORY(err, "looking into a package");
    }
    rc = ww_peek_open(path, m->name, &how, &x->peeks[i], &reason);
    if (!rc) {
        rc = x->peeks[i].adapter ? ww_inspect_check_pairs(&x->peeks[i], &reason)
                                 : check_base(&x->peeks[i], &reason);
        if (rc) {
            ww_peek_close(&x->peeks[i]);
        }
    }
    if (is_a_reason(rc)) {
        m->why = ww_strdup(reason.text);
        return m->why ? WW_OK : WW_FAIL_MEMORY(err, "looking into a package");
    }
    return rc ? WW_FAIL(err, rc, "%s", reason.text) : member_init(m, err);
}

static size_t count_members(const struct ww_pack_manifest *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n_members; i++) {
        n += !m->members[i].basis;
    }
    return n;
}

static enum ww_err choose(struct ww_pack_inspection *out, const struct ww_pack_file *file,
                          const struct ww_pack_inspect_options *options,
                          struct ww_error *err)
{
    const struct ww_pack_manifest *m = &file->manifest;
    const size_t n = options->names ? options->n_names : count_members(m);
    size_t next = 0; /* member, where all are wanted */
    enum ww_err rc = WW_OK;

    if (n > WW_INSPECT_MEMBERS) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "%zu members are looked into, at most %d at a time; name some", n,
                       WW_INSPECT_MEMBERS);
    }
    out->members = ww_calloc(n, sizeof(*out->members));
    out->cosines = ww_calloc(n, n * sizeof(*out->cosines));
    if (!out->members || !out->cosines) {
        return WW_FAIL_MEMORY(err, "looking into a package");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        size_t at = 0;
        if (options->names) {
            rc = ww_pack_member_find(file, options->names[i], &at, err);
        } else {
            while (m->members[next].basis) {
                next++;
            }
            at = next++;
        }
        if (!rc) {
            out->members[i].adapter = m->members[at].adapter;
            out->members[i].unchanged = NAN;
            out->members[i].name = ww_strdup(m->members[at].name);
            out->n_members = i + 1;
            rc = out->members[i].name ? WW_OK
                                      : WW_FAIL_MEMORY(err, "looking into a package");
        }
        if (!rc && m->members[at].basis) {
            out->members[i].why =
                ww_strdup("it is what adapters share, and no model and no adapter");
            rc = out->members[i].why ? WW_OK
                                     : WW_FAIL_MEMORY(err, "looking into a package");
        }
        if (!rc && m->members[at].n_others > 0) {
            /* Its prediction is not what the base is, and no other models are named. */
            out->members[i].why = ww_strdup("it comes back out of a merge; unpack it");
            rc = out->members[i].why ? WW_OK
                                     : WW_FAIL_MEMORY(err, "looking into a package");
        }
    }
    return rc;
}

static enum ww_err describe(struct ww_pack_inspection *out, const char *path,
                            const struct ww_pack_inspect_options *options,
                            struct ww_error *err)
{
    struct ww_pack_file file;
    char signer[256];
    enum ww_err rc = ww_pack_open(path, &file, err);

    if (rc) {
        return rc;
    }
    ww_hex(out->id, file.manifest.id, sizeof(file.manifest.id));
    out->version = file.manifest.version;
    out->sampled = WW_INSPECT_SAMPLE;
    if (file.manifest.base_name) {
        out->base = ww_strdup(file.manifest.base_name);
        rc = out->base ? WW_OK : WW_FAIL_MEMORY(err, "looking into a package");
    }
    if (!rc && options->public_key) {
        rc = ww_pack_check_signature(&file, options->public_key, signer, err);
    }
    if (!rc) {
        rc = choose(out, &file, options, err);
    }
    ww_pack_close(&file);
    return rc;
}

/* Changes of an adapter and of a model are told apart: one is a sum beside the weights.
 */
static void finish(struct ww_inspecting *x)
{
    struct ww_pack_inspection *r = x->report;
    const size_t n = r->n_members;

    cosines_of(x->gram, n, r->cosines);
    for (size_t i = 0; i < n; i++) {
        r->members[i].length = sqrt(x->gram[i * n + i]);
        mean_spectrum(&r->members[i]);
        for (size_t j = 0; j < n; j++) {
            if (r->members[i].why || r->members[j].why ||
                r->members[i].adapter != r->members[j].adapter) {
                r->cosines[i * n + j] = NAN;
            }
        }
    }
}

static enum ww_err look(struct ww_inspecting *x, const char *path,
                        const struct ww_pack_inspect_options *options,
                        struct ww_error *err)
{
    const size_t n = x->report->n_members;
    enum ww_err rc = ww_chunk_room_new(&x->room, err);

    ww_buf_init(&x->coded, 2 * WW_CHUNK_MAX_CODED);
    x->peeks = ww_calloc(n, sizeof(*x->peeks));
    x->gram = ww_calloc(n, n * sizeof(*x->gram));
    if (!rc && (!x->peeks || !x->gram)) {
        rc = WW_FAIL_MEMORY(err, "looking into a package");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = open_member(x, path, i, options, err);
    }
    if (!rc) {
        rc = ww_inspect_adapters(x, err);
    }
    if (!rc) {
        rc = ww_inspect_rows(x, err);
    }
    if (!rc) {
        rc = ww_inspect_models(x, err);
    }
    if (!rc) {
        finish(x);
    }
    for (size_t i = 0; x->peeks && i < n; i++) {
        ww_peek_close(&x->peeks[i]);
    }
    ww_free(x->peeks);
    ww_free(x->gram);
    ww_buf_release(&x->coded);
    ww_chunk_room_free(x->room);
    return rc;
}

enum ww_err ww_pack_inspect(const char *path,
                            const struct ww_pack_inspect_options *options,
                            struct ww_pack_inspection *out, struct ww_error *err)
{
    struct ww_inspecting x = {.report = out};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_pace_begin(&x.pace, &options->run, "inspect", 0);
    rc = describe(out, path, options, err);
    if (!rc) {
        rc = look(&x, path, options, err);
    }
    if (rc) {
        ww_pack_inspection_release(out);
    }
    return rc;
}

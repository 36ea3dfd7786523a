/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters that share numbers: what comes back is what the published method gives, or
 * with a residual every byte, and who opens one of them is told of all.
 */
#include "rmm_fixture.h"

#include <math.h>

#include "rmm/parent.h"
#include "rmm/rows.h"
#include "util/fault.h"

enum { SIDE = 24, WIDE = 40, RANK = 4, N = 4, A = RANK * WIDE, B = SIDE * RANK };
#define NUMBERS ((size_t)2 * (A + B)) /* of two modules */

struct set {
    struct fx *f;
    float numbers[N][NUMBERS]; /* q: A, B; v: A, B */
    char *paths[N];
    char names[N][8];
    struct ww_pack_member members[N];
};

static char *adapter(const struct fx *f, const char *name, const float *numbers)
{
    static const char config[] = "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,"
                                 "\"target_modules\":[\"q\",\"v\"]}";
    char *dir = fx_join(f->dir, name);
    char header[800];
    size_t at = 0;
    int len = snprintf(header, sizeof(header), "{");
    for (unsigned i = 0; i < 4; i++) {
        const bool is_b = i % 2;
        const size_t n = (is_b ? B : A) * sizeof(float);
        len += snprintf(
            header + len, sizeof(header) - (size_t)len,
            "%s\"base_model.model.%s.lora_%c.weight\":{\"dtype\":\"F32\",\"shape\":"
            "[%d,%d],\"data_offsets\":[%zu,%zu]}",
            i ? "," : "", i < 2 ? "q" : "v", is_b ? 'B' : 'A', is_b ? SIDE : RANK,
            is_b ? RANK : WIDE, at, at + n);
        at += n;
    }
    snprintf(header + len, sizeof(header) - (size_t)len, "}");
    assert_int_equal(mkdir(dir, 0755), 0);
    fx_shard(dir, "adapter_model.safetensors", header, (const uint8_t *)numbers, at);
    fx_write(dir, "adapter_config.json", config, strlen(config));
    return dir;
}

/* Alike to a part, and then each for itself. */
static void fill(struct set *s)
{
    for (size_t i = 0; i < N; i++) {
        uint64_t common = 7;
        uint64_t own = 100 + i;
        for (size_t k = 0; k < NUMBERS; k++) {
            s->numbers[i][k] = ((float)(fx_random(&common) % 1000) - 500) / 500;
            s->numbers[i][k] += ((float)(fx_random(&own) % 1000) - 500) / 1000;
        }
    }
}

/* Paths, and no models and keys, which take longer than all the rest. */
static struct fx *paths(void)
{
    struct fx *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->dir = ww_test_mkdir();
    f->pkg = fx_join(f->dir, "models.pkg");
    f->out = fx_join(f->dir, "out");
    f->ann = fx_join(f->dir, "ann");
    f->bob = fx_join(f->dir, "bob");
    return f;
}

static struct set *begin_with(void (*change)(struct set *s))
{
    struct set *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->f = paths();
    fill(s);
    if (change) {
        change(s);
    }
    for (size_t i = 0; i < N; i++) {
        snprintf(s->names[i], sizeof(s->names[i]), "a%zu", i);
        s->paths[i] = adapter(s->f, s->names[i], s->numbers[i]);
        s->members[i] = (struct ww_pack_member){s->names[i], s->paths[i], NULL, 0};
    }
    return s;
}

static struct set *begin(void)
{
    return begin_with(NULL);
}

static void end(struct set *s)
{
    for (size_t i = 0; i < N; i++) {
        free(s->paths[i]);
    }
    fx_free(s->f);
    free(s);
}

static struct ww_pack_options rows(size_t directions, bool residual)
{
    return (struct ww_pack_options){.codec = WW_PACK_ROWS,
                                    .directions = directions,
                                    .residual = residual,
                                    .run = {.threads = 1}};
}

static void pack(struct set *s, size_t directions, bool residual,
                 struct ww_pack_report *report)
{
    const struct ww_pack_options options = rows(directions, residual);
    struct ww_error err = {0};
    OK(ww_pack_create(s->f->pkg, s->members, N, &options, report, &err));
}

/* What the published method gives of all members, rounded once. */
static void expect(const struct set *s, size_t p, float out[N][NUMBERS])
{
    const struct ww_rows rows = {.n = N, .r = RANK, .p = p};
    struct ww_rows_room room;
    struct ww_error err = {0};
    double vectors[N * RANK];
    double mean[RANK];
    double directions[RANK * RANK];
    double coefficients[N * RANK];
    double one[RANK];
    OK(ww_rows_room_init(&rows, &room, &err));
    for (size_t k = 0; k < 2; k++) {
        for (size_t place = 0; place < WIDE + SIDE; place++) {
            const bool is_b = place >= WIDE;
            const size_t first = k * (A + B) + (is_b ? A + (place - WIDE) * RANK : place);
            const size_t step = is_b ? 1 : WIDE;
            for (size_t i = 0; i < (size_t)N * RANK; i++) {
                vectors[i] = (double)s->numbers[i / RANK][first + i % RANK * step];
            }
            ww_rows_fit(&rows, vectors, &room, mean, directions, coefficients);
            for (size_t i = 0; i < N; i++) {
                ww_rows_recover(&rows, mean, directions, coefficients, i, one);
                for (size_t l = 0; l < RANK; l++) {
                    out[i][first + l * step] = (float)one[l];
                }
            }
        }
    }
    ww_rows_room_release(&room);
}

static double product(const float *a, const float *b, size_t i, size_t j)
{
    double sum = 0;
    for (size_t l = 0; l < RANK; l++) {
        sum += (double)b[i * RANK + l] * (double)a[l * WIDE + j];
    }
    return sum;
}

/* The larger of the two modules. */
static double error_of(const float *x, const float *y)
{
    double worst = 0;
    for (size_t k = 0; k < 2; k++) {
        const size_t at = k * (A + B);
        double norm2 = 0;
        double error2 = 0;
        for (size_t i = 0; i < (size_t)SIDE * WIDE; i++) {
            const double want = product(x + at, x + at + A, i / WIDE, i % WIDE);
            const double got = product(y + at, y + at + A, i / WIDE, i % WIDE);
            norm2 += want * want;
            error2 += (want - got) * (want - got);
        }
        worst = fmax(worst, sqrt(error2 / norm2));
    }
    return worst;
}

static void read_back(const struct set *s, float out[NUMBERS])
{
    struct ww_buf bytes;
    fx_read(fx_name(s->f->out, "/adapter_model.safetensors"), &bytes);
    assert_true(bytes.len > NUMBERS * sizeof(float));
    memcpy(out, bytes.data + bytes.len - NUMBERS * sizeof(float),
           NUMBERS * sizeof(float));
    ww_buf_release(&bytes);
}

static void remove_out(const struct set *s)
{
    char command[1200];
    snprintf(command, sizeof(command), "rm -r '%s'", s->f->out);
    assert_int_equal(system(command), 0);
}

static void what_comes_back_is_what_the_method_gives(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    float want[N][NUMBERS];
    float got[NUMBERS];
    double before = 1;
    (void)state;
    for (size_t p = 1; p < N; p++) {
        (void)unlink(s->f->pkg);
        pack(s, p, false, &report);
        expect(s, p, want);
        assert_int_equal(report.n_members, N + 1);
        assert_true(report.members[0].basis && !report.members[0].bounded);
        assert_string_equal(report.members[0].name, "basis");
        assert_string_equal(report.members[0].codec, "rows");
        assert_int_equal(report.members[0].directions, p);
        for (size_t i = 0; i < N; i++) {
            const struct ww_pack_entry *m = &report.members[i + 1];
            assert_true(m->bounded && m->shares && m->adapter);
            assert_string_equal(m->parent, "basis");
            OK(fx_unpack(s->f, s->names[i], NULL, NULL, &err));
            read_back(s, got);
            assert_memory_equal(got, want[i], sizeof(got));
            assert_true(fabs(m->error - error_of(s->numbers[i], got)) < 1e-6);
            remove_out(s);
        }
        const double error = report.members[1].error;
        assert_true(error < before && (p < N - 1 ? error > 0.01 : error < 0.01));
        before = error;
        ww_pack_report_release(&report);
    }
    end(s);
}

static void with_a_residual_every_byte_comes_back(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_buf one;
    struct ww_buf many;
    struct ww_pack_options options = rows(2, true);
    (void)state;
    pack(s, 2, true, &report);
    for (size_t i = 0; i < N; i++) {
        assert_true(!report.members[i + 1].bounded && report.members[i + 1].error == 0);
        OK(fx_unpack(s->f, s->names[i], NULL, NULL, &err));
        fx_same(s->f, s->paths[i]);
    }
    ww_pack_report_release(&report);
    OK(fx_unpack(s->f, "basis", NULL, NULL, &err));
    remove_out(s);
    options.run.threads = 3;
    OK(ww_pack_create(fx_name(s->f->pkg, ".3"), s->members, N, &options, &report, &err));
    ww_pack_report_release(&report);
    fx_read(s->f->pkg, &one);
    fx_read(fx_name(s->f->pkg, ".3"), &many);
    assert_int_equal(one.len, many.len);
    assert_memory_equal(one.data, many.data, one.len);
    ww_buf_release(&one);
    ww_buf_release(&many);
    end(s);
}

static enum ww_err keep(void *payload, const void *bytes, size_t n, struct ww_error *err)
{
    return ww_buf_add(payload, bytes, n, err);
}

static void one_tensor_is_read_alone(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_unpack_options options = {0};
    struct ww_buf bytes;
    float want[N][NUMBERS];
    (void)state;
    pack(s, 1, false, &report);
    ww_pack_report_release(&report);
    expect(s, 1, want);
    ww_buf_init(&bytes, 1U << 20);
    OK(ww_unpack_tensor(s->f->pkg, "a2", "base_model.model.v.lora_B.weight", &options,
                        keep, &bytes, &err));
    assert_int_equal(bytes.len, B * sizeof(float));
    assert_memory_equal(bytes.data, want[2] + 2 * A + B, bytes.len);
    ww_buf_release(&bytes);
    end(s);
}

/* Few directions or as many as there are: what the basis leaves is coded. With one there
 * is nothing to turn all four latent indices to. */
static void a_core_and_what_it_leaves_keep_the_error(void **state)
{
    static const size_t directions[] = {1, 2, N * RANK};
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    uint64_t first = 0;
    float got[NUMBERS];
    (void)state;
    for (size_t k = 0; k < WW_LEN(directions); k++) {
        struct ww_pack_options options = {.codec = WW_PACK_CORE,
                                          .directions = directions[k],
                                          .error = 0.05,
                                          .run = {.threads = 1}};
        (void)unlink(s->f->pkg);
        OK(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err));
        assert_string_equal(report.members[0].codec, "core");
        assert_int_equal(report.members[0].directions, directions[k]);
        for (size_t i = 0; i < N; i++) {
            const struct ww_pack_entry *m = &report.members[i + 1];
            assert_true(m->bounded && m->error > 0 && m->error <= 0.05);
            assert_int_equal(m->coded[WW_PACK_KLT] > 0, k > 0);
            assert_int_equal(m->coded[WW_PACK_OWN] > 0, k == 0);
            OK(fx_unpack(s->f, s->names[i], NULL, NULL, &err));
            read_back(s, got);
            assert_true(fabs(m->error - error_of(s->numbers[i], got)) < 1e-6);
            remove_out(s);
        }
        assert_true(k < 2 || report.members[1].coded[WW_PACK_KLT] * 2 < first);
        first = report.members[1].coded[WW_PACK_KLT];
        ww_pack_report_release(&report);
        (void)unlink(s->f->pkg);
        options.error = 0;
        options.residual = true;
        OK(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err));
        ww_pack_report_release(&report);
        OK(fx_unpack(s->f, s->names[1], NULL, NULL, &err));
        fx_same(s->f, s->paths[1]);
    }
    end(s);
}

/* Of a product of no length no error can be told; a NaN has no mean with others. */
static void spoil(struct set *s)
{
    const uint32_t nan = 0x7fc12345;
    memset(s->numbers[1] + A, 0, B * sizeof(float));
    memcpy(s->numbers[2] + 2 * A + B + 3, &nan, sizeof(nan));
    s->numbers[2][2 * A + B + 4] = -0.0F;
}

static void what_the_method_cannot_hold_comes_back_exactly(void **state)
{
    struct set *s = begin_with(spoil);
    struct ww_error err = {0};
    struct ww_pack_report report;
    float got[NUMBERS];
    (void)state;
    pack(s, 1, false, &report);
    assert_true(report.members[2].error == 0 && report.members[1].error > 0);
    ww_pack_report_release(&report);
    for (size_t i = 0; i < N; i++) {
        OK(fx_unpack(s->f, s->names[i], NULL, NULL, &err));
        read_back(s, got);
        assert_memory_equal(got + A + B, s->numbers[i] + A + B, (A + B) * sizeof(float));
        assert_int_equal(memcmp(got, s->numbers[i], (A + B) * sizeof(float)) == 0,
                         i == 1);
        remove_out(s);
    }
    end(s);
}

static void a_budget_takes_as_many_directions_as_fit(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_options options = rows(0, false);
    uint64_t sizes[N];
    (void)state;
    for (size_t p = 1; p < N; p++) {
        (void)unlink(s->f->pkg);
        pack(s, p, false, &report);
        sizes[p] = report.bytes;
        ww_pack_report_release(&report);
    }
    for (size_t p = 1; p < N; p++) {
        (void)unlink(s->f->pkg);
        options.budget = sizes[p];
        OK(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err));
        assert_int_equal(report.members[0].directions, p);
        assert_true(report.bytes <= options.budget);
        ww_pack_report_release(&report);
    }
    (void)unlink(s->f->pkg);
    options.budget = sizes[1] - 1;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_LIMIT);
    end(s);
}

static enum ww_err share(const struct set *s, const char *name, const char *with,
                         struct ww_error *err)
{
    const char *to = fx_name(with, ".pub");
    const struct ww_unsealer unsealer = {.recipient_key = fx_name(s->f->ann, ".key")};
    return ww_pack_share(s->f->pkg, name, &to, 1, &unsealer, err);
}

static void all_of_a_group_have_the_same_recipients(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    const struct ww_pack_options options = rows(1, true);
    const char *ann[] = {fx_name(s->f->ann, ".pub")};
    const char *both[] = {fx_name(s->f->bob, ".pub"), ann[0]};
    (void)state;
    OK(ww_recipient_create(s->f->ann, NULL, &err));
    OK(ww_recipient_create(s->f->bob, NULL, &err));
    s->members[1].to = ann;
    s->members[1].n_to = 1;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_DENIED);
    for (size_t i = 0; i < N; i++) {
        s->members[i].to = ann;
        s->members[i].n_to = 1;
    }
    s->members[2].to = both;
    s->members[2].n_to = 2;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_DENIED);
    s->members[2].n_to = 1;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_DENIED);
    s->members[2].to = ann;
    OK(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err));
    assert_true(report.members[0].sealed);
    ww_pack_report_release(&report);
    FAILS(fx_unpack(s->f, "a2", NULL, NULL, &err), WW_E_PASSPHRASE);
    FAILS(fx_unpack(s->f, "a2", NULL, s->f->bob, &err), WW_E_NOT_FOR_YOU);
    OK(fx_unpack(s->f, "a2", NULL, s->f->ann, &err));
    fx_same(s->f, s->paths[2]);
    FAILS(share(s, "a2", s->f->bob, &err), WW_E_DENIED);
    assert_non_null(strstr(err.text, "'a2' is coded by 'basis'"));
    OK(share(s, "basis", s->f->bob, &err));
    OK(share(s, "a2", s->f->bob, &err));
    OK(fx_unpack(s->f, "a2", NULL, s->f->bob, &err));
    fx_same(s->f, s->paths[2]);
    FAILS(fx_unpack(s->f, "a1", NULL, s->f->bob, &err), WW_E_NOT_FOR_YOU);
    end(s);
}

static void a_basis_goes_last_and_comes_again(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    const char *after[] = {"basis"};
    const struct ww_pack_options options = rows(1, true);
    struct ww_pack_options alone = {.run = {.threads = 1}};
    (void)state;
    OK(ww_pack_create(s->f->pkg, s->members, 2, &options, &report, &err));
    ww_pack_report_release(&report);
    FAILS(ww_pack_drop(s->f->pkg, "basis", &alone, &report, &err), WW_E_USAGE);
    OK(ww_pack_add(s->f->pkg, s->members + 2, 2, &options, &report, &err));
    assert_string_equal(report.members[3].name, "basis-2");
    assert_string_equal(report.members[4].parent, "basis-2");
    ww_pack_report_release(&report);
    alone.after = after;
    struct ww_pack_member later = {"later", s->paths[0], NULL, 0};
    FAILS(ww_pack_add(s->f->pkg, &later, 1, &alone, &report, &err), WW_E_UNSUPPORTED);
    after[0] = "a3"; /* which is made of a basis itself */
    later.path = s->paths[3];
    OK(ww_pack_add(s->f->pkg, &later, 1, &alone, &report, &err));
    assert_true(!report.members[6].shares);
    ww_pack_report_release(&report);
    alone.after = NULL;
    OK(fx_unpack(s->f, "later", NULL, NULL, &err));
    fx_same(s->f, s->paths[3]);
    OK(ww_pack_drop(s->f->pkg, "a0", &alone, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_drop(s->f->pkg, "a1", &alone, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_drop(s->f->pkg, "basis", &alone, &report, &err));
    ww_pack_report_release(&report);
    OK(fx_unpack(s->f, "a2", NULL, NULL, &err));
    fx_same(s->f, s->paths[2]);
    end(s);
}

static void what_cannot_be_shared_is_refused(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_options options = rows(1, false);
    const char *after[] = {NULL, "a0", NULL, NULL};
    (void)state;
    FAILS(ww_pack_create(s->f->pkg, s->members, 1, &options, &report, &err),
          WW_E_UNSUPPORTED);
    options.directions = N;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_LIMIT);
    options.directions = 0;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_USAGE);
    options = rows(1, false);
    options.error = 0.1;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_USAGE);
    options = rows(1, false);
    options.budget = 1 << 20; /* directions, or as many as go into it */
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_USAGE);
    options = (struct ww_pack_options){
        .codec = WW_PACK_CORE, .budget = 1 << 20, .residual = true};
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_USAGE);
    options = rows(1, false);
    options.after = after;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_USAGE);
    options.after = NULL;
    s->f->one = fx_model(s->f, "one", 1, 2);
    s->members[1].path = s->f->one;
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err),
          WW_E_UNSUPPORTED);
    s->members[1].path = s->paths[1];
    struct ww_buf bytes;
    fx_read(fx_name(s->paths[1], "/adapter_model.safetensors"), &bytes);
    for (char *at; (at = memmem(bytes.data, bytes.len, "model.v.", 8));) {
        memcpy(at, "model.k.", 8);
    }
    fx_write(s->paths[1], "adapter_model.safetensors", bytes.data, bytes.len);
    ww_buf_release(&bytes);
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err),
          WW_E_UNSUPPORTED);
    struct stat st;
    assert_true(stat(s->f->pkg, &st) != 0);
    end(s);
}

static void flip(uint8_t *byte, unsigned bit)
{
    *byte = (uint8_t)(*byte ^ (1U << bit));
}

/* Nobody signed it: the digests of the files decide. */
static void flipped_sections_give_nothing_else_back(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_file file;
    struct ww_buf bytes;
    size_t n_unused = 0;
    (void)state;
    pack(s, 2, true, &report);
    ww_pack_report_release(&report);
    OK(ww_pack_open(s->f->pkg, &file, &err));
    fx_read(s->f->pkg, &bytes);
    for (size_t i = 0; i < 2; i++) { /* the basis, and the first that needs it */
        const struct ww_pack_manifest_member *m = &file.manifest.members[i];
        for (size_t at = 0; at < m->bytes; at += m->bytes / 40 + 1) {
            flip(&bytes.data[m->offset + at], at % 8);
            fx_write(s->f->dir, "models.pkg", bytes.data, bytes.len);
            if (fx_unpack(s->f, "a0", NULL, NULL, &err) == WW_OK) {
                fx_same(s->f, s->paths[0]); /* what was flipped is of no use to it */
                n_unused++;
            } else {
                fx_nothing(s->f);
            }
            flip(&bytes.data[m->offset + at], at % 8);
        }
    }
    assert_in_range(n_unused, 0, 8); /* the basis' own header, and its digest */
    ww_buf_release(&bytes);
    ww_pack_close(&file);
    end(s);
}

static void parts_that_a_basis_does_not_have_are_refused(void **state)
{
    struct set *s = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_parents parents;
    uint32_t p = 0;
    (void)state;
    pack(s, 2, true, &report);
    ww_pack_report_release(&report);
    OK(ww_pack_open(s->f->pkg, &file, &err));
    OK(ww_pack_view_open(&file, 1, NULL, &view, &err));
    OK(ww_parents_open(&parents, &file, 1, NULL, NULL, &err));
    OK(ww_parent_bind(parents.first, "a0", &view.table, &err));
    while (view.table.parts[p].shared.codec == WW_SHARED_NONE) {
        p++;
    }
    struct ww_pack_table_part *part = &view.table.parts[p];
    const struct ww_pack_table_part good = *part;
    part->shared.directions = 1;
    FAILS(ww_parent_bind(parents.first, "a0", &view.table, &err), WW_E_MALFORMED);
    *part = good;
    part->tensor = "other";
    FAILS(ww_parent_bind(parents.first, "a0", &view.table, &err), WW_E_MALFORMED);
    *part = good;
    part->shared.codec = WW_SHARED_CORE;
    FAILS(ww_parent_bind(parents.first, "a0", &view.table, &err), WW_E_MALFORMED);
    *part = good;
    part->shared.codec = WW_SHARED_NONE; /* a basis predicts nothing by itself */
    FAILS(ww_parent_bind(parents.first, "a0", &view.table, &err), WW_E_MALFORMED);
    *part = good;
    ww_parents_close(&parents);
    ww_pack_view_close(&view);
    ww_pack_close(&file);
    end(s);
}

static void ask(const struct set *s, size_t i, const char *text)
{
    fx_write(s->paths[i], "weightward-policy.json", text, strlen(text));
}

#define ASKS(of) "{\"type\":\"weightward.policy-reference/1\",\"policies\":[" of "]}"
#define NEED(id, version) "{\"id\":\"" id "\",\"version\":\"" version "\"}"

/* Some of the calls fail, one in each run: the error is told, and there is no package but
 * where it says so. */
static void what_fails_on_the_way_leaves_nothing(void **state)
{
    static const enum ww_fault kinds[] = {WW_FAULT_ALLOC, WW_FAULT_READ, WW_FAULT_WRITE};
    struct set *s = begin();
    struct ww_pack_options options = rows(1, true);
    struct stat st;
    (void)state;
    ask(s, 0, ASKS(NEED("p", "2")));
    for (size_t k = 0; k < WW_LEN(kinds); k++) {
        enum ww_err rc = WW_E_INTERNAL;
        for (unsigned long n = 1; rc; n += kinds[k] == WW_FAULT_ALLOC ? 29 : 7) {
            struct ww_error err = {0};
            struct ww_pack_report report = {0};
            options.codec = n % 2 ? WW_PACK_ROWS : WW_PACK_CORE;
            ww_fault_arm(kinds[k], n);
            rc = ww_pack_create(s->f->pkg, s->members, 2, &options, &report, &err);
            const bool reached = ww_fault_seen(kinds[k]) >= n;
            ww_fault_arm(kinds[k], 0);
            ww_pack_report_release(&report);
            if (rc) {
                const bool there = stat(s->f->pkg, &st) == 0;
                if (!reached || !err.text[0] || there != !!strstr(err.text, "is there")) {
                    fail_msg("call %lu of kind %u: %d, '%s'", n, (unsigned)kinds[k],
                             (int)rc, err.text);
                }
                (void)unlink(s->f->pkg);
                assert_true(stat(fx_name(s->f->pkg, ".partial"), &st) != 0);
            } else if (reached) {
                rc =
                    WW_E_INTERNAL; /* got over it, as with a thread that does not start */
                assert_int_equal(unlink(s->f->pkg), 0);
            }
        }
        assert_int_equal(unlink(s->f->pkg), 0);
    }
    end(s);
}

static void a_basis_asks_for_what_each_of_them_asks_for(void **state)
{
    static const char both[] = ASKS(NEED("p", "3") "," NEED("q", "1"));
    const struct ww_pack_options options = rows(1, true);
    struct set *s = begin();
    struct ww_pack_report report;
    struct ww_error err = {0};
    struct ww_buf text;
    (void)state;
    ask(s, 1, "{}");
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_POLICY);
    fx_ask_for_many(s->paths[0], 'a', 1000);
    fx_ask_for_many(s->paths[1], 'b', 25); /* a reader takes no more than 1024 */
    FAILS(ww_pack_create(s->f->pkg, s->members, N, &options, &report, &err), WW_E_LIMIT);
    ask(s, 0, ASKS(NEED("p", "2")));
    ask(s, 1, ASKS(NEED("q", "1") "," NEED("p", "3")));
    pack(s, 1, true, &report);
    ww_pack_report_release(&report);
    OK(fx_unpack(s->f, "basis", NULL, NULL, &err));
    fx_read(fx_name(s->f->out, "/weightward-policy.json"), &text);
    assert_string_equal(ww_buf_cstr(&text), both);
    ww_buf_release(&text);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_back_is_what_the_method_gives),
        cmocka_unit_test(with_a_residual_every_byte_comes_back),
        cmocka_unit_test(one_tensor_is_read_alone),
        cmocka_unit_test(a_core_and_what_it_leaves_keep_the_error),
        cmocka_unit_test(what_the_method_cannot_hold_comes_back_exactly),
        cmocka_unit_test(a_budget_takes_as_many_directions_as_fit),
        cmocka_unit_test(all_of_a_group_have_the_same_recipients),
        cmocka_unit_test(a_basis_goes_last_and_comes_again),
        cmocka_unit_test(what_cannot_be_shared_is_refused),
        cmocka_unit_test(a_basis_asks_for_what_each_of_them_asks_for),
        cmocka_unit_test(flipped_sections_give_nothing_else_back),
        cmocka_unit_test(what_fails_on_the_way_leaves_nothing),
        cmocka_unit_test(parts_that_a_basis_does_not_have_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Members that are versions of others: smaller, the same bytes, and never for more eyes.
 */
#include "rmm_fixture.h"

#include "rmm/parent.h"

/* A later version of a model: every 16th number of its large tensor moved. */
static char *later(const struct fx *f, const char *of, const char *name, uint8_t bit)
{
    char *dir = fx_join(f->dir, name);
    char command[1500];
    struct ww_buf bytes;
    snprintf(command, sizeof(command), "cp -r '%s' '%s'", of, dir);
    assert_int_equal(system(command), 0);
    fx_read(fx_name(dir, "/" SHARD_1), &bytes);
    for (size_t at = 200; at < bytes.len; at += 32) {
        bytes.data[at] ^= bit;
    }
    fx_write(dir, SHARD_1, bytes.data, bytes.len);
    ww_buf_release(&bytes);
    return dir;
}

struct versions {
    struct fx *f;
    char *three; /* of two */
    char *four;  /* of three */
};

static struct versions begin(void)
{
    struct versions v = {.f = fx_new()};
    v.three = later(v.f, v.f->two, "three", 1);
    v.four = later(v.f, v.three, "four", 2);

    fx_write(v.four, "config.json", "{\"model_type\":\"other\"}", 22);
    return v;
}

static void end(struct versions *v)
{
    free(v->three);
    free(v->four);
    fx_free(v->f);
}

static enum ww_err pack(const struct versions *v, const char *pkg,
                        const char *const *after, unsigned threads,
                        struct ww_pack_report *report, struct ww_error *err)
{
    const struct ww_pack_member members[] = {{"two", v->f->two, NULL, 0},
                                             {"three", v->three, NULL, 0},
                                             {"four", v->four, NULL, 0}};
    const struct ww_pack_options options = {
        .base = v->f->base, .after = after, .run = {.threads = threads}};
    return ww_pack_create(pkg, members, 3, &options, report, err);
}

static const char *const in_a_row[] = {NULL, "two", "three"};

static void versions_are_small_and_come_back(void **state)
{
    struct versions v = begin();
    struct ww_error err = {0};
    struct ww_pack_report alone;
    struct ww_pack_report chained;
    (void)state;
    OK(pack(&v, fx_name(v.f->pkg, ".alone"), NULL, 2, &alone, &err));
    OK(pack(&v, v.f->pkg, in_a_row, 2, &chained, &err));
    assert_null(chained.members[0].parent);
    assert_string_equal(chained.members[2].parent, "three");
    assert_int_equal(chained.members[0].bytes, alone.members[0].bytes);
    for (size_t i = 1; i < 3; i++) {
        assert_true(chained.members[i].bytes * 5 < alone.members[i].bytes);
        assert_string_equal(chained.members[i].commitment, alone.members[i].commitment);
    }
    ww_pack_report_release(&alone);
    ww_pack_report_release(&chained);
    OK(fx_unpack(v.f, "two", v.f->base, NULL, &err));
    fx_same(v.f, v.f->two);
    OK(fx_unpack(v.f, "three", v.f->base, NULL, &err));
    fx_same(v.f, v.three);
    OK(fx_unpack(v.f, "four", v.f->base, NULL, &err));
    fx_same(v.f, v.four);
    end(&v);
}

static void versions_have_the_same_bytes_for_any_number_of_threads(void **state)
{
    struct versions v = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_buf one;
    struct ww_buf many;
    (void)state;
    OK(pack(&v, v.f->pkg, in_a_row, 1, &report, &err));
    ww_pack_report_release(&report);
    fx_read(v.f->pkg, &one);
    OK(pack(&v, fx_name(v.f->pkg, ".8"), in_a_row, 8, &report, &err));
    ww_pack_report_release(&report);
    fx_read(fx_name(v.f->pkg, ".8"), &many);
    assert_int_equal(one.len, many.len);
    assert_memory_equal(one.data, many.data, one.len);
    ww_buf_release(&one);
    ww_buf_release(&many);
    end(&v);
}

static enum ww_err keep(void *payload, const void *bytes, size_t n, struct ww_error *err)
{
    return ww_buf_add(payload, bytes, n, err);
}

static void one_tensor_of_a_version_is_read_alone(void **state)
{
    struct versions v = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_unpack_options options = {.base = v.f->base};
    struct ww_buf got;
    struct ww_buf file;
    (void)state;
    OK(pack(&v, v.f->pkg, in_a_row, 2, &report, &err));
    ww_pack_report_release(&report);
    ww_buf_init(&got, 64U << 20);
    OK(ww_unpack_tensor(v.f->pkg, "four", "large", &options, keep, &got, &err));
    fx_read(fx_name(v.four, "/" SHARD_1), &file);
    assert_int_equal(got.len, 2 * FX_LARGE);
    assert_memory_equal(got.data, file.data + file.len - got.len, got.len);
    ww_buf_release(&got);
    ww_buf_release(&file);
    /* The base is three levels away, and still has to be the one. */
    options.base = v.f->one;
    FAILS(ww_unpack_tensor(v.f->pkg, "four", "large", &options, keep, &got, &err),
          WW_E_UNRELATED);
    FAILS(fx_unpack(v.f, "four", v.f->one, NULL, &err), WW_E_UNRELATED);
    FAILS(fx_unpack(v.f, "four", NULL, NULL, &err), WW_E_USAGE);
    fx_nothing(v.f);
    end(&v);
}

static enum ww_err pack_for(const struct versions *v, const char *two, const char *three,
                            struct ww_error *err)
{
    static const char *const after[] = {NULL, "two"};
    const char *to_two[] = {fx_name(two, ".pub")};
    const char *to_three[] = {three ? fx_name(three, ".pub") : NULL};
    const struct ww_pack_member members[] = {
        {"two", v->f->two, to_two, 1}, {"three", v->three, to_three, three != NULL}};
    const struct ww_pack_options options = {.base = v->f->base, .after = after};
    struct ww_pack_report report;
    const enum ww_err rc = ww_pack_create(v->f->pkg, members, 2, &options, &report, err);
    ww_pack_report_release(&report);
    return rc;
}

static void a_version_opens_for_no_one_else(void **state)
{
    struct versions v = begin();
    struct ww_error err = {0};
    struct fx *f = v.f;
    const char *bob[] = {fx_name(f->bob, ".pub")};
    const struct ww_unsealer by_ann = {.recipient_key = fx_name(f->ann, ".key")};
    (void)state;
    FAILS(pack_for(&v, f->ann, f->bob, &err), WW_E_DENIED);
    FAILS(pack_for(&v, f->ann, NULL, &err), WW_E_DENIED);
    assert_non_null(strstr(err.text, "everyone"));
    OK(pack_for(&v, f->ann, f->ann, &err));
    OK(fx_unpack(f, "three", f->base, f->ann, &err));
    fx_same(f, v.three);
    FAILS(fx_unpack(f, "three", f->base, f->bob, &err), WW_E_NOT_FOR_YOU);
    FAILS(ww_pack_share(f->pkg, "three", bob, 1, &by_ann, &err), WW_E_DENIED);
    OK(ww_pack_share(f->pkg, "two", bob, 1, &by_ann, &err));
    OK(ww_pack_share(f->pkg, "three", bob, 1, &by_ann, &err));
    OK(fx_unpack(f, "three", f->base, f->bob, &err));
    fx_same(f, v.three);
    end(&v);
}

static enum ww_err add_after(const struct versions *v, const char *name, const char *path,
                             const char *parent, const char *base, const char *open_with,
                             struct ww_error *err)
{
    const char *after[] = {parent};
    const char *to[] = {fx_name(v->f->ann, ".pub")};
    const struct ww_unsealer unsealer = {
        .recipient_key = open_with ? fx_name(open_with, ".key") : NULL};
    const struct ww_pack_member members[] = {{name, path, to, 1}};
    const struct ww_pack_options options = {
        .base = base, .after = after, .unsealer = &unsealer};
    struct ww_pack_report report;
    const enum ww_err rc = ww_pack_add(v->f->pkg, members, 1, &options, &report, err);
    ww_pack_report_release(&report);
    return rc;
}

static void versions_come_and_go(void **state)
{
    struct versions v = begin();
    struct ww_error err = {0};
    struct fx *f = v.f;
    const struct ww_pack_options options = {.base = f->base};
    struct ww_pack_report report;
    (void)state;
    OK(pack_for(&v, f->ann, f->ann, &err));
    FAILS(add_after(&v, "four", v.four, "thre", f->base, f->ann, &err), WW_E_NOTFOUND);
    FAILS(add_after(&v, "four", v.four, "four", f->base, f->ann, &err), WW_E_NOTFOUND);
    FAILS(add_after(&v, "four", v.four, "three", f->base, NULL, &err), WW_E_PASSPHRASE);
    FAILS(add_after(&v, "four", v.four, "three", f->base, f->bob, &err),
          WW_E_NOT_FOR_YOU);
    FAILS(add_after(&v, "four", v.four, "three", f->one, f->ann, &err), WW_E_UNRELATED);
    OK(add_after(&v, "four", v.four, "three", f->base, f->ann, &err));
    OK(fx_unpack(f, "four", f->base, f->ann, &err));
    fx_same(f, v.four);
    FAILS(ww_pack_drop(f->pkg, "three", &options, &report, &err), WW_E_USAGE);
    assert_non_null(strstr(err.text, "'four'"));
    OK(ww_pack_drop(f->pkg, "four", &options, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_drop(f->pkg, "three", &options, &report, &err));
    ww_pack_report_release(&report);
    OK(fx_unpack(f, "two", f->base, f->ann, &err));
    fx_same(f, f->two);
    end(&v);
}

static void a_change_of_the_parent_stops_its_version(void **state)
{
    struct versions v = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_file file;
    struct ww_buf bytes;
    (void)state;
    OK(pack(&v, v.f->pkg, in_a_row, 2, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_open(v.f->pkg, &file, &err));
    const uint64_t at = file.manifest.members[0].offset + 100000;
    ww_pack_close(&file);
    fx_read(v.f->pkg, &bytes);
    bytes.data[at] ^= 4;
    fx_write(v.f->dir, "models.pkg", bytes.data, bytes.len);
    FAILS(fx_unpack(v.f, "four", v.f->base, NULL, &err), WW_E_TAMPERED);
    assert_non_null(strstr(err.text, "'two'"));
    fx_nothing(v.f);
    ww_buf_release(&bytes);
    end(&v);
}

/* A matrix of floats that drift from `seed` on: a first training, then a little more. */
static char *drifting(const struct fx *f, const char *name, float first, float more)
{
    enum { SIDE = 64 };
    char *dir = fx_join(f->dir, name);
    char header[200];
    float data[SIDE * SIDE];
    uint64_t a = 3;
    uint64_t b = 17;
    uint64_t c = 23;
    for (size_t i = 0; i < WW_LEN(data); i++) {
        data[i] = (float)(fx_random(&a) % 1000) / 1000;
        data[i] += first * ((float)(fx_random(&b) % 1000) - 500) / 100000;
        data[i] += more * ((float)(fx_random(&c) % 1000) - 500) / 100000;
    }
    assert_int_equal(mkdir(dir, 0755), 0);
    snprintf(header, sizeof(header),
             "{\"w\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]}}",
             SIDE, SIDE, sizeof(data));
    fx_shard(dir, "model.safetensors", header, (const uint8_t *)data, sizeof(data));
    fx_write(dir, "config.json", "{\"model_type\":\"llama\"}", 22);
    return dir;
}

static double distance(const char *a, const char *b, const char *base)
{
    struct ww_buf x;
    struct ww_buf y;
    struct ww_buf z;
    double off = 0;
    double change = 0;
    fx_read(fx_name(a, "/model.safetensors"), &x);
    fx_read(fx_name(b, "/model.safetensors"), &y);
    fx_read(fx_name(base, "/model.safetensors"), &z);
    const size_t n = 64 * 64 * sizeof(float);
    for (size_t at = 0; at < n; at += sizeof(float)) {
        float stored[3];
        memcpy(&stored[0], x.data + x.len - n + at, sizeof(float));
        memcpy(&stored[1], y.data + y.len - n + at, sizeof(float));
        memcpy(&stored[2], z.data + z.len - n + at, sizeof(float));
        const double w[] = {(double)stored[0], (double)stored[1], (double)stored[2]};
        off += (w[0] - w[1]) * (w[0] - w[1]);
        change += (w[1] - w[2]) * (w[1] - w[2]);
    }
    ww_buf_release(&x);
    ww_buf_release(&y);
    ww_buf_release(&z);
    return off / change;
}

static void a_version_within_an_error_keeps_it_of_its_whole_change(void **state)
{
    static const char *const after[] = {NULL, "v1"};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    uint64_t bytes[2];
    (void)state;
    char *base = drifting(f, "b", 0, 0);
    char *v1 = drifting(f, "v1", 1, 0);
    char *v2 = drifting(f, "v2", 1, 0.3F);
    const struct ww_pack_member members[] = {{"v1", v1, NULL, 0}, {"v2", v2, NULL, 0}};
    struct ww_pack_options options = {.base = base, .error = 0.1};
    for (size_t i = 0; i < 2; i++) {
        options.after = i ? after : NULL;
        OK(ww_pack_create(i ? f->pkg : fx_name(f->pkg, ".alone"), members, 2, &options,
                          &report, &err));
        bytes[i] = report.members[1].coded[WW_PACK_DENSE];
        assert_true(report.members[1].error <= 0.1);
        ww_pack_report_release(&report);
    }
    assert_true(bytes[1] * 10 < bytes[0] * 8);
    OK(fx_unpack(f, "v2", base, NULL, &err));
    const double found = distance(f->out, v2, base);
    assert_true(found <= 0.0101 && found > 0.005);
    free(base);
    free(v1);
    free(v2);
    fx_free(f);
}

/* A pair of rank 8: so much of some numbers, and of others. */
static char *adapter(const struct fx *f, const char *name, float first, float more)
{
    enum { SIDE = 96, RANK = 8 };
    static const char config[] =
        "{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":8,\"target_modules\":[\"q\"]}";
    char *dir = fx_join(f->dir, name);
    char header[400];
    float data[2 * SIDE * RANK];
    uint64_t a = 3;
    uint64_t b = 17;
    for (size_t i = 0; i < WW_LEN(data); i++) {
        data[i] = first * ((float)(fx_random(&a) % 1000) - 500) / 500;
        data[i] += more * ((float)(fx_random(&b) % 1000) - 500) / 500;
    }
    assert_int_equal(mkdir(dir, 0755), 0);
    snprintf(header, sizeof(header),
             "{\"base_model.model.q.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
             "\"data_offsets\":[0,%zu]},\"base_model.model.q.lora_B.weight\":{\"dtype\":"
             "\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}}",
             RANK, SIDE, sizeof(data) / 2, SIDE, RANK, sizeof(data) / 2, sizeof(data));
    fx_shard(dir, "adapter_model.safetensors", header, (const uint8_t *)data,
             sizeof(data));
    fx_write(dir, "adapter_config.json", config, strlen(config));
    return dir;
}

static void a_version_of_an_adapter_is_coded_near_it(void **state)
{
    static const char *const after[] = {NULL, "v1", "v1"};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_buf first;
    struct ww_buf other;
    (void)state;
    char *v1 = adapter(f, "v1", 1, 0);
    char *v2 = adapter(f, "v2", 1, 0.1F);
    char *far = adapter(f, "far", 0, 1); /* another adapter: nothing to gain */
    const struct ww_pack_member members[] = {
        {"v1", v1, NULL, 0}, {"v2", v2, NULL, 0}, {"far", far, NULL, 0}};
    struct ww_pack_options options = {.error = 0.05, .after = after};
    for (unsigned threads = 1; threads < 4; threads += 2) {
        options.run.threads = threads;
        OK(ww_pack_create(threads == 1 ? f->pkg : fx_name(f->pkg, ".3"), members, 3,
                          &options, &report, &err));
        const struct ww_pack_entry *m = report.members;
        assert_true(m[0].coded[WW_PACK_OWN] > 0 && m[0].coded[WW_PACK_KLT] == 0);
        assert_true(m[1].coded[WW_PACK_OWN] == 0 && m[2].coded[WW_PACK_KLT] == 0);
        assert_true(m[1].coded[WW_PACK_KLT] * 10 < m[0].coded[WW_PACK_OWN] * 6);
        assert_true(m[1].error > 0.04 && m[1].error <= 0.05);
        ww_pack_report_release(&report);
    }
    fx_read(f->pkg, &first);
    fx_read(fx_name(f->pkg, ".3"), &other);
    assert_int_equal(first.len, other.len);
    assert_memory_equal(first.data, other.data, first.len);
    ww_buf_release(&first);
    ww_buf_release(&other);
    OK(fx_unpack(f, "v2", NULL, NULL, &err));
    free(v1);
    free(v2);
    free(far);
    fx_free(f);
}

static void replace(struct ww_buf *text, const char *from, const char *to)
{
    char *at = memmem(text->data, text->len, from, strlen(from));
    struct ww_buf made;
    struct ww_error err = {0};
    const size_t before = (size_t)(at - (char *)text->data);
    assert_non_null(at);
    ww_buf_init(&made, 1U << 20);
    OK(ww_buf_add(&made, text->data, before, &err));
    OK(ww_buf_add(&made, to, strlen(to), &err));
    OK(ww_buf_add(&made, at + strlen(from), text->len - before - strlen(from), &err));
    ww_buf_release(text);
    *text = made;
}

static void hostile_parents_are_refused(void **state)
{
    static const struct {
        const char *from;
        const char *to;
    } changes[] = {
        {"\"parent\":\"two\"", "\"parent\":\"three\""}, /* itself */
        {"\"parent\":\"two\"", "\"parent\":\"four\""},  /* behind it */
        {"\"parent\":\"two\"", "\"parent\":\"five\""},
        {"\"parent\":\"two\"", "\"parent\":2"},
        {"\"parent\":\"two\",", ""},
        {",\"leak\":\"parent\"", ""},
        {"\"leak\":\"parent\"", "\"leak\":\"none\""},
    };
    struct versions v = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_manifest m;
    struct ww_pack_file file;
    (void)state;
    OK(pack(&v, v.f->pkg, in_a_row, 2, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_open(v.f->pkg, &file, &err));
    for (size_t i = 0; i < WW_LEN(changes); i++) {
        struct ww_buf text;
        fx_manifest(file.text.data, file.text.len, &text);
        replace(&text, changes[i].from, changes[i].to);
        FAILS(ww_pack_manifest_read(text.data, text.len, &file.head, "x", &m, &err),
              WW_E_MALFORMED);
        ww_buf_release(&text);
    }
    ww_pack_close(&file);
    end(&v);
}

static void tables_that_name_what_a_parent_lacks_are_refused(void **state)
{
    static const char part[] =
        "{\"schema\":\"weightward.package-member/"
        "2\",\"salt\":\"%1$s\",\"files\":[{\"path\":"
        "\"m.safetensors\",\"size\":4,\"sha256\":\"%1$s\",\"parts\":[{\"bytes\":4,"
        "\"dtype\":\"BF16\",\"tensor\":\"w\",%2$s\"chunks\":[[9,\"%1$s\"]]}]}]}";
    struct ww_error err = {0};
    struct ww_pack_table t;
    char hex[65];
    char text[1000];
    (void)state;
    memset(hex, 'a', 64);
    hex[64] = 0;
    snprintf(text, sizeof(text), part, hex, "\"base\":true,\"parent\":true,");
    FAILS(ww_pack_table_read((uint8_t *)text, strlen(text), 9, "x", &t, &err),
          WW_E_MALFORMED);
    snprintf(text, sizeof(text), part, hex, "\"parent\":false,");
    FAILS(ww_pack_table_read((uint8_t *)text, strlen(text), 9, "x", &t, &err),
          WW_E_MALFORMED);
    snprintf(text, sizeof(text), part, hex, "\"parent\":true,");
    OK(ww_pack_table_read((uint8_t *)text, strlen(text), 9, "x", &t, &err));
    assert_true(t.parts[0].chained);
    FAILS(ww_parent_bind(NULL, "x", &t, &err), WW_E_MALFORMED);
    ww_pack_table_release(&t);
}

/* n members in a row; with `merged` the first one comes back out of a merge. */
static enum ww_err read_row(size_t n, bool merged, struct ww_error *why)
{
    enum { MOST = WW_PACK_MAX_CHAIN + 2 };
    static const struct ww_pack_other other = {.name = "o", .weight = 1};
    struct ww_pack_manifest_member members[MOST] = {{0}};
    struct ww_pack_manifest m = {
        .version = 1, .base_name = "b", .members = members, .n_members = n};
    struct ww_pack_manifest back;
    struct ww_error err = {0};
    struct ww_buf text;
    char names[MOST][24];
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "v%zu", i);
        members[i] =
            (struct ww_pack_manifest_member){.name = names[i],
                                             .offset = (i + 1) * WW_PACK_MOST_ALIGN,
                                             .bytes = 100,
                                             .parent = i ? names[i - 1] : NULL};
    }
    if (merged) {
        members[0].of_base = 2;
        members[0].others = &other;
        members[0].n_others = 1;
    }
    ww_buf_init(&text, 1U << 20);
    const struct ww_pack_head head = {.version = WW_PACK_VERSION_2,
                                      .manifest_offset = (n + 1) * WW_PACK_MOST_ALIGN};
    OK(ww_pack_manifest_write(&m, &text, &err));
    const enum ww_err rc =
        ww_pack_manifest_read(text.data, text.len, &head, "x", &back, why);
    if (!rc) {
        assert_int_equal(back.members[n - 1].depth, n - 1);
        ww_pack_manifest_release(&back);
    }
    ww_buf_release(&text);
    return rc;
}

static void rows_that_no_writer_makes_are_refused(void **state)
{
    struct ww_error err = {0};
    (void)state;
    OK(read_row(WW_PACK_MAX_CHAIN + 1, false, &err));
    FAILS(read_row(WW_PACK_MAX_CHAIN + 2, false, &err), WW_E_MALFORMED);
    OK(read_row(1, true, &err));
    FAILS(read_row(2, true, &err), WW_E_MALFORMED);
}

static uint32_t chained_tensor(const struct ww_pack_table *t, const char *name)
{
    for (uint32_t p = 0; p < t->n_parts; p++) {
        if (t->parts[p].chained && t->parts[p].tensor &&
            strcmp(t->parts[p].tensor, name) == 0) {
            return p;
        }
    }
    fail_msg("'%s' is not chained", name);
    return WW_NONE;
}

static void a_parent_with_another_shape_predicts_nothing(void **state)
{
    struct versions v = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_parents parents;
    (void)state;
    OK(pack(&v, v.f->pkg, in_a_row, 2, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_open(v.f->pkg, &file, &err));
    OK(ww_pack_view_open(&file, 1, NULL, &view, &err));
    OK(ww_parents_open(&parents, &file, 1, NULL, NULL, &err));
    struct ww_pack_table_part *part =
        &view.table.parts[chained_tensor(&view.table, "large")];
    const struct ww_pack_table_part good = *part;
    OK(ww_parent_bind(parents.first, "three", &view.table, &err));
    part->bytes -= 2;
    FAILS(ww_parent_bind(parents.first, "three", &view.table, &err), WW_E_MALFORMED);
    *part = good;
    part->dtype = WW_DTYPE_F16;
    FAILS(ww_parent_bind(parents.first, "three", &view.table, &err), WW_E_MALFORMED);
    *part = good;
    part->tensor = "larger";
    FAILS(ww_parent_bind(parents.first, "three", &view.table, &err), WW_E_MALFORMED);
    ww_parents_close(&parents);
    ww_pack_view_close(&view);
    ww_pack_close(&file);
    end(&v);
}

static void versions_in_too_long_a_row_are_refused(void **state)
{
    enum { N = WW_PACK_MAX_CHAIN + 2 };
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_member members[N];
    const char *after[N];
    char names[N][8];
    (void)state;
    char *small = drifting(f, "b", 0, 0);
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "v%zu", i);
        members[i] = (struct ww_pack_member){names[i], small, NULL, 0};
        after[i] = i ? names[i - 1] : NULL;
    }
    const struct ww_pack_options options = {.after = after, .run = {.threads = 1}};
    FAILS(ww_pack_create(f->pkg, members, N, &options, &report, &err), WW_E_LIMIT);
    OK(ww_pack_create(f->pkg, members, N - 1, &options, &report, &err));
    ww_pack_report_release(&report);
    OK(fx_unpack(f, names[N - 2], NULL, NULL, &err));
    fx_same(f, small);
    free(small);
    fx_free(f);
}

/* Also where none of its versions would read the damage. */
static void a_damaged_parent_gets_no_versions(void **state)
{
    static const char *const after[] = {"two"};
    struct versions v = begin();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_buf bytes;
    char command[1500];
    uint32_t p = 0;
    (void)state;
    const struct ww_pack_member two = {"two", v.f->two, NULL, 0};
    const struct ww_pack_member three = {"three", v.three, NULL, 0};
    struct ww_pack_options options = {.base = v.f->base, .run = {.threads = 1}};
    snprintf(command, sizeof(command), "cd '%s' && rm " SHARD_1 " *.index.json", v.three);
    assert_int_equal(system(command), 0);
    OK(ww_pack_create(v.f->pkg, &two, 1, &options, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_open(v.f->pkg, &file, &err));
    OK(ww_pack_view_open(&file, 0, NULL, &view, &err));
    while (!view.table.parts[p].tensor ||
           strcmp(view.table.parts[p].tensor, "large") != 0) {
        p++;
    }
    fx_read(v.f->pkg, &bytes);
    bytes.data[file.manifest.members[0].offset +
               view.table.chunks[view.table.parts[p].first_chunk].at + 100] ^= 1;
    fx_write(v.f->dir, "models.pkg", bytes.data, bytes.len);
    ww_buf_release(&bytes);
    ww_pack_view_close(&view);
    ww_pack_close(&file);
    options.after = after;
    FAILS(ww_pack_add(v.f->pkg, &three, 1, &options, &report, &err), WW_E_TAMPERED);
    assert_non_null(strstr(err.text, "'two'"));
    end(&v);
}

/* What does not decode is told apart: with a base below it, and without one. */
static void the_right_one_is_blamed_for_a_chunk(void **state)
{
    static const char *const after[] = {NULL, "two"};
    struct versions v = begin();
    struct ww_unpack_room *room = NULL;
    struct ww_unpack_rooms rooms;
    struct ww_error err = {0};
    uint8_t *bytes = calloc(2, WW_CHUNK_BYTES);
    (void)state;
    assert_non_null(bytes);
    ww_unpack_rooms_init(&rooms);
    OK(ww_unpack_rooms_take(&rooms, &room, &err));
    for (unsigned with_base = 0; with_base < 2; with_base++) {
        const struct ww_pack_member members[] = {{"two", v.f->two, NULL, 0},
                                                 {"three", v.three, NULL, 0}};
        const struct ww_pack_options options = {.base = with_base ? v.f->base : NULL,
                                                .after = after};
        struct ww_model *base = NULL;
        struct ww_pack_report report;
        struct ww_pack_file file;
        struct ww_pack_view view;
        struct ww_parents parents;
        (void)unlink(v.f->pkg);
        OK(ww_pack_create(v.f->pkg, members, 2, &options, &report, &err));
        ww_pack_report_release(&report);
        OK(ww_model_open(v.f->base, &base, &err));
        OK(ww_pack_open(v.f->pkg, &file, &err));
        OK(ww_pack_view_open(&file, 1, NULL, &view, &err));
        OK(ww_parents_open(&parents, &file, 1, NULL, base, &err));
        OK(ww_parent_bind(parents.first, "three", &view.table, &err));
        FAILS(ww_unpack_chunk(&view,
                              &view.table.parts[chained_tensor(&view.table, "large")], 0,
                              bytes, room, bytes + WW_CHUNK_BYTES, &err),
              with_base ? WW_E_UNRELATED : WW_E_MALFORMED);
        assert_non_null(strstr(err.text, with_base ? "base" : "parent 'two'"));
        ww_parents_close(&parents);
        ww_pack_view_close(&view);
        ww_pack_close(&file);
        ww_model_close(base);
    }
    ww_unpack_rooms_give(&rooms, room);
    ww_unpack_rooms_release(&rooms);
    free(bytes);
    end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_small_and_come_back),
        cmocka_unit_test(versions_have_the_same_bytes_for_any_number_of_threads),
        cmocka_unit_test(one_tensor_of_a_version_is_read_alone),
        cmocka_unit_test(a_version_opens_for_no_one_else),
        cmocka_unit_test(versions_come_and_go),
        cmocka_unit_test(a_change_of_the_parent_stops_its_version),
        cmocka_unit_test(a_version_within_an_error_keeps_it_of_its_whole_change),
        cmocka_unit_test(a_version_of_an_adapter_is_coded_near_it),
        cmocka_unit_test(hostile_parents_are_refused),
        cmocka_unit_test(tables_that_name_what_a_parent_lacks_are_refused),
        cmocka_unit_test(rows_that_no_writer_makes_are_refused),
        cmocka_unit_test(a_parent_with_another_shape_predicts_nothing),
        cmocka_unit_test(a_damaged_parent_gets_no_versions),
        cmocka_unit_test(the_right_one_is_blamed_for_a_chunk),
        cmocka_unit_test(versions_in_too_long_a_row_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

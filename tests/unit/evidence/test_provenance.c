/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/provenance.h"

#include "util/fail.h"
#include "util/str.h"
#include "ww_test.h"

static const uint8_t root[WW_SHA256_BYTES] = {1};
static const uint8_t tree[WW_SHA256_BYTES] = {2};
static const struct ww_resource files[] = {{"b.safetensors", {3}}, {"a.json", {4}}};
static const uint64_t sizes[] = {10, 20};

static void external(struct ww_jw *w, const void *payload)
{
    (void)payload;
    ww_jw_kstr(w, "level", "exact");
}

static void make(struct ww_buf *out, const char *type, size_t n_sources)
{
    struct ww_error err = {0};
    const struct ww_provenance_source sources[] = {
        {.name = "one",
         .files = files,
         .sizes = sizes,
         .n_files = 2,
         .tree = tree,
         .evidence = {WW_EVIDENCE_PROVENANCE, {5}}},
        {.name = "two",
         .files = files,
         .sizes = sizes,
         .n_files = 1,
         .lock_id = root,
         .evidence = {WW_EVIDENCE_SIGNATURE, {6}}},
        {.name = "three",
         .files = files,
         .sizes = sizes,
         .n_files = 1,
         .evidence = {.is_locked = true, .lock_id = {7}}},
    };
    const struct ww_provenance p = {.build_type = type,
                                    .name = "m",
                                    .root = root,
                                    .files = files,
                                    .n_files = 2,
                                    .tree = tree,
                                    .external = external,
                                    .sources = sources,
                                    .n_sources = n_sources};

    OK(ww_provenance_write(&p, out, &err));
}

static void reader_gives_back_what_was_written(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_provenance_view view;
    struct ww_buf text = {0};

    make(&text, WW_LOCK_BUILD_TYPE, 3);
    OK(ww_provenance_parse(text.data, text.len, &view, &err));
    assert_string_equal(view.action, "lock");
    assert_string_equal(view.method, "exact");
    assert_string_equal(view.name, "m");
    assert_memory_equal(view.root, root, sizeof(root));
    assert_true(view.has_tree);
    assert_memory_equal(view.tree, tree, sizeof(tree));
    assert_int_equal(view.n_files, 2);
    assert_string_equal(view.files[0].name, "a.json"); /* by name */
    assert_int_equal(view.n_links, 3);
    assert_true(view.links[0].has_tree && !view.links[1].has_tree);
    assert_int_equal(view.links[0].evidence.kind, WW_EVIDENCE_PROVENANCE);
    assert_int_equal(view.links[1].evidence.kind, WW_EVIDENCE_SIGNATURE);
    assert_int_equal(view.links[1].evidence.sha256[0], 6);
    assert_int_equal(view.links[2].evidence.kind, WW_EVIDENCE_NONE);
    assert_true(view.links[2].evidence.is_locked && !view.links[1].evidence.is_locked);
    assert_int_equal(view.links[2].evidence.lock_id[0], 7);
    assert_int_equal(ww_jsize(view.links[0].files), 2);
    ww_provenance_release(&view);
    ww_buf_release(&text);
}

static void folders_without_a_name_for_readers_are_models(void **state)
{
    static const char *const names[] = {"a\nb", "\xff", ""};

    (void)state;
    for (size_t i = 0; i < WW_LEN(names); i++) {
        struct ww_error err = {0};
        struct ww_provenance_view view;
        struct ww_buf text = {0};
        const struct ww_provenance_source source = {
            .name = names[i], .files = files, .sizes = sizes, .n_files = 1};
        const struct ww_provenance p = {.build_type = WW_LOCK_BUILD_TYPE,
                                        .name = names[i],
                                        .root = root,
                                        .external = external,
                                        .files = files,
                                        .n_files = 2,
                                        .sources = &source,
                                        .n_sources = 1};
        OK(ww_provenance_write(&p, &text, &err));
        OK(ww_provenance_parse(text.data, text.len, &view, &err));
        assert_string_equal(view.name, "model");
        assert_string_equal(view.links[0].name, "model");
        ww_provenance_release(&view);
        ww_buf_release(&text);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct ww_provenance_view view;
    struct ww_buf text = {0};

    make(&text, WW_MERGE_BUILD_TYPE, 3);
    for (size_t n = 0; n < text.len; n++) {
        struct ww_error err = {0};
        assert_int_not_equal(ww_provenance_parse(text.data, n, &view, &err), WW_OK);
        assert_true(err.text[0]);
    }
    ww_buf_release(&text);
}

/* Replace a part of a good statement. */
static void refused(const char *from, const char *to, enum ww_err want, const char *part)
{
    struct ww_error err = {0};
    struct ww_provenance_view view;
    struct ww_buf text = {0};
    struct ww_buf changed;
    const char *at = NULL;

    ww_buf_init(&changed, 1 << 16);
    make(&text, WW_LOCK_BUILD_TYPE, 3);
    at = strstr((const char *)text.data, from);
    assert_non_null(at);
    OK(ww_buf_add(&changed, text.data, (size_t)(at - (const char *)text.data), &err));
    OK(ww_buf_add_str(&changed, to, &err));
    OK(ww_buf_add_str(&changed, at + strlen(from), &err));
    FAILS(ww_provenance_parse(changed.data, changed.len, &view, &err), want);
    if (!strstr(err.text, part)) {
        fail_msg("no '%s' in '%s'", part, err.text);
    }
    ww_buf_release(&changed);
    ww_buf_release(&text);
}

static void malformed_statements_are_refused_by_name(void **state)
{
    (void)state;
    refused("in-toto.io/Statement/v1", "in-toto.io/Statement/v2", WW_E_BUNDLE, "in-toto");
    refused("provenance/v1", "provenance/v2", WW_E_BUNDLE, "SLSA provenance");
    refused("\"_type\"", "\"more\":1,\"_type\"", WW_E_BUNDLE, "more");
    refused("build:lock:1", "build:lock:2", WW_E_VERSION, "build:lock:2");
    refused("build:lock:1", "build:origin:1", WW_E_BUNDLE, "3 sources");
    refused("\"a.json\"", "\"b.safetensors\"", WW_E_BUNDLE, "twice");
    refused("\"a.json\"", "\"\"", WW_E_BUNDLE, "no name");
    refused("\"provenance\":\"05", "\"provenance\":\"0G", WW_E_BUNDLE, "malformed");
    refused("\"provenance\":", "\"signature\":\"x\",\"provenance\":", WW_E_BUNDLE,
            "two kinds");
    refused("\"locked\":\"07", "\"locked\":\"7", WW_E_BUNDLE, "lock id");
    refused("\"tensor_tree\":\"02", "\"tensor_tree\":\"2", WW_E_BUNDLE, "tensor root");
    refused("\"resolvedDependencies\":", "\"resolved\":", WW_E_BUNDLE,
            "resolvedDependencies");
    refused("\"buildType\"", "\"type\"", WW_E_BUNDLE, "build type");
    refused("\"files\":", "\"listed\":", WW_E_BUNDLE, "lists no files");
    refused("\"name\":\"one\"", "\"title\":\"one\"", WW_E_BUNDLE, "no name");
    refused("\"name\":\"m\"", "\"name\":7", WW_E_BUNDLE, "first subject");
    refused("\"digest\":{\"sha256\":\"01", "\"digest\":{\"sha256\":\"zz", WW_E_BUNDLE,
            "first subject");
}

static void an_origin_has_no_sources_and_a_merge_has_some(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_provenance_view view;
    struct ww_buf text = {0};

    make(&text, WW_ORIGIN_BUILD_TYPE, 0);
    OK(ww_provenance_parse(text.data, text.len, &view, &err));
    assert_string_equal(view.action, "origin");
    ww_provenance_release(&view);
    ww_buf_release(&text);
    make(&text, WW_MERGE_BUILD_TYPE, 0);
    FAILS(ww_provenance_parse(text.data, text.len, &view, &err), WW_E_BUNDLE);
    ww_buf_release(&text);
}

/* A recipe is one file; a package, and every folder, has parts that are named. */
static void a_recipe_alone_may_be_its_only_subject(void **state)
{
    (void)state;
    static const char *const types[] = {WW_FUSION_BUILD_TYPE, WW_PACK_BUILD_TYPE,
                                        WW_MERGE_BUILD_TYPE};
    static const char *const actions[] = {"fusion", "pack", "merge"};
    for (size_t i = 0; i < 3; i++) {
        struct ww_error err = {0};
        struct ww_provenance_view view;
        struct ww_buf text = {0};
        const struct ww_provenance_source source = {
            .name = "one", .files = files, .sizes = sizes, .n_files = 1};
        struct ww_provenance p = {.build_type = types[i],
                                  .name = "m",
                                  .root = root,
                                  .external = external,
                                  .sources = &source,
                                  .n_sources = 1};
        OK(ww_provenance_write(&p, &text, &err));
        const enum ww_err rc = ww_provenance_parse(text.data, text.len, &view, &err);
        assert_int_equal(rc, i == 0 ? WW_OK : WW_E_BUNDLE);
        assert_true(i > 0 || view.n_files == 0);
        ww_provenance_release(&view);
        ww_buf_release(&text);
        p.files = files;
        p.n_files = 2;
        OK(ww_provenance_write(&p, &text, &err));
        ww_error_clear(&err);
        OK(ww_provenance_parse(text.data, text.len, &view, &err));
        assert_string_equal(view.action, actions[i]);
        ww_provenance_release(&view);
        ww_buf_release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_gives_back_what_was_written),
        cmocka_unit_test(folders_without_a_name_for_readers_are_models),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(malformed_statements_are_refused_by_name),
        cmocka_unit_test(an_origin_has_no_sources_and_a_merge_has_some),
        cmocka_unit_test(a_recipe_alone_may_be_its_only_subject),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
